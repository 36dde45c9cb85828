"""One request: a child that is confined ahead of it, its pipes, and the bounds that hold from outside.

The child is forked while nothing is asked, confines itself as far as that does not depend on what will be
asked, and waits. What it is then given goes past the zygote from the host's socket into its pipe, so that no
later child can find it in its memory. The clocks start when all of it has been handed over.

A result starts with ``.`` once its child was confined: without it the sandbox failed, with it the program is
to blame. Children say so on a shared page that they unmap before any candidate code runs, because they could
read away and rewrite what stands in a pipe.
"""

import fcntl
import json
import mmap
import os
import select
import struct
import time

import confine
import program
from channel import CONTROL, Host, mapping

_RESULT, _FEED, _STDIN = 3, 4, 5  # descriptors in a child; the last two are gone before candidate code runs
# Else it would be one more file, which no limit of the private directory counts.
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_CHUNK = 1 << 18
_RESULT_SLACK = 1 << 15  # a failure's text, when results are limited to less
_CPU = struct.Struct("d")  # at the start of the shared page: CPU seconds that the child took to wait


class Pipe:
    """What a child writes to one descriptor, kept up to a cap; more is read and dropped."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)  # a child can reopen the pipe and read it away
        self.kept = self.size = 0
        self.open = True
        self._memory = self._view = None

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
        if self.writer is not None:
            os.close(self.writer)
        if self._memory is not None:
            self._view.release()
            self._memory.close()

    def keep_reader(self) -> None:
        """Leave the other end to the child."""
        os.close(self.writer)
        self.writer = None


class Request:
    """One request, from the fork of its child to the answer.

    Args:
        guard: How the child is confined.
        early: What has to be known of a request when its child is confined: see ``confine.Early``.
        box: The child's private directory.

    Raises:
        OSError: The kernel refused a process; nothing is left of it.
    """

    def __init__(self, guard: confine.Confinement, early: confine.Early, box: str) -> None:
        self._guard, self._early, self._box = guard, early, box
        self._result, self._out, self._err = self._pipes = Pipe(), Pipe(), Pipe()
        self._feed, self._feeder = os.pipe()
        self._report = mmap.mmap(-1, mmap.PAGESIZE)  # shared
        try:
            self._child = guard.fork()
            if self._child == 0:
                self._become()
        except OSError:
            os.close(self._feed)
            os.close(self._feeder)
            self._close()
            raise
        os.close(self._feed)
        for pipe in self._pipes:
            pipe.keep_reader()

    def fits(self, early: confine.Early) -> bool:
        """Whether the child is confined for such a request."""
        return self._early == early

    def waits(self) -> bool:
        """Whether the child is still there."""
        return os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def discard(self) -> None:
        """End a child that was given nothing."""
        os.close(self._feeder)
        try:
            self._guard.end()
        finally:
            self._close()

    def serve(self, host: Host, header: dict, size: int) -> None:
        """Hand over the request just received, see the child to its end, end all that it left, answer.

        Raises:
            HostGoneError: Nobody is there to answer to.
            confine.StubbornError: What the request left cannot be ended or removed.
            OSError: The kernel refused something; nothing of the request is left.
        """
        self._limits = header["limits"]
        self._prints = header["executes"] and not header["collects"]
        try:
            for pipe in self._pipes:
                pipe.hold(self._most(pipe))
        except OSError:
            host.drop(size)
            self.discard()
            raise
        try:
            try:
                self._hand_over(host, header, size)
                end = self._watch(host)
            finally:
                status, cpu_s = self._guard.end()
            for pipe in self._pipes:
                for _ in range(16):  # the capacity of a pipe; in bare mode a writer may have escaped
                    if not pipe.read(self._cap(pipe)):
                        break
            if end == "exited" and self._overflown():
                end = "overflow"
            self._answer(host, {"end": end, "status": status, "cpu_s": cpu_s})
        finally:
            self._close()

    def _hand_over(self, host: Host, header: dict, size: int) -> None:
        text = json.dumps(header).encode()
        try:
            try:
                program.write(self._feeder, struct.pack("!I", len(text)) + text)
            except BrokenPipeError:
                host.drop(size)  # the child is gone; its report says why
            else:
                host.pass_on(size, self._feeder)
        finally:
            os.close(self._feeder)
        self._started = time.monotonic()

    def _answer(self, host: Host, header: dict) -> None:
        (waited_s,) = _CPU.unpack_from(self._report)
        said = self._report[_CPU.size :].rstrip(b"\0")
        wall_s = time.monotonic() - self._started
        with self._result.contents() as result, self._out.contents() as out, self._err.contents() as err:
            header |= {"odd": self._guard.oddity, "resident_bytes": confine.resident_bytes()}
            header |= {"wall_s": wall_s, "cpu_s": max(0.0, header["cpu_s"] - waited_s)}
            sizes = [len(said) + len(result), len(out), len(err)]
            host.send(b"R", {**header, "sizes": sizes}, said, result, out, err)

    def _close(self) -> None:
        self._report.close()
        for pipe in self._pipes:
            pipe.close()

    def _become(self) -> None:
        """The child: confine itself, wait, say that it was confined, run the program; never returns."""
        try:
            # In this order none is overwritten before it was copied: all of them are above the zygote's socket.
            os.dup2(self._out.writer, 1)
            os.dup2(self._err.writer, 2)
            os.dup2(self._result.writer, _RESULT, inheritable=False)
            _move(self._feed, _FEED)
            _move(os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), _STDIN)
            os.closerange(_STDIN + 1, 1 << 20)
            self._guard.enter(self._early, self._box)
            header, parts = _given()
            task, source, extra = json.loads(parts[0]), parts[1], parts[2]
            path = f"{self._box}/{header['file']}"
            _stdin(extra if header["executes"] else None)
            self._guard.limit(_own_limits(header), header["executes"] and not header["collects"])
            _CPU.pack_into(self._report, 0, time.process_time())
            self._report[_CPU.size : _CPU.size + 1] = b"."
            binary = f"{self._box}/binary"
            program.save(path, source, 0o600, _RESULT, self._guard.shares_disk)
            if files := task.get("files"):
                most = header["limits"]["file_bytes"]
                program.save_beside(path, files, most - len(source), _RESULT, self._guard.shares_disk)
            if len(parts) > 3:
                program.save(binary, parts[3], 0o700, _RESULT, self._guard.shares_disk)
        except Exception as error:  # noqa: BLE001  the boundary of the child's setup: the host raises this
            said = f"!{type(error).__name__}: {error}".encode()[: mmap.PAGESIZE - _CPU.size]
            self._report[_CPU.size : _CPU.size + len(said)] = said
            os._exit(1)
        try:
            self._report.close()
            limits = header["limits"]
            if header["collects"]:
                program.build(task, limits, _RESULT, path, binary)
            if header["executes"]:
                program.execute(task, _RESULT, path, binary)
            program.call(task, limits, source.decode(), extra, _RESULT, path)
        finally:
            os._exit(1)  # whatever a program throws past its own frames must not reach the zygote's

    def _most(self, pipe: Pipe) -> int:
        """The most that is ever kept of a pipe."""
        limits = self._limits
        if self._prints:
            return max(limits["result_bytes"] if pipe is self._out else limits["output_bytes"], _RESULT_SLACK)
        return limits["result_bytes"] + _RESULT_SLACK if pipe is self._result else limits["output_bytes"]

    def _cap(self, pipe: Pipe) -> int:
        limits = self._limits
        if self._prints:
            if pipe is self._out:
                return limits["result_bytes"]
            return limits["output_bytes"] if pipe is self._err else _RESULT_SLACK
        if pipe is self._result:
            return limits["result_bytes"] + _RESULT_SLACK
        other = self._err if pipe is self._out else self._out
        return limits["output_bytes"] - min(other.size, limits["output_bytes"])

    def _overflown(self) -> bool:
        pipe = self._out if self._prints else self._result
        return pipe.size > self._cap(pipe)

    def _watch(self, host: Host) -> str:
        """Wait for the child or for a reason to end it; says which."""
        handle = os.pidfd_open(self._child)
        poll = select.poll()
        pipes = {pipe.reader: pipe for pipe in self._pipes}
        for descriptor in (*pipes, handle, CONTROL):
            poll.register(descriptor, select.POLLIN)
        deadline = self._started + self._limits["wall_s"]
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "timeout"
                for descriptor, _ in poll.poll(left * 1000 + 1):
                    if descriptor == handle:
                        return "exited"
                    if descriptor == CONTROL:
                        host.receive()  # nothing but an end comes now
                        return "cancelled"
                    pipe = pipes[descriptor]
                    pipe.read(self._cap(pipe))
                    if not pipe.open:
                        poll.unregister(descriptor)
                    if self._overflown():
                        return "overflow"
        finally:
            os.close(handle)


def _move(descriptor: int, place: int) -> None:
    if descriptor != place:
        os.dup2(descriptor, place, inheritable=False)


def _own_limits(header: dict) -> dict:
    """Those of the child, which beside a build is one process more."""
    limits = header["limits"]
    return {**limits, "processes": limits["processes"] + header["collects"]}


def _given() -> tuple:
    """In the child: wait for what is asked, a header and the parts of its content; ends with the zygote."""
    size = int.from_bytes(_exactly(4), "big")
    header = json.loads(_exactly(size))
    parts = [_exactly(size) for size in header["sizes"]]
    os.close(_FEED)
    return header, parts


def _exactly(size: int) -> bytes:
    content = mapping(size)
    try:
        with memoryview(content) as view:
            got = 0
            while got < size:
                with view[got:size] as room:
                    count = os.readv(_FEED, (room,))
                if not count:
                    os._exit(0)
                got += count
        return content[:size]
    finally:
        content.close()


def _stdin(contents: bytes | None) -> None:
    """In the child: make these bytes standard input, or nothing."""
    if contents is None:
        os.close(_STDIN)
        given = os.open("/dev/null", os.O_RDONLY)
    else:
        given = _STDIN
        program.write(given, contents)
        os.lseek(given, 0, os.SEEK_SET)
        fcntl.fcntl(given, fcntl.F_ADD_SEALS, _SEALS)
    os.dup2(given, 0)
    os.close(given)
