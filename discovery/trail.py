"""What generators learn from beside the parents: a chain's best candidates, a bounded fold of its committed steps.

A step's trail is stored with it (``selection["trail"]``), so that a step that is taken up again asks for what it
asked for before. Scores are distinct: equally good variants of one program would crowd out all else and tell nothing.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping

from discovery.records import CandidateKey, CommittedStep, Direction, Json

MOST = 16
"""Candidates of a trail."""
NAME = "trail"
"""Its name in a step's ``selection``."""


class Trail:
    """The best candidates of one chain, of each score the oldest.

    Args:
        direction: Which scores are better.
        most: How many are kept.
    """

    def __init__(self, direction: Direction, most: int = MOST) -> None:
        self._direction = direction
        self._most = most
        self._kept: list[tuple[float, CandidateKey]] = []  # by quality, the worst first

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step.

        Args:
            step: Every step once, in order.
        """
        for outcome in step.outcomes:
            # Not by ``duplicate_of``: which of two equal sources of different chains is the copy, timing decides.
            if outcome.score is None:
                continue
            quality = self._direction.key(outcome.score)
            if all(quality != kept for kept, _ in self._kept):
                insort(self._kept, (quality, outcome.key))
                del self._kept[: -self._most]

    def keys(self) -> tuple[CandidateKey, ...]:
        """The candidates, oldest first."""
        return tuple(sorted(key for _, key in self._kept))


def as_json(keys: tuple[CandidateKey, ...]) -> Json:
    """As it is stored with a step."""
    return [str(key) for key in keys]


def stored_trail(selection: Mapping[str, Json]) -> tuple[CandidateKey, ...]:
    """The trail of a stored step; empty for one of a version that had none."""
    return tuple(CandidateKey.parse(text) for text in selection.get(NAME, ()))
