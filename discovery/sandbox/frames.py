"""Frames to and from a zygote: one letter, four bytes of length, that many bytes; see ``sandboxes/zygote.py``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import struct
from typing import Any

from discovery.declared import Limits
from discovery.errors import SandboxError
from discovery.sandbox.base import CommandRun, FunctionCall

_HEADER = 5
SLACK_BYTES = 1 << 20
"""For all of an answer that no limit counts."""


class Frames(asyncio.Protocol):
    """Frames from the zygote; at most one is awaited at a time.

    Attributes:
        most_bytes: The longest that is taken next.
        owed: Answers to what was sent that have not come.
    """

    def __init__(self) -> None:
        self.most_bytes = SLACK_BYTES
        self.owed = 0
        self._buffer = bytearray()
        self._waiter: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._broken: str | None = None

    def next(self) -> asyncio.Future[tuple[bytes, bytes]]:
        """The next frame: its letter, and its bytes; fails with SandboxError."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self._broken:
            self._fail(self._broken)
        return self._waiter

    @property
    def broken(self) -> str | None:
        """Why nothing will come any more; None while something may."""
        return self._broken

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        buffer = self._buffer
        buffer += data
        if len(buffer) < _HEADER:
            return
        length = int.from_bytes(buffer[1:_HEADER], "big")
        if length > self.most_bytes:
            self._fail(f"the sandbox announced an answer of {length:,} bytes")
        elif len(buffer) >= _HEADER + length:
            frame = bytes(buffer[:1]), bytes(buffer[_HEADER : _HEADER + length])
            del buffer[: _HEADER + length]
            self.owed -= 1
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more will come."""
        self._fail("the sandbox ended unexpectedly")

    def _fail(self, message: str) -> None:
        self._broken = message
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(SandboxError(message))


def frame(kind: bytes, header: dict[str, Any] | None = None, *blobs: bytes) -> bytes:
    """One frame: a letter, and unless it is that alone a header and contents."""
    if header is None:
        return kind + struct.pack("!I", 0)
    text = json.dumps(header).encode()
    length = 4 + len(text) + sum(map(len, blobs))
    return b"".join((kind, struct.pack("!II", length, len(text)), text, *blobs))


def header_of(body: bytes) -> tuple[dict[str, Any], bytes]:
    """A frame's header, and its contents."""
    split = 4 + int.from_bytes(body[:4], "big")
    return json.loads(body[4:split]), body[split:]


def split(body: bytes, sizes: tuple[int, int, int]) -> tuple[bytes, bytes, bytes]:
    """Contents of these sizes."""
    first, second = sizes[0], sizes[0] + sizes[1]
    return body[:first], body[first:second], body[second:]


def request_frame(request: FunctionCall | CommandRun) -> bytes:
    """What is sent for a request."""
    source = request.source.encode("utf-8", "replace")
    if isinstance(request, FunctionCall):
        task: dict[str, Any] = {"function": request.function, "seed": _seed(source, request)}
        file, extra = "candidate.py", request.arguments
    else:
        task = {"argv": list(request.argv)}
        file, extra = f"program{request.suffix}", request.stdin
    if request.files:
        # With the task, which is the child's alone.
        task["files"] = {path: _valid(text) for path, text in request.files.items()}
    parts = [json.dumps(task).encode(), source, extra]
    if isinstance(request, CommandRun) and request.binary is not None:
        parts.append(request.binary)
    header = {
        "limits": _limits(request.limits),
        "executes": isinstance(request, CommandRun),
        "collects": isinstance(request, CommandRun) and request.collects,
        "file": request.file or file,
        "cores": list(request.cores),
        "sizes": [len(part) for part in parts],
    }
    return frame(b"R", header, *parts)


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _seed(source: bytes, request: FunctionCall) -> int:
    by = request.seeded_by
    digest = hashlib.blake2b(source if by is None else by.encode(), digest_size=8)
    digest.update(request.function.encode())
    digest.update(request.arguments)
    if by is not None:
        return int.from_bytes(digest.digest(), "big")
    for path, text in request.files.items():
        digest.update(path.encode())
        digest.update(text.encode("utf-8", "replace"))
    return int.from_bytes(digest.digest(), "big")


def _limits(limits: Limits) -> dict[str, float | int]:
    return {
        "wall_s": limits.wall_s,
        "cpu_limit_s": limits.cpu_limit_s,
        "memory_bytes": limits.memory_bytes,
        "processes": limits.processes,
        "file_bytes": limits.file_bytes,
        "output_bytes": limits.output_bytes,
        "result_bytes": limits.result_bytes,
    }
