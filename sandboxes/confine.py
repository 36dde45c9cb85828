"""What the kernel is told about one child of the zygote, and how all that a child leaves is ended.

Three ways, by what surrounds the zygote: fresh namespaces, where it may make them; a fresh user id, where it is
root in a container with nothing but the rights to change ids; neither, where it is an ordinary process.

Everything is a raw call through ctypes, because each microsecond here is paid once per evaluation. Variants
that were measured on the same machine, CPU milliseconds per child with numpy loaded: bare fork 1.9; child
as process 1 of a fresh PID namespace 1.8; child beside a shared-memory ``pause`` as process 1 (this one)
2.0; double fork 3.4. The pause is worth its 0.2: process 1 of a namespace ignores the signals that it sends
itself, so ``abort()`` and ``kill(getpid())`` would not end a candidate that were process 1.

All of this but the limits is done ahead of the request (``request.py``), which hides it where there is a pause
between requests, as there is while something is scored. Fork and exit alone cost 0.4 ms of CPU without packages,
0.8 with numpy and 4.3 to 4.9 with ``scipy.optimize``, whose 680 mappings and 43 MB have to be copied and let go.

The ``pause`` process shares the zygote's memory, so nothing may ever make it run zygote code: the zygote
keeps no signal handlers, is not dumpable, and children can neither ptrace nor write to another process's
memory.

A network, IPC or UTS namespace per child would add 0.5 and hold nothing: the sandbox's own namespaces have
no network, children have no capabilities, and System V IPC, message queues and all socket families but
AF_UNIX are refused.
"""

import ctypes
import os
import resource
import signal
import struct
import time

import leftovers
import seccomp

CLONE_VM = 0x00000100
CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_RDONLY = 2, 4, 8, 1
_MS_REMOUNT, _MS_BIND = 32, 4096
_PR_SET_DUMPABLE, _PR_SET_SECCOMP = 4, 22
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_INODES = 16384
_SIGNALS = 1024
BOX = "/box"
STUBBORN_S = 4.0
_ODD_S = 1.0  # ending a request takes milliseconds

_libc = ctypes.PyDLL(None, use_errno=True)  # nothing here blocks
_libc.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
_libc.mount.argtypes = [
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
]
_libc.setns.argtypes = [ctypes.c_int, ctypes.c_int]
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_libc.capset.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
_pause = ctypes.cast(_libc.pause, ctypes.c_void_p)
_stack = ctypes.create_string_buffer(32768)
_stack_top = (ctypes.addressof(_stack) + len(_stack) - 64) & ~15


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, value, 0, 0, 0), f"prctl {option}")


class StubbornError(Exception):
    """Something of a request is left; no further one may run here."""


class Early:
    """What has to be known of a request when its child is confined.

    Args:
        file_bytes: Size of its private file system, where it gets one of its own.
        cores: Numbers of the only CPUs that it may run on; empty for any.
    """

    def __init__(self, file_bytes: int, cores: list) -> None:
        self.file_bytes = file_bytes
        self.cores = frozenset(cores)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Early) and vars(self) == vars(other)

    __hash__ = None


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


