"""The zygote's end of its socket to the host, and memory that is really given back.

A frame is one letter, four bytes of length, and that many bytes; what the letters mean stands in ``zygote.py``.
Content never becomes an object of the zygote: it is spliced to a child on the way in, and read from mappings
on the way out.
"""

import json
import mmap
import os
import socket
import struct

CONTROL = 3  # the descriptor of the socket, in the zygote


class HostGoneError(Exception):
    """The host closed its end."""


def mapping(size: int) -> mmap.mmap:
    """Private memory that closing really gives back, contents and all."""
    return mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def attach(where: str) -> None:
    """Make the socket to the host the descriptor ``CONTROL``.

    Args:
        where: The number of an inherited descriptor, or the path of a socket to connect to.
    """
    if where.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(where)
        descriptor = connection.detach()
    else:
        descriptor = int(where)
    if descriptor == CONTROL:
        os.set_inheritable(CONTROL, False)
    else:
        os.dup2(descriptor, CONTROL, inheritable=False)
        os.close(descriptor)


class Host:
    """The socket to the host, in frames."""

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=CONTROL)

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
        """The next frame: its kind, header, and the size of the content to ``pass_on`` or ``drop`` then."""
        start = self._exactly(5)
        length = int.from_bytes(start[1:], "big")
        if not length:
            return start[:1], {}, 0
        size = int.from_bytes(self._exactly(4), "big")
        return start[:1], json.loads(self._exactly(size)), length - 4 - size

    def pass_on(self, size: int, pipe: int) -> None:
        """Hand the content of the frame just received to whoever reads a pipe; nobody may, and it is dropped."""
        while size:
            try:
                moved = os.splice(CONTROL, pipe, size)
            except BrokenPipeError:
                self.drop(size)
                return
            except OSError:
                raise HostGoneError from None
            self._some(moved)
            size -= moved

    def drop(self, size: int) -> None:
        """Read past the content of the frame just received."""
        content = mapping(min(size, 1 << 16))
        with memoryview(content) as view:
            while size:
                with view[:size] as room:
                    size -= self._some(self._socket.recv_into(room))
        content.close()

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
