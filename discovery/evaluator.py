"""From a candidate to an Evaluation: the only place where candidates run.

An evaluation has a slot of :mod:`discovery.slots`: a scorer's worker and a sandbox. The worker runs the problem's
scorer; when the scorer uses its program, the request comes here and goes to the slot's sandbox; the sandbox's
bytes go back. So the way of the data is candidate -> sandbox -> bytes -> scorer -> score, and nothing that the
candidate says is believed on the way.

Stages, where a problem declares them, come first (:mod:`discovery.judging`). It may ask for several repeats, in turn
with a baseline, on CPUs of their own; that is still one evaluation, stages included. A second scoring goes through all
of that again; of a result in doubt, or in an audit, it has a slot that nothing has used before. Where a problem has an
exact scorer, every second scoring ends with it: it decides on what the quick one has scored, in the same process and
slot, with a time limit of its own, and what it does not confirm has no score. A search does without.

A failure of the candidate is a finished evaluation. A failure of the sandbox or of the scorer's process is not:
the slot is replaced and the evaluation repeated, uncharged, a bounded number of times. The last time it is repeated
in a sandbox that was just seen to work, so that a candidate that ends this one, too, is known to be to blame: it is
stored as failed, and the run goes on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from discovery import data, rounds
from discovery.agreement import confirmed
from discovery.builds import Builds
from discovery.errors import SandboxError, SandboxUnavailable, ScoringError
from discovery.judging import Judging, Usage
from discovery.outcomes import duplicate
from discovery.problem import Problem
from discovery.records import (
    Candidate,
    CandidateKey,
    Durations,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Purpose,
    SandboxRecord,
)
from discovery.repeats import Cores
from discovery.sandbox.base import SandboxBackend, SandboxResult
from discovery.sandbox.spec import spec_of
from discovery.scoring.client import ProgramRequest, ScorerHost, ScorerWorker, Verdict
from discovery.serving import OUTPUT_CHARS, Means, serving
from discovery.slots import Slot, SlotPool
from discovery.toolchain import suffix_of, toolchain
from discovery.twins import Find, Twins

_ATTEMPTS = 3
_MOST_EXCUSED = 20

Keep = Callable[[Evaluation], Awaitable[Evaluation]]
"""Stores a finished evaluation, and returns it as it is stored."""


class Evaluator:
    """Evaluates candidates of one problem in a fixed number of slots.

    Args:
        problem: The problem.
        backend: Makes the sandboxes; None for an evaluator of data only.
        slots: How many evaluations run at once; fewer where each has CPUs for itself and there are not enough.
        label: Run id, for finding orphans.
        recycle_after: Evaluations after which a slot gets a new sandbox.
        find_source: Finds a stored result that holds for a program; None looks nothing up.
        find_artifact: Finds what the candidates of the run are given as a warm start, by whose artifact it is; None
            for an evaluator without a run.
        knows_solutions: Whether results are to say what was scored, so that equal solutions are known.

    Raises:
        ConfigError: The problem asks for more CPUs for each evaluation than there are.
    """

    def __init__(
        self,
        problem: Problem,
        backend: SandboxBackend | None = None,
        *,
        slots: int,
        label: str = "discovery",
        recycle_after: int = 1000,
        find_source: Find | None = None,
        find_artifact: Callable[[CandidateKey], bytes] | None = None,
        knows_solutions: bool = False,
    ) -> None:
        self.problem = problem
        self.record: SandboxRecord | None = None
        repeats = problem.settings.repeats
        self._cores = Cores(repeats.cores if repeats is not None and backend is not None else 0)
        slots = min(slots, self._cores.evaluations or slots)
        self.swept: tuple[str, ...] = ()
        self._backend = backend
        chain = toolchain(problem.settings)
        self._spec = spec_of(problem, chain, label)
        self._builds = (
            Builds(chain, suffix_of(problem.settings), files=problem.files) if chain.build else None
        )
        self._host = ScorerHost(problem)
        self.pool = SlotPool(self._host, backend, self._spec, slots=slots, recycle_after=recycle_after)
        self.meter = self.pool.meter
        self._twins = Twins(find_source)
        self._find_artifact = find_artifact
        # Of a statistic of several scorings the artifact is one of theirs, and where one program scores differently
        # from time to time, two may as well.
        is_exact = problem.settings.deterministic and repeats is None
        self._knows_solutions = knows_solutions and is_exact

    async def start(self) -> SandboxRecord | None:
        """Start the scorer's host, remove what dead processes have left, and verify the sandbox.

        Returns:
            The verified properties, whose id every evaluation carries; None without a backend.

        Raises:
            ProblemError: The plugin does not load in the scorer's process.
            SandboxError: The backend does not work here.
        """
        self._cores.keep_off()
        await self._host.start()
        if self._backend is not None:
            self.swept = tuple(await asyncio.to_thread(self._backend.sweep))
            self.record = await self._backend.verify(self._spec)
        return self.record

    def remember(self, program: str) -> None:
        """Note a program that has a stored result, by its hash, so that a later equal one is looked up."""
        self._twins.remember(program)

    async def evaluate(self, candidate: Candidate, keep: Keep | None = None) -> Evaluation:
        """Score a candidate, or take over the result of an equal one if the scorer is deterministic.

        Equal are those of one source, or of one form, that are given the same warm start: :mod:`discovery.twins`.

        Args:
            candidate: Stored before.
            keep: Stores the result; equal programs that come meanwhile wait for that, so that none is scored again.

        Returns:
            A finished evaluation, as it was kept.

        Raises:
            SandboxUnavailable: No sandbox can be started, and the pool has nobody who waits; nothing was charged.
            UsageError: None ever could be: a component is missing, or the problem has changed.
        """
        keep = keep or _as_it_is
        if not self.problem.settings.deterministic:
            return await keep(await self._in_slot(candidate, Purpose.SEARCH))
        original = await self._twins.original(candidate)
        if original is not None:
            return await keep(duplicate(candidate, original))
        with self._twins.scoring(candidate) as tell:
            evaluation = await keep(await self._in_slot(candidate, Purpose.SEARCH))
            if keep is not _as_it_is:
                self._twins.kept(candidate, evaluation)
            tell(evaluation)
            return evaluation

    async def verify(self, candidate: Candidate, claimed: Evaluation) -> Evaluation:
        """Score a candidate again in a scorer's process that has never scored, and compare.

        A result in doubt (one that carries a suspicion) has a new sandbox, too.

        Args:
            candidate: The candidate.
            claimed: Its evaluation, finished: a score, or a failure that may not be its own.

        Returns:
            A finished evaluation with purpose VERIFY; a failure of kind DISAGREEMENT when it does not confirm the
            one that is claimed (see :func:`discovery.agreement.compare`).

        Raises:
            SandboxError: As for :meth:`evaluate`.
        """
        anew = claimed.suspicion is not None
        return confirmed(self.problem, claimed, await self._in_slot(candidate, Purpose.VERIFY, anew=anew))

    async def rescore(self, candidate: Candidate, warm_start: bytes | None = None) -> Evaluation:
        """Score a candidate from nothing: with a sandbox and a scorer's process that nothing has used; exactly, too.

        Args:
            candidate: The candidate.
            warm_start: What its program is given, encoded, where the evaluator cannot find that by itself.

        Returns:
            A finished evaluation with purpose AUDIT.

        Raises:
            SandboxError: As for :meth:`evaluate`.
        """
        return await self._in_slot(candidate, Purpose.AUDIT, anew=True, warm_start=warm_start)

    async def evaluate_data(
        self, candidate: Candidate, solution: data.Data, warm_start: bytes | None = None
    ) -> Evaluation:
        """Score a solution given as data, as if the problem's entry function had returned it; exactly, too.

        Args:
            candidate: Names the evaluation; its source is what ``program.source`` shows.
            solution: Plain data.
            warm_start: What the entry function was given, encoded.

        Returns:
            A finished evaluation.
        """
        entry = self.problem.settings.entry
        calls = [data.encode([[], {}])]
        if self.problem.settings.warm_start:
            calls.append(data.encode([[None if warm_start is None else data.decode(warm_start)], {}]))
        encoded = data.encode(solution)
        started = datetime.now(UTC)
        begun = time.monotonic()

        async def serve(request: ProgramRequest) -> SandboxResult:
            if request.function == entry and request.body in calls:
                return SandboxResult(data=encoded, wall_s=0.0)
            wanted = f"{request.function}(...)" if request.function else "the program as a process"
            failure = Failure(
                kind=FailureKind.INVALID,
                message=f"the scorer runs {wanted}, so this problem scores programs, not data; give a program file",
            )
            return SandboxResult(failure=failure, wall_s=0.0)

        async with self.pool.fresh_worker() as worker:
            judging, usage = self._judging(worker, warm_start), Usage()

            async def once(is_baseline: bool, repeat: int) -> Verdict:
                if is_baseline:
                    message = (
                        "this problem scores programs in turn with a baseline, not data; give a program file"
                    )
                    return Verdict(failure=Failure(kind=FailureKind.INVALID, message=message))
                return await judging.once(candidate.source, serve, usage, repeat)

            verdict = await judging.staged(
                candidate.source, serve, usage, lambda: rounds.scored(self.problem, once)
            )
            verdict = await judging.exactly(verdict)
        durations = Durations(wall_s=time.monotonic() - begun)
        return self._finished(candidate, Purpose.SEARCH, verdict, started, durations, None)

    async def close(self) -> None:
        """End all slots and the scorer's host. May be called twice."""
        await self.pool.close()
        self._host.close()
        self._cores.restore()

    def cleanup(self) -> None:
        """Like ``close``, without an event loop, for ``atexit``."""
        self.pool.cleanup()
        self._host.close()
        self._cores.restore()

    async def _in_slot(
        self, candidate: Candidate, purpose: Purpose, *, anew: bool = False, warm_start: bytes | None = None
    ) -> Evaluation:
        if warm_start is None and candidate.warm_start is not None:
            if self._find_artifact is None:
                raise ValueError(f"candidate {candidate.key} was given a warm start; give its data")
            warm_start = self._find_artifact(candidate.warm_start)
        attempt = excused = 0
        while True:
            # Before a candidate is blamed for the end of its sandbox, that one was seen to work.
            is_last = attempt == _ATTEMPTS - 1
            fresh = anew or is_last
            lent = self.pool.fresh_slot(proven=is_last) if fresh else self.pool.slot()
            async with lent as slot:
                try:
                    return await self._attempt(slot, candidate, purpose, attempt, warm_start)
                except (SandboxError, ScoringError) as error:
                    slot.spoil(str(error))
                    last = error
                # Somebody ended the host, and with it the workers of all.
                is_excused = not slot.worker.has_host
            is_excused = is_excused or isinstance(last, SandboxUnavailable)
            if is_excused and excused < _MOST_EXCUSED:
                excused += 1
                if isinstance(last, SandboxUnavailable):
                    await self.pool.pause(last, excused)
            elif is_last:
                return self._blamed(candidate, purpose, last)
            else:
                attempt += 1

    async def _attempt(
        self, slot: Slot, candidate: Candidate, purpose: Purpose, attempt: int, warm_start: bytes | None
    ) -> Evaluation:
        started = datetime.now(UTC)
        begun = time.monotonic()
        own, baseline = Usage(), Usage()
        async with self._means(slot, purpose) as means:
            judging = self._judging(means.worker, warm_start)
            serve = serving(self.problem, means, candidate.source, own, candidate.form)

            async def once(is_baseline: bool, repeat: int) -> Verdict:
                if not is_baseline:
                    return await judging.once(candidate.source, serve, own, repeat)
                source = self.problem.compared_with
                return await judging.once(
                    source, serving(self.problem, means, source, baseline), baseline, repeat
                )

            verdict = await judging.staged(
                candidate.source, serve, own, lambda: rounds.scored(self.problem, once)
            )
            if purpose is not Purpose.SEARCH:
                verdict = await judging.exactly(verdict)
        if own.timed_out or baseline.timed_out:
            slot.spoil_worker("left in the middle of its work")
        elif verdict.failure is not None and verdict.failure.kind is FailureKind.SCORER:
            slot.spoil_worker("its scorer failed")
        durations = Durations(wall_s=time.monotonic() - begun, sandbox_s=own.wall_s, sandbox_cpu_s=own.cpu_s)
        output = own.output[:OUTPUT_CHARS] or None
        evaluation = self._finished(candidate, purpose, verdict, started, durations, output)
        return dataclasses.replace(
            evaluation,
            attempt=attempt,
            solution=own.solution if verdict.score is not None else None,
            source_read=own.source_read or baseline.source_read,
        )

    @asynccontextmanager
    async def _means(self, slot: Slot, purpose: Purpose) -> AsyncIterator[Means]:
        cores = self._cores.take()
        try:
            if purpose is Purpose.SEARCH:
                yield Means(slot, slot.worker, self._builds, cores)
                return
            # A second scoring believes nothing that is left of the first.
            builds = self._builds and self._builds.anew()
            if slot.is_fresh:
                yield Means(slot, slot.worker, builds, cores)
                return
            async with self.pool.fresh_worker() as worker:
                yield Means(slot, worker, builds, cores)
        finally:
            self._cores.give(cores)

    def _judging(self, worker: ScorerWorker, warm_start: bytes | None) -> Judging:
        return Judging(
            self.problem,
            worker,
            has_exact=self._host.has_exact,
            warm_start=warm_start,
            hashes=self._knows_solutions,
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

    def _blamed(self, candidate: Candidate, purpose: Purpose, error: Exception) -> Evaluation:
        """For what ended a scorer's process or a sandbox in each attempt, the last of which was in new ones."""
        now = datetime.now(UTC)
        if isinstance(error, ScoringError):
            kind, message = FailureKind.SCORER, f"{error} (in each of {_ATTEMPTS} fresh processes)"
        else:
            kind = FailureKind.SANDBOX
            message = (
                f"ended each of {_ATTEMPTS} sandboxes that it was given, the last one right after another program "
                f"had run in it without fault: {error}"
            )
        verdict = Verdict(failure=Failure(kind=kind, message=message))
        evaluation = self._finished(candidate, purpose, verdict, now, Durations(wall_s=0.0), None)
        return dataclasses.replace(evaluation, attempt=_ATTEMPTS - 1)


async def _as_it_is(evaluation: Evaluation) -> Evaluation:
    return evaluation
