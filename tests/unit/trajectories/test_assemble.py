"""Outlines and samples of what is stored."""

import dataclasses
import itertools
import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from discovery.errors import ConfigError, StorageError, UnknownRun
from discovery.records import (
    INITIAL,
    SHARED_CHAIN,
    CandidateKey,
    Direction,
    EvaluationState,
    Failure,
    FailureKind,
    Prompt,
    Purpose,
    RunStatus,
)
from discovery.storage import open_storage
from discovery.testing.storage_records import (
    append,
    make_candidate,
    make_committed,
    make_completion,
    make_failed,
    make_run,
    make_scored,
    make_step,
)
from discovery.trajectories.assemble import outlines, samples
from discovery.trajectories.curate import curated
from discovery.trajectories.records import Filter, Selected, Selection, Split
from discovery.trajectories.rewards import REWARDS

_numbers = itertools.count()


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    opened = open_storage(str(tmp_path_factory.mktemp("storage") / "runs.db"))
    yield opened
    opened.close()


def disagreement(key):
    """A second scoring that refutes a candidate's first."""
    return dataclasses.replace(
        make_failed(key, FailureKind.DISAGREEMENT),
        purpose=Purpose.VERIFY,
        failure=Failure(kind=FailureKind.DISAGREEMENT, message="scored 1.0 first, but 0.0 again"),
    )


def store(storage, chains, direction=Direction.MAXIMIZE, initial=0.0, refuted=(), facts=None, is_open=False):
    """A stored run of chains of steps of scores (None for a failure); the last step stays open where that is said.

    A step commits its best, as a run does. Returns the run's id.
    """
    run = f"run-{next(_numbers)}"
    record = make_run(run, direction)
    storage.create_run(dataclasses.replace(record, status=RunStatus.RUNNING, facts=facts or {}))
    leases = {
        lease.chain: lease for lease in storage.acquire(run, range(SHARED_CHAIN, len(chains)), "owner", 60.0)
    }
    first = make_failed(INITIAL) if initial is None else make_scored(INITIAL, initial, 0.0)
    append(storage, leases[SHARED_CHAIN], make_candidate(INITIAL, "initial"), first)
    for chain, steps in enumerate(chains):
        for number, scores in enumerate(steps, start=1):
            planned = make_step(chain, number)
            records = [planned, Prompt(chain=chain, step=number, messages=(), parents=(INITIAL,))]
            counting = []
            for index, score in enumerate(scores):
                key = CandidateKey(chain, number, index)
                records += [make_completion(key, f"says {key}"), make_candidate(key, f"source {key}")]
                records.append(make_failed(key) if score is None else make_scored(key, score, number))
                if key in refuted:
                    records.append(disagreement(key))
                elif score is not None:
                    counting.append((direction.key(score), -index, key))
            committed = max(counting)[2] if counting else None
            if not (is_open and number == len(steps)):
                records.append(make_committed(planned, committed))
            append(storage, leases[chain], *records)
    return run


score = st.one_of(st.none(), st.integers(-2, 2).map(float), st.floats(allow_nan=False, allow_infinity=False))
chain = st.lists(st.lists(score, min_size=1, max_size=3), max_size=4)


@st.composite
def stored_runs(draw):
    """Chains of steps of scores, and keys of those that a second scoring refutes."""
    chains = draw(st.lists(chain, min_size=1, max_size=3))
    scored = [
        CandidateKey(c, s, i)
        for c, steps in enumerate(chains)
        for s, scores in enumerate(steps, start=1)
        for i, score in enumerate(scores)
        if score is not None
    ]
    refuted = draw(st.sets(st.sampled_from(scored), max_size=3)) if scored else set()
    return chains, refuted


