"""Scorers' hosts that are forked from one process that has loaded what each of them loads.

An interpreter that imports what a host needs takes as much time as most tests that need a host. Here one process
imports it and is forked for each; the plugin is loaded after that, as ever. Tests of how a host is started, or of what
becomes of it, take real ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from discovery.scoring import client

_HOST = "discovery.scoring.host"
_MOST_BYTES = 1 << 20


class ForkedHost:
    """A host that another process forked: what its starter uses of ``subprocess.Popen``."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._fd: int | None = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already
            self._fd = None

    def poll(self) -> int | None:
        """None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended."""
        ended = self._ended(timeout)
        if ended is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired([_HOST], timeout)
        return ended

    def kill(self) -> None:
        """End it at once."""
        if self._fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self._fd is None:
            return -signal.SIGKILL
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return -signal.SIGKILL if poll.poll(None if timeout is None else timeout * 1000) else None

    def __del__(self) -> None:
        if self._fd is not None:
            os.close(self._fd)


class HostTemplate:
    """The process that is forked, as its starter sees it. Close it in the end."""

    def __init__(self) -> None:
        self._python = sys.executable
        self._lock = threading.Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MOST_BYTES)
        with theirs:
            self._process = subprocess.Popen(
                [self._python, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **dict.fromkeys(client._SINGLE_THREADED, "1")},
                start_new_session=True,
            )

    def start(
        self, command: Sequence[str], *, pass_fds: Sequence[int], env: Mapping[str, str], **as_ever: Any
    ) -> ForkedHost | subprocess.Popen[bytes]:
        """Start a host, or whatever else a test has put in its place."""
        if command[:3] != [self._python, "-m", _HOST]:
            return subprocess.Popen(command, pass_fds=pass_fds, env=env, **as_ever)
        asked = json.dumps({"path": command[4], "env": dict(env), "folder": str(Path.cwd())})
        with self._lock:
            socket.send_fds(self._ours, [asked.encode()], list(pass_fds))
            return ForkedHost(int(self._ours.recv(64)))

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Have scorers' hosts forked from it while this is open."""
        _take(SimpleNamespace(Popen=self.start, DEVNULL=subprocess.DEVNULL))
        try:
            yield
        finally:
            _take(subprocess)

    def close(self) -> None:
        """End it; hosts that it forked go on."""
        self._ours.close()
        self._process.wait()


def _take(starter: Any) -> None:
    """Have hosts started by this in place of ``subprocess``."""
    setattr(client, "subprocess", starter)  # noqa: B010  the module does not export it


def _main(fd: int) -> None:
    """Load what hosts need, then fork one for each message."""
    import gc

    import numpy  # noqa: F401  of most plugins

    from discovery.scoring import host

    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(fileno=fd) as control:
        while True:
            message, fds, _, _ = socket.recv_fds(control, _MOST_BYTES, 1)
            if not message:
                return
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                break
            os.close(fds[0])
            control.send(str(pid).encode())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    asked = json.loads(message)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["folder"])
    os._exit(host.main([str(fds[0]), asked["path"], str(parent)]))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
