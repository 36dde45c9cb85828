"""What was learned is kept in bounds, and said once."""

import hypothesis.strategies as st
from hypothesis import given

from discovery.generation.insights import MOST, Insight, Insights, insights_section
from discovery.generation.prompt import compose, view
from discovery.records import INITIAL, CandidateKey, Score
from discovery.testing.storage import make_candidate


def insight(step, *, best=False, approach=None, learned="it helps"):
    return Insight(
        key=CandidateKey(0, step, 0),
        score=step / 3,
        is_improvement=best,
        approach=approach or f"approach {step}.",
        insight=learned,
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=60))
def test_the_newest_is_kept_and_neither_kind_crowds_out_the_other(made):
    folded, given_so_far = Insights(), []
    for step, (best, what) in enumerate(made):
        one = insight(step, best=best, approach=f"approach {what}")
        folded.add(one)
        given_so_far = [other for other in given_so_far if other.approach != one.approach] + [one]
        kept = folded.shown
        assert kept[-1] == one
        assert len(kept) <= MOST
        assert len({other.approach for other in kept}) == len(kept)
        assert [other.key.step for other in kept] == sorted(other.key.step for other in kept)
        if len(kept) < MOST:
            assert set(kept) <= set(given_so_far)


def test_improvements_stay_longer_than_the_rest():
    folded = Insights()
    folded.add(insight(1, best=True))
    for step in range(2, 30):
        folded.add(insight(step))
    assert folded.shown[0].key.step == 1
    assert [other.key.step for other in folded.shown[1:]] == list(range(23, 30))
    for step in range(30, 40):
        folded.add(insight(step, best=True))
    assert [other.is_improvement for other in folded.shown].count(False) == MOST // 2


def test_a_prompt_says_them_between_the_parents_and_what_changes(problem_of):
    parents = [view(make_candidate(INITIAL, "x = 0"), Score(value=1.0))]
    said = [insight(1, best=True), insight(2, approach="doubles x")]
    plain, told = (
        compose(problem_of(), parents=parents),
        compose(problem_of(), parents=parents, insights=said),
    )
    assert told[0] == plain[0]
    text = told[1].content
    assert text.index("# Program 1") < text.index("# Insights so far") < text.index("# So far")
    assert "- Score 0.3333333333333333, the best until then: approach 1. it helps.\n" in text
    assert ": doubles x. it helps.\n" in text
    assert text.replace(insights_section(said) + "\n\n", "") == plain[1].content
