"""A place where work is done by several at once, first come first served, and slower the more there are.

All that is at work goes on at one common pace, a function of how much it is. So a clock of its own, which runs at
that pace, knows when each is done from the moment it begins.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """Something to be done.

    Args:
        work_s: How long it takes alone, in seconds.
        weight: How much it slows all others.
        what: Whose it is.
    """

    work_s: float
    weight: float
    what: T


class Station(Generic[T]):
    """The place.

    Args:
        slots: How many are at work at most; None for no limit.
        pace: The common pace, above 0 and at most 1, by the number at work and the sum of their weights.
        setup_s: What a job takes more where a slot is used for the first time, in seconds.
    """

    def __init__(self, slots: int | None, pace: Callable[[int, float], float], setup_s: float = 0.0) -> None:
        self.waiting: deque[Job[T]] = deque()
        self._slots = slots
        self._pace_of = pace
        self._pace = 1.0
        self._setup_s = setup_s
        self._idle = 0
        self._clock = 0.0
        self._now = 0.0
        self._order = 0
        self._weight = 0.0
        self._running: list[tuple[float, int, Job[T]]] = []

    @property
    def busy(self) -> int:
        """How many are at work."""
        return len(self._running)

    @property
    def next_s(self) -> float:
        """When the next one is done if nothing else comes; infinite where none is at work."""
        if not self._running:
            return math.inf
        return self._now + max(0.0, self._running[0][0] - self._clock) / self._pace

    def arrive(self, now_s: float, job: Job[T]) -> None:
        """Take a job in."""
        self._pass(now_s)
        if self._slots is not None and len(self._running) >= self._slots:
            self.waiting.append(job)
        else:
            self._begin(job)
            self._repace()

    def finish(self, now_s: float) -> T:
        """Take the job out that is done at :attr:`next_s`, and begin the next one that waits."""
        self._pass(now_s)
        _, _, job = heapq.heappop(self._running)
        self._weight = self._weight - job.weight if self._running else 0.0
        self._idle += 1
        if self.waiting:
            self._begin(self.waiting.popleft())
        self._repace()
        return job.what

    def _begin(self, job: Job[T]) -> None:
        work_s = job.work_s
        if self._idle:
            self._idle -= 1
        else:
            work_s += self._setup_s
        self._order += 1
        self._weight += job.weight
        heapq.heappush(self._running, (self._clock + work_s, self._order, job))

    def _pass(self, now_s: float) -> None:
        self._clock += (now_s - self._now) * self._pace
        self._now = now_s

    def _repace(self) -> None:
        self._pace = self._pace_of(len(self._running), self._weight)
