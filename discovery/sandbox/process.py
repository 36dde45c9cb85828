"""The opt-in backend: a zygote without any namespace. It stops accidents, not an adversary.

For hosts where nothing better can be had, and for candidates that one trusts. Never chosen silently, and
stamped on every evaluation.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from discovery.errors import SandboxError
from discovery.records import SandboxRecord
from discovery.sandbox import cgroups
from discovery.sandbox.base import Sandbox, SandboxSpec
from discovery.sandbox.cgroups import group_for, joining, leave
from discovery.sandbox.client import (
    FIXED_ENVIRONMENT,
    ZYGOTE_FLAGS,
    Launched,
    LocalProcess,
    ZygoteSandbox,
    remove,
)
from discovery.sandbox.probes import verify
from discovery.sandbox.python import interpreter, package_files, zygote_files
from discovery.sandbox.recipes import host_paths

_PREFIX = "discovery-"
_NAME = re.compile(f"{_PREFIX}[a-z0-9_]{{8}}")  # as tempfile.mkdtemp makes them
_PARTS = {"zygote", "programs", "site", "box"}
_SETTLED_S = 60.0


class ProcessBackend:
    """Makes sandboxes that are plain processes.

    Covers: wall and CPU time, memory of one process, size of one file, amount of output, the environment,
    and descendants that do not fight back.

    Does not cover: files, network, other processes of the same user, the sum of disk, and where there are no
    control groups the number of processes and the sum of memory. A hostile candidate does here whatever this
    user may do.
    """

    name = "process"

    def missing(self) -> Sequence[str]:
        """What keeps it from working here."""
        return [] if sys.platform == "linux" else ["the process sandbox needs Linux: run this on Linux"]

    async def verify(self, spec: SandboxSpec) -> SandboxRecord:
        """Probe which isolation properties hold on this host.

        Raises:
            SandboxError: The sandbox cannot start or failed meanwhile.
        """
        return await verify(self, spec, details={})

    def create(self, spec: SandboxSpec) -> Sandbox:
        """A new sandbox, not started.

        Raises:
            MissingComponent: A package or a program is not installed, or the image is not a recipe.
        """
        package_files(spec.packages)
        host_paths(spec.image)
        return ZygoteSandbox(spec, _launch)

    def sweep(self) -> Sequence[str]:
        """Remove what sandboxes of processes that are gone have left: control groups and folders."""
        return [*cgroups.sweep(), *_sweep_folders()]


def _sweep_folders() -> list[str]:
    """Remove the folders of sandboxes whose host and zygote were both killed.

    A zygote holds a lock on its folder, which the kernel lets go with it, wherever it ran. Only folders of
    this user that look like a sandbox's and are not just being made are touched.
    """
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            status = folder.lstat()
            fresh = time.time() - status.st_mtime < _SETTLED_S
            if fresh or status.st_uid != os.geteuid() or not _NAME.fullmatch(folder.name):
                continue
            if not {entry.name for entry in folder.iterdir()} <= _PARTS:
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # gone meanwhile, or not a folder
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue  # in use
        finally:
            os.close(descriptor)
        remove(folder)
        removed.append(f"folder {folder} of a process sandbox")
    return removed


def _furnish(folder: Path, spec: SandboxSpec) -> None:
    """Put packages, zygote and programs there, as links."""
    for name, path in package_files(spec.packages):
        (folder / "site").mkdir(exist_ok=True)
        (folder / "site" / name).symlink_to(path)
    (folder / "zygote").mkdir()
    for path in zygote_files():
        (folder / "zygote" / path.name).symlink_to(path)
    (folder / "programs").mkdir()
    for name in ("python", "python3"):
        (folder / "programs" / name).symlink_to(interpreter().executable)


def _environment(folder: Path, spec: SandboxSpec) -> dict[str, str]:
    return {
        "PATH": ":".join([f"{folder}/programs", *map(str, host_paths(spec.image).path), "/usr/bin", "/bin"]),
        "HOME": str(folder / "box"),
        "TMPDIR": str(folder / "box"),
        "PYTHONPATH": str(folder / "site"),
        **FIXED_ENVIRONMENT,
        **spec.environment,
    }


def _launch(spec: SandboxSpec) -> Launched:
    with ExitStack() as undo:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        undo.callback(remove, folder)
        _furnish(folder, spec)
        ours, theirs = socket.socketpair()
        undo.callback(ours.close)
        with theirs:
            log = undo.enter_context(tempfile.TemporaryFile())
            group = group_for(spec)
            undo.callback(leave, group)
            command = [str(interpreter().executable), *ZYGOTE_FLAGS, str(folder / "zygote/zygote.py")]
            try:
                process = subprocess.Popen(
                    joining(group, [*command, str(theirs.fileno()), spec.label, str(folder)]),
                    env=_environment(folder, spec),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                raise SandboxError(f"{command[0]} cannot be started: {error}") from error
        undo.pop_all()
    local = LocalProcess(process=process, output=log, folder=folder)
    return Launched(
        channel=ours,
        confinement="bare",
        box=str(folder / "box"),
        end=local.end,
        log=local.log,
        group=group,
    )
