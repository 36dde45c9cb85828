"""Find out what a sandbox really holds on this host, by trying to break it.

A property is true only when an attempt to break it was seen to fail; each attempt is a small program in the
sandbox that reports whether it got through.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from discovery import data
from discovery.declared import Limits
from discovery.errors import DataError, SandboxError
from discovery.records import FailureKind, SandboxRecord
from discovery.sandbox.base import FunctionCall, Sandbox, SandboxBackend, SandboxResult, SandboxSpec
from discovery.sandbox.cgroups import available
from discovery.sandbox.client import FIXED_ENVIRONMENT
from discovery.sandbox.hierarchies import Absent
from discovery.sandbox.isolation import PROPERTIES
from discovery.sandbox.totals import SPARE_PROCESSES

_LIMITS = Limits(wall_s=5.0, memory_bytes=256 << 20, processes=16, file_bytes=1 << 20)
_MEMORY_BYTES = (
    16 << 20,
    64 << 20,
    1 << 30,
)  # the least that shows; with large packages a small excess is none
_CPU = replace(_LIMITS, cpu_s=0.1)
_REPORTED = {
    "no_network": "network",
    "host_files_hidden": "files",
    "host_files_unwritable": "writes",
    "host_environment_hidden": "environment",
    "host_processes_hidden": "processes",
    "host_sockets_unreachable": "sockets",
    "kernel_files_closed": "kernel",
    "devices_harmless": "devices",
    "system_calls_filtered": "system_calls",
    "no_privileges": "privileges",
    "setuid_ignored": "setuid",
    "zygote_untouchable": "zygote",
    "limits_kept": "limits",
}
"""Property to what ``probe`` calls its breach."""

# One program for all that can be looked at from within. Every function returns True where it got through.
_SOURCE = """
import os, socket, stat, ctypes, errno, resource

def _connect(family, address):
    try:
        with socket.socket(family) as s:
            s.settimeout(0.5)
            s.connect(address)
        return True
    except OSError:
        return False

def _reads(path):
    try:
        with open(path, "rb") as file:
            return bool(file.read(1))
    except OSError:
        return False

def _writes(folder):
    path = os.path.join(folder, "discovery-probe-%d" % os.getpid())
    try:
        with open(path, "wb"):
            pass
        os.unlink(path)
        return True
    except OSError:
        return False

def _opens(path, flags=os.O_RDONLY):
    try:
        os.close(os.open(path, flags | os.O_NONBLOCK))
        return True
    except OSError:
        return False

def _addresses():
    try:
        with open("/proc/kallsyms") as file:
            return int(file.readline().split()[0], 16) != 0
    except (OSError, IndexError, ValueError):
        return False

def _devices():
    harmless = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)]  # null zero full random urandom tty ptmx
    for folder, _, names in os.walk("/dev"):
        for path in (os.path.join(folder, name) for name in names):
            try:
                status = os.stat(path)
            except OSError:
                continue
            number = os.major(status.st_rdev), os.minor(status.st_rdev)
            is_device = stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode)
            if is_device and number not in harmless and _opens(path):
                return True
    try:
        os.mknod("/tmp/discovery-probe-device", stat.S_IFCHR | 0o600, os.makedev(1, 1))
        os.unlink("/tmp/discovery-probe-device")
        return True
    except OSError:
        return False

def _touches_zygote():
    zygote = os.getppid()  # 0 from a namespace of its own, whose process 1 shares the zygote's memory
    try:
        os.kill(zygote or 1, 0)
        signalled = zygote != 0
    except OSError:
        signalled = False
    return signalled or any(_opens("/proc/%d/%s" % (zygote or 1, name)) for name in ("mem", "environ", "fd/3"))

def _widens(files):
    limits = [resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE]
    for limit in limits:
        try:
            hard = resource.getrlimit(limit)[1]
            if hard != resource.RLIM_INFINITY:
                resource.setrlimit(limit, (hard + 1, hard + 1))
                return True
        except (OSError, ValueError):
            pass
    return any(_opens(path, os.O_WRONLY) for path in files)

def _status(name):
    with open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith(name + ":"))

