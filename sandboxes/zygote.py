"""One long-lived process inside a sandbox that forks a confined child for every request.

It imports the problem's packages once, so that a child has them for the price of a fork. It speaks to the
host over the socket that it got as a descriptor; a frame is one letter, four bytes of length, and that many
bytes:

- ``I`` (host): settings as JSON; answered by ``I`` with what came of them.
- ``R`` (host): a request: length of a JSON header, header, source, arguments or standard input. Answered by
  one ``R``: length of a JSON header, header, then what the child wrote: result, standard output, standard
  error.
- ``X`` (host): end the request in progress now. It is still answered.

The zygote never interprets what a child wrote. A child's result starts with ``.``, written before any
candidate code runs: without it the sandbox failed, with it the program is to blame. The zygote ends when
the host's end of the socket closes, and then nothing is left.

Standard library only; ``data.py`` (the encoding), ``confine.py`` and ``program.py`` lie beside it.
"""

import builtins
import gc
import importlib
import json
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


class Host:
    """The socket to the host, in frames."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._buffer = bytearray()

    def send(self, kind: bytes, header: dict, *blobs: bytes) -> None:
        text = json.dumps(header).encode()
        length = 4 + len(text) + sum(map(len, blobs))
        parts = [kind, struct.pack("!II", length, len(text)), text, *blobs]
        try:
            self._socket.sendall(b"".join(parts))
        except OSError:
            raise HostGoneError from None

    def receive(self) -> tuple:
        """The next frame, as its kind, header and blobs."""
        while (frame := self.pending()) is None:
            self.fill()
        return frame

    def fill(self) -> None:
        """Read what has come; blocks when nothing has."""
        try:
            chunk = self._socket.recv(_CHUNK)
        except OSError:
            raise HostGoneError from None
        if not chunk:
            raise HostGoneError
        self._buffer += chunk

    def pending(self) -> tuple | None:
        """A frame that is already here, or None."""
        buffer = self._buffer
        if len(buffer) < 5:
            return None
        end = 5 + int.from_bytes(buffer[1:5], "big")
        if len(buffer) < end:
            return None
        kind, body = bytes(buffer[:1]), bytes(buffer[5:end])
        del buffer[:end]
        if not body:
            return kind, {}, b""
        split = 4 + int.from_bytes(body[:4], "big")
        return kind, json.loads(body[4:split]), body[split:]


class Pipe:
    """What a child writes to one descriptor, kept up to a cap; more is read and dropped."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)  # a child can reopen the pipe and read it away
        self.kept: list = []
        self.size = 0
        self.open = True

    def read(self, cap: int) -> bool:
        """Read once; False when nothing is there now."""
        try:
            chunk = os.read(self.reader, _CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self.open = False
            return False
        room = cap - self.size
        if room > 0:
            self.kept.append(chunk[:room])
        self.size += len(chunk)
        return True

    def bytes(self) -> bytes:
        return b"".join(self.kept)


class Request:
    """One request in progress: a child, its pipes, and the bounds that hold from outside."""

    def __init__(self, host: Host, guard: confine.Confinement, header: dict, body: bytes, box: str) -> None:
        self.host, self.guard, self.header, self.box = host, guard, header, box
        self.limits = header["limits"]
        split = header["source_bytes"]
        self.source, self.extra = body[:split], body[split:]
        self.started = time.monotonic()
        self.result, self.out, self.err = Pipe(), Pipe(), Pipe()
        self.child, self.init = guard.fork()
        if self.child == 0:
            self._become()
        for pipe in (self.result, self.out, self.err):
            os.close(pipe.writer)

    @property
    def executes(self) -> bool:
        return "argv" in self.header

    def _become(self) -> None:
        """The child: confine itself, say so, run the program; never returns."""
        try:
            path = f"{self.box}/{self.header['file']}"
            os.dup2(self.out.writer, 1)
            os.dup2(self.err.writer, 2)
            os.dup2(self.result.writer, _RESULT, inheritable=False)
            source = os.memfd_create("stdin") if self.executes else os.open("/dev/null", os.O_RDONLY)
            if self.executes:
                program.write(source, self.extra)
                os.lseek(source, 0, os.SEEK_SET)
            os.dup2(source, 0)
            os.closerange(_RESULT + 1, 1 << 20)
            self.guard.enter(self.limits, self.executes, self.box)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            program.write(file, self.source)
            os.close(file)
            os.write(_RESULT, b".")
        except Exception as error:  # noqa: BLE001  the boundary of the child's setup: the host raises this
            os.write(_RESULT, f"!{type(error).__name__}: {error}".encode())
            os._exit(1)
        if self.executes:
            program.execute(self.header, _RESULT, path)
        program.call(self.header, self.source.decode(), self.extra, _RESULT, path)

    def serve(self) -> None:
        """See the child to its end, end all that it left, answer the host."""
        try:
            end = self._watch()
        finally:
            status, cpu_s = self._end()
        for pipe in (self.result, self.out, self.err):
            for _ in range(16):  # the capacity of a pipe; in bare mode a writer may have escaped
                if not pipe.read(self._cap(pipe)):
                    break
            os.close(pipe.reader)
        if end == "exited" and self._overflown():
            end = "overflow"
        header = {
            "end": end,
            "status": status,
            "wall_s": time.monotonic() - self.started,
            "cpu_s": cpu_s,
        }
        blobs = [pipe.bytes() for pipe in (self.result, self.out, self.err)]
        self.host.send(b"R", {**header, "sizes": [len(blob) for blob in blobs]}, *blobs)

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
        pipes = {pipe.reader: pipe for pipe in (self.result, self.out, self.err)}
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
                        self.host.fill()
                        if (frame := self.host.pending()) is not None and frame[0] == b"X":
                            return "cancelled"
                        continue
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
    guard = confine.Confinement(settings["namespaces"], settings["uid"])
    host.send(b"I", {"failed": failed, "base_bytes": guard.base_bytes})
    gc.collect()
    gc.freeze()
    while True:
        kind, header, body = host.receive()
        if kind != b"R":
            continue  # an end that came after the request's own
        try:
            request = Request(host, guard, header, body, settings["box"])
        except OSError as error:
            host.send(b"R", {"end": "refused", "message": str(error)})
        else:
            request.serve()


def main() -> None:
    os.dup2(int(sys.argv[1]), _CONTROL, inheritable=False)
    if int(sys.argv[1]) != _CONTROL:
        os.close(int(sys.argv[1]))
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
