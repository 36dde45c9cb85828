"""From a candidate to an Evaluation: the only place where candidates run.

An evaluation slot is a pair of a scorer worker and a sandbox. The worker runs the problem's scorer; when the
scorer uses its program, the request comes here and goes to the slot's sandbox; the sandbox's bytes go back. So the
way of the data is candidate -> sandbox -> bytes -> scorer -> score, and nothing that the candidate says is
believed on the way.

A failure of the candidate is a finished evaluation. A failure of the sandbox or of the scorer's process is not:
the slot is replaced and the evaluation repeated, uncharged, a bounded number of times.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from discovery import data
from discovery.errors import SandboxError, ScoringError, boundary
from discovery.problem import Limits, Problem
from discovery.progress import BusyMeter
from discovery.records import (
    Candidate,
    Durations,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Purpose,
    SandboxRecord,
    Score,
)
from discovery.sandbox.base import (
    CommandRun,
    FunctionCall,
    Sandbox,
    SandboxBackend,
    SandboxResult,
    SandboxSpec,
)
from discovery.scoring.client import ProgramRequest, ScorerHost, ScorerWorker, Serve, Verdict

_ATTEMPTS = 3
_OUTPUT_CHARS = 4000
_SCORE_TOLERANCE = 1e-9
_SUFFIXES = {
    "python": ".py",
    "c": ".c",
    "cpp": ".cpp",
    "c++": ".cpp",
    "rust": ".rs",
    "javascript": ".js",
    "shell": ".sh",
}


@dataclass(eq=False)
class _Slot:
    sandbox: Sandbox
    worker: ScorerWorker


@dataclass(slots=True)
class _Usage:
    """What one evaluation used of its sandbox."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    output: str = ""
    serving: bool = False


