"""Attacks that read, reach, write and leave things. Part of :mod:`discovery.testing.sandbox`.

Most attacks are programs whose ``solve`` returns the list of what it got through to. The regressions at the end
are holes that an early prototype of the zygote had.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import discovery
from discovery.records import FailureKind
from discovery.testing.sandbox import (
    SECRET,
    SECRET_VARIABLE,
    Bench,
    attack,
)
from discovery.testing.sandbox_known import SHARED_PLACES

_ANY = tuple(FailureKind)


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
