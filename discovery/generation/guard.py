"""Runs one program and ends its whole process tree when its owner is gone, however that came.

A model server has several processes that do not notice when the one that started them is killed, and hold a GPU. This
small program stands between the owner and the server. It is told to end by the end of its standard input, which
comes with the owner's death too, ``kill -9`` included, or by SIGTERM. Then the server gets SIGTERM and a grace, and
after that whatever is left of its descendants is killed: they cannot escape, orphans become this program's children.

The owner may write another grace, in seconds, before it closes that input: to let requests in flight be answered.

Standard library only, run by path: ``python -I guard.py OWNER_PID GRACE_S PROGRAM ARGUMENT...``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_S = 0.25
_KILL_PATIENCE_S = 10.0
_TIDY_PATIENCE_S = 2.0

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> int:
    """Run the program; returns its exit code, 128 and the number for a signal."""
    owner, grace_s, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ask)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent
        )
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr, flush=True)
        return 127
    told: list[bytes] = []
    while child.poll() is None and not asked and os.getppid() == owner and not _told(told):
        pass
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(float(b"".join(told) or grace_s))
    _end(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _told(words: list[bytes]) -> bool:
    """Waits a moment, and adds what the owner has written; whether it has closed our standard input."""
    readable, _, _ = select.select([0], [], [], _LOOK_S)
    if not readable:
        return False
    words.append(os.read(0, 64))
    return not words[-1]


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the tree, and wait until nothing is."""
    if child.poll() is None:
        child.kill()
        child.wait()
    begun = time.monotonic()
    deadline = begun + _KILL_PATIENCE_S
    # What a process leaves behind when it ends becomes ours before it can be waited for, and is met in the next round.
    while _has_children() and time.monotonic() < deadline:
        for pid in _children():
            if _tidies_up(pid) and time.monotonic() < begun + _TIDY_PATIENCE_S:
                continue
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _tidies_up(pid: int) -> bool:
    """Whether a process is Python's, which removes the shared memory of those that were killed, then ends by itself."""
    try:
        return b"resource_tracker" in (Path("/proc") / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def _has_children() -> bool:
    """Whether there are any, when those that have ended have been taken in."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    """Ids of this process's children, those too whose first thread alone has ended: they look like dead ones."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if fields and int(fields[1]) == os.getpid():
            found.append(int(folder.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
