"""Pareto: several objectives, and parents from among the candidates that no other one beats in all of them.

**Objectives** are the score and the public metrics that the problem declares, each with its direction. A candidate that
lacks a metric is the worst in it. One candidate dominates another when it is at least as good in every objective and
better in one.

**Front.** The chain's candidates that none dominates; of those that are equal in every objective the earliest. All
scored siblings of a step may enter, not only the committed one. It holds at most ``size``: when one enters too many,
the one in the densest place leaves (smallest crowding distance, the latest among equals), but never the best by score.
What left is forgotten: the front may later hold what it would have dominated, never what a member dominates.

**Choice.** Each parent is the best by score that is not taken yet with the chance ``exploitation``. Otherwise it is
drawn from those left: uniformly, or by a tournament of two, of which the one in the sparser place wins. So every member
has a chance, and the best by score at every step. Where the front is smaller than what was asked for, fewer are
returned.

**Cost** of a step: O(K x size x objectives) for entering and O(objectives x size log size) for crowding distances,
whatever the length of the chain.

Source: non-dominated sorting and crowding distance of NSGA-II, Deb et al., IEEE Transactions on Evolutionary
Computation 6(2), 2002. The bounded front and the share of the best by score are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from discovery.declared import Objective
from discovery.errors import ConfigError
from discovery.records import CandidateKey, CommittedStep, Direction, Json, Outcome
from discovery.selection.base import Selection
from discovery.selection.history import Order, require_parents
from discovery.selection.scale import Floats

DRAWS = ("crowding", "uniform")


class Pareto:
    """Several objectives: parents that no other candidate beats in all of them.

    See the module docstring. All draws come from the generator given to ``choose``.

    Args:
        direction: Which scores are better.
        exploitation: The chance that a parent is the best by score that is left, 0 to 1.
        draw: How the others are drawn: ``crowding`` or ``uniform``.
        size: How many candidates the front holds at most, 2 to 1,000.
        objectives: The problem's, beside its score.

    Raises:
        ConfigError: A parameter is out of range, or there are no objectives.
    """

    name = "pareto"

    def __init__(
        self,
        direction: Direction,
        *,
        exploitation: float = 0.25,
        draw: str = "crowding",
        size: int = 64,
        objectives: Sequence[Objective] = (),
    ) -> None:
        if not 0 <= exploitation <= 1:
            raise ConfigError(f"pareto: exploitation is {exploitation!r}; it must be from 0 to 1")
        if draw not in DRAWS:
            raise ConfigError(f"pareto: draw is {draw!r}; it must be {' or '.join(DRAWS)}")
        if not 2 <= size <= 1000:
            raise ConfigError(f"pareto: size is {size!r}; it must be from 2 to 1000")
        if not objectives:
            raise ConfigError(
                "pareto: the problem declares no objectives beside its score; add objectives=[Objective(...)] to its "
                "@problem, or choose another selector"
            )
        self.metrics = tuple(objective.metric for objective in objectives)
        self.params: Mapping[str, Json] = {
            "exploitation": exploitation,
            "draw": draw,
            "size": size,
            "objectives": {objective.metric: objective.direction for objective in objectives},
        }
        self._directions = (direction, *(Direction(objective.direction) for objective in objectives))
        self._exploitation = exploitation
        self._is_uniform = draw == "uniform"
        self._size = size
        self._chains: dict[int, _Front] = {}

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step; see the module docstring for its cost.

        Raises:
            ValueError: The step is out of order.
        """
        front = self._chains.get(step.chain)
        if front is None:
            front = self._chains[step.chain] = _Front(self._size, len(self._directions))
        front.order.take(step)
        for outcome in step.outcomes:
            if outcome.score is not None:
                front.enter(outcome.key, self._qualities(outcome, outcome.score))

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """Draw up to ``count`` distinct members of the front.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        front = self._chains.get(chain)
        require_parents(bool(front and front.keys), chain, count)
        assert front is not None
        free = front.by_score()
        distances = front.distances()
        picks: list[tuple[int, str]] = []
        for _ in range(min(count, len(free))):
            if rng.random() < self._exploitation:
                at, drawn_by = 0, "score"
            elif self._is_uniform:
                at, drawn_by = int(rng.integers(len(free))), "uniform"
            else:
                one, other = rng.integers(len(free), size=2).tolist()
                at = one if distances[free[one]] >= distances[free[other]] else other
                drawn_by = "crowding"
            picks.append((free.pop(at), drawn_by))
        return Selection(
            parents=tuple(front.keys[member] for member, _ in picks),
            values={
                "front": len(front.keys),
                "parents": [
                    {"objectives": self._raw(front.qualities[member]), "drawn_by": drawn_by}
                    for member, drawn_by in picks
                ],
            },
        )

    def _qualities(self, outcome: Outcome, score: float) -> Floats:
        values = (score, *(outcome.metrics.get(metric) for metric in self.metrics))
        return np.array(
            [
                -np.inf if value is None else direction.key(value)
                for direction, value in zip(self._directions, values, strict=True)
            ]
        )

    def _raw(self, qualities: Floats) -> list[Json]:
        return [
            direction.key(quality) if np.isfinite(quality) else None
            for direction, quality in zip(self._directions, qualities.tolist(), strict=True)
        ]


class _Front:
    """The candidates of one chain that none dominates, in order of arrival, as keys and rows of qualities.

    Args:
        size: How many at most.
        objectives: How many qualities each has; the first is the score's.
    """

    def __init__(self, size: int, objectives: int) -> None:
        self.order = Order()
        self.keys: list[CandidateKey] = []
        self.qualities: Floats = np.empty((0, objectives))
        self._size = size
        self._distances: Floats | None = None

    def enter(self, key: CandidateKey, qualities: Floats) -> None:
        """Let a candidate in unless a member is at least as good in everything; those that it dominates leave."""
        if (self.qualities >= qualities).all(axis=1).any():
            return
        self._keep(np.logical_not((qualities >= self.qualities).all(axis=1)))
        self.keys.append(key)
        self.qualities = np.vstack((self.qualities, qualities))
        if len(self.keys) > self._size:
            distances, best = self.distances().tolist(), self.by_score()[0]
            others = (member for member in range(len(distances)) if member != best)
            stays = np.ones(len(distances), dtype=np.bool_)
            stays[min(others, key=lambda member: (distances[member], -member))] = False
            self._keep(stays)

    def by_score(self) -> list[int]:
        """All members, the best by score first, earlier ones first among equals."""
        ordered: list[int] = np.argsort(-self.qualities[:, 0], kind="stable").tolist()
        return ordered

    def distances(self) -> Floats:
        """Crowding distances: how far apart a member's neighbours are, summed over objectives; infinite at the ends."""
        if self._distances is None:
            self._distances = crowding(self.qualities)
        return self._distances

    def _keep(self, stays: NDArray[np.bool_]) -> None:
        self._distances = None
        if not stays.all():
            self.keys = [key for key, is_kept in zip(self.keys, stays.tolist(), strict=True) if is_kept]
            self.qualities = self.qualities[stays]


def crowding(qualities: Floats) -> Floats:
    """Crowding distances of the rows of a matrix, in shares of each column's span; a quality may be minus infinity."""
    count = len(qualities)
    distances = np.zeros(count)
    for column in qualities.T:
        known = np.isfinite(column)
        if not known.any():
            continue
        # An eighth, because differences of large floats may overflow.
        eighths = column / 8
        low, high = eighths[known].min(), eighths[known].max()
        if not known.all():
            eighths = np.where(known, eighths, low - max(high - low, abs(low) / 8, np.finfo(float).tiny))
            low = eighths.min()
        if high <= low:
            continue
        order = np.argsort(eighths, kind="stable")
        ranked = eighths[order]
        distances[order[0]] = distances[order[-1]] = np.inf
        distances[order[1:-1]] += (ranked[2:] - ranked[:-2]) / (high - low)
    return distances
