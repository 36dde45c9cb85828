"""A run's time series: what is measured once a second, and what is kept of it every ten.

A reading holds what is so at one moment: totals, which only grow, and levels. Readings of some seconds make a window:
rates of the totals, means of the levels, busy shares. The last window is shown while the run goes on, and one after
the other is stored; :class:`Quantity` is the table of all that they hold. What is not known is left out, never zero.

Nothing is ever decided by it, and a reading or a write that fails is left out: a run does not end because of its pulse.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from discovery.budget import Ledger
from discovery.errors import GeneratorError, StorageError, boundary
from discovery.generation.base import Generator, ServerLoad
from discovery.progress import BusyTime, Progress
from discovery.records import Measurement
from discovery.storage.base import Lease
from discovery.storage.journal import Journal

READ_EVERY_S = 1.0
STORE_EVERY_S = 10.0
SHOWN_S = 30.0
"""What is shown of a run that goes on is of so many seconds: long enough not to jump with every request."""
RECENT_S = 300.0
"""What is told apart from the whole run as its last minutes."""
_LOADS_WITHIN_S = 5.0

_log = logging.getLogger(__name__)


class Quantity(StrEnum):
    """What a point of the series holds, over the window of time before it.

    Means are over the window's readings, shares go from 0 to 1, and rates are per second of wall time. What servers
    say is summed over them, and counts all that they do, also for others.
    """

    WINDOW_S = "window_s"
    """How long the window is, in seconds."""

    EVALUATIONS = "evaluations"
    """Finished evaluations of the run by the window's end, those of earlier processes included."""
    COST = "cost"
    """Money spent by the run by the window's end, where prices are known."""

    EVALUATIONS_PER_S = "evaluations_per_s"
    """Evaluations finished."""
    COMPLETIONS_PER_S = "completions_per_s"
    """Completions that came."""
    PROMPT_TOKENS_PER_S = "prompt_tokens_per_s"
    """Prompt tokens of those, as counted for the budget."""
    COMPLETION_TOKENS_PER_S = "completion_tokens_per_s"
    """Completion tokens of those."""

    GENERATOR_BUSY = "generator_busy"
    """Busy share of the places for completions in flight."""
    GENERATION_SLOTS = "generation_slots"
    """How many places there are, mean."""
    IN_FLIGHT = "in_flight"
    """Completions in flight, mean."""
    REQUESTS_SENT = "requests_sent"
    """Requests that hold places, mean."""
    REQUESTS_WAITING = "requests_waiting"
    """Requests that wait for a place, mean."""

    EVALUATOR_BUSY = "evaluator_busy"
    """Busy share of the evaluation slots."""
    EVALUATION_SLOTS = "evaluation_slots"
    """How many there are, mean."""
    EVALUATING = "evaluating"
    """Evaluations in a slot, mean."""
    COMPLETIONS_WAITING = "completions_waiting"
    """Candidates that wait for an evaluation slot, mean."""

    BUDGET_WAITING = "budget_waiting"
    """Requests that wait until tokens in flight are counted, mean."""
    WRITES_WAITING = "writes_waiting"
    """Writes that are not on disk yet, mean."""
    OUTAGE = "outage"
    """Share of the window in which generator or sandboxes were gone."""

    SERVERS = "servers"
    """Servers that told something, mean."""
    SERVER_RUNNING = "server_running"
    """Choices being generated, mean."""
    SERVER_WAITING = "server_waiting"
    """Choices that wait at the servers, mean."""
    KV_USAGE = "kv_usage"
    """Used share of the key-value cache of the server where it is fullest, mean."""
    PREEMPTIONS_PER_S = "preemptions_per_s"
    """Choices put back because that cache was full."""
    SERVER_PROMPT_TOKENS_PER_S = "server_prompt_tokens_per_s"
    """Prompt tokens taken in, those found in the prefix cache included."""
    SERVER_COMPLETION_TOKENS_PER_S = "server_completion_tokens_per_s"
    """Tokens generated, of unfinished completions, too."""
    CACHE_QUERIES_PER_S = "cache_queries_per_s"
    """Prompt tokens looked up in the prefix cache."""
    CACHE_HIT_RATE = "cache_hit_rate"
    """Share of those that were found there; left out where none was looked up."""


