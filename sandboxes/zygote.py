"""One long-lived process inside a sandbox that forks a confined child for every request.

It imports the problem's packages once, so that a child has them for the price of a fork. It speaks to the
host over the socket that it got as a descriptor; a frame is one letter, four bytes of length, and that many
bytes:

- ``I`` (host): settings as JSON; answered by ``I`` with what came of them.
- ``R`` (host): a request: length of a JSON header, header, then what is the child's alone: the task as JSON,
  source, arguments or standard input. Answered by one ``R``: length of a JSON header, header, then what the
  child wrote: result, standard output, standard error.
- ``X`` (host): end the request in progress now. It is still answered.

The zygote never interprets what a child wrote, nor keeps it: a child is a copy of this process, and would
find in it what an earlier one was asked and answered. So content does not enter its memory on the way in, and
passes on the way out through mappings that are gone before the next fork; only limits, sizes and times become
objects here.

After each answer it forks the next child at once (``request.py``). The zygote ends when the host's end of the
socket closes, and then nothing is left.

Usage: ``zygote.py SOCKET LABEL [FOLDER...]``: the number of an inherited descriptor or the path of a socket to
connect to; what to be found by; folders to hold a lock on.

Standard library only; ``data.py`` (the encoding) and the other modules of this folder lie beside it.
"""

import builtins
import fcntl
import gc
import importlib
import os
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
import channel
import confine
import data  # noqa: F401  children need it
import leftovers
import request
import uids

_OWN = ("channel", "confine", "data", "leftovers", "program", "request", "seccomp", "uids")
_PRELOAD = (
    *("math", "cmath", "random", "itertools", "functools", "operator", "collections", "heapq", "bisect"),
    *("re", "string", "dataclasses", "typing", "copy", "time", "enum", "abc", "io", "contextlib"),
)
_SEEDED = ("numpy.random",)  # imported when it is used, while children seed what is imported


def _preload(packages: list, modules: list) -> dict:
    """Import what children will want; names to errors of the packages that cannot be."""
    failed = {}
    for name in (*_PRELOAD, *packages, *modules):
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001  the boundary to third-party packages
            if name in packages:
                failed[name] = f"{type(error).__name__}: {error}"
    for name in _SEEDED:
        if name.partition(".")[0] in sys.modules:
            importlib.import_module(name)
    return failed


def _confinement(settings: dict) -> confine.Confinement:
    box, grouped, uid = settings["box"], settings["grouped"], settings["uid"]
    match settings["confinement"]:
        case "namespaces":
            return confine.Namespaces(box, grouped, uid)
        case "uid":
            return uids.Uids(box, grouped, uid)
        case _:
            return confine.Bare(box, grouped)


class Slot:
    """The requests of this zygote, one at a time, and the child that waits for the next one."""

    def __init__(self, host: channel.Host, guard: confine.Confinement, settings: dict) -> None:
        self._host, self._guard, self._box = host, guard, settings["box"]
        self._usual = confine.Early(settings["file_bytes"], [])
        self._waiting: request.Request | None = None

    def serve(self, header: dict, size: int) -> None:
        """Answer the request whose header was just received; fork ahead for the next one."""
        early = confine.Early(header["limits"]["file_bytes"], header["cores"])
        try:
            current = self._take(early)
        except OSError as error:
            self._host.drop(size)
            self._refuse(error)
            return
        try:
            current.serve(self._host, header, size)
        except OSError as error:
            self._refuse(error)
        del current
        if not header["collects"]:  # what was built is run next, as the one before was
            self._usual = early
        self.fork_ahead()

    def fork_ahead(self) -> None:
        """Have a child wait for a request like the last one, if that can be had."""
        try:
            self._waiting = request.Request(self._guard, self._usual, self._box)
        except OSError:
            return  # the next request tries again, and is refused then

    def close(self) -> None:
        """End the child that waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.discard()

    def _take(self, early: confine.Early) -> request.Request:
        if self._waiting is not None and not self._waiting.waits():
            self._guard.oddity = "something ended a process that was waiting for a request"
            self.close()
        if self._waiting is not None and not self._waiting.fits(early):
            self.close()
        waiting, self._waiting = self._waiting, None
        return waiting or request.Request(self._guard, early, self._box)

    def _refuse(self, error: OSError) -> None:
        self._host.send(b"R", {"end": "refused", "message": str(error)})


def _serve(host: channel.Host) -> None:
    settings = host.receive()[1]
    quitter = importlib.import_module("_sitebuiltins").Quitter
    builtins.exit, builtins.quit = quitter("exit", ""), quitter("quit", "")
    os.environ.pop("PWD", None)  # bubblewrap's, and not where children are
    failed = _preload(settings["packages"], settings["preload"])
    sys.path.pop(0)
    for name in _OWN:
        del sys.modules[name]  # a candidate's own modules may have these names
    guard = _confinement(settings)
    gc.collect()
    gc.freeze()
    slot = Slot(host, guard, settings)
    try:
        slot.fork_ahead()
        host.send(b"I", {"failed": failed, "resident_bytes": confine.resident_bytes()})
        while True:
            kind, header, size = host.receive()
            if kind == b"R":  # else an end that came after the request's own
                slot.serve(header, size)
    finally:
        slot.close()


def main() -> None:
    channel.attach(sys.argv[1])
    folders = sys.argv[3:]
    for folder in folders:  # says that it is in use, until this process ends
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)
    try:
        _serve(channel.Host())
    except channel.HostGoneError:
        for folder in folders:  # the host's own, which a killed host cannot remove
            leftovers.remove(folder)
        os._exit(0)
    except BaseException:  # noqa: BLE001  the last word of a zygote, for the host's log
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main()
