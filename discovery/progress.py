"""What is going on in a run right now, for whoever watches.

A passive tally: the chain and the run tell it what happens, the command line reads it a few times a second. It
is never read to decide anything, and never stored.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from discovery.records import CandidateKey, Direction, FailureKind, Json

_log = logging.getLogger(__name__)

_RATE_WINDOW_S = 20.0
_HISTORY = 64


@dataclass(frozen=True, slots=True)
class BusyTime:
    """What some slots did since their first use, so that two of these tell what they did in between.

    Args:
        busy_s: Slot-seconds that were busy.
        slot_s: Slot-seconds that there were.
    """

    busy_s: float = 0.0
    slot_s: float = 0.0

    def share_since(self, earlier: BusyTime) -> float | None:
        """Busy share since an earlier one, 0 to 1; None where no time has passed."""
        slot_s = self.slot_s - earlier.slot_s
        return (self.busy_s - earlier.busy_s) / slot_s if slot_s > 0 else None


class BusyMeter:
    """Integrates how many of some slots are busy over time, and tells how many wait for one.

    Args:
        slots: How many there are.
        clock: Monotonic seconds.
    """

    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.busy = 0
        self.waiting = 0
        """Those that wait for a slot: requests at the gate, evaluations at the pool."""
        self.users = 0
        """Those that hold slots: one request may hold several."""
        self._slots = slots
        self._clock = clock
        self._last: float | None = None
        self._past = BusyTime()

    @property
    def slots(self) -> int:
        """How many there are now. Setting it leaves the past as it was."""
        return self._slots

    @slots.setter
    def slots(self, slots: int) -> None:
        if self._last is not None:
            self._pass()
        self._slots = slots

    def change(self, delta: int) -> None:
        """Note that so many more (or fewer) are busy from now on."""
        self._pass()
        self.busy += delta

    @contextmanager
    def queueing(self) -> Iterator[None]:
        """Count one more that waits while the body runs."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @property
    def busy_time(self) -> BusyTime:
        """Slot-seconds since the first use."""
        return self._past if self._last is None else self._until(self._clock())

    @property
    def utilisation(self) -> float | None:
        """Busy slot-seconds over all of them since the first use; None before it."""
        return self.busy_time.share_since(BusyTime())

    def _pass(self) -> None:
        now = self._clock()
        self._past, self._last = self._until(now), now

    def _until(self, now: float) -> BusyTime:
        span = now - self._last if self._last is not None else 0.0
        busy = min(self.busy, self._slots)
        return BusyTime(self._past.busy_s + busy * span, self._past.slot_s + self._slots * span)


@dataclass(slots=True)
class ChainProgress:
    """One chain as it is watched.

    Args:
        steps: Committed steps.
        best: Best score so far.
        best_key: The candidate that has it.
        history: Best score after each step, thinned out to at most 64.
        restarts: How often it has begun anew from the initial candidate.
        waits_at: The rung, from 1, at which it waits for the other chains; None where it does not.
        pruned_at: The rung, from 1, at which it was pruned; None where it was not.
        end: Why it takes no more steps though the run goes on; None where it does.
    """

    steps: int = 0
    best: float | None = None
    best_key: CandidateKey | None = None
    history: list[float] = field(default_factory=list)
    restarts: int = 0
    waits_at: int | None = None
    pruned_at: int | None = None
    end: str | None = None
    _stride: int = 1

    def committed(self, step: int) -> None:
        """Note a committed step."""
        self.steps = step
        if self.best is not None and step % self._stride == 0:
            self.history.append(self.best)
            if len(self.history) > _HISTORY:
                self.history = self.history[::2]
                self._stride *= 2


@dataclass(slots=True)
class Quarantine:
    """Results that were in doubt.

    Args:
        total: How many were set aside to be scored again.
        agreed: Those that the second scoring confirmed.
        disagreed: Those that it did not.
    """

    total: int = 0
    agreed: int = 0
    disagreed: int = 0

    def __str__(self) -> str:
        parts = [f"{self.agreed} agreed", f"{self.disagreed} disagreed"]
        if waiting := self.total - self.agreed - self.disagreed:
            parts.append(f"{waiting} being scored again")
        return f"{self.total}: {', '.join(parts)}"


