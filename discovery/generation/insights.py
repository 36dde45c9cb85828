"""What was learned from earlier candidates, for the prompt: one approach and one insight of each, few of them.

A fold over reflections in the order of their steps, so live and replayed ones are equal. Memory is bounded:
improvements are kept longest, but never more than half, since what did not work is worth as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from discovery.records import CandidateKey

MOST = 8
"""Insights that are kept and shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """What a model made of one committed candidate.

    Args:
        key: The candidate.
        score: Its score.
        is_improvement: Whether it was better than all of the chain before it.
        approach: What it tries, in one line; empty where the model did not say.
        insight: What is to be learned from how it did, in one line; empty where the model did not say.
    """

    key: CandidateKey
    score: float
    is_improvement: bool
    approach: str
    insight: str


class Insights:
    """A chain's insights, folded one by one."""

    def __init__(self) -> None:
        self._kept: list[Insight] = []

    @property
    def shown(self) -> tuple[Insight, ...]:
        """Those that are kept, oldest first."""
        return tuple(self._kept)

    def add(self, insight: Insight) -> None:
        """Take one in; what it says again is dropped, and where there are too many, the one that is least worth it."""
        self._kept = [kept for kept in self._kept if _said(kept) != _said(insight)]
        self._kept.append(insight)
        if len(self._kept) <= MOST:
            return
        improvements = [kept for kept in self._kept if kept.is_improvement]
        others = [kept for kept in self._kept if not kept.is_improvement]
        self._kept.remove(improvements[0] if len(improvements) > MOST // 2 else others[0])


def _said(insight: Insight) -> tuple[str, str]:
    return insight.approach.casefold(), insight.insight.casefold()


def _closed(sentence: str) -> str:
    """A sentence with a mark at its end, so that the next one does not run on from it."""
    return sentence if sentence[-1] in ".!?:;…" else f"{sentence}."


def insights_section(insights: Sequence[Insight]) -> str:
    """What a prompt says of them, oldest first."""
    lines = ["# Insights so far", "", "What earlier candidates tried, and what was learned from each:", ""]
    for insight in insights:
        mark = ", the best until then" if insight.is_improvement else ""
        said = " ".join(map(_closed, filter(None, (insight.approach, insight.insight))))
        lines.append(f"- Score {insight.score!r}{mark}: {said}")
    return "\n".join(lines)
