"""How the engine is told what a sandbox's container is: what it may, what it holds, what is taken out of it again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from discovery.owner import this_owner
from discovery.sandbox.answers import Image
from discovery.sandbox.base import SandboxSpec
from discovery.sandbox.client import FIXED_ENVIRONMENT
from discovery.sandbox.totals import SPARE_PROCESSES, memory_limit

OWNER_LABEL, RUN_LABEL = "discovery.owner", "discovery.run"
SOCKET = "host.sock"
"""Name of the host's socket in the folder of the zygote's files."""
BOX = "/box/work"
"""The private folder of a request."""
_FLAGS = ("-s", "-P", "-B")  # with its site: an image holds only what candidates may see
_INSIDE = "/zygote"
_INODES = 16384
_OPEN_FILES = 1024
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_IDLE_BYTES = 256 << 20
"""More than a zygote holds between requests (45 MiB with numpy and scipy), until the host has read how much it is."""
_OWN_PROC = re.compile(r"\d+|self|thread-self|mounts|net")  # links to a process's own, or processes
_HOST_FILES = ("/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/passwd")
_KERNEL_FILES = (
    *("acpi", "asound", "bus", "cmdline", "cpuinfo", "interrupts", "kallsyms", "kcore", "keys", "key-users"),
    *("latency_stats", "locks", "meminfo", "modules", "sched_debug", "scsi", "stat", "sys", "timer_list"),
    *("timer_stats", "uptime", "version"),
)
"""Of those under ``/proc`` that may be covered although they cannot be seen from here."""


def described(spec: SandboxSpec, image: Image, folder: Path) -> dict[str, Any]:
    """A container as the engine's API wants it described.

    Args:
        spec: What the sandbox is to hold.
        image: Its image.
        folder: Of this host, with the zygote's files and the socket.
    """
    environment = {"HOME": BOX, **FIXED_ENVIRONMENT, **spec.environment}
    limits = spec.limits
    memory = memory_limit(_IDLE_BYTES, limits, limits.result_bytes)
    binds = [f"/dev/{name}" for name in _DEVICES if Path("/dev", name).exists()]
    disk = f"nosuid,nodev,size={limits.file_bytes},nr_inodes={_INODES},mode=1777"
    return {
        "Image": image.id,
        "Entrypoint": ["python3", *_FLAGS, f"{_INSIDE}/zygote.py", f"{_INSIDE}/{SOCKET}", spec.label],
        "Cmd": [],
        "User": "0:0",
        "WorkingDir": "/",
        "Hostname": "sandbox",
        # A name without a value takes away what the engine itself would set.
        "Env": ["HOSTNAME", *(f"{name}={value}" for name, value in environment.items())],
        "Labels": {OWNER_LABEL: this_owner(), RUN_LABEL: spec.label},
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGKILL",  # an engine that ends has nothing to wait for
        "NetworkDisabled": True,
        "HostConfig": {
            "NetworkMode": "none",
            "IpcMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "CapAdd": ["SETUID", "SETGID"],
            "SecurityOpt": ["no-new-privileges"],
            "Privileged": False,
            "Memory": memory,
            "MemorySwap": memory,
            "PidsLimit": limits.processes + SPARE_PROCESSES,
            "OomScoreAdj": 500,
            "Ulimits": [
                {"Name": name, "Soft": most, "Hard": most}
                for name, most in (("core", 1), ("nofile", _OPEN_FILES), ("memlock", 0), ("msgqueue", 0))
            ],
            "Init": False,
            "RestartPolicy": {"Name": "no"},
            "AutoRemove": True,
            "LogConfig": {"Type": "none"},
            "Mounts": [
                _read_only(str(folder), _INSIDE),
                *(_read_only(path, path) for path in (*binds, *spec.extra_readable)),
            ],
            "Tmpfs": {
                "/box": f"rw,exec,{disk}",
                "/tmp": f"rw,exec,{disk}",
                "/dev/shm": f"rw,noexec,{disk}",
                **dict.fromkeys(("/dev/mqueue", "/dev/pts"), "ro,nosuid,nodev,noexec,size=4k,mode=755"),
            },
            "MaskedPaths": [*_hidden(), *image.volumes],
            "ReadonlyPaths": [],
        },
    }


def _read_only(source: str, target: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": True}


def _hidden() -> list[str]:
    """What shows of the host in every container: all under ``/proc`` that is no process, and what the engine adds."""
    seen = [entry.name for entry in Path("/proc").iterdir() if not _OWN_PROC.fullmatch(entry.name)]
    return [*(f"/proc/{name}" for name in sorted({*seen, *_KERNEL_FILES})), *_HOST_FILES]