class Confinement:
    """How every child of this zygote is confined; one child at a time, waiting or running.

    What all have in common: limits, the system call filter, CPUs, and a session of its own.

    Args:
        box: The private directory.
        grouped: Whether all are in a control group: when that is full, a child is to be ended, and never the zygote.

    Attributes:
        oddity: Why this zygote should not go on, in one line; None when nothing was odd so far.
        shares_disk: Whether the private directory is on a disk that others may fill.
    """

    shares_disk = False

    def __init__(self, box: str, grouped: bool) -> None:
        self.oddity: str | None = None
        self._grouped = grouped
        self._box = box
        self._child = 0
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no handlers: see the module docstring
        for name in ("MEMLOCK", "MSGQUEUE"):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (0, 0))
        # Each pending signal and timer is counted for the user outside too, whose own would fail for theirs.
        lower(resource.RLIMIT_SIGPENDING, _SIGNALS, _SIGNALS)
        # Where the host pipes dumps to a program, that runs as the host's root, and 0 would not stop it; 1 does.
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        if not grouped:
            _go_first()
        files = min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        code = seccomp.seccomp_program()
        self._filter = _Filter(len(code) // 8, code)
        pages = int(read("/proc/self/statm").split()[0])
        self.base_bytes = pages * resource.getpagesize()
        prctl(_PR_SET_DUMPABLE, 0)

    def fork(self) -> int:
        """Fork a child.

        Returns:
            0 in the child; in the zygote its id.

        Raises:
            OSError: The kernel refused.
        """
        self._child = os.fork()
        return self._child

    def enter(self, early: Early, box: str) -> None:
        """Confine this child for good, but for its limits.

        Args:
            early: What is known of its request.
            box: The private directory, which becomes the working directory.

        Raises:
            OSError: A step was refused; nothing of the candidate may run then.
        """
        if early.cores:
            _pin(early.cores)
        prctl(_PR_SET_DUMPABLE, 1)  # its own /proc/self is its own
        if self._grouped:
            _go_first()  # while /proc can be written
        self._isolate(early)
        prctl(_PR_SET_DUMPABLE, 1)  # again: another user is another owner
        os.mkdir(box)  # noqa: PTH102
        os.setsid()
        os.chdir(box)
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _checked(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(self._filter), 0, 0), "seccomp")

    def limit(self, limits: dict, executes: bool) -> None:
        """Hold this child, confined already, to its limits; afterwards candidate code may run.

        Args:
            limits: Fields of ``discovery.problem.Limits``, and ``cpu_limit_s``.
            executes: Whether another program follows, which does not bring the zygote's memory with it.
        """
        memory = limits["memory_bytes"] + (0 if executes else self.base_bytes)
        cpu = limits["cpu_limit_s"]
        lower(resource.RLIMIT_AS, memory, memory)
        lower(resource.RLIMIT_CPU, cpu, cpu + 1)
        lower(resource.RLIMIT_FSIZE, limits["file_bytes"], limits["file_bytes"])
        self._limit_processes(limits["processes"])

    def end(self) -> tuple:
        """End every process of the child's request and remove its files.

        Returns:
            The child's wait status, and CPU seconds of all that could be counted.

        Raises:
            StubbornError: Something is left.
        """
        started = time.monotonic()
        ended = self._end()
        took_s = time.monotonic() - started
        if took_s > _ODD_S and self.oddity is None:
            self.oddity = f"ending what a request left took {took_s:.1f} s"
        return ended

    def _isolate(self, early: Early) -> None:
        """What only some confinements do, in the child."""

    def _limit_processes(self, processes: int) -> None:
        """What only some confinements do: the kernel counts all of a user's."""

    def _end(self) -> tuple:
        raise NotImplementedError


