"""Balance: each parent is drawn by exploitation, by elite or by exploration, in fixed ratios.

For every parent a kind is drawn: *exploitation* takes the best candidate that is not chosen yet, *elite*
one of the best few, *exploration* any of the chain's history. With exploitation alone it is greedy: the
best as the main parent, then the next best. Greed is right where the landscape has one hill.

Source: the exploitation, exploration and elite ratios that evolutionary program search commonly uses, for
example AlphaEvolve-like systems; the definition here is our own.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Mapping

import numpy as np

from discovery.errors import ConfigError
from discovery.records import CommittedStep, Direction, Json
from discovery.selection.base import Selection
from discovery.selection.history import Ranked, free_rank, require_choice

_KINDS = ("exploitation", "elite", "exploration")


class Balance:
    """Each parent drawn by kind: the best one left, one of the best few, or any, in fixed ratios.

    See the module docstring. All draws come from the generator given to ``choose``.

    Args:
        direction: Which scores are better.
        exploitation: Weight of taking the best one left, 0 or more.
        elite: Weight of taking one of the best ``elites``, uniformly, 0 or more.
        exploration: Weight of taking any, uniformly, 0 or more.
        elites: How many candidates are elite, 1 or more.

    Raises:
        ConfigError: A parameter is out of range, or all weights are zero.
    """

    name = "balance"

    def __init__(
        self,
        direction: Direction,
        *,
        exploitation: float = 0.6,
        elite: float = 0.2,
        exploration: float = 0.2,
        elites: int = 8,
    ) -> None:
        weights = {"exploitation": exploitation, "elite": elite, "exploration": exploration}
        for name, weight in weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"balance: {name} is {weight!r}; it must be a finite number, 0 or more")
        total = sum(weights.values())
        if not 0 < total < math.inf:
            raise ConfigError("balance: all of exploitation, elite and exploration are 0; give one a weight")
        if elites < 1:
            raise ConfigError(f"balance: elites is {elites!r}; it must be 1 or more")
        self.params: Mapping[str, Json] = {**weights, "elites": elites}
        self._direction = direction
        self._elites = elites
        self._exploitation = exploitation / total
        self._elite = elite / total
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
        """Draw up to ``count`` distinct parents, in O(count log n + count^2).

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        ranked = self._chains.get(chain)
        history = require_choice(ranked.history if ranked else None, chain, count)
        assert ranked is not None
        taken: list[int] = []
        picks: list[tuple[int, str]] = []
        for _ in range(min(count, len(history))):
            kind = self._kind(rng.random())
            if kind == "exploitation":
                rank = free_rank(taken, 0)
            else:
                limit = min(self._elites, len(history)) if kind == "elite" else len(history)
                free = limit - sum(1 for rank in taken if rank < limit)
                # When every elite is taken, the best one left is the nearest to what was meant.
                rank = free_rank(taken, int(rng.integers(free)) if free else 0)
            insort(taken, rank)
            picks.append((rank, kind))
        positions = [ranked.at(rank) for rank, _ in picks]
        return Selection(
            parents=tuple(history.keys[position] for position in positions),
            values={
                "parents": [
                    {"score": history.score(position), "rank": rank, "drawn_by": kind}
                    for position, (rank, kind) in zip(positions, picks, strict=True)
                ],
                "history": len(history),
            },
        )

    def _kind(self, draw: float) -> str:
        if draw < self._exploitation:
            return _KINDS[0]
        # With no exploration, rounding of the sum must not leave a sliver for it.
        if draw < self._exploitation + self._elite or not self.params["exploration"]:
            return _KINDS[1] if self._elite else _KINDS[0]
        return _KINDS[2]
