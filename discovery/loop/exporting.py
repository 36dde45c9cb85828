"""What a round learns from: the runs of each revision judged and chosen for themselves, then exported together.

Each revision's runs are ranked among their own, so that the first ones, whose weights knew least, are not all crowded
out by the latest; a steadily better model replays its own best. What does not hold when it is scored again is out
before anything is ranked (:mod:`discovery.trajectories.judge`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from discovery.evaluator import Evaluator
from discovery.launch import evaluation_slots, evaluator_for, problem_of
from discovery.licences import LicenceTable, load_licences, require_trainable
from discovery.loop.ports import Choice
from discovery.loop.stages import Exported
from discovery.run import config_of
from discovery.sandbox.base import SandboxBackend
from discovery.storage.base import RunRecord, Storage
from discovery.trajectories.assemble import outlines, samples
from discovery.trajectories.curate import curated, replayed
from discovery.trajectories.export import Facts, RunFact, write_export
from discovery.trajectories.judge import judged
from discovery.trajectories.manifest import Refutation
from discovery.trajectories.records import Selection, Split

FORMAT = "trl-sft"
"""The format that ``discovery train`` reads for supervised fine-tuning."""


class StoredExporter:
    """Exports runs out of storage.

    Args:
        storage: Where they live.
        backend: Where candidates are scored again.
        licences: The user's table; None reads it where it usually is.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        storage: Storage,
        backend: SandboxBackend,
        *,
        licences: LicenceTable | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._backend = backend
        self._licences = licences if licences is not None else load_licences()
        self._clock = clock

    async def export(self, choice: Choice) -> Exported:
        """Judge, choose and write; writes nothing where nothing is worth training on.

        Raises:
            LicenceError: What a model of the runs wrote may not be trained on.
            ProblemError: A problem of the runs is gone.
            SandboxError: A candidate could not be scored again.
            UsageError: The folder cannot be written.
        """
        begun = self._clock()
        everything = [run for runs in choice.revisions for run in runs]
        speakers = {model for run in everything for model in self._storage.speakers(run)}
        licences = require_trainable(speakers, self._licences)
        rounds: list[Selection] = []
        refuted: list[Refutation] = []
        for runs in choice.revisions:
            found = await judged(self._storage, outlines(self._storage, runs), choice.filter, self._evaluator)
            refuted += [
                Refutation(
                    run=out.outline.run,
                    chain=out.outline.chain,
                    problem=out.outline.problem,
                    reason=out.reason,
                )
                for out in found.refuted
            ]
            rounds.append(curated(found.outlines, choice.filter))
        selection = replayed(rounds)
        told = tuple(f"{each.run} chain {each.chain}: {each.reason}" for each in refuted)
        if not any(selected.split is Split.TRAIN for selected in selection.selected):
            return Exported(
                round=choice.round,
                id="",
                folder=str(choice.folder),
                runs=tuple(everything),
                rows={},
                trajectories=0,
                left_out=dict(selection.left_out),
                refuted=told,
                seconds=self._clock() - begun,
            )
        facts = Facts(
            runs=tuple(RunFact.of(self._storage.get_run(run)) for run in everything),
            licences=licences,
            refuted=tuple(refuted),
        )
        rows = samples(self._storage, selection, ())
        manifest = await asyncio.to_thread(write_export, choice.folder, FORMAT, selection, rows, facts=facts)
        return Exported(
            round=choice.round,
            id=manifest.id,
            folder=str(choice.folder),
            runs=tuple(everything),
            rows={split.value: manifest.rows(split) for split in Split},
            trajectories=sum(run.trajectories for run in manifest.runs),
            left_out=dict(manifest.left_out),
            refuted=told,
            seconds=self._clock() - begun,
        )

    @asynccontextmanager
    async def _evaluator(self, record: RunRecord) -> AsyncIterator[Evaluator]:
        config = config_of(record)
        async with evaluator_for(
            problem_of(record),
            self._backend,
            slots=evaluation_slots(config),
            label=record.id,
            require=config.sandbox.require,
        ) as evaluator:
            yield evaluator
