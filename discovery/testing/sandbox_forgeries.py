"""Attacks on the zygote and on what it reports. Part of :mod:`discovery.testing.sandbox`."""

from __future__ import annotations

import time
from dataclasses import replace

from discovery import data
from discovery.errors import DataError
from discovery.records import FailureKind
from discovery.testing.sandbox import (
    QUICK,
    Bench,
    attack,
    failed,
    honest,
)

_ANY = tuple(FailureKind)


@attack
async def kill_zygote(bench: Bench) -> None:
    """The zygote cannot be signalled."""
    source = """
import os, signal
def solve():
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV, signal.SIGSTOP):
        for pid in (os.getppid(), 1):
            try:
                if pid:
                    os.kill(pid, number)
            except OSError:
                pass
    return []
"""
    await bench.attack(source)


@attack
async def kill_everything(bench: Bench) -> None:
    """Signalling all processes reaches the request's own at most."""
    source = "import os\ndef solve():\n    os.kill(-1, 9)\n    return []"
    await bench.attack(source)


@attack
async def inspect_zygote(bench: Bench) -> None:
    """The zygote and the namespace's first process cannot be traced, read, written or robbed."""
    source = """
import ctypes, os
def solve():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    through = []
    for pid in {os.getppid(), 1}:
        if libc.ptrace(16, pid, 0, 0) == 0:
            through.append("ptrace %d" % pid)
            libc.ptrace(17, pid, 0, 0)
        for name in ("mem", "maps", "environ", "fd/3", "root/etc", "ns/mnt", "syscall", "stack"):
            path = "/proc/%d/%s" % (pid, name)
            try:
                os.stat(path) if "/" in name else os.close(os.open(path, os.O_RDWR if name == "mem" else 0))
                through.append(path)
            except OSError:
                pass
    return through
"""
    await bench.attack(source)


@attack
async def print_score_and_exit(bench: Bench) -> None:
    """Printing a score and leaving is a crash, whatever was printed."""
    source = """
import json, os
def solve():
    print(json.dumps({"score": 1e9, "valid": True}), flush=True)
    os._exit(0)
"""
    failed(await bench.call(source), FailureKind.CRASHED)


@attack
async def forged_frames(bench: Bench) -> None:
    """Frames of the host's protocol, written to every descriptor, reach nobody."""
    source = """
import json, os, struct
def solve():
    header = json.dumps({"end": "exited", "status": 0, "wall_s": 0, "cpu_s": 0, "sizes": [3, 0, 0]}).encode()
    frame = b"R" + struct.pack("!II", 4 + len(header) + 3, len(header)) + header + b".D1"
    for fd in range(1024):
        for kind in (frame, b"X" + struct.pack("!I", 0), b"I" + frame[1:]):
            try:
                os.write(fd, kind)
            except OSError:
                pass
    return "done"
"""
    for _ in range(2):
        result = await bench.call(source)
        assert min(result.wall_s, result.cpu_s or 0) > 0, "times were forged"
        _no_data_but_own(result.data, "done")


@attack
async def early_result(bench: Bench) -> None:
    """Bytes written early to the result pipe are the program's own words, never a sandbox's failure."""
    for early in (
        b"!mount failed",
        b".D",
        b"F{}",
        b'F{"kind": "scorer", "message": "x", "detail": null}',
        b"D1",
    ):
        source = (
            "import os\nfor fd in range(3, 64):\n    try:\n"
            f"        os.write(fd, {early!r})\n    except OSError:\n        pass\n"
            "def solve():\n    return 'own'\n"
        )
        result = await bench.call(source)
        _no_data_but_own(result.data, "own")
        kinds = (FailureKind.BAD_DATA, FailureKind.CRASHED)
        assert result.failure is None or result.failure.kind in kinds, result.failure


def _no_data_but_own(blob: bytes | None, own: str) -> None:
    """The data is what the program returned, or no data at all."""
    if blob is not None:
        try:
            value = data.decode(blob)
        except DataError:
            return
        assert value == own, value


