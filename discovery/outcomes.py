"""What a selector learns of a candidate: of a stored evaluation, and after a second one that disagrees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from discovery.records import (
    Candidate,
    CandidateKey,
    CommittedStep,
    Direction,
    Evaluation,
    Failure,
    Json,
    Outcome,
    Purpose,
)

GENERATORS = "generators"
"""Under this name a step's ``selection`` says which member of a mixture makes each of its completions."""


def makers(selection: Mapping[str, Json]) -> dict[int, str]:
    """Which member of a mixture makes which completion of a step, by index; empty for one without a mixture."""
    return dict(enumerate(selection.get(GENERATORS, ())))


def refuted(outcome: Outcome, failure: Failure) -> Outcome:
    """An outcome whose second scoring disagreed."""
    return Outcome(
        key=outcome.key,
        program_hash=outcome.program_hash,
        score=None,
        failure=failure.kind,
        message=failure.message,
        generator=outcome.generator,
        tokens=outcome.tokens,
    )


def after_disagreements(step: CommittedStep, disagreed: Mapping[CandidateKey, Failure]) -> CommittedStep:
    """A committed step as it counts: without the scores that a second scoring did not confirm."""
    outcomes = tuple(
        refuted(outcome, disagreed[outcome.key]) if outcome.key in disagreed else outcome
        for outcome in step.outcomes
    )
    return replace(step, outcomes=outcomes, committed=None if step.committed in disagreed else step.committed)


def beginning(chain: int, initial: Outcome) -> CommittedStep:
    """Step 0 of a chain: the initial candidate that it starts from."""
    return CommittedStep(chain=chain, step=0, parents=(), outcomes=(initial,), committed=initial.key)


def duplicate(candidate: Candidate, first: Evaluation) -> Evaluation:
    """The evaluation of a candidate that is equal to one which is evaluated: nothing runs."""
    now = datetime.now(UTC)
    return replace(
        first,
        key=candidate.key,
        purpose=Purpose.SEARCH,
        attempt=0,
        duplicate_of=first.duplicate_of or first.key,
        durations=None,
        output=None,
        started_at=now,
        finished_at=now,
    )


def program_hash(source_hash: str, form: str | None, source_read: bool) -> str:
    """What an evaluated candidate is known by: its form, or its exact source where its score may hang on that.

    Args:
        source_hash: Of its source.
        form: Of its form; None where it has none.
        source_read: Whether its scorer has read the source.
    """
    return source_hash if form is None or source_read else form


def outcome_of(evaluation: Evaluation, candidate: Candidate | None, metrics: Sequence[str] = ()) -> Outcome:
    """What a selector learns of an evaluated candidate.

    Args:
        evaluation: Finished.
        candidate: The candidate; None where no program was found.
        metrics: Names of the metrics that the selector asks for.
    """
    score = evaluation.score
    return Outcome(
        key=evaluation.key,
        program_hash=None
        if candidate is None
        else program_hash(candidate.source_hash, candidate.form, evaluation.source_read),
        score=score.value if score else None,
        failure=evaluation.failure.kind if evaluation.failure else None,
        message=evaluation.failure.message if evaluation.failure else None,
        duplicate_of=evaluation.duplicate_of,
        solution=evaluation.solution,
        metrics=numbers(score.metrics, metrics) if score and metrics else {},
    )


def numbers(metrics: Mapping[str, Json], names: Sequence[str]) -> dict[str, float]:
    """Those of some metrics that are finite numbers; what is missing, or is none, is left out."""
    found = {}
    for name in names:
        value = metrics.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:  # a whole number of more than 308 digits
                continue
            if math.isfinite(number):
                found[name] = number
    return found


def best_of(outcomes: Iterable[Outcome], direction: Direction) -> Outcome | None:
    """The best of a step's outcomes, which is committed: the first among equals; None where none has a score."""
    best: Outcome | None = None
    for outcome in outcomes:
        if outcome.score is not None and (best is None or direction.better(outcome.score, best.score)):
            best = outcome
    return best
