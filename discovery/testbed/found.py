"""How much is missing to the optimum, of all that was found so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from discovery.testbed.base import Landscape
from discovery.testbed.spaces import Solution


@dataclass(slots=True)
class Found:
    """How far from the optimum the best is that was found so far: its regret, 0 or more.

    With objectives it is the share of the area that the Pareto front encloses and what was found does not.

    Args:
        landscape: Of the solutions.
    """

    landscape: Landscape
    regret: float = field(init=False, default=math.inf)
    _front: list[tuple[float, float]] = field(init=False, default_factory=list)

    def add(self, solution: Solution, worth: float) -> None:
        """Take in a solution and what it is truly worth."""
        if self.landscape.objectives:
            metrics = self.landscape.metrics(solution)
            first, second = (metrics[objective.metric] for objective in self.landscape.objectives)
            if self._widened((first, second)):
                self.regret = max(0.0, 1 - enclosed(self._front) / self.landscape.area)
            return
        self.regret = min(self.regret, max(0.0, self.landscape.best - worth))

    def _widened(self, point: tuple[float, float]) -> bool:
        a, b = point
        if any(x <= a and y <= b for x, y in self._front):
            return False
        self._front = sorted([p for p in self._front if not (a <= p[0] and b <= p[1])] + [point])
        return True


def enclosed(front: list[tuple[float, float]]) -> float:
    """The area between points, none of which is worse than another in both losses, and the worst point (1, 1).

    Args:
        front: Ascending by the first loss, so descending by the second.
    """
    area, above = 0.0, 1.0
    for a, b in front:
        area += (1 - a) * (above - b)
        above = b
    return area
