"""The adviser of a simulated run: its slots, and what waits for its answers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from discovery.forecast.draws import Draws
from discovery.forecast.pilot import Spoken
from discovery.forecast.shape import Advising
from discovery.forecast.station import Job, Station
from discovery.records import AdvicePurpose

Event = Callable[[], None]
"""What goes on when something is over."""


class Asker:
    """What one chain has asked."""

    __slots__ = ("reflecting", "spent")

    def __init__(self) -> None:
        self.spent = 0
        """Tokens of its answers."""
        self.reflecting: set[int] = set()
        """Its steps whose reflection is still being written."""

    def waits(self, horizon: int) -> bool:
        """Whether reflections on steps up to this one are missing."""
        return any(step <= horizon for step in self.reflecting)


class Questions:
    """All questions of a run.

    Args:
        advising: Who is asked, and how much.
        draws: Which steps ask, and what their answers take.
        servers: Where answers are written.
        now: The time, in seconds.
    """

    def __init__(
        self, advising: Advising, draws: Draws, servers: Station[Event], now: Callable[[], float]
    ) -> None:
        self.asked: Counter[AdvicePurpose] = Counter()
        """Questions so far."""
        self.tokens = 0
        """Of their answers."""
        self.reflecting = 0
        """Reflections that are still being written."""
        self._advising = advising
        self._draws = draws
        self._servers = servers
        self._now = now
        self._waiting: deque[Job[Event]] = deque()
        self._busy = 0

    def ask(self, purpose: AdvicePurpose, asker: Asker, then: Event) -> None:
        """Ask what a step has to ask before its parents are chosen, if it has, and go on."""
        said = self._question(purpose, asker)
        if said is None:
            then()
        else:
            self._consult(asker, said, then)

    def reflect(self, asker: Asker, step: int, then: Event) -> None:
        """Ask about a committed step, beside everything else."""
        if not self._advising.reflects:
            return
        said = self._question(AdvicePurpose.REFLECT, asker)
        if said is None:
            return
        asker.reflecting.add(step)
        self.reflecting += 1

        def reflected() -> None:
            asker.reflecting.discard(step)
            self.reflecting -= 1
            then()

        self._consult(asker, said, reflected)

    def _question(self, purpose: AdvicePurpose, asker: Asker) -> Spoken | None:
        """The answer; None where nothing is asked, or the chain has spent its share."""
        said, allowance = self._draws.advice(purpose), self._advising.allowance
        if said is None or (allowance is not None and asker.spent >= allowance):
            return None
        self.asked[purpose] += 1
        return said

    def _consult(self, asker: Asker, said: Spoken, then: Event) -> None:
        self._waiting.append(Job(said.work_s, 1.0, partial(self._answered, asker, said, then)))
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self._busy < self._advising.slots:
            self._busy += 1
            self._servers.arrive(self._now(), self._waiting.popleft())

    def _answered(self, asker: Asker, said: Spoken, then: Event) -> None:
        self._busy -= 1
        asker.spent += said.tokens or 0
        self.tokens += said.tokens or 0
        self._wake()
        then()
