"""A fake model server, for tests and benchmarks: the OpenAI API as vLLM 0.32 speaks it, without a model.

Standard library only. It runs inside a test's event loop (:class:`FakeServer`) or on its own::

    python -m discovery.testing.server --slots 16 --latency 2 --sigma 0.5

Each choice takes one of N slots for a lognormal time, drawn from the server's seed and the choice's, so that
equal requests take equally long. ``GET /stats`` tells the busy slot-seconds so far: two readings give the
utilisation of the time between. It answers ``/v1/models``, ``/version``, ``/health``, ``/metrics``, ``/tokenize`` and
``/detokenize`` too, loads and unloads adapters, refuses what vLLM refuses and ignores what vLLM does not know.

``/v1/completions`` says what the chat would say from there: the answer alone where a prompt ends with its opening.

A :class:`~discovery.testing.replies.Trouble` makes it misbehave, one per request of either kind in the order given.
What a real server sends was looked up in vLLM 0.32 and seen from one with a tiny gpt-oss; this one copies the shapes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections import deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from discovery.testing.counters import Counters, Slots
from discovery.testing.models import FakeConfig, cards, load, unload
from discovery.testing.refusing import Refused, refused, troubled
from discovery.testing.replies import Answerer, Reply, Trouble, Written, disturbed, perturbed, written
from discovery.testing.streaming import StreamedAnswer
from discovery.testing.vocabulary import Vocabulary
from discovery.testing.wire import Request, left, read_request, send

BREAKS = (Trouble.HALF, Trouble.CUT, Trouble.STALLED_MIDWAY, Trouble.LATE_REFUSAL)
__all__ = ["Answerer", "FakeConfig", "FakeServer", "Reply", "Trouble", "main", "perturbed"]


class FakeServer:
    """The server, for ``async with``.

    Args:
        config: How it behaves.
        answer: What choices say.
        troubles: How it misbehaves, one for each request; properly when they are used up.
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
        self.plain_requests: list[dict[str, Any]] = []
        """Bodies of the requests for plain completions, in order."""
        self.adapters: dict[str, str] = {}
        """Loaded adapters: name to path."""
        self.counters = Counters()
        """What the metrics page tells."""
        self.aborted = 0
        """Requests whose client went away before their end."""
        self.tokens = 0
        """Completion tokens sent."""
        self.choices = 0
        """Choices sent in full."""
        self._answer = answer
        self._slots = Slots(self.config.slots)
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
            while (request := await read_request(reader)) is not None:
                if not await self._respond(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # A client that left, or the server's own end: either way this connection is over.
            self._connections.discard(task)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _respond(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; returns whether the connection stays."""
        path = request.path.partition("?")[0]
        if path.startswith("/v1") and not self._authorized(request):
            return await send(writer, 401, {"error": "Unauthorized"})
        if request.method == "POST":
            return await self._posted(path, request, reader, writer)
        if path == "/v1/models":
            return await send(writer, 200, {"object": "list", "data": cards(self.config, self.adapters)})
        if path == "/health":
            return await send(writer, 200, {})
        if path == "/stats":
            return await send(writer, 200, self.stats())
        if path == "/version" and self.config.is_vllm:
            return await send(writer, 200, {"version": "0.32.0+fake"})
        if path == "/metrics" and self.config.is_vllm:
            stats = self.stats()
            running, waiting = stats["running"], stats["waiting"]
            usage = running / stats["slots"] / 2
            return await send(writer, 200, self.counters.page(self.config.models[0], running, waiting, usage))
        return await send(writer, 404, {"detail": "Not Found"})

    async def _posted(
        self, path: str, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        body = json.loads(request.body)
        if path == "/v1/chat/completions":
            self.requests.append(body)
            return await self._generate(body, reader, writer)
        if path == "/v1/completions" and self.config.is_vllm:
            self.plain_requests.append(body)
            return await self._generate(body, reader, writer)
        if path == "/tokenize" and self.config.is_vllm:
            ids = self._vocabulary.encode(body.get("prompt") or self._vocabulary.prompt(body["messages"]))
            answer = {"count": len(ids), "max_model_len": self.config.context, "tokens": ids}
            return await send(writer, 200, answer)
        if path == "/detokenize" and self.config.is_vllm:
            return await send(writer, 200, {"prompt": self._vocabulary.decode(body["tokens"])})
        if path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter") and self.config.adapters:
            loads = path == "/v1/load_lora_adapter"
            said = load(self.config, self.adapters, body) if loads else unload(self.adapters, body)
            if isinstance(said, Refused):
                return await send(writer, said.status, said.payload())
            return await send(writer, 200, said)
        return await send(writer, 404, {"detail": "Not Found"})

    @property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.config.style)

    def _authorized(self, request: Request) -> bool:
        key = self.config.api_key
        return key is None or request.headers.get("authorization") == f"Bearer {key}"

    # Generation

    async def _generate(
        self, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        trouble = self.troubles.popleft() if self.troubles else Trouble.NONE
        prompt = self._prompt(body)
        refusal = self._refusal(body, trouble, len(prompt))
        if refusal is not None and not refusal.in_stream:
            return await send(writer, refusal.status, refusal.payload(), refusal.headers)
        if trouble is Trouble.REFUSED:
            return False
        if refusal is not None:
            answer = StreamedAnswer(body, writer, self._vocabulary, prompt, streamed=True)
            answer.begin(0)
            answer.event(refusal.payload())
            answer.end(usage=False)
            return True
        work = asyncio.create_task(self._answer_all(body, prompt, trouble, writer))
        gone = asyncio.create_task(left(reader, writer))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self.aborted += 1
            return work.done() and await work
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    def _prompt(self, body: Mapping[str, Any]) -> tuple[int, ...]:
        if "messages" in body:
            return self._vocabulary.encode(self._vocabulary.prompt(body["messages"]))
        given = body["prompt"]
        return self._vocabulary.encode(given) if isinstance(given, str) else tuple(given)

    def _refusal(self, body: Mapping[str, Any], trouble: Trouble, prompt: int) -> Refused | None:
        at_work = len(self._slots.since) + self._slots.waiting
        if at_work + int(body.get("n") or 1) > self.config.most_queued:
            return troubled(Trouble.UNAVAILABLE)
        found = refused(
            body,
            models=[*self.config.models, *self.adapters],
            prompt=prompt,
            context=self.config.context,
            style=self.config.style,
            unwanted=self.config.unwanted,
        )
        return found or troubled(trouble)

    async def _answer_all(
        self,
        body: Mapping[str, Any],
        prompt: tuple[int, ...],
        trouble: Trouble,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if trouble is Trouble.STALLED:
            await asyncio.Event().wait()
        count = min(int(body.get("n") or 1), self.config.most_choices)
        count = {Trouble.SHORT: 1, Trouble.EMPTY: 0}.get(trouble, count)
        seed = int(body.get("seed") or 0)
        ignored = (*self.config.ignored, *(() if self.config.is_vllm else ("return_token_ids",)))
        streamed = trouble is not Trouble.NOT_STREAMED
        answer = StreamedAnswer(body, writer, self._vocabulary, prompt, streamed=streamed, ignores=ignored)
        answer.begin(count)
        breaks = trouble in BREAKS
        choices = [
            asyncio.create_task(self._choice(answer, body, prompt, (index, seed + index), trouble))
            for index in range(min(count, 1) if breaks else count)
        ]
        try:
            if breaks:
                await asyncio.gather(*choices)
                await writer.drain()
                if trouble is Trouble.STALLED_MIDWAY:
                    await asyncio.Event().wait()
                if trouble is Trouble.LATE_REFUSAL:
                    answer.event(Refused(status=400, message="logprobs: not supported").payload())
                if trouble is not Trouble.HALF:
                    answer.close()
                return trouble is not Trouble.HALF
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
        prompt: tuple[int, ...],
        which: tuple[int, int],
        trouble: Trouble,
    ) -> None:
        index, seed = which
        self.counters.prompted(prompt)
        choice = self._written(body, prompt, seed, trouble, is_first=index == 0)
        parts = choice.parts(self.config.pieces, self.config.stream_interval, body)
        async with self._slots:
            latency_s = self.config.time_of(seed)
            for number, part in enumerate(parts, start=1):
                if latency_s:
                    await asyncio.sleep(latency_s / len(parts))
                answer.piece(index, part, choice, is_last=number == len(parts))
        self.choices += 1
        self.tokens += len(choice.tokens)
        self.counters.generated += len(choice.tokens)
        self.counters.successes[choice.finish_reason or "stop"] += 1

    def _written(
        self, body: Mapping[str, Any], prompt: tuple[int, ...], seed: int, trouble: Trouble, *, is_first: bool
    ) -> Written:
        """What a choice says, in tokens."""
        if "messages" in body:
            messages, is_opened = body["messages"], False
        else:
            messages, is_opened = self._vocabulary.messages(self._vocabulary.decode(prompt))
        reply = disturbed(self._answer(messages, seed), trouble, is_first=is_first)
        choice = written(
            reply,
            self._vocabulary,
            body,
            room=self.config.context - len(prompt),
            is_opened=is_opened,
            pad=self.config.tokens,
        )
        if trouble is Trouble.NO_FINISH:
            return Written(tokens=choice.tokens, finish_reason=None)
        return choice


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
        "--latency",
        dest="latency_s",
        type=float,
        default=defaults.latency_s,
        help="median seconds of a choice",
    )
    parser.add_argument("--sigma", type=float, default=defaults.sigma, help="spread of the time's logarithm")
    parser.add_argument(
        "--straggling", type=float, default=defaults.straggling, help="share of choices that take longer"
    )
    parser.add_argument("--straggle", type=float, default=defaults.straggle, help="so many times longer")
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--tokens", type=int, default=0, help="fill every answer up to so many tokens")
    parser.add_argument(
        "--stream-interval", type=int, default=None, help="tokens of one event; 4 events if not given"
    )
    parser.add_argument("--context", type=int, default=defaults.context, help="max_model_len")
    parser.add_argument("--style", choices=("harmony", "think"), default=defaults.style)
    parser.add_argument("--model", default=defaults.models[0])
    parser.add_argument("--api-key", default=None)
    given = vars(parser.parse_args(args))
    host, port, model = (given.pop(name) for name in ("host", "port", "model"))
    asyncio.run(_serve(FakeConfig(models=(model,), **given), host, port))


if __name__ == "__main__":
    main()
