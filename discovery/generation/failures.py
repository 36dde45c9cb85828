"""Failure statistics: what went wrong so far, for the prompt.

A fold over committed steps, like a selector: live and replayed statistics are equal. Every failure kind
counts, time-outs and crashes as well as what the scorer refused, because a model that is not told of them
repeats them.

Messages that differ in numbers, names and addresses alone are one pattern, counted together and shown by its latest
message: "circles 3 and 7 overlap" and "circles 1 and 2 overlap" are the same mistake, made twice. Memory is bounded:
counts per kind, and per kind a number of patterns, of which the rarest are forgotten first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from discovery.records import CommittedStep, FailureKind

MESSAGES_SHOWN = 3
"""Patterns shown of each kind, unless told otherwise."""
PATTERNS_KEPT = 32
"""Patterns counted of each kind."""
MESSAGE_LENGTH = 240
"""Characters kept of a message."""

_VARIABLE = re.compile(
    r"""
    `[^`]{0,200}` | "[^"]{0,200}" | (?<!\w)'[^']{0,200}'(?!\w)    # what is quoted
    | 0[xX][0-9a-fA-F]+ | \b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b        # addresses, hashes
    | (?:/[\w.+-]+){2,}                                          # paths
    | [-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?                 # numbers, keys of candidates
    | \b(?:nan|inf|infinity)\b
    """,
    re.VERBOSE,
)
_LISTED = re.compile(r"#(?:[ ]?[,.;:x×][ ]?#|[ ]#)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePattern:
    """Messages that are alike.

    Args:
        message: The latest of them, on one line.
        count: How many candidates failed with one.
    """

    message: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCount:
    """How often one thing went wrong.

    Args:
        kind: What went wrong.
        count: How many candidates.
        patterns: Those that are kept, the most frequent first, the latest of equals.
        latest: The pattern that occurred last; None where there was no message.
    """

    kind: FailureKind
    count: int
    patterns: tuple[FailurePattern, ...]
    latest: FailurePattern | None = None

    def shown(self, most: int) -> tuple[FailurePattern, ...]:
        """The most frequent patterns, and always the latest: what goes wrong now matters most.

        Args:
            most: How many.
        """
        first = self.patterns[:most]
        if not first or self.latest is None or self.latest in first:
            return first
        return (*first[:-1], self.latest)


@dataclass(slots=True)
class _Kept:
    """A pattern while it is counted; ``last`` is when it occurred, in failures of its kind."""

    message: str
    count: int
    last: int


class FailureStatistics:
    """Counts of failures by kind with recent examples, folded from committed steps.

    One instance may be fed with one chain or with all of a run, as its owner likes.
    """

    def __init__(self, steps: Iterable[CommittedStep] = ()) -> None:
        self._candidates = 0
        self._counts: dict[FailureKind, int] = {}
        self._patterns: dict[FailureKind, dict[str, _Kept]] = {}
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
            now = self._counts[outcome.failure] = self._counts.get(outcome.failure, 0) + 1
            message = one_line(outcome.message or "", MESSAGE_LENGTH)
            if message:
                self._count(self._patterns.setdefault(outcome.failure, {}), message, now)

    @staticmethod
    def _count(patterns: dict[str, _Kept], message: str, now: int) -> None:
        name = pattern_of(message)
        kept = patterns.get(name)
        if kept is not None:
            kept.message, kept.count, kept.last = message, kept.count + 1, now
            return
        if len(patterns) >= PATTERNS_KEPT:
            del patterns[min(patterns, key=lambda each: (patterns[each].count, patterns[each].last))]
        patterns[name] = _Kept(message, 1, now)

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
        return tuple(self._row(kind) for kind in kinds)

    def _row(self, kind: FailureKind) -> FailureCount:
        kept = sorted(self._patterns.get(kind, {}).values(), key=lambda each: (-each.count, -each.last))
        patterns = tuple(FailurePattern(message=each.message, count=each.count) for each in kept)
        latest = max(range(len(kept)), key=lambda place: kept[place].last, default=None)
        return FailureCount(
            kind=kind,
            count=self._counts[kind],
            patterns=patterns,
            latest=None if latest is None else patterns[latest],
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FailureStatistics):
            return NotImplemented
        return (self._candidates, self.ranked()) == (other._candidates, other.ranked())

    __hash__ = None  # type: ignore[assignment]


def pattern_of(message: str) -> str:
    """What a message has in common with others like it: all of it but numbers, names and addresses.

    Args:
        message: On one line, cut to :data:`MESSAGE_LENGTH`.
    """
    return _LISTED.sub("#", _VARIABLE.sub("#", message))


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
