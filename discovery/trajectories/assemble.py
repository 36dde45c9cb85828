"""Trajectories out of storage, in two passes: outlines of all of them, then samples of those that were selected.

Outlines hold scores and places only, a few hundred bytes a step; samples hold the texts of one step, and one is in
memory at a time. Only committed steps count, so that a run may be going on meanwhile. A score that a second scoring
refuted does not count, in either pass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence

from discovery.beginnings import own_key
from discovery.bundle import is_bundle
from discovery.errors import StorageError, UsageError
from discovery.records import (
    INITIAL,
    CandidateKey,
    CommittedStep,
    Evaluation,
    Failure,
    FailureKind,
    Purpose,
    RunStatus,
    StepState,
)
from discovery.storage.base import RunRecord, Storage, StoredStep
from discovery.trajectories.records import (
    Attempt,
    Sample,
    Selected,
    Selection,
    StepOutline,
    TrajectoryOutline,
)
from discovery.trajectories.rewards import REWARDS, known, of_sample


def outlines(storage: Storage, runs: Sequence[str]) -> Iterator[TrajectoryOutline]:
    """The trajectories of some runs, without texts.

    Args:
        storage: Where the runs live.
        runs: Ids, or unique beginnings of ids; one that is given twice counts once. In any status: a run that is going
            on, or stopped, gives what it has committed.

    Returns:
        One outline for each chain that has committed a step, by run as given and by chain; none for a chain that has
        not, however far its first step is. A step that committed nothing is in its outline with ``committed`` None.

    Raises:
        UnknownRun: There is no such run; raised at once, before the first outline.
        UsageError: One has arrived in part only; raised at once.
    """
    records = {record.id: record for record in map(storage.get_run, runs)}
    for record in records.values():
        if record.status is RunStatus.ARRIVING:
            raise UsageError(
                f"run {record.id} has not arrived whole; repeat the `discovery import` that began it"
            )
    return _outlines(storage, list(records.values()))


def _outlines(storage: Storage, records: Sequence[RunRecord]) -> Iterator[TrajectoryOutline]:
    for record in records:
        refuted = storage.disagreements(record.id)
        for summary in storage.chain_summaries(record.id):
            if summary.steps:
                initial = _initial_score(storage, record.id, summary.chain, refuted)
                yield _outline(storage, record, summary.chain, initial, refuted)


def _outline(
    storage: Storage,
    record: RunRecord,
    chain: int,
    initial: float | None,
    refuted: Collection[CandidateKey],
) -> TrajectoryOutline:
    direction = record.direction
    steps: list[StepOutline] = []
    best: StepOutline | None = None
    after = initial
    for committed in storage.committed_steps(record.id, chain):
        for outcome in committed.outcomes:
            counts = outcome.score is not None and outcome.key not in refuted
            if counts and outcome.score is not None and direction.better(outcome.score, after):
                after = outcome.score
        key, score = _committed(committed, refuted)
        step = StepOutline(step=committed.step, committed=key, score=score, best_after=after)
        steps.append(step)
        if score is not None and direction.better(score, best.score if best is not None else None):
            best = step
    model = record.facts.get("model")
    return TrajectoryOutline(
        run=record.id,
        chain=chain,
        problem=record.problem,
        problem_version=record.problem_version,
        direction=direction,
        model=model if isinstance(model, str) else None,
        initial_score=initial,
        steps=tuple(steps),
        best=best.committed if best is not None else None,
        best_score=best.score if best is not None else None,
        best_step=best.step if best is not None else None,
    )


def _committed(
    step: CommittedStep, refuted: Collection[CandidateKey]
) -> tuple[CandidateKey, float] | tuple[None, None]:
    if step.committed is None or step.committed in refuted:
        return None, None
    # An archive may say anything, so also that something was committed that is not there.
    score = next((outcome.score for outcome in step.outcomes if outcome.key == step.committed), None)
    return (step.committed, score) if score is not None else (None, None)


def _initial_score(storage: Storage, run: str, chain: int, refuted: Collection[CandidateKey]) -> float | None:
    key = own_key(storage, run, chain)
    searched = [e for e in storage.evaluations(run, key) if e.purpose is Purpose.SEARCH]
    if not searched or key in refuted:
        return None
    score = searched[-1].score
    return score.value if score is not None else None


def samples(storage: Storage, selection: Selection, rewards: Sequence[str] | None = None) -> Iterator[Sample]:
    """The selected steps with their texts, one in memory at a time, in the selection's order.

    Args:
        storage: Where their runs live.
        selection: What was chosen, of outlines of this storage.
        rewards: Names of :data:`~discovery.trajectories.rewards.REWARDS` to fill in; None for all.

    Raises:
        ConfigError: There is no reward of that name; raised at once.
        UnknownRun: A run of the selection is not stored here; raised when its turn comes.
        StorageError: A selected step is not stored here as it was when it was selected.
    """
    return _samples(storage, selection, known(rewards if rewards is not None else tuple(REWARDS)))


def _samples(storage: Storage, selection: Selection, rewards: Sequence[str]) -> Iterator[Sample]:
    run, refuted, gives_part = None, dict[CandidateKey, Failure](), False
    for selected in selection.selected:
        if selected.trajectory.run != run:
            run = selected.trajectory.run
            refuted = storage.disagreements(run)
            gives_part = _gives_part(storage, run)
        for number in selected.steps:
            sample = _sample(storage, selected, number, refuted, rewards)
            main = storage.candidate(run, sample.step.parents[0]) if gives_part else None
            yield dataclasses.replace(sample, main=main.source) if main is not None else sample


def _gives_part(storage: Storage, run: str) -> bool:
    """Whether completions of a run are parts of what they propose: edits, or some of several files."""
    if (storage.get_run(run).config.get("prompt") or {}).get("edits") == "diff":
        return True
    initial = storage.candidate(run, INITIAL)
    return initial is not None and is_bundle(initial.source)


def _sample(
    storage: Storage,
    selected: Selected,
    number: int,
    refuted: Mapping[CandidateKey, Failure],
    rewards: Sequence[str],
) -> Sample:
    place = selected.trajectory
    stored = storage.step(place.run, place.chain, number)
    if stored is None or stored.prompt is None or stored.step.state is not StepState.COMMITTED:
        raise StorageError(
            f"step {place.chain}.{number} of run {place.run} was selected, but is not stored here with its prompt and "
            "its commit; select from the storage that is read"
        )
    attempts = _attempts(stored, refuted)
    if not any(attempt.is_committed for attempt in attempts):
        raise StorageError(
            f"step {place.chain}.{number} of run {place.run} was selected, but nothing was committed in it, or a "
            "second scoring has refuted that since; select again"
        )
    sample = Sample(
        trajectory=place,
        step=stored.step,
        prompt=stored.prompt,
        attempts=attempts,
        weight=selected.weight,
        split=selected.split,
    )
    return dataclasses.replace(sample, rewards=of_sample(sample, rewards))


def _attempts(stored: StoredStep, refuted: Mapping[CandidateKey, Failure]) -> tuple[Attempt, ...]:
    step = stored.step
    attempts = []
    for index in sorted({*stored.completions, *stored.candidates, *stored.evaluations}):
        key = CandidateKey(step.chain, step.step, index)
        evaluation = stored.evaluations.get(index)
        score, failure = _counts(evaluation, refuted.get(key))
        attempts.append(
            Attempt(
                key=key,
                completion=stored.completions.get(index),
                candidate=stored.candidates.get(index),
                evaluation=evaluation,
                score=score,
                failure=failure,
                is_committed=key == step.committed and score is not None,
            )
        )
    return tuple(attempts)


def _counts(
    evaluation: Evaluation | None, refutation: Failure | None
) -> tuple[float | None, FailureKind | None]:
    """The score that counts, or why there is none."""
    if evaluation is None or not evaluation.state.is_finished:
        return None, None
    if refutation is not None:
        return None, refutation.kind
    if evaluation.failure is not None:
        return None, evaluation.failure.kind
    return (evaluation.score.value if evaluation.score is not None else None), None
