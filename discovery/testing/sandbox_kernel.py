"""Attacks through what the kernel counts for a whole user or host. Part of :mod:`discovery.testing.sandbox`.

Each got through once: a namespace hides the host's things, and not the accounts on which the kernel books what is
done in it. A program that fills such an account makes calls of the host's own programs fail, or holds memory that
its limit does not see.
"""

from __future__ import annotations

import time
from dataclasses import replace

from discovery.testing.sandbox import QUICK, Bench, attack

_CALLS = """
import ctypes, errno, fcntl, mmap, os, platform, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def refusal(call):
    ctypes.set_errno(0)
    return ctypes.get_errno() if call() == -1 else 0
intel = platform.machine() == "x86_64"
"""


@attack
async def accounts_of_the_user_outside(bench: Bench) -> None:
    """Regression: signals, timers and watches of files that are counted for the host's user stay few.

    With all of them taken, timers of the host's own processes fail, and its editors no longer notice changes.
    """
    source = (
        _CALLS
        + """
def solve():
    through = []
    watches = 0
    while watches < 64 and libc.inotify_init1(0) >= 0:
        watches += 1
    if watches:
        through.append("%d instances of inotify" % watches)
    os.closerange(4, 1024)
    number = signal.SIGRTMIN + 4
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    pending = 0
    while pending < 5000 and libc.sigqueue(os.getpid(), number, None) == 0:
        pending += 1
    if pending > 2000:
        through.append("%d pending signals" % pending)
    return through
"""
    )
    await bench.attack(source)


@attack
async def accounts_of_the_host(bench: Bench) -> None:
    """Regression: contexts of asynchronous I/O, of which a host has one small number, cannot be taken."""
    source = (
        _CALLS
        + """
def solve():
    context = ctypes.c_ulong(0)
    made = libc.syscall(206 if intel else 0, 1, ctypes.byref(context)) == 0
    return ["a context of asynchronous I/O"] * made
"""
    )
    await bench.attack(source)


@attack
async def caches_of_the_host(bench: Bench) -> None:
    """Regression: nobody can have the host's file systems write out their caches, or drop what others will read."""
    source = (
        _CALLS
        + """
def solve():
    through = ["sync"] * (libc.syscall(162 if intel else 81) == 0)
    shared = os.open("/usr/bin/env", os.O_RDONLY)
    through += ["syncfs"] * (libc.syncfs(shared) == 0)
    os.posix_fadvise(shared, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    try:
        os.posix_fadvise(shared, 0, 0, os.POSIX_FADV_DONTNEED)
        through.append("dropped from the cache")
    except OSError:
        pass
    return through
"""
    )
    result = await bench.attack(source)
    assert result.data is not None, result.failure


@attack
async def leases(bench: Bench) -> None:
    """Regression: no lease on a file can be had: who opens it to write, outside too, would wait for its end."""
    source = (
        _CALLS
        + """
def solve():
    through = []
    open("own", "w").close()
    for path in ("own", "/usr/bin/env"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.fcntl(descriptor, 1024, fcntl.F_RDLCK)
            through.append("a lease on " + path)
        except OSError:
            pass
    try:
        fcntl.fcntl(os.open("/usr/bin", os.O_RDONLY), 1026, 1)
        through.append("notices")
    except OSError:
        pass
    fcntl.fcntl(descriptor, fcntl.F_GETFD)
    with open("own", "r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        fcntl.flock(file, fcntl.LOCK_EX)
    return through
"""
    )
    result = await bench.attack(source)
    assert result.data is not None, result.failure


