"""One round for itself: some runs judged, chosen and exported, and a model trained on them; gone on with as a loop is.

Its folder is that of a loop with one round, without measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from discovery.errors import ConfigError
from discovery.loop.folder import LoopFolder
from discovery.loop.ports import Choice, Exporter, Trainer, Training
from discovery.loop.rounds import Perform, Work, perform_here
from discovery.loop.stages import Exported, Trained
from discovery.training.config import TrainConfig
from discovery.trajectories.records import Filter

_ROUND = 1


class SingleRound:
    """An export of runs, and a training on it.

    Args:
        folder: Where it is kept.
        runs: Ids of the runs.
        base: Folder of the weights to train on.
        filter: Which of their steps are worth training on.
        config: How to train.
    """

    def __init__(
        self, folder: LoopFolder, runs: Sequence[str], base: Path, filter: Filter, config: TrainConfig
    ) -> None:
        self._folder = folder
        self._runs = tuple(runs)
        self._base = base
        self._filter = filter
        self._config = config

    async def execute(self, exporter: Exporter, trainer: Trainer, perform: Perform = perform_here) -> Path:
        """Go on to the end.

        Args:
            exporter: Makes training data.
            trainer: Makes weights.
            perform: Carries out each piece of work.

        Returns:
            Folder of the new weights.

        Raises:
            UsageError: Another process works in the folder, which is of other runs or other weights, or nothing of the
                runs is worth training on.
            DiscoveryError: A stage fails; the next process begins with it.
        """
        folder = self._folder
        with folder.locked() as lock:
            if folder.stage(Exported, _ROUND) is None:
                await perform(Work(name="export", complete=lambda: self._export(exporter)))
            exported = folder.stage(Exported, _ROUND)
            assert exported is not None
            if exported.runs != self._runs:
                raise ConfigError(
                    f"{folder.path} is of other runs ({', '.join(exported.runs)}); name another folder for these"
                )
            if not exported.rows.get("train"):
                raise ConfigError(
                    "nothing of these runs is worth training on; choose more: a higher top_percent, or keep = all"
                )
            if folder.stage(Trained, _ROUND) is None:
                await perform(Work(name="train", complete=lambda: self._train(trainer, exported, lock)))
            trained = folder.stage(Trained, _ROUND)
            assert trained is not None
            if trained.base != str(self._base):
                raise ConfigError(f"{folder.path} is of other weights ({trained.base}); name another folder")
            return folder.path / trained.weights

    async def _export(self, exporter: Exporter) -> None:
        folder = self._folder
        if folder.stage(Exported, _ROUND) is None:
            target = folder.emptied(_ROUND)
            choice = Choice(round=_ROUND, revisions=(self._runs,), filter=self._filter, folder=target)
            exported = await exporter.export(choice)
            folder.done(replace(exported, folder=folder.inside(exported.folder)))

    async def _train(self, trainer: Trainer, exported: Exported, lock: int) -> None:
        folder = self._folder
        if folder.stage(Trained, _ROUND) is None:
            training = Training(
                round=_ROUND,
                exports=(folder.path / exported.folder,),
                base=self._base,
                out=folder.revision(_ROUND),
                config=self._config,
                notes=folder.round(_ROUND),
                lock=lock,
            )
            trained = await trainer.train(training)
            folder.done(replace(trained, weights=folder.inside(trained.weights)))
