"""Attacks that take too much: time, memory, processes, files, output. Part of :mod:`discovery.testing.sandbox`."""

from __future__ import annotations

import time
from dataclasses import replace

from discovery.records import FailureKind
from discovery.sandbox import cgroups
from discovery.sandbox.hierarchies import Absent
from discovery.testing.sandbox import (
    QUICK,
    Bench,
    attack,
    failed,
)

_ANY = tuple(FailureKind)


@attack
async def fork_bomb(bench: Bench) -> None:
    """Forking without end stays within the limit and ends with the request."""
    source = """
import os, time
def solve():
    end, most = time.time() + 1, 0
    for _ in range(2000):
        try:
            if os.fork() == 0:
                while True:
                    try:
                        os.fork()
                    except OSError:
                        time.sleep(0.01)
        except OSError:
            time.sleep(0.001)
        if time.time() > end:
            break
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as file:
                count += int(file.read().rpartition(")")[2].split()[3]) == os.getsid(0)
        except OSError:
            pass
    return [] if count <= 40 else ["%d processes" % count]
"""
    await bench.attack(source, limits=replace(QUICK, wall_s=4, cpu_s=20))


@attack
async def memory_8_gib(bench: Bench) -> None:
    """One process cannot take 8 GiB, in one piece or many."""
    failed(await bench.call("def solve():\n    x = bytearray(8 << 30)"), FailureKind.MEMORY)
    many = "def solve():\n    kept = []\n    while True:\n        kept.append(bytearray(1 << 24))"
    failed(await bench.call(many), FailureKind.MEMORY)
    mapped = "import mmap\ndef solve():\n    kept = [mmap.mmap(-1, 1 << 26) for _ in range(128)]"
    failed(await bench.call(mapped), *_ANY)


_IN_TURN = """
import mmap, os, signal, socket
def solve(count):
    full = 0
    for _ in range(count):
        reader, writer = os.pipe()
        if os.fork() == 0:
            kept = fill()
            os.write(writer, b"x")
            signal.pause()
        os.close(writer)
        full += len(os.read(reader, 1))  # nothing, when it was ended
    return ["%d processes are full" % full]
"""


@attack
async def memory_sum(bench: Bench) -> None:
    """Several processes together cannot take more than one may, even where the loss of some is survived."""
    fill = "def fill():\n    return bytearray(b'x') * (56 << 20)\n"
    await _past_the_sum(bench, fill, 6)


@attack
async def memory_sum_with_files(bench: Bench) -> None:
    """Files and memory together stay within the limits of both; files lie in memory."""
    fill = """
def fill():
    with open("large", "ab") as file:
        file.write(bytes(1 << 20))
    with open("large", "rb") as file:
        return file.read(), bytearray(b"x") * (44 << 20)
"""
    await _past_the_sum(bench, fill, 6)


@attack
async def memory_sum_shared(bench: Bench) -> None:
    """Shared mappings count, whoever made them."""
    fill = """
def fill():
    shared = mmap.mmap(-1, 48 << 20)
    for at in range(0, 48 << 20, 4096):
        shared[at] = 1
    return shared
"""
    await _past_the_sum(bench, fill, 6)


@attack
async def memory_of_kernel_buffers(bench: Bench) -> None:
    """What the kernel holds for a program, in sockets, counts as its memory."""
    fill = """
def fill():
    kept = []
    try:
        while True:
            ends = socket.socketpair()
            kept.append(ends)
            ends[0].setblocking(False)
            try:
                while True:
                    ends[0].send(bytes(1 << 14))
            except BlockingIOError:
                pass
    except OSError:
        return kept
"""
    await _past_the_sum(bench, fill, 10)


@attack
async def cpu_sum(bench: Bench) -> None:
    """Several processes together cannot take more CPU time than one may, daemons included."""
    source = """
import os
def solve():
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True:
                    pass
            os._exit(0)
    for _ in range(3):
        os.wait()
    import time
    time.sleep(20)
"""
    said = failed(await bench.call(source, limits=replace(QUICK, wall_s=20, cpu_s=0.5)), FailureKind.TIMEOUT)
    assert "all its processes together" in said, said


