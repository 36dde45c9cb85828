import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.generation.base import Elite, ParentView
from discovery.generation.failures import FailureStatistics
from discovery.generation.fitting import FULL, Rate, ceiling, characters, details, fitted, room
from discovery.generation.insights import Insight
from discovery.generation.prompt import compose
from discovery.records import INITIAL, CandidateKey, CommittedStep, FailureKind, Message, Outcome

LONG = "".join(f"# frozen {n}\n" for n in range(200))
PARTS = st.lists(st.text("ab \n=()", min_size=1, max_size=400), min_size=1, max_size=5)


def tokens_of(messages):
    """A tokenizer: words of up to four characters, and each other character by itself."""
    return sum((len(word) + 3) // 4 + 1 for message in messages for word in message.content.split()) + 3


async def count(messages):
    return tokens_of(messages)


def view(source, step, feedback=None):
    key = CandidateKey(0, step, 0) if step else INITIAL
    return ParentView(key=key, source=source, score=step / 7, metrics={"m": step}, feedback=feedback)


def failing(number):
    outcomes = tuple(
        Outcome(
            key=CandidateKey(0, 1, i),
            program_hash=None,
            score=None,
            failure=FailureKind.INVALID,
            message=f"{'word ' * 8}{chr(97 + i)}",
        )
        for i in range(number)
    )
    return FailureStatistics([CommittedStep(chain=0, step=1, parents=(), outcomes=outcomes, committed=None)])


def maker(problem, sources, *, feedback=None, failures=0, elites=0, insights=0):
    """Composes one step's prompt; the main parent is the first."""
    parents = [view(source, step, feedback) for step, source in enumerate(sources)]

    def make(detail):
        return compose(
            problem,
            parents=parents,
            failures=failing(failures),
            elites=[
                Elite(key=CandidateKey(0, 9, i), score=0.1 * i, metrics={"long": i}) for i in range(elites)
            ],
            insights=[
                Insight(
                    key=CandidateKey(0, 8, i), score=0.1, is_improvement=False, approach="a", insight="b" * 90
                )
                for i in range(insights)
            ],
            detail=detail,
        )

    return make, details(elites=elites, others=len(sources) - 1, failures=3)


@given(
    sources=PARTS,
    feedback=st.none() | st.text("xyz \n", max_size=1000),
    failures=st.integers(0, 5),
    elites=st.integers(0, 4),
    insights=st.integers(0, 3),
    more=st.integers(0, 2000),
)
def test_every_prompt_fits_that_can_and_says_as_much_as_it_may(
    problem_of, sources, feedback, failures, elites, insights, more
):
    problem = problem_of("def solve():\n    return 0\n")
    make, shorter = maker(
        problem, sources, feedback=feedback, failures=failures, elites=elites, insights=insights
    )
    most = tokens_of(make(shorter[-1])) + more
    found = asyncio.run(fitted(make, shorter, most, count))
    assert found.fits
    assert tokens_of(found.messages) <= found.tokens <= most
    assert found.messages == make(found.detail)
    assert problem.statement in found.messages[0].content
    assert sources[0] in found.messages[1].content
    assert f"Score: {(len(sources) - 1) / 7!r}" in found.messages[1].content
    again = asyncio.run(fitted(make, shorter, most, count))
    assert again == found
    if tokens_of(make(FULL)) <= most:
        assert found.detail == FULL


def test_what_is_left_out_first(problem_of, framed):
    problem = problem_of(framed.replace("import math\n", f"import math\n{LONG}"))
    sources = [problem.initial, "second = 2\n" * 30, "third = 3\n" * 30]
    make, shorter = maker(problem, sources, feedback="f" * 3000, failures=5, elites=3, insights=2)
    seen = []
    for detail in shorter:
        text = make(detail)[1].content
        assert "return [0.0, 1.5, -2.25]" in text
        seen.append(
            (
                "Other good candidates" in text,
                "second = 2" in text,
                "third = 3" in text,
                "Insights" in text,
                text.count("f" * 90) > 0,
                text.count("  - `word word"),
                "frozen 100" in text,
            )
        )
    assert seen[0] == (True, True, True, True, True, 3, True)
    assert seen[1] == (False, True, True, True, True, 3, True)
    assert seen[2] == (False, False, True, True, True, 3, True)
    assert seen[3] == (False, False, False, True, True, 3, True)
    assert seen[4] == (False, False, False, False, True, 3, True)
    assert (False, False, False, False, False, 3, True) in seen
    assert (False, False, False, False, False, 0, True) in seen
    assert seen[-1] == (False, False, False, False, False, 0, False)
    lengths = [tokens_of(make(detail)) for detail in shorter]
    assert lengths == sorted(lengths, reverse=True)
    last = make(shorter[-1])[1].content
    assert "[199 lines that stay as they are]\n" in last
    assert "# EVOLVE-BLOCK-START" in last
    assert "# EVOLVE-BLOCK-END" in last


def test_nothing_is_counted_where_it_must_fit(problem_of):
    async def never(messages):
        raise AssertionError("asked")

    make, shorter = maker(problem_of(), ["x = 1\n"])
    found = asyncio.run(fitted(make, shorter, ceiling(make(FULL)), never))
    assert (found.detail, found.fits) == (FULL, True)


def test_what_cannot_fit_is_as_short_as_it_can_be(problem_of):
    make, shorter = maker(problem_of(), ["x = 1\n" * 50, "y = 1\n" * 50], elites=2)
    found = asyncio.run(fitted(make, shorter, 10, count))
    assert not found.fits
    assert found.messages == make(shorter[-1])


def test_few_prompts_are_counted_where_much_is_to_go(problem_of):
    counted = []

    async def noted(messages):
        counted.append(messages)
        return tokens_of(messages)

    make, shorter = maker(problem_of(), ["x = 1\n", *["y = 1\n" * 2000] * 12])
    found = asyncio.run(fitted(make, shorter, 4000, noted))
    assert found.fits
    assert len(counted) <= 4


@pytest.mark.parametrize(
    ("context", "answer", "left"), [(1000, 100, 900), (1000, 900, 500), (1000, None, 1000)]
)
def test_room_is_what_the_answer_leaves_and_half_at_least(context, answer, left):
    assert room(context, answer) == left


@given(text=st.text(max_size=300), characters_=st.integers(1, 10_000), tokens=st.integers(1, 10_000))
def test_an_estimate_is_never_below_what_was_measured(text, characters_, tokens):
    messages = (Message(role="user", content=text),)
    assert (
        Rate(characters=characters_, tokens=tokens).tokens_of(messages)
        >= characters(messages) * tokens / characters_
    )
