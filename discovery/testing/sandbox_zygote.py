"""Attacks on what the zygote remembers, reaps, reports and shares. Part of :mod:`discovery.testing.sandbox`.

Each was a hole once: a child is a copy of the zygote, so whatever the zygote keeps of one request belongs to all
later ones; and whatever a child can make the zygote wait for, holds up its sandbox.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace

from discovery.records import FailureKind
from discovery.testing.sandbox import QUICK, Bench, attack, failed

_ANY = tuple(FailureKind)

_SEARCH = """
import sys
def solve(*reversed_secrets):
    found = []
    frame, seen = sys._getframe(), []
    while frame is not None:
        seen += [repr(v) + repr(getattr(v, "__dict__", "")) for v in frame.f_locals.values()]
        frame = frame.f_back
    wanted = [text[::-1] for text in reversed_secrets]
    found += ["a frame: " + t for t in wanted if any(t in s for s in seen)]
    del seen, frame
    patterns = [bytes(ord(c) ^ 1 for c in t) for t in wanted]
    del wanted
    table = bytes(i ^ 1 for i in range(256))
    with open("/proc/self/maps") as file:
        areas = [line.split()[:2] for line in file]
    for area, rights in areas:
        if not rights.startswith("rw"):
            continue
        start, end = (int(x, 16) for x in area.split("-"))
        try:
            with open("/proc/self/mem", "rb", buffering=0) as memory:
                memory.seek(start)
                for at in range(start, end, 1 << 20):
                    block = memory.read(min(1 << 20, end - at)).translate(table)
                    found += ["memory"] * any(p in block for p in patterns)
        except OSError:
            pass
    return found
"""


@attack
async def memory_of_earlier_requests(bench: Bench) -> None:
    """Regression: sources, arguments, results and output of one request are nowhere in a later one's memory.

    A scorer may call a program twice because the second call must not know what the first one was given.
    """
    for size in (1, 100, 20_000):
        # Told backwards, so that the question itself does not hold them.
        marks = [secrets.token_hex(12) for _ in range(4)]
        argument, told, error, source = (mark * size for mark in marks)
        teller = (
            f"import sys\nkept = {source!r}\ndef solve(given, out, err):\n    print(out)\n"
            "    print(err, file=sys.stderr)\n    return given"
        )
        result = await bench.call(teller, argument, told, error)
        assert result.data is not None, result.failure
        await bench.command(
            f"import sys\nprint(sys.stdin.read())\nprint({source!r}, file=sys.stderr)",
            "python3",
            "{program}",
            marks[0],
            stdin=argument.encode(),
        )
        result = await bench.attack(_SEARCH, *(mark[::-1] for mark in marks))
        assert result.data is not None, result.failure


@attack
async def siblings(bench: Bench) -> None:
    """Regression: a child cannot give the zygote children that nobody reaps; its namespace would never end."""
    source = """
import ctypes, os, platform, time
def solve():
    libc = ctypes.CDLL(None, use_errno=True)
    child = libc.syscall(56 if platform.machine() == "x86_64" else 220, 0x8000 | 17, 0, 0, 0, 0)
    if child == 0:
        time.sleep(60)
        os._exit(0)
    return ["a sibling"] * (child > 0)
"""
    started = time.monotonic()
    await bench.attack(source)
    assert time.monotonic() - started < 4


@attack
async def stolen_confirmation(bench: Bench) -> None:
    """Regression: what says that a child was confined cannot be read away and replaced by a program."""
    source = """
