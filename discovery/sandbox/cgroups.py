"""Control groups of the kernel, version 1 and 2: made, limited, read, removed.

A group bounds what limits of single processes cannot: the sum of memory, processes and CPU time of all that is in
it. One is made for each sandbox slot and joined by the slot's first process before anything else happens there. Where
they can be made is found by :mod:`discovery.sandbox.hierarchies`.

A name holds the run's label and its owner (``discovery.owner``), so that what a killed process left is told from what
a live one uses.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

from discovery.errors import SandboxError
from discovery.owner import describe_owner, is_dead, this_owner
from discovery.sandbox.base import SandboxSpec
from discovery.sandbox.hierarchies import SCOPE, VERSION_1, Absent, Place, find, folders_of, numbers

_PREFIX = "discovery."
_SHAPE = re.compile(rf"{re.escape(_PREFIX)}[^.]*\.[^.]+")
_LABEL_CHARS = 60
_REMOVE_S = 2.0
_GRACE_S = 1.0
# Each file is written by the process that becomes the sandbox: where it cannot join, it does not start.
_JOIN = 'while [ "$1" != -- ]; do echo 0 > "$1" || exit 125; shift; done; shift; exec "$@"'

_BATCH_BYTES = 1 << 20  # the kernel charges several pages at once, and gives up before the last ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is, or has been, used by all that is in a group.

    Args:
        memory_bytes: What cannot be dropped: the file cache, which counts too, is not in it.
        processes: Processes and threads now.
        cpu_s: CPU seconds since the group was made.
        kills: Processes that the kernel ended for memory since then.
    """

    memory_bytes: int
    processes: int
    cpu_s: float
    kills: int


