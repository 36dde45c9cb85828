"""The default backend: bubblewrap around a zygote, and fresh namespaces around each of its children.

The root that candidates see is assembled from read-only binds: the system's programs and libraries, the
interpreter without its installed packages, and the named packages. Nothing else of the host is there: no
home, no checkout, no ``/etc`` but the loader's cache and a made-up ``passwd``, and five harmless devices.

Identity: an ordinary user's sandbox is a user namespace with one id, and a child gives up its capabilities.
Root's has two, because the kernel does not hold its own root to a number of processes: the zygote is root
in it, which maps to root outside (it has to read the interpreter, wherever that lies) but has capabilities
over the namespace only; children become the second id, which belongs to nobody on the host.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path

from discovery.errors import SandboxError
from discovery.records import SandboxRecord
from discovery.sandbox.base import Sandbox, SandboxSpec
from discovery.sandbox.cgroups import group_for, joining, leave, sweep
from discovery.sandbox.client import (
    FIXED_ENVIRONMENT,
    ZYGOTE_FLAGS,
    Launched,
    LocalProcess,
    ZygoteSandbox,
)
from discovery.sandbox.probes import verify
from discovery.sandbox.python import interpreter, package_files, zygote_files
from discovery.sandbox.recipes import host_paths

_UID = 1000
_OUTER_UID = 1_990_000_000
_START_S = 20.0
_PASSWD = f"candidate:x:{_UID}:{_UID}::/box/work:/bin/sh\n".encode()
_DEVICES = ("null", "zero", "full", "random", "urandom")
_SYSTEM = (
    *("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec"),
    *("/usr/include", "/usr/share", "/bin", "/sbin", "/lib", "/lib32", "/lib64"),
    *("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"),
)


class BubblewrapBackend:
    """Makes bubblewrap sandboxes.

    Covers: files, environment, processes and network of the host; memory, CPU time and number of each
    evaluation's processes, where there are control groups of all together; leftovers between evaluations;
    dangerous system calls.

    Does not cover: the sum of memory and CPU time over several processes of one evaluation where there are no
    control groups; bugs of the kernel; timing channels.
    """

    name = "bubblewrap"

    def missing(self) -> Sequence[str]:
        """What keeps it from working here, each as one line that ends with the fix."""
        program = shutil.which("bwrap")
        if program is None:
            return ["bubblewrap is not installed: sudo apt-get install bubblewrap"]
        complaint = _complaint(program)
        return [] if complaint is None else [complaint]

    async def verify(self, spec: SandboxSpec) -> SandboxRecord:
        """Probe which isolation properties hold on this host.

        Raises:
            SandboxError: The sandbox cannot start or failed meanwhile.
        """
        return await verify(self, spec, details={"bwrap": _version()})

    def create(self, spec: SandboxSpec) -> Sandbox:
        """A new sandbox, not started.

        Raises:
            MissingComponent: A package or a program is not installed, or the image is not a recipe.
        """
        package_files(spec.packages)
        host_paths(spec.image)
        return ZygoteSandbox(spec, _launch)

    def sweep(self) -> Sequence[str]:
        """Remove what sandboxes of processes that are gone have left: control groups."""
        return sweep()


def _launch(spec: SandboxSpec) -> Launched:
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxError("bubblewrap is not installed: sudo apt-get install bubblewrap")
    outer = _outer_uid() if os.geteuid() == 0 else None
    with ExitStack() as undo, ExitStack() as until_up, ExitStack() as passed:
        ours, theirs = socket.socketpair()
        undo.callback(ours.close)
        passed.callback(theirs.close)
        info_read, info_write = _pipe(until_up, passed)
        block_read, block_write = _pipe(passed, until_up)
        passwd_read, passwd_write = _pipe(passed, passed)
        os.write(passwd_write, _PASSWD)
        log = undo.enter_context(tempfile.TemporaryFile())
        group = group_for(spec)
        undo.callback(leave, group)
        arguments = [program, *_namespaces(outer, info_write, block_read), *_root(spec, passwd_read)]
        arguments += [str(interpreter().executable), *ZYGOTE_FLAGS, "/zygote/zygote.py", str(theirs.fileno())]
        try:
            process = subprocess.Popen(
                joining(group, [*arguments, spec.label]),
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # The reading end of its news too: nobody reading would be the end of bubblewrap alone.
                pass_fds=(theirs.fileno(), info_read, info_write, block_read, passwd_read),
                # The terminal's Ctrl-C is for the host, which ends the sandbox in its own time.
                start_new_session=True,
            )
        except OSError as error:
            raise SandboxError(f"{program} cannot be started: {error}") from error
        passed.close()
        try:
            inner = _release(process, info_read, block_write, outer)
        except (OSError, ValueError, SandboxError) as error:
            _kill(process)
            log.seek(0)
            said = log.read(500).decode(errors="replace").strip()
            raise SandboxError(f"bubblewrap did not start: {said or error}") from error
        undo.pop_all()
    local = LocalProcess(process=process, output=log, inner=inner)
    return Launched(
        channel=ours,
        confinement="namespaces",
        uid=None if outer is None else _UID,
        box="/box/work",
        end=local.end,
        log=local.log,
        group=group,
    )


def _pipe(reading: ExitStack, writing: ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with those."""
    reader, writer = os.pipe()
    reading.callback(os.close, reader)
    writing.callback(os.close, writer)
    return reader, writer


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End bubblewrap while it sets up: its child first, which would wait for it for ever."""
    with suppress(OSError):
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.wait()


def _release(process: subprocess.Popen[bytes], info: int, block: int, outer: int | None) -> int:
    """Learn the id of the sandbox's first process, map its users, let it go on; returns its pidfd."""
    text = b""
    poll = select.poll()
    poll.register(info, select.POLLIN)
    while b"}" not in text:
        if not poll.poll(_START_S * 1000):
            raise SandboxError(f"it said nothing within {_START_S:g} s")
        chunk = os.read(info, 4096)
        if not chunk:
            process.wait(_START_S)
            raise SandboxError(f"it ended with status {process.returncode}")
        text += chunk
    pid = int(json.loads(text)["child-pid"])
    inner = os.pidfd_open(pid)
    if outer is not None:
        try:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{pid}/{name}").write_text(f"0 0 1\n{_UID} {outer} 1\n")
            os.write(block, b".")
        except OSError:
            os.close(inner)
            raise
    return inner