import os
for fd in range(3, 64):
    try:
        own = os.open("/proc/self/fd/%d" % fd, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        continue
    for _ in range(100):
        try:
            os.read(own, 1 << 16)
        except OSError:
            pass
        os.write(own, b"!mount: refused")
os._exit(1)
"""
    for _ in range(10):
        failed(await bench.call(source), *_ANY)


@attack
async def program_larger_than_its_disk(bench: Bench) -> None:
    """Regression: a program that does not fit its private directory is its own failure, not the sandbox's."""
    limits = replace(QUICK, file_bytes=1 << 16)
    source = f"# {'x' * (1 << 20)}\ndef solve():\n    return 1"
    assert "cannot be written" in failed(await bench.call(source, limits=limits), FailureKind.CRASHED)
    assert "cannot be written" in failed(await bench.command(source, limits=limits), FailureKind.CRASHED)


@attack
async def escape_into_the_zygotes_code(bench: Bench) -> None:
    """Regression: an exception from within this project's own frames does not run a zygote in the child."""
    sources = (
        "class M(type):\n    @property\n    def __name__(cls): raise OSError('x')\n"
        "class E(Exception, metaclass=M): pass\ndef solve(): raise E",
        "import os\ndef solve():\n    os.closerange(0, 1024)\n    return 1",
        "import os, socket\ndef solve():\n    os.closerange(0, 1024)\n    a, b = socket.socketpair()\n"
        "    os.dup2(a.fileno(), 3)\n    b.close()\n    return 'x' * 10**6",
    )
    for source in sources:
        started = time.monotonic()
        failed(await bench.call(source), FailureKind.CRASHED)
        assert time.monotonic() - started < 4


@attack
async def crumbs(bench: Bench) -> None:
    """Results and output written byte by byte cost the zygote no more than their size."""
    source = """
import os, time
def solve():
    end = time.time() + 1
    while time.time() < end:
        for fd in (1, 2, 3):
            os.write(fd, b"x")
"""
    result = await bench.call(source, limits=replace(QUICK, wall_s=2))
    failed(result, FailureKind.BAD_DATA, FailureKind.CRASHED)
    room = "def solve():\n    x = bytearray(480 << 20)\n    return len(x)"
    assert await bench.value(room) == 480 << 20


@attack
async def long_failure(bench: Bench) -> None:
    """A failure in a program's own words is short, printable, and not worth parsing when it is not."""
    flood = "import os\nos.write(3, b'F[' + b'[],' * 300000 + b'[]]')\nos._exit(0)"
    failed(await bench.call(flood), FailureKind.BAD_DATA)
    shout = (
        "import json, os\nos.write(3, b'F' + json.dumps(dict(kind='crashed', message='\\x1b]0;x\\x07' * 50,"
        " detail='\\x9b2J\\x00')).encode())\nos._exit(0)"
    )
    result = await bench.call(shout)
    message = failed(result, FailureKind.CRASHED)
    assert message.isprintable(), message
    assert result.failure is not None
    assert (result.failure.detail or "").isprintable()


@attack
async def core_dumps(bench: Bench) -> None:
    """No program can have its memory dumped: a host that pipes dumps would run its handler for it."""
    source = """
import ctypes, platform, resource
def solve():
    through = []
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if (soft, hard) != (1, 1):
        through.append("limits %d, %d" % (soft, hard))
    for wanted in ((0, 0), (0, 1), (1 << 20, 1 << 20)):
        for setter in (resource.setrlimit, lambda which, pair: resource.prlimit(0, which, pair)):
            try:
                setter(resource.RLIMIT_CORE, wanted)
                through.append("set to %r" % (wanted,))
            except (OSError, ValueError):
                pass
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(160 if platform.machine() == "x86_64" else 164, 4, (ctypes.c_ulong * 2)(0, 0)) == 0:
        through.append("set by the old call")
    return through
"""
    await bench.attack(source)


@attack
async def unknown_protocols(bench: Bench) -> None:
    """No protocol's code can be entered by any call that makes sockets, Unix sockets excepted."""
    source = """
import errno, socket
def solve():
    through = []
    for family in range(2, 48):
        for make in (socket.socket, socket.socketpair):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_RAW):
                try:
                    make(family, kind)
                    through.append("%d %d" % (family, kind))
                except OSError as error:
                    if error.errno != errno.EPERM:
                        through.append("%d %d: %s" % (family, kind, errno.errorcode.get(error.errno)))
    socket.socketpair()
    return through[:20]
"""
    await bench.attack(source)


@attack
async def other_abis(bench: Bench) -> None:
    """System calls of the 32-bit interface and calls younger than the filter's table are refused."""
    source = """
import ctypes, errno, mmap, os, platform
def solve():
    through = []
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    for number in (463, 467, 500, 1000):
        ctypes.set_errno(0)
        result = libc.syscall(number, -1, -1, -1, -1, -1, -1)
        if result != -1 or ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM):
            through.append("call %d" % number)
    if platform.machine() != "x86_64":
        return through
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3")  # mov eax, getpid of the 32-bit interface; int 0x80; ret
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    child = os.fork()
    if child == 0:
        os._exit(0 if function() < 0 else 1)
    _, status = os.waitpid(child, 0)
    if status == 1 << 8:
        through.append("int 0x80")
    return through
"""
    await bench.attack(source)


@attack
async def first_to_go(bench: Bench) -> None:
    """When the host runs out of memory, the kernel's first choice is a candidate, which cannot change that."""
    source = """
def solve():
    with open("/proc/self/oom_score_adj") as file:
        through = ["score %s" % score] if (score := int(file.read())) != 1000 else []
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
        with open("/proc/self/oom_score_adj") as file:
            through += ["lowered to %s" % score] if (score := int(file.read())) < 1000 else []
    except OSError:
        pass
    return through
"""
    await bench.attack(source)


@attack
async def touch_shared_files(bench: Bench) -> None:
    """Not even times can be set on what all requests share: device nodes, programs, folders."""
    source = """
import os
def solve():
    through = []
    for path in ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev", "/usr/bin/env", "/", "/proc"):
        try:
            if path.startswith("/dev/"):
                os.utime(path)
            else:  # where this gets through, it changes nothing
                found = os.stat(path)
                os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
            through.append(path)
        except OSError:
            pass
    for path in ("/dev/null", "/dev/full", "/dev/zero", "/dev/urandom"):
        with open(path, "r+b", buffering=0) as device:  # still what they are
            if path != "/dev/full":
                device.write(b"x")
            if path != "/dev/null" and not device.read(1):
                through.append("no data from " + path)
    return through
"""
    await bench.attack(source)