@attack
async def leave_control_group(bench: Bench) -> None:
    """No program can move itself out of the group that bounds it, or widen that."""
    source = """
import os
def solve(folders):
    through = []
    for folder in folders:
        for path, text in ((folder + "/../cgroup.procs", "0"), (folder + "/pids.max", "max")):
            try:
                with open(path, "w") as file:
                    file.write(text)
                through.append(path)
            except OSError:
                pass
    return through
"""
    place = cgroups.available()
    if isinstance(place, Absent):
        return
    group = cgroups.make(place, bench.world.label)
    try:
        await bench.attack(source, [str(folder) for folder in group.folders])
    finally:
        group.remove()


async def _past_the_sum(bench: Bench, fill: str, count: int) -> None:
    """Fill so many processes in turn, which all stay; the kernel must have ended one."""
    result = await bench.call(_IN_TURN + fill, count, limits=replace(QUICK, memory_bytes=64 << 20))
    said = failed(result, FailureKind.MEMORY)
    assert "all its processes together" in said, said


@attack
async def endless_loop_without_signals(bench: Bench) -> None:
    """Ignoring and blocking every signal does not outlast a limit."""
    source = """
import signal
def solve():
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        pass
"""
    started = time.monotonic()
    failed(await bench.call(source, limits=replace(QUICK, wall_s=0.3)), FailureKind.TIMEOUT)
    assert time.monotonic() - started < 1.5
    failed(await bench.call(source, limits=replace(QUICK, cpu_s=1)), FailureKind.TIMEOUT)


@attack
async def stop_oneself(bench: Bench) -> None:
    """A stopped process is ended at its limit."""
    source = "import os, signal\ndef solve():\n    os.kill(os.getpid(), signal.SIGSTOP)"
    failed(await bench.call(source, limits=replace(QUICK, wall_s=0.3)), FailureKind.TIMEOUT)


@attack
async def large_file(bench: Bench) -> None:
    """A file of 10 GiB cannot be written, sparse ones neither."""
    source = """
import os
def solve():
    chunk, total = bytes(1 << 20), 0
    try:
        with open("big", "wb", buffering=0) as file:
            for _ in range(10 << 10):
                total += file.write(chunk)
    except OSError:
        pass
    try:
        with open("sparse", "wb") as file:
            file.truncate(10 << 30)
        total += os.stat("sparse").st_size
    except OSError:
        pass
    return [] if total <= 8 << 20 else ["%d bytes" % total]
"""
    await bench.attack(source)


@attack
async def many_files(bench: Bench) -> None:
    """Many files together stay within the limit too, and so does their number."""
    source = """
def solve():
    total = 0
    try:
        for i in range(8):
            with open("f%d" % i, "wb", buffering=0) as file:
                total += file.write(bytes(4 << 20))
    except OSError:
        pass
    return [] if total <= 8 << 20 else ["%d bytes" % total]
"""
    await bench.attack(source)


@attack
async def output_of_1_gib(bench: Bench) -> None:
    """A flood of output neither blocks nor is kept."""
    source = """
import os
def solve():
    chunk = b"x" * (1 << 20)
    for i in range(1 << 10):
        os.write(1 + i % 2, chunk)
    return []
"""
    result = await bench.attack(source, limits=replace(QUICK, wall_s=30, output_bytes=5000))
    assert result.data is not None, result.failure
    assert len(result.stdout) + len(result.stderr) == 5000


@attack
async def raise_limits(bench: Bench) -> None:
    """Limits cannot be raised again."""
    source = """
import resource
def solve():
    through = []
    for name in ("AS", "CPU", "FSIZE", "CORE"):
        limit = getattr(resource, "RLIMIT_" + name)
        try:
            resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            through.append(name)
        except (OSError, ValueError):
            pass
    return through
"""
    await bench.attack(source)
