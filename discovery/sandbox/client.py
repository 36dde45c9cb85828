"""The host's side of a zygote: one live sandbox, over one socket.

One persistent reader and no thread per sandbox: the host is one event loop that may serve hundreds of them,
so what an evaluation costs *here* bounds the whole run. The zygote enforces the limits; a backstop here
ends a whole sandbox that does not answer in time.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from discovery.errors import MissingComponent, SandboxError
from discovery.sandbox.base import CommandRun, FunctionCall, SandboxResult, SandboxSpec
from discovery.sandbox.cgroups import ControlGroup
from discovery.sandbox.frames import SLACK_BYTES, Frames, frame, header_of, request_frame, split
from discovery.sandbox.outcome import interpret, odd
from discovery.sandbox.totals import Totals

_START_S = 60.0
_GRACE_S = 5.0

FIXED_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PYTHONUTF8": "1",
    "PYTHONHASHSEED": "0",  # sets and dictionaries of equal programs iterate equally in every slot
    "PYTHONDONTWRITEBYTECODE": "1",
    "OPENBLAS_NUM_THREADS": "1",  # a zygote with threads cannot fork safely
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # address space is what the memory limit counts
}
"""Variables of every candidate, in every backend."""

ZYGOTE_FLAGS = ("-S", "-s", "-P", "-B")
"""Options of the interpreter: no site, no user packages, no working directory on the path."""


Confinement = Literal["namespaces", "uid", "bare"]
"""What sets one request of a zygote apart: fresh namespaces, a fresh user id, or neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A zygote that was just started.

    Args:
        channel: This end of its socket.
        confinement: How its children are confined.
        uid: With namespaces, the user that its children become (None: its own); with user ids, where their
            range begins, as ``fresh_uids`` makes it.
        box: Their private directory.
        end: Ends the zygote with all that belongs to it, waits until it is gone, and removes what it had; called
            once, after the channel was closed, with no event loop; never raises.
        log: What the zygote wrote to its own standard error.
        group: The control group that it is in, which is removed after its end.
    """

    channel: socket.socket
    confinement: Confinement
    uid: int | None = None
    box: str
    end: Callable[[], None]
    log: Callable[[], str]
    group: ControlGroup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalProcess:
    """A zygote that is a process below this one: what ``Launched`` wants to know of it.

    Args:
        process: What this process has to reap.
        output: What the zygote writes to its own standard error.
        inner: A pidfd of the process whose end ends everything, if that is not ``process``.
        folder: A folder of this host to remove in the end.
    """

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    inner: int | None = None
    folder: Path | None = None

    def end(self) -> None:
        """Kill it with all that belongs to it, and wait until it is gone."""
        if self.inner is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.inner, signal.SIGKILL)
            poll = select.poll()
            poll.register(self.inner, select.POLLIN)
            poll.poll(_GRACE_S * 1000)
            os.close(self.inner)
        elif self.process.poll() is None:
            # Its end of the socket is closed now: it ends its children, then itself.
            deadline = time.monotonic() + 1.0
            while self.process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.002)
        self.process.kill()
        self.process.wait()
        self.output.close()
        if self.folder is not None:
            remove(self.folder)

    def log(self) -> str:
        """What it said."""
        if self.output.closed:
            return ""
        self.output.seek(0)
        return self.output.read(65536).decode(errors="replace")


def _end(launched: Launched) -> None:
    launched.channel.close()
    launched.end()
    if launched.group is not None:
        launched.group.remove()


def fresh_uids() -> int:
    """Where a range of a million user ids begins that hardly any other sandbox of this host will use.

    The kernel counts a user's processes on the whole host, so that requests with one id share a limit.
    """
    return (1 + secrets.randbelow(1000)) << 20


class ZygoteSandbox:
    """A sandbox whose inside is ``sandboxes/zygote.py``; what is around that is the launcher's.

    Args:
        spec: What the problem needs.
        launch: Starts the zygote; called in a thread, since it may take its time.
    """

    def __init__(self, spec: SandboxSpec, launch: Callable[[SandboxSpec], Launched]) -> None:
        self._spec = spec
        self._launch = launch
        self._lock = threading.Lock()
        self._state: Literal["new", "started", "closed"] = "new"
        self._launched: Launched | None = None
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._totals: Totals | None = None
        self._busy = False
        self._oddity: str | None = None
        self._resident_bytes = 0

    @property
    def suspicion(self) -> str | None:
        """Why it should not be used again; None when nothing is odd.

        Odd are a request whose end, with all that it left, took more than a second longer than its limit or than
        it should have; files that had to be removed by force; a waiting child that something else ended; a zygote
        that grew by more than 64 MiB since it started. Once odd, always odd.
        """
        return "it has ended" if self._launched is None else self._frames.broken or self._oddity

    async def start(self) -> None:
        """Make it ready.

        Raises:
            SandboxError: It did not start; the message holds what it said.
            MissingComponent: A package cannot be imported in it.
        """
        if self._state != "new":
            raise SandboxError("a sandbox is started once")
        self._state = "started"
        atexit.register(self.cleanup)
        async with AsyncExitStack() as undo:
            # Ending it takes up to seconds, for which the other sandboxes of this event loop must not wait.
            undo.push_async_callback(self.close)
            launched = await asyncio.to_thread(self._launch_unless_closed)
            try:
                answer = await self._introduced(launched)
            except SandboxError as error:
                log = self._log()
                raise SandboxError(f"{error}{': ' if log else ''}{log}") from error
            told = header_of(answer)[0]
            self._resident_bytes = told["resident_bytes"]
            failed = told["failed"]
            if failed:
                name, reason = next(iter(failed.items()))
                raise MissingComponent(
                    f"the package {name!r} cannot be imported in the sandbox: {reason}; mend or remove it from "
                    "the problem's packages"
                )
            undo.pop_all()

    async def _introduced(self, launched: Launched) -> bytes:
        """Tell the zygote what it is to be; what it answers."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_accepted_socket(lambda: self._frames, launched.channel)
        settings = {
            "packages": list(self._spec.packages),
            "preload": list(self._spec.preload),
            "confinement": launched.confinement,
            "uid": launched.uid,
            "box": launched.box,
            "grouped": launched.group is not None,
            "file_bytes": self._spec.limits.file_bytes,
        }
        _, answer = await self._exchange(frame(b"I", settings), _START_S)
        if launched.group is not None:
            self._totals = Totals(launched.group, self._stop)
        return answer

    async def run(self, request: FunctionCall | CommandRun) -> SandboxResult:
        """Run one request to its end or to its limits.

        Args:
            request: A call or a command.

        Returns:
            What the program did. ``data`` of a call is not decoded here: its reader must expect
            ``DataError``.

        Raises:
            SandboxError: The sandbox failed; close it.
        """
        if self._launched is None or self._transport is None:
            raise SandboxError("the sandbox is not running")
        if self._busy:
            raise SandboxError("a sandbox runs one request at a time")
        limits = request.limits
        self._busy = True
        try:
            self._frames.most_bytes = limits.result_bytes + 2 * limits.output_bytes + SLACK_BYTES
            asked = request_frame(request)
            if self._totals is not None:
                self._totals.begin(limits, len(asked))
            kind, answer = await self._exchange(asked, limits.wall_s + _GRACE_S)
            if kind != b"R":
                raise SandboxError(f"the sandbox answered {kind!r} to a request")
            header, body = header_of(answer)
            result = interpret(request, header, split(body, header.get("sizes", (0, 0, 0))))
            self._oddity = self._oddity or odd(header, limits, self._resident_bytes)
            return result if self._totals is None else self._totals.judged(limits, result)
        except asyncio.CancelledError:
            await self._cancel()
            raise
        except SandboxError:
            await self.close()
            raise
        finally:
            if self._totals is not None:
                self._totals.end()
            self._busy = False

    async def close(self) -> None:
        """End it and everything in it."""
        launched = self._taken()
        if launched is None:
            return
        waiting = [launched]

        def end_once() -> None:
            with suppress(IndexError):
                _end(waiting.pop())

        try:
            ended = asyncio.get_running_loop().run_in_executor(None, end_once)
        except RuntimeError:  # no thread is to be had now; one that is busy may still come to it
            end_once()
        else:
            await asyncio.shield(ended)

    def cleanup(self) -> None:
        """Like ``close``, without an event loop."""
        launched = self._taken()
        if launched is not None:
            _end(launched)

    def _launch_unless_closed(self) -> Launched:
        """In a thread, which nothing cancels: whoever closes the sandbox meanwhile must not leave one behind."""
        launched = self._launch(self._spec)
        with self._lock:
            if self._state == "started":
                self._launched = launched
                return launched
        _end(launched)
        raise SandboxError("the sandbox was closed while it started")

    def _taken(self) -> Launched | None:
        """What has to be ended, given out once."""
        with self._lock:
            self._state = "closed"
            launched, self._launched = self._launched, None
        atexit.unregister(self.cleanup)
        if self._totals is not None:
            self._totals.end()  # else it may look at a group whose files were just let go of
        transport, self._transport = self._transport, None
        if transport is not None:
            with suppress(RuntimeError):  # its event loop is closed
                transport.abort()
        return launched

    async def _exchange(self, asked: bytes, timeout_s: float) -> tuple[bytes, bytes]:
        transport = self._transport
        assert transport is not None
        answer = self._frames.next()
        transport.write(asked)
        self._frames.owed += asked[:1] != b"X"
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise SandboxError(f"the sandbox did not answer within {timeout_s:g} s") from error

    def _stop(self) -> None:
        """Have the request in progress ended; it is still answered."""
        if self._transport is not None:
            self._transport.write(frame(b"X"))

    async def _cancel(self) -> None:
        """End the request in progress and wait for that, or else end the sandbox."""
        try:
            if self._transport is not None and self._frames.owed:
                await self._exchange(frame(b"X"), _GRACE_S)
        except (SandboxError, asyncio.CancelledError):
            await self.close()

    def _log(self) -> str:
        if self._launched is None:
            return ""
        lines = self._launched.log().strip().splitlines()
        return "; ".join(line.strip() for line in lines[-3:])[-500:]


def remove(folder: Path) -> None:
    """Remove a folder, whatever a program made of it."""
    script = 'chmod -R u+rwx -- "$1"; rm -rf -- "$1"'
    try:
        subprocess.run(["/bin/sh", "-c", script, "sh", folder], check=False, stderr=subprocess.DEVNULL)
    except OSError:  # no process to be had just now; what this cannot remove is swept later
        shutil.rmtree(folder, ignore_errors=True)
