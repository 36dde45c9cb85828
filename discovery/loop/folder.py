"""The folder of a loop: its plan, one file for each stage that is done, the weights, the report.

::

    plan.json
    rounds/0/measured.json                   revision 0: the model as it was given
    rounds/1/exported.json, export/          what was chosen of the runs so far
    rounds/1/trained.json, training.toml     and what was trained on it
    rounds/1/measured.json
    revisions/1/                             its weights; those of all rounds stay
    report.md, report.json, report.png
    server/                                  the model server's log

A stage's file appears whole when the stage is done, or not at all; what lies beside it without it is not believed. One
process works in a folder at a time: it holds a lock, and so does a training that it has started, which may outlive it
for a moment.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from discovery.config import from_dict
from discovery.errors import ConfigError, UsageError
from discovery.loop.plan import LoopPlan, plan_from_dict, plan_to_dict
from discovery.loop.stages import Exported, Measured, Stage, Trained

S = TypeVar("S", Measured, Exported, Trained)

_PLAN = "plan.json"
_LOCK = "lock"
_LOOK_S = 0.1
_FILES: Mapping[type[Stage], str] = {
    Measured: "measured.json",
    Exported: "exported.json",
    Trained: "trained.json",
}


class LoopFolder:
    """A loop's folder.

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    def create(self, plan: LoopPlan) -> None:
        """Make it, with its plan.

        Raises:
            UsageError: It holds something already, or cannot be written.
        """
        if self.has_plan:
            raise UsageError(
                f"{self.path} holds a loop already; go on with it: discovery loop --resume {self.path}"
            )
        try:
            if self.path.exists() and any(self.path.iterdir()):
                raise UsageError(f"{self.path} is not empty; name another folder for the loop: --out DIR")
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"{self.path}: {error.strerror}; name another folder for the loop: --out DIR"
            ) from error
        write_whole(self.path / _PLAN, plan_to_dict(plan))

    def plan(self) -> LoopPlan:
        """What the loop was told.

        Raises:
            UsageError: There is no loop here, or its plan cannot be read.
        """
        try:
            return plan_from_dict(json.loads((self.path / _PLAN).read_text()))
        except OSError as error:
            raise UsageError(
                f"{self.path} holds no loop ({_PLAN}: {error.strerror}); name the folder of one, or start one: "
                "discovery loop MODEL --problem P --held-out H"
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{self.path / _PLAN}: {error}; expected the plan of a loop, as it was written"
            ) from error

    @contextmanager
    def locked(
        self, *, patience_s: float = 20.0, say: Callable[[str], None] = lambda line: None
    ) -> Iterator[int]:
        """Work here, alone, while the body runs.

        Args:
            patience_s: How long to wait for a killed process's training to end.
            say: Told in one line that it waits.

        Yields:
            The lock's descriptor: a process that inherits it holds the lock, too.

        Raises:
            UsageError: Another process works here, or nobody can.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}; name another folder") from error
        try:
            deadline, said = time.monotonic() + patience_s, False
            while not _hold(lock):
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"another process works in {self.path}; wait for its end, or stop it first"
                    )
                if not said:
                    say(f"waiting for what works in {self.path}")
                said = True
                time.sleep(_LOOK_S)
            yield lock
        finally:
            os.close(lock)

    def stage(self, kind: type[S], number: int) -> S | None:
        """What a stage has left; None where it is not done.

        Args:
            kind: Which stage.
            number: Of its round.

        Raises:
            ConfigError: Its file was changed by hand, or by another version.
        """
        file = self.file(kind, number)
        try:
            data = json.loads(file.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{file}: {error}; put it back as it was written, or start a new loop"
            ) from error
        if not isinstance(data, dict):
            raise ConfigError(
                f"{file} is no record of a stage; put it back as it was written, or start a new loop"
            )
        return from_dict(kind, data, f"{file}: ")

    def done(self, stage: Stage) -> None:
        """Store that a stage is done."""
        number = stage.revision if isinstance(stage, Measured) else stage.round
        write_whole(self.file(type(stage), number), dataclasses.asdict(stage))

    def file(self, kind: type[Stage], number: int) -> Path:
        """Where a stage's record lies, or will."""
        return self.round(number) / _FILES[kind]

    def round(self, number: int) -> Path:
        """The folder of a round."""
        return self.path / "rounds" / str(number)

    def revision(self, number: int) -> Path:
        """The folder of a trained revision's weights."""
        return self.path / "revisions" / str(number)

    def emptied(self, number: int) -> Path:
        """The place of a round's export, without what a process that was killed has left there."""
        target = self.round(number) / "export"
        shutil.rmtree(target, ignore_errors=True)
        return target

    def inside(self, path: str) -> str:
        """A path as it is stored: relative to this folder where it lies inside, so that the folder may move."""
        place = Path(path).absolute()
        return str(place.relative_to(self.path)) if place.is_relative_to(self.path) else str(place)

    @property
    def has_plan(self) -> bool:
        """Whether a loop was begun here."""
        return (self.path / _PLAN).exists()

    @property
    def server(self) -> Path:
        """The folder of the model server's log."""
        return self.path / "server"

    def measured(self) -> list[Measured]:
        """All revisions that were measured, in order."""
        found: list[Measured] = []
        while (stage := self.stage(Measured, len(found))) is not None:
            found.append(stage)
        return found


def write_whole(path: Path, data: object) -> None:
    """Write JSON that is there whole, or not at all, whenever this process ends.

    Raises:
        UsageError: There is no room, or it may not be written.
    """
    write_text_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def write_text_whole(path: Path, text: str) -> None:
    """Write a text that is there whole, or not at all, whenever this process ends.

    Raises:
        UsageError: There is no room, or it may not be written.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise UsageError(f"{path} cannot be written: {error.strerror}; make room, then go on") from error


def _hold(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