@attack
async def memory_beyond_every_process(bench: Bench) -> None:
    """Regression: what is no process's memory any more stays little: pinned huge pages, full sockets.

    One descriptor of a pipe held 2 MiB for 4 KiB, one pair of sockets as much as the host allows it to ask for.
    """
    source = (
        _CALLS
        + """
class Part(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("size", ctypes.c_size_t)]
def solve():
    through = []
    _, writer = os.pipe()
    page = mmap.mmap(-1, 4096)
    page.write(b"x" * 4096)
    part = Part(ctypes.addressof(ctypes.c_char.from_buffer(page)), 4096)
    if libc.syscall(278 if intel else 75, writer, ctypes.byref(part), 1, 0) > 0:
        through.append("vmsplice")
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    for option in (socket.SO_SNDBUF, 26, 51):
        try:
            ours.setsockopt(socket.SOL_SOCKET, option, 1 << 24)
        except OSError as error:
            through += ["socket option %d" % option] * (error.errno != errno.EPERM)
    sent = 0
    try:
        while sent < 1 << 24:
            sent += ours.send(bytes(1 << 14))
    except BlockingIOError:
        pass
    if sent > 1 << 20:
        through.append("%d bytes in a socket" % sent)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return through + ["a core of its own"] * (refusal(lambda: libc.prctl(62, 1, 0, 0, 0)) != errno.EPERM)
"""
    )
    result = await bench.attack(source)
    assert result.data is not None, result.failure


@attack
async def standard_input_is_no_disk(bench: Bench) -> None:
    """Regression: what a command is given on standard input cannot be written to: it lies in memory, uncounted."""
    source = """
import os
for path in ("/dev/fd/0", "/proc/self/fd/0"):
    for flags in (os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        try:
            print(os.write(os.open(path, flags), bytes(1 << 20)), "bytes written")
        except OSError:
            pass
for change in (lambda: os.write(0, b"x"), lambda: os.ftruncate(0, 1 << 20), lambda: os.ftruncate(0, 0)):
    try:
        change()
        print("changed")
    except OSError:
        pass
print(len(os.read(0, 100)))
"""
    result = await bench.command(source, stdin=b"given")
    assert result.data == b"5\n", result


@attack
async def fill_every_place(bench: Bench) -> None:
    """Each place that can be written may be filled, with bytes and with files; the next request finds it empty."""
    source = """
import os
def solve():
    for place in {".", os.environ.get("TMPDIR", "/tmp"), "/dev/shm", "/box"}:
        try:
            if place != "." and os.statvfs(place).f_frsize * os.statvfs(place).f_blocks > 1 << 26:
                continue  # not its own
            for index in range(3000):
                os.close(os.open("%s/f%d" % (place, index), os.O_CREAT | os.O_WRONLY, 0))
            while True:
                with open("%s/f" % place, "ab", buffering=0) as file:
                    if not file.write(bytes(1 << 20)):
                        break
        except OSError:
            pass
    return []
"""
    for _ in range(2):
        result = await bench.attack(source)
        assert result.data is not None, result.failure


@attack
async def hidden_cpu_time(bench: Bench) -> None:
    """CPU time of processes that nobody waited for is told all the same: a scorer may rate it."""
    source = """
import os, signal, time
def solve():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    reader, writer = os.pipe()
    if os.fork() == 0:
        while time.process_time() < 0.3:
            pass
        os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    return []
"""
    result = await bench.attack(source, limits=replace(QUICK, cpu_s=5))
    assert result.cpu_s is not None
    assert result.cpu_s > 0.25, f"{result.cpu_s} s of 0.3 s were told"


@attack
async def odd_names_and_nestings(bench: Bench) -> None:
    """Whatever a program calls its files and however it nests and links them, the next one finds none of them."""
    source = """
import os, socket
def solve(leave):
    if not leave:
        return [repr(n) for n in os.listdir(".") if n != "candidate.py"]
    for name in (b"new\\nline", b"\\x1b]0;title\\x07", b"-rf", b"*", b"\\xff\\xfe", b"x" * 255, b" ", b"'", b"$(id)"):
        os.mkdir(name)
        open(name + b"/" + name, "w").close()
        os.chmod(name, 0)
    os.symlink("loop", "loop")
    os.symlink("..", "up")
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    return []
"""
    started = time.monotonic()
    for leave in (True, False):
        result = await bench.attack(source, leave)
        assert result.data is not None, result.failure
    assert time.monotonic() - started < 5
