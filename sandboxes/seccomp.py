"""The system call filter of every child: a table for each machine, and the program made of it.

It allows what it does not name: what Python and its packages call changes too often for a list of what is
allowed. Calls younger than the table are absent until someone has looked at them.
"""

import errno
import platform
import resource
import struct

# Every CLONE_NEW* flag that clone takes, and CLONE_PARENT: a child of the zygote's that it does not know of
# would never be reaped, and its namespace never end.
_CLONE_DENIED = 0x7E020000 | 0x00008000

# Refused with EPERM: all that changes namespaces and mounts, looks into other processes, loads code into
# the kernel, sets clocks, outlives a process (System V IPC, message queues, keys), makes memory that no limit
# counts (vmsplice pins whole huge pages that are unmapped already), leaves the CPUs that a request was given, or
# draws on what the whole host or the user outside shares: its contexts of asynchronous I/O, its inotify
# instances, the writing back of all its file systems.
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
migrate_pages 256 sched_setaffinity 203 vmsplice 278 io_setup 206 inotify_init 253 inotify_init1 294
sync 162 syncfs 306
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
migrate_pages 238 sched_setaffinity 122 vmsplice 75 io_setup 0 inotify_init1 26 sync 81 syncfs 267
"""
_MACHINES = {
    # audit architecture; clone, clone3, socket, socketpair, setrlimit, prlimit64; those of _REFUSED; denied
    "x86_64": (0xC000003E, (56, 435, 41, 53, 160, 302), (72, 54, 221, 157), _DENIED_X86_64),
    "aarch64": (0xC00000B7, (220, 435, 198, 199, 164, 261), (25, 208, 223, 167), _DENIED_AARCH64),
}
_REFUSED = (
    # Refused in calls that are otherwise allowed: which argument, from 0, and its values.
    # fcntl: F_SETLEASE makes whoever opens a file for writing wait, outside too; F_NOTIFY is what inotify replaced.
    (1, (1024, 1026)),
    # setsockopt: SO_SNDBUF, since what a socket holds is no process's memory but the kernel's, and the default has to
    # do; SO_ATTACH_FILTER and SO_ATTACH_REUSEPORT_CBPF are programs for the kernel.
    (2, (7, 26, 51)),
    # fadvise64: POSIX_FADV_DONTNEED makes whoever reads shared files next slow: the baseline of a measurement, say.
    (3, (4,)),
    # prctl: PR_SCHED_CORE keeps the other thread of a processor's core idle.
    (0, (62,)),
)
_X32_BIT = 0x40000000
_FIRST_UNKNOWN = 463  # the same everywhere; younger calls are absent until someone has looked at them


def denied_calls() -> dict:
    """Names to numbers of the denied system calls of this machine.

    Raises:
        OSError: The architecture is unknown here.
    """
    words = _machine()[3].split()
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
    audit, (clone, clone3, socket, socketpair, setrlimit, prlimit), refusing, _ = _machine()
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
    for number, (argument, values) in zip(refusing, _REFUSED, strict=True):
        last = len(values)
        code += [(jeq, 0, last + 3, number), (load, 0, 0, 16 + 8 * argument)]
        code += [*((jeq, last - i, 0, value) for i, value in enumerate(values)), allow, deny]
    last = len(denied)
    code += [(jeq, last - i, 0, number) for i, number in enumerate(denied)]
    code += [allow, deny]
    return b"".join(struct.pack("HBBI", *line) for line in code)
