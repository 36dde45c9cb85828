"""A run's loop as events in time: planned, through the gate, generated, evaluated, committed.

The rules are those of :mod:`discovery.chain`, :mod:`discovery.step`, :mod:`discovery.pace` and
:mod:`discovery.slots`, with nothing behind them:

- Of a chain up to ``overlap`` + 1 steps are open; they are committed in their order, and a step is planned when the
  one before the open ones is committed.
- A request goes through the gate whole as soon as one place is free; each completion leaves its place when it is
  stored. Where the limit is not given, :class:`~discovery.pressure.Pressure` itself moves it, once a second.
- The servers run so many choices at once, each slower the more there are; the others wait there.
- A completion is evaluated as it arrives, in a slot; what would be the run's best is scored again in one.
- Each member of a mixture has servers of its own; a step's completions are dealt among them by their shares.
- An adviser has slots of its own, and the servers of the generator or some of its own. A step waits for the answer to
  its own question, and for reflections up to their lag; the run ends when all are there.
- At a rung a chain waits until all have come to it. Who is pruned there is drawn: it is nothing that a pilot tells.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from functools import partial

from discovery.forecast.draws import Draws
from discovery.forecast.pilot import Judged, Pilot, ServersSeen
from discovery.forecast.questions import Asker, Questions
from discovery.forecast.shape import Advising, Shape
from discovery.forecast.station import Job, Station
from discovery.forecast.trace import LEVELS, Trace, values_of
from discovery.generation.base import ServerLoad
from discovery.records import AdvicePurpose, Direction
from discovery.reflection import LAG
from discovery.rungs import Rungs

_READING_S = 1.0
_STEADY = (0.3, 0.8)
"""Between these shares of its evaluations a run is taken to be as it is in the middle."""
_MOST_WITH_RUNGS = 20_000
"""With rungs no part of a run is like another, so that more of it is simulated."""


def simulate(pilot: Pilot, shape: Shape, draws: Draws, *, most: int | None = None) -> Trace:
    """Simulate a run.

    Args:
        pilot: What its parts take.
        shape: The run.
        draws: What each completion and evaluation takes.
        most: So many evaluations are simulated at most, as :func:`simulated` has it; the rest is taken to be like the
            middle of those.
    """
    planned = shape.evaluations if most is None else simulated(shape, most)
    loop = _Loop(pilot, shape, draws, planned)
    loop.run()
    rest = shape.evaluations - planned
    sums, wall_s, whole = loop.sums, loop.now, shape.evaluations / planned
    if rest and shape.rungs_at:
        sums, wall_s = [whole * total for total in sums], whole * wall_s
    elif rest:
        (from_s, from_count, from_sums), (to_s, to_count, to_sums) = loop.marks
        longer = rest / max(1, to_count - from_count)
        wall_s += longer * (to_s - from_s)
        sums = [
            total + longer * (late - early)
            for total, early, late in zip(sums, from_sums, to_sums, strict=True)
        ]
    return Trace(
        wall_s=wall_s,
        evaluations=shape.evaluations,
        values=values_of(sums, wall_s, shape.evaluations),
        tokens=_mean_tokens(shape, draws),
        tokens_of=draws.tokens_of,
        asked={purpose: whole * count for purpose, count in loop.questions.asked.items()},
        advice=whole * loop.questions.tokens,
    )


def _mean_tokens(shape: Shape, draws: Draws) -> float | None:
    found = draws.tokens_of
    if not shape.members:
        return found[None]
    if all(tokens is None for tokens in found.values()):
        return None
    return sum(member.share * (found[member.name] or 0.0) for member in shape.members)


def simulated(shape: Shape, most: int) -> int:
    """How many evaluations of a run are simulated where they are to be few: each chain takes eight steps in any case.

    Args:
        shape: The run.
        most: So many, where that is enough.
    """
    if shape.rungs_at:
        most = max(most, _MOST_WITH_RUNGS)
    return min(shape.evaluations, max(most, 8 * (1 + shape.overlap) * shape.chains * shape.candidates))


class _Step:
    """An open step and its request."""

    __slots__ = ("chain", "count", "is_done", "missing", "number", "recorded_s", "unwritten")

    def __init__(self, chain: _Chain, number: int, count: int) -> None:
        self.chain = chain
        self.number = number
        self.count = count
        self.missing = count
        self.unwritten = count
        self.recorded_s = 0.0
        self.is_done = False


class _Chain:
    """What is open of a chain, and how much it may still evaluate."""

    __slots__ = ("asker", "evaluated", "fate", "is_planning", "number", "open", "planned", "promised")

    def __init__(self, number: int, fate: float) -> None:
        self.number = number
        self.fate = fate
        self.open: deque[_Step] = deque()
        self.is_planning = False
        self.planned = 0
        # Evaluations of its steps, and of those that are committed.
        self.promised = 0
        self.evaluated = 0
        self.asker = Asker()


class _Loop:
    """The events of one run."""

    def __init__(self, pilot: Pilot, shape: Shape, draws: Draws, evaluations: int) -> None:
        self.now = 0.0
        self.sums = [0.0] * (1 + len(LEVELS))
        self.marks: list[tuple[float, int, list[float]]] = []
        self._shape = shape
        self._draws = draws
        self._took = pilot.overheads
        self._tells = pilot.servers.tell
        self._pressure = shape.pressure
        self._limit = shape.generation_slots or (shape.pressure.limit if shape.pressure else 1)
        self._servers = _servers(pilot, shape)
        advising = shape.advising or Advising(slots=1, reflects=False)
        apart: Station[Callable[[], None]] = Station(None, lambda _, __: 1.0)
        self._waits = [*self._servers.values(), *([apart] if advising.is_apart else [])]
        self.questions = Questions(
            advising,
            draws,
            apart if advising.is_apart else self._servers_of(advising.member),
            lambda: self.now,
        )
        self._evaluators: Station[tuple[_Step, bool]] = Station(
            shape.evaluation_slots,
            lambda _, load: min(1.0, shape.machine.cpus / load) if load > 0.0 else 1.0,
            self._took.pair_s,
        )
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._in_flight = 0
        self._requests = 0
        self._gate: deque[_Step] = deque()
        self._evaluated = 0
        self._committed = 0
        self._evaluations = evaluations
        self._chains = [_Chain(number, draws.fate()) for number in range(shape.chains)]
        self._rungs = Rungs(
            _scaled(shape, evaluations),
            shape.keep,
            Direction.MAXIMIZE,
            total=evaluations,
            spent=[0] * shape.chains,
        )
        shares = [each.cpu_share for each in pilot.judged if each.slot_s is not None]
        self._verified_share = sum(shares) / len(shares) if shares else 0.0

    def run(self) -> None:
        """Until the last commit, and the last answer."""
        for chain in self._chains:
            self._plan(chain)
        if self._pressure is not None:
            self._in(_READING_S, self._read)
        while self._committed < self._evaluations or self.questions.reflecting:
            soonest = self._events[0][0] if self._events else math.inf
            station = min(self._waits, key=_next_s) if len(self._waits) > 1 else self._waits[0]
            served, evaluated = station.next_s, self._evaluators.next_s
            now = min(soonest, served, evaluated)
            self._pass(now)
            if now == soonest:
                heapq.heappop(self._events)[2]()
            elif now == served:
                station.finish(now)()
            else:
                self._slot_left(*self._evaluators.finish(now))

    def _servers_of(self, maker: str | None) -> Station[Callable[[], None]]:
        return self._servers.get(maker) or next(iter(self._servers.values()))

    def _in(self, delay_s: float, event: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (self.now + delay_s, self._order, event))

    def _pass(self, now: float) -> None:
        """Add up how things were until now."""
        span = now - self.now
        self.now = now
        if span <= 0.0:
            return
        levels = (
            min(self._in_flight, self._limit),
            self._limit,
            self._in_flight,
            self._requests,
            len(self._gate),
            self._shape.evaluation_slots,
            self._evaluators.busy,
            len(self._evaluators.waiting),
            sum(servers.busy for servers in self._servers.values()),
            sum(len(servers.waiting) for servers in self._servers.values()),
        )
        sums = self.sums
        for place, level in enumerate(levels):
            if level:
                sums[place] += span * level

    # Planning and committing

    def _plan(self, chain: _Chain) -> None:
        overlap = self._shape.overlap
        if chain.is_planning or len(chain.open) > overlap:
            return
        count = min(self._shape.candidates, self._rungs.share(chain.number) - chain.promised)
        number = chain.planned + 1
        if count <= 0 or chain.asker.waits(number - 1 - overlap - LAG):
            return
        chain.is_planning = True
        chain.planned, chain.promised = number, chain.promised + count
        step = _Step(chain, number, count)
        chain.open.append(step)
        send = partial(self._in, self._took.plan_s + self._took.send_s, partial(self._ask, step))
        for purpose in (AdvicePurpose.RERANK, AdvicePurpose.ELITE):
            send = partial(self.questions.ask, purpose, chain.asker, send)
        send()

    def _ask(self, step: _Step) -> None:
        step.chain.is_planning = False
        self._gate.append(step)
        self._wake()
        self._plan(step.chain)

    def _complete(self, step: _Step) -> None:
        step.is_done = True
        if step.chain.open[0] is step:
            self._in(self._took.commit_s, lambda: self._commit(step.chain))

    def _commit(self, chain: _Chain) -> None:
        step = chain.open.popleft()
        self._committed += step.count
        chain.evaluated += step.count
        self.questions.reflect(chain.asker, step.number, lambda: self._plan(chain))
        if chain.open and chain.open[0].is_done:
            self._in(self._took.commit_s, lambda: self._commit(chain))
        if self._rungs.observe(chain.number, chain.evaluated, chain.fate):
            for waiting in self._chains:
                self._plan(waiting)
        self._plan(chain)

    # The gate and the servers

    def _wake(self) -> None:
        while self._gate and self._in_flight < self._limit:
            step = self._gate.popleft()
            self._in_flight += step.count
            self._requests += 1
            for maker in self._draws.makers(self._shape.candidates)[: step.count]:
                written: Callable[[], None] = partial(self._written, step)
                self._servers_of(maker).arrive(self.now, Job(self._draws.work_s(maker), 1.0, written))

    def _read(self) -> None:
        assert self._pressure is not None
        loads = tuple(
            ServerLoad(server=name or "", running=float(each.busy), waiting=float(len(each.waiting)))
            for name, each in self._servers.items()
        )
        self._pressure = self._pressure.after(loads if self._tells else (), self._in_flight)
        self._limit = self._pressure.limit
        self._wake()
        self._in(_READING_S, self._read)

    def _written(self, step: _Step) -> None:
        # A request's completions are stored one after the other.
        step.recorded_s = max(self.now, step.recorded_s) + self._took.record_s
        self._in(step.recorded_s - self.now, lambda: self._recorded(step))

    def _recorded(self, step: _Step) -> None:
        self._in_flight -= 1
        step.unwritten -= 1
        if not step.unwritten:
            self._requests -= 1
        self._wake()
        self._in(self._took.submit_s, lambda: self._evaluate(step, self._draws.judged()))

    # Evaluations

    def _evaluate(self, step: _Step, judged: Judged) -> None:
        if judged.slot_s is None:
            self._outcome(step)
        else:
            self._evaluators.arrive(self.now, Job(judged.slot_s, judged.cpu_share, (step, False)))

    def _slot_left(self, step: _Step, is_second: bool) -> None:
        again_s = None if is_second else self._draws.verified_s()
        if again_s is None:
            self._outcome(step)
        else:
            self._evaluators.arrive(self.now, Job(again_s, self._verified_share, (step, True)))

    def _outcome(self, step: _Step) -> None:
        self._evaluated += 1
        if len(self.marks) < 2 and self._evaluated >= _STEADY[len(self.marks)] * self._evaluations:
            self.marks.append((self.now, self._evaluated, list(self.sums)))
        step.missing -= 1
        if not step.missing:
            self._complete(step)


def _servers(pilot: Pilot, shape: Shape) -> dict[str | None, Station[Callable[[], None]]]:
    """The servers of each member of a mixture, or of the one generator."""

    def station(seen: ServersSeen, slots: int | None) -> Station[Callable[[], None]]:
        return Station(slots, lambda busy, _: 1.0 / (1.0 + seen.slowdown * max(0, busy - 1)))

    given = shape.machine.server_slots
    if not shape.members:
        return {None: station(pilot.servers, given or pilot.servers.slots)}
    made: dict[str | None, Station[Callable[[], None]]] = {}
    for member in shape.members:
        seen = pilot.seen_of(member.name).servers
        made[member.name] = station(seen, None if member.is_embedded else given or seen.slots)
    return made


def _scaled(shape: Shape, evaluations: int) -> tuple[int, ...]:
    """Where the rungs of a run stand if only so many of its evaluations are simulated."""
    if evaluations == shape.evaluations:
        return shape.rungs_at
    each = shape.candidates
    found = (max(1, round(place * evaluations / shape.evaluations / each)) * each for place in shape.rungs_at)
    return tuple(sorted(set(found)))


def _next_s(station: Station[Callable[[], None]]) -> float:
    return station.next_s