class ControlGroup:
    """One group; in version 1, one in each of the hierarchies.

    Args:
        version: 1 or 2.
        memory: Its folder in the hierarchy of memory.
        pids: Its folder in that of processes.
        cpu: Its folder in that of CPU time. All three are one in version 2.
    """

    def __init__(self, version: int, memory: Path, pids: Path, cpu: Path) -> None:
        self.version = version
        self.memory, self.pids, self.cpu = memory, pids, cpu
        self._open: dict[str, int] = {}

    @property
    def folders(self) -> tuple[Path, ...]:
        """Each of its folders once."""
        return tuple(dict.fromkeys((self.memory, self.pids, self.cpu)))

    @property
    def procs(self) -> tuple[Path, ...]:
        """The files that a process joins by writing 0 to each."""
        return tuple(folder / "cgroup.procs" for folder in self.folders)

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Bound what all in it may use together, swap included where the kernel counts it.

        Args:
            memory_bytes: Memory, kernel memory and file cache included.
            processes: Processes and threads at once.

        Raises:
            OSError: The kernel refused.
        """
        (self.pids / "pids.max").write_text(str(processes))
        if self.version == 2:
            (self.memory / "memory.max").write_text(str(memory_bytes))
            swap = self.memory / "memory.swap.max"
            if swap.exists():
                swap.write_text("0")
            return
        both = self.memory / "memory.memsw.limit_in_bytes"
        files = [self.memory / "memory.limit_in_bytes", *([both] if both.exists() else [])]
        # Memory with swap may never be the smaller one, on the way neither.
        if len(files) == 2 and memory_bytes > int(both.read_text()):
            files.reverse()
        for file in files:
            file.write_text(str(memory_bytes))

    def usage(self) -> Usage:
        """What it uses.

        Raises:
            OSError: It is gone.
        """
        stat = numbers((self.memory / "memory.stat").read_text())
        if self.version == 1:
            kernel = int((self.memory / "memory.kmem.usage_in_bytes").read_text())
            memory = stat["total_rss"] + stat.get("total_shmem", 0) + kernel
        else:
            parts = ("slab_unreclaimable", "kernel_stack", "pagetables", "percpu", "sock")
            kernel = stat.get("kernel", sum(stat.get(part, 0) for part in parts))
            memory = stat["anon"] + stat["shmem"] + kernel
        processes = int((self.pids / "pids.current").read_text())
        return Usage(memory_bytes=memory, processes=processes, cpu_s=self.cpu_s(), kills=self.kills())

    def cpu_s(self) -> float:
        """CPU seconds since it was made; a read of one small file that stays open.

        Raises:
            OSError: It is gone.
        """
        if self.version == 1:
            return int(self._read(self.cpu, "cpuacct.usage")) / 1e9
        return numbers(self._read(self.cpu, "cpu.stat"))["usage_usec"] / 1e6

    def kills(self) -> int:
        """Processes that the kernel ended for memory since it was made; a read of one small file that stays open.

        Raises:
            OSError: It is gone.
        """
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return numbers(self._read(self.memory, name)).get("oom_kill", 0)

    def fullness(self) -> int:
        """A number that is greater after the group was at its own limit of memory than before.

        What the kernel ends while it stays the same is not the group's fault. Version 1 keeps no count, but the most
        that was used since ``forget_fullness``.

        Raises:
            OSError: It is gone.
        """
        if self.version == 2:
            return numbers(self._read(self.memory, "memory.events")).get("oom", 0)
        most = int(self._read(self.memory, "memory.max_usage_in_bytes"))
        return int(most >= int(self._read(self.memory, "memory.limit_in_bytes")) - _BATCH_BYTES)

    def forget_fullness(self) -> None:
        """Start anew, so that only what comes now counts.

        Raises:
            OSError: It is gone.
        """
        if self.version == 1:
            (self.memory / "memory.max_usage_in_bytes").write_text("0")

    def _read(self, folder: Path, name: str) -> str:
        descriptor = self._open.get(name)
        if descriptor is None:
            descriptor = self._open[name] = os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(descriptor, 4096, 0).decode()

    def close(self) -> None:
        """Let go of its files; the group stays."""
        while self._open:
            os.close(self._open.popitem()[1])

    def remove(self) -> bool:
        """End whatever is left in it, and remove it. May be called twice; never raises.

        Returns:
            Whether it is gone.
        """
        self.close()
        gone = [_remove(folder) for folder in self.folders]
        return all(gone)


@lru_cache(maxsize=1)
def available() -> Place | Absent:
    """Where groups can be made, tried: the place is prepared, and a group was made, limited, read and removed."""
    place = find()
    if isinstance(place, Absent):
        return place
    try:
        place.prepare()
        group = make(place, "trial")
        try:
            group.limit(1 << 26, 16)
            group.usage()
        finally:
            group.remove()
    except (OSError, KeyError, ValueError) as error:
        return Absent(why=f"control groups cannot be used here ({error}): {SCOPE}")
    return place


def make(place: Place, label: str) -> ControlGroup:
    """A new empty group.

    Args:
        place: Where.
        label: What it is for: the run id.

    Raises:
        OSError: The kernel refused; nothing is left.
    """
    name = f"{_PREFIX}{_escaped(label)[:_LABEL_CHARS]}.{_escaped(this_owner())}"
    group = _group_of(place.version, {each: folder / name for each, folder in place.folders.items()})
    try:
        for folder in group.folders:
            folder.mkdir()
    except OSError:
        group.remove()
        raise
    return group


def group_for(spec: SandboxSpec) -> ControlGroup | None:
    """A new group for one slot; None where there are none on this machine.

    Raises:
        SandboxError: There are, but this one could not be made.
    """
    place = available()
    if isinstance(place, Absent):
        return None
    try:
        return make(place, spec.label)
    except OSError as error:
        raise SandboxError(f"no control group can be made for a sandbox: {error}") from error


def joining(group: ControlGroup | None, command: Sequence[str]) -> list[str]:
    """A command that joins a group first, and only then becomes the given one.

    Args:
        group: The group; None for none.
        command: Program and arguments.
    """
    if group is None:
        return list(command)
    return ["/bin/sh", "-c", _JOIN, "sh", *map(str, group.procs), "--", *command]


def leave(group: ControlGroup | None) -> None:
    """Remove a group whose sandbox did not come to be."""
    if group is not None:
        group.remove()


def of_process(pid: int) -> ControlGroup | None:
    """The group that another program, such as a container engine, has put a process into.

    Its maker limits and removes it, the latter after ``close``. None where it cannot be seen from here.
    """
    try:
        version, folders = folders_of(Path(f"/proc/{pid}/cgroup").read_text())
    except (OSError, LookupError):
        return None
    group = _group_of(version, folders)
    return group if all(folder.is_dir() for folder in group.folders) else None


def sweep(place: Place | None = None) -> list[str]:
    """Remove the groups of owners that are gone, with what is in them. Never raises.

    What is in them may be about to end, and has its files to remove: it gets a moment before it is killed.

    Args:
        place: Where to look; None for where groups are made here.

    Returns:
        A line for each that was removed.
    """
    found = available() if place is None else place
    if isinstance(found, Absent):
        return []
    removed = {}
    for folder in (each for place in dict.fromkeys(found.folders.values()) for each in _ours_in(place)):
        label, owner = (unquote(part) for part in folder.name.removeprefix(_PREFIX).split("."))
        with suppress(ValueError):  # a name that is not ours after all
            if is_dead(owner) and _remove(folder, grace_s=_GRACE_S):
                removed[folder.name] = f"control group of {label}, left by {describe_owner(owner)}"
    return list(removed.values())


def _group_of(version: int, folders: Mapping[str, Path]) -> ControlGroup:
    memory, pids = folders["memory"], folders["pids"]
    return ControlGroup(version, memory, pids, folders[VERSION_1[2]] if version == 1 else memory)


def _remove(folder: Path, grace_s: float = 0.0) -> bool:
    """Kill what is in one folder and has not ended by itself, and remove it, within a bounded time."""
    patience = time.monotonic() + grace_s
    deadline = patience + _REMOVE_S
    pause = 0.001
    while True:
        try:
            folder.rmdir()
            return True
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
        if time.monotonic() >= patience:
            _kill(folder)
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def _kill(folder: Path) -> None:
    try:
        (folder / "cgroup.kill").write_text("1")
    except OSError:  # version 1, or a kernel before 5.14
        with suppress(OSError):
            for pid in (folder / "cgroup.procs").read_text().split():
                if int(pid) > 0:  # 0 stands for a process that cannot be seen from here
                    with suppress(OSError):
                        os.kill(int(pid), signal.SIGKILL)


def _ours_in(place: Path) -> Sequence[Path]:
    try:
        return [folder for folder in place.iterdir() if _SHAPE.fullmatch(folder.name)]
    except OSError:
        return []


def _escaped(text: str) -> str:
    """As one part of a group's name."""
    return quote(text, safe="").replace(".", "%2E")
