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
find in it what an earlier one was asked and answered. So all content, in and out, passes through mappings
that are gone before the next fork; only limits, sizes and times become objects here.

A result starts with ``.`` once its child was confined: without it the sandbox failed, with it the program is
to blame. Children say so on a shared page that they unmap before any candidate code runs, because they could
read away and rewrite what stands in a pipe. The zygote ends when the host's end of the socket closes, and
then nothing is left.

Standard library only; ``data.py`` (the encoding), ``confine.py`` and ``program.py`` lie beside it.
"""

import builtins
import fcntl
import gc
import importlib
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
import confine
import data  # noqa: F401  children need it
import program

_CONTROL, _RESULT = 3, 3  # the descriptor of the socket here, and of the result pipe in a child
_CHUNK = 1 << 18
_STUBBORN_S = 4.0
_RESULT_SLACK = 1 << 15  # a failure's text, when results are limited to less
_PRELOAD = (
    *("math", "cmath", "random", "itertools", "functools", "operator", "collections", "heapq", "bisect"),
    *("re", "string", "dataclasses", "typing", "copy", "time", "enum", "abc", "io", "contextlib"),
)
_MORE = {
    "numpy": ("numpy.random", "numpy.linalg", "numpy.fft"),
    "scipy": ("scipy.optimize", "scipy.linalg", "scipy.special", "scipy.spatial"),
}


class HostGoneError(Exception):
    """The host closed its end."""


def mapping(size: int) -> mmap.mmap:
    """Private memory that closing really gives back, contents and all."""
    return mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


class Host:
    """The socket to the host, in frames."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def send(self, kind: bytes, header: dict, *blobs: memoryview) -> None:
        text = json.dumps(header).encode()
        length = 4 + len(text) + sum(map(len, blobs))
        start = b"".join((kind, struct.pack("!II", length, len(text)), text))
        try:
            sent = self._socket.sendmsg([start, *blobs])
            for part in (start, *blobs):
                if sent < len(part):
                    with memoryview(part)[sent:] as rest:
                        self._socket.sendall(rest)
                sent = max(0, sent - len(part))
        except OSError:
            raise HostGoneError from None

    def receive(self) -> tuple:
        """The next frame: its kind, header, and the size of the content to ``take`` then."""
        start = self._exactly(5)
        length = int.from_bytes(start[1:], "big")
        if not length:
            return start[:1], {}, 0
        size = int.from_bytes(self._exactly(4), "big")
        return start[:1], json.loads(self._exactly(size)), length - 4 - size

    def take(self, size: int) -> mmap.mmap:
        """The content of the frame just received."""
        content = mapping(size)
        with memoryview(content) as view:
            got = 0
            while got < size:
                with view[got:size] as rest:
                    got += self._some(self._socket.recv_into(rest))
        return content

    def _exactly(self, size: int) -> bytes:
        text = b""
        while len(text) < size:
            try:
                chunk = self._socket.recv(size - len(text))
            except OSError:
                raise HostGoneError from None
            self._some(len(chunk))
            text += chunk
        return text

    def _some(self, size: int) -> int:
        if not size:
            raise HostGoneError
        return size


