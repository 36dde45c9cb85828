"""What the fake model server counts: busy slots, and totals under vLLM's names, where every choice is a request."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK = 16
"""Tokens of a block of the prefix cache: only whole ones are shared."""
REASONS = ("stop", "length", "abort", "error", "repetition")


@dataclass(slots=True)
class Counters:
    """Totals since the server began.

    Args:
        prompt_tokens: Tokens of prompts, for each choice.
        generated: Generated tokens.
        queries: Prompt tokens looked up in the prefix cache.
        hits: Those found.
        preemptions: Choices put back; nothing here does, tests may.
        successes: Choices by finish reason.
    """

    prompt_tokens: int = 0
    generated: int = 0
    queries: int = 0
    hits: int = 0
    preemptions: int = 0
    successes: Counter[str] = field(default_factory=Counter)
    _cached: set[int] = field(default_factory=set)

    def prompted(self, prompt: Sequence[int]) -> None:
        """One choice reads its prompt: as much of it as whole blocks, seen before, is in the cache."""
        self.prompt_tokens += len(prompt)
        self.queries += len(prompt)
        prefix, missed = 0, False
        for start in range(0, len(prompt) - BLOCK + 1, BLOCK):
            prefix = hash((prefix, tuple(prompt[start : start + BLOCK])))
            missed = missed or prefix not in self._cached
            # The last token is always computed, for there is nothing to go on from without it.
            if not missed and start + BLOCK < len(prompt):
                self.hits += BLOCK
            self._cached.add(prefix)

    def page(self, model: str, running: float, waiting: float, usage: float) -> str:
        """The metrics page.

        Args:
            model: Name of what is served.
            running: Choices being generated.
            waiting: Choices that wait.
            usage: Used share of the cache.
        """
        labels = f'engine="0",model_name="{model}"'
        rows: list[tuple[str, str, float]] = [
            ("num_requests_running", labels, running),
            ("num_requests_waiting", labels, waiting),
            ("num_requests_waiting_by_reason", f'{labels},reason="capacity"', waiting),
            ("num_requests_waiting_by_reason", f'{labels},reason="deferred"', 0),
            ("kv_cache_usage_perc", labels, usage),
            ("prefix_cache_queries_total", labels, self.queries),
            ("prefix_cache_hits_total", labels, self.hits),
            ("num_preemptions_total", labels, self.preemptions),
            ("prompt_tokens_total", labels, self.prompt_tokens),
            ("generation_tokens_total", labels, self.generated),
        ]
        for reason in REASONS:
            named = f'engine="0",finished_reason="{reason}",model_name="{model}"'
            rows.append(("request_success_total", named, self.successes[reason]))
        return "".join(f"vllm:{name}{{{where}}} {value:.17g}\n" for name, where, value in rows)


@dataclass(slots=True)
class Slots:
    """Who is busy, and for how long altogether; for ``async with``.

    Args:
        count: How many there are.
    """

    count: int
    free: asyncio.Semaphore = field(init=False)
    busy_s: float = 0.0
    waiting: int = 0
    since: dict[object, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.free = asyncio.Semaphore(self.count)

    async def __aenter__(self) -> None:
        self.waiting += 1
        try:
            await self.free.acquire()
        finally:
            self.waiting -= 1
        self.since[asyncio.current_task()] = time.monotonic()

    async def __aexit__(self, *exc: object) -> None:
        self.busy_s += time.monotonic() - self.since.pop(asyncio.current_task())
        self.free.release()

    def total_s(self, now: float) -> float:
        """Busy slot-seconds so far.

        Args:
            now: By the monotonic clock.
        """
        return self.busy_s + sum(now - start for start in self.since.values())
