"""The run's side of scorer processes.

``ScorerHost`` owns the host process; ``ScorerWorker`` scores one candidate at a time. While a scorer works it may ask
for its program to be called or run: those requests go to the ``serve`` function given, which owns the sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from discovery import data
from discovery.errors import ProblemError, ScoringError
from discovery.problem import Problem
from discovery.records import Failure, FailureKind, Score
from discovery.sandbox.base import SandboxResult
from discovery.scoring.wire import LENGTHS, Frame, pack, receive, unpack

_START_TIMEOUT_S = 60.0
_SINGLE_THREADED = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRequest:
    """What a scorer asks of its candidate.

    Args:
        function: Function to call, or None to run the program as a process.
        args: Process arguments, when it is run.
        body: Encoded arguments of the call, or standard input of the process.
        timeout_s: Wall-clock limit that the scorer asks for, in seconds.
    """

    function: str | None
    args: tuple[str, ...]
    body: bytes
    timeout_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a scorer says: exactly one of the first two is set.

    Args:
        score: The score.
        failure: Why there is none.
        source_read: Whether it asked for the program's text.
        solution: Hash of the score's artifact, where that was asked for.
    """

    score: Score | None = None
    failure: Failure | None = None
    source_read: bool = False
    solution: str | None = None


Serve = Callable[[ProgramRequest], Awaitable[SandboxResult]]


class ScorerWorker:
    """One worker process; scores one candidate at a time. Made by :meth:`ScorerHost.fork`."""

    def __init__(self, pid: int, sock: socket.socket, host: subprocess.Popen[bytes] | None = None) -> None:
        self.pid = pid
        self._host = host
        # The host reaps its workers: by the time of a kill the id may be another process's.
        self._pidfd: int | None = None
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError as error:
            # One that has ended already is found when it is used.
            if not isinstance(error, ProcessLookupError):
                raise ScoringError(f"no descriptor for a scorer's process: {error}") from error
        self._sock = sock
        self._buffer = bytearray()
        self._dead = False
        self._warm_start: bytes | None = None

    async def score(
        self,
        source: str,
        serve: Serve,
        repeat: int = 0,
        stage: int | None = None,
        warm_start: bytes | None = None,
        *,
        hashes: bool = False,
    ) -> Verdict:
        """Have one candidate scored.

        Args:
            source: The candidate.
            serve: Runs the scorer's requests in a sandbox.
            repeat: Which of the problem's repeats it is, from 0.
            stage: Which of the problem's stages is to score it, from 0; None: the scorer itself.
            warm_start: Encoded data that its program is given; sent only where it is not what the last one was given.
            hashes: Whether the verdict is to name the artifact's hash.

        Returns:
            The scorer's verdict, or the stage's.

        Raises:
            ScoringError: The worker died or broke its protocol. It must be killed and replaced, as after a
                cancellation.
        """
        if warm_start != self._warm_start:
            await self._send(
                Frame({"kind": "warm_start", "is_there": warm_start is not None}, warm_start or b"")
            )
            self._warm_start = warm_start
        asked = Frame(
            {"kind": "score", "repeat": repeat, "stage": stage, "hashes": hashes},
            source.encode("utf-8", "surrogatepass"),
        )
        await self._send(asked)
        while True:
            frame = await self._receive()
            if frame.kind in ("call", "run"):
                header = frame.header
                result = await serve(
                    ProgramRequest(
                        function=header.get("function"),
                        args=tuple(header.get("args", ())),
                        body=frame.body,
                        timeout_s=header["timeout_s"],
                    )
                )
                await self._send(_reply(result))
            else:
                return _verdict(frame)

    async def confirm(self, score: Score) -> Verdict:
        """Have the exact score of something scored found out, and compared with that.

        Args:
            score: As the worker gave it, of a problem that has an exact scorer.

        Returns:
            The score with its exact one, or why it does not count.

        Raises:
            ScoringError: As for :meth:`score`.
        """
        await self._send(Frame({"kind": "exact", "value": score.value}, data.encode(score.artifact)))
        frame = await self._receive()
        if frame.kind != "exact":
            return _verdict(frame)
        return Verdict(score=dataclasses.replace(score, exact=str(frame.header["exact"])))

    @property
    def is_alive(self) -> bool:
        """Whether the process is there; a host that was killed has taken its workers along."""
        if self._dead or self._pidfd is None:
            return False
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    @property
    def has_host(self) -> bool:
        """Whether the host that forked it is still there: if not, that is why it has ended."""
        return self._host is not None and self._host.poll() is None

    def kill(self) -> None:
        """End the process at once. May be called twice."""
        if not self._dead:
            self._dead = True
            self._sock.close()
            if self._pidfd is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
                os.close(self._pidfd)

    async def _send(self, frame: Frame) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._sock, pack(frame))
        except OSError as error:
            raise ScoringError(f"the scorer's process is gone: {error}") from error

    async def _receive(self) -> Frame:
        start = await self._exactly(LENGTHS.size)
        header_length, body_length = LENGTHS.unpack(start)
        both = await self._exactly(header_length + body_length)
        return unpack(both[:header_length], both[header_length:])

    async def _exactly(self, count: int) -> bytes:
        loop = asyncio.get_running_loop()
        while len(self._buffer) < count:
            try:
                chunk = await loop.sock_recv(self._sock, 1 << 18)
            except OSError as error:
                raise ScoringError(f"the scorer's process is gone: {error}") from error
            if not chunk:
                raise ScoringError(
                    "the scorer's process ended while it scored; does the scorer exit or crash the interpreter?"
                )
            self._buffer += chunk
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