@attack
async def patched_modules(bench: Bench) -> None:
    """Modules, builtins and the zygote's own objects, patched in a child, are its own copies."""
    source = """
import builtins, gc, json, os, random, socket, struct, sys, types
def solve():
    json.dumps = json.loads = lambda *a, **k: "forged"
    builtins.len = builtins.callable = lambda *a: 10**9
    os._exit = os.write = sys.exit = lambda *a: None
    random.seed = lambda *a: None
    main = sys.modules.get("__main__")
    for name in list(vars(main)):
        if isinstance(getattr(main, name), types.FunctionType):
            setattr(main, name, lambda *a, **k: None)
    frame = sys._getframe()
    while frame is not None:
        frame.f_globals["_failure"] = lambda *a: b"Dforged"
        frame = frame.f_back
    for thing in gc.get_objects():
        try:
            if isinstance(thing, socket.socket):
                thing.sendall(b"X" + struct.pack("!I", 0))
        except BaseException:
            pass
    return "forged"
"""
    result = await bench.call(source, limits=replace(QUICK, wall_s=2))
    _no_data_but_own(result.data, "forged")
    await honest(bench)


@attack
async def tricks_at_exit(bench: Bench) -> None:
    """Nothing that is left to run at exit can change a result or hold it up."""
    source = """
import atexit, os, sys, threading, time
def later():
    time.sleep(0.05)
    for fd in range(3, 64):
        try:
            os.write(fd, b"Fforged")
        except OSError:
            pass
class Last:
    def __del__(self):
        os.write(3, b"forged")
def solve():
    sys.last = Last()
    atexit.register(lambda: os.write(3, b"forged"))
    threading.Thread(target=later).start()
    threading.Thread(target=lambda: time.sleep(30), daemon=False).start()
    return "own"
"""
    started = time.monotonic()
    result = await bench.call(source)
    assert result.data is not None, result
    assert data.decode(result.data) == "own"
    assert time.monotonic() - started < 3


@attack
async def hostile_values(bench: Bench) -> None:
    """Values and exceptions with methods of their own fail, in one short line."""
    for value in (
        "type('L', (list,), {'__iter__': lambda s: iter(int, 1)})()",
        "type('S', (str,), {'__len__': lambda s: 1 << 60})('x')",
        "type('D', (dict,), {'items': lambda s: 1 / 0})({'a': 1})",
        "(lambda x: x.append(x) or x)([])",
        "__import__('functools').reduce(lambda a, _: [a], range(10**5), [])",
        "'\\ud800'",
    ):
        result = await bench.call(f"def solve():\n    return {value}", limits=replace(QUICK, wall_s=1))
        if result.data is None:
            failed(result, *_ANY)
        else:
            data.decode(result.data)
    for text in (
        "def __str__(self): raise self",
        "def __str__(self): return 'x\\n\\x1b[31m' * 10**6",
        "def __str__(self): return '\\ud800\\0'",
    ):
        source = f"class E(Exception):\n    {text}\ndef solve():\n    raise E()"
        message = failed(await bench.call(source), FailureKind.CRASHED)
        message.encode()
        assert "\0" not in message


@attack
async def stolen_pipes(bench: Bench) -> None:
    """Making pipes blocking, reading them away or closing everything holds nobody up."""
    source = """
import fcntl, os, time
def solve():
    for fd in (1, 2, 3):
        try:
            own = os.open("/proc/self/fd/%d" % fd, os.O_RDWR)
            fcntl.fcntl(own, fcntl.F_SETFL, 0)
            fcntl.fcntl(own, 1031, 4096)
            if os.fork() == 0:
                while os.read(own, 65536):
                    pass
        except OSError:
            pass
    for _ in range(1000):
        os.write(1, b"x" * 1000)
    os.closerange(0, 1024)
    time.sleep(60)
"""
    failed(await bench.call(source, limits=replace(QUICK, wall_s=0.5)), *_ANY)


@attack
async def daemon(bench: Bench) -> None:
    """A double-forked daemon in a session of its own, ignoring signals, ends with its request."""
    name = f"dmn{bench.world.label[-8:]}"
    source = """
import ctypes, os, signal, time
def solve(name):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
            for number in range(1, 32):
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
            while True:
                time.sleep(1)
        os._exit(0)
    time.sleep(0.1)
    return []
"""
    result = await bench.attack(source, name)
    assert result.data is not None, result.failure
    assert result.wall_s < 5
    left = bench.world.processes(name)
    assert not left, f"the daemon lives on as {left}"
