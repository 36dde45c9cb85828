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
class Tokens:
    """Tokens of a request, or of all requests in flight.

    Args:
        prompt: Of the prompt, once per request.
        completion: Of all its completions together.
    """

    prompt: int = 0
    completion: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(prompt=self.prompt + other.prompt, completion=self.completion + other.completion)

    def __sub__(self, other: Tokens) -> Tokens:
        return Tokens(prompt=self.prompt - other.prompt, completion=self.completion - other.completion)

    @property
    def total(self) -> int:
        """Both together."""
        return self.prompt + self.completion


NO_TOKENS = Tokens()

CHARACTERS_PER_TOKEN = 3.5
"""Characters of a prompt that make a token, before a server has counted one: code and English have 3 to 4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a model costs; a price that is None is not known.

    Args:
        prompt: Per million prompt tokens, at least 0. Given together with ``completion``.
        completion: Per million completion tokens, at least 0.
        cached: Per million prompt tokens that the server had in its cache; None: as the others.
        hour: Per hour of the run's wall time, at least 0: a machine of one's own.
        currency: Of all of them.
        source: Where they were read, for people.
        date: When, for people.
    """

    prompt: float | None = None
    completion: float | None = None
    cached: float | None = None
    hour: float | None = None
    currency: str = "USD"
    source: str | None = None
    date: str | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "completion", "cached", "hour"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"the {name} price is {value!r}; it must be 0 or more")
        for given, missing in (("prompt", "completion"), ("completion", "prompt"), ("cached", "prompt")):
            if getattr(self, given) is not None and getattr(self, missing) is None:
                raise ConfigError(
                    f"a {given} price is given without a {missing} price; give both, 0 for what costs nothing"
                )
        if not self.currency.strip() or not self.currency.isprintable():
            raise ConfigError(f"the currency is {self.currency!r}; give its name, such as USD")

    @property
    def is_known(self) -> bool:
        """Whether anything has a price here, be it 0."""
        return self.prompt is not None or self.hour is not None

    def cost(self, spent: Spent) -> float | None:
        """Money for what was spent; None where nothing has a price."""
        if not self.is_known:
            return None
        tokens = Tokens(prompt=spent.prompt_tokens, completion=spent.completion_tokens)
        by_token = (
            self.with_cache(tokens, spent.cached_tokens) if spent.token_cost is None else spent.token_cost
        )
        return by_token + (self.hour or 0.0) * spent.seconds / 3600

    def with_cache(self, tokens: Tokens, cached: int) -> float:
        """Money for so many tokens, of whose prompts so many lay in the server's cache."""
        cached = min(cached, tokens.prompt)
        return self.of_tokens(tokens - Tokens(prompt=cached), cached)

    def of_tokens(self, tokens: Tokens, cached: int = 0) -> float:
        """Money for so many tokens, and for so many more of prompts that lay in the server's cache."""
        prompt, completion = self.prompt or 0.0, self.completion or 0.0
        from_cache = prompt if self.cached is None else self.cached
        return (tokens.prompt * prompt + tokens.completion * completion + cached * from_cache) / 1e6


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
        cached_tokens: Those of the prompts' that lay in a server's cache.
        seconds: Wall time of the run's process, in seconds.
        token_cost: Money for all of these tokens, where not all have the same prices; None where they have.
    """

    evaluations: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0
    token_cost: float | None = None


class Ledger:
    """Counts spending and decides whether one more request may start.

    A reservation is made before a request is sent and settled when its completions are in, so that requests in
    flight count, with their prompts. A prompt is taken to be as large as the last one that the server counted
    (those of one run grow slowly), before that one token per :data:`CHARACTERS_PER_TOKEN` characters; each
    completion as large as the largest so far, before any was seen as the request's own limit. So what is spent
    in the end passes a cap by the surprise of the last requests at most.

    Args:
        budget: The caps.
        spent: What earlier processes of the run spent.
        prices: For ``max_cost``; with a tariff those of what is not known yet, and so the dearest.
        tariff: Prices of a model, by its name, where they differ; None where ``prices`` are those of all.
        spoiled: Tokens that were spent for nothing so far, which count as well.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        budget: Budget,
        spent: Spent | None = None,
        *,
        prices: Prices | None = None,
        tariff: Callable[[str | None], Prices] | None = None,
        spoiled: Callable[[], Tokens] = lambda: NO_TOKENS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        spent = spent or Spent()
        self.budget = budget
        self.prices = prices or Prices()
        self.waiting = 0
        """Requests that wait for others in flight to need less than is reserved for them."""
        self._spoiled = spoiled
        self._tariff = tariff
        self._token_cost = spent.token_cost or 0.0
        self._clock = clock
        self._started = clock()
        self._earlier_s = spent.seconds
        self._tokens = Tokens(prompt=spent.prompt_tokens, completion=spent.completion_tokens)
        self._cached = spent.cached_tokens
        self._evaluations = spent.evaluations
        self._in_flight = NO_TOKENS
        self._last_prompt: int | None = None
        self._largest: int | None = None
        self._reached = False
        self._settled = asyncio.Event()

    @property
    def spent(self) -> Spent:
        """What is spent by now, in-flight work not counted."""
        spoiled = self._spoiled()
        tokens = self._tokens + spoiled
        return Spent(
            evaluations=self._evaluations,
            prompt_tokens=tokens.prompt,
            completion_tokens=tokens.completion,
            cached_tokens=self._cached,
            seconds=self._earlier_s + self._clock() - self._started,
            token_cost=None if self._tariff is None else self._token_cost + self.prices.of_tokens(spoiled),
        )

    @property
    def cost(self) -> float | None:
        """Money spent by now; None where nothing has a price."""
        return self.prices.cost(self.spent)

    def expected_tokens(
        self, choices: int, limit: int | None, characters: int | None = None, requests: int = 1
    ) -> Tokens:
        """What a request is taken to need.

        Args:
            choices: Completions that it is still to give; nothing is needed for 0.
            limit: The most tokens of each, where there is a limit.
            characters: Length of its prompt; None when the prompt's tokens are counted already.
            requests: How many times that prompt is still to be counted.
        """
        if not choices:
            return NO_TOKENS
        prompt = 0
        if characters is not None:
            estimate = math.ceil(characters / CHARACTERS_PER_TOKEN)
            prompt = self._last_prompt if self._last_prompt is not None else estimate
        each = self._largest if self._largest is not None else (limit or 0)
        return Tokens(prompt=requests * prompt, completion=choices * each)

    async def admit(self, tokens: Tokens) -> str | None:
        """Reserve tokens for one more request, or say why it may not start.

        Requests in flight mostly need less than is reserved for them: while only they stand in the way, this
        waits for them.

        Args:
            tokens: What the request is expected to need.

        Returns:
            None when the tokens are reserved, else why nothing more may start.
        """
        while self.stop_reason(tokens) is not None:
            reason = self.stop_reason(tokens, in_flight=False)
            if reason is not None:
                return reason
            self.waiting += 1
            try:
                await self._settled.wait()
            finally:
                self.waiting -= 1
        self.reserve(tokens)
        return None

    def stop_reason(
        self, ahead: Tokens | None = None, *, in_flight: bool = True, evaluates: bool = True
    ) -> str | None:
        """Why nothing more may start, or None if it may.

        Args:
            ahead: What the next request is expected to need; None asks without one.
            in_flight: Whether what is reserved counts as spent.
            evaluates: Whether candidates are to come of it, so that a cap on evaluations counts.
        """
        budget, spent = self.budget, self.spent
        if self._reached:
            return "target score reached"
        if evaluates and budget.max_evaluations is not None and spent.evaluations >= budget.max_evaluations:
            return f"{budget.max_evaluations} evaluations spent"
        if budget.max_seconds is not None and spent.seconds >= budget.max_seconds:
            return f"{budget.max_seconds:g} seconds spent"
        coming = (ahead or NO_TOKENS) + (self._in_flight if in_flight else NO_TOKENS)
        tokens = spent.prompt_tokens + spent.completion_tokens + coming.total
        if budget.max_tokens is not None and tokens > budget.max_tokens:
            return f"token budget of {budget.max_tokens} spent{self._unused(coming)}"
        cost = self.prices.cost(spent) or 0.0
        if budget.max_cost is not None and cost + self.prices.of_tokens(coming) >= budget.max_cost:
            money = f"{budget.max_cost:g} {self.prices.currency}"
            return f"money budget of {money} spent{self._unused(coming) if cost < budget.max_cost else ''}"
        return None

    def _unused(self, coming: Tokens) -> str:
        """Said where a budget ends before anything of it was used."""
        if self._tokens.total or not coming.total:
            return ""
        return (
            f", since the first request may take {coming.total} tokens; "
            "ask for less with --max-tokens, --answer-tokens (they add up) or --candidates"
        )

    def reserve(self, tokens: Tokens) -> None:
        """Count tokens as in flight."""
        self._in_flight += tokens

    def settle(self, tokens: Tokens) -> None:
        """Take back a reservation of so many tokens."""
        self._in_flight -= tokens
        settled, self._settled = self._settled, asyncio.Event()
        settled.set()

    def add_tokens(
        self,
        prompt: int | None,
        completion: int,
        cached: int = 0,
        *,
        is_forced: bool = False,
        model: str | None = None,
    ) -> None:
        """Count the tokens of one completion, as its server reported them.

        Args:
            prompt: Of its request's prompt; None where they are counted with another completion, or not at all.
            completion: Its own.
            cached: So many of the prompt's lay in the server's cache.
            is_forced: Whether its answer took a request of its own, whose prompt is among these: they tell nothing of
                prompts to come.
            model: Whose they are, for its prices.
        """
        self._count(Tokens(prompt=prompt or 0, completion=completion), cached, model)
        if prompt is not None and not is_forced:
            self._last_prompt = prompt
        if completion:
            self._largest = max(self._largest or 0, completion)

    def add_advice(self, prompt: int, completion: int, cached: int = 0, *, model: str | None = None) -> None:
        """Count the tokens of an answer that is no completion: they tell nothing of what completions will need.

        Args:
            prompt: Of its prompt.
            completion: Its own.
            cached: So many of the prompt's lay in the server's cache.
            model: Whose they are, for its prices.
        """
        self._count(Tokens(prompt=prompt, completion=completion), cached, model)

    def _count(self, tokens: Tokens, cached: int, model: str | None) -> None:
        self._tokens += tokens
        self._cached += cached
        if self._tariff is not None:
            self._token_cost += self._tariff(model).with_cache(tokens, cached)

    def add_evaluation(self) -> None:
        """Count one finished search evaluation."""
        self._evaluations += 1

    def reach_target(self) -> None:
        """Note that ``until`` was reached; nothing more starts."""
        self._reached = True
