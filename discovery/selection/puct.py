"""PUCT: the rule that AlphaZero descends its tree by, over all candidates of a chain at once.

There is no tree to descend: any candidate may be continued from, so the rule ranks them all.

**Visits and back-up.** Each committed step is one simulation. Its path is the parents that its prompt showed, which are
generation 1, then the main parent's main parent, the main parent of that, and so on up to generation ``horizon``. All
on the path are told the normalised score of what the step committed, or 0 where it committed nothing new. A visit is
being a parent: unlike a node that a search only passes through, any candidate may be continued from, and if ancestors
were charged with their descendants' visits, the initial one would never have another turn.

**Value** of a candidate, from its own normalised score v and from what it was told, w from g generations below:

- ``backup = max``: the largest of v and all gamma^g x w. A search wants the best that can come of a candidate.
- ``backup = mean``: (v + sum of gamma^g x w) / (1 + sum of gamma^g), as AlphaZero's mean over simulations. A candidate
  whose descendants disappoint is left.

Only normalised scores are decayed or summed, never raw ones; see ``scale``.

**Prior** by rank: of the m candidates that compete the one with the r-th best own score (r from 0) has (m - r) / (1 +
2 + ... + m). So priors sum to 1, and everyone's is positive.

**Priority.** ``value + c x prior x sqrt(1 + expansions of the chain) / (1 + visits)``. Parents are taken by priority,
better own scores first among equals, then earlier ones. Each excludes the parents and children of those before it, so
that a prompt shows different lines of thought; where that leaves fewer than were asked for, fewer are returned.

**Cost** is flat in the length of the chain. Only the ``pool`` candidates of the highest values compete; each of them
has its turn as the square root grows, the lower its prior the later. A step tells at most ``horizon`` generations, and
what was told is summed afresh only when the scale is renewed.

Source: the priority is PUCT of AlphaZero (Silver et al., Science 362, 2018; after Rosin, 2011). Its use over a buffer
of programs, with the best result instead of the mean and a prior by rank, follows TTT-Discover, arXiv 2601.16175, and
SimpleTES, arXiv 2604.19341. The horizon, the pool and the frozen scale are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice

import numpy as np
from sortedcontainers import SortedList

from discovery.errors import ConfigError
from discovery.records import CommittedStep, Direction, Json
from discovery.selection.base import Selection
from discovery.selection.history import History, require_choice, without_neighbours
from discovery.selection.scale import Scale

BACKUPS = ("max", "mean")


class Puct:
    """AlphaZero's rule: value of a candidate and its descendants, prior by rank, few visits.

    See the module docstring. It draws nothing at random.

    Args:
        direction: Which scores are better.
        c: Weight of exploration, 0 or more; 0 is greedy by value.
        backup: ``max`` or ``mean`` of what a candidate's descendants scored.
        gamma: What a generation takes of a descendant's weight, 0 to 0.99.
        horizon: How many generations are told of a step, 1 to 64.
        pool: How many candidates compete, 1 or more.

    Raises:
        ConfigError: A parameter is out of range.
    """

    name = "puct"

    def __init__(
        self,
        direction: Direction,
        *,
        c: float = 1.0,
        backup: str = "max",
        gamma: float = 0.8,
        horizon: int = 8,
        pool: int = 256,
    ) -> None:
        if not (math.isfinite(c) and c >= 0):
            raise ConfigError(f"puct: c is {c!r}; it must be a finite number, 0 or more")
        if backup not in BACKUPS:
            raise ConfigError(f"puct: backup is {backup!r}; it must be {' or '.join(BACKUPS)}")
        if not 0 <= gamma <= 0.99:
            raise ConfigError(f"puct: gamma is {gamma!r}; it must be from 0 to 0.99")
        if not 1 <= horizon <= 64:
            raise ConfigError(f"puct: horizon is {horizon!r}; it must be from 1 to 64")
        if pool < 1:
            raise ConfigError(f"puct: pool is {pool!r}; it must be 1 or more")
        self.params: Mapping[str, Json] = {
            "c": c,
            "backup": backup,
            "gamma": gamma,
            "horizon": horizon,
            "pool": pool,
        }
        self._direction = direction
        self._c = c
        self._is_mean = backup == "mean"
        self._weights = tuple(gamma**generation for generation in range(1, horizon + 1))
        self._pool = pool
        self._chains: dict[int, _Tree] = {}

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step, in O(horizon x log n) amortised.

        Raises:
            ValueError: The step is out of order.
        """
        tree = self._chains.get(step.chain)
        if tree is None:
            tree = self._chains[step.chain] = _Tree(self._direction, self._weights, self._is_mean)
        tree.observe(step)

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """The candidates of the highest priority, without neighbours.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        tree = self._chains.get(chain)
        history = require_choice(tree.history if tree else None, chain, count)
        assert tree is not None
        places = tree.highest(self._pool)
        positions = [position for _, _, position in places]
        values = np.array([-value for value, _, _ in places])
        qualities = np.array([-quality for _, quality, _ in places])
        visits = np.array([tree.visits[position] for position in positions], dtype=np.float64)
        by_score = np.lexsort((np.array(positions), -qualities))
        priors = np.empty(len(positions))
        priors[by_score] = np.arange(len(positions), 0, -1) / (len(positions) * (len(positions) + 1) / 2)
        priorities = values + self._c * priors * math.sqrt(1 + history.expansions) / (1.0 + visits)
        order = by_score[np.argsort(-priorities[by_score], kind="stable")].tolist()
        picked = without_neighbours(order, positions, tree.parents, count)
        return Selection(
            parents=tuple(history.keys[positions[index]] for index in picked),
            values={
                "parents": [
                    {
                        "score": history.score(positions[index]),
                        "value": round(float(values[index]), 6),
                        "prior": round(float(priors[index]), 6),
                        "visits": tree.visits[positions[index]],
                        "priority": round(float(priorities[index]), 6),
                    }
                    for index in picked
                ],
                "expansions": history.expansions,
            },
        )


class _Tree:
    """One chain's candidates with parents, visits and values.

    Args:
        direction: Which scores are better.
        weights: Of what a candidate is told, by generation, from the first.
        is_mean: Whether values are means, or maxima.
    """

    def __init__(self, direction: Direction, weights: tuple[float, ...], is_mean: bool) -> None:
        self.history = History(direction)
        self.visits: list[int] = []
        self.values: list[float] = []
        self._weights = weights
        self._is_mean = is_mean
        self.parents: list[tuple[int, ...]] = []
        # For the mean: sums of what was told, own score included, and of its weights.
        self._sums: list[float] = []
        self._totals: list[float] = []
        self._steps: list[tuple[tuple[int, ...], int | None]] = []
        self._scale = Scale()
        self._by_value: SortedList[tuple[float, float, int]] = SortedList()

    def observe(self, step: CommittedStep) -> None:
        parents = tuple(p for p in map(self.history.position, dict.fromkeys(step.parents)) if p is not None)
        position = self.history.observe(step)
        is_renewed = False
        if position is not None:
            quality = self.history.qualities[position]
            is_renewed = self._scale.add(quality)
            self.parents.append(parents)
            self.visits.append(0)
            value = self._scale.normalised(quality)
            for column in (self.values, self._sums):
                column.append(value)
            self._totals.append(1.0)
        for parent in parents:
            self.visits[parent] += 1
        self._steps.append((parents, position))
        if is_renewed:
            self._renew()
            return
        path = self._path(parents)
        for ancestor, _ in path:
            self._by_value.remove(self._order(ancestor))
        self._tell(path, position)
        for ancestor, _ in path:
            self._by_value.add(self._order(ancestor))
        if position is not None:
            self._by_value.add(self._order(position))

    def highest(self, pool: int) -> list[tuple[float, float, int]]:
        """Value and quality, both negative, and position of the candidates of the highest values."""
        return list(islice(self._by_value, pool))

    def _path(self, parents: tuple[int, ...]) -> list[tuple[int, float]]:
        """Whom a step tells, each once, with the weight of what it tells."""
        path = [(parent, self._weights[0]) for parent in parents]
        told = set(parents)
        line = parents[:1]
        for weight in self._weights[1:]:
            line = self.parents[line[0]][:1] if line else ()
            if not line:
                break
            if line[0] not in told:
                told.add(line[0])
                path.append((line[0], weight))
        return path

    def _tell(self, path: list[tuple[int, float]], position: int | None) -> None:
        value = 0.0 if position is None else self._scale.normalised(self.history.qualities[position])
        for ancestor, weight in path:
            if self._is_mean:
                self._sums[ancestor] += weight * value
                self._totals[ancestor] += weight
                self.values[ancestor] = self._sums[ancestor] / self._totals[ancestor]
            else:
                self.values[ancestor] = max(self.values[ancestor], weight * value)

    def _renew(self) -> None:
        """Normalise and tell everything afresh: O(n log n), at each renewal of the scale."""
        count = len(self.history)
        self.values = [self._scale.normalised(quality) for quality in self.history.qualities]
        self._sums = list(self.values)
        self._totals = [1.0] * count
        for parents, position in self._steps:
            self._tell(self._path(parents), position)
        self._by_value = SortedList(map(self._order, range(count)))

    def _order(self, position: int) -> tuple[float, float, int]:
        return -self.values[position], -self.history.qualities[position], position
