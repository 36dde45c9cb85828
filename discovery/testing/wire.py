"""Just enough of HTTP for the fake model server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Args:
        method: Its method.
        path: Its path with whatever follows.
        headers: Its headers, names in lower case.
        body: Its body.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


async def left(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Returns when the client has gone. It polls: reading would take bytes of the next request."""
    while not (reader.at_eof() or reader.exception() or writer.is_closing()):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request on a connection; None when the client is done."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *rest = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {}
    for line in rest:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


async def send(
    writer: asyncio.StreamWriter,
    status: int,
    payload: Mapping[str, Any] | str,
    headers: Mapping[str, str] | None = None,
) -> bool:
    """Send a whole response, JSON or text; returns whether the connection stays, which it does."""
    is_text = isinstance(payload, str)
    body = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
    kind = "text/plain; version=0.0.4" if is_text else "application/json"
    writer.write(response_head(status, kind, len(body), headers or {}) + body)
    await writer.drain()
    return True


def response_head(status: int, kind: str, length: int, headers: Mapping[str, str]) -> bytes:
    """Status line and headers of a whole response."""
    lines = [f"HTTP/1.1 {status} Fake", f"Content-Type: {kind}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