def _outer_uid() -> int | None:
    """An id that root may give away and nobody has; None where there is none."""
    best = None
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= _OUTER_UID < first + count:
            return _OUTER_UID
        if first + count - 2 > _UID:
            best = first + count - 2
    return best


def _namespaces(outer: int | None, info: int, block: int) -> list[str]:
    uid = "0" if outer is not None else str(_UID)
    # Not --die-with-parent: a bubblewrap that is killed while it sets up leaves its child waiting for ever. All
    # ends by end of file instead: the block's pipe while it is set up, the zygote's channel from then on.
    found = ["--unshare-all", "--unshare-user", "--new-session"]
    found += ["--hostname", "sandbox", "--uid", uid, "--gid", uid, "--info-fd", str(info)]
    # Entering the namespace of the pausing process 1, which nobody may look into, takes the second.
    found += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SYS_PTRACE"]
    if outer is not None:
        found += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        found += ["--userns-block-fd", str(block)]
    return found


def _root(spec: SandboxSpec, passwd: int) -> list[str]:
    """Bubblewrap's arguments for files and environment."""
    return [*_folders(files := _files(spec)), *files, *_fixtures(passwd), *_environment(spec)]


def _files(spec: SandboxSpec) -> list[str]:
    """What of the host can be read, and under which names."""
    python = interpreter()
    found: list[str] = []
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink() and name != "/etc/localtime":
            found += ["--symlink", str(path.readlink()), name]
        elif path.exists():
            found += ["--ro-bind", str(path.resolve()), name]
    for path in python.readable:
        found += ["--ro-bind", str(path), str(path)]
    for path in (*python.hidden, *_own_folders()):
        if any(path.is_relative_to(p) for p in (*python.readable, *map(Path, _SYSTEM))):
            found += ["--tmpfs", str(path), "--remount-ro", str(path)]
    for name, path in package_files(spec.packages):
        found += ["--ro-bind", str(path), f"/site/{name}"]
    for path in zygote_files():
        found += ["--ro-bind", str(path), f"/zygote/{path.name}"]
    for readable in (*map(str, host_paths(spec.image).readable), *spec.extra_readable):
        found += ["--ro-bind", readable, readable]
    for name in ("python", "python3"):
        found += ["--symlink", str(python.executable), f"/programs/{name}"]
    return found


