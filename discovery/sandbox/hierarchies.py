"""Where on this machine control groups can be made: what is mounted, what is whose.

- Below this process's own group where that is delegated: marked so by systemd, the top of what a container sees, or
  one with nobody else in it. Version 2 lets a group have either processes or groups that share out its resources, so
  what is in the own group moves to a leaf of it first.
- Else, for root, at the top of the hierarchy; never where that would escape a memory limit that somebody has set.

Looking changes nothing, and never raises: where groups cannot be had it says why, and what to do.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

VERSION_1 = ("memory", "pids", "cpuacct")
VERSION_2 = ("memory", "pids")  # CPU time is counted without its controller
SCOPE = "systemd-run --user --scope -p Delegate=yes discovery run ..."
_LEAF = "discovery-supervisor"
_UNLIMITED = 1 << 60  # version 1 has a large number instead of none
_MOVES = 50
_CONTAINER = "docker run --privileged --cgroupns=private ..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """There are no control groups to use.

    Args:
        why: In one line that ends with the fix, after the last ``": "``.
    """

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where control groups can be made.

    Args:
        version: 1 or 2.
        folders: Controller to the folder in which groups are made; in version 2 one folder for all.
        moves: Whether what is in that folder has to move to a leaf first.
    """

    version: int
    folders: Mapping[str, Path]
    moves: bool = False

    def prepare(self) -> None:
        """Make the place such that groups in it get the controllers. May be repeated; several may do it at once.

        Raises:
            OSError: The kernel refused.
        """
        if self.version == 1:
            return
        place = self.folders["memory"]
        control = place / "cgroup.subtree_control"
        for attempt in range(_MOVES):
            if set(VERSION_2) <= set(control.read_text().split()):
                return
            if self.moves:
                _move_to_leaf(place)
            try:
                control.write_text(" ".join(f"+{name}" for name in VERSION_2))
            except OSError:
                if not self.moves or attempt == _MOVES - 1:
                    raise
                time.sleep(0.002)  # something was started in it meanwhile


def find(mounts: str | None = None, own: str | None = None, root: Path = Path("/")) -> Place | Absent:
    """Where groups can be made, as far as can be seen without changing anything.

    Args:
        mounts: Contents of ``/proc/self/mountinfo``; None reads it.
        own: Contents of ``/proc/self/cgroup``; None reads it.
        root: What the paths in ``mounts`` start from.
    """
    try:
        mounts = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
        own = Path("/proc/self/cgroup").read_text() if own is None else own
    except OSError:
        return Absent(why="this system has no control groups: run this on Linux")
    hierarchies = list(_hierarchies(mounts, own, root))
    if not hierarchies:
        return Absent(why="no control groups are mounted: mount -t cgroup2 none /sys/fs/cgroup")
    second = next((found for found in hierarchies if found.version == 2), None)
    if second is not None and set(VERSION_2) <= second.controllers():
        return _find_2(second)
    first = {name: found for found in hierarchies if found.version == 1 for name in found.names}
    if set(VERSION_1) <= set(first):
        return _find_1({name: first[name] for name in VERSION_1})
    return Absent(
        why="the kernel hands out no control of memory and processes here, as the administrator can: "
        "echo '+memory +pids' > cgroup.subtree_control in each folder above this process's own group"
    )


def folders_of(groups: str, mounts: str | None = None, root: Path = Path("/")) -> tuple[int, dict[str, Path]]:
    """The folders of a group that exists.

    Args:
        groups: Contents of a ``/proc/PID/cgroup``.
        mounts: Contents of ``/proc/self/mountinfo``; None reads it.
        root: What the paths in ``mounts`` start from.

    Returns:
        Version, and controller to folder.

    Raises:
        LookupError: Memory and processes are not controlled in it.
    """
    mounts = Path("/proc/self/mountinfo").read_text() if mounts is None else mounts
    first = {}
    for found in _hierarchies(mounts, groups, root):
        if found.version == 2 and all((found.own / f"{name}.max").exists() for name in VERSION_2):
            return 2, dict.fromkeys(VERSION_2, found.own)
        first.update({name: found.own for name in found.names if found.version == 1})
    return 1, {name: first[name] for name in VERSION_1}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hierarchy:
    """One mounted hierarchy: its version and controllers (of version 1), its top and this process's own group."""

    version: int
    names: frozenset[str]
    top: Path
    own: Path
    is_container: bool

    def controllers(self) -> set[str]:
        """What version 2 can control at its top, which is all that can be had anywhere below."""
        with suppress(OSError):
            return set((self.top / "cgroup.controllers").read_text().split())
        return set()


