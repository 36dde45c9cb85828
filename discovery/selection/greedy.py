"""Greedy: the best candidate of the chain is the main parent, then the next best ones.

No randomness and no memory of what was tried: on a landscape with one hill nothing is faster, and on any other it stays
on the hill that it climbed first. The plain baseline beside best-of-N.

Source: steepest-ascent hill climbing over a chain's history, which is textbook; the definition here is our own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from discovery.records import CommittedStep, Direction, Json
from discovery.selection.base import Selection
from discovery.selection.history import Ranked, require_choice


class Greedy:
    """The best, then the next best: fastest where the landscape has one hill.

    Args:
        direction: Which scores are better.
    """

    name = "greedy"

    def __init__(self, direction: Direction) -> None:
        self.params: Mapping[str, Json] = {}
        self._direction = direction
        self._chains: dict[int, Ranked] = {}

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step, in O(log n).

        Raises:
            ValueError: The step is out of order.
        """
        chain = self._chains.get(step.chain)
        if chain is None:
            chain = self._chains[step.chain] = Ranked(self._direction)
        chain.observe(step)

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """The ``count`` best, in O(count log n); of equals the earlier one comes first.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        ranked = self._chains.get(chain)
        history = require_choice(ranked.history if ranked else None, chain, count)
        assert ranked is not None
        positions = [ranked.at(rank) for rank in range(min(count, len(history)))]
        return Selection(
            parents=tuple(history.keys[position] for position in positions),
            values={
                "parents": [{"score": history.score(position)} for position in positions],
                "history": len(history),
            },
        )
