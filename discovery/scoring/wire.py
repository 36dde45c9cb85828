"""Frames between the run's process and its scorer processes: a JSON header and a body of bytes.

Both ends are ours. Candidate bytes travel only as a body, and only :func:`discovery.data.decode` reads them.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LENGTHS = struct.Struct("!II")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message.

    Args:
        header: JSON data; ``kind`` says what it is.
        body: Bytes that go with it.
    """

    header: Mapping[str, Any]
    body: bytes = field(default=b"")

    @property
    def kind(self) -> str:
        """What it is."""
        return str(self.header["kind"])


def pack(frame: Frame) -> bytes:
    """A frame as bytes."""
    header = json.dumps(frame.header, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return b"".join((LENGTHS.pack(len(header), len(frame.body)), header, frame.body))


def unpack(header: bytes, body: bytes) -> Frame:
    """The frame that those two parts make."""
    return Frame(json.loads(header.decode("utf-8", "surrogatepass")), body)


def receive(sock: socket.socket) -> Frame | None:
    """Block for the next frame; None when the other end has closed."""
    start = _exactly(sock, LENGTHS.size)
    if start is None:
        return None
    header_length, body_length = LENGTHS.unpack(start)
    header = _exactly(sock, header_length)
    body = _exactly(sock, body_length)
    if header is None or body is None:
        return None
    return unpack(header, body)


def _exactly(sock: socket.socket, count: int) -> bytes | None:
    if count == 0:
        return b""
    chunks = []
    while count:
        chunk = sock.recv(min(count, 1 << 20))
        if not chunk:
            return None
        chunks.append(chunk)
        count -= len(chunk)
    return b"".join(chunks)