class Pipe:
    """What a child writes to one descriptor, kept up to a cap; more is read and dropped."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)  # a child can reopen the pipe and read it away
        self.kept = self.size = 0
        self.open = True

    def hold(self, most: int) -> None:
        """Make room for as much as will ever be kept, and for one chunk to drop."""
        self._memory = mapping(most + _CHUNK)
        self._view = memoryview(self._memory)

    def read(self, cap: int) -> bool:
        """Read once; False when nothing is there now."""
        try:
            with self._view[self.kept : self.kept + _CHUNK] as room:
                count = os.readv(self.reader, (room,))
        except BlockingIOError:
            return False
        if not count:
            self.open = False
            return False
        self.kept += min(count, max(cap - self.size, 0))
        self.size += count
        return True

    def contents(self) -> memoryview:
        return self._view[: self.kept]

    def close(self) -> None:
        """Forget everything."""
        os.close(self.reader)
        self._view.release()
        self._memory.close()


class Request:
    """One request in progress: a child, its pipes, and the bounds that hold from outside."""

    def __init__(self, host: Host, guard: confine.Confinement, header: dict, size: int, box: str) -> None:
        self.host, self.guard, self.header, self.box = host, guard, header, box
        self.limits, self.executes = header["limits"], header["executes"]
        content = host.take(size)
        try:
            self.started = time.monotonic()
            self.report = mmap.mmap(-1, mmap.PAGESIZE)  # shared
            self.result, self.out, self.err = self.pipes = Pipe(), Pipe(), Pipe()
            self.child, self.init = guard.fork()
            if self.child == 0:
                self._become(content)
        finally:
            content.close()
        try:
            for pipe in self.pipes:
                os.close(pipe.writer)
                pipe.hold(self._most(pipe))
        except OSError:
            self._end()
            raise

    def _become(self, content: mmap.mmap) -> None:
        """The child: confine itself, say so, run the program; never returns."""
        try:
            at = 0
            parts = []
            for size in self.header["sizes"]:
                parts.append(content[at : at + size])
                at += size
            task, source, extra = json.loads(parts[0]), parts[1], parts[2]
            path = f"{self.box}/{self.header['file']}"
            os.dup2(self.out.writer, 1)
            os.dup2(self.err.writer, 2)
            os.dup2(self.result.writer, _RESULT, inheritable=False)
            given = os.memfd_create("stdin") if self.executes else os.open("/dev/null", os.O_RDONLY)
            if self.executes:
                program.write(given, extra)
                os.lseek(given, 0, os.SEEK_SET)
            os.dup2(given, 0)
            os.closerange(_RESULT + 1, 1 << 20)
            content.close()
            self.guard.enter(self.limits, self.executes, self.box)
            self.report[:1] = b"."
        except Exception as error:  # noqa: BLE001  the boundary of the child's setup: the host raises this
            said = f"!{type(error).__name__}: {error}".encode()[: mmap.PAGESIZE]
            self.report[: len(said)] = said
            os._exit(1)
        try:
            self.report.close()
            program.save(path, source, _RESULT)
            if self.executes:
                program.execute(task, _RESULT, path)
            program.call(task, self.limits, source.decode(), extra, _RESULT, path)
        finally:
            os._exit(1)  # whatever a program throws past its own frames must not reach the zygote's

    def serve(self) -> None:
        """See the child to its end, end all that it left, answer the host."""
        try:
            try:
                end = self._watch()
            finally:
                status, cpu_s = self._end()
            for pipe in self.pipes:
                for _ in range(16):  # the capacity of a pipe; in bare mode a writer may have escaped
                    if not pipe.read(self._cap(pipe)):
                        break
            if end == "exited" and self._overflown():
                end = "overflow"
            header = {"end": end, "status": status, "wall_s": time.monotonic() - self.started, "cpu_s": cpu_s}
            said = self.report[:].rstrip(b"\0")
            with self.result.contents() as result, self.out.contents() as out, self.err.contents() as err:
                sizes = [len(said) + len(result), len(out), len(err)]
                self.host.send(b"R", {**header, "sizes": sizes}, said, result, out, err)
        finally:
            self.report.close()
            for pipe in self.pipes:
                pipe.close()

    def _most(self, pipe: Pipe) -> int:
        """The most that is ever kept of a pipe."""
        limits = self.limits
        if self.executes:
            return max(limits["result_bytes"] if pipe is self.out else limits["output_bytes"], _RESULT_SLACK)
        return limits["result_bytes"] + _RESULT_SLACK if pipe is self.result else limits["output_bytes"]

    def _cap(self, pipe: Pipe) -> int:
        limits = self.limits
        if self.executes:
            if pipe is self.out:
                return limits["result_bytes"]
            return limits["output_bytes"] if pipe is self.err else _RESULT_SLACK
        if pipe is self.result:
            return limits["result_bytes"] + _RESULT_SLACK
        other = self.err if pipe is self.out else self.out
        return limits["output_bytes"] - min(other.size, limits["output_bytes"])

    def _overflown(self) -> bool:
        pipe = self.out if self.executes else self.result
        return pipe.size > self._cap(pipe)

    def _watch(self) -> str:
        """Wait for the child or for a reason to end it; says which."""
        handle = os.pidfd_open(self.child)
        poll = select.poll()
        pipes = {pipe.reader: pipe for pipe in self.pipes}
        for descriptor in (*pipes, handle, _CONTROL):
            poll.register(descriptor, select.POLLIN)
        deadline = self.started + self.limits["wall_s"]
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "timeout"
                for descriptor, _ in poll.poll(left * 1000 + 1):
                    if descriptor == handle:
                        return "exited"
                    if descriptor == _CONTROL:
                        self.host.receive()  # nothing but an end comes now
                        return "cancelled"
                    pipe = pipes[descriptor]
                    pipe.read(self._cap(pipe))
                    if not pipe.open:
                        poll.unregister(descriptor)
                    if self._overflown():
                        return "overflow"
        finally:
            os.close(handle)

    def _end(self) -> tuple:
        """End every process of the request; the child's wait status, and CPU seconds of all."""
        if self.init is not None:
            # Process 1 goes, and the kernel ends the rest of the namespace. Its end waits for the child to
            # be reaped.
            os.kill(self.init, signal.SIGKILL)
            _, status, usage = os.wait4(self.child, 0)
            _, _, more = os.wait4(self.init, 0)
            return status, sum((usage.ru_utime, usage.ru_stime, more.ru_utime, more.ru_stime))
        done, status, usage = os.wait4(self.child, os.WNOHANG)
        if not done:
            os.kill(self.child, signal.SIGKILL)
            _, status, usage = os.wait4(self.child, 0)
        self._end_orphans()
        confine.wipe(self.box, self.header["file"])
        return status, usage.ru_utime + usage.ru_stime

    def _end_orphans(self) -> None:
        """Without a namespace: what the child left now belongs to this process, the subreaper."""
        deadline = time.monotonic() + _STUBBORN_S
        while time.monotonic() < deadline:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                for orphan in confine.descendants():
                    try:
                        os.kill(orphan, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                time.sleep(0.001)
        raise OSError("processes of the request cannot be ended")


def _preload(packages: list) -> dict:
    """Import what children will want; names to errors of what cannot be."""
    for name in _PRELOAD:
        importlib.import_module(name)
    failed = {}
    for package in packages:
        for name in (package, *_MORE.get(package, ())):
            try:
                importlib.import_module(name)
            except Exception as error:  # noqa: BLE001  the boundary to third-party packages
                if name == package:
                    failed[name] = f"{type(error).__name__}: {error}"
    return failed


def _serve(host: Host) -> None:
    settings = host.receive()[1]
    quitter = importlib.import_module("_sitebuiltins").Quitter
    builtins.exit, builtins.quit = quitter("exit", ""), quitter("quit", "")
    os.environ.pop("PWD", None)  # bubblewrap's, and not where children are
    failed = _preload(settings["packages"])
    sys.path.pop(0)
    for name in ("confine", "data", "program"):
        del sys.modules[name]  # a candidate's own modules may have these names
    guard = confine.Confinement(settings["namespaces"], settings["uid"], settings["grouped"])
    host.send(b"I", {"failed": failed, "base_bytes": guard.base_bytes})
    gc.collect()
    gc.freeze()
    while True:
        kind, header, size = host.receive()
        if kind != b"R":
            continue  # an end that came after the request's own
        try:
            request = Request(host, guard, header, size, settings["box"])
        except OSError as error:
            host.send(b"R", {"end": "refused", "message": str(error)})
        else:
            request.serve()
            del request


def main() -> None:
    os.dup2(int(sys.argv[1]), _CONTROL, inheritable=False)
    if int(sys.argv[1]) != _CONTROL:
        os.close(int(sys.argv[1]))
    for folder in sys.argv[3:]:  # says that it is in use, until this process ends
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_DIRECTORY), fcntl.LOCK_EX)
    try:
        _serve(Host(_CONTROL))
    except HostGoneError:
        for folder in sys.argv[3:]:  # the host's own, which a killed host cannot remove
            confine.wipe(folder)
        os._exit(0)
    except BaseException:  # noqa: BLE001  the last word of a zygote, for the host's log
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main()
