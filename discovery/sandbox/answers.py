"""What a Docker engine answers: of itself, of images and containers, and what a container writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine says of itself.

    Args:
        version: Of the engine.
        storage: Its storage driver.
        security: Its security options by name: ``seccomp``, ``rootless``, ``userns``, ...
        cannot: What its kernel does not let it limit: ``memory``, ``processes``; empty where it can.
    """

    version: str
    storage: str
    security: tuple[str, ...]
    cannot: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that is there.

    Args:
        id: Its content's name.
        volumes: Folders that a container of it would get as volumes of their own.
        labels: As it was given.
        names: What it is called by, ``repository:tag`` each.
        size_bytes: Of its files.
        created_at: When it was made; None where the engine does not say.
    """

    id: str
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str]
    names: tuple[str, ...] = ()
    size_bytes: int = 0
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container that is there, running or not.

    Args:
        id: As the engine names it.
        name: As people do.
        labels: As it was given.
    """

    id: str
    name: str
    labels: Mapping[str, str]


class Output:
    """What a container writes to its standard output and error from the moment of attaching.

    Attributes:
        ended: Whether the last ``read`` found the end of it: the container has ended, or the engine.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._socket = stream._sock
        self._said = b""
        self.ended = False

    def fileno(self) -> int:
        """Readable as well once the container has ended."""
        return int(self._socket.fileno())

    def read(self) -> bytes:
        """All of it so far; does not wait."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while chunk := self._socket.recv(65536):
                self._said += chunk
            self.ended = True
        return b"".join(frames(self._said))

    def close(self) -> None:
        """Stop listening."""
        self._stream._response.close()  # which closes the stream, too
        self._socket.close()


def frames(stream: bytes) -> Iterator[bytes]:
    """The contents of frames of the engine: one byte of which stream, three unused, four of length.

    Args:
        stream: What came so far; a last frame that is not whole is left out.
    """
    at = 0
    while at + 8 <= len(stream):
        size = int.from_bytes(stream[at + 4 : at + 8], "big")
        yield stream[at + 8 : at + 8 + size]
        at += 8 + size
