"""Records: keys, directions, states and the one rule that an evaluation keeps."""

import dataclasses
import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery import records
from discovery.records import (
    INITIAL,
    Candidate,
    CandidateKey,
    CommittedStep,
    Direction,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Outcome,
    RunStatus,
    Score,
    StepState,
    initial_key,
    text_hash,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
whole = st.integers(0, 2**40)
keys = st.builds(CandidateKey, whole, whole, whole) | st.builds(initial_key, whole)
scores = st.floats(allow_nan=False)


@given(keys)
def test_a_key_is_read_back_from_its_text(key):
    assert CandidateKey.parse(str(key)) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.2",
        "1.2.3.4",
        "a.b.c",
        "-1.0.0",
        "1.-2.3",
        "1. 2.3",
        "1_0.2.3",
        "+1.2.3",
        "1.2.3\n",
        "١.2.3",
        "Initial",
        "initial-",
        "initial-0",
        "initial-01",
        "initial--1",
        "initial-1 ",
        "9" * 5000 + ".1.1",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_key_is_refused(text):
    with pytest.raises(ValueError, match="is not a candidate's key"):
        CandidateKey.parse(text)


@given(st.lists(keys))
def test_keys_sort_by_chain_then_step_then_index(some):
    assert sorted(some) == sorted(some, key=lambda key: (key.chain, key.step, key.index))


@given(scores, scores)
def test_a_direction_orders_strictly_and_as_its_key_does(a, b):
    for direction in Direction:
        assert direction.better(a, b) == (direction.key(a) > direction.key(b))
        assert not direction.better(a, a)
        assert direction.better(a, None)
    assert Direction.MAXIMIZE.better(a, b) == Direction.MINIMIZE.better(b, a)


def test_directions_are_not_mixed_up():
    assert Direction.MAXIMIZE.better(2.0, 1.0)
    assert Direction.MINIMIZE.better(1.0, 2.0)


def test_states_that_are_finished():
    finished = {
        state for kind in (EvaluationState, StepState, RunStatus) for state in kind if state.is_finished
    }
    assert finished == {
        EvaluationState.SCORED,
        EvaluationState.FAILED,
        StepState.COMMITTED,
        RunStatus.FINISHED,
    }


@pytest.mark.parametrize("state", EvaluationState)
@pytest.mark.parametrize("score", [None, Score(value=1.0)])
@pytest.mark.parametrize("failure", [None, Failure(kind=FailureKind.CRASHED, message="raised")])
def test_an_evaluation_has_the_result_that_its_state_says(state, score, failure):
    def make():
        return Evaluation(key=INITIAL, state=state, score=score, failure=failure, started_at=NOW)

    if (score is not None, failure is not None) == (
        state is EvaluationState.SCORED,
        state is EvaluationState.FAILED,
    ):
        assert make().state is state
    else:
        with pytest.raises(ValueError, match=r"evaluation of initial: state .* contradicts"):
            make()


def test_the_outcome_of_a_candidate_is_found_by_its_key():
    outcomes = tuple(Outcome(key=CandidateKey(0, 2, i), program_hash=None, score=float(i)) for i in range(3))
    step = CommittedStep(chain=0, step=2, parents=(INITIAL,), outcomes=outcomes, committed=outcomes[2].key)
    assert step.outcome(CandidateKey(0, 2, 1)).score == 1.0
    with pytest.raises(KeyError, match=r"step 0\.2 has no candidate 0\.2\.3"):
        step.outcome(CandidateKey(0, 2, 3))


@given(st.text(st.characters(), max_size=50))
def test_a_source_is_named_by_its_hash_even_with_lone_surrogates(source):
    candidate = Candidate(key=INITIAL, source=source, parents=(), created_at=NOW)
    assert candidate.source_hash == text_hash(source)
    assert text_hash(source) == hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def test_every_record_is_frozen_and_has_no_dict():
    kinds = [
        kind for kind in vars(records).values() if isinstance(kind, type) and dataclasses.is_dataclass(kind)
    ]
    assert len(kinds) > 15
    for kind in kinds:
        assert kind.__dataclass_params__.frozen, kind
        assert "__slots__" in vars(kind), kind
