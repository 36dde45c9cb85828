"""The runs of a loop: ordinary runs in storage, under ids that the plan settled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from discovery.config import GeneratorConfig
from discovery.errors import UnknownRun
from discovery.launch import overridden, reopened, started
from discovery.loop.plan import LoopPlan
from discovery.loop.ports import Job, Place
from discovery.loop.stages import MeasuredRun
from discovery.prices import PriceTable, load_prices, priced
from discovery.records import RunStatus
from discovery.run import Run, config_of
from discovery.sandbox.base import SandboxBackend
from discovery.storage.base import RunRecord, Storage
from discovery.summary import summarize

Watch = Callable[[Run, str], AbstractAsyncContextManager[None]]
"""Shows a run, under a title, while it goes on."""


@asynccontextmanager
async def unwatched(run: Run, title: str) -> AsyncIterator[None]:
    """Show nothing."""
    yield


class StoredRuns:
    """Starts and resumes a loop's runs, and reads what they showed.

    Args:
        plan: The loop's.
        storage: Where its runs live.
        backend: Where candidates run.
        prices: The user's table; None reads it where it usually is.
        watch: Shows runs.
    """

    def __init__(
        self,
        plan: LoopPlan,
        storage: Storage,
        backend: SandboxBackend,
        *,
        prices: PriceTable | None = None,
        watch: Watch = unwatched,
    ) -> None:
        self._plan = plan
        self._storage = storage
        self._backend = backend
        self._prices = prices if prices is not None else load_prices()
        self._watch = watch

    def is_finished(self, job: Job) -> bool:
        """Whether storage says that the run has finished."""
        record = self._stored(job)
        return record is not None and record.status is RunStatus.FINISHED

    async def run(self, job: Job, place: Place, title: str) -> None:
        """Start the run, or go on with it.

        Raises:
            DiscoveryError: As for ``Run.execute``.
        """
        record = self._stored(job)
        if record is None:
            config = self._plan.run_config(job.problem, job.seed)
            # By the model's own name: an adapter has another, which no table of prices knows.
            config = priced(config, self._plan.name, self._prices)
            config = replace(config, generator=_asking(config.generator, place))
            facts = {"loop": {"id": self._plan.id, "revision": job.revision, "seed": job.seed}}
            launching = started(
                config, self._storage, self._backend, prices=self._prices, name=job.id, facts=facts
            )
        elif record.status is RunStatus.FINISHED:
            return
        else:
            config = overridden(record)
            config = replace(config, generator=_asking(config.generator, place))
            launching = reopened(record, config, self._storage, self._backend, prices=self._prices)
        async with launching as run, self._watch(run, title):
            await run.execute()

    def measured(self, job: Job) -> MeasuredRun:
        """What the run showed, from storage.

        Raises:
            UnknownRun: It is not there.
        """
        record = self._storage.get_run(job.id)
        summary, config = summarize(self._storage, job.id), config_of(record)
        assert summary.initial_score is not None  # no run is stored without
        bests = {chain.chain: chain.best_score for chain in summary.chains}
        found = [bests.get(number) for number in range(config.search.chains)]
        spoke: dict[str, int] = {}
        for model, count in self._storage.speakers(job.id).items():
            spoke[model.revision or ""] = spoke.get(model.revision or "", 0) + count
        return MeasuredRun(
            run=job.id,
            problem=job.problem,
            seed=job.seed,
            direction=record.direction.value,
            chain_bests=tuple(summary.initial_score if score is None else score for score in found),
            initial_score=summary.initial_score,
            planned=config.planned_evaluations,
            evaluations=summary.evaluations,
            wall_s=summary.wall_s,
            prompt_tokens=summary.tokens.prompt,
            completion_tokens=summary.tokens.completion,
            cost=summary.cost,
            currency=summary.currency if summary.cost is not None else "",
            spoke=spoke,
        )

    def _stored(self, job: Job) -> RunRecord | None:
        """The run, if it was started; one whose id only begins alike is another."""
        try:
            record = self._storage.get_run(job.id)
        except UnknownRun:
            return None
        return record if record.id == job.id else None


def _asking(generator: GeneratorConfig, place: Place) -> GeneratorConfig:
    """A generator that asks one server."""
    return replace(generator, kind="openai", base_url=(place.url,), model=place.model)
