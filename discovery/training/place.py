"""The folder of a training: what it is of, how far it is, and its result. No torch.

::

    OUT/training.json          what is trained on what, and how: another one is refused here
    OUT/log.jsonl              one line for each optimiser step and each validation
    OUT/checkpoints/           to resume from; a checkpoint counts once it has the file `whole`
    OUT/best-STEP/             the best validated weights so far; without validation the last ones. Those before stay
                               until a checkpoint counts that knows of the new ones
    OUT/weights/               the result; it appears whole, by a rename, and then the two folders above go

A process that is killed at any moment leaves one of these states, and the same command goes on from it.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from discovery.errors import UsageError

WEIGHTS = "weights"
_WHOLE = "whole"


class Place:
    """The folder of one training.

    Args:
        folder: It; made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self.weights = self.folder / WEIGHTS
        self.checkpoints = self.folder / "checkpoints"
        self.log = self.folder / "log.jsonl"
        self._identity = self.folder / "training.json"

    @property
    def is_finished(self) -> bool:
        """Whether the result is there."""
        return self.weights.is_dir()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder against a second process that trains there.

        Raises:
            UsageError: There is one, or the folder is of something else.
        """
        if self.folder.is_dir() and not self._identity.is_file():
            strange = sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("."))
            if strange:
                raise UsageError(
                    f"{self.folder} holds {strange[0]!r} and no training; name a new or empty folder: --out"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"another process trains in {self.folder}; wait for it, or end it"
                ) from error
            yield

    def begin(self, identity: Mapping[str, Any]) -> None:
        """Say what is trained here, or refuse another training than the one that was begun.

        Args:
            identity: What must be the same for going on, as plain JSON data.

        Raises:
            UsageError: It differs; names what.
        """
        if not self._identity.is_file():
            fresh = self.folder / f".{uuid.uuid4().hex}"
            fresh.write_text(json.dumps(identity, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            fresh.rename(self._identity)
            return
        found = json.loads(self._identity.read_text(encoding="utf-8"))
        different = sorted(_differences(found, json.loads(json.dumps(identity))))
        if different and self.last_checkpoint() is None and self.best() is None and not self.is_finished:
            self._identity.unlink()  # nothing came of it
            self.begin(identity)
        elif different:
            raise UsageError(
                f"{self.folder} holds another training: {'; '.join(different[:3])}"
                f"{' and more' if len(different) > 3 else ''}; name another folder: --out"
            )

    def mark_whole(self, step: int) -> None:
        """Let a checkpoint count, after all of it was written; weights that were the best before it go."""
        (self.checkpoints / f"checkpoint-{step}" / _WHOLE).touch()
        for path, _ in self._all_best()[:-1]:
            shutil.rmtree(path)

    def last_checkpoint(self) -> tuple[Path, int] | None:
        """The last whole checkpoint and its step; what broke off is removed."""
        for path in self.checkpoints.glob("checkpoint-*"):
            if not (path / _WHOLE).is_file():
                shutil.rmtree(path)
        step = self._counts()
        return (self.checkpoints / f"checkpoint-{step}", step) if step >= 0 else None

    def _counts(self) -> int:
        """The step of the last checkpoint that counts; -1 where there is none."""
        whole = self.checkpoints.glob(f"checkpoint-*/{_WHOLE}")
        return max((int(path.parent.name.rpartition("-")[2]) for path in whole), default=-1)

    def rewind(self, step: int) -> None:
        """Take out what came after a step, which will come again, on a GPU not to the bit: log, and best weights."""
        for path, kept_at in self._all_best():
            if kept_at > step:
                shutil.rmtree(path)
        if not self.log.is_file():
            return
        kept = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue
        fresh = self.folder / f".{uuid.uuid4().hex}"
        fresh.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        fresh.rename(self.log)

    def logged(self) -> list[dict[str, Any]]:
        """The log's lines."""
        if not self.log.is_file():
            return []
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def best(self) -> tuple[Path, int] | None:
        """The best validated weights and the step after which they were validated; None where there are none yet."""
        found = self._all_best()
        return found[-1] if found else None

    def _all_best(self) -> list[tuple[Path, int]]:
        """Weights that were the best when they were kept, and after which step; the latest last."""
        found = [(path, int(path.name.rpartition("-")[2])) for path in self.folder.glob("best-*")]
        return sorted(found, key=lambda each: each[1])

    def keep_best(self, step: int, save: Callable[[Path], None]) -> None:
        """Keep weights as the best ones; those that the last checkpoint knows of go with the next one.

        Args:
            step: The optimiser step after which they were validated.
            save: Writes them to a folder.
        """
        fresh = self.folder / f".{uuid.uuid4().hex}"
        save(fresh)
        fresh.rename(self.folder / f"best-{step}")
        for path, kept_at in self._all_best()[:-1]:
            if kept_at > self._counts():
                shutil.rmtree(path)

    def finish(self, describe: Callable[[Path], None]) -> None:
        """Make the result appear: the best weights, which there must be.

        Args:
            describe: Adds to the folder what is told about its weights.
        """
        best = self.best()
        assert best is not None
        describe(best[0])
        best[0].rename(self.weights)
        self.tidy()

    def tidy(self) -> None:
        """Remove what only resuming needed."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        for path in self.folder.glob("best-*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.folder.glob(".*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != ".lock":
                path.unlink()


def _differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Where two pieces of plain data differ, each in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(name), now.get(name), f"{where}.{name}" if where else name)
    elif before != now:
        yield f"{where} was {json.dumps(before)} and is {json.dumps(now)}"
