"""Best of N: every step starts from the initial candidate, so N independent proposals are made of it.

No search at all: the baseline that any selector has to beat at equal budget.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from discovery.records import CommittedStep, Direction, Json
from discovery.selection.base import Selection
from discovery.selection.history import History, require_choice


class BestOfN:
    """Always the initial candidate: N independent proposals, the baseline to beat.

    Args:
        direction: Which scores are better; it does not matter here.
    """

    name = "best-of-n"

    def __init__(self, direction: Direction) -> None:
        self.params: Mapping[str, Json] = {}
        self._direction = direction
        self._chains: dict[int, History] = {}

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step; only step 0 matters."""
        if step.step == 0:
            self._chains.setdefault(step.chain, History(self._direction)).observe(step)

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """The initial candidate.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        history = require_choice(self._chains.get(chain), chain, count)
        return Selection(parents=(history.keys[0],))
