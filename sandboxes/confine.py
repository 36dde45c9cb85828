"""What the kernel is told about one child of the zygote: namespaces, mounts, identity, limits, system calls.

Everything is a raw call through ctypes, because each microsecond here is paid once per evaluation. Variants
that were measured on the same machine, CPU milliseconds per child with numpy loaded: bare fork 1.9; child
as process 1 of a fresh PID namespace 1.8; child beside a shared-memory ``pause`` as process 1 (this one)
2.0; double fork 3.4. The pause is worth its 0.2: process 1 of a namespace ignores the signals that it sends
itself, so ``abort()`` and ``kill(getpid())`` would not end a candidate that were process 1.

The ``pause`` process shares the zygote's memory, so nothing may ever make it run zygote code: the zygote
keeps no signal handlers, is not dumpable, and children can neither ptrace nor write to another process's
memory.

A network, IPC or UTS namespace per child would add 0.5 and hold nothing: the sandbox's own namespaces have
no network, children have no capabilities, and System V IPC, message queues and all socket families but
AF_UNIX are refused.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct

CLONE_VM = 0x00000100
CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
# Every CLONE_NEW* flag that clone takes, and CLONE_PARENT: a child of the zygote's that it does not know of
# would never be reaped, and its namespace never end.
_CLONE_DENIED = 0x7E020000 | 0x00008000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_RDONLY = 2, 4, 8, 1
_MS_REMOUNT, _MS_BIND = 32, 4096
_PR_SET_DUMPABLE, _PR_SET_SECCOMP = 4, 22
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_INODES = 16384
BOX = "/box"

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


# Refused with EPERM: all that changes namespaces and mounts, looks into other processes, loads code into
# the kernel, sets clocks, outlives a process (System V IPC, message queues, keys) or makes memory that no
# limit counts.
_DENIED_X86_64 = """
ptrace 101 process_vm_readv 310 process_vm_writev 311 kcmp 312 process_madvise 440 pidfd_getfd 438
mount 165 umount2 166 pivot_root 155 chroot 161 unshare 272 setns 308 open_tree 428 move_mount 429 fsopen
430 fsconfig 431 fsmount 432 fspick 433 mount_setattr 442 quotactl 179 quotactl_fd 443 swapon 167 swapoff
168 bpf 321 keyctl 250 add_key 248 request_key 249 io_uring_setup 425 io_uring_enter 426 io_uring_register
427 userfaultfd 323 perf_event_open 298 kexec_load 246 kexec_file_load 320 init_module 175 finit_module 313
delete_module 176 reboot 169 open_by_handle_at 304 name_to_handle_at 303 acct 163 settimeofday 164
clock_settime 227 adjtimex 159 clock_adjtime 305 sethostname 170 setdomainname 171 iopl 172 ioperm 173
personality 135 syslog 103 vhangup 153 lookup_dcookie 212 uselib 134 modify_ldt 154 memfd_create 319
memfd_secret 447 fanotify_init 300 shmget 29 shmat 30 shmctl 31 shmdt 67 semget 64 semop 65 semctl 66
semtimedop 220 msgget 68 msgsnd 69 msgrcv 70 msgctl 71 mq_open 240 mq_unlink 241 move_pages 279
migrate_pages 256
"""
_DENIED_AARCH64 = """
ptrace 117 process_vm_readv 270 process_vm_writev 271 kcmp 272 process_madvise 440 pidfd_getfd 438
mount 40 umount2 39 pivot_root 41 chroot 51 unshare 97 setns 268 open_tree 428 move_mount 429 fsopen 430
fsconfig 431 fsmount 432 fspick 433 mount_setattr 442 quotactl 60 quotactl_fd 443 swapon 224 swapoff 225
bpf 280 keyctl 219 add_key 217 request_key 218 io_uring_setup 425 io_uring_enter 426 io_uring_register 427
userfaultfd 282 perf_event_open 241 kexec_load 104 kexec_file_load 294 init_module 105 finit_module 273
delete_module 106 reboot 142 open_by_handle_at 265 name_to_handle_at 264 acct 89 settimeofday 170
clock_settime 112 adjtimex 171 clock_adjtime 266 sethostname 161 setdomainname 162
personality 92 syslog 116 vhangup 58 lookup_dcookie 18 memfd_create 279
memfd_secret 447 fanotify_init 262 shmget 194 shmat 196 shmctl 195 shmdt 197 semget 190 semop 193 semctl 191
semtimedop 192 msgget 186 msgsnd 189 msgrcv 188 msgctl 187 mq_open 180 mq_unlink 181 move_pages 239
migrate_pages 238
"""
_MACHINES = {
    # audit architecture; clone, clone3, socket, socketpair, setrlimit, prlimit64; denied
    "x86_64": (0xC000003E, (56, 435, 41, 53, 160, 302), _DENIED_X86_64),
    "aarch64": (0xC00000B7, (220, 435, 198, 199, 164, 261), _DENIED_AARCH64),
}
_X32_BIT = 0x40000000
_FIRST_UNKNOWN = 463  # the same everywhere; younger calls are absent until someone has looked at them


def denied_calls() -> dict:
    """Names to numbers of the denied system calls of this machine.

    Raises:
        OSError: The architecture is unknown here.
    """
    words = _machine()[2].split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=True))


def _machine() -> tuple:
    try:
        return _MACHINES[platform.machine()]
    except KeyError:
        raise OSError(
            errno.ENOSYS, f"no system call filter for the architecture {platform.machine()!r}"
        ) from None


def seccomp_program() -> bytes:
    """The filter as packed ``struct sock_filter``; allows what it does not name."""
    audit, (clone, clone3, socket, socketpair, setrlimit, prlimit), _ = _machine()
    load, jeq, jge, jset, ret = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, deny = (ret, 0, 0, 0x7FFF0000), (ret, 0, 0, 0x00050000 | errno.EPERM)
    absent = (ret, 0, 0, 0x00050000 | errno.ENOSYS)
    first, second, third, third_high = (load, 0, 0, 16), (load, 0, 0, 24), (load, 0, 0, 32), (load, 0, 0, 36)
    denied = sorted(denied_calls().values())
    # Every jump is relative to the next line.
    code = [(load, 0, 0, 4), (jeq, 1, 0, audit), deny, (load, 0, 0, 0)]
    code += [(jge, 0, 1, _X32_BIT), deny, (jge, 0, 1, _FIRST_UNKNOWN), absent]
    code += [(jeq, 0, 1, clone3), absent]  # glibc falls back to clone
    code += [(jeq, 0, 4, clone), first, (jset, 0, 1, _CLONE_DENIED), deny, allow]
    code += [(jeq, 1, 0, socket), (jeq, 0, 4, socketpair), first, (jeq, 0, 1, 1), allow, deny]  # AF_UNIX is 1
    # The limit of core dumps may be read, which is a prlimit with a null pointer, but not set.
    core = resource.RLIMIT_CORE
    code += [(jeq, 0, 4, setrlimit), first, (jeq, 1, 0, core), allow, deny]
    code += [(jeq, 0, 9, prlimit), second, (jeq, 1, 0, core), allow]
    code += [third, (jeq, 0, 3, 0), third_high, (jeq, 0, 1, 0), allow, deny]
    last = len(denied)
    code += [(jeq, last - i, 0, number) for i, number in enumerate(denied)]
    code += [allow, deny]
    return b"".join(struct.pack("HBBI", *line) for line in code)


class _Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


class Confinement:
    """How every child of this zygote is confined.

    Args:
        namespaces: Whether children get namespaces, mounts, no capabilities and the system call filter;
        otherwise
            only limits and a session of their own.
        uid: The user that children become; None keeps the zygote's.
        grouped: Whether all are in a control group: when that is full, a child is to be ended, and never the zygote.
    """

    def __init__(self, namespaces: bool, uid: int | None, grouped: bool) -> None:
        self.namespaces = namespaces
        self.uid = uid
        self.grouped = grouped
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no handlers: see the module docstring
        for name in ("MEMLOCK", "MSGQUEUE"):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (0, 0))
        # Where the host pipes dumps to a program, that runs as the host's root, and 0 would not stop it; 1 does.
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        if not grouped:
            _go_first()
        files = min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        if namespaces:
            _freeze_devices()
            self._own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        else:
            prctl(_PR_SET_CHILD_SUBREAPER, 1)
        code = seccomp_program()
        self._filter = _Filter(len(code) // 8, code)
        pages = int(_read("/proc/self/statm").split()[0])
        self.base_bytes = pages * resource.getpagesize()
        # The limit counts every process of the user that the kernel sees in this user namespace.
        self.base_processes = 4 if namespaces and uid is None else 0
        prctl(_PR_SET_DUMPABLE, 0)

    def fork(self) -> tuple[int, int | None]:
        """Fork a child.

        Returns:
            In the child ``(0, None)``; in the zygote the child's id and that of its namespace's process 1.

        Raises:
            OSError: The kernel refused.
        """
        if not self.namespaces:
            return os.fork(), None
        init = _checked(
            _libc.clone(_pause, _stack_top, CLONE_VM | CLONE_NEWPID | signal.SIGCHLD, None), "clone"
        )
        handle = os.pidfd_open(init)
        try:
            _checked(_libc.setns(handle, CLONE_NEWPID), "setns")
            child = os.fork()
            if child == 0:
                return 0, None
        except OSError:
            _libc.setns(self._own_pids, CLONE_NEWPID)
            os.kill(init, signal.SIGKILL)
            os.waitpid(init, 0)
            raise
        finally:
            os.close(handle)
        _checked(_libc.setns(self._own_pids, CLONE_NEWPID), "setns back")
        return child, init

    def enter(self, limits: dict, executes: bool, box: str) -> None:
        """Confine this child for good; afterwards candidate code may run.

        Args:
            limits: Fields of ``discovery.problem.Limits``, and ``cpu_limit_s``.
            executes: Whether another program follows, which does not bring the zygote's memory with it.
            box: The private directory, which becomes the working directory.

        Raises:
            OSError: A step was refused; nothing of the candidate may run then.
        """
        prctl(_PR_SET_DUMPABLE, 1)  # its own /proc/self is its own
        if self.grouped:
            _go_first()  # while /proc can be written
        if self.namespaces:
            self._mount(limits["file_bytes"])
            if self.uid is not None:
                os.setgroups([])
                os.setresgid(self.uid, self.uid, self.uid)
                os.setresuid(self.uid, self.uid, self.uid)
            else:
                _checked(_libc.capset(struct.pack("Ii", 0x20080522, 0), bytes(24)), "capset")
            os.mkdir(f"{BOX}/tmp")  # noqa: PTH102
            os.mkdir(f"{BOX}/shm")  # noqa: PTH102
        prctl(_PR_SET_DUMPABLE, 1)  # again: another user is another owner
        os.mkdir(box)  # noqa: PTH102
        os.setsid()
        os.chdir(box)
        self._limit(limits, executes)
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _checked(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(self._filter), 0, 0), "seccomp")

    def _mount(self, size: int) -> None:
        _checked(_libc.unshare(CLONE_NEWNS), "unshare")
        flags = _MS_NOSUID | _MS_NODEV
        owner = "" if self.uid is None else f",uid={self.uid},gid={self.uid}"
        options = f"size={size},nr_inodes={_INODES},mode=0700{owner}".encode()
        _checked(_libc.mount(b"tmpfs", BOX.encode(), b"tmpfs", flags, options), "tmpfs")
        flags |= _MS_NOEXEC | _MS_RDONLY
        _checked(_libc.mount(b"proc", b"/proc", b"proc", flags, b"subset=pid"), "proc")

    def _limit(self, limits: dict, executes: bool) -> None:
        memory = limits["memory_bytes"] + (0 if executes else self.base_bytes)
        cpu = limits["cpu_limit_s"]
        _lower(resource.RLIMIT_AS, memory, memory)
        _lower(resource.RLIMIT_CPU, cpu, cpu + 1)
        _lower(resource.RLIMIT_FSIZE, limits["file_bytes"], limits["file_bytes"])
        if self.namespaces:
            processes = limits["processes"] + self.base_processes
            _lower(resource.RLIMIT_NPROC, processes, processes)


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


def _lower(limit: int, soft: int, hard: int) -> None:
    top = resource.getrlimit(limit)[1]
    if top != resource.RLIM_INFINITY:
        soft, hard = min(soft, top), min(hard, top)
    resource.setrlimit(limit, (soft, hard))


def _read(path: str) -> str:
    with open(path) as file:  # noqa: PTH123  pathlib would be one more import in the zygote
        return file.read()


def descendants() -> list:
    """Ids of all processes below this one, for a subreaper to end; they may fork meanwhile."""
    children: dict = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                fields = _read(f"/proc/{name}/stat").rpartition(")")[2].split()
            except OSError:
                continue  # ended meanwhile
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list = []
    queue = [os.getpid()]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def wipe(path: str, *files: str) -> None:
    """Remove a private directory, whatever a program made of it; what resists is left to the host."""
    try:
        for file in files:
            os.unlink(f"{path}/{file}")  # noqa: PTH108
        os.rmdir(path)  # noqa: PTH106
    except OSError:
        # Folders without permissions, or nested deeper than Python can recurse.
        script = 'chmod -R u+rwx -- "$1"; rm -rf -- "$1"'
        os.spawnlp(os.P_WAIT, "sh", "sh", "-c", script, "sh", path)
