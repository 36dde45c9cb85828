"""Whether a second scoring confirms a first one.

A scorer is a function of the candidate, so two results must be the same: the same score within rounding, or the same
kind of failure. Where the problem says that its scores are noisy, two scores agree when their intervals overlap;
without repeats nothing is known of the noise, and any valid score confirms another.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from discovery.problem import Problem
from discovery.records import Evaluation, EvaluationState, Failure, FailureKind, Score
from discovery.repeats import overlap

_TOLERANCE = 1e-9
"""Of the value: more than the rounding of a sum that was taken in another order, less than any improvement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What two scorings of one candidate say together.

    Args:
        holds: Whether the second confirms the first.
        note: Both results in one line; for an agreement only where it says little, else None.
    """

    holds: bool
    note: str | None = None


def is_noisy(problem: Problem) -> bool:
    """Whether two scorings of one candidate may rightly differ."""
    return problem.settings.repeats is not None or not problem.settings.deterministic


def compare(problem: Problem, first: Evaluation, again: Evaluation) -> Agreement:
    """Whether a second scoring confirms a first one.

    Args:
        problem: Says how much noise is right.
        first: The finished evaluation in doubt.
        again: Another of the same candidate, made from nothing.
    """
    if first.score is None or again.score is None:
        both_failed = first.failure is not None and again.failure is not None
        if both_failed and first.failure.kind is again.failure.kind:  # type: ignore[union-attr]
            return Agreement(holds=True)
        return Agreement(holds=False, note=_both(first, again))
    a, b = first.score, again.score
    if math.isclose(a.value, b.value, rel_tol=_TOLERANCE, abs_tol=1e-300):
        return Agreement(holds=True)
    if not is_noisy(problem):
        return Agreement(holds=False, note=_both(first, again))
    if a.interval is not None and b.interval is not None:
        if overlap(a.interval, b.interval):
            return Agreement(holds=True)
        return Agreement(holds=False, note=f"{_both(first, again)}: the intervals do not overlap")
    return Agreement(
        holds=True,
        note=f"scored {a.value!r} first and {b.value!r} again; the problem's scores are noisy and it declares no "
        "repeats, so any valid score confirms it",
    )


def confirmed(problem: Problem, first: Evaluation, again: Evaluation) -> Evaluation:
    """The second scoring as it is stored.

    Args:
        problem: Says how much noise is right.
        first: The evaluation in doubt.
        again: The second one.

    Returns:
        The second one with the first one's suspicion; failed with kind DISAGREEMENT where they disagree.
    """
    agreement = compare(problem, first, again)
    suspicion = first.suspicion
    if agreement.holds:
        if suspicion is not None and agreement.note is not None:
            suspicion = f"{suspicion}; {agreement.note}"
        return dataclasses.replace(again, suspicion=suspicion)
    detail = again.failure.detail if again.failure is not None else None
    failure = Failure(kind=FailureKind.DISAGREEMENT, message=agreement.note or "", detail=detail)
    return dataclasses.replace(
        again, state=EvaluationState.FAILED, score=None, failure=failure, suspicion=suspicion
    )


def _both(first: Evaluation, again: Evaluation) -> str:
    found, found_again = (shown(e.score) if e.score is not None else _failed(e) for e in (first, again))
    return f"scored {found} first, but a second scoring from nothing gave: {found_again}"


def _failed(evaluation: Evaluation) -> str:
    failure = evaluation.failure
    return "nothing" if failure is None else f"{failure.kind}: {failure.message}"


def shown(score: Score) -> str:
    """A score in full, with its interval where it has one: ``1.5 [1.25, 2.0]``."""
    if score.interval is None:
        return repr(score.value)
    return f"{score.value!r} [{score.interval[0]:.10g}, {score.interval[1]:.10g}]"
