"""Weights served by a server of the loop's own: started for a measurement, and gone before a training needs the device.

A checkpoint is served from its own folder, so that completions name that folder; an adapter beside the base, from a
copy whose name is made of its content. No other process finds this server, or gives it other weights: it is not one of
``discovery serve``. Its log lies in the loop's folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from discovery.errors import ServerFailed
from discovery.generation.server import Care, ModelServer
from discovery.generation.vllm import LOOPBACK, RANKS, AdapterRoom, Build, ServeOptions
from discovery.generation.weights import Kind, read_weights
from discovery.loop.plan import LoopPlan
from discovery.loop.ports import Place

_LOOK_S = 0.5


class OwnServer:
    """Serves a loop's weights.

    Args:
        build: The program that serves.
        plan: The loop's.
        home: Folder of its log, and of copies of adapters.
        say: Told in one line what it does; from other threads, too.
        care: How it is looked after.
    """

    def __init__(
        self,
        build: Build,
        plan: LoopPlan,
        home: Path,
        *,
        say: Callable[[str], None] = lambda line: None,
        care: Care | None = None,
    ) -> None:
        self._build = build
        self._plan = plan
        self._home = home
        self._say = say
        self._care = care

    @asynccontextmanager
    async def serving(self, weights: Path) -> AsyncIterator[Place]:
        """Start a server of these weights, and end it with the body.

        Raises:
            WeightsError: They are not whole.
            ServerFailed: It does not start; or, in the body, it is given up after it died too often.
        """
        found = read_weights(weights)
        is_adapter = found.kind is Kind.ADAPTER
        options = ServeOptions(
            model=self._plan.model if is_adapter else str(weights),
            name=self._plan.name,
            port=_any_port(),
            adapters=AdapterRoom(rank=next((r for r in RANKS if r >= found.rank), RANKS[-1]))
            if is_adapter
            else None,
            extra=self._plan.serve,
        )
        server = ModelServer(self._build, options, self._home, say=self._say, care=self._care)
        try:
            self._say(f"starting a server of {weights} (log: {server.log})")
            serving = await asyncio.to_thread(server.start)
            place = Place(url=serving.url, model=serving.name, revision=serving.root)
            if is_adapter:
                published = await asyncio.to_thread(server.publish, weights)
                place = Place(url=published.url, model=published.model, revision=published.revision)
            async with _while_it_lives(server):
                yield place
            self._say("stopping the server")
        finally:
            # Also where this task is cancelled: the device must be free, and nothing left, before anybody goes on.
            await asyncio.shield(asyncio.to_thread(server.stop))


@asynccontextmanager
async def _while_it_lives(server: ModelServer) -> AsyncIterator[None]:
    """Break the body off when the server is given up: whoever waits for it would wait for ever."""
    task = asyncio.current_task()
    assert task is not None
    broken = False

    async def look() -> None:
        nonlocal broken
        while True:
            await asyncio.sleep(_LOOK_S)
            if server.failure is not None:
                broken = True
                task.cancel()
                return

    looking = asyncio.create_task(look())
    try:
        yield
    except asyncio.CancelledError:
        if broken and not task.uncancel():
            raise ServerFailed(str(server.failure)) from server.failure
        raise
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
