"""That each request is held to its own limits. Part of :mod:`discovery.testing.sandbox`."""

from __future__ import annotations

import os
import time
from dataclasses import replace

from discovery import data
from discovery.errors import SandboxError
from discovery.records import FailureKind
from discovery.sandbox.base import CommandRun, FunctionCall
from discovery.testing.sandbox import QUICK, Bench, case, failed


@case
async def wall_limit(bench: Bench) -> None:
    """The wall-clock limit ends a sleeping program soon, and names itself."""
    started = time.monotonic()
    result = await bench.call(
        "import time\ndef solve():\n    time.sleep(60)", limits=replace(QUICK, wall_s=0.3)
    )
    assert "0.3 s" in failed(result, FailureKind.TIMEOUT)
    assert time.monotonic() - started < 2.0
    assert 0.3 <= result.wall_s < 2.0


@case
async def cpu_limit(bench: Bench) -> None:
    """The CPU limit ends a busy program before its wall-clock limit."""
    result = await bench.call("def solve():\n    while True: pass", limits=replace(QUICK, cpu_s=1))
    assert "CPU" in failed(result, FailureKind.TIMEOUT)
    assert result.cpu_s is not None
    assert 0.4 < result.cpu_s < 3  # the kernel counts it in ticks


@case
async def memory_limit(bench: Bench) -> None:
    """The memory limit is its own kind of failure, and is not hit by half of it."""
    limits = replace(QUICK, memory_bytes=256 << 20)
    result = await bench.call("def solve():\n    x = bytearray(1 << 30)", limits=limits)
    assert "256 MiB" in failed(result, FailureKind.MEMORY)
    half = "def solve():\n    x = bytearray(128 << 20)\n    return len(x)"
    assert await bench.value(half, limits=limits) == 128 << 20


@case
async def result_limit(bench: Bench) -> None:
    """A result past its limit is its own kind of failure."""
    limits = replace(QUICK, result_bytes=1000)
    result = await bench.call("def solve():\n    return 'x' * 1001", limits=limits)
    assert "1,000 bytes" in failed(result, FailureKind.OUTPUT)


@case
async def other_limits_each_time(bench: Bench) -> None:
    """A request is held to its own limits, whatever those of the one before were."""
    fill = """
import resource
def solve(size):
    limits = [resource.getrlimit(n)[0] for n in (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU)]
    try:
        with open("full", "wb") as file:
            file.write(bytes(size))
        return [True, *limits]
    except OSError:
        return [False, *limits]
"""
    for size, cpu_s in ((1 << 20, 5), (4 << 20, 3), (4 << 20, 7), (1 << 20, 2)):
        limits = replace(QUICK, file_bytes=size, cpu_s=cpu_s)
        assert await bench.value(fill, size // 2, limits=limits) == [True, size, cpu_s]
        assert await bench.value(fill, size * 2, limits=limits) == [False, size, cpu_s]


@case
async def pinned_to_cores(bench: Bench) -> None:
    """A request runs on the CPUs that it was given and no others, and a later one on its own again."""
    source = """
import os
def solve():
    allowed = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, range(os.cpu_count()))
        return [allowed, "left them"]
    except PermissionError:
        return [allowed, "stayed"]
"""
    sandbox = await bench.sandbox()
    everywhere = sorted(os.sched_getaffinity(0))
    for cores in (everywhere, everywhere[-1:], everywhere[:1], everywhere[:1], []):
        request = FunctionCall(
            source=source,
            function="solve",
            arguments=data.encode([[], {}]),
            limits=QUICK,
            cores=tuple(cores),
        )
        result = await sandbox.run(request)
        assert result.data is not None, result
        assert data.decode(result.data) == [cores or everywhere, "stayed"]


@case
async def cores_that_are_not_there(bench: Bench) -> None:
    """CPUs that this machine lacks are the caller's mistake, which says so."""
    sandbox = await bench.sandbox()
    request = CommandRun(source="", argv=("true",), suffix="", stdin=b"", limits=QUICK, cores=(0, 4095))
    said = "it ran"
    try:
        await sandbox.run(request)
    except SandboxError as error:
        said = str(error)
    finally:
        await bench.discard()
    await bench.sandbox()
    assert "4095" in said, said