def _folders(files: Sequence[str]) -> list[str]:
    """Folders around those files; bubblewrap would make them for itself alone."""
    ends = [*(i for i, part in enumerate(files) if part.startswith("--")), len(files)]
    targets = {Path(files[end - 1]) for end in ends[1:]}
    parents = {Path("/var"), Path("/etc"), Path("/box"), *(p for t in targets for p in t.parents)}
    found: list[str] = []
    for parent in sorted(parents - {Path("/")}):
        if not any(parent.is_relative_to(target) for target in targets):
            found += ["--perms", "0755", "--dir", str(parent)]
    return found


def _fixtures(passwd: int) -> list[str]:
    """What is made up: processes, devices, the places of private files, a user."""
    found = ["--perms", "0444", "--ro-bind-data", str(passwd), "/etc/passwd", "--proc", "/proc"]
    found += ["--symlink", "box/tmp", "/tmp", "--symlink", "../box/tmp", "/var/tmp", "--tmpfs", "/dev"]
    for device in _DEVICES:
        found += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    for link, name in (("fd", "fd"), ("fd/0", "stdin"), ("fd/1", "stdout"), ("fd/2", "stderr")):
        found += ["--symlink", f"/proc/self/{link}", f"/dev/{name}"]
    # What bubblewrap made itself is writable to it, and shared by all candidates of this sandbox.
    found += ["--symlink", "../box/shm", "/dev/shm", "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*found, "--chdir", "/"]


def _environment(spec: SandboxSpec) -> list[str]:
    found = ["--clearenv"]
    environment = {
        "PATH": ":".join(["/programs", *map(str, host_paths(spec.image).path), "/usr/bin", "/bin"]),
        "HOME": "/box/work",
        "PYTHONPATH": "/site",
        **FIXED_ENVIRONMENT,
        **spec.environment,
    }
    for name, value in environment.items():
        found += ["--setenv", name, value]
    return found


def _own_folders() -> tuple[Path, ...]:
    """This project's code and its bundled problems, wherever they lie."""
    package = Path(__file__).resolve().parent.parent
    return (package, *(p for p in (package.parent / "problems",) if p.is_dir()))


@lru_cache(maxsize=8)
def _complaint(program: str) -> str | None:
    """Why bubblewrap does not work, as a line that ends with the fix; None when it does."""
    command = [program, "--unshare-all", "--unshare-user", "--uid", "0", "--cap-add", "CAP_SYS_ADMIN"]
    command += ["--ro-bind", "/", "/", "--proc", "/proc", "true"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_START_S, check=False, env={})
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} cannot be run ({error}): sudo apt-get install --reinstall bubblewrap"
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().replace("\n", "; ")
    for name, bad, fix in (
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("user.max_user_namespaces", "0", "15000"),
    ):
        path = Path("/proc/sys", *name.split("."))
        if path.is_file() and path.read_text().strip() == bad:
            return f"unprivileged user namespaces are disabled ({said}): sudo sysctl -w {name}={fix}"
    if Path("/.dockerenv").exists():
        return (
            f"this container may not make namespaces ({said}): start it with --security-opt "
            "seccomp=unconfined --security-opt systempaths=unconfined"
        )
    return f"bubblewrap cannot make a sandbox ({said}): try  {' '.join(command)}"


@lru_cache(maxsize=1)
def _version() -> str:
    program = shutil.which("bwrap") or "bwrap"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
