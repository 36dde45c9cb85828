"""Several servers of one model: which of them live, which is the least loaded, and who comes back.

All serve the same model name; the first answers decide which, and a server that serves something else is no part of
the fleet. One that fails is left out, with a notice in the log, and is asked again and again, with growing pauses,
whether it is back. Then what it serves is learned anew, since a server that was gone may have come back with other
weights: the identity that is stored with completions is that of the server's present life. One that comes back with
another model stays out, with a notice.

A restart that nobody noticed, between two requests, shows in the metrics: totals that have fallen, or a page that
failed to come. Then, too, the identity is learned anew.

Least loaded is the server with the fewest choices in flight: ours there, and those of others as its metrics tell.
How many it can run at once shows when choices wait there in two readings in a row. From then on it has room only
below that many, and servers without room come last, the most crowded after all others, so that of unequal servers each
gets what it can do. A server that runs as many without a queue is taken to be able to do more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from discovery.errors import GeneratorError, GeneratorRefused, GeneratorUnavailable
from discovery.generation.base import ServerLoad
from discovery.generation.load import parse_load
from discovery.generation.served import Patience, ServedModel
from discovery.records import ModelIdentity

_LONGEST_PAUSE_S = 30.0
_READ_EVERY_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Member:
    """A server of the fleet.

    Args:
        served: The model there.
    """

    served: ServedModel
    in_flight: int = 0
    """Our choices that it has not sent yet."""
    overloads: int = 0
    """Requests that it refused because it had too much to do."""
    gone: str | None = None
    """Why it is left out; None while it lives."""
    refuses: bool = False
    """Whether it is left out for what it serves, not for being away."""
    outages: int = 0
    """How often in a row it was left out without a completion in between."""
    load: ServerLoad | None = None
    others: float = 0.0
    """Choices of others there at the last reading."""
    capacity: float | None = None
    """Choices that it can run at once; None while nothing has ever waited there."""
    is_doubtful: bool = False
    """Whether the last reading failed, so that it may have been restarted."""
    asking: asyncio.Task[None] | None = None
    returning: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Its URL, without credentials."""
        return self.served.url

    @property
    def crowding(self) -> tuple[float, float]:
        """How crowded it is, for comparison: past what it can run, as a share of that; then choices there."""
        there = self.in_flight + self.others
        return (0.0 if self.capacity is None else max(1.0, (there + 1) / self.capacity) - 1.0), there

    def read(self, load: ServerLoad | None) -> None:
        """Note what it says of itself."""
        before, self.load = self.load, load
        running, waiting = (load.running or 0.0, load.waiting or 0.0) if load else (0.0, 0.0)
        self.others = max(0.0, running + waiting - self.in_flight)
        if waiting >= 1.0:
            if before is None or (before.waiting or 0.0) >= 1.0:
                self.capacity = max(1.0, running)
        elif self.capacity is not None and running >= self.capacity:
            self.capacity = 1.25 * running + 1.0

    @contextmanager
    def busy(self, count: int) -> Iterator[Callable[[], None]]:
        """Count so many choices in flight; what it yields is called for each that has come."""
        left = count

        def came() -> None:
            nonlocal left
            left -= 1
            self.in_flight -= 1
            self.outages = 0

        self.in_flight += count
        try:
            yield came
        finally:
            self.in_flight -= left


