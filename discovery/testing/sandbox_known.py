"""What each backend is known to fail of the conformance suite. Part of :mod:`discovery.testing.sandbox`.

A listed case that passes is an error in the list.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from discovery.sandbox import cgroups
from discovery.sandbox.hierarchies import Absent


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFailure:
    """A case that a backend is known to fail.

    Args:
        reason: Why.
        harmful: Whether the case would harm the host there, so that it is not even run.
        applies: Whether it is expected for this user on this host.
    """

    reason: str
    harmful: bool = False
    applies: Callable[[], bool] = lambda: True


def _writable(*paths: str) -> Callable[[], bool]:
    return lambda: any(os.access(path, os.W_OK) for path in paths)


def _capable(capability: int) -> bool:
    """Whether this process has a capability."""
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff"))
    return bool(effective >> capability & 1)


SHARED_PLACES = (
    *("/", "/dev", "/dev/pts", "/dev/mqueue", "/etc", "/var", "/run", "/site", "/zygote", "/proc"),
    *("/programs", "/usr", "/usr/lib", "/usr/local", "/home", "/root", "/mnt", "/opt"),
)
"""Folders that no candidate may write to."""

_SYS_PTRACE, _SYS_RESOURCE = 19, 24


def _ungrouped() -> bool:
    return isinstance(cgroups.available(), Absent)


_SUM = KnownFailure(reason="limits bound each process; the sum takes a control group", applies=_ungrouped)
_SUMS = (
    *("hidden_cpu_time", "memory_sum", "memory_sum_with_files", "memory_sum_shared"),
    *("memory_of_kernel_buffers", "cpu_sum"),
)
_MAY_LEAVE = KnownFailure(
    reason="a process of the user who made the group may leave it", applies=lambda: not _ungrouped()
)
_OPEN = KnownFailure(reason="it has no namespaces: a candidate may do what this user may do")
_SAME_USER = "candidate and zygote are processes of the same user"
_HARM = KnownFailure(reason=_SAME_USER, harmful=True)

KNOWN_FAILURES: Mapping[str, Mapping[str, KnownFailure]] = {
    "bubblewrap": dict.fromkeys(_SUMS, _SUM),
    "process": {
        **dict.fromkeys(_SUMS, _SUM),
        "fork_bomb": KnownFailure(
            reason="nothing bounds the number of processes", harmful=True, applies=_ungrouped
        ),
        "leave_control_group": _MAY_LEAVE,
        "kill_everything": _HARM,
        "kill_zygote": _HARM,
        "many_files": KnownFailure(reason="limits bound each file; the sum takes a file system of its own"),
        "read_host_files": _OPEN,
        "read_host_environment": KnownFailure(reason=_SAME_USER),
        "see_host_processes": _OPEN,
        "build_that_reads_the_host": KnownFailure(
            reason=_OPEN.reason, applies=lambda: shutil.which("cc") is not None
        ),
        "connect_unix_socket": _OPEN,
        "inspect_zygote": KnownFailure(reason=_SAME_USER, applies=lambda: _capable(_SYS_PTRACE)),
        "write_libraries": KnownFailure(
            reason=_OPEN.reason, applies=_writable(os.__file__, np.__file__, "/usr/bin/env")
        ),
        "write_shared_places": KnownFailure(reason=_OPEN.reason, applies=_writable(*SHARED_PLACES)),
        "shared_memory_survives": _OPEN,
        "raise_limits": KnownFailure(reason="root may raise them", applies=lambda: _capable(_SYS_RESOURCE)),
        "touch_shared_files": _OPEN,
        "first_to_go": KnownFailure(
            reason="root may lower its score", applies=lambda: _capable(_SYS_RESOURCE)
        ),
        "become_root": KnownFailure(reason="candidates of root are root", applies=lambda: os.geteuid() == 0),
    },
}
"""By backend and case."""
