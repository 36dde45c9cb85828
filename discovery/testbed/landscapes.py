"""Landscapes whose optimum and whose structure are known, for comparing selectors where the truth can be looked up.

Each is small and frozen, costs microseconds, and says in its docstring what it is like, where its optimum lies, and
whether greed is right on it. All follow the literature; none was made for a selector (docs/design/0006-search.md).
"""

from __future__ import annotations

import difflib
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from discovery.declared import Feature, Objective
from discovery.errors import ConfigError
from discovery.records import Direction
from discovery.testbed.base import Landscape
from discovery.testbed.spaces import Box, Grid, Solution, Space

_TARGET = (1.7, -2.1, 0.4, 3.2, -0.9, -3.0, 2.4, 0.1, -1.6, 2.8)
"""Where the optimum of the spheres lies: nowhere that a generator could guess, such as the middle or a corner."""
_START = (-4.0, 4.0, -4.0, 4.0, -4.0, 4.0, -4.0, 4.0, -4.0, 4.0)


def _sphere(solution: Solution) -> float:
    return -sum((x - y) ** 2 for x, y in zip(solution, _TARGET, strict=True))


@dataclass(frozen=True, slots=True)
class Unimodal:
    """One hill: the squared distance from one point in ten dimensions.

    **Structure**: convex, separable, no plateau; every solution but the optimum has better ones at any distance,
    however small. **Optimum**: 0, at one point that is neither in the middle nor at an edge. **Greed** is right: the
    best solution so far is always the best place to go on from, and whoever looks elsewhere wastes that share of
    the budget.

    Source: the sphere function, De Jong's first (An Analysis of the Behavior of a Class of Genetic Adaptive Systems,
    1975).
    """

    direction: Direction = Direction.MINIMIZE
    name: ClassVar[str] = "unimodal"
    about: ClassVar[str] = "one hill: squared distance from a point in ten dimensions"
    greed: ClassVar[str] = "right: the best so far is always the best to go on from"
    features: ClassVar[tuple[Feature, ...]] = (Feature("first", -5, 5), Feature("second", -5, 5))
    objectives: ClassVar[tuple[Objective, ...]] = ()
    area: ClassVar[float] = 0.0
    space: ClassVar[Space] = Box(10, -5.0, 5.0)
    initial: ClassVar[Solution] = _START
    best: ClassVar[float] = 0.0
    near: ClassVar[float] = 1.0
    noise: ClassVar[float] = 0.0

    def worth(self, solution: Solution) -> float:
        """Minus the squared distance."""
        return _sphere(solution)

    def metrics(self, solution: Solution) -> Mapping[str, float]:
        """The first two coordinates."""
        return {"first": solution[0], "second": solution[1]}


@dataclass(frozen=True, slots=True)
class Noisy:
    """The hill of :class:`Unimodal`, seen through noise: the true value is known, the observed score is not exact.

    **Structure**: as there, and each scoring adds a normal deviation of 1, anew for each candidate, equal ones too.
    **Optimum**: as there. **Greed** is right far from it, where steps gain more than the noise, and misled near it: the
    best *observed* score is the luckiest one, and is gone on from for ever. What counts is what the solution that one
    would hand out, the best observed one, is truly worth.

    Source: noisy optimisation and its selection of the luckiest are surveyed in Jin and Branke, Evolutionary
    Optimization in Uncertain Environments (2005).
    """

    direction: Direction = Direction.MINIMIZE
    noise: float = 1.0
    name: ClassVar[str] = "noisy"
    about: ClassVar[str] = "the same hill, each score with a normal deviation of 1"
    greed: ClassVar[str] = "right far out, misled near the optimum: the best score seen is the luckiest"
    features: ClassVar[tuple[Feature, ...]] = Unimodal.features
    objectives: ClassVar[tuple[Objective, ...]] = ()
    area: ClassVar[float] = 0.0
    space: ClassVar[Space] = Box(10, -5.0, 5.0)
    initial: ClassVar[Solution] = _START
    best: ClassVar[float] = 0.0
    near: ClassVar[float] = 1.0

    def worth(self, solution: Solution) -> float:
        """Minus the squared distance, without the noise."""
        return _sphere(solution)

    def metrics(self, solution: Solution) -> Mapping[str, float]:
        """The first two coordinates."""
        return {"first": solution[0], "second": solution[1]}