class Fleet:
    """The servers of one run. See the module docstring.

    Args:
        servers: At least one; ties go to the earlier one.
        patience: How long to bear with them.
        sleep: For the pauses between the questions whether one is back.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        servers: Sequence[ServedModel],
        patience: Patience,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.members = tuple(Member(served) for served in servers)
        self._patience = patience
        self._sleep = sleep
        self._clock = clock
        self._model: str | None = None
        self._reading: asyncio.Task[tuple[ServerLoad, ...]] | None = None
        self._read_at = 0.0
        self._is_closed = False

    async def start(self) -> ModelIdentity:
        """Learn what all of them serve. Those that do not answer are left out for now.

        Returns:
            What the first that answers is.

        Raises:
            GeneratorUnavailable: None answers.
            GeneratorRefused: One refuses, or they serve different models; says who serves what.
        """
        self._is_closed = False
        found = await asyncio.gather(*(self._learned(member) for member in self.members))
        identities = [each for each in found if isinstance(each, ModelIdentity)]
        errors = [each for each in found if isinstance(each, GeneratorError)]
        refusals = [error for error in errors if isinstance(error, GeneratorRefused)]
        if refusals and len(found) == 1:
            raise refusals[0]
        if refusals or len({identity.model for identity in identities}) > 1:
            said = "; ".join(_said(member, each) for member, each in zip(self.members, found, strict=True))
            raise GeneratorRefused(
                f"the servers of a run must all serve the same model, named with --model or their only one: {said}"
            )
        if not identities:
            for member, error in zip(self.members, errors, strict=True):
                member.gone = str(error)
            raise GeneratorUnavailable("; ".join(str(error) for error in errors))
        for member, each in zip(self.members, found, strict=True):
            if isinstance(each, GeneratorError):
                self._absent(member, each)
            else:
                self._returned(member)
        self._model = identities[0].model
        return identities[0]

    async def ready(self) -> bool:
        """Whether one of them lives; a refusal of all counts, for the next request to report it. Never raises."""
        if not any(member.gone is None for member in self.members):
            await self._ask_the_absent(self.members)
        return any(member.gone is None for member in self.members) or self._all_refuse

    async def least_loaded(self, failed: Mapping[Member, int]) -> Member | None:
        """The server for the next request, None where none is left.

        Where none lives, those that are left out are asked at once whether they are back.

        Args:
            failed: How often each failed the asker in a row; one that used up its attempts is not chosen, and one that
                failed less often comes first.
        """
        open_to = [m for m in self.members if failed.get(m, 0) < self._patience.attempts]
        if not any(member.gone is None for member in open_to):
            await self._ask_the_absent(open_to)
        return min(
            (member for member in open_to if member.gone is None),
            key=lambda member: (failed.get(member, 0), member.crowding),
            default=None,
        )

    def has_other(self, member: Member) -> bool:
        """Whether another server lives."""
        return any(other.gone is None for other in self.members if other is not member)

    def has_roomier(self, member: Member) -> bool:
        """Whether another server has a longer context, as far as both say; it may be gone for now."""
        own = member.served.capabilities.context_tokens
        others = (m.served.capabilities.context_tokens for m in self.members if m is not member)
        return own is not None and any(other is not None and other > own for other in others)

    async def still_serves(self, member: Member) -> bool:
        """Whether a server that refused a request still serves our model; if not, it is left out."""
        await asyncio.shield(self._asked(member))
        return member.gone is None

    async def look_again(self, member: Member) -> None:
        """Learn anew, if it answers, what a server serves that failed a request: it may have been restarted."""
        if isinstance(await self._learned(member), ModelIdentity):
            member.is_doubtful = False

    def leave_out(self, member: Member, why: object, pause_s: float | None = None) -> None:
        """Use a server no more until it is back.

        Args:
            member: The server; nothing happens where it is left out already.
            why: In one line.
            pause_s: How long it wants to be left alone, if it says, in seconds.
        """
        if member.gone is None:
            member.gone = str(why)
            member.outages += 1
            pause_s = max(pause_s or 0.0, self._patience.pause_s * 2.0 ** min(member.outages - 1, 10))
            if len(self.members) > 1:
                _log.warning("%s is left out: %s", member.url, member.gone.removeprefix(f"{member.url}: "))
            self._await_return(member, min(_LONGEST_PAUSE_S, pause_s))

    def all_gone(self, last: GeneratorError | None) -> GeneratorError:
        """What to say where no server is left.

        Args:
            last: What failed last, if anything did.

        Returns:
            ``last`` where it says the right thing. Only a refusal of all servers is one.
        """
        kind = GeneratorRefused if self._all_refuse else GeneratorUnavailable
        if isinstance(last, kind):
            return last
        return kind("; ".join(member.gone or str(last) for member in self.members))

    async def loads(self) -> tuple[ServerLoad, ...]:
        """What the servers that live say of themselves, read at most once a second. Never raises."""
        if self._is_closed:
            return ()
        now, reading = self._clock(), self._reading
        if reading is None or (reading.done() and now - self._read_at >= _READ_EVERY_S):
            self._read_at = now
            self._reading = reading = asyncio.create_task(self._read())
        return await asyncio.shield(reading)

    async def close(self) -> None:
        """Ask no more, and close all connections. May be called twice."""
        self._is_closed = True
        tasks = [task for member in self.members for task in (member.asking, member.returning)]
        running = [task for task in (*tasks, self._reading) if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._reading = None
        for member in self.members:
            member.asking = member.returning = None
            await member.served.close()

    # Who lives

    @property
    def _all_refuse(self) -> bool:
        return all(member.refuses for member in self.members)

    async def _learned(self, member: Member) -> ModelIdentity | GeneratorError:
        try:
            return await member.served.learn(self._model)
        except GeneratorError as error:
            return error

    async def _ask_the_absent(self, members: Sequence[Member]) -> None:
        absent = [self._asked(member) for member in members if member.gone is not None]
        if absent:
            await asyncio.wait(absent)

    def _asked(self, member: Member) -> asyncio.Task[None]:
        """One question at a time to each server, however many want to know."""
        if member.asking is None or member.asking.done():
            member.asking = asyncio.create_task(self._ask(member))
        return member.asking

    async def _ask(self, member: Member) -> None:
        found = await self._learned(member)
        if isinstance(found, ModelIdentity):
            self._returned(member)
        else:
            self._absent(member, found)

    def _returned(self, member: Member) -> None:
        if member.gone is not None and len(self.members) > 1:
            _log.warning("%s is back", member.url)
        member.gone, member.refuses, member.is_doubtful = None, False, False
        member.load, member.capacity = None, None
        if member.returning is not None:
            member.returning.cancel()

    def _absent(self, member: Member, error: GeneratorError) -> None:
        refuses = isinstance(error, GeneratorRefused)
        if member.gone is not None and refuses and not member.refuses:
            _log.warning("%s is not used: %s", member.url, error)
        self.leave_out(member, error)
        member.gone, member.refuses = str(error), refuses

    def _await_return(self, member: Member, pause_s: float) -> None:
        if not self._is_closed:
            member.returning = asyncio.create_task(self._return(member, pause_s))

    async def _return(self, member: Member, pause_s: float) -> None:
        while member.gone is not None:
            await self._sleep(pause_s)
            await asyncio.shield(self._asked(member))
            pause_s = min(_LONGEST_PAUSE_S, 2 * pause_s)

    # Loads

    async def _read(self) -> tuple[ServerLoad, ...]:
        loads = await asyncio.gather(*(self._read_one(m) for m in self.members if m.gone is None))
        return tuple(load for load in loads if load is not None)

    async def _read_one(self, member: Member) -> ServerLoad | None:
        page = await member.served.endpoint.metrics()
        load = None if page is None else parse_load(member.url, page)
        before = member.load
        member.read(load)
        if load is None:
            member.is_doubtful = member.is_doubtful or before is not None
        elif member.is_doubtful or (before is not None and _restarted(before, load)):
            member.is_doubtful = False
            self._asked(member)
        if member.overloads:
            load = replace(load or ServerLoad(server=member.url), overloads=member.overloads)
        return load


def _restarted(before: ServerLoad, now: ServerLoad) -> bool:
    """Whether a total has fallen."""
    pairs = ((before.completion_tokens, now.completion_tokens), (before.prompt_tokens, now.prompt_tokens))
    return any(a is not None and b is not None and b < a for a, b in pairs)


def _said(member: Member, found: ModelIdentity | GeneratorError) -> str:
    return f"{member.url} serves {found.model!r}" if isinstance(found, ModelIdentity) else str(found)