class Evaluator:
    """Evaluates candidates of one problem in a fixed number of slots.

    Args:
        problem: The problem.
        backend: Makes the sandboxes; None for an evaluator of data only.
        slots: How many evaluations run at once.
        label: Run id, for finding orphans.
        find_source: Finds a stored finished evaluation of a source by its hash; None looks nothing up.
    """

    def __init__(
        self,
        problem: Problem,
        backend: SandboxBackend | None = None,
        *,
        slots: int,
        label: str = "discovery",
        find_source: Callable[[str], Evaluation | None] | None = None,
    ) -> None:
        self.problem = problem
        self.meter = BusyMeter(slots)
        self.record: SandboxRecord | None = None
        self._backend = backend
        self._spec = SandboxSpec(packages=problem.settings.packages, label=label)
        self._host = ScorerHost(problem)
        self._free: asyncio.LifoQueue[_Slot | None] = asyncio.LifoQueue()
        for _ in range(slots):
            self._free.put_nowait(None)
        self._live: set[_Slot] = set()
        self._find_source = find_source
        self._seen: set[int] = set()
        self._in_flight: dict[str, asyncio.Future[Evaluation]] = {}

    async def start(self) -> SandboxRecord | None:
        """Start the scorer's host and verify the sandbox.

        Returns:
            The verified properties, whose id every evaluation carries; None without a backend.

        Raises:
            ProblemError: The plugin does not load in the scorer's process.
            SandboxError: The backend does not work here.
        """
        await self._host.start()
        if self._backend is not None:
            self.record = await self._backend.verify(self._spec)
        return self.record

    def remember(self, source_hash: str) -> None:
        """Note a source that has a stored result, so that a later equal one is looked up."""
        self._seen.add(_short(source_hash))

    async def evaluate(self, candidate: Candidate) -> Evaluation:
        """Score a candidate, or take over the result of an equal one if the scorer is deterministic.

        Args:
            candidate: Stored before.

        Returns:
            A finished evaluation.

        Raises:
            SandboxError: The sandbox could not do it in several tries; nothing was charged.
        """
        if not self.problem.settings.deterministic:
            return await self._in_slot(candidate, Purpose.SEARCH)
        source_hash = candidate.source_hash
        while (running := self._in_flight.get(source_hash)) is not None:
            await asyncio.wait([running])
            if not running.cancelled() and running.exception() is None:
                return _duplicate(candidate, running.result())
        known = self._known(source_hash)
        if known is not None and known.key != candidate.key:
            return _duplicate(candidate, known)
        future: asyncio.Future[Evaluation] = asyncio.get_running_loop().create_future()
        self._in_flight[source_hash] = future
        try:
            evaluation = await self._in_slot(candidate, Purpose.SEARCH)
            future.set_result(evaluation)
            return evaluation
        finally:
            future.cancel()
            if self._in_flight.get(source_hash) is future:
                del self._in_flight[source_hash]

    async def verify(self, candidate: Candidate, claimed: Score) -> Evaluation:
        """Score a candidate again in a scorer process that has never scored, and compare.

        Args:
            candidate: The candidate.
            claimed: Its score.

        Returns:
            A finished evaluation with purpose VERIFY; a failure of kind DISAGREEMENT when a deterministic
            scorer's second score differs by more than one part in 10^9, or is none.

        Raises:
            SandboxError: As for :meth:`evaluate`.
        """
        evaluation = await self._in_slot(candidate, Purpose.VERIFY)
        again = evaluation.score
        if again is not None and (
            not self.problem.settings.deterministic
            or math.isclose(again.value, claimed.value, rel_tol=_SCORE_TOLERANCE, abs_tol=1e-300)
        ):
            return evaluation
        found = evaluation.failure.message if evaluation.failure else repr(again and again.value)
        return dataclasses.replace(
            evaluation,
            state=EvaluationState.FAILED,
            score=None,
            failure=Failure(
                kind=FailureKind.DISAGREEMENT,
                message=f"scored {claimed.value!r} first, but a second scoring in a fresh process gave: {found}",
                detail=evaluation.failure.detail if evaluation.failure else None,
            ),
        )

    async def evaluate_data(self, candidate: Candidate, solution: data.Data) -> Evaluation:
        """Score a solution given as data, as if the problem's entry function had returned it.

        Args:
            candidate: Names the evaluation; its source is what ``program.source`` shows.
            solution: Plain data.

        Returns:
            A finished evaluation.
        """
        entry = self.problem.settings.entry
        encoded = data.encode(solution)
        started = datetime.now(UTC)
        begun = time.monotonic()

        async def serve(request: ProgramRequest) -> SandboxResult:
            if request.function == entry and data.decode(request.body) == [[], {}]:
                return SandboxResult(data=encoded, wall_s=0.0)
            wanted = f"{request.function}(...)" if request.function else "the program as a process"
            failure = Failure(
                kind=FailureKind.INVALID,
                message=f"the scorer runs {wanted}, so this problem scores programs, not data; give a program file",
            )
            return SandboxResult(failure=failure, wall_s=0.0)

        worker = await self._fork()
        try:
            verdict = await self._judge(worker, candidate.source, serve, _Usage())
        finally:
            worker.kill()
        durations = Durations(wall_s=time.monotonic() - begun)
        return self._finished(candidate, Purpose.SEARCH, verdict, started, durations, None)

    async def close(self) -> None:
        """End all slots and the scorer's host. May be called twice."""
        for slot in list(self._live):
            await self._discard(slot)
        self._host.close()

    def cleanup(self) -> None:
        """Like ``close``, without an event loop, for ``atexit``."""
        for slot in list(self._live):
            slot.sandbox.cleanup()
            slot.worker.kill()
        self._live.clear()
        self._host.close()

    def _known(self, source_hash: str) -> Evaluation | None:
        if self._find_source is None or _short(source_hash) not in self._seen:
            return None
        return self._find_source(source_hash)

    async def _in_slot(self, candidate: Candidate, purpose: Purpose) -> Evaluation:
        slot = await self._free.get()
        self.meter.change(1)
        try:
            for attempt in range(_ATTEMPTS):
                try:
                    if slot is None:
                        slot = await self._new_slot()
                    return await self._attempt(slot, candidate, purpose, attempt)
                except (SandboxError, ScoringError) as error:
                    if slot is not None:
                        await self._discard(slot)
                        slot = None
                    last: Exception = error
            if isinstance(last, ScoringError):
                return self._scorer_died(candidate, purpose, last)
            raise SandboxError(
                f"candidate {candidate.key} could not be evaluated in {_ATTEMPTS} tries: {last}"
            ) from last
        except BaseException:
            if slot is not None:
                await asyncio.shield(self._discard(slot))
                slot = None
            raise
        finally:
            self.meter.change(-1)
            self._free.put_nowait(slot if slot in self._live else None)

    async def _attempt(self, slot: _Slot, candidate: Candidate, purpose: Purpose, attempt: int) -> Evaluation:
        started = datetime.now(UTC)
        begun = time.monotonic()
        usage = _Usage()

        async def serve(request: ProgramRequest) -> SandboxResult:
            usage.serving = True
            result = await slot.sandbox.run(self._request(candidate.source, request))
            usage.serving = False
            usage.wall_s += result.wall_s
            usage.cpu_s += result.cpu_s or 0.0
            if len(usage.output) < _OUTPUT_CHARS and (result.stdout or result.stderr):
                usage.output += result.stdout + result.stderr
            return result

        worker = slot.worker if purpose is Purpose.SEARCH else await self._fork()
        try:
            verdict = await self._judge(worker, candidate.source, serve, usage)
        finally:
            if worker is not slot.worker:
                worker.kill()
        if verdict.failure is not None and verdict.failure.kind in (
            FailureKind.TIMEOUT,
            FailureKind.SCORER,
        ):
            await self._discard(slot)
        durations = Durations(
            wall_s=time.monotonic() - begun, sandbox_s=usage.wall_s, sandbox_cpu_s=usage.cpu_s
        )
        output = usage.output[:_OUTPUT_CHARS] or None
        evaluation = self._finished(candidate, purpose, verdict, started, durations, output)
        return dataclasses.replace(evaluation, attempt=attempt) if attempt else evaluation

    async def _judge(
        self,
        worker: ScorerWorker,
        source: str,
        serve: Serve,
        usage: _Usage,
    ) -> Verdict:
        limit = self.problem.settings.scorer_timeout_s
        try:
            async with asyncio.timeout(limit):
                return await worker.score(source, serve)
        except TimeoutError:
            kind = FailureKind.TIMEOUT if usage.serving else FailureKind.SCORER
            who = "the program" if usage.serving else "the scorer"
            message = f"scoring took longer than scorer_timeout_s = {limit:g} s; {who} was running"
            return Verdict(failure=Failure(kind=kind, message=message))

    def _request(self, source: str, request: ProgramRequest) -> FunctionCall | CommandRun:
        limits = _shortened(self.problem.settings.limits, request.timeout_s)
        if request.function is not None:
            return FunctionCall(
                source=source, function=request.function, arguments=request.body, limits=limits
            )
        settings = self.problem.settings
        command = settings.command or (str(Path(sys.executable).resolve()), "{program}")
        return CommandRun(
            source=source,
            argv=(*command, *request.args),
            suffix=program_suffix(self.problem),
            stdin=request.body,
            limits=limits,
        )

    def _finished(
        self,
        candidate: Candidate,
        purpose: Purpose,
        verdict: Verdict,
        started: datetime,
        durations: Durations,
        output: str | None,
    ) -> Evaluation:
        return Evaluation(
            key=candidate.key,
            purpose=purpose,
            state=EvaluationState.FAILED if verdict.failure else EvaluationState.SCORED,
            score=verdict.score,
            failure=verdict.failure,
            durations=durations,
            output=output,
            sandbox=self.record.id if self.record else None,
            scorer_version=self.problem.version,
            started_at=started,
            finished_at=datetime.now(UTC),
        )

    def _scorer_died(self, candidate: Candidate, purpose: Purpose, error: Exception) -> Evaluation:
        now = datetime.now(UTC)
        failure = Failure(
            kind=FailureKind.SCORER, message=f"{error} (in each of {_ATTEMPTS} fresh processes)"
        )
        return self._finished(candidate, purpose, Verdict(failure=failure), now, Durations(wall_s=0.0), None)

    async def _new_slot(self) -> _Slot:
        if self._backend is None:
            raise SandboxError("this evaluator has no sandbox; it scores data only")
        with boundary("making a sandbox", SandboxError):
            sandbox = self._backend.create(self._spec)
        worker = await self._fork()
        try:
            with boundary("starting a sandbox", SandboxError):
                await sandbox.start()
        except BaseException:
            worker.kill()
            sandbox.cleanup()
            raise
        slot = _Slot(sandbox, worker)
        self._live.add(slot)
        return slot

    async def _fork(self) -> ScorerWorker:
        """A worker that has scored nothing; without one nobody can be blamed, the candidate least of all."""
        try:
            return await self._host.fork()
        except ScoringError as error:
            raise SandboxError(f"no scorer's process can be started: {error}") from error

    async def _discard(self, slot: _Slot) -> None:
        self._live.discard(slot)
        slot.worker.kill()
        with suppress(SandboxError):
            await slot.sandbox.close()


def program_suffix(problem: Problem) -> str:
    """The ending of a program's file name in the problem's language, with its dot."""
    return _SUFFIXES.get(problem.settings.language, ".txt")


def _duplicate(candidate: Candidate, first: Evaluation) -> Evaluation:
    now = datetime.now(UTC)
    return dataclasses.replace(
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


def _shortened(limits: Limits, timeout_s: float | None) -> Limits:
    if timeout_s is None or not timeout_s < limits.wall_s:  # not a number is no limit either
        return limits
    return dataclasses.replace(limits, wall_s=max(timeout_s, 0.001))


def _short(source_hash: str) -> int:
    return int(source_hash[:16], 16)
