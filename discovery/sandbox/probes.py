"""Find out what a sandbox really holds on this host, by trying to break it.

A property is true only when an attempt to break it was seen to fail; each attempt is a small program in the
sandbox that reports whether it got through.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from discovery import data
from discovery.errors import DataError, SandboxError
from discovery.problem import Limits
from discovery.records import SandboxRecord
from discovery.sandbox.base import FunctionCall, Sandbox, SandboxBackend, SandboxSpec
from discovery.sandbox.client import FIXED_ENVIRONMENT

_LIMITS = Limits(wall_s=5.0, memory_bytes=256 << 20, processes=16, file_bytes=1 << 20)

# One program for all that can be looked at from within. Every function returns True where it got through.
_SOURCE = """
import os, socket, ctypes, errno

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

def probe(port, secrets, names, host_pid, host_start):
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
        "privileges": os.getuid() == 0 or any(
            int(line.split()[1], 16) for line in open("/proc/self/status") if line.startswith(("CapEff",
            "CapPrm"))),
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
    sandbox = backend.create(spec)
    listener = socket.create_server(("127.0.0.1", 0))
    try:
        await sandbox.start()
        properties = await _probe(sandbox, listener.getsockname()[1], spec.environment)
    finally:
        await sandbox.close()
        listener.close()
    text = repr(sorted(properties.items()))
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return SandboxRecord(
        id=f"{backend.name}-{digest}",
        backend=backend.name,
        properties=properties,
        details={**details, "kernel": os.uname().release},
    )


async def _probe(sandbox: Sandbox, port: int, environment: Mapping[str, str]) -> dict[str, bool]:
    secrets = [__file__, "/etc/shadow", "/etc/hostname", "/var/run/docker.sock"]
    with suppress(OSError):
        secrets += [str(p) for p in sorted(Path.home().iterdir()) if p.is_file()][:8]
    own = {"PATH", "HOME", "TMPDIR", "LC_CTYPE", "PYTHONPATH", *FIXED_ENVIRONMENT, *environment}
    names = sorted(set(os.environ) - own)
    pid = os.getpid()
    through = await _call(sandbox, "probe", [port, secrets, names, pid, _start_of(pid)])
    if not isinstance(through, dict):
        raise SandboxError(f"the probe of the sandbox returned {through!r}")
    daemon = f"dsc{os.urandom(5).hex()}"
    await _call(sandbox, "leave", [daemon])
    outlived = _runs(daemon)
    leftovers = await _call(sandbox, "left", [])
    forks = await _call(sandbox, "forks", [])
    filled = await _call(sandbox, "fill", [8])
    return {
        "no_network": through["network"] is False,
        "host_files_hidden": through["files"] is False,
        "host_environment_hidden": through["environment"] is False,
        "host_processes_hidden": through["processes"] is False,
        "host_files_unwritable": through["writes"] is False,
        "system_calls_filtered": through["system_calls"] is False,
        "no_privileges": through["privileges"] is False,
        "process_tree_ended": not outlived,
        "leftovers_wiped": leftovers is False,
        "processes_bounded": isinstance(forks, int) and forks <= _LIMITS.processes,
        "disk_bounded": isinstance(filled, int) and filled <= _LIMITS.file_bytes,
        # Limits of the kernel bound each process, not their sum: that takes a control group.
        "total_memory_bounded": False,
    }


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


async def _call(sandbox: Sandbox, function: str, arguments: list[object]) -> object:
    result = await sandbox.run(
        FunctionCall(
            source=_SOURCE, function=function, arguments=data.encode([arguments, {}]), limits=_LIMITS
        )
    )
    if result.data is None:
        raise SandboxError(f"the probe {function!r} of the sandbox failed: {result.failure}")
    try:
        return data.decode(result.data)
    except DataError as error:
        raise SandboxError(f"the probe {function!r} of the sandbox answered nonsense") from error
