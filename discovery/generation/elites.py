"""A chain's best candidates, for the overview in prompts: a fold of committed steps, bounded."""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection

from discovery.records import CandidateKey, CommittedStep, Direction, Outcome


class Elites:
    """The best few candidates of what was observed, each program once, and each result where the run knows equal ones.

    Args:
        direction: Which scores are better.
        most: How many are kept.
    """

    def __init__(self, direction: Direction, most: int) -> None:
        self._direction = direction
        self._most = most
        # Sorted by what comes first: better scores, then older candidates.
        self._kept: list[tuple[float, CandidateKey, Outcome]] = []

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step.

        Args:
            step: Every step once, in order.
        """
        for outcome in step.outcomes:
            # Not by ``duplicate_of``: which of two equal sources of different chains is the copy, timing decides.
            if outcome.score is None:
                continue
            if any(outcome.is_twin(kept) for _, _, kept in self._kept):
                continue
            place = (-self._direction.key(outcome.score), outcome.key, outcome)
            if len(self._kept) < self._most or (self._kept and place < self._kept[-1]):
                insort(self._kept, place)
                del self._kept[self._most :]

    def beside(self, shown: Collection[CandidateKey], most: int) -> list[tuple[CandidateKey, float]]:
        """The best of them with their scores, the best first.

        Args:
            shown: Those that are left out: the parents.
            most: How many.
        """
        best = [(key, kept.score) for _, key, kept in self._kept if key not in shown]
        return [(key, score) for key, score in best[:most] if score is not None]
