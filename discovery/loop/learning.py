"""A round's training: ``discovery train`` in a process of its own, which keeps no device memory when it has ended.

It stands under a guard that ends it when this process is gone, and holds the lock of the loop's folder meanwhile. The
same command again goes on from its checkpoints.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from discovery.config import to_dict
from discovery.errors import UsageError
from discovery.generation import guard
from discovery.loop.folder import write_text_whole
from discovery.loop.ports import Training
from discovery.loop.stages import Trained
from discovery.training.config import TrainConfig

PROGRAM = (sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())", "train")
"""What trains: takes the arguments of ``discovery train``, and prints one JSON object."""

_SETTINGS = "training.toml"
_LOG = "training.log"
_GRACE_S = 10.0
_LINES = 5
_LONGEST_LINE = 1 << 24


class ProcessTrainer:
    """Trains by a program.

    Args:
        say: Told each line that it says while it trains.
        program: The program and its first arguments.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        say: Callable[[str], None] = lambda line: None,
        program: Sequence[str] = PROGRAM,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._program = tuple(program)
        self._clock = clock

    async def train(self, training: Training) -> Trained:
        """Train, or go on with it.

        Raises:
            UsageError: The program ended with an error, or did not say where the weights are; its log says more.
        """
        begun = self._clock()
        settings = training.notes / _SETTINGS
        write_text_whole(settings, as_toml(training.config))
        arguments = [
            *map(str, training.exports),
            *("--model", str(training.base), "--out", str(training.out)),
            *("--config", str(settings), "--json"),
        ]
        answer = await self._run([*self._program, *arguments], training)
        lineage = dict(answer.get("lineage") or {})
        return Trained(
            round=training.round,
            weights=str(answer["weights"]),
            base=str(training.base),
            exports=tuple(str(export["id"]) for export in lineage.get("exports", ())),
            lineage=lineage,
            seconds=self._clock() - begun,
        )

    async def _run(self, command: Sequence[str], training: Training) -> dict[str, Any]:
        """Run the program to its end; what it printed."""
        log = training.notes / _LOG
        guarded = [sys.executable, "-I", guard.__file__, str(os.getpid()), f"{_GRACE_S:g}", *command]
        process = await asyncio.create_subprocess_exec(
            *guarded,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=_LONGEST_LINE,
            pass_fds=() if training.lock is None else (training.lock,),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        last: deque[str] = deque(maxlen=_LINES)
        try:
            printed, _, code = await asyncio.gather(
                process.stdout.read(), self._follow(process.stderr, log, last), process.wait()
            )
        finally:
            if process.returncode is None:
                if process.stdin is not None:
                    process.stdin.close()
                await asyncio.shield(process.wait())
        if code != 0:
            said = " ".join((last[-1] if last else "it said nothing").split())
            raise UsageError(f"training ended with exit code {code}: {said}; its log: {log}")
        try:
            answer = json.loads(printed.splitlines()[-1])
            assert isinstance(answer["weights"], str)
        except (ValueError, IndexError, KeyError, TypeError, AssertionError) as error:
            raise UsageError(f"training did not say where the weights are; its log: {log}") from error
        return dict(answer)

    async def _follow(self, stream: asyncio.StreamReader, log: Path, last: deque[str]) -> None:
        """Pass on what the program says, line by line, and keep it."""
        with log.open("a", encoding="utf-8") as file:
            async for raw in stream:
                line = raw.decode(errors="replace").rstrip()
                file.write(f"{line}\n")
                file.flush()
                if line:
                    last.append(line)
                    self._say(line)


def as_toml(config: TrainConfig) -> str:
    """A configuration as a TOML file; what is None is left out, as TOML has no word for it."""
    data = {name: value for name, value in to_dict(config).items() if value is not None}
    tables = {name: value for name, value in data.items() if isinstance(value, Mapping)}
    lines = [f"{name} = {_toml(value)}" for name, value in data.items() if name not in tables]
    for name, table in tables.items():
        lines.append(f"\n[{name}]")
        lines += [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """A plain value: as JSON, but for characters beyond 16 bits and for DEL, which TOML escapes in another way."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
