"""Programs that fight back, one of each kind, and what they may leave on a host.

Each is the body of ``solve``; ``MARK`` in it is the run's mark, which is in the name of whatever it makes.
"""

import os
import subprocess
from pathlib import Path

MARK = "@mark@"
_SHED = """
    import ctypes, os, signal
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    ctypes.CDLL(None).prctl(15, b"@mark@", 0, 0, 0)
"""

STUBBORN = f"""{_SHED}
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setpgid(0, 0)
        while True:
            pass
    while True:
        pass
"""
"""Ignores and blocks every signal, leaves its session by a double fork, and never ends."""

PROGRAMS = {
    "exit": "    import os\n    os.write(1, b'{\"score\": 9e9}')\n    os._exit(0)\n",
    "kill everything": """
    import os, signal
    os.kill(-1, signal.SIGKILL)
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(1, signal.SIGKILL)
    return -1.0
""",
    "fork bomb": f"""{_SHED}
    while True:
        try:
            os.fork()
        except OSError:
            pass
""",
    "memory": """
    kept = []
    while True:
        kept.append(bytearray(b"x") * (1 << 22))
""",
    "memory, shared out": """
    import os
    for _ in range(8):
        if os.fork() == 0:
            kept = bytearray(b"x") * (48 << 20)
            while True:
                pass
    while True:
        pass
""",
    "endless, signals blocked": f"{_SHED}    while True:\n        pass\n",
    "daemon": f"""{_SHED}
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                signal.pause()
        os._exit(0)
    return -1.0
""",
    "output": """
    import os
    while True:
        os.write(1, b"x" * (1 << 16))
        os.write(2, b"y" * (1 << 16))
""",
    "every descriptor": """
    import os
    for number in range(64):
        for text in (b".D", b"R\\x00\\x00\\x00\\x08" + bytes(8), b'{"kind": "scored", "value": 9e9}'):
            try:
                os.set_blocking(number, False)
                os.write(number, text)
            except OSError:
                pass
    return -1.0
""",
    "disk": """
    import os
    for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/"):
        try:
            with open(os.path.join(folder, "@mark@"), "wb") as file:
                for _ in range(64):
                    file.write(bytes(1 << 20))
        except OSError:
            pass
    return -1.0
""",
    "crash": "    import ctypes\n    ctypes.string_at(0)\n",
    "stubborn": STUBBORN,
}


def program(body: str, mark: str, number: int) -> str:
    """A source of its own for each number."""
    return f"# {number}\ndef solve():\n{body.replace(MARK, mark)}"


def processes(*marks: str) -> set[int]:
    """Processes of this host, but this one, that have a mark in command line or name and have not ended."""
    wanted = [mark.encode() for mark in marks]
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "comm").read_bytes() + (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state not in "ZX" and any(mark in words for mark in wanted):
                found.add(int(entry.name))
    return found


def files(*marks: str) -> set[str]:
    """Files with a mark in their names where a program could reach through to the host."""
    folders = [Path(name) for name in ("/", "/tmp", "/dev/shm", "/var/tmp", "/dev/mqueue", "/root", ".")]
    return {str(p) for folder in folders if folder.is_dir() for p in folder.iterdir() if _marked(p, marks)}


def control_groups(*marks: str) -> set[str]:
    """Control groups with a mark in their names."""
    root = Path("/sys/fs/cgroup")
    return {str(path) for path, _, _ in _walk(root) if _marked(path, marks)} if root.is_dir() else set()


def containers(*marks: str) -> set[str]:
    """Containers with a mark in name or labels, where a Docker engine answers."""
    command = ["docker", "ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Labels}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return {line for line in done.stdout.splitlines() if any(mark in line for mark in marks)}


def mounts() -> set[str]:
    """This process's mounts, without those of Docker engines: containers are counted themselves."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = {" ".join(line.split()[3:5]) for line in lines}
    return {mount for mount in found if not any(part in mount for part in ("/overlay2/", "/dockerd-"))}


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def _marked(path: Path, marks: tuple[str, ...]) -> bool:
    return any(mark in path.name for mark in marks)


def _walk(root: Path):
    for folder, names, files_ in os.walk(root):
        yield Path(folder), names, files_
