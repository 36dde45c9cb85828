"""The engine's HTTP: which paths there are, who waits, and what is counted.

Requests wait in line for the one thread that decodes. A client that leaves ends what is decoded for it at the next
token. Told to end, the server answers what it has taken, and takes nothing more.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from discovery import __version__
from discovery.errors import UsageError
from discovery.training.engine.answered import Answer, event
from discovery.training.engine.asked import Asked, Refused, asked, room
from discovery.training.engine.decoding import Decoder, Piece

OWNER = "discovery"
"""Who serves, by its model card."""
_LONGEST_BODY = 64 << 20


@dataclass(slots=True)
class Counted:
    """What the metrics page tells.

    Args:
        running: Choices that are decoded.
        waiting: Choices in line.
        prompt_tokens: Of all prompts so far, for each choice, as vLLM counts.
        generated: Tokens of all choices so far.
        ended: Finish reason to choices.
    """

    running: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    generated: int = 0
    ended: dict[str, int] = field(default_factory=lambda: {"stop": 0, "length": 0, "abort": 0})

    def page(self, model: str) -> str:
        """The metrics page, with vLLM's names."""
        labels = f'engine="0",model_name={json.dumps(model)}'
        rows = [
            ("num_requests_running", labels, self.running),
            ("num_requests_waiting", labels, self.waiting),
            ("prompt_tokens_total", labels, self.prompt_tokens),
            ("generation_tokens_total", labels, self.generated),
        ]
        rows += [
            ("request_success_total", f'{labels},finished_reason="{reason}"', count)
            for reason, count in self.ended.items()
        ]
        return "".join(f"vllm:{name}{{{where}}} {value}\n" for name, where, value in rows)


class Engine:
    """Serves one model.

    Args:
        decoder: The model.
        name: What requests call it.
        root: Where its weights came from.
        interval: Tokens of one event of a stream, where a request does not say.
        api_key: What requests must bring; None for nothing.
    """

    def __init__(
        self, decoder: Decoder, *, name: str, root: str, interval: int = 1, api_key: str | None = None
    ) -> None:
        self._decoder = decoder
        self._name = name
        self._root = root
        self._interval = interval
        self._api_key = api_key
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoding")
        self.counted = Counted()

    def application(self) -> web.Application:
        """What answers requests."""
        made = web.Application(client_max_size=_LONGEST_BODY, middlewares=[self._checked])
        made.add_routes(
            [
                web.get("/health", self._health),
                web.get("/version", self._version),
                web.get("/metrics", self._metrics),
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/tokenize", self._tokenize),
            ]
        )
        return made

    @web.middleware
    async def _checked(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Refusals as documents, and none but those who have the key."""
        wanted = f"Bearer {self._api_key}"
        if (
            self._api_key
            and request.path.startswith("/v1")
            and request.headers.get("Authorization") != wanted
        ):
            return web.json_response({"error": "Unauthorized"}, status=401)
        try:
            response: web.StreamResponse = await handler(request)
        except Refused as refused:
            return web.json_response(refused.payload(), status=refused.status)
        except web.HTTPNotFound:
            return web.json_response({"detail": "Not Found"}, status=404)
        return response

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": __version__})

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=self.counted.page(self._name))

    async def _models(self, request: web.Request) -> web.Response:
        card = {
            "id": self._name,
            "object": "model",
            "created": 0,
            "owned_by": OWNER,
            "root": self._root,
            "parent": None,
            "max_model_len": self._decoder.context,
        }
        return web.json_response({"object": "list", "data": [card]})

    async def _tokenize(self, request: web.Request) -> web.Response:
        """How many tokens a chat's prompt is; nothing else is counted here."""
        _, prompt = await self._prompt(request)
        return web.json_response({"count": len(prompt), "max_model_len": self._decoder.context})

    async def _prompt(self, request: web.Request) -> tuple[Asked, tuple[int, ...]]:
        try:
            body = await request.json()
        except ValueError as error:
            raise Refused(400, f"the body is not JSON: {error}") from error
        wanted = asked(body, model=self._name, interval=self._interval)
        try:
            return wanted, self._decoder.prompt(wanted.messages, wanted.template)
        except UsageError as error:
            raise Refused(400, str(error), "messages") from error

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        wanted, prompt = await self._prompt(request)
        most = room(wanted, len(prompt), self._decoder.context)
        answer = Answer(wanted, self._name, prompt)
        async with aclosing(self._decoded(wanted, prompt, most)) as pieces:
            if wanted.streamed:
                return await self._stream(request, answer, pieces)
            async for piece in pieces:
                answer.add(piece)
        return web.json_response(answer.document())

    async def _stream(
        self, request: web.Request, answer: Answer, pieces: AsyncIterator[Piece]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for data in answer.opening():
            await response.write(data)
        try:
            async for piece in pieces:
                await response.write(answer.event(piece))
        except Refused as refused:
            await response.write(event(refused.payload()))
        else:
            await response.write(answer.closing())
        await response.write_eof()
        return response

    async def _decoded(
        self, wanted: Asked, prompt: tuple[int, ...], most: int
    ) -> AsyncGenerator[Piece, None]:
        """The pieces of a request as they come from the thread that decodes.

        Raises:
            Refused: The model failed.
        """
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Piece | None] = asyncio.Queue()
        gone = threading.Event()
        counted = self.counted

        def put(piece: Piece | None) -> None:
            loop.call_soon_threadsafe(arrived.put_nowait, piece)

        def begun() -> None:
            counted.waiting -= wanted.count
            counted.running += wanted.count
            counted.prompt_tokens += len(prompt) * wanted.count

        def work() -> None:
            try:
                loop.call_soon_threadsafe(begun)
                if not gone.is_set():
                    self._decoder.decode(wanted, prompt, most, put, gone.is_set)
            finally:
                put(None)

        counted.waiting += wanted.count
        working = loop.run_in_executor(self._thread, work)
        left = wanted.count
        try:
            while (piece := await arrived.get()) is not None:
                counted.generated += len(piece.ids)
                if piece.finish_reason is not None:
                    left -= 1
                    counted.running -= 1
                    counted.ended[piece.finish_reason] += 1
                yield piece
            try:
                await working
            except (RuntimeError, ValueError) as error:  # what torch raises: memory, shapes, numbers
                raise Refused(500, f"the model failed: {type(error).__name__}: {error}") from error
        finally:
            gone.set()
            working.add_done_callback(lambda done: self._forget(left, done))

    def _forget(self, left: int, done: asyncio.Future[None]) -> None:
        """Count choices that nobody waits for any more, or that failed."""
        done.exception()  # of a failure that nobody waits for, nobody needs to hear
        self.counted.running -= left
        self.counted.ended["abort"] += left
