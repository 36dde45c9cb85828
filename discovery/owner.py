"""Who holds a lease: a process, named so that another one on the same host can tell whether it is still there.

A lease of a dead owner need not be waited out: after ``kill -9`` a run can be resumed at once. A process is its
host, its process-id namespace, its id, and the moment it started, because ids are used again.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path


def this_owner() -> str:
    """A name for this process that another one on this host can check for life."""
    return f"{_host()}|{os.getpid()}|{_start_ticks(os.getpid())}|{secrets.token_hex(4)}"


def is_dead(owner: str) -> bool:
    """Whether an owner is known to have ended: it ran on this host, and is not there any more."""
    host, pid, ticks, _ = owner.split("|")
    return host == _host() and _start_ticks(int(pid)) != ticks


def describe_owner(owner: str) -> str:
    """An owner in words."""
    host, pid, _, _ = owner.split("|")
    return f"process {pid} on {host.split('/')[0]}"


def _host() -> str:
    namespace = ""
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()}/{namespace}"


def _start_ticks(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
