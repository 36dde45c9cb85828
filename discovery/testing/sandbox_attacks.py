"""What no program may get through to. Part of :mod:`discovery.testing.sandbox`.

Most attacks are programs whose ``solve`` returns the list of what it got through to. The three regressions at
the end are holes that an early prototype of the zygote had.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from dataclasses import replace
from pathlib import Path

import discovery
from discovery import data
from discovery.errors import DataError
from discovery.records import FailureKind
from discovery.testing.sandbox import (
    QUICK,
    SECRET,
    SECRET_VARIABLE,
    SHARED_PLACES,
    Bench,
    attack,
    failed,
    honest,
)

_ANY = tuple(FailureKind)


# Resources


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
    count = len([n for n in os.listdir("/proc") if n.isdigit()])
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


@attack
async def memory_sum(bench: Bench) -> None:
    """Several processes together cannot take more than one may."""
    source = """
import os, time
def solve():
    children = []
    for _ in range(6):
        pid = os.fork()
        if pid == 0:
            kept = bytearray(b"x") * (48 << 20)
            time.sleep(2)
            os._exit(0)
        children.append(pid)
    time.sleep(0.6)
    total = 0
    for pid in children:
        try:
            with open("/proc/%d/statm" % pid) as file:
                total += int(file.read().split()[1]) * 4096
        except OSError:
            pass
    return [] if total <= 96 << 20 else ["%d MiB" % (total >> 20)]
"""
    await bench.attack(source, limits=replace(QUICK, memory_bytes=64 << 20))


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


# Reading and reaching out


@attack
async def read_host_files(bench: Bench) -> None:
    """Secrets, scorers, homes and this package's own code cannot be read, by any path."""
    source = """
import os
def solve(paths, secret):
    through = []
    for path in paths:
        for prefix in ("", "/proc/1/root", "/proc/self/root", "/proc/%d/root" % os.getppid(),
                       "/proc/1/cwd/../../../..", "/../../../.."):
            try:
                with open(prefix + path, "rb") as file:
                    if file.read(1):
                        through.append(prefix + path)
            except OSError:
                pass
    try:
        with open("/etc/passwd") as file:
            through += ["/etc/passwd"] * ("root:" in file.read())
    except OSError:
        pass
    for folder in ("/home", "/var/lib", "/opt", "/run", "/sys", "/mnt", "/srv", "/boot"):
        try:
            through += [folder] * bool(os.listdir(folder))
        except OSError:
            pass
    return through
"""
    package = Path(discovery.__file__).resolve()  # noqa: ASYNC240  as all file access here: nothing else runs
    paths = [str(bench.world.secret), str(package), "/etc/shadow", "/etc/hostname", "/etc/hosts"]
    paths += ["/proc/cmdline", "/proc/kallsyms", "/proc/sys/kernel/hostname", "/dev/mem", "/dev/kmsg"]
    paths += [str(p) for p in package.parent.parent.glob("problems/*/problem.py")][:2]
    await bench.attack(source, paths, SECRET)


@attack
async def read_host_environment(bench: Bench) -> None:
    """No variable of the host's environment can be read."""
    source = """
import glob, os
def solve(name, secret):
    through = ["os.environ"] * (name in os.environ)
    for path in glob.glob("/proc/*/environ"):
        try:
            with open(path, "rb") as file:
                text = file.read()
        except OSError:
            continue
        if secret.encode() in text:
            through.append(path)
    return through
"""
    await bench.attack(source, SECRET_VARIABLE, SECRET)


@attack
async def see_host_processes(bench: Bench) -> None:
    """Only the request's own processes can be seen or signalled."""
    source = """
import os
def solve(victim):
    through = []
    others = [n for n in os.listdir("/proc") if n.isdigit() and int(n) not in (1, os.getpid())]
    if others:
        through.append("sees %d processes" % len(others))
    try:
        os.kill(victim, 15)
        through.append("signalled")
    except OSError:
        pass
    return through
"""
    await bench.attack(source, bench.world.victim.pid)
    assert bench.world.victim.poll() is None, "a process of the host was killed"