@given(stored_runs(), st.sampled_from(list(Direction)), score)
def test_outlines_hold_what_was_committed_and_counts(storage, stored, direction, initial):
    chains, refuted = stored
    run = store(storage, chains, direction, initial, refuted)
    found = {outline.chain: outline for outline in outlines(storage, [run])}
    assert found.keys() == {number for number, steps in enumerate(chains) if steps}
    for number, outline in found.items():
        counts = [
            [
                (direction.key(score), CandidateKey(number, step, index))
                for index, score in enumerate(scores)
                if score is not None and CandidateKey(number, step, index) not in refuted
            ]
            for step, scores in enumerate(chains[number], start=1)
        ]
        assert (outline.run, outline.direction, outline.initial_score) == (run, direction, initial)
        assert [step.step for step in outline.steps] == list(range(1, len(counts) + 1))
        best = -math.inf if initial is None else direction.key(initial)
        for step, group in zip(outline.steps, counts, strict=True):
            committed = max(group, key=lambda each: each[0], default=(None, None))
            assert step.committed == committed[1]
            assert step.score == (None if committed[0] is None else direction.key(committed[0]))
            best = max([best, *(quality for quality, _ in group)])
            assert step.best_after == (None if best == -math.inf else direction.key(best))
        committed = [step for step in outline.steps if step.committed is not None]
        if not committed:
            assert (outline.best, outline.best_score, outline.best_step) == (None, None, None)
            continue
        top = max(direction.key(step.score) for step in committed)
        first = next(step for step in committed if direction.key(step.score) == top)
        assert (outline.best, outline.best_step) == (first.committed, first.step)
        assert outline.best_score == first.score
        assert outline.improves is (initial is None or top > direction.key(initial))


@given(stored_runs(), st.sampled_from(list(Direction)))
def test_samples_hold_every_sibling_of_every_selected_step(storage, stored, direction):
    chains, refuted = stored
    run = store(storage, chains, direction, 0.0, refuted)
    selection = curated(outlines(storage, [run]), Filter(keep="all"))
    found = list(samples(storage, selection))
    assert [(s.trajectory.chain, s.step.step) for s in found] == [
        (each.trajectory.chain, step) for each in selection.selected for step in each.steps
    ]
    for sample in found:
        number, step = sample.trajectory.chain, sample.step.step
        scores = chains[number][step - 1]
        for index, (attempt, score) in enumerate(zip(sample.attempts, scores, strict=True)):
            key = CandidateKey(number, step, index)
            assert attempt.key == key
            assert attempt.completion.text == f"says {key}"
            assert attempt.candidate.source == f"source {key}"
            assert attempt.score == (None if key in refuted else score)
            if key in refuted:
                assert attempt.failure is FailureKind.DISAGREEMENT
            else:
                assert attempt.failure is (FailureKind.CRASHED if score is None else None)
        assert sample.committed.key == sample.trajectory.steps[step - 1].committed
        assert sample.rewards.keys() == REWARDS.keys()
        for numbers in sample.rewards.values():
            assert len(numbers) == len(scores)
            assert all(number is None or math.isfinite(number) for number in numbers)


def test_a_run_that_goes_on_gives_what_it_has_committed(storage):
    run = store(storage, [[[1.0], [5.0]], [[7.0]]], is_open=True)
    (only,) = outlines(storage, [run])
    assert ((only.chain, len(only.steps)), only.best_score) == ((0, 1), 1.0)


def test_runs_are_named_by_what_they_begin_with_and_count_once(storage):
    run = store(storage, [[[1.0]]], facts={"model": "tiny"})
    other = store(storage, [[[2.0]]], facts={"model": None})
    found = list(outlines(storage, [other, run, run]))
    assert [(each.run, each.model) for each in found] == [(other, None), (run, "tiny")]


def test_an_unknown_run_is_told_before_anything_is_read(storage):
    with pytest.raises(UnknownRun):
        outlines(storage, ["nonesuch"])


def test_the_initial_candidate_is_never_a_trajectory_s_best(storage):
    run = store(storage, [[[1.0, 2.0], [2.0]]], initial=9.0)
    (only,) = outlines(storage, [run])
    assert (only.best, only.best_score, only.best_step) == (CandidateKey(0, 1, 1), 2.0, 1)
    assert not only.improves
    assert [step.best_after for step in only.steps] == [9.0, 9.0]