_BITS, _LINKS = 20, 4


@lru_cache(maxsize=1)
def _contributions() -> tuple[tuple[float, ...], ...]:
    """What each bit is worth for each setting of itself and the bits after it: drawn once, with a fixed seed."""
    rng = random.Random(0)
    return tuple(tuple(rng.random() for _ in range(2 ** (_LINKS + 1))) for _ in range(_BITS))


@dataclass(frozen=True, slots=True)
class Rugged:
    """Many hills without order: an NK landscape of 20 bits, each of which depends on the 4 after it, in a circle.

    **Structure**: of 1,048,576 solutions 1,468 are local optima; high ones lie somewhat nearer to each other than low
    ones. **Optimum**: 0.77461 at one solution; 7 are within 0.02 of it (found by going through all). **Greed** gets to
    a good local optimum soon and stays there; parts of different good solutions can be put together.

    Source: Kauffman and Levin, Towards a general theory of adaptive walks on rugged landscapes (1987).
    """

    direction: Direction = Direction.MAXIMIZE
    name: ClassVar[str] = "rugged"
    about: ClassVar[str] = "many hills without order: NK, 20 bits, each linked with 4 others"
    greed: ClassVar[str] = "half right: it gets to a local optimum soon, and stays"
    features: ClassVar[tuple[Feature, ...]] = (Feature("low_ones", 0, 10), Feature("high_ones", 0, 10))
    objectives: ClassVar[tuple[Objective, ...]] = ()
    area: ClassVar[float] = 0.0
    space: ClassVar[Space] = Grid(_BITS, 1)
    initial: ClassVar[Solution] = (0.0,) * _BITS
    best: ClassVar[float] = 0.7746111958379254
    near: ClassVar[float] = 0.02
    noise: ClassVar[float] = 0.0

    def worth(self, solution: Solution) -> float:
        """The mean of what the bits contribute."""
        # Each bit's index is the one before it, moved up by one: the lowest bits of a number that grows.
        mask = 2 ** (_LINKS + 1) - 1
        window = 0
        for bit in solution[:_LINKS]:
            window = 2 * window + int(bit)
        total = 0.0
        for place, table in enumerate(_contributions()):
            window = (2 * window + int(solution[(place + _LINKS) % _BITS])) & mask
            total += table[window]
        return total / _BITS

    def metrics(self, solution: Solution) -> Mapping[str, float]:
        """How many ones there are in either half."""
        half = _BITS // 2
        return {"low_ones": sum(solution[:half]), "high_ones": sum(solution[half:])}


@dataclass(frozen=True, slots=True)
class Deceptive:
    """A broad slope to a local optimum, and a better one behind a cliff: Cliff in each of three coordinates.

    **Structure**: each coordinate goes from 0, where the chains start, to 24. Its worth rises by 1 a step up to 16,
    falls by 6.5 with the next, and rises again by 1 a step to 16.5 at 24. The worth is the mean of the three over
    16.5, so there are 8 local optima; the broad slope leads to the lowest one, 0.96970 at (16, 16, 16). **Optimum**: 1,
    at (24, 24, 24), the only one. **Greed** is wrong: a move that reaches a quarter of the width gets to 22 at most,
    which is worse not only than 16 but also than the nearest around it, so neither the best solution nor those that
    are shown beside it ever lie behind a new cliff. A hill climber ends at the lowest optimum in 87 of 100 cases and
    at the next one in the others, where a wide move took it down one coordinate's cliff and up another's slope at
    once. It is passable all the same: behind the cliff every step upwards is rewarded, so that whoever goes on
    from there for a few steps, though it is not the best, gets to the end.

    Source: Cliff with d = n / 3, Jägersküpper and Storch, When the Plus Strategy Outperforms the Comma Strategy, and
    When Not (2007), where it separates strategies that keep the best from those that let go of it.
    """

    direction: Direction = Direction.MAXIMIZE
    name: ClassVar[str] = "deceptive"
    about: ClassVar[str] = "three cliffs: a broad slope to a local optimum, a better one after a fall"
    greed: ClassVar[str] = "wrong: the way to the optimum goes through worse scores"
    features: ClassVar[tuple[Feature, ...]] = (Feature("first", 0, 24), Feature("second", 0, 24))
    objectives: ClassVar[tuple[Objective, ...]] = ()
    area: ClassVar[float] = 0.0
    space: ClassVar[Space] = Grid(3, 24)
    initial: ClassVar[Solution] = (0.0, 0.0, 0.0)
    best: ClassVar[float] = 1.0
    near: ClassVar[float] = 0.0
    noise: ClassVar[float] = 0.0

    def worth(self, solution: Solution) -> float:
        """The mean of three cliffs, over what they are worth at their ends."""
        return sum(x if x <= 16 else x - 7.5 for x in solution) / 49.5

    def metrics(self, solution: Solution) -> Mapping[str, float]:
        """The first two coordinates."""
        return {"first": solution[0], "second": solution[1]}


