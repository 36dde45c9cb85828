"""What a selector learns of a candidate: of a stored evaluation, and after a second one that disagrees."""

from __future__ import annotations

from discovery.records import Evaluation, Failure, Outcome


def refuted(outcome: Outcome, failure: Failure) -> Outcome:
    """An outcome whose second scoring disagreed."""
    return Outcome(
        key=outcome.key,
        source_hash=outcome.source_hash,
        score=None,
        failure=failure.kind,
        message=failure.message,
    )


def outcome_of(evaluation: Evaluation, source_hash: str | None) -> Outcome:
    """What a selector learns of an evaluated candidate; its source's hash is None where it has none."""
    return Outcome(
        key=evaluation.key,
        source_hash=source_hash,
        score=evaluation.score.value if evaluation.score else None,
        failure=evaluation.failure.kind if evaluation.failure else None,
        message=evaluation.failure.message if evaluation.failure else None,
        duplicate_of=evaluation.duplicate_of,
    )
