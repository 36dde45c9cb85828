"""One scoring of a problem that asks for repeats: the scorer several times, in turn with the baseline where declared.

Everything happens in one slot, one after another, so that candidate and baseline meet the same machine. The scorer
says a value each time; the score is the declared statistic of them, and what else it carries (metrics, feedback,
artifact) is that of the repeat whose value comes closest to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable

from discovery.declared import Repeats
from discovery.problem import Problem
from discovery.records import Failure, FailureKind, Score
from discovery.repeats import compared, estimate, order
from discovery.scoring.client import Verdict

ScoreOnce = Callable[[bool, int], Awaitable[Verdict]]
"""Runs the scorer once; told whether on the baseline rather than on the candidate, and which repeat it is, from 0."""


async def scored(problem: Problem, once: ScoreOnce) -> Verdict:
    """Have a candidate scored as often as its problem asks.

    Args:
        problem: The problem.
        once: Runs the scorer once.

    Returns:
        The verdict on all repeats together. The first repeat that fails ends the scoring with its failure.
    """
    repeats = problem.settings.repeats
    if repeats is None:
        return await once(False, 0)
    scores: list[Score] = []
    for turn in range(repeats.count):
        verdict = await _turn(repeats, turn, once)
        if verdict.score is None:
            return verdict
        scores.append(verdict.score)
    samples = tuple(score.value for score in scores)
    found = estimate(samples, repeats)
    if not problem.in_bounds(found.value):
        low, high = problem.settings.bounds
        message = (
            f"the score {found.value!r}, the {repeats.statistic} of {repeats.count} repeats, is not within the "
            f"declared bounds ({low}, {high})"
        )
        return Verdict(failure=Failure(kind=FailureKind.OUT_OF_BOUNDS, message=message))
    several = repeats.count > 1
    score = dataclasses.replace(
        scores[found.closest],
        value=found.value,
        samples=samples if several else (),
        interval=found.interval,
    )
    return Verdict(score=score)


async def _turn(repeats: Repeats, turn: int, once: ScoreOnce) -> Verdict:
    """One repeat; its value is the comparison with the baseline's where there is one."""
    if not repeats.baseline:
        return _told(await once(False, turn), turn, repeats)
    values: dict[bool, Score] = {}
    for is_baseline in order(turn):
        verdict = await once(is_baseline, turn)
        if verdict.score is None:
            return _told(verdict, turn, repeats, is_baseline=is_baseline)
        values[is_baseline] = verdict.score
    own, baseline = values[False], values[True]
    try:
        value = compared(own.value, baseline.value, repeats.comparison)
    except ValueError as error:
        return Verdict(failure=Failure(kind=FailureKind.SCORER, message=str(error)))
    return Verdict(score=dataclasses.replace(own, value=value))


def _told(verdict: Verdict, turn: int, repeats: Repeats, *, is_baseline: bool = False) -> Verdict:
    """A failed repeat's verdict that says which one it was; the baseline's failure is not the candidate's."""
    failure = verdict.failure
    if failure is None or not (turn or is_baseline):
        return verdict
    where = f"in repeat {turn + 1} of {repeats.count}"
    if not is_baseline:
        return Verdict(failure=dataclasses.replace(failure, message=f"{where}: {failure.message}"))
    baseline = repeats.baseline if isinstance(repeats.baseline, str) else "the initial candidate"
    message = f"the baseline ({baseline}) failed {where}: {failure.kind}: {failure.message}"
    return Verdict(failure=Failure(kind=FailureKind.SCORER, message=message, detail=failure.detail))
