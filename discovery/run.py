"""A run from its first evaluation to its last: start, resume, and a summary of what is stored.

``Run`` is plain asyncio over ports: it takes the run's leases, folds stored steps back into memory, drives all
chains at once, and leaves a status behind. How a step is executed is a parameter, so that a scheduler can wrap
each one; nothing here knows of any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial

from discovery import beginnings
from discovery.adviser import Adviser
from discovery.barrier import Barrier, rungs_of
from discovery.beginnings import Start
from discovery.best import BestKeeper, best_announced
from discovery.briefing import refuse_what_cannot_fit
from discovery.budget import Ledger, Spent, Tokens
from discovery.chain import Chain, ended_by
from discovery.config import RunConfig
from discovery.errors import (
    GeneratorRefused,
    LeaseLost,
    SandboxError,
    StorageError,
    UsageError,
)
from discovery.evaluator import Evaluator
from discovery.generation.arms import Arms
from discovery.generation.base import Generator
from discovery.generation.prompt import view
from discovery.opening import opened
from discovery.outcomes import after_disagreements, beginning
from discovery.pace import GenerationGate, Outage, following
from discovery.past import Course
from discovery.ports import Ports
from discovery.pressure import Pressure
from discovery.prices import Tariff
from discovery.problem import Problem
from discovery.progress import Progress
from discovery.pulse import Pulse
from discovery.recorded import config_of as config_of
from discovery.recorded import new_run as new_run
from discovery.recorded import resumed as resumed
from discovery.records import (
    CandidateKey,
    CommittedStep,
    Failure,
    Json,
    RunStatus,
)
from discovery.selection.base import Selector, notice_of
from discovery.step import OpenStep, StepRunner
from discovery.storage.base import RunRecord, Storage
from discovery.storage.journal import Journal
from discovery.summary import RunSummary, summarize
from discovery.supervision import Supervision


class Run:
    """One process's execution of a run.

    Args:
        record: The run, stored or (when ``is_new``) about to be.
        config: How to run it.
        problem: Its problem, of the recorded version.
        storage: Where it lives.
        generator: Makes completions; started by the caller.
        selector: Chooses parents; has observed nothing yet.
        evaluator: Scores; started by the caller.
        advising: Answers what is no candidate; started by the caller; None where nothing asks.
        is_new: Whether to store the run first.
    """

    def __init__(
        self,
        record: RunRecord,
        config: RunConfig,
        problem: Problem,
        storage: Storage,
        *,
        generator: Generator,
        selector: Selector,
        evaluator: Evaluator,
        advising: Generator | None = None,
        is_new: bool,
    ) -> None:
        self.record = record
        self.config = config
        self.problem = problem
        self._storage = storage
        self._generator = generator
        self._selector = selector
        self._evaluator = evaluator
        self._advising = advising
        self._is_new = is_new
        search = config.search
        self.progress = Progress(problem.direction, config.planned_evaluations, search.chains)
        slots, pressure = config.slots.generation, Pressure.of(config)
        self._pressure = pressure if slots is None else None
        self._gate = GenerationGate(slots or pressure.limit)
        self.progress.generation = self._gate.meter
        self.progress.evaluation = evaluator.meter
        self.progress.too_long = int(record.facts.get("too_long") or 0)
        self._supervision = Supervision(record, storage, self.progress, self._facts)
        self._reasons: dict[int, str] = {}

    @property
    def notice(self) -> str | None:
        """What whoever starts it should know, in one line; None when nothing."""
        said = notice_of(self._selector)
        there, chains = len(self.problem.initials), self.config.search.chains
        unused = (
            f"of {there} initial candidates the first {chains} are used; --chains {there} starts from all"
        )
        return said if there <= chains else "; ".join(filter(None, (said, unused)))

    async def execute(self, step_runner: StepRunner | None = None) -> RunSummary:
        """Run to the end of the budget.

        Args:
            step_runner: Completes one open step; by default ``step.complete()``.

        Returns:
            The summary at the end.

        Raises:
            ProblemError: An initial candidate has no score; nothing was stored of a new run.
            ConfigError: Statement and an initial candidate do not fit into the model's context; likewise.
            RunBusy: Another live process holds the run.
            GeneratorRefused: The generator refuses for good.
            SandboxError: No sandbox can be started for an initial candidate; later ones wait for it.
            StorageError: A record could not be stored.
            UsageError: No sandbox could ever be started: a component is missing, or the problem has changed.
        """
        starts = await opened(
            self.problem,
            self.config.search,
            self._evaluator,
            self._storage,
            None if self._is_new else self.record.id,
            reference=self.config.problem,
        )
        for initial, evaluation in starts:
            assert evaluation.score is not None
            shown = view(initial, evaluation.score)
            await refuse_what_cannot_fit(self.config.prompt, self.problem, self._generator, shown)
        if self._is_new:
            self._storage.create_run(self.record)
            self._is_new = False
        journal = Journal(self._storage)
        status, message = RunStatus.STOPPED, None
        try:
            self._supervision.begin(self.config.search.chains, self.record.config)
            async with following(self._gate, self._generator, self._pressure):
                await self._drive(journal, starts, step_runner or OpenStep.complete)
            status, message = RunStatus.FINISHED, self._ended_by()
        except asyncio.CancelledError:
            message = "interrupted"
            raise
        except (GeneratorRefused, SandboxError, StorageError, UsageError) as error:
            status, message = RunStatus.FAILED, str(error)
            raise
        finally:
            try:
                await journal.close()
            finally:
                self._supervision.leave(status, message)
        return summarize(self._storage, self.record.id)

    @property
    def swept(self) -> tuple[str, ...]:
        """What dead processes had left and was removed at the start, each in a line."""
        return self._evaluator.swept

    def _facts(self) -> dict[str, Json]:
        evaluation = self.progress.evaluation
        facts = {
            "spoiled_prompt_tokens": self._spoiled().prompt,
            "spoiled_completion_tokens": self._spoiled().completion,
            "generator_utilisation": self._gate.meter.utilisation,
            "generation_slots": self._gate.meter.slots,
            "evaluator_utilisation": evaluation.utilisation if evaluation else None,
            "evaluation_slots": evaluation.slots if evaluation else None,
            "sandbox": self._evaluator.record.backend if self._evaluator.record else None,
            "isolation": self._evaluator.record.id if self._evaluator.record else None,
        }
        known = {name: value for name, value in facts.items() if value is not None}
        return {**known, **self.progress.adapted}

    def _spoiled(self) -> Tokens:
        """Tokens of choices that broke off, those of earlier processes included."""
        spoiled = self._generator.spoiled
        if self._advising is not None:
            spoiled += self._advising.spoiled
        facts = self.record.facts
        prompt, completion = facts.get("spoiled_prompt_tokens"), facts.get("spoiled_completion_tokens")
        if not isinstance(prompt, int) or not isinstance(completion, int):
            return spoiled
        return spoiled + Tokens(prompt=prompt, completion=completion)

    # Driving the chains

    async def _drive(self, journal: Journal, starts: Sequence[Start], step_runner: StepRunner) -> None:
        shared = self._supervision.shared
        record = self._evaluator.record
        told = [each for start in starts for each in start]
        await journal.append(shared, *([record] if record else []), *told)
        self.progress.initial = beginnings.best_value(starts, self.problem.direction)
        pool = self._evaluator.pool
        outage = Outage(self._generator.ready, partial(self._supervision.notice, "generator"))
        sandbox_outage = Outage(pool.starts, partial(self._supervision.notice, "sandbox"))
        ports = self._ports(journal, outage)
        outage.is_vain = lambda: ports.ledger.stop_reason(in_flight=False) is not None
        for initial, evaluation in starts:
            if (program := ports.outcome(evaluation, initial).program_hash) is not None:
                self._evaluator.remember(program)
        chains = self._replay(ports, starts)
        self.progress.replayed()
        tasks: dict[int, asyncio.Task[None]] = {}
        keeper = asyncio.create_task(self._supervision.keep(tasks))
        pool.wait = sandbox_outage.wait
        try:
            async with Pulse(self.progress, self._generator, ports.ledger, journal, shared).beating():
                # Scoring again may take longer than a lease lasts.
                await _finish([asyncio.create_task(self._announce_unannounced(ports, starts))], keeper)
                tasks |= {
                    chain.number: asyncio.create_task(self._run_chain(chain, step_runner)) for chain in chains
                }
                await _finish(tasks.values(), keeper)
        finally:
            await _end([keeper])
            pool.wait = None
            await outage.close()
            await sandbox_outage.close()

    def _ports(self, journal: Journal, outage: Outage) -> Ports:
        counts = self._storage.counts(self.record.id)
        tariff = Tariff.of(self.config, self.record.facts.get("models") or {})
        paid = tariff.cost(self._storage.tokens_by_model(self.record.id)) if tariff is not None else None
        ledger = Ledger(
            self.config.budget,
            Spent(
                evaluations=counts.evaluations,
                prompt_tokens=counts.prompt_tokens,
                completion_tokens=counts.completion_tokens,
                cached_tokens=counts.cached_tokens,
                seconds=self.record.wall_s,
                token_cost=paid,
            ),
            prices=self.config.prices,
            tariff=tariff.price if tariff is not None else None,
            spoiled=self._spoiled,
        )
        return Ports(
            run=self.record.id,
            problem=self.problem,
            search=self.config.search,
            overlap=self.config.overlap,
            seed=self.config.seed,
            storage=self._storage,
            journal=journal,
            generator=self._generator,
            selector=self._selector,
            evaluator=self._evaluator,
            ledger=ledger,
            gate=self._gate,
            outage=outage,
            best=BestKeeper(
                self.record.id,
                self._storage,
                self._evaluator,
                journal,
                self._supervision.shared,
                ledger,
                self.progress,
                best_announced(self._storage.announcements(self.record.id), self.problem.direction),
            ),
            progress=self.progress,
            prompt=self.config.prompt,
            adapt=self.config.adapt,
            arms=Arms.of(self.config.arms, self.config.generator),
            adviser=self._adviser(journal, ledger),
        )

    def _adviser(self, journal: Journal, ledger: Ledger) -> Adviser | None:
        if self._advising is None:
            return None
        return Adviser(
            self.record.id,
            self.config.adviser,
            self.config.seed,
            self.config.search.chains,
            generator=self._advising,
            storage=self._storage,
            journal=journal,
            ledger=ledger,
            progress=self.progress,
            is_shared=not self.config.adviser.base_url,
        )

    def _replay(self, ports: Ports, starts: Sequence[Start]) -> list[Chain]:
        disagreed = self._storage.disagreements(self.record.id)
        leases = self._supervision.leases
        chains = []
        barrier = self._barrier(ports, starts, disagreed)
        for number in range(self.config.search.chains):
            if number in leases:
                chain = Chain(ports, leases[number], barrier, disagreed)
                chain.replay(*beginnings.of_chain(starts, number))
                chains.append(chain)
        barrier.look_at_others()
        for chain in chains:
            chain.recall()
        return chains

    def _barrier(
        self, ports: Ports, starts: Sequence[Start], disagreed: Mapping[CandidateKey, Failure]
    ) -> Barrier:
        run, config, direction = self.record.id, self.config, self.problem.direction

        def look(number: int) -> Iterator[CommittedStep]:
            initial, evaluation = beginnings.of_chain(starts, number)
            yield beginning(number, ports.outcome(evaluation, initial))
            for step in self._storage.committed_steps(run, number):
                yield after_disagreements(step, disagreed)

        spent = {chain.chain: chain.evaluations for chain in self._storage.chain_summaries(run)}
        return Barrier(
            rungs_of(config, direction, spent),
            self.progress,
            held=lambda: self._supervision.leases,
            look=look,
            course=lambda: Course(direction, config.overlap, config.adapt.stops_after),
            ends=lambda: ports.ledger.stop_reason(in_flight=False),
            notice=partial(self._supervision.notice, "rungs"),
        )

    async def _announce_unannounced(self, ports: Ports, starts: Sequence[Start]) -> None:
        """Verify the best that is stored, in case an earlier process ended before it could."""
        for initial, evaluation in beginnings.best_first(starts, self.problem.direction):
            await ports.best.consider(initial, evaluation, self._supervision.shared)
        for chain in self.progress.chains:
            if chain.best_key is None or chain.best_key.is_initial:
                continue
            lease = self._supervision.leases.get(chain.best_key.chain)
            candidate = self._storage.candidate(self.record.id, chain.best_key)
            found = [
                e for e in self._storage.evaluations(self.record.id, chain.best_key) if e.score is not None
            ]
            if lease is not None and candidate is not None and found:
                await ports.best.consider(candidate, found[0], lease)

    def _ended_by(self) -> str | None:
        fates = {number for number, chain in enumerate(self.progress.chains) if chain.end is not None}
        return ended_by(self._reasons, fates)

    async def _run_chain(self, chain: Chain, step_runner: StepRunner) -> None:
        try:
            self._reasons[chain.number] = await chain.run(step_runner)
        except LeaseLost:
            self._supervision.lost(chain.number)


async def _finish(tasks: Collection[asyncio.Task[None]], keeper: asyncio.Task[None]) -> None:
    """Wait until all tasks have ended, or one of them or the keeper fails; then none of the tasks is left."""
    waiting = {*tasks, keeper}
    try:
        while any(not task.done() for task in tasks):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():
                    task.result()
    finally:
        await _end(tasks)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