def probe(port, sockets, secrets, names, groups, host_pid, host_start):
    libc = ctypes.CDLL(None, use_errno=True)
    calls = []
    for attempt in (lambda: libc.unshare(0x10000000), lambda: libc.ptrace(0, 0, 0, 0),
                    lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)):
        ctypes.set_errno(0)
        calls.append(attempt() == -1 and ctypes.get_errno() == errno.EPERM)
    try:
        with open("/proc/%d/stat" % host_pid) as file:
            sees = file.read().rpartition(")")[2].split()[19] == host_start  # else another of that number
    except OSError:
        sees = False
    return {
        "network": _connect(socket.AF_INET, ("127.0.0.1", port)),
        "files": any(map(_reads, secrets)),
        "environment": any(n in os.environ for n in names) or (sees and _reads("/proc/%d/environ" % host_pid)),
        "processes": sees,
        "writes": any(map(_writes, ("/usr/lib", "/", "/dev", "/etc"))),
        "system_calls": not all(calls),
        "privileges": os.getuid() == 0 or any(int(_status(n), 16) for n in ("CapEff", "CapPrm")),
        "setuid": _status("NoNewPrivs") != "1",
        "sockets": any(_connect(socket.AF_UNIX, name) for name in sockets),
        "kernel": _addresses() or any(map(_reads, (
            "/proc/kcore", "/proc/kmsg", "/dev/kmsg", "/dev/mem", "/proc/keys", "/sys/kernel/vmcoreinfo",
            "/sys/kernel/debug/sched/debug"))) or any(_opens(path, os.O_WRONLY) for path in (
            "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname",
            "/sys/kernel/uevent_helper")),
        "devices": _devices(),
        "zygote": _touches_zygote(),
        "limits": _widens(groups),
    }

def leave(name):
    with open("/tmp/discovery-probe-left", "w") as file:
        file.write("x")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            import time
            ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
            time.sleep(30)
        os._exit(0)
    os.wait()
    return True

def left():
    found = os.path.exists("/tmp/discovery-probe-left")
    if found:
        os.unlink("/tmp/discovery-probe-left")
    return found

def forks():
    import signal, time
    children = []
    try:
        for _ in range(100):
            pid = os.fork()
            if pid == 0:
                time.sleep(5)
                os._exit(0)
            children.append(pid)
    except OSError:
        pass
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    return len(children)

def remember(count, size):
    for _ in range(count):
        reader, writer = os.pipe()
        if os.fork() == 0:
            kept = bytearray(b"x") * size
            os.write(writer, b"x")
            import signal
            signal.pause()
        os.close(writer)
        os.read(reader, 1)
    return count

def spin():
    import time
    for _ in range(2):
        if os.fork() == 0:
            while True:
                pass
    time.sleep(2)
    return True

def fill(count):
    total = 0
    try:
        for i in range(count):
            with open("/tmp/fill-%d" % i, "wb") as file:
                total += file.write(bytes(1 << 19))
    except OSError:
        pass
    for i in range(count):
        try:
            os.unlink("/tmp/fill-%d" % i)
        except OSError:
            pass
    return total
