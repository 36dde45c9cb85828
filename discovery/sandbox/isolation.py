"""What a sandbox can be verified to hold: names of properties, what each means, and levels of them.

Properties are found true or false by :mod:`discovery.sandbox.probes`, on the machine that is to run candidates. A
problem, or a user, requires some of them by name or by level; what is not met keeps anything from running.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from discovery.errors import ConfigError, InsufficientIsolation
from discovery.records import SandboxRecord

PROPERTIES: Mapping[str, str] = MappingProxyType(
    {
        "no_network": "no connection to this machine's own addresses, or any other, can be made",
        "host_files_hidden": "files of the host, the scorer's and your own among them, cannot be read",
        "host_files_unwritable": "nothing of the host, and nothing that candidates share, can be written",
        "host_environment_hidden": "no variable of the host's environment can be read",
        "host_processes_hidden": "no process of the host can be seen",
        "host_sockets_unreachable": "no socket file or abstract socket of the host can be connected to",
        "kernel_files_closed": "no setting, log, memory or address of the kernel can be read or changed",
        "devices_harmless": "no device but those without an effect can be opened, and none be made",
        "system_calls_filtered": "namespaces, mounts and other processes' memory are beyond reach",
        "no_privileges": "candidates have no capability and are not root",
        "setuid_ignored": "no program gives its caller more rights than it has",
        "zygote_untouchable": "the sandbox's own process cannot be signalled, traced or read",
        "limits_kept": "no limit can be raised, and no control group left",
        "process_tree_ended": "no process outlives the request that started it, daemons neither",
        "leftovers_wiped": "nothing that a request leaves is there for the next",
        "processes_bounded": "the number of processes and threads is bounded",
        "disk_bounded": "what is written to files, all together, is bounded",
        "total_memory_bounded": "memory is bounded for all processes of a request together",
        "total_cpu_bounded": "CPU time is bounded for all processes of a request together",
    }
)
"""By name, what each means."""

SUMS = ("total_memory_bounded", "total_cpu_bounded")
"""Those that take a control group."""

LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "none": (),
        "untrusted": tuple(name for name in PROPERTIES if name not in SUMS),
        "full": tuple(PROPERTIES),
    }
)
"""By name: nothing; what model-written code needs, all but the sums; everything."""


def expanded(required: Iterable[str]) -> tuple[str, ...]:
    """The properties that names of properties and levels stand for, each once.

    Args:
        required: The names.

    Raises:
        ConfigError: One is unknown; lists the known ones.
    """
    wanted: dict[str, None] = {}
    for name in required:
        if name not in LEVELS and name not in PROPERTIES:
            raise ConfigError(
                f"unknown isolation {name!r}; levels: {', '.join(LEVELS)}; properties: {', '.join(PROPERTIES)}"
            )
        wanted.update(dict.fromkeys(LEVELS.get(name, (name,))))
    return tuple(wanted)


def unmet(record: SandboxRecord | None, required: Iterable[str]) -> list[str]:
    """The required properties that were not verified to hold.

    Args:
        record: What was verified; None for nothing.
        required: Names of properties and levels.

    Raises:
        ConfigError: A name is unknown.
    """
    held = record.properties if record is not None else {}
    return [name for name in expanded(required) if not held.get(name, False)]


def require(record: SandboxRecord | None, required: Iterable[str], fixes: Iterable[str] = ()) -> None:
    """Refuse a sandbox that holds less than is required.

    Args:
        record: What was verified; None for nothing.
        required: Names of properties and levels.
        fixes: What may help where a property that takes a control group is missing, tried in this order before the
            general advice.

    Raises:
        ConfigError: A name is unknown.
        InsufficientIsolation: Something required does not hold; one line that ends with the fix.
    """
    missing = unmet(record, required)
    if not missing:
        return
    backend = record.backend if record is not None else "none"
    fix = next(iter(fixes), None) if set(missing) <= {*SUMS, "processes_bounded"} else None
    if fix is None:
        other = "another --sandbox" if backend == "bubblewrap" else "--sandbox bubblewrap"
        fix = f"use {other}, or require less; `discovery doctor --sandbox {backend}` explains each"
    raise InsufficientIsolation(f"sandbox {backend!r} does not hold here: {', '.join(missing)}; {fix}")
