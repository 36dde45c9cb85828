"""Greedy: the best candidate of the chain is the main parent, then the next best ones.

No randomness and no memory of what was tried: on a landscape with one hill nothing is faster, and on any other it stays
on the hill that it climbed first. The plain baseline beside best-of-N. Of each chain the best ``MOST`` candidates are
kept, so that a step costs the same in long chains.

Source: steepest-ascent hill climbing over a chain's history, which is textbook; the definition here is our own.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping

import numpy as np

from discovery.records import CommittedStep, Direction, Json
from discovery.selection.base import Selection
from discovery.selection.history import History, require_choice

MOST = 1024
"""The most parents that can be asked for."""


class Greedy:
    """The best, then the next best: fastest where the landscape has one hill.

    Args:
        direction: Which scores are better.
    """

    name = "greedy"

    def __init__(self, direction: Direction) -> None:
        self.params: Mapping[str, Json] = {}
        self._direction = direction
        self._chains: dict[int, History] = {}
        # Of each chain the best: quality, negative, and position; best first, earlier first among equals.
        self._best: dict[int, list[tuple[float, int]]] = {}

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step, in constant time.

        Raises:
            ValueError: The step is out of order.
        """
        history = self._chains.get(step.chain)
        if history is None:
            history = self._chains[step.chain] = History(self._direction)
            self._best[step.chain] = []
        position = history.observe(step)
        if position is not None:
            best = self._best[step.chain]
            insort(best, (-history.qualities[position], position))
            del best[MOST:]

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """The ``count`` best, of equals the earlier one first.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        history = require_choice(self._chains.get(chain), chain, count)
        positions = [position for _, position in self._best[chain][:count]]
        return Selection(
            parents=tuple(history.keys[position] for position in positions),
            values={
                "parents": [{"score": history.score(position)} for position in positions],
                "history": len(history),
            },
        )
