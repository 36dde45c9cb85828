"""What a run may spend, and the one ledger of what it has spent and what is in flight.

Evaluations are allotted to chains up front, so that which chain gets the last one never depends on timing:
that is what makes two runs of one seed equal, and what lets chains run on several machines without a shared
counter. Tokens, money and seconds depend on the world anyway; they are counted here, and checked, with what is
in flight, before each request.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from discovery.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Caps on a run; None means no cap.

    Args:
        max_evaluations: Candidates judged, duplicates and failures included, the initial one not.
        max_tokens: Prompt and completion tokens, as the server counts them.
        max_cost: Money, in the currency of the prices.
        max_seconds: Wall time of the run's process, summed over resumes.
        until: Stop as soon as a verified score is at least this good.
    """

    max_evaluations: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    max_seconds: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_evaluations", "max_tokens", "max_cost", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value!r}; it must be positive, or left out for no cap")
        if self.until is not None and not math.isfinite(self.until):
            raise ConfigError(f"until is {self.until!r}; it must be a finite score, or left out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a token costs.

    Args:
        prompt: Per million prompt tokens, at least 0.
        completion: Per million completion tokens, at least 0.
    """

    prompt: float = 0.0
    completion: float = 0.0

    def __post_init__(self) -> None:
        for name in ("prompt", "completion"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"the {name} price is {value!r}; it must be 0 or more")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Money for so many tokens."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


def allot(total: int, chains: int, spent: Sequence[int] = ()) -> tuple[int, ...]:
    """Divide evaluations among chains as evenly as can be, the first ones getting the rest.

    A chain that has spent more than its share, because the budget was larger when it did, keeps what it has,
    and the others share what is left.

    Args:
        total: Evaluations, at least 0.
        chains: Chains, at least 1.
        spent: What each chain has spent already; empty for nothing.

    Returns:
        One number per chain; they sum to ``total``, or to what is spent where that is more.
    """
    shares = dict(enumerate(spent)) if spent else dict.fromkeys(range(chains), 0)
    sharing = list(shares)
    while sharing:
        kept = sum(count for chain, count in shares.items() if chain not in sharing)
        share, rest = divmod(max(0, total - kept), len(sharing))
        even = {chain: share + (place < rest) for place, chain in enumerate(sharing)}
        below = [chain for chain in sharing if shares[chain] <= even[chain]]
        if len(below) == len(sharing):
            shares |= even
            break
        sharing = below
    return tuple(shares.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What was spent so far.

    Args:
        evaluations: Finished search evaluations.
        prompt_tokens: Tokens of prompts, once per request.
        completion_tokens: Tokens of completions.
        seconds: Wall time of the run's process, in seconds.
    """

    evaluations: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


class Ledger:
    """Counts spending and decides whether one more request may start.

    A reservation is made before a request is sent and settled when its completions are in, so that requests in
    flight count. The size of one in flight is taken as the largest completion seen so far (before any was
    seen, the request's own limit), which keeps the overshoot to the surprise of the last requests.

    Args:
        budget: The caps.
        spent: What earlier processes of the run spent.
        prices: For ``max_cost``.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        budget: Budget,
        spent: Spent | None = None,
        *,
        prices: Prices | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        spent = spent or Spent()
        self.budget = budget
        self.prices = prices or Prices()
        self.waiting = 0
        """Requests that wait for others in flight to need less than is reserved for them."""
        self._clock = clock
        self._started = clock()
        self._earlier_s = spent.seconds
        self._prompt_tokens = spent.prompt_tokens
        self._completion_tokens = spent.completion_tokens
        self._evaluations = spent.evaluations
        self._in_flight_tokens = 0
        self._largest: int | None = None
        self._reached = False
        self._settled = asyncio.Event()

    @property
    def spent(self) -> Spent:
        """What is spent by now, in-flight work not counted."""
        return Spent(
            evaluations=self._evaluations,
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self._completion_tokens,
            seconds=self._earlier_s + self._clock() - self._started,
        )

    @property
    def cost(self) -> float:
        """Money spent by now."""
        return self.prices.cost(self._prompt_tokens, self._completion_tokens)

    def expected_tokens(self, choices: int, limit: int | None) -> int:
        """Completion tokens that a request of so many choices is taken to need."""
        each = self._largest if self._largest is not None else (limit or 0)
        return choices * each

    async def admit(self, tokens: int) -> str | None:
        """Reserve tokens for one more request, or say why it may not start.

        Requests in flight mostly need less than is reserved for them: while only they stand in the way, this
        waits for them.

        Args:
            tokens: What the request is expected to need.

        Returns:
            None when the tokens are reserved, else why nothing more may start.
        """
        while (reason := self.stop_reason(tokens)) is not None:
            if not self._in_flight_tokens or self.stop_reason(tokens, in_flight=False) is not None:
                return reason
            self.waiting += 1
            try:
                await self._settled.wait()
            finally:
                self.waiting -= 1
        self.reserve(tokens)
        return None

    def stop_reason(self, next_tokens: int = 0, *, in_flight: bool = True) -> str | None:
        """Why nothing more may start, or None if it may.

        Args:
            next_tokens: Tokens that the next request is expected to need.
            in_flight: Whether what is reserved counts as spent.
        """
        budget = self.budget
        if self._reached:
            return "target score reached"
        if budget.max_evaluations is not None and self._evaluations >= budget.max_evaluations:
            return f"{budget.max_evaluations} evaluations spent"
        seconds = self.spent.seconds
        if budget.max_seconds is not None and seconds >= budget.max_seconds:
            return f"{budget.max_seconds:g} seconds spent"
        reserved = self._in_flight_tokens if in_flight else 0
        tokens = self._prompt_tokens + self._completion_tokens + reserved
        if budget.max_tokens is not None and tokens + next_tokens > budget.max_tokens:
            return f"token budget of {budget.max_tokens} spent"
        if budget.max_cost is not None:
            ahead = self.prices.cost(0, reserved + next_tokens)
            if self.cost + ahead >= budget.max_cost:
                return f"money budget of {budget.max_cost:g} spent"
        return None

    def reserve(self, tokens: int) -> None:
        """Count tokens as in flight."""
        self._in_flight_tokens += tokens

    def settle(self, tokens: int) -> None:
        """Take back a reservation of so many tokens."""
        self._in_flight_tokens -= tokens
        settled, self._settled = self._settled, asyncio.Event()
        settled.set()

    def add_tokens(self, prompt: int, completion: int) -> None:
        """Count the tokens of one completion, as its server reported them."""
        self._prompt_tokens += prompt
        self._completion_tokens += completion
        if completion:
            self._largest = max(self._largest or 0, completion)

    def add_evaluation(self) -> None:
        """Count one finished search evaluation."""
        self._evaluations += 1

    def reach_target(self) -> None:
        """Note that ``until`` was reached; nothing more starts."""
        self._reached = True