def _hierarchies(mounts: str, groups: str, root: Path) -> Iterator[_Hierarchy]:
    paths = {}
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        shown, place = before.split(" ")[3:5]
        names = set(options.split(",")) & set(paths) if kind == "cgroup" else {""}
        own = next((paths[name] for name in names if name in paths), None)
        if own is None or ".." in own.split("/") or not f"{own}/".startswith(shown.rstrip("/") + "/"):
            continue  # this process is outside of what is mounted here
        top = root / _unescaped(place).lstrip("/")
        relative = own[len(shown.rstrip("/")) :].lstrip("/")
        version = 1 if kind == "cgroup" else 2
        # Only the true top of version 2 has no type; what a container sees as its top has one.
        is_container = version == 2 and (top / "cgroup.type").exists()
        yield _Hierarchy(
            version=version, names=frozenset(names), top=top, own=top / relative, is_container=is_container
        )


def _find_1(hierarchies: Mapping[str, _Hierarchy]) -> Place | Absent:
    stat = hierarchies["memory"].own / "memory.stat"
    limited = False
    with suppress(OSError, KeyError):
        limited = numbers(stat.read_text())["hierarchical_memory_limit"] < _UNLIMITED
    places = {}
    for name, found in hierarchies.items():
        wanted = (found.own,) if limited else (found.top, found.own)
        place = next((each for each in wanted if os.access(each, os.W_OK | os.X_OK)), None)
        if place is None:
            if os.geteuid() == 0:
                return Absent(why=f"{found.top} is read-only: {_CONTAINER}")
            return Absent(
                why="control groups of version 1 are root's here: run as root, or boot with "
                f"systemd.unified_cgroup_hierarchy=1 and {SCOPE}"
            )
        places[name] = place
    return Place(version=1, folders=places)


def _find_2(found: _Hierarchy) -> Place | Absent:
    if found.own.name == _LEAF:
        return Place(version=2, folders=dict.fromkeys(VERSION_2, found.own.parent))
    own = found.own
    is_top = own == found.top and not found.is_container
    if not is_top and os.access(own / "cgroup.subtree_control", os.W_OK) and _is_delegated(found):
        handed = set((own / "cgroup.controllers").read_text().split())
        if set(VERSION_2) <= handed:
            return Place(version=2, folders=dict.fromkeys(VERSION_2, own), moves=True)
        missing = " and ".join(sorted(set(VERSION_2) - handed))
        if os.geteuid() != 0 or found.is_container:
            return Absent(why=f"the group {own} is not given control of {missing}: {SCOPE}")
    if os.geteuid() != 0:
        return Absent(why=f"the control group of this process is not this user's: {SCOPE}")
    scope = SCOPE.replace("--user ", "")
    if not os.access(found.top, os.W_OK):
        return Absent(why=f"{found.top} is read-only: {_CONTAINER}")
    if found.is_container:
        return Absent(why=f"others run in this container's group {own}: {_CONTAINER}")
    if any(_is_limited(folder) for folder in (own, *own.parents) if folder.is_relative_to(found.top)):
        return Absent(why=f"another group would escape the memory limit of {own}: {scope}")
    return Place(version=2, folders=dict.fromkeys(VERSION_2, found.top))


def _is_delegated(found: _Hierarchy) -> bool:
    """Whether the own group is this process's to divide: nobody else reckons with what is in it."""
    if found.is_container and found.own == found.top:
        return True
    for attribute in ("trusted.delegate", "user.delegate"):
        with suppress(OSError):
            if os.getxattr(found.own, attribute) == b"1":
                return True
    with suppress(OSError, ValueError):
        inside = {int(pid) for pid in (found.own / "cgroup.procs").read_text().split()}
        return inside <= _lineage()
    return False


def _lineage() -> set[int]:
    """This process and those below it."""
    found = {os.getpid()}
    with suppress(OSError):
        parents = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
    return found


def _is_limited(folder: Path) -> bool:
    with suppress(OSError):
        return (folder / "memory.max").read_text().strip() != "max"
    return False


def _move_to_leaf(place: Path) -> None:
    leaf = place / _LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (place / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            (leaf / "cgroup.procs").write_text(pid)


def _unescaped(path: str) -> str:
    """A path of ``mountinfo``."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), path)


def numbers(text: str) -> dict[str, int]:
    """Lines of a name and a number."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
