"""A scorer at work on one candidate, within its time: the stages first, the scorer, and the exact one where asked for.

Knows a worker and what the candidate has used; knows neither slots nor sandboxes.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from discovery.problem import Problem
from discovery.records import Failure, FailureKind
from discovery.scoring.client import ScorerWorker, Serve, Verdict


@dataclass(slots=True)
class Usage:
    """What one scoring used of its sandbox.

    Args:
        wall_s: Wall time of candidate code, in seconds.
        cpu_s: CPU time of the same.
        output: What it wrote.
        serving: What runs in the sandbox now, None for nothing.
        timed_out: Whether a scorer was left in the middle of its work.
        source_read: Whether a scorer or a stage asked for the program's text.
        solution: Hash of the latest score's artifact, where that was asked for.
    """

    wall_s: float = 0.0
    cpu_s: float = 0.0
    output: str = ""
    serving: str | None = None
    timed_out: bool = False
    source_read: bool = False
    solution: str | None = None


class Judging:
    """Has one candidate scored by one worker.

    Args:
        problem: The problem.
        worker: Does it.
        has_exact: Whether the problem has an exact scorer.
        warm_start: What the program is given, and the baseline as well, encoded; None for nothing.
        hashes: Whether to find out what scored solutions are known by.
    """

    def __init__(
        self,
        problem: Problem,
        worker: ScorerWorker,
        *,
        has_exact: bool,
        warm_start: bytes | None = None,
        hashes: bool = False,
    ) -> None:
        self._problem = problem
        self._worker = worker
        self._has_exact = has_exact
        self._warm_start = warm_start
        self._hashes = hashes

    async def once(
        self, source: str, serve: Serve, usage: Usage, repeat: int = 0, stage: int | None = None
    ) -> Verdict:
        """Have the scorer, or a stage, say what it says within its time.

        Args:
            source: The candidate.
            serve: Runs its requests.
            usage: Of the candidate.
            repeat: Which of the problem's repeats it is, from 0.
            stage: Which stage, from 0; None: the scorer itself.
        """
        settings = self._problem.settings
        limit, setting, who = settings.scorer_timeout_s, "scorer_timeout_s", "the scorer"
        if stage is not None:
            who = f"stage {settings.stages[stage].name!r}"
            if (own := settings.stages[stage].timeout_s) is not None:
                limit, setting = own, f"timeout_s of {who}"
        try:
            async with asyncio.timeout(limit):
                verdict = await self._worker.score(
                    source, serve, repeat, stage, self._warm_start, hashes=self._hashes and stage is None
                )
        except TimeoutError:
            usage.timed_out = True
            kind = FailureKind.TIMEOUT if usage.serving else FailureKind.SCORER
            message = f"scoring took longer than {setting} = {limit:g} s; {usage.serving or who} was running"
            return Verdict(failure=Failure(kind=kind, message=message))
        usage.source_read |= verdict.source_read
        usage.solution = verdict.solution
        return verdict

    async def staged(
        self, source: str, serve: Serve, usage: Usage, scored: Callable[[], Awaitable[Verdict]]
    ) -> Verdict:
        """Have a candidate scored that passes all stages.

        Args:
            source: The candidate.
            serve: Runs its requests.
            usage: Of the candidate.
            scored: Has the costly score found out, all repeats of it.

        Returns:
            The verdict on the whole; the first stage that the candidate does not pass, or fails in, ends it.
        """
        reached = {}
        for number, stage in enumerate(self._problem.settings.stages):
            verdict = await self.once(source, serve, usage, stage=number)
            failure = verdict.failure
            if failure is not None:
                told = failure.message
                if failure.kind is not FailureKind.STAGE and not usage.timed_out:
                    told = f"in stage {stage.name!r}: {told}"
                return Verdict(failure=dataclasses.replace(failure, message=told))
            assert verdict.score is not None
            reached[stage.metric] = verdict.score.value
        verdict = await scored()
        if verdict.score is None or not reached:
            return verdict
        metrics = {**verdict.score.metrics, **reached}
        return Verdict(score=dataclasses.replace(verdict.score, metrics=metrics))

    async def exactly(self, verdict: Verdict) -> Verdict:
        """A verdict with the exact score, where the problem has one; or the failure that it is not confirmed."""
        if verdict.score is None or not self._has_exact:
            return verdict
        limit = self._problem.settings.exact_timeout_s
        try:
            async with asyncio.timeout(limit):
                return await self._worker.confirm(verdict.score)
        except TimeoutError:
            said = f"the exact scorer took longer than exact_timeout_s = {limit:g} s"
            message = f"scored {verdict.score.value!r}, and {said}"
            return Verdict(failure=Failure(kind=FailureKind.SCORER, message=message))
