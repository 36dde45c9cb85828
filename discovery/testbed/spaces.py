"""Where the solutions of a landscape lie, and what a change of one is: grids of whole numbers, boxes of real ones.

A solution is a short tuple of numbers. A landscape says what it is worth, a space only what lies near it: a move
changes few coordinates by little, a cross takes each coordinate from either of two solutions. Neither knows any score.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

Solution = tuple[float, ...]

FINEST = 1e-3
"""The smallest scale of a step in a box, as a share of the longest."""
_ANOTHER = 0.5
"""How likely a move changes one more coordinate."""


class Space(Protocol):
    """What lies near a solution."""

    def moved(self, solution: Solution, reach: float, rng: random.Random) -> Solution:
        """A neighbour.

        Args:
            solution: Where to start.
            reach: How far a step goes at most, as a share of the space's width, above 0 to 1.
            rng: Draws.

        Returns:
            Another solution of the space, but where a step in a box is too small to tell.
        """
        ...

    def crossed(self, a: Solution, b: Solution, rng: random.Random) -> Solution:
        """Each coordinate from either of two solutions."""
        ...

    def text(self, solution: Solution) -> str:
        """The program that returns it: equal solutions are equal programs."""
        ...


@dataclass(frozen=True, slots=True)
class Grid:
    """Whole numbers from 0 to ``top`` in each of ``size`` coordinates; bits where ``top`` is 1."""

    size: int
    top: int

    def moved(self, solution: Solution, reach: float, rng: random.Random) -> Solution:
        """One coordinate, sometimes more, by 1 to ``reach`` x ``top`` up or down, within the grid.

        A step never goes further, and none is 0: where one would leave the grid it goes the other way.
        """
        longest = max(1, round(reach * self.top))
        found = list(solution)
        for place in _places(self.size, rng):
            step = 1 + int(rng.random() * longest)
            here = solution[place]
            up, down = here + step <= self.top, here - step >= 0
            if up and down:
                up = rng.random() < 0.5
            elif not (up or down):
                step = 1
                up = here < self.top
            found[place] = here + step if up else here - step
        return tuple(found)

    def crossed(self, a: Solution, b: Solution, rng: random.Random) -> Solution:
        """Each coordinate from either."""
        return _crossed(a, b, rng)

    def text(self, solution: Solution) -> str:
        """A function that returns the numbers."""
        return f"def solve():\n    return {[int(x) for x in solution]}\n"


@dataclass(frozen=True, slots=True)
class Box:
    """Real numbers from ``low`` to ``high`` in each of ``size`` coordinates."""

    size: int
    low: float
    high: float

    def moved(self, solution: Solution, reach: float, rng: random.Random) -> Solution:
        """One coordinate, sometimes more, by a normal step.

        Its scale is drawn anew for each move: any order of magnitude from ``reach`` x width down to a thousandth of
        that is as likely, as nobody tells a generator how near the optimum is.
        """
        longest = reach * (self.high - self.low)
        scale = longest * FINEST ** rng.random()
        found = list(solution)
        for place in _places(self.size, rng):
            found[place] = min(self.high, max(self.low, solution[place] + rng.gauss(0.0, scale)))
        return tuple(found)

    def crossed(self, a: Solution, b: Solution, rng: random.Random) -> Solution:
        """Each coordinate from either."""
        return _crossed(a, b, rng)

    def text(self, solution: Solution) -> str:
        """A function that returns the numbers, exactly."""
        return f"def solve():\n    return {[float(x) for x in solution]}\n"


def _places(size: int, rng: random.Random) -> set[int]:
    """The coordinates that a move changes: one, two with chance 1/2, three with 1/4, and so on."""
    places = {int(rng.random() * size)}
    while len(places) < size and rng.random() < _ANOTHER:
        places.add(int(rng.random() * size))
    return places


def _crossed(a: Solution, b: Solution, rng: random.Random) -> Solution:
    return tuple(x if rng.random() < 0.5 else y for x, y in zip(a, b, strict=True))
