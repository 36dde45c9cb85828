"""Confinement by user ids: all that a request leaves is found, ended and removed by an id that nobody else had.

For a zygote that may make no namespaces: root in a container with a read-only root and one small file system at
``/box``, and without any capability but those to change ids. It may neither end a child nor touch its files; a
helper that takes the child's id may.

The helper ends everything of that id in one call, which the kernel makes atomic, until nothing is left of it. It
does so with the child's id as its effective one only: processes may signal whoever's *real or saved* id is
theirs, so nothing of the request can end the helper first. Then it becomes the child's user altogether and
removes what that user owns in every place that any user may write to. A place where something stays breaks the
sandbox.

The size of one file is limited, the sum of a request's files only by the sizes of the file systems that it can
write to.
"""

import os
import resource
import signal
import stat
import time

import confine
import leftovers

_UIDS = 1 << 20
_LEAST_UID, _MOST_UID = 1000, (1 << 31) - (1 << 20)
_FORCED, _ENDLESS = 3, 4  # how a helper exits
_PLACES = ("/dev/shm", "/dev/mqueue", "/tmp", "/var/tmp")


class Uids(confine.Confinement):
    """A fresh user id for each child. See the module docstring.

    Args:
        box: The private directory, below ``/box``.
        grouped: See ``Confinement``.
        first: The range of ids begins here; it should belong to this container alone, because the kernel counts
            a user's processes on the whole host.

    Raises:
        OSError: There are no ids to give, or ``/box`` is not this process's own.
    """

    def __init__(self, box: str, grouped: bool, first: int) -> None:
        super().__init__(box, grouped)
        confine.adopt_orphans()
        self._first, self._last = _mapped(first)
        self._uid = self._first
        if os.statvfs(confine.BOX).f_flag & os.ST_NOEXEC:
            raise OSError(f"nothing can be executed from {confine.BOX}: mount it with the option exec")
        # Any user may make a folder of its own there, and none may see or remove another's.
        os.chmod(confine.BOX, 0o1733)  # noqa: PTH101
        self._places = _writable_places()

    def fork(self) -> int:
        # The first is the helpers' own.
        self._uid = self._uid + 1 if self._uid < self._last else self._first + 1
        return super().fork()

    def _isolate(self, early: confine.Early) -> None:
        confine.become(self._uid)
        confine.drop_capabilities()
        confine.make_folders()

    def _limit_processes(self, processes: int) -> None:
        confine.lower(resource.RLIMIT_NPROC, processes, processes)

    def _end(self) -> tuple:
        done, status, usage = os.wait4(self._child, os.WNOHANG)
        cpu_s = confine.cpu_s(usage) if done else 0.0
        helper = os.fork()
        if helper == 0:
            self._help()
        while True:
            pid, how, usage = os.wait4(-1, 0)
            if pid == helper:
                break
            cpu_s += confine.cpu_s(usage)
            if pid == self._child:
                status, done = how, pid
        code = os.waitstatus_to_exitcode(how)
        if code not in (0, _FORCED) or not done or self._left():
            told = "processes cannot be ended" if code == _ENDLESS else "files cannot be removed"
            raise confine.StubbornError(
                f"what a request left as user {self._uid} stays: {told} (status {code})"
            )
        if code == _FORCED:
            self.oddity = "the files of a request had to be removed by force"
        return status, cpu_s

    def _help(self) -> None:
        """In a helper: end and remove all that belongs to the child's user; never returns."""
        code = 1
        try:
            handles = [os.open(place, os.O_RDONLY | os.O_DIRECTORY) for place in self._places]
            os.setgroups([])
            os.setresgid(self._uid, self._uid, self._uid)
            # By the effective id it may end the request's processes; none of the real and the saved one is
            # theirs, by which they could end it first.
            os.setresuid(self._first, self._uid, self._first)
            deadline = time.monotonic() + confine.STUBBORN_S
            while _end_all():
                if time.monotonic() > deadline:
                    os._exit(_ENDLESS)
                time.sleep(0.001)
            os.setresuid(self._uid, self._uid, self._uid)
            code = 0
            for place, handle in zip(self._places, handles, strict=True):
                for path in _owned(place, handle, self._uid):
                    if leftovers.remove(path):
                        code = _FORCED
        finally:
            os._exit(code)

    def _left(self) -> bool:
        """Whether something of the child's user can still be found."""
        if os.listdir(confine.BOX):  # noqa: PTH208
            return True
        return any(_owned(place, place, self._uid) for place in self._places)


def _end_all() -> bool:
    """End every process that this one may end; whether there was any."""
    try:
        os.kill(-1, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False  # none, or none but others'
    return True


def _owned(place: str, folder: object, uid: int) -> list:
    """Paths of what a user owns right in a place, which is listed by its path or by a descriptor."""
    found = []
    for name in os.listdir(folder):  # noqa: PTH208
        path = f"{place}/{name}"
        if os.lstat(path).st_uid == uid:
            found.append(path)
    return found


def _writable_places() -> list:
    """Folders where any user may leave something."""
    places = [confine.BOX]
    mounts = [line.split()[1] for line in confine.read("/proc/self/mounts").splitlines()]
    for path in (*_PLACES, *mounts):
        try:
            mode = os.lstat(path).st_mode
            full = os.statvfs(path).f_flag & os.ST_RDONLY
        except OSError:
            continue  # not there, or not for this process to see; then not for a child either
        if path not in places and stat.S_ISDIR(mode) and mode & stat.S_IWOTH and not full:
            places.append(path)
    return places


def _mapped(first: int) -> tuple:
    """A range of ids that this process may give away: the one that begins there, or the largest there is."""
    best = (0, 0)
    for line in confine.read("/proc/self/uid_map").splitlines():
        start, _, count = map(int, line.split())
        last = min(start + count, _MOST_UID) - 1
        if start <= first <= last - 1:
            return first, min(last, first + _UIDS)
        start = max(start, _LEAST_UID)
        best = max(best, (last - start, start))
    if best[0] < 1:
        raise OSError(f"there is no user id of at least {_LEAST_UID} to give away here")
    return best[1], best[1] + best[0]
