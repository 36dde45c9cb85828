"""Processes that outlive the one that starts them.

A process is known by its id and its start time together, because ids are used again. It leads a group of its
own, which is ended as a whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# The program's parent ends at once, so that whoever launches it neither waits for it nor warns of it.
_DETACH = """
import json, os, subprocess, sys
command, log, folder = json.loads(sys.argv[1])
with open(log, "ab") as out:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder,
                             start_new_session=True)
print(child.pid, flush=True)
os._exit(0)
"""
_KILL_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that leads a group of its own.

    Args:
        pid: Its id, also that of its group.
        started: When it started, in clock ticks since boot, as the kernel counts.
    """

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        """Whether this very process lives; a zombie does not."""
        return start_time(self.pid) == self.started


def launch(command: Sequence[str], log: Path, folder: Path, environment: Mapping[str, str]) -> Process | None:
    """Start a program detached, in a session of its own.

    Args:
        command: Program and arguments.
        log: File that its output is appended to.
        folder: Where it runs.
        environment: All of its environment.

    Returns:
        Its process, or None when it has ended already.

    Raises:
        OSError: It cannot be started.
    """
    done = subprocess.run(
        [sys.executable, "-c", _DETACH, json.dumps([list(command), str(log), str(folder)])],
        env=dict(environment),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise OSError((done.stderr.strip().splitlines() or ["it cannot be started"])[-1])
    pid = int(done.stdout)
    started = start_time(pid)
    return None if started is None else Process(pid=pid, started=started)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when it is gone or only a zombie is left."""
    fields = _stat(Path(f"/proc/{pid}"))
    return None if fields is None else int(fields[19])


def end_group(process: Process, timeout_s: float) -> bool:
    """Ask all processes of a group to end, then kill those that do not.

    Args:
        process: The group's leader; nothing happens when it is not alive.
        timeout_s: Seconds to let them end by themselves.

    Returns:
        Whether all are gone.
    """
    if not process.is_alive:
        return True
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, _KILL_PATIENCE_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not group(process.pid):
                return True
            time.sleep(0.05)
    return False


def group(leader: int) -> list[int]:
    """Ids of the living processes of a group."""
    members = []
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat(folder)
        if fields is not None and int(fields[2]) == leader:
            members.append(int(folder.name))
    return members


def listens(leader: int, port: int) -> bool:
    """Whether a process of a group is who listens on a TCP port, as far as this user may see."""
    ours: set[str] = set()
    for pid in group(leader):
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    ours.add(str(descriptor.readlink()))
    # Local address as ADDRESS:PORT in hexadecimal, state 0A for listening, the socket's inode in the tenth field.
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for row in Path(table).read_text().splitlines()[1:]:
                fields = row.split()
                is_there = fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port
                if is_there and f"socket:[{fields[9]}]" in ours:
                    return True
    return False


def _stat(folder: Path) -> list[str] | None:
    """The regular fields of a living process's ``stat``; the name before them may hold anything."""
    try:
        fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if not fields or fields[0] in ("Z", "X") else fields