"""


async def verify(backend: SandboxBackend, spec: SandboxSpec, details: Mapping[str, str]) -> SandboxRecord:
    """Probe one backend.

    Args:
        backend: Whose sandboxes to probe.
        spec: As a run would use them.
        details: Versions and paths to record.

    Returns:
        The record; its id is the backend and a hash of the properties.

    Raises:
        SandboxError: A sandbox could not start, or a probe did not run.
    """
    # Where files are bounded for the sandbox and not for each request, they are by the widest limits.
    widest = replace(spec.limits, file_bytes=_LIMITS.file_bytes)
    sandbox = backend.create(replace(spec, limits=widest))
    try:
        await sandbox.start()
        properties = {**await _look(sandbox, spec.environment), **await _exceed(sandbox)}
    finally:
        await sandbox.close()
    if properties.keys() != PROPERTIES.keys():
        raise SandboxError(f"these properties were not probed: {PROPERTIES.keys() ^ properties.keys()}")
    text = repr(sorted(properties.items()))
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    place = available()
    groups = place.why if isinstance(place, Absent) else f"version {place.version}"
    return SandboxRecord(
        id=f"{backend.name}-{digest}",
        backend=backend.name,
        properties={name: properties[name] for name in PROPERTIES},
        details={**details, "kernel": os.uname().release, "control groups": groups},
    )


async def _look(sandbox: Sandbox, environment: Mapping[str, str]) -> dict[str, bool]:
    """What one program gets through to by looking around."""
    secrets = [__file__, "/etc/shadow", "/etc/hostname", "/var/run/docker.sock"]
    with suppress(OSError):
        secrets += [str(p) for p in sorted(Path.home().iterdir()) if p.is_file()][:8]
    own = {"PATH", "HOME", "TMPDIR", "LC_CTYPE", "PYTHONPATH", *FIXED_ENVIRONMENT, *environment}
    names = sorted(set(os.environ) - own)
    pid = os.getpid()
    with _host() as host:
        seen = [host.port, host.sockets, secrets, names, host.groups, pid, _start_of(pid)]
        through = await _call(sandbox, "probe", seen)
    if not isinstance(through, dict):
        raise SandboxError(f"the probe of the sandbox returned {through!r}")
    return {name: through[reported] is False for name, reported in _REPORTED.items()}


async def _exceed(sandbox: Sandbox) -> dict[str, bool]:
    """What is left of programs that take too much, or would stay."""
    daemon = f"dsc{os.urandom(5).hex()}"
    await _call(sandbox, "leave", [daemon])
    outlived = _runs(daemon)
    leftovers = await _call(sandbox, "left", [])
    forks = await _call(sandbox, "forks", [])
    filled = await _call(sandbox, "fill", [8])
    # Where there is no group nothing can bound a sum, and the host is spared the proof.
    grouped = not isinstance(available(), Absent)
    return {
        "process_tree_ended": not outlived,
        "leftovers_wiped": leftovers is False,
        "processes_bounded": isinstance(forks, int) and forks <= _LIMITS.processes + SPARE_PROCESSES,
        "disk_bounded": isinstance(filled, int) and filled <= _LIMITS.file_bytes,
        "total_memory_bounded": grouped and await _forgets(sandbox),
        "total_cpu_bounded": grouped and await _ended(sandbox, "spin", [], _CPU, FailureKind.TIMEOUT),
    }


async def _forgets(sandbox: Sandbox) -> bool:
    """Whether processes that take too much memory together are ended."""
    for size in _MEMORY_BYTES:
        limits = replace(_LIMITS, memory_bytes=size, result_bytes=1 << 16)
        if await _ended(sandbox, "remember", [12, size * 3 // 4], limits, FailureKind.MEMORY):
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Host:
    """Things on the host that a probe reaches for: a port, sockets, the files of a control group."""

    port: int
    sockets: list[str]
    groups: list[str]


@contextmanager
def _host() -> Iterator[_Host]:
    name = f"discovery-probe-{os.urandom(6).hex()}"
    place = available()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        tempfile.TemporaryDirectory(prefix="probe-") as folder,
        socket.socket(socket.AF_UNIX) as file,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        Path(folder).chmod(0o755)
        for one, address in ((file, f"{folder}/socket"), (abstract, f"\0{name}")):
            one.bind(address)
            one.listen()
        Path(folder, "socket").chmod(0o777)
        groups = [] if isinstance(place, Absent) else [f"{f}/cgroup.procs" for f in place.folders.values()]
        yield _Host(listener.getsockname()[1], [f"{folder}/socket", f"\0{name}"], groups)


def _start_of(pid: int) -> str:
    """When a process started, as the kernel counts it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def _runs(name: str) -> bool:
    """Whether a process of that name is there."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "comm").read_text().strip() == name:
                    return True
    return False


async def _run(sandbox: Sandbox, function: str, arguments: Sequence[object], limits: Limits) -> SandboxResult:
    encoded = data.encode([list(arguments), {}])
    return await sandbox.run(
        FunctionCall(source=_SOURCE, function=function, arguments=encoded, limits=limits)
    )


async def _ended(
    sandbox: Sandbox, function: str, arguments: Sequence[object], limits: Limits, kind: FailureKind
) -> bool:
    """Whether a probe that takes too much was ended for just that."""
    failure = (await _run(sandbox, function, arguments, limits)).failure
    return failure is not None and failure.kind is kind and "together" in failure.message


async def _call(sandbox: Sandbox, function: str, arguments: Sequence[object]) -> object:
    result = await _run(sandbox, function, arguments, _LIMITS)
    if result.data is None:
        raise SandboxError(f"the probe {function!r} of the sandbox failed: {result.failure}")
    try:
        return data.decode(result.data)
    except DataError as error:
        raise SandboxError(f"the probe {function!r} of the sandbox answered nonsense") from error
