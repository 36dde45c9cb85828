"""RPUCG: an upper confidence bound over ranks, with values that children pass back to their parents.

**Value.** Scores are normalised to about [0, 1] within the chain. The value of a candidate is the larger of
its own normalised score and ``gamma`` times the best value among its children; a child credits all parents
that its prompt showed. So a mediocre candidate whose descendants are good stays worth expanding. Decaying
raw scores would reward failure where scores are negative (0.8 x -10 is *better* than -10): only normalised
scores are decayed.

**Priority.** ``value rank + c x score rank x sqrt(1 + expansions of the chain) / (1 + visits)``, where both
ranks run from 1 (best) to 0 (worst), equals share the better rank, and visits count how often a candidate
was a parent. Parents are taken by priority, earlier candidates first among equals, and each one excludes
the parents and children of those before it, so that a prompt shows different lines of thought. Where
exclusion leaves fewer than were asked for, fewer are returned: near-copies are not filled in.

**Restart.** After every ``restart``-th step of a chain its best candidate is the main parent, whatever its
priority; the other parents follow as above. Nothing is forgotten by it.

**Cost** is flat in the length of the chain:

- Normalisation is frozen for a while: see ``scale``.
- A value that improves is passed on only while it improves another, and only above ``NEGLIGIBLE``.
- Only the ``pool`` candidates of the highest values compete. Values are at least the own scores, so this
  leaves out nothing good; without it the growing square root would in the end send a long chain through all
  its worst ones. In chains up to ``pool`` candidates it changes nothing.

Source: SimpleTES, arXiv 2604.19341, whose selector this follows; the pool and the frozen normalisation are
ours.
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
from discovery.selection.scale import Floats, Scale

NEGLIGIBLE = 1e-3
"""Credit below this is not passed on to parents, which bounds how far one improvement travels."""


class Rpucg:
    """Upper confidence bounds over ranks, with values that children pass back to their parents.

    See the module docstring. It draws nothing at random.

    Args:
        direction: Which scores are better.
        c: Weight of exploration, 0 or more; 0 is greedy by value.
        gamma: What is left of a child's value at its parents, 0 to 0.99.
        restart: Steps between two returns to the best candidate; 0 for none.
        pool: How many candidates compete, 1 or more.

    Raises:
        ConfigError: A parameter is out of range.
    """

    name = "rpucg"

    def __init__(
        self,
        direction: Direction,
        *,
        c: float = 1.0,
        gamma: float = 0.8,
        restart: int = 50,
        pool: int = 256,
    ) -> None:
        if not (math.isfinite(c) and c >= 0):
            raise ConfigError(f"rpucg: c is {c!r}; it must be a finite number, 0 or more")
        if not 0 <= gamma <= 0.99:
            raise ConfigError(f"rpucg: gamma is {gamma!r}; it must be from 0 to 0.99")
        if restart < 0:
            raise ConfigError(f"rpucg: restart is {restart!r}; it must be a number of steps, or 0 for none")
        if pool < 1:
            raise ConfigError(f"rpucg: pool is {pool!r}; it must be 1 or more")
        self.params: Mapping[str, Json] = {"c": c, "gamma": gamma, "restart": restart, "pool": pool}
        self._direction = direction
        self._c = c
        self._gamma = gamma
        self._restart = restart
        self._pool = pool
        self._chains: dict[int, _Graph] = {}

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step, in O(log n) amortised.

        Raises:
            ValueError: The step is out of order.
        """
        graph = self._chains.get(step.chain)
        if graph is None:
            graph = self._chains[step.chain] = _Graph(self._direction, self._gamma)
        graph.observe(step)

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """The candidates of the highest priority, without neighbours.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        graph = self._chains.get(chain)
        history = require_choice(graph.history if graph else None, chain, count)
        assert graph is not None
        ranked = graph.ranked(self._pool, self._c)
        restart = self._is_restart(history.expansions)
        # Index 0 is the chain's best candidate: no value exceeds its own, and its score breaks ties.
        order = [0, *(index for index in ranked.order if index)] if restart else ranked.order
        picked = without_neighbours(order, ranked.positions, graph.parents, count)
        return Selection(
            parents=tuple(history.keys[ranked.positions[index]] for index in picked),
            values={
                "parents": [self._explained(graph, ranked, index) for index in picked],
                "expansions": history.expansions,
                "restart": restart,
            },
        )

    def _is_restart(self, expansions: int) -> bool:
        return bool(self._restart) and expansions > 0 and expansions % self._restart == 0

    @staticmethod
    def _explained(graph: _Graph, ranked: _RankedPool, index: int) -> dict[str, Json]:
        position = ranked.positions[index]
        return {
            "score": graph.history.score(position),
            "value": round(graph.values[position], 6),
            "value_rank": round(float(ranked.value_ranks[index]), 6),
            "score_rank": round(float(ranked.score_ranks[index]), 6),
            "visits": graph.visits[position],
            "priority": round(float(ranked.priorities[index]), 6),
        }


class _RankedPool:
    """The competing candidates as columns; ``order`` lists their indices, highest priority first."""

    __slots__ = ("order", "positions", "priorities", "score_ranks", "value_ranks")

    def __init__(
        self,
        positions: list[int],
        value_ranks: Floats,
        score_ranks: Floats,
        priorities: Floats,
    ) -> None:
        self.positions = positions
        self.value_ranks = value_ranks
        self.score_ranks = score_ranks
        self.priorities = priorities
        self.order: list[int] = np.lexsort((np.array(positions), -priorities)).tolist()


class _Graph:
    """One chain's candidates with parents, visits and values."""

    def __init__(self, direction: Direction, gamma: float) -> None:
        self.history = History(direction)
        self.parents: list[tuple[int, ...]] = []
        self.visits: list[int] = []
        self.values: list[float] = []
        self._gamma = gamma
        self._by_value: SortedList[tuple[float, float, int]] = SortedList()
        self._scale = Scale()

    def observe(self, step: CommittedStep) -> None:
        parents = tuple(p for p in map(self.history.position, dict.fromkeys(step.parents)) if p is not None)
        for parent in parents:
            self.visits[parent] += 1
        position = self.history.observe(step)
        if position is None:
            return
        quality = self.history.qualities[position]
        self.parents.append(parents)
        self.visits.append(0)
        if self._scale.add(quality):
            self._renew()
        else:
            self.values.append(self._scale.normalised(quality))
            self._by_value.add(self._order(position))
            self._credit_parents(position)

    def ranked(self, pool: int, c: float) -> _RankedPool:
        """The ``pool`` candidates of the highest values with their priorities."""
        places = list(islice(self._by_value, pool))
        positions = [position for _, _, position in places]
        values = np.array([-value for value, _, _ in places])
        qualities = np.array([-quality for _, quality, _ in places])
        visits = np.array([self.visits[p] for p in positions], dtype=np.float64)
        # Counts are of strictly better ones; the pool is a prefix of the order by value.
        value_ranks = 1.0 - np.searchsorted(-values, -values, side="left") / max(1, len(self.history) - 1)
        score_ranks = self._scale.ranks(qualities)
        expansions = math.sqrt(1 + self.history.expansions)
        priorities = value_ranks + c * score_ranks * expansions / (1.0 + visits)
        return _RankedPool(positions, value_ranks, score_ranks, priorities)

    def _credit_parents(self, position: int) -> None:
        pending = [position]
        while pending:
            child = pending.pop()
            credit = self._gamma * self.values[child]
            if credit < NEGLIGIBLE:
                continue
            for parent in self.parents[child]:
                if credit > self.values[parent]:
                    self._by_value.remove(self._order(parent))
                    self.values[parent] = credit
                    self._by_value.add(self._order(parent))
                    pending.append(parent)

    def _renew(self) -> None:
        """Normalise and value everything afresh: O(n log n), at each doubling of the chain or of the span."""
        count = len(self.history)
        values = [self._scale.normalised(quality) for quality in self.history.qualities]
        # Children come after their parents, so one pass from the end sees every child's final value first.
        for child in range(count - 1, -1, -1):
            credit = self._gamma * values[child]
            if credit >= NEGLIGIBLE:
                for parent in self.parents[child]:
                    if credit > values[parent]:
                        values[parent] = credit
        self.values = values
        self._by_value = SortedList(map(self._order, range(count)))

    def _order(self, position: int) -> tuple[float, float, int]:
        return -self.values[position], -self.history.qualities[position], position