@dataclass(frozen=True, slots=True)
class Trap:
    """A wide valley before the optimum: Ackley's trap in each of three coordinates.

    **Structure**: each coordinate goes from 0 to 8. From 6 it rises both ways: over a broad slope to a local optimum of
    0.8 at 0, and over a narrow one to the optimum of 1 at 8. The worth is the mean of the three, so there are 8
    local optima. The chains start at 4, on the broad slope. **Optimum**: 1, at (8, 8, 8), the only one. **Greed** is
    wrong, and hardly anything is right: each coordinate's slope leads to 0, from where the way to 8 goes through 6
    steps each of which is worse than the one before. A step commits its best candidate, so what lies up the slope
    is rarely even remembered: whoever wants to cross has to do it from the start, where it is one leap to 6. A hill
    climber ends at (0, 0, 0) in 91 of 100 cases, and across in one coordinate in the others.

    Source: the trap of Ackley, A Connectionist Machine for Genetic Hillclimbing (1987), with his 3/4 and 0.8; several
    beside each other: Deb and Goldberg, Analyzing Deception in Trap Functions (1993).
    """

    direction: Direction = Direction.MAXIMIZE
    name: ClassVar[str] = "trap"
    about: ClassVar[str] = "three traps: each step of a wide valley is worse than the one before"
    greed: ClassVar[str] = "wrong, and hardly anything is right: a valley that no step leads across"
    features: ClassVar[tuple[Feature, ...]] = (Feature("first", 0, 8), Feature("second", 0, 8))
    objectives: ClassVar[tuple[Objective, ...]] = ()
    area: ClassVar[float] = 0.0
    space: ClassVar[Space] = Grid(3, 8)
    initial: ClassVar[Solution] = (4.0, 4.0, 4.0)
    best: ClassVar[float] = 1.0
    near: ClassVar[float] = 0.0
    noise: ClassVar[float] = 0.0

    def worth(self, solution: Solution) -> float:
        """The mean of three traps."""
        return sum(0.8 * (6 - x) / 6 if x <= 6 else (x - 6) / 2 for x in solution) / 3

    def metrics(self, solution: Solution) -> Mapping[str, float]:
        """The first two coordinates."""
        return {"first": solution[0], "second": solution[1]}


_NEEDLE = (0, 1, 1, 0, 0, 1, 0, 1, 0, 1)


@dataclass(frozen=True, slots=True)
class Needle:
    """A needle in a haystack: one of 1,024 solutions is worth 1, all others 0.

    **Structure**: flat; no score tells anything of any other. **Optimum**: 1, five bits away from the initial solution.
    **Greed** is neither right nor wrong, and no selector can be better than going about evenly; those that stay near
    the initial solution never get there.

    Source: the needle in a haystack is the usual example of where no search beats chance, for example in Jansen,
    Analyzing Evolutionary Algorithms (2013).
    """

    direction: Direction = Direction.MAXIMIZE
    name: ClassVar[str] = "needle"
    about: ClassVar[str] = "flat: one of 1,024 solutions is worth 1, the others 0"
    greed: ClassVar[str] = "neither right nor wrong: no score tells anything"
    features: ClassVar[tuple[Feature, ...]] = (Feature("low_ones", 0, 5), Feature("high_ones", 0, 5))
    objectives: ClassVar[tuple[Objective, ...]] = ()
    area: ClassVar[float] = 0.0
    space: ClassVar[Space] = Grid(len(_NEEDLE), 1)
    initial: ClassVar[Solution] = (0.0,) * len(_NEEDLE)
    best: ClassVar[float] = 1.0
    near: ClassVar[float] = 0.0
    noise: ClassVar[float] = 0.0

    def worth(self, solution: Solution) -> float:
        """1 for the needle, else 0."""
        return 1.0 if solution == _NEEDLE else 0.0

    def metrics(self, solution: Solution) -> Mapping[str, float]:
        """How many ones there are in either half."""
        half = len(_NEEDLE) // 2
        return {"low_ones": sum(solution[:half]), "high_ones": sum(solution[half:])}