@attack
async def connect_loopback(bench: Bench) -> None:
    """No address can be connected to or sent to: the host's loopback, the outside, over IPv4 or IPv6."""
    source = """
import socket
def solve(port):
    through = []
    for family, address in ((socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET6, ("::1", port)),
                            (socket.AF_INET, ("192.0.2.1", 53)), (socket.AF_INET6, ("2001:db8::1", 53))):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                with socket.socket(family, kind) as s:
                    s.settimeout(0.2)
                    s.connect(address)
                    s.send(b"x")
                    through.append("%s %s" % (address, kind))
            except OSError:
                pass
    return through
"""
    await bench.attack(source, bench.world.port)


@attack
async def connect_unix_socket(bench: Bench) -> None:
    """No socket of the host can be reached by path or abstract name: no Docker engine."""
    source = """
import socket
def solve(names):
    through = []
    for name in names:
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(name)
            through.append(name)
        except OSError:
            pass
    return through
"""
    names = [str(bench.world.unix_path), f"\0{bench.world.label}", "/var/run/docker.sock"]
    await bench.attack(source, names)


@attack
async def listen(bench: Bench) -> None:
    """Nothing can be offered on a network address."""
    source = """
import socket
def solve():
    try:
        with socket.create_server(("127.0.0.1", 0)):
            return ["listening"]
    except OSError:
        return []
"""
    await bench.attack(source)


# The zygote and the protocol


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
    assert result.data is None or data.decode(result.data) == "forged", result
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


# Writing


@attack
async def write_libraries(bench: Bench) -> None:
    """The interpreter, libraries, packages, the zygote and programs cannot be opened for writing."""
    source = """
import json, numpy, os, sys
def solve():
    through = []
    paths = [sys.executable, os.__file__, json.__file__, numpy.__file__, "/usr/bin/env", "/zygote/zygote.py"]
    for path in filter(None, paths):
        for flags in (os.O_WRONLY, os.O_WRONLY | os.O_APPEND):
            try:
                os.close(os.open(path, flags))
                through.append(path)
            except OSError:
                pass
    return through
"""
    await bench.attack(source)


@attack
async def become_root(bench: Bench) -> None:
    """No identity, capability or set-user-id program gives more rights."""
    source = """
import os, subprocess
def solve():
    through = []
    if os.getuid() == 0 or os.geteuid() == 0:
        through.append("is root")
    for attempt in (os.setuid, os.setgid, os.seteuid):
        try:
            attempt(0)
            through.append(attempt.__name__)
        except OSError:
            pass
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(("CapEff", "CapPrm", "CapAmb")) and int(line.split()[1], 16):
                through.append(line.strip())
            if line.startswith("NoNewPrivs") and line.split()[1] != "1":
                through.append(line.strip())
    return through
"""
    await bench.attack(source)


@attack
async def system_calls(bench: Bench) -> None:
    """System calls that change namespaces, kernel or other processes are refused unseen."""
    source = """
import ctypes, errno, os, platform
def solve():
    calls = dict(unshare=272, setns=308, mount=165, umount2=166, pivot_root=155, chroot=161, ptrace=101,
                 process_vm_readv=310, bpf=321, keyctl=250, add_key=248, io_uring_setup=425,
                 userfaultfd=323, perf_event_open=298, init_module=175, open_by_handle_at=304,
                 shmget=29, semget=64, msgget=68, mq_open=240, open_tree=428, fsopen=430, move_mount=429,
                 pidfd_getfd=438, memfd_create=319, personality=135, mount_setattr=442)
    if platform.machine() == "aarch64":
        calls = dict(unshare=97, setns=268, mount=40, chroot=51, ptrace=117, bpf=280, keyctl=219,
                     io_uring_setup=425, userfaultfd=282, perf_event_open=241, memfd_create=279)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    through = []
    for name, number in calls.items():
        for variant in (number, number | 0x40000000):
            ctypes.set_errno(0)
            result = libc.syscall(variant, -1, -1, -1, -1, -1, -1)
            wanted = (errno.EPERM,) if variant == number else (errno.EPERM, errno.ENOSYS)
            if result != -1 or ctypes.get_errno() not in wanted:
                through.append("%s: %d %s" % (name, result, errno.errorcode.get(ctypes.get_errno())))
    child = libc.syscall(56 if platform.machine() == "x86_64" else 220, 0x10000000 | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    if child > 0:
        through.append("clone with a user namespace")
    return through
"""
    await bench.attack(source)


