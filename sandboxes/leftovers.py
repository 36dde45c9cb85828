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
        script = 'chmod -R u+rwx -- "$1"; rm -rf -- "$1"'
        os.spawnlp(os.P_WAIT, "sh", "sh", "-c", script, "sh", path)
        if os.path.lexists(path):
            raise OSError(f"{path} cannot be removed") from None
        return True
    return False


def _remove(path: str) -> None:
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)  # noqa: PTH108
        return
    for name in os.listdir(path):  # noqa: PTH208
        _remove(f"{path}/{name}")
    os.rmdir(path)  # noqa: PTH106
