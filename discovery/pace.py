"""What makes chains wait: a limit on completions in flight, and a generator or sandboxes that are gone."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from discovery.errors import DiscoveryError, GeneratorError, boundary
from discovery.generation.base import Generator, ServerLoad
from discovery.pressure import Pressure
from discovery.progress import BusyMeter

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_READING_S = 1.0

_log = logging.getLogger(__name__)


class Places:
    """The places that one request holds in the gate; each is left when its completion is there."""

    def __init__(self, gate: GenerationGate, count: int) -> None:
        self._gate = gate
        self._held = count

    def leave(self, count: int = 1) -> None:
        """Give places back."""
        count = min(count, self._held)
        self._held -= count
        self._gate._leave(count)

    def leave_all(self) -> None:
        """Give all that are left back."""
        self.leave(self._held)


class GenerationGate:
    """Lets requests through while fewer than so many completions are in flight, first come first served.

    A request of K completions is let through whole as soon as one place is free, so up to K - 1 more than
    ``limit`` can be in flight: waiting for K free places at once would leave places idle, and a request is never
    cut in two, because the siblings of one request share the work on their prompt.

    Args:
        limit: Completions in flight.
    """

    def __init__(self, limit: int) -> None:
        self.meter = BusyMeter(limit)
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @property
    def limit(self) -> int:
        """Completions in flight, at least 1. A smaller one lets those end that are in flight."""
        return self.meter.slots

    @limit.setter
    def limit(self, limit: int) -> None:
        self.meter.slots = max(1, limit)
        self._wake()

    @asynccontextmanager
    async def request(self, count: int) -> AsyncIterator[Places]:
        """Hold places for one request of ``count`` completions."""
        await self._enter(count)
        places = Places(self, count)
        self.meter.users += 1
        try:
            yield places
        finally:
            self.meter.users -= 1
            places.leave_all()

    async def _enter(self, count: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, count))
        self._wake()
        try:
            with self.meter.queueing():
                await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._leave(count)
            raise

    def _leave(self, count: int) -> None:
        if count:
            self.meter.change(-count)
            self._wake()

    def _wake(self) -> None:
        while self._waiting and self.meter.busy < self.meter.slots:
            turn, count = self._waiting.popleft()
            if not turn.done():
                self.meter.change(count)
                turn.set_result(None)


@asynccontextmanager
async def following(
    gate: GenerationGate, generator: Generator, pressure: Pressure | None
) -> AsyncIterator[None]:
    """Let the gate follow the servers while the body runs, which no error in here can reach.

    Args:
        gate: The gate.
        generator: Tells its servers' loads.
        pressure: What to begin with; None leaves the gate as it is.
    """
    task = asyncio.create_task(follow(gate, generator, pressure)) if pressure else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def follow(
    gate: GenerationGate,
    generator: Generator,
    pressure: Pressure,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Set the gate's limit to what the servers' loads say, once a second, until this is cancelled.

    Args:
        gate: The gate.
        generator: Tells its servers' loads. An error of it is logged, and counts as silence.
        pressure: What to begin with.
        sleep: Waits so many seconds.
    """
    while True:
        loads: tuple[ServerLoad, ...] = ()
        try:
            with boundary("reading the servers' loads", GeneratorError):
                loads = await generator.loads()
        except DiscoveryError as error:
            _log.warning("%s", error)
        pressure = pressure.after(loads, gate.meter.busy)
        gate.limit = pressure.limit
        await sleep(_READING_S)


class Outage:
    """Where all who need something wait while it is gone; one asks for them whether it is back.

    Args:
        ready: Whether it would work now. An error of it is told to all who wait.
        notify: Told once with the reason when it begins, and with None when it is over.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        ready: Callable[[], Awaitable[bool]],
        notify: Callable[[str | None], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.is_vain: Callable[[], bool] = lambda: False
        """Whether there is no use in waiting any longer, since the budget is spent: asked whenever it is not back."""
        self._ready = ready
        self._notify = notify
        self._sleep = sleep
        self._jitter = random.Random(0)
        self._over: asyncio.Task[bool] | None = None

    async def wait(self, error: DiscoveryError, tries: int = 1) -> bool:
        """Return when it works again, at the earliest after a pause, or when waiting is vain.

        Args:
            error: What it failed with.
            tries: How often in a row; the pause doubles with each.

        Returns:
            Whether it works again.
        """
        if self._over is None:
            pause = min(_FIRST_PAUSE_S * 2.0 ** max(0, tries - 1), _LONGEST_PAUSE_S)
            self._over = asyncio.create_task(self._watch(error, pause))
        return await asyncio.shield(self._over)

    async def close(self) -> None:
        """Stop asking. May be called twice."""
        if self._over is not None:
            self._over.cancel()
            await asyncio.gather(self._over, return_exceptions=True)

    async def _watch(self, error: DiscoveryError, pause: float) -> bool:
        try:
            await self._notify(str(error))
            while True:
                await self._sleep(pause * (1 + 0.2 * self._jitter.random()))
                is_back = await self._ready()
                if is_back or self.is_vain():
                    break
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            await self._notify(None)
            return is_back
        finally:
            self._over = None
