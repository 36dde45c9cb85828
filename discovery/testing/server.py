"""A fake model server, for tests and benchmarks: the OpenAI chat API as vLLM speaks it, without a model.

Standard library only. It runs inside a test's event loop (:class:`FakeServer`) or on its own::

    python -m discovery.testing.server --slots 16 --latency 2 --sigma 0.5

Each choice takes one of N slots for a lognormal time, drawn from the server's seed and the choice's, so that
equal requests take equally long. ``GET /stats`` tells the busy slot-seconds so far: two readings give the
utilisation of the time between. It answers ``/v1/models``, ``/version``, ``/health`` and ``/metrics`` too,
and refuses what vLLM refuses.

A :class:`~discovery.testing.replies.Trouble` makes it misbehave, one per chat request in the order given.
What a real server does under each was looked up in vLLM 0.32; this one only copies the shapes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import signal
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from discovery.testing.replies import (
    Answerer,
    Reply,
    StreamedAnswer,
    Trouble,
    perturbed,
    response_head,
    token_count,
)

__all__ = ["Answerer", "FakeConfig", "FakeServer", "Reply", "Trouble", "main", "perturbed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeConfig:
    """How the server behaves.

    Args:
        slots: Choices that are generated at once.
        latency_s: Median time of one choice in its slot, in seconds; 0 for none.
        sigma: Spread of that time's logarithm.
        seed: Of the times.
        models: Names of what it serves.
        api_key: What it wants as a bearer token; None for nothing.
        pieces: In how many pieces a choice is streamed.
        most_choices: Most choices of one answer; more are not made, silently.
    """

    slots: int = 16
    latency_s: float = 0.0
    sigma: float = 0.5
    seed: int = 0
    models: tuple[str, ...] = ("fake",)
    api_key: str | None = None
    pieces: int = 4
    most_choices: int = 1 << 30


@dataclass(slots=True)
class _Slots:
    """Who is busy, and for how long altogether."""

    count: int
    free: asyncio.Semaphore = field(init=False)
    busy_s: float = 0.0
    waiting: int = 0
    since: dict[object, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free = asyncio.Semaphore(self.count)

    async def __aenter__(self) -> None:
        self.waiting += 1
        try:
            await self.free.acquire()
        finally:
            self.waiting -= 1
        self.since[asyncio.current_task()] = time.monotonic()

    async def __aexit__(self, *exc: object) -> None:
        self.busy_s += time.monotonic() - self.since.pop(asyncio.current_task())
        self.free.release()

    def total_s(self, now: float) -> float:
        return self.busy_s + sum(now - start for start in self.since.values())


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class FakeServer:
    """The server, for ``async with``.

    Args:
        config: How it behaves.
        answer: What choices say.
        troubles: How it misbehaves, one for each chat request; properly when they are used up.
    """

    def __init__(
        self,
        config: FakeConfig | None = None,
        *,
        answer: Answerer = perturbed,
        troubles: Iterable[Trouble] = (),
    ) -> None:
        self.config = config or FakeConfig()
        self.troubles = deque(troubles)
        self.requests: list[dict[str, Any]] = []
        """Bodies of the chat requests, in order."""
        self.aborted = 0
        """Chat requests whose client went away before their end."""
        self.tokens = 0
        """Completion tokens sent."""
        self.choices = 0
        """Choices sent in full."""
        self._answer = answer
        self._slots = _Slots(self.config.slots)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FakeServer:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> FakeServer:
        """Listen.

        Args:
            host: Address.
            port: Port; 0 for any free one.
        """
        self._server = await asyncio.start_server(self._connected, host, port, limit=1 << 26)
        return self

    async def close(self) -> None:
        """Stop listening and drop all connections. May be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await server.wait_closed()

    @property
    def url(self) -> str:
        """Its base URL."""
        if self._server is None:
            raise RuntimeError("the server does not run")
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}/v1"

    def stats(self) -> dict[str, float]:
        """What ``GET /stats`` says.

        Returns:
            ``now_s`` and ``busy_s``: the clock and the busy slot-seconds so far; ``slots``, ``running`` and
            ``waiting`` choices, and totals of ``requests``, ``choices``, ``tokens`` and ``aborted``.
        """
        now = time.monotonic()
        return {
            "now_s": now,
            "busy_s": self._slots.total_s(now),
            "slots": self._slots.count,
            "running": len(self._slots.since),
            "waiting": self._slots.waiting,
            "requests": len(self.requests),
            "choices": self.choices,
            "tokens": self.tokens,
            "aborted": self.aborted,
        }

    # HTTP

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await _read_request(reader)) is not None:
                if not await self._respond(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # A client that left, or the server's own end: either way this connection is over.
            self._connections.discard(task)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _respond(
        self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; returns whether the connection stays."""
        path = request.path.partition("?")[0]
        if path.startswith("/v1") and not self._authorized(request):
            return await _send(writer, 401, {"error": "Unauthorized"})
        if path == "/v1/chat/completions" and request.method == "POST":
            return await self._chat(request, reader, writer)
        if path == "/v1/models":
            cards = [
                {"id": name, "object": "model", "owned_by": "vllm", "root": f"/models/{name}", "parent": None}
                for name in self.config.models
            ]
            return await _send(writer, 200, {"object": "list", "data": cards})
        if path == "/version":
            return await _send(writer, 200, {"version": "0.32.0+fake"})
        if path == "/health":
            return await _send(writer, 200, {})
        if path == "/stats":
            return await _send(writer, 200, self.stats())
        if path == "/metrics":
            return await _send(writer, 200, self._metrics())
        return await _send(writer, 404, {"detail": "Not Found"})

    def _authorized(self, request: _Request) -> bool:
        key = self.config.api_key
        return key is None or request.headers.get("authorization") == f"Bearer {key}"

    def _metrics(self) -> str:
        stats = self.stats()
        labels = f'{{engine="0",model_name="{self.config.models[0]}"}}'
        rows = {
            "vllm:num_requests_running": stats["running"],
            "vllm:num_requests_waiting": stats["waiting"],
            "vllm:kv_cache_usage_perc": stats["running"] / stats["slots"] / 2,
            "vllm:generation_tokens_total": stats["tokens"],
        }
        return "".join(f"{name}{labels} {value:g}\n" for name, value in rows.items())

    # Chat

    async def _chat(
        self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        body = json.loads(request.body)
        self.requests.append(body)
        trouble = self.troubles.popleft() if self.troubles else Trouble.NONE
        refusal = self._refusal(body, trouble)
        if refusal is not None:
            status, message, headers = refusal
            error = {"message": message, "type": "Error", "param": None, "code": status}
            return await _send(writer, status, {"error": error}, headers)
        if trouble is Trouble.REFUSED:
            return False
        work = asyncio.create_task(self._answer_chat(body, trouble, writer))
        gone = asyncio.create_task(_left(reader, writer))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.aborted += 1
            return work.done() and await work
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    def _refusal(
        self, body: Mapping[str, Any], trouble: Trouble
    ) -> tuple[int, str, Mapping[str, str]] | None:
        if body.get("model") not in self.config.models:
            return 404, f"The model `{body.get('model')}` does not exist.", {}
        if body.get("temperature") == 0 and body.get("n", 1) > 1:
            return 400, f"n must be 1 when using greedy sampling, got {body['n']}.", {}
        if trouble is Trouble.UNAVAILABLE:
            return 503, "The engine is currently busy.", {}
        if trouble is Trouble.TOO_MANY:
            return 429, "Too many requests.", {"Retry-After": "7"}
        if trouble is Trouble.SERVER_ERROR:
            return 500, "Internal server error.", {}
        if trouble is Trouble.BAD_REQUEST:
            return 400, "This model's maximum context length is 1024 tokens.", {}
        return None

    async def _answer_chat(
        self, body: Mapping[str, Any], trouble: Trouble, writer: asyncio.StreamWriter
    ) -> bool:
        if trouble is Trouble.STALLED:
            await asyncio.Event().wait()
        count = min(int(body.get("n") or 1), self.config.most_choices)
        count = {Trouble.SHORT: 1, Trouble.EMPTY: 0}.get(trouble, count)
        seed = int(body.get("seed") or 0)
        answer = StreamedAnswer(body, writer, streamed=trouble is not Trouble.NOT_STREAMED)
        answer.begin(count)
        breaks = trouble in (Trouble.HALF, Trouble.CUT, Trouble.STALLED_MIDWAY)
        choices = [
            asyncio.create_task(self._choice(answer, body, index, seed + index, trouble))
            for index in range(min(count, 1) if breaks else count)
        ]
        try:
            if breaks:
                await asyncio.gather(*choices)
                await writer.drain()
                if trouble is Trouble.STALLED_MIDWAY:
                    await asyncio.Event().wait()
                if trouble is Trouble.CUT:
                    answer.close()
                return trouble is Trouble.CUT
            if trouble is Trouble.GARBAGE:
                answer.raw(b"data: {not json\n\n")
            if trouble is Trouble.ERROR_EVENT:
                answer.event({"error": {"message": "EngineCore died.", "code": 500}})
            await asyncio.gather(*choices)
            answer.end(usage=trouble is not Trouble.NO_USAGE)
            await writer.drain()
            return True
        finally:
            for choice in choices:
                choice.cancel()
            await asyncio.gather(*choices, return_exceptions=True)

    async def _choice(
        self,
        answer: StreamedAnswer,
        body: Mapping[str, Any],
        index: int,
        seed: int,
        trouble: Trouble,
    ) -> None:
        reply = self._answer(body["messages"], seed)
        if trouble is Trouble.NO_CONTENT:
            reply = Reply(text=None, reasoning="Let me think about it", finish_reason="length")
        if trouble is Trouble.ABORTED or (trouble is Trouble.ABORTED_ONE and index == 0):
            text = (reply.text or "")[: len(reply.text or "") // 2]
            reply = Reply(text=text, reasoning=reply.reasoning, finish_reason="abort")
        async with self._slots:
            latency_s = self._latency_s(seed)
            pieces = self.config.pieces
            for piece in range(pieces):
                if latency_s:
                    await asyncio.sleep(latency_s / pieces)
                answer.piece(index, reply, piece, pieces)
        answer.finish(index, None if trouble is Trouble.NO_FINISH else reply.finish_reason)
        self.choices += 1
        self.tokens += token_count(reply)

    def _latency_s(self, seed: int) -> float:
        if not self.config.latency_s:
            return 0.0
        rng = random.Random(f"{self.config.seed}:{seed}")
        return rng.lognormvariate(math.log(self.config.latency_s), self.config.sigma)


async def _left(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Returns when the client has gone. It polls: reading would take bytes of the next request."""
    while not (reader.at_eof() or reader.exception() or writer.is_closing()):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def _read_request(reader: asyncio.StreamReader) -> _Request | None:
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
    return _Request(method, path, headers, body)


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    payload: Mapping[str, Any] | str,
    headers: Mapping[str, str] | None = None,
) -> bool:
    is_text = isinstance(payload, str)
    body = payload.encode() if isinstance(payload, str) else json.dumps(payload).encode()
    kind = "text/plain; version=0.0.4" if is_text else "application/json"
    writer.write(response_head(status, kind, len(body), headers or {}) + body)
    await writer.drain()
    return True


async def _serve(config: FakeConfig, host: str, port: int) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = await FakeServer(config).start(host, port)
    print(server.url, flush=True)
    await stop.wait()
    await server.close()


def main(args: list[str] | None = None) -> None:
    """Run the server until it is interrupted; its first line of output is its base URL."""
    parser = argparse.ArgumentParser(prog="python -m discovery.testing.server", description=main.__doc__)
    defaults = FakeConfig()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--slots", type=int, default=defaults.slots)
    parser.add_argument(
        "--latency", type=float, default=defaults.latency_s, help="median seconds of a choice"
    )
    parser.add_argument("--sigma", type=float, default=defaults.sigma, help="spread of the time's logarithm")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--model", default=defaults.models[0])
    parser.add_argument("--api-key", default=None)
    given = parser.parse_args(args)
    config = FakeConfig(
        slots=given.slots,
        latency_s=given.latency,
        sigma=given.sigma,
        seed=given.seed,
        models=(given.model,),
        api_key=given.api_key,
    )
    asyncio.run(_serve(config, given.host, given.port))


if __name__ == "__main__":
    main()