def test_a_step_that_says_it_committed_what_is_not_there_committed_nothing(storage):
    run = store(storage, [[[1.0], [5.0]]], is_open=True)
    (lease,) = storage.acquire(run, [0], "another", 60.0, dead=["owner"])
    (stored,) = storage.open_steps(run, 0)
    append(storage, lease, make_committed(stored.step, CandidateKey(5, 7, 3)))
    (found,) = outlines(storage, [run])
    assert [step.committed for step in found.steps][-1] is None
    assert found.best_step == 1


def test_only_the_rewards_asked_for_are_filled_in(storage):
    run = store(storage, [[[1.0, None]]])
    selection = curated(outlines(storage, [run]), Filter(top_percent=100))
    (sample,) = samples(storage, selection, ["own_score", "rank"])
    assert sample.rewards == {"own_score": (1.0, None), "rank": (1.0, 0.0)}
    assert sample.origin == {
        "run": run,
        "problem": "packing",
        "problem_version": "a" * 64,
        "chain": 0,
        "step": 1,
    }
    (sample,) = samples(storage, selection, [])
    assert sample.rewards == {}
    with pytest.raises(
        ConfigError, match="no reward 'nonesuch'; it must be one of trajectory_best, own_score"
    ):
        samples(storage, selection, ["nonesuch"])


def test_an_evaluation_that_is_running_is_neither_a_score_nor_a_failure(storage):
    run = store(storage, [[[1.0, None]]])
    key = CandidateKey(0, 1, 2)
    running = dataclasses.replace(
        make_scored(key, 0.0), state=EvaluationState.RUNNING, score=None, finished_at=None
    )
    (lease,) = storage.acquire(run, [0], "owner", 60.0)
    append(storage, lease, make_completion(key, None), running)
    (sample,) = samples(storage, curated(outlines(storage, [run]), Filter(keep="all")))
    unjudged = sample.attempts[2]
    assert (unjudged.score, unjudged.failure, unjudged.candidate, unjudged.completion.text) == (None,) * 4
    assert all(numbers[2] is None for numbers in sample.rewards.values())


def test_steps_that_are_not_stored_as_they_were_selected_are_told(storage):
    run = store(storage, [[[1.0], [2.0]], [[1.0]]], is_open=True)
    (only,) = outlines(storage, [run])

    def selecting(outline, *steps):
        chosen = Selected(trajectory=outline, steps=steps, weight=1.0, split=Split.TRAIN)
        return Selection(filter=Filter(), selected=(chosen,), left_out={})

    with pytest.raises(StorageError, match=f"step 0.2 of run {run} was selected, but is not stored here"):
        list(samples(storage, selecting(only, 2)))
    with pytest.raises(StorageError, match=f"step 0.3 of run {run}"):
        list(samples(storage, selecting(only, 3)))
    (lease,) = storage.acquire(run, [0], "owner", 60.0)
    append(storage, lease, disagreement(CandidateKey(0, 1, 0)))
    with pytest.raises(StorageError, match="a second scoring has refuted that since"):
        list(samples(storage, selecting(only, 1)))
    (only,) = outlines(storage, [run])
    assert (only.steps[0].committed, only.best_score) == (None, None)


def test_an_initial_candidate_that_was_refuted_has_no_score(storage):
    run = store(storage, [[[1.0]]], initial=9.0)
    (lease,) = storage.acquire(run, [SHARED_CHAIN], "owner", 60.0)
    append(storage, lease, disagreement(INITIAL))
    (only,) = outlines(storage, [run])
    assert (only.initial_score, only.improves) == (None, True)


def test_one_step_is_read_at_a_time(storage):
    run = store(storage, [[[1.0]] * 5])
    selection = curated(outlines(storage, [run]), Filter(keep="all"))
    read = []

    class Counting:
        def __getattr__(self, name):
            return getattr(storage, name)

        def step(self, *place):
            read.append(place)
            return storage.step(*place)

    stream = samples(Counting(), selection)
    assert read == []
    for count in range(1, 6):
        next(stream)
        assert len(read) == count
