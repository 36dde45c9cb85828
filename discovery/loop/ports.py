"""What a loop needs of the world, handed in: weights served, runs, a selection exported, a training done.

Contract: each of them may be asked again for what it was doing when its process was killed, and goes on or begins anew;
nothing of theirs is believed before the stage's record is stored.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from discovery.loop.stages import Exported, MeasuredRun, Trained
from discovery.training.config import TrainConfig
from discovery.trajectories.records import Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where weights are served.

    Args:
        url: Base URL of the server.
        model: What requests call them.
        revision: What the server says of where they came from, as completions will say it; None where it says nothing.
    """

    url: str
    model: str
    revision: str | None


class Served(Protocol):
    """Serves weights. Nothing of a server is left when its context ends: a training may need the device."""

    def serving(self, weights: Path) -> AbstractAsyncContextManager[Place]:
        """Have a folder of weights served while the body runs.

        Args:
            weights: Of a checkpoint, or of an adapter for the loop's base.

        Raises:
            WeightsError: They are not whole.
            ServerFailed: They are not served; also in the body, when the server is given up.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a measurement.

    Args:
        id: The run's id.
        problem: As the plan names it.
        seed: Number of its seed, from 0.
        revision: Of the weights.
    """

    id: str
    problem: str
    seed: int
    revision: int


class Runs(Protocol):
    """Runs on what is served."""

    def is_finished(self, job: Job) -> bool:
        """Whether nothing is left to do of a run."""
        ...

    async def run(self, job: Job, place: Place, title: str) -> None:
        """Bring a run to its end, from wherever it stands.

        Args:
            job: Which.
            place: Who answers.
            title: For whoever watches.

        Raises:
            DiscoveryError: It cannot go on.
        """
        ...

    def measured(self, job: Job) -> MeasuredRun:
        """What a finished run showed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is to be exported.

    Args:
        round: Number of the round that will be trained on it.
        revisions: For each revision that is learnt from, oldest first, the ids of its runs.
        filter: Which of their steps, of each revision for itself.
        folder: Where to; whatever is there is of a process that was killed.
    """

    round: int
    revisions: tuple[tuple[str, ...], ...]
    filter: Filter
    folder: Path


class Exporter(Protocol):
    """Makes training data of runs."""

    async def export(self, choice: Choice) -> Exported:
        """Judge, choose and write.

        Raises:
            DiscoveryError: It cannot.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is to be trained.

    Args:
        round: Number of the round.
        exports: Folders of the exports.
        base: Folder of the weights to train on.
        out: Where the new ones go; checkpoints of a process that was killed are there.
        config: How.
        notes: Folder for what is said to the trainer, and what it says.
        lock: Descriptor that the training's process inherits, so that nobody works in the loop's folder while it lives.
    """

    round: int
    exports: tuple[Path, ...]
    base: Path
    out: Path
    config: TrainConfig
    notes: Path
    lock: int | None = None


class Trainer(Protocol):
    """Makes new weights; goes on from its own checkpoints."""

    async def train(self, training: Training) -> Trained:
        """Train.

        Raises:
            DiscoveryError: It cannot.
        """
        ...
