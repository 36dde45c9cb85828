"""What a request leaves: its processes and its files."""

import os
import stat


def descendants() -> list:
    """Ids of all processes below this one, for a subreaper to end; they may fork meanwhile."""
    children: dict = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                fields = _stat(name).rpartition(")")[2].split()
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


def _stat(name: str) -> str:
    with open(f"/proc/{name}/stat") as file:  # noqa: PTH123  pathlib would be one more import in the zygote
        return file.read()


def remove(path: str) -> bool:
    """Remove a file or a folder, whatever a program made of it.

    Returns:
        Whether that took force: rights that were taken away, or a nesting too deep to follow.

    Raises:
        OSError: It is still there.
    """
    try:
        _remove(path)
    except (OSError, RecursionError):
        _remove_by_force(path)
        return True
    return False


def _remove_by_force(path: str) -> None:
    """Take every folder back and lift it to the top before it is emptied: no path becomes long, nothing recurses."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        os.chmod(folder, 0o700)  # noqa: PTH101
        for name in os.listdir(folder):  # noqa: PTH208
            inside = f"{folder}/{name}"
            if not stat.S_ISDIR(os.lstat(inside).st_mode):
                os.unlink(inside)  # noqa: PTH108
                continue
            if folder != path:
                os.chmod(inside, 0o700)  # noqa: PTH101  it is changed by being moved
                lifted = f"{path}/{os.urandom(12).hex()}"
                os.rename(inside, lifted)  # noqa: PTH104
                inside = lifted
            waiting.append(inside)
        if folder != path:
            os.rmdir(folder)  # noqa: PTH106
    os.rmdir(path)  # noqa: PTH106


def _remove(path: str) -> None:
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)  # noqa: PTH108
        return
    for name in os.listdir(path):  # noqa: PTH208
        _remove(f"{path}/{name}")
    os.rmdir(path)  # noqa: PTH106
