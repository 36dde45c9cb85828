"""One process of a model server: started under a guard, watched while it starts, ended with all that it started.

What it prints goes to a log file, which tells how far it has come: reading a large model takes minutes, and a user
who sees nothing ends it. Each stage is one line.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from discovery.errors import ServerFailed
from discovery.generation import guard
from discovery.generation.probe import Probe

LOG_LINES = 15
"""Lines of the log that a message shows."""

_LOOK_S = 0.2
_STILL_EVERY_S = 15.0
_GUARD_PATIENCE_S = 15.0
_STAGES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (r"Fetching \d+ files|Downloading", "downloading the model"),
        (r"Resolved architecture: (\w+)", "preparing a {0}"),
        (r"Initializing a V1 LLM engine", "starting the engine"),
        (r"Starting to load model", "loading the weights"),
        (
            r"checkpoint shards: +\d+% Completed \| (\d+)/([2-9]|\d\d+)\b",
            "loading the weights: shard {0} of {1}",
        ),
        (r"torch\.compile takes|Dynamo bytecode|Compiling a graph", "compiling"),
        (r"KV cache size: ([\d,]+) tokens", "room for {0} tokens in its cache"),
        (r"Capturing (?:CUDA|cudagraph)", "capturing CUDA graphs"),
        (r"Starting vLLM server on", "opening its port"),
    )
)
_NOISE = re.compile(r"Route: |\s*$|\s+[|^~]|.*Completed \|")
_REASON = re.compile(r"[\w.]*(?:Error|Exception|Interrupt): .|.*error: |.* cannot be started: ")
_PREFIX = re.compile(r"^(?:\([\w-]+ pid=\d+\) )?(?:(?:ERROR|INFO|WARNING) [\d-]+ [\d:]+ \[[^\]]*\] )?")


class ServerProcess:
    """A server's process, with all that it starts.

    Args:
        command: Program and arguments.
        environment: All of its environment.
        log: File that its output is appended to; its folder is where it runs.
        grace_s: Seconds that it gets to end by itself.

    Raises:
        ServerFailed: It cannot be started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, *, grace_s: float
    ) -> None:
        self.log = log
        self._grace_s = grace_s
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log_begin = log.stat().st_size if log.is_file() else 0
        guarded = [
            sys.executable,
            "-I",
            str(Path(guard.__file__)),
            str(os.getpid()),
            f"{grace_s:g}",
            *command,
        ]
        try:
            with log.open("ab") as out:
                self._guard = subprocess.Popen(
                    guarded,
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=out,
                    cwd=log.parent,
                    env=dict(environment),
                    start_new_session=True,
                )
        except OSError as error:
            raise ServerFailed(f"{command[0]} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """Id of the guard, which lives exactly as long as the server."""
        return self._guard.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._guard.poll()

    def wait_healthy(self, probe: Probe, timeout_s: float, say: Callable[[str], None]) -> None:
        """Wait until it answers.

        Args:
            probe: Asks it.
            timeout_s: Longest wait, in seconds.
            say: Told each stage in one line, with the seconds so far.

        Raises:
            ServerFailed: It ended, or does not answer in time; with the end of its log.
        """
        begun = said_at = time.monotonic()
        stages = _Stages(self.log, self._log_begin)
        while True:
            is_healthy = probe.healthy()
            elapsed_s = time.monotonic() - begun
            for stage in stages.new():
                say(f"{stage} ({elapsed_s:.0f} s)")
                said_at = time.monotonic()
            if is_healthy:
                return
            if self.exit_code is not None:
                raise self._failed(f"ended while it started (exit code {self.exit_code})", say)
            if elapsed_s > timeout_s:
                what = f"did not answer within {timeout_s:g} s (a large model may need more: --start-timeout)"
                raise self._failed(what, say)
            if time.monotonic() - said_at >= _STILL_EVERY_S:
                say(f"still {stages.last or 'starting'} ({elapsed_s:.0f} s)")
                said_at = time.monotonic()
            time.sleep(_LOOK_S)

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; returns whether it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._guard.wait(timeout_s)
        return self._guard.returncode is not None

    def stop(self, *, drain_s: float = 0.0) -> None:
        """End it and everything it started. May be called twice, and from several threads.

        Args:
            drain_s: Seconds beside the grace for requests in flight to be answered.
        """
        grace_s = self._grace_s + drain_s
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(f"{grace_s:g}".encode())
                self._guard.stdin.flush()
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
        if not self.wait(grace_s + _GUARD_PATIENCE_S):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            self._guard.wait()

    def cause(self, say: Callable[[str], None]) -> str:
        """What the log gives as the reason of its end, and where the log is.

        Args:
            say: Told the log's last lines, those that say something.
        """
        try:
            with self.log.open("rb") as file:
                file.seek(self._log_begin)
                text = file.read().decode(errors="replace")
        except OSError as error:
            return f"its log {self.log} cannot be read: {error.strerror}"
        lines = [_PREFIX.sub("", line).rstrip() for line in text.splitlines()]
        lines = [line for line in lines if not _NOISE.match(line)]
        for line in lines[-LOG_LINES:]:
            say(f"| {line[:200]}")
        reasons = [line for line in lines if _REASON.match(line)]
        return f"{f'{reasons[-1][:300]}; ' if reasons else ''}the whole log: {self.log}"

    def _failed(self, what: str, say: Callable[[str], None]) -> ServerFailed:
        return ServerFailed(f"the model server {what}: {self.cause(say)}")


class _Stages:
    """What a growing log says of how far a server has come."""

    def __init__(self, log: Path, begin: int) -> None:
        self.last: str | None = None
        self._log = log
        self._place = begin

    def new(self) -> list[str]:
        """Stages reached since the last look, each once."""
        with self._log.open("rb") as file:
            file.seek(self._place)
            text = file.read()
        whole = text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1]
        self._place += len(whole)
        found = []
        for line in re.split(r"[\r\n]+", whole.decode(errors="replace")):
            for pattern, said in _STAGES:
                match = pattern.search(line)
                if match is not None and (stage := said.format(*match.groups())) != self.last:
                    self.last = stage
                    found.append(stage)
        return found