# What one request leaves for another


@attack
async def leave_files(bench: Bench) -> None:
    """Files, links, unreadable and deeply nested folders of one request are not there for the next."""
    source = """
import os
def solve(leave):
    places = [".", os.environ.get("HOME", "."), os.environ.get("TMPDIR", "/tmp")]
    if not leave:
        return [os.path.join(p, n) for p in places for n in os.listdir(p)
                if n.startswith("left") or n == "deep"]
    for place in places:
        open(os.path.join(place, "left"), "w").write("secret")
        os.makedirs(os.path.join(place, "left.d/e/f"), exist_ok=True)
        open(os.path.join(place, "left.d/e/f/g"), "w").write("secret")
        os.chmod(os.path.join(place, "left.d/e"), 0)
        try:
            os.symlink("/", os.path.join(place, "left.link"))
        except FileExistsError:
            pass
    for _ in range(400):
        os.mkdir("deep")
        os.chdir("deep")
    return []
"""
    for leave in (True, False, True, False):
        await bench.attack(source, leave)


@attack
async def write_shared_places(bench: Bench) -> None:
    """Regression: no place outside of the private one can be written, the device folder least of all."""
    source = """
import os
def solve(folders):
    through = []
    for folder in folders:
        path = folder.rstrip("/") + "/discovery-conformance-left"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except OSError:
            continue
        through.append(folder)
        os.unlink(path)
    return through
"""
    await bench.attack(source, list(SHARED_PLACES))


@attack
async def shared_memory_survives(bench: Bench) -> None:
    """Regression: POSIX shared memory and /dev/shm of one request are not there for the next."""
    name = f"left-{bench.world.label}"
    source = """
import os
def solve(name, leave):
    path = "/dev/shm/" + name
    if leave:
        with open(path, "w") as file:
            file.write("secret")
        return []
    return [path] * os.path.exists(path)
"""
    try:
        await bench.attack(source, name, True)
        await bench.attack(source, name, False)
    finally:
        Path("/dev/shm", name).unlink(missing_ok=True)  # noqa: ASYNC240


@attack
async def system_v_ipc_survives(bench: Bench) -> None:
    """Regression: System V shared memory of one request is not there for the next."""
    source = """
import ctypes
def solve(leave):
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x5D15C0
    if leave:
        libc.shmget(key, 4096, 0o1600)
        return []
    found = libc.shmget(key, 4096, 0o600)
    if found == -1:
        return []
    libc.shmctl(found, 0, None)
    return ["shared memory %d" % found]
"""
    await bench.attack(source, True)
    await bench.attack(source, False)


@attack
async def unwipeable_folder(bench: Bench) -> None:
    """Regression: a folder that resists wiping is wiped, and a symbolic link in it is not followed."""
    keep = bench.world.folder / "keep"
    keep.mkdir()
    (keep / "file").write_text("x")
    source = """
import os
def solve(keep):
    os.makedirs("a/b/c")
    os.symlink(keep, "a/link")
    open("a/b/c/d", "w").close()
    for folder in ("a/b/c", "a/b", "a", "."):
        os.chmod(folder, 0)
    return []
"""
    await bench.attack(source, str(keep))
    assert (keep / "file").exists(), "a link was followed out of the sandbox"
    shutil.rmtree(keep)
    await asyncio.sleep(0)
    await bench.attack("import os\ndef solve():\n    return [n for n in os.listdir('.') if n == 'a']")