class Bare(Confinement):
    """Nothing more: for a zygote that may do nothing to its children but end them.

    Args:
        box: The private directory.
        grouped: See ``Confinement``.
    """

    shares_disk = True

    def __init__(self, box: str, grouped: bool) -> None:
        super().__init__(box, grouped)
        adopt_orphans()

    def _end(self) -> tuple:
        done, status, usage = os.wait4(self._child, os.WNOHANG)
        if not done:
            os.kill(self._child, signal.SIGKILL)
            _, status, usage = os.wait4(self._child, 0)
        self._end_orphans()
        try:
            forced = os.path.lexists(self._box) and leftovers.remove(self._box)
        except OSError as error:
            raise StubbornError(str(error)) from error
        if forced:
            self.oddity = "the files of a request had to be removed by force"
        return status, cpu_s(usage)

    def _end_orphans(self) -> None:
        """Without a namespace: what the child left now belongs to this process, the subreaper."""
        deadline = time.monotonic() + STUBBORN_S
        while time.monotonic() < deadline:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                for orphan in leftovers.descendants():
                    try:
                        os.kill(orphan, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                time.sleep(0.001)
        raise StubbornError(f"processes of a request cannot be ended within {STUBBORN_S:g} s")


class Namespaces(Confinement):
    """Fresh process ids and mounts, no capabilities, and an own user where the zygote has one to give.

    Args:
        box: The private directory, on a file system of its own.
        grouped: See ``Confinement``.
        uid: The user that children become; None keeps the zygote's.
    """

    def __init__(self, box: str, grouped: bool, uid: int | None) -> None:
        super().__init__(box, grouped)
        self._uid = uid
        self._init = 0
        # The limit counts every process of the user that the kernel sees in this user namespace.
        self._base_processes = 4 if uid is None else 0
        _freeze_devices()
        self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def fork(self) -> int:
        init = _checked(
            _libc.clone(_pause, _stack_top, CLONE_VM | CLONE_NEWPID | signal.SIGCHLD, None), "clone"
        )
        handle = os.pidfd_open(init)
        try:
            _checked(_libc.setns(handle, CLONE_NEWPID), "setns")
            child = os.fork()
            if child == 0:
                return 0
        except OSError:
            _libc.setns(self._own_pids, CLONE_NEWPID)
            os.kill(init, signal.SIGKILL)
            os.waitpid(init, 0)
            raise
        finally:
            os.close(handle)
        _checked(_libc.setns(self._own_pids, CLONE_NEWPID), "setns back")
        self._child, self._init = child, init
        return child

    def _isolate(self, early: Early) -> None:
        _checked(_libc.unshare(CLONE_NEWNS), "unshare")
        flags = _MS_NOSUID | _MS_NODEV
        owner = "" if self._uid is None else f",uid={self._uid},gid={self._uid}"
        options = f"size={early.file_bytes},nr_inodes={_INODES},mode=0700{owner}".encode()
        _checked(_libc.mount(b"tmpfs", BOX.encode(), b"tmpfs", flags, options), "tmpfs")
        flags |= _MS_NOEXEC | _MS_RDONLY
        _checked(_libc.mount(b"proc", b"/proc", b"proc", flags, b"subset=pid"), "proc")
        if self._uid is not None:
            become(self._uid)
        drop_capabilities()
        make_folders()

    def _limit_processes(self, processes: int) -> None:
        processes += self._base_processes
        lower(resource.RLIMIT_NPROC, processes, processes)

    def _end(self) -> tuple:
        # Process 1 goes, and the kernel ends the rest of the namespace. Its end waits for the child to be
        # reaped.
        os.kill(self._init, signal.SIGKILL)
        _, status, usage = os.wait4(self._child, 0)
        _, _, more = os.wait4(self._init, 0)
        return status, cpu_s(usage) + cpu_s(more)


def cpu_s(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def drop_capabilities() -> None:
    _checked(_libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24)), "capset")


def make_folders() -> None:
    """What ``/tmp`` and ``/dev/shm`` are links to."""
    os.mkdir(f"{BOX}/tmp", 0o700)  # noqa: PTH102
    os.mkdir(f"{BOX}/shm", 0o700)  # noqa: PTH102


def _pin(cores: frozenset) -> None:
    """Bind this process to CPUs, all of them or none: the kernel would take those that are there."""
    # What this process inherited is no bound: the host keeps itself, and so the zygote, off the CPUs that it hands out.
    os.sched_setaffinity(0, cores)
    got = os.sched_getaffinity(0)
    if got != cores:
        raise OSError(
            f"cannot run on the CPUs {sorted(cores)}: those of them that are there are {sorted(got)}"
        )


def resident_bytes() -> int:
    """Memory that this process holds."""
    return int(read("/proc/self/statm").split()[1]) * resource.getpagesize()


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _freeze_devices() -> None:
    """Make the host's device nodes read-only, which bounds their times and rights and not what they do.

    Bubblewrap cannot: its read-only mounts have no devices.
    """
    for name in os.listdir("/dev"):  # noqa: PTH208
        path = f"/dev/{name}"
        if os.path.ismount(path):
            kept = os.statvfs(path).f_flag & (_MS_NOSUID | _MS_NOEXEC)
            flags = _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept
            _checked(_libc.mount(None, path.encode(), None, flags, None), f"read-only {path}")


def _go_first() -> None:
    """When memory runs out, the kernel is to end this process, or what it starts, rather than any other."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write("1000")
    except OSError:
        return  # where /proc is not writable, the kernel chooses as ever


def lower(limit: int, soft: int, hard: int) -> None:
    top = resource.getrlimit(limit)[1]
    if top != resource.RLIM_INFINITY:
        soft, hard = min(soft, top), min(hard, top)
    resource.setrlimit(limit, (soft, hard))


def read(path: str) -> str:
    with open(path) as file:  # noqa: PTH123  pathlib would be one more import in the zygote
        return file.read()
