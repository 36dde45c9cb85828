import json

from hypothesis import given
from hypothesis import strategies as st

from discovery.records import INITIAL, CandidateKey, Direction, Outcome
from discovery.testing.selector import committed_step
from discovery.trail import MOST, NAME, Trail, as_json, stored_trail

SCORES = st.lists(
    st.lists(st.none() | st.integers(-9, 30).map(float), min_size=1, max_size=4), min_size=1, max_size=30
)


@given(scores=SCORES, direction=st.sampled_from(Direction))
def test_holds_the_best_candidates_of_distinct_scores_oldest_first(scores, direction):
    trail = Trail(direction)
    first = {}
    for number, step_scores in enumerate(scores):
        step = committed_step(3, number, (), step_scores, direction)
        trail.observe(step)
        for outcome in step.outcomes:
            if outcome.score is not None:
                # What was pushed out and came again is as new as when it came again, so only scores are compared.
                first.setdefault(outcome.score, []).append(outcome.key)
    best = sorted(first, key=direction.key)[-MOST:]
    keys = trail.keys()
    assert list(keys) == sorted(keys)
    assert len(keys) == len(best)
    for score in best:
        assert len(set(first[score]) & set(keys)) == 1


def test_of_equal_scores_the_oldest_stays_and_copies_of_other_chains_count():
    trail = Trail(Direction.MAXIMIZE)
    trail.observe(committed_step(0, 0, (), [1.0]))
    trail.observe(committed_step(0, 1, (), [2.0, 2.0, 1.0]))
    # Timing decides which chain's of two equal sources is the copy.
    copied = Outcome(
        key=CandidateKey(0, 2, 0), program_hash="x", score=9.0, duplicate_of=CandidateKey(1, 7, 0)
    )
    step = committed_step(0, 2, (), [0.0])
    trail.observe(type(step)(chain=0, step=2, parents=(), outcomes=(copied,), committed=None))
    assert trail.keys() == (INITIAL, CandidateKey(0, 1, 0), CandidateKey(0, 2, 0))


def test_is_stored_as_json_and_absent_in_old_runs():
    keys = (INITIAL, CandidateKey(0, 12, 3))
    assert stored_trail(json.loads(json.dumps({NAME: as_json(keys)}))) == keys
    assert stored_trail({"params": {}, "values": {}}) == ()
