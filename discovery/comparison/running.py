"""Executing what is missing of a comparison: finished runs never again, an open one from where its records end.

Several runs may be at work in one process; each is an ordinary run with a lease of its own, so that a second process
that executes the same comparison is told by the first run that both want.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from discovery.comparison.plan import COMPARISON, SEED, SETTING, Comparison, PlannedRun, is_same
from discovery.config import RunConfig, from_dict
from discovery.errors import UsageError
from discovery.launch import reopened, started
from discovery.prices import PriceTable
from discovery.progress import Progress
from discovery.records import RunStatus, SandboxRecord
from discovery.run import Run
from discovery.sandbox.base import Sandbox, SandboxBackend, SandboxSpec
from discovery.sandbox.choice import choose_backend
from discovery.storage.base import RunRecord, Storage
from discovery.summary import RunSummary, status_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Which runs of a comparison are done.

    Args:
        finished: Those that have spent their budget.
        missing: The others, in the order in which they are executed.
        stored: Records of all that are stored, by id.
    """

    finished: tuple[PlannedRun, ...]
    missing: tuple[PlannedRun, ...]
    stored: Mapping[str, RunRecord]


def standing(comparison: Comparison, storage: Storage) -> Standing:
    """How far a comparison is, from storage alone.

    Args:
        comparison: The plan.
        storage: Where its runs live.

    Raises:
        UsageError: A run is stored with another configuration than its setting has.
    """
    ids = {run.id for run in comparison.runs}
    stored = {record.id: record for record in storage.list_runs() if record.id in ids}
    for run in comparison.runs:
        record = stored.get(run.id)
        # One of an earlier version, that takes fewer programs for one, goes on as it began.
        if record is not None and not is_same(from_dict(RunConfig, record.config), run.setting.config):
            raise UsageError(
                f"run {run.id} is stored with another configuration than setting {run.setting.name!r} has; it may be "
                "of another version of discovery. Give the comparison another --storage"
            )
    done = {name for name, record in stored.items() if status_of(storage, record) is RunStatus.FINISHED}
    return Standing(
        finished=tuple(run for run in comparison.runs if run.id in done),
        missing=tuple(run for run in comparison.runs if run.id not in done),
        stored=stored,
    )


@dataclass(slots=True, kw_only=True)
class Watched:
    """What is going on, for whoever shows it.

    Args:
        total: Runs of the comparison.
        done: Those that have finished.
        at_work: The runs that are being executed, with their progress once they have one.
    """

    total: int
    done: int
    at_work: dict[str, tuple[PlannedRun, Progress | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """With what runs are executed: nothing of it changes what they find.

    Args:
        storage: Where they live.
        prices: The user's table.
        jobs: Runs at once, at least 1.
    """

    storage: Storage
    prices: PriceTable
    jobs: int = 1


class _VerifiedOnce:
    """A backend whose isolation is verified once for all runs of this process, which takes longer than a short run.

    Args:
        backend: The backend itself.
    """

    def __init__(self, backend: SandboxBackend) -> None:
        self.name = backend.name
        self._backend = backend
        self._lock = asyncio.Lock()
        self._found: dict[str, SandboxRecord] = {}

    def missing(self) -> Sequence[str]:
        return self._backend.missing()

    async def verify(self, spec: SandboxSpec) -> SandboxRecord:
        key = repr(replace(spec, label=""))
        async with self._lock:
            if key not in self._found:
                self._found[key] = await self._backend.verify(spec)
        return self._found[key]

    def create(self, spec: SandboxSpec) -> Sandbox:
        return self._backend.create(spec)

    def sweep(self) -> Sequence[str]:
        return self._backend.sweep()


class ComparisonRunner:
    """Executes the missing runs of a comparison.

    Args:
        comparison: The plan.
        machine: With what.
        notice: Told what the user should know, once each.
        told: Told of each run that has finished, with its summary.
    """

    def __init__(
        self,
        comparison: Comparison,
        machine: Machine,
        *,
        notice: Callable[[str], None],
        told: Callable[[PlannedRun, RunSummary], None],
    ) -> None:
        self._machine = machine
        self._facts = {COMPARISON: comparison.id}
        self._told = told
        self._standing = standing(comparison, machine.storage)
        self.watched = Watched(total=len(comparison.runs), done=len(self._standing.finished), at_work={})
        self._backends: dict[tuple[str, str], SandboxBackend] = {}
        for run in self._standing.missing:
            config = run.setting.config
            kind = (config.sandbox.backend, config.generator.kind)
            if kind not in self._backends:
                chosen = choose_backend(config.sandbox, config.generator.kind)
                self._backends[kind] = _VerifiedOnce(chosen.backend)
                if chosen.notice:
                    notice(chosen.notice)

    @property
    def missing(self) -> Sequence[PlannedRun]:
        """The runs that are to be executed."""
        return self._standing.missing

    async def execute(self) -> None:
        """Execute all that is missing, several at once.

        The first error ends it: the runs at work stop as if interrupted, with all that they have finished stored.

        Raises:
            DiscoveryError: Of a run, as of :meth:`discovery.run.Run.execute`.
        """
        waiting = iter(self._standing.missing)

        async def work() -> None:
            for run in waiting:
                await self._one(run)

        workers = [asyncio.create_task(work()) for _ in range(self._machine.jobs)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    async def _one(self, run: PlannedRun) -> None:
        self.watched.at_work[run.id] = (run, None)
        try:
            config = self._config(run)
            backend = self._backends[config.sandbox.backend, config.generator.kind]
            storage, prices = self._machine.storage, self._machine.prices
            record = self._standing.stored.get(run.id)
            if record is None:
                facts = {**self._facts, SETTING: run.setting.name, SEED: run.seed}
                launching = started(config, storage, backend, prices=prices, name=run.id, facts=facts)
            else:
                launching = reopened(record, config, storage, backend, prices=prices)
            async with launching as live:
                summary = await self._executed(run, live)
        finally:
            del self.watched.at_work[run.id]
        self.watched.done += 1
        self._told(run, summary)

    async def _executed(self, run: PlannedRun, live: Run) -> RunSummary:
        self.watched.at_work[run.id] = (run, live.progress)
        return await live.execute()

    def _config(self, run: PlannedRun) -> RunConfig:
        """The configuration of a run: CPUs are divided between those at work."""
        config, jobs = run.setting.config, self._machine.jobs
        slots = config.slots
        if slots.evaluation is None and jobs > 1:
            slots = replace(slots, evaluation=max(1, len(os.sched_getaffinity(0)) // jobs))
        return replace(config, seed=run.seed, slots=slots)
