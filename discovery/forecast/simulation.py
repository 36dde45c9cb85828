"""A run's loop as events in time: planned, through the gate, generated, evaluated, committed.

The rules are those of :mod:`discovery.chain`, :mod:`discovery.step`, :mod:`discovery.pace` and
:mod:`discovery.slots`, with nothing behind them:

- Of a chain up to ``overlap`` + 1 steps are open; they are committed in their order, and a step is planned when the
  one before the open ones is committed.
- A request goes through the gate whole as soon as one place is free; each completion leaves its place when it is
  stored. Where the limit is not given, :class:`~discovery.pressure.Pressure` itself moves it, once a second.
- The servers run so many choices at once, each slower the more there are; the others wait there.
- A completion is evaluated as it arrives, in a slot; what would be the run's best is scored again in one.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from discovery.budget import allot
from discovery.forecast.draws import Draws
from discovery.forecast.pilot import Judged, Pilot
from discovery.forecast.shape import Shape
from discovery.forecast.station import Job, Station
from discovery.generation.base import ServerLoad
from discovery.pulse import Quantity

_READING_S = 1.0
_STEADY = (0.3, 0.8)
"""Between these shares of its evaluations a run is taken to be as it is in the middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What became of a simulated run.

    Args:
        wall_s: From the first plan to the last commit, in seconds.
        evaluations: How many were made.
        values: Means over that time, by :class:`~discovery.pulse.Quantity`.
        tokens: Mean tokens of its completions; None where they are not known.
    """

    wall_s: float
    evaluations: int
    values: Mapping[str, float]
    tokens: float | None = None


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
    sums, wall_s = loop.sums, loop.now
    if rest:
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
        values=_values(sums, wall_s, shape.evaluations),
        tokens=draws.tokens,
    )


def simulated(shape: Shape, most: int) -> int:
    """How many evaluations of a run are simulated where they are to be few: each chain takes eight steps in any case.

    Args:
        shape: The run.
        most: So many, where that is enough.
    """
    return min(shape.evaluations, max(most, 8 * (1 + shape.overlap) * shape.chains * shape.candidates))


_LEVELS = (
    *(Quantity.GENERATION_SLOTS, Quantity.IN_FLIGHT, Quantity.REQUESTS_SENT, Quantity.REQUESTS_WAITING),
    *(Quantity.EVALUATION_SLOTS, Quantity.EVALUATING, Quantity.COMPLETIONS_WAITING),
    *(Quantity.SERVER_RUNNING, Quantity.SERVER_WAITING),
)


def _values(sums: list[float], wall_s: float, evaluations: int) -> dict[str, float]:
    if wall_s <= 0.0:
        return {}
    busy, levels = sums[0], dict(zip(_LEVELS, sums[1:], strict=True))
    values = {str(name): total / wall_s for name, total in levels.items()}
    places, slots = levels[Quantity.GENERATION_SLOTS], levels[Quantity.EVALUATION_SLOTS]
    values[Quantity.GENERATOR_BUSY] = min(1.0, busy / places)
    values[Quantity.EVALUATOR_BUSY] = min(1.0, levels[Quantity.EVALUATING] / slots)
    values[Quantity.EVALUATIONS_PER_S] = evaluations / wall_s
    values[Quantity.WINDOW_S] = wall_s
    return values


class _Step:
    """An open step and its request."""

    __slots__ = ("chain", "count", "is_done", "missing", "recorded_s", "unwritten")

    def __init__(self, chain: _Chain, count: int) -> None:
        self.chain = chain
        self.count = count
        self.missing = count
        self.unwritten = count
        self.recorded_s = 0.0
        self.is_done = False


class _Chain:
    """What is open of a chain, and how much it may still evaluate."""

    __slots__ = ("is_planning", "left", "open")

    def __init__(self, left: int) -> None:
        self.left = left
        self.open: deque[_Step] = deque()
        self.is_planning = False


class _Loop:
    """The events of one run."""

    def __init__(self, pilot: Pilot, shape: Shape, draws: Draws, evaluations: int) -> None:
        self.now = 0.0
        self.sums = [0.0] * (1 + len(_LEVELS))
        self.marks: list[tuple[float, int, list[float]]] = []
        self._shape = shape
        self._draws = draws
        self._took = pilot.overheads
        self._tells = pilot.servers.tell
        self._pressure = shape.pressure
        self._limit = shape.generation_slots or (shape.pressure.limit if shape.pressure else 1)
        slowdown, cpus = pilot.servers.slowdown, shape.machine.cpus
        self._servers: Station[_Step] = Station(
            shape.machine.server_slots or pilot.servers.slots,
            lambda busy, _: 1.0 / (1.0 + slowdown * max(0, busy - 1)),
        )
        self._evaluators: Station[tuple[_Step, bool]] = Station(
            shape.evaluation_slots,
            lambda _, load: min(1.0, cpus / load) if load > 0.0 else 1.0,
            self._took.pair_s,
        )
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._in_flight = 0
        self._requests = 0
        self._gate: deque[_Step] = deque()
        self._evaluated = 0
        self._evaluations = evaluations
        self._chains = [_Chain(share) for share in allot(evaluations, shape.chains)]
        shares = [each.cpu_share for each in pilot.judged if each.slot_s is not None]
        self._verified_share = sum(shares) / len(shares) if shares else 0.0
        self._left = sum(1 for chain in self._chains if chain.left)

    def run(self) -> None:
        """Until the last commit."""
        for chain in self._chains:
            self._plan(chain)
        if self._pressure is not None:
            self._in(_READING_S, self._read)
        while self._left:
            soonest = self._events[0][0] if self._events else math.inf
            served, evaluated = self._servers.next_s, self._evaluators.next_s
            now = min(soonest, served, evaluated)
            self._pass(now)
            if now == soonest:
                heapq.heappop(self._events)[2]()
            elif now == served:
                self._written(self._servers.finish(now))
            else:
                self._slot_left(*self._evaluators.finish(now))

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
            self._servers.busy,
            len(self._servers.waiting),
        )
        sums = self.sums
        for place, level in enumerate(levels):
            if level:
                sums[place] += span * level

    # Planning and committing

    def _plan(self, chain: _Chain) -> None:
        if chain.is_planning or not chain.left or len(chain.open) > self._shape.overlap:
            return
        chain.is_planning = True
        step = _Step(chain, min(self._shape.candidates, chain.left))
        chain.left -= step.count
        chain.open.append(step)
        self._in(self._took.plan_s + self._took.send_s, lambda: self._ask(step))

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
        chain.open.popleft()
        if chain.open and chain.open[0].is_done:
            self._in(self._took.commit_s, lambda: self._commit(chain))
        if not chain.open and not chain.left:
            self._left -= 1
        self._plan(chain)

    # The gate and the servers

    def _wake(self) -> None:
        while self._gate and self._in_flight < self._limit:
            step = self._gate.popleft()
            self._in_flight += step.count
            self._requests += 1
            for _ in range(step.count):
                self._servers.arrive(self.now, Job(self._draws.work_s(), 1.0, step))

    def _read(self) -> None:
        assert self._pressure is not None
        load = ServerLoad(
            server="", running=float(self._servers.busy), waiting=float(len(self._servers.waiting))
        )
        self._pressure = self._pressure.after((load,) if self._tells else (), self._in_flight)
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
