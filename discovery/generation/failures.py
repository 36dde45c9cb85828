"""Failure statistics: what went wrong so far, for the prompt.

A fold over committed steps, like a selector: live and replayed statistics are equal. Every failure kind
counts, time-outs and crashes as well as what the scorer refused, because a model that is not told of them
repeats them. Memory is
bounded: counts per kind, and per kind the latest few distinct messages, cut to one short line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from discovery.records import CommittedStep, FailureKind

MESSAGES_KEPT = 3
"""Distinct messages kept of each kind, the latest ones."""
MESSAGE_LENGTH = 240
"""Characters kept of a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """How often one thing went wrong.

    Args:
        kind: What went wrong.
        count: How many candidates.
        messages: Its latest distinct messages, the most recent first, one line each.
    """

    kind: FailureKind
    count: int
    messages: tuple[str, ...]


class FailureStatistics:
    """Counts of failures by kind with recent examples, folded from committed steps.

    One instance may be fed with one chain or with all of a run, as its owner likes.
    """

    def __init__(self, steps: Iterable[CommittedStep] = ()) -> None:
        self._candidates = 0
        self._counts: dict[FailureKind, int] = {}
        self._messages: dict[FailureKind, dict[str, None]] = {}
        for step in steps:
            self.observe(step)

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step; step 0, the initial candidate, counts for nothing.

        Args:
            step: Every step once, in order.
        """
        if step.step == 0:
            return
        for outcome in step.outcomes:
            self._candidates += 1
            if outcome.failure is None:
                continue
            self._counts[outcome.failure] = self._counts.get(outcome.failure, 0) + 1
            message = one_line(outcome.message or "", MESSAGE_LENGTH)
            if not message:
                continue
            kept = self._messages.setdefault(outcome.failure, {})
            kept.pop(message, None)
            kept[message] = None
            if len(kept) > MESSAGES_KEPT:
                del kept[next(iter(kept))]

    @property
    def candidates(self) -> int:
        """How many candidates were observed, valid ones included."""
        return self._candidates

    @property
    def failures(self) -> int:
        """How many of them failed."""
        return sum(self._counts.values())

    @property
    def counts(self) -> Mapping[FailureKind, int]:
        """Failures by kind."""
        return dict(self._counts)

    def ranked(self) -> tuple[FailureCount, ...]:
        """All kinds that occurred, the most frequent first; ties in the order of ``FailureKind``."""
        order = {kind: place for place, kind in enumerate(FailureKind)}
        kinds = sorted(self._counts, key=lambda kind: (-self._counts[kind], order[kind]))
        return tuple(
            FailureCount(
                kind=kind,
                count=self._counts[kind],
                messages=tuple(reversed(self._messages.get(kind, {}))),
            )
            for kind in kinds
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FailureStatistics):
            return NotImplemented
        return (self._candidates, self.ranked()) == (other._candidates, other.ranked())

    __hash__ = None  # type: ignore[assignment]


def one_line(text: str, length: int) -> str:
    """A text on one line, cut to a length.

    Args:
        text: Anything, possibly written by a candidate.
        length: Most characters kept.

    Returns:
        The text with every run of white space as one space.
    """
    line = " ".join(text[: 4 * length].split())
    return line if len(line) <= length else line[: length - 1] + "…"