_CACHE_HITS = "cache hits"
_SERVER_TOTALS: Mapping[str, Callable[[ServerLoad], float | None]] = {
    Quantity.PREEMPTIONS_PER_S: lambda load: load.preemptions,
    Quantity.SERVER_PROMPT_TOKENS_PER_S: lambda load: load.prompt_tokens,
    Quantity.SERVER_COMPLETION_TOKENS_PER_S: lambda load: load.completion_tokens,
    Quantity.CACHE_QUERIES_PER_S: lambda load: load.cache_queries,
    _CACHE_HITS: lambda load: load.cache_hits,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is so at one moment.

    Args:
        at_s: Monotonic seconds.
        totals: What only grows, by the quantity that is its rate.
        levels: What goes up and down.
        sums: What the run has by now.
        busy: Slot-seconds by the quantity that is their busy share.
    """

    at_s: float
    totals: Mapping[str, float]
    levels: Mapping[str, float]
    sums: Mapping[str, float]
    busy: Mapping[str, BusyTime]


def window(readings: Sequence[Reading]) -> dict[str, float]:
    """What readings one after the other say of the time between the first and the last.

    Args:
        readings: In the order of time.

    Returns:
        Values by :class:`Quantity`, all finite; none where no time lies between.
    """
    if len(readings) < 2 or readings[-1].at_s <= readings[0].at_s:
        return {}
    first, last = readings[0], readings[-1]
    span = last.at_s - first.at_s
    rates = {
        name: (total - first.totals[name]) / span
        for name, total in last.totals.items()
        if name in first.totals
    }
    values: dict[str, float | None] = {Quantity.WINDOW_S: span, **last.sums}
    hits, queries = rates.pop(_CACHE_HITS, None), rates.get(Quantity.CACHE_QUERIES_PER_S)
    if hits is not None and queries:
        values[Quantity.CACHE_HIT_RATE] = min(hits / queries, 1.0)
    for name, busy in last.busy.items():
        values[name] = busy.share_since(first.busy.get(name, BusyTime()))
    for name in {name for reading in readings[1:] for name in reading.levels}:
        levels = [reading.levels[name] for reading in readings[1:] if name in reading.levels]
        values[name] = sum(levels) / len(levels)
    values |= rates
    return {str(name): value for name, value in values.items() if value is not None and math.isfinite(value)}


def overall(points: Iterable[Measurement]) -> dict[str, float]:
    """Several windows as one: means by their lengths, the time between processes of a run left out.

    Args:
        points: In the order of time.

    Returns:
        Values by :class:`Quantity`; none for no points.
    """
    weights: dict[str, float] = {}
    sums: dict[str, float] = {}
    values: dict[str, float] = {}
    for point in points:
        span = point.values.get(Quantity.WINDOW_S, 0.0)
        for name, value in point.values.items():
            if name in (Quantity.EVALUATIONS, Quantity.COST):
                values[name] = value
            elif name == Quantity.WINDOW_S:
                values[name] = values.get(name, 0.0) + value
            else:
                asked = point.values.get(Quantity.CACHE_QUERIES_PER_S, 0.0)
                weight = span * asked if name == Quantity.CACHE_HIT_RATE else span
                weights[name] = weights.get(name, 0.0) + weight
                sums[name] = sums.get(name, 0.0) + weight * value
    return values | {name: sums[name] / weight for name, weight in weights.items() if weight > 0}


def recent(points: Sequence[Measurement], seconds: float = RECENT_S) -> Sequence[Measurement]:
    """The points of the last so many seconds before the last one."""
    return [p for p in points if (points[-1].at - p.at).total_seconds() < seconds]


class Pulse:
    """Takes the pulse of one process's run.

    Args:
        progress: The run's tally; given the last window to show.
        generator: Knows how its servers are.
        ledger: Knows what waits for the budget, and what was spent.
        journal: Stores the series.
        lease: Of the run as a whole.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        progress: Progress,
        generator: Generator,
        ledger: Ledger,
        journal: Journal,
        lease: Lease,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        progress.currency = ledger.prices.currency
        self._progress = progress
        self._generator = generator
        self._ledger = ledger
        self._journal = journal
        self._lease = lease
        self._clock = clock
        self._sleep = sleep
        self._servers = _Servers()
        self._shown: deque[Reading] = deque(maxlen=int(SHOWN_S / READ_EVERY_S) + 1)
        self._unstored: list[Reading] = []
        self._storing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def beating(self) -> AsyncIterator[None]:
        """Read and store while the body runs, and at its end what is left."""
        beats = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beats.cancel()
            beaten = await asyncio.gather(beats, return_exceptions=True)
            ended = await asyncio.gather(self._end(), return_exceptions=True)
            for error in (*beaten, *ended):
                if isinstance(error, Exception):
                    _log.warning("the pulse of run %s is not whole: %r", self._lease.run, error)

    async def _end(self) -> None:
        self._take(())
        if self._storing is not None:
            await self._storing
        await self._store(self._unstored)

    async def _beat(self) -> None:
        while True:
            self._take(await self._loads())
            unstored = self._unstored
            if unstored[-1].at_s - unstored[0].at_s >= STORE_EVERY_S and self._storing is None:
                # Beside the beat: a disk that is slow is to be seen, not to stop the clock.
                self._storing = asyncio.create_task(self._store(unstored))
                self._storing.add_done_callback(self._stored)
                self._unstored = unstored[-1:]
            await self._sleep(READ_EVERY_S)

    async def _loads(self) -> tuple[ServerLoad, ...]:
        with suppress(GeneratorError, TimeoutError), boundary("reading the servers' load", GeneratorError):
            async with asyncio.timeout(_LOADS_WITHIN_S):
                return await self._generator.loads()
        return ()

    def _take(self, loads: Sequence[ServerLoad]) -> None:
        reading = self.read(loads)
        self._unstored.append(reading)
        self._shown.append(reading)
        before, now = self._progress.window, window(list(self._shown))
        rate = before.get(Quantity.CACHE_HIT_RATE)
        # Where nothing was asked for a while, the last rate is the best that is known.
        self._progress.window = {Quantity.CACHE_HIT_RATE.value: rate, **now} if rate is not None else now

    def read(self, loads: Sequence[ServerLoad]) -> Reading:
        """What is so now.

        Args:
            loads: What the servers say.
        """
        progress, ledger = self._progress, self._ledger
        totals: dict[str, float] = {
            Quantity.EVALUATIONS_PER_S: progress.evaluations,
            Quantity.COMPLETIONS_PER_S: progress.completions,
            Quantity.PROMPT_TOKENS_PER_S: progress.prompt_tokens,
            Quantity.COMPLETION_TOKENS_PER_S: progress.completion_tokens,
        }
        levels: dict[str, float] = {
            Quantity.BUDGET_WAITING: ledger.waiting,
            Quantity.WRITES_WAITING: self._journal.waiting,
            Quantity.OUTAGE: float(progress.notice is not None),
        }
        sums: dict[str, float] = {Quantity.EVALUATIONS: progress.evaluations}
        if (cost := ledger.cost) is not None:
            sums[Quantity.COST] = cost
        busy: dict[str, BusyTime] = {}
        if (gate := progress.generation) is not None:
            busy[Quantity.GENERATOR_BUSY] = gate.busy_time
            levels |= {
                Quantity.GENERATION_SLOTS: gate.slots,
                Quantity.IN_FLIGHT: gate.busy,
                Quantity.REQUESTS_SENT: gate.users,
                Quantity.REQUESTS_WAITING: gate.waiting,
            }
        if (pool := progress.evaluation) is not None:
            busy[Quantity.EVALUATOR_BUSY] = pool.busy_time
            levels |= {
                Quantity.EVALUATION_SLOTS: pool.slots,
                Quantity.EVALUATING: pool.busy,
                Quantity.COMPLETIONS_WAITING: pool.waiting,
            }
        self._servers.see(loads)
        return Reading(
            at_s=self._clock(),
            totals=totals | self._servers.totals,
            levels=levels | _levels(loads),
            sums=sums,
            busy=busy,
        )

    async def _store(self, readings: Sequence[Reading]) -> None:
        if values := window(readings):
            with suppress(StorageError):
                await self._journal.append(self._lease, Measurement(at=datetime.now(UTC), values=values))

    def _stored(self, _: asyncio.Task[None]) -> None:
        self._storing = None


class _Servers:
    """Adds up what servers count, each from when it was first seen, and over their restarts."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}
        self._last: dict[tuple[str, str], float] = {}

    def see(self, loads: Iterable[ServerLoad]) -> None:
        for load in loads:
            for name, get in _SERVER_TOTALS.items():
                if (total := get(load)) is None:
                    continue
                before = self._last.get((load.server, name), total)
                more = total - before if total >= before else total  # less: it has started anew, from zero
                self.totals[name] = self.totals.get(name, 0.0) + more
                self._last[load.server, name] = total


def _levels(loads: Sequence[ServerLoad]) -> dict[str, float]:
    levels: dict[str, float] = {}
    if loads:
        levels[Quantity.SERVERS] = len(loads)
    if running := [load.running for load in loads if load.running is not None]:
        levels[Quantity.SERVER_RUNNING] = sum(running)
    if waiting := [load.waiting for load in loads if load.waiting is not None]:
        levels[Quantity.SERVER_WAITING] = sum(waiting)
    if usage := [load.kv_usage for load in loads if load.kv_usage is not None]:
        levels[Quantity.KV_USAGE] = max(usage)
    return levels