class Progress:
    """The tally of one run's process.

    Args:
        direction: Which scores are better.
        planned: Evaluations that the budget allows, those of earlier processes included.
        chains: Number of chains.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        direction: Direction,
        planned: int,
        chains: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.direction = direction
        self.planned = planned
        self.chains = [ChainProgress() for _ in range(chains)]
        self.evaluations = 0
        self.earlier = 0
        self.duplicates = 0
        self.failures: Counter[FailureKind] = Counter()
        self.quarantine = Quarantine()
        self.initial: float | None = None
        self.best: float | None = None
        self.best_key: CandidateKey | None = None
        self.announced = 0
        self.completions = 0
        self.consultations = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.generation: BusyMeter | None = None
        self.evaluation: BusyMeter | None = None
        self.notice: str | None = None
        self.too_long = 0
        """Steps that improve another parent than was chosen, which is too long for the model's context."""
        self.currency = ""
        """Of the cost in the window."""
        self.window: Mapping[str, float] = {}
        """What :mod:`discovery.pulse` measured over the last while."""
        self._clock = clock
        self.started = clock()
        self._recent: deque[float] = deque(maxlen=4096)

    def completed(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Note a completion that came, with its tokens as they are charged."""
        self.completions += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def advised(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Note a consultation that is stored, with its tokens."""
        self.consultations += 1
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens

    def evaluated(
        self, key: CandidateKey, score: float | None, failure: FailureKind | None, *, duplicate: bool
    ) -> None:
        """Note one finished search evaluation and that its result counts."""
        self.finished(duplicate=duplicate)
        self.settled(key, score, failure)

    def finished(self, *, duplicate: bool) -> None:
        """Note one finished search evaluation, whatever its result."""
        self.evaluations += 1
        self.duplicates += duplicate
        self._recent.append(self._clock())

    def settled(self, key: CandidateKey, score: float | None, failure: FailureKind | None) -> None:
        """Note a result that counts: it was not in doubt, or is no longer."""
        if failure is not None:
            self.failures[failure] += 1
        chain = self.chains[key.chain]
        if score is not None and self.direction.better(score, chain.best):
            chain.best, chain.best_key = score, key

    def passed_over(self, step: int, chosen: CandidateKey, shown: CandidateKey) -> None:
        """Note a step that improves another parent than was chosen, for want of room in the model's context."""
        if not self.too_long:
            _log.warning(
                "candidate %s is too long for the model's context with room for an answer, so that step %d.%d improves "
                "%s in its place; the run goes on like that (a longer --max-model-len or a smaller --max-tokens helps)",
                *(chosen, chosen.chain, step, shown),
            )
        self.too_long += 1

    def replayed(self) -> None:
        """Note that all that was told so far is of earlier processes: it says nothing of the present rate."""
        self.earlier = self.evaluations
        self._recent.clear()

    def announce(self, key: CandidateKey, score: float) -> None:
        """Note a verified run-best."""
        self.best, self.best_key = score, key
        self.announced += 1

    @property
    def adapted(self) -> dict[str, Json]:
        """What became of the chains, as facts of the run: which have ended, how often any began anew, or had to improve
        another parent than was chosen.
        """
        ended: dict[str, list[int]] = {}
        for number, chain in enumerate(self.chains):
            if chain.end is not None:
                ended.setdefault(chain.end, []).append(number)
        restarts = sum(chain.restarts for chain in self.chains)
        found: dict[str, Json] = {"ended_chains": ended, "restarts": restarts, "too_long": self.too_long}
        return {name: value for name, value in found.items() if value}

    @property
    def elapsed_s(self) -> float:
        """Seconds since this process began."""
        return self._clock() - self.started

    @property
    def rate(self) -> float:
        """Evaluations per second over the last 20 seconds."""
        now = self._clock()
        while self._recent and now - self._recent[0] > _RATE_WINDOW_S:
            self._recent.popleft()
        span = min(_RATE_WINDOW_S, max(now - self.started, 1e-3))
        if len(self._recent) == self._recent.maxlen:
            span = max(now - self._recent[0], 1e-3)
        return len(self._recent) / span

    @property
    def remaining_s(self) -> float | None:
        """Seconds left at the present rate; None while there is none."""
        rate = self.rate
        return max(self.planned - self.evaluations, 0) / rate if rate > 0 else None