_SIDES = 3


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Two objectives that cannot both be had: the problem of Fonseca and Fleming in three dimensions.

    **Structure**: two losses from 0 to 1, each smooth with one minimum, at opposite points. **Optimum**: the Pareto
    front, the straight line between these points; its losses are (1 - exp(-(t - 1)^2), 1 - exp(-(t + 1)^2)) for t from
    -1 to 1, and the worst point (1, 1) together with it encloses an area of 0.342116. The front is curved outwards, so
    that the mean of both losses, which is the score, is best close to its two ends (0.490067, at t = +-0.9575).
    **Greed** for the score is
    therefore right for the score, and wrong for the front: it goes to one end. The regret is the share of that area
    that what was found does not enclose.

    Source: Fonseca and Fleming, An Overview of Evolutionary Algorithms in Multiobjective Optimization (1995); the
    area: Zitzler and Thiele, Multiobjective optimization using evolutionary algorithms (1998).
    """

    direction: Direction = Direction.MINIMIZE
    name: ClassVar[str] = "tradeoff"
    about: ClassVar[str] = "two losses that pull apart; what counts is the whole Pareto front"
    greed: ClassVar[str] = "wrong for the front: the score is best at its ends"
    features: ClassVar[tuple[Feature, ...]] = (Feature("loss_a", 0, 1), Feature("loss_b", 0, 1))
    objectives: ClassVar[tuple[Objective, ...]] = (
        Objective("loss_a", "minimize"),
        Objective("loss_b", "minimize"),
    )
    area: ClassVar[float] = 0.3421155931
    space: ClassVar[Space] = Box(_SIDES, -4.0, 4.0)
    initial: ClassVar[Solution] = (1.5, -1.5, 0.5)
    best: ClassVar[float] = -0.4900670908
    near: ClassVar[float] = 0.1
    noise: ClassVar[float] = 0.0

    def worth(self, solution: Solution) -> float:
        """Minus the mean of both losses."""
        return -sum(self._losses(solution)) / 2

    def metrics(self, solution: Solution) -> Mapping[str, float]:
        """Both losses."""
        a, b = self._losses(solution)
        return {"loss_a": a, "loss_b": b}

    @staticmethod
    def _losses(solution: Solution) -> tuple[float, float]:
        end = 1 / math.sqrt(_SIDES)
        a = -math.expm1(-sum((x - end) ** 2 for x in solution))
        b = -math.expm1(-sum((x + end) ** 2 for x in solution))
        return a, b


LANDSCAPES: tuple[Callable[..., Landscape], ...] = (
    Unimodal,
    Rugged,
    Deceptive,
    Trap,
    Needle,
    Noisy,
    Tradeoff,
)
_KINDS = {landscape.name: kind for kind in LANDSCAPES for landscape in [kind()]}


def landscape_names() -> tuple[str, ...]:
    """All names that :func:`make_landscape` knows."""
    return tuple(_KINDS)


def make_landscape(name: str, direction: Direction | None = None) -> Landscape:
    """Make a landscape by name.

    Args:
        name: One of :func:`landscape_names`.
        direction: Which scores are to be better; None takes the landscape's own.

    Raises:
        ConfigError: There is none of that name.
    """
    kind = _KINDS.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, _KINDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(f"no landscape {name!r}; {hint}known: {', '.join(_KINDS)}")
    return kind() if direction is None else kind(direction=direction)
