"""How long a prompt may be, in tokens, and what is left out first.

A prompt has the model's context but for what an answer may take, and at least half of it. It is counted by the server's
own tokenizer where there is one, and only where it might not fit: no text has more tokens than bytes. Elsewhere tokens
are estimated from what earlier prompts of the same chain were counted as, by :class:`Rate`. Both depend on nothing but
the prompt and committed steps, so equal seeds give equal prompts.

What is left out, in this order, until the rest fits: the elite overview; the sources of the other parents, oldest
first, whose scores stay; insights; long feedback; messages of failures; then the middle of what is frozen in the main
parent. The statement and what may change of the main parent are never touched: where they take too much, another
main parent is chosen (:mod:`discovery.briefing`).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from discovery.records import Message

FEEDBACK_LENGTH = 2000
"""Characters shown of a scorer's feedback on one parent."""
LEAST_ANSWER = 64
"""Tokens that must be left for an answer, or nothing is worth asking."""
_OVERHEAD = 256  # tokens that a chat template may put around messages
_SHORTER_FEEDBACK = (500, 100, 0)
_FROZEN_LINES = (40, 10, 2)
_MARGIN = 1.05
_CLEARLY = 1.15  # a prompt that is estimated at more than this times the room need not be counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """How much of what is known a prompt says.

    Args:
        elites: Most rows of the overview; None: as many as there are.
        sources: Other parents shown with their source, the newest ones; None: all.
        insights: Whether insights are shown.
        feedback: Most characters of a parent's feedback.
        failures: Most messages of each kind of failure; None: as configured.
        frozen: Lines kept at each end of each frozen part of the main parent; None: all.
    """

    elites: int | None = None
    sources: int | None = None
    insights: bool = True
    feedback: int = FEEDBACK_LENGTH
    failures: int | None = None
    frozen: int | None = None


FULL = Detail()


def details(*, elites: int, others: int, failures: int) -> tuple[Detail, ...]:
    """All that a prompt may be shortened to, from everything to the least.

    Args:
        elites: Rows of the overview.
        others: Parents beside the main one.
        failures: Messages of each kind of failure.
    """
    found = [FULL]

    def less(**change: int | bool) -> None:
        found.append(replace(found[-1], **change))  # type: ignore[arg-type]

    if elites:
        less(elites=0)
    for sources in range(others - 1, -1, -1):
        less(sources=sources)
    less(insights=False)
    for characters in _SHORTER_FEEDBACK:
        less(feedback=characters)
    for messages in (1, 0):
        if messages < failures:
            less(failures=messages)
    for lines in _FROZEN_LINES:
        less(frozen=lines)
    return tuple(found)


def room(context: int, answer: int | None) -> int:
    """Tokens that a prompt may have.

    Args:
        context: Tokens of prompt and answer together.
        answer: Most tokens of an answer; None where that is not known.
    """
    return context - min(answer or 0, context // 2)


def least_detail() -> Detail:
    """How little a prompt may say."""
    return details(elites=0, others=0, failures=0)[-1]


def room_at_last(context: int, answer: int | None, initial: int) -> int:
    """Tokens that a prompt may have where even the shortest has more than its :func:`room`.

    An answer then has at least half of what the initial candidate leaves it: one that is cut off is wasted, and a
    program that was found takes more than the one that the search began with.

    Args:
        context: Tokens of prompt and answer together.
        answer: Most tokens of an answer; None where that is not known.
        initial: Tokens of the shortest prompt that shows the initial candidate.
    """
    return max(min(room(context, answer), context - LEAST_ANSWER), (initial + context) // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Characters per token, as measured; for servers that count no tokens before they are sent.

    Args:
        characters: Of a prompt that was sent.
        tokens: What the server counted it as.
    """

    characters: int
    tokens: int

    def tokens_of(self, messages: Sequence[Message]) -> int:
        """An estimate of what a prompt takes, rather too many than too few."""
        return math.ceil(_MARGIN * characters(messages) * self.tokens / self.characters)


CAUTIOUS = Rate(characters=5, tokens=2)
"""Where nothing was measured: source code, cut small."""


def characters(messages: Sequence[Message]) -> int:
    """How long a prompt is."""
    return sum(len(message.content) for message in messages)


def ceiling(messages: Sequence[Message]) -> int:
    """Tokens that a prompt cannot have more of: a token is a byte at least."""
    return sum(len(message.content.encode()) for message in messages) + _OVERHEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A prompt that is as long as it may be, or as short as it can be.

    Args:
        messages: The prompt.
        detail: What it says.
        tokens: What it takes at most.
        fits: Whether that is within the room.
    """

    messages: tuple[Message, ...]
    detail: Detail
    tokens: int
    fits: bool


async def fitted(
    make: Callable[[Detail], tuple[Message, ...]],
    shorter: Sequence[Detail],
    most: int,
    count: Callable[[Sequence[Message]], Awaitable[int]],
) -> Fitted:
    """The first prompt that fits; else the last one.

    Args:
        make: Composes a prompt.
        shorter: What to try, the most first; at least one.
        most: Tokens that it may have.
        count: Tokens of a prompt.
    """
    rate: Rate | None = None
    for detail in shorter:
        messages = make(detail)
        if (bound := ceiling(messages)) <= most:
            return Fitted(messages=messages, detail=detail, tokens=bound, fits=True)
        if rate is not None and detail is not shorter[-1] and rate.tokens_of(messages) > _CLEARLY * most:
            continue
        tokens = await count(messages)
        if tokens <= most or detail is shorter[-1]:
            return Fitted(messages=messages, detail=detail, tokens=tokens, fits=tokens <= most)
        rate = Rate(characters=max(1, characters(messages)), tokens=max(1, tokens))
    raise ValueError("nothing to try")