class _BrokenError(ProblemError):
    """The plugin does not load in the scorer's process."""


class _HostGoneError(ScoringError):
    """The host has to be started again."""


class ScorerHost:
    """The process that holds the loaded plugin and forks workers.

    Args:
        problem: The problem whose plugin it loads, from its path.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._is_open = False
        self._has_exact = False

    @property
    def has_exact(self) -> bool:
        """Whether the problem has an exact scorer, which the process has loaded; known once it has started."""
        return self._has_exact

    async def start(self) -> None:
        """Start the process and wait until the plugin is loaded.

        Raises:
            ProblemError: The plugin does not load there, or is not the one that is loaded here.
            ScoringError: The process does not start.
        """
        with contextlib.ExitStack() as undo:
            undo.callback(self._end)
            await self._start()
            undo.pop_all()
        self._is_open = True

    async def _start(self) -> None:
        path = f"{self._problem.path}:{self._problem.name}"
        try:
            ours = self._launch(path)
        except OSError as error:
            raise ScoringError(f"the scorer's process for {path} cannot be started: {error}") from error
        ours.settimeout(_START_TIMEOUT_S)
        self._control = ours
        try:
            frame = await asyncio.to_thread(receive, ours)
        except OSError as error:
            raise ScoringError(f"the scorer's process for {path} did not start: {error}") from error
        if frame is None:
            raise ScoringError(
                f"the scorer's process for {path} ended while it loaded; does the plugin exit?"
            )
        if frame.kind == "broken":
            raise _BrokenError(str(frame.header["message"]))
        if frame.header["version"] != self._problem.version:
            raise ProblemError(f"{self._problem.path} changed while it was being loaded; start again")
        self._has_exact = bool(frame.header["exact"])

    def _launch(self, path: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "discovery.scoring.host"]
            try:
                # Popen rather than asyncio's: the kernel ends the host with the *thread* that spawned it.
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno()), path, str(os.getpid())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, **dict.fromkeys(_SINGLE_THREADED, "1")},
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                raise
        return ours

    async def fork(self) -> ScorerWorker:
        """A new worker, from the state right after loading; a host that was killed is started again.

        Raises:
            ProblemError: The plugin has changed since.
            ScoringError: The host does not start again, or was closed, or no process can be had just now.
        """
        async with self._lock:
            if not self._is_open:
                raise ScoringError("the scorer's host is not running")
            try:
                return self._fork()
            except _HostGoneError:
                self._end()
            try:
                await self.start()
            except _BrokenError as error:
                # It did load at first, from the same files.
                raise ScoringError(f"the scorer's host cannot be started again: {error}") from error
            return self._fork()

    def _fork(self) -> ScorerWorker:
        if self._control is None:
            raise _HostGoneError("the scorer's host is gone")
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise ScoringError(f"no socket for a scorer's process: {error}") from error
        try:
            with theirs:
                socket.send_fds(self._control, [b"f"], [theirs.fileno()])
            frame = receive(self._control)
            if frame is None:
                raise _HostGoneError("the scorer's host ended")
            if frame.kind == "refused":
                raise ScoringError(f"the scorer's host cannot fork: {frame.header['message']}")
            ours.setblocking(False)
            return ScorerWorker(int(frame.header["pid"]), ours, self._process)
        except ScoringError:
            ours.close()
            raise
        except OSError as error:
            ours.close()
            raise _HostGoneError(f"the scorer's host is gone: {error}") from error

    def close(self) -> None:
        """End the host and, with it, its workers. May be called twice."""
        self._is_open = False
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._control is not None:  # last, since a thread may still read from it, which ends with the host
            self._control.close()
            self._control = None


def _reply(result: SandboxResult) -> Frame:
    if result.failure is not None:
        failure = result.failure
        return Frame(
            {
                "kind": "failed",
                "failure": str(failure.kind),
                "message": failure.message,
                "detail": failure.detail,
            }
        )
    return Frame(
        {
            "kind": "done",
            "stderr": result.stderr,
            "exit_code": result.exit_code,
            "wall_s": result.wall_s,
            "cpu_s": result.cpu_s,
        },
        result.data or b"",
    )


def _verdict(frame: Frame) -> Verdict:
    header = frame.header
    if frame.kind == "scored":
        parts = data.decode(frame.body)
        return Verdict(
            score=Score(
                value=header["value"],
                metrics=parts["metrics"],
                private=parts["private"],
                feedback=parts["feedback"],
                artifact=parts["artifact"],
            ),
            source_read=header["read"],
            solution=header["solution"],
        )
    return Verdict(
        failure=Failure(
            kind=FailureKind(header["failure"]), message=header["message"], detail=header["detail"]
        )
    )
