from hypothesis import given
from hypothesis import strategies as st

from discovery.generation.base import Elite, ParentView
from discovery.generation.elites import Elites
from discovery.generation.insights import Insight
from discovery.generation.prompt import compose
from discovery.records import INITIAL, CandidateKey, CommittedStep, Direction, Outcome

STEPS = st.lists(
    st.lists(st.tuples(st.none() | st.integers(-5, 5), st.integers(0, 6), st.booleans()), max_size=4),
    max_size=12,
)


def committed(steps):
    for number, outcomes in enumerate(steps):
        yield CommittedStep(
            chain=0,
            step=number,
            parents=(),
            outcomes=tuple(
                Outcome(
                    key=CandidateKey(0, number, index),
                    program_hash=f"hash {source} {score}",
                    score=score,
                    duplicate_of=INITIAL if is_copy else None,
                )
                for index, (score, source, is_copy) in enumerate(outcomes)
            ),
            committed=None,
        )


@given(steps=STEPS, most=st.integers(1, 6), direction=st.sampled_from(Direction), shown=st.integers(0, 3))
def test_the_best_sources_are_kept_the_oldest_of_equals_first(steps, most, direction, shown):
    elites = Elites(direction, most)
    every = {}
    for step in committed(steps):
        elites.observe(step)
        for outcome in step.outcomes:
            if outcome.score is not None:
                every.setdefault(outcome.program_hash, outcome)
    ranked = sorted(every.values(), key=lambda o: (-direction.key(o.score), o.key))[:most]
    assert elites.beside((), 99) == [(o.key, o.score) for o in ranked]
    parents = [o.key for o in ranked[:shown]]
    assert elites.beside(parents, 2) == [(o.key, o.score) for o in ranked[shown:]][:2]


def test_a_solution_with_its_score_is_kept_once_whoever_found_it():
    elites = Elites(Direction.MAXIMIZE, 9)
    told = [
        ("a", 1.0, "x"),
        ("b", 1.0, "x"),
        ("c", 2.0, "x"),
        ("d", 1.0, "y"),
        ("e", 1.0, None),
        ("f", 1.0, None),
    ]
    outcomes = tuple(
        Outcome(key=CandidateKey(0, 1, i), program_hash=source, score=score, solution=solution)
        for i, (source, score, solution) in enumerate(told)
    )
    elites.observe(CommittedStep(chain=0, step=1, parents=(), outcomes=outcomes, committed=None))
    assert [key.index for key, _ in elites.beside((), 99)] == [2, 0, 3, 4, 5]


def test_the_overview_has_no_sources_and_no_empty_columns(problem_of):
    parents = [ParentView(key=INITIAL, source="x = 1\n", score=2.0, metrics={})]
    elites = [
        Elite(key=CandidateKey(0, 3, 1), score=1.75, metrics={"a|b": 1, "list": [1, 2]}),
        Elite(key=CandidateKey(0, 4, 0), score=1.5, metrics={"c": 0.25}),
    ]
    _, user = compose(problem_of(), parents=parents, elites=elites)
    assert (
        "# Other good candidates, without their text\n\n"
        "| candidate | score | from the best | metrics |\n|---|---|---|---|\n"
        "| 0.3.1 | 1.75 | -0.25 | a/b 1 |\n| 0.4.0 | 1.5 | -0.5 | c 0.25 |\n"
    ) in user.content
    learned = Insight(
        key=CandidateKey(0, 4, 0), score=1.5, is_improvement=True, approach="", insight="wider is worse"
    )
    _, user = compose(problem_of(), parents=parents, elites=elites, insights=[learned])
    assert (
        "| 0.3.1 | 1.75 | -0.25 | a/b 1 |  |\n| 0.4.0 | 1.5 | -0.5 | c 0.25 | wider is worse |"
        in user.content
    )
    _, user = compose(problem_of(), parents=parents)
    assert "Other good" not in user.content
