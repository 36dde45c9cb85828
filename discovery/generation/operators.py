"""What may be done to a program's numbers: each operator draws a move, or none where it has nothing to go by.

Lengths come from three places: from the steps that succeeded (:mod:`discovery.generation.stepsizes`), from the distance
between parents, and, heavy-tailed, from the numbers' own sizes, which starts a search and saves it from a wrong
scale. The shares were tuned on some of the bundled problems; docs/LOG.md says on which.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from discovery.generation.arrangement import Group, arrangement
from discovery.generation.family import Family, Floats, Parsed, Texts
from discovery.generation.sketch import Literal
from discovery.generation.stepsizes import Successes
from discovery.generation.surrogate import identifiable, way

LEAST_POINTS = 3
"""Points that tell a covariance."""
_DIGITS = 3
"""Digits kept below the size of a step: more say nothing, and programs stay readable."""
_EVERY = 0.5
"""Share of adapted steps that move all numbers at once."""
_KNOWN = 0.15
"""Share of adapted steps whose length is one that succeeded, not the distance of a parent."""
_WHOLE = 0.8
"""Share of the other ones that are as long as the whole way to the parent, however few numbers move."""
_LEAN = (-1.5, 3.5)
"""Range of an adapted step's length over a known one, as powers of two."""
_WIDE = (-3.0, 0.3)
"""Range of a wide step's length over a number's size, as powers of ten."""
_SINGLE = 0.8
"""Share of wide steps that move one number only."""
_PROMOTED = 0.1
"""Share of changes that may make real numbers of whole ones."""


@dataclass(frozen=True, slots=True)
class Move:
    """Numbers to add to some of a program's.

    Args:
        changes: What to add, by the number's place.
        step: Typical size of the changes, which decides how many digits are worth writing; 0 keeps all.
    """

    changes: dict[int, float]
    step: float


Operator = Callable[[Family, Successes, random.Random], Move | None]


# All or any numbers


def adapted(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """A step as long as one that succeeded or as those between the parents, give or take, on any of the numbers.

    Mostly the whole step is as long, so that single numbers move far: they explore.
    """
    length = known.length(rng) if rng.random() < _KNOWN else None
    places = _places(family.main, rng, every=_EVERY)
    if length is None:
        length = _distance(family, rng, len(places) if rng.random() < _WHOLE else None) or known.length(rng)
    if length is None:
        return None
    scale = length * 2.0 ** rng.uniform(*_LEAN)
    return Move({place: rng.gauss(0.0, scale) for place in places}, scale)


def differential(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """Further along the way between two parents, as in differential evolution."""
    if not family.aligned:
        return None
    main = family.main.vector
    a, b = rng.choice(family.aligned).vector, rng.choice(family.aligned).vector
    if a is b:
        a = main
    return _along(a - b, rng.uniform(0.2, 1.5), rng)


def covariant(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """A step drawn with the covariance of some of what is shown, as an evolution strategy's."""
    if len(family.points) < LEAST_POINTS:
        return None
    chosen = rng.sample(range(len(family.points)), min(len(family.points), rng.choice((3, 6, 12))))
    rows = family.points[chosen]
    draws = np.array([rng.gauss(0.0, 1.0) for _ in chosen])
    way = draws @ (rows - rows.mean(axis=0)) / math.sqrt(len(chosen))
    return _along(way, 2.0 ** rng.uniform(-1.0, 1.5), rng, noise=0.0)


def opposed(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """Away from something shown, mostly worse: on along the way that led here, or opposite to a step that failed."""
    if not len(family.points):
        return None
    other = family.points[rng.randrange(len(family.points))]
    return _along(family.main.vector - other, 2.0 ** rng.uniform(-2.0, 1.0), rng, noise=0.0, precision=0.3)


def modelled(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """To the bottom of a round bowl through what is shown, where that predicts scores; else a covariant step."""
    if not identifiable(len(family.points), len(family.main.free)):
        return None
    step = way(family.points - family.main.vector, family.qualities - family.quality, rng)
    if step is None:
        return covariant(family, known, rng)
    factor = rng.choice((1.0, 1.0, rng.uniform(0.3, 1.7)))
    return _along(step, factor, rng, noise=rng.choice((0.0, 0.03, 0.2)), precision=0.1)


def wide(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """Heavy-tailed steps on one number or a few, from the numbers' own sizes."""
    literals = family.main.literals
    sizes = sorted(abs(literal.value) for literal in literals if literal.value and not literal.counts)
    typical = sizes[len(sizes) // 2] if sizes else 1.0
    places = _places(family.main, rng, every=0.0, single=_SINGLE)
    if rng.random() < 0.02:
        return Move({place: -2.0 * literals[place].value for place in places}, 0.0)
    scale = 10.0 ** rng.uniform(*_WIDE)
    changes = {}
    finest = math.inf
    for place in places:
        size = abs(literals[place].value)
        if not size or rng.random() < 0.5:
            size = typical
        changes[place] = rng.gauss(0.0, scale * size)
        finest = min(finest, scale * size)
    return Move(changes, finest)


def mixed(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """Some numbers of another parent."""
    if not family.aligned:
        return None
    other = rng.choice(family.aligned).values
    share = rng.uniform(0.1, 0.9)
    pairs = enumerate(zip(family.main.values, other, strict=True))
    return Move({i: _difference(b, a) for i, (a, b) in pairs if a != b and rng.random() < share}, 0.0)


# Points and rows


def nudged(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """One point moved, each coordinate by as much as suits it."""
    lists = arrangement(family.main.skeleton).points
    if not lists:
        return None
    points = rng.choice(lists)
    point = rng.choice(points)
    spreads = _spreads(family.main, points)
    length = known.length(rng) if rng.random() < 0.5 else None
    if length is None:
        factor = 10.0 ** rng.uniform(-3.0, 0.0)
    else:
        mean = math.exp(math.fsum(map(math.log, spreads)) / len(spreads))
        factor = length / mean * 2.0 ** rng.uniform(-1.0, 2.0)
    places = [rng.randrange(len(point))] if rng.random() < 0.3 else list(range(len(point)))
    changes = {point[i]: rng.gauss(0.0, factor * spreads[i]) for i in places}
    return Move(changes, min(factor * spreads[i] for i in places))


def relocated(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """One point put anywhere between the others."""
    lists = arrangement(family.main.skeleton).points
    if not lists:
        return None
    points = rng.choice(lists)
    point, values = rng.choice(points), family.main.values
    changes = {}
    for i, place in enumerate(point):
        column = [values[other[i]] for other in points]
        changes[place] = _difference(_uniform(min(column), max(column), rng), values[place])
    return Move(changes, 0.01 * max(map(abs, changes.values())))


def swapped(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """Two points, or two numbers of a row, exchanged; of points sometimes one coordinate only."""
    found = arrangement(family.main.skeleton)
    lists: list[Sequence[Group]] = [*found.points, *([(place,) for place in row] for row in found.rows)]
    if not lists:
        return None
    a, b = rng.sample(rng.choice(lists), 2)
    if len(a) > 1 and rng.random() < 0.3:
        i = rng.randrange(len(a))
        a, b = (a[i],), (b[i],)
    values = family.main.values
    changes = {i: _difference(values[j], values[i]) for i, j in zip((*a, *b), (*b, *a), strict=True)}
    return Move(changes, 0.0)


def raised(family: Family, known: Successes, rng: random.Random) -> Move | None:
    """A stretch of a row raised or lowered, most in its middle."""
    rows = arrangement(family.main.skeleton).rows
    if not rows:
        return None
    row = rng.choice(rows)
    width = math.exp(rng.uniform(0.0, math.log(len(row) / 2)))
    middle = rng.uniform(0.0, len(row) - 1)
    length = known.length(rng) if rng.random() < 0.5 else None
    if length is None:
        typical = float(np.mean(np.abs(family.main.vector[list(row)]))) or 1.0
        length = typical * 10.0 ** rng.uniform(-3.0, 0.0)
    else:
        length *= 2.0 ** rng.uniform(-1.0, 2.0)
    height = rng.gauss(0.0, length)
    shares = {place: math.exp(-0.5 * ((i - middle) / width) ** 2) for i, place in enumerate(row)}
    changes = {place: height * share for place, share in shares.items() if share > 0.02}
    return Move(changes, 0.1 * abs(height))


# Writing


def written(parsed: Parsed, move: Move, rng: random.Random) -> Texts:
    """The texts with a move made.

    Args:
        parsed: The parent.
        move: What to add.
        rng: For whole numbers.
    """
    promoted = rng.random() < _PROMOTED
    texts: list[str] = []
    place = 0
    for block in parsed.blocks:
        numbers = []
        for literal in block.literals:
            number = None
            if place in move.changes:
                number = _number(literal, move.changes[place], move.step, promoted, rng)
            numbers.append(block.text[literal.start : literal.end] if number is None else number)
            place += 1
        texts.append(block.with_numbers(numbers))
    return tuple(texts)


def _number(literal: Literal, change: float, step: float, promoted: bool, rng: random.Random) -> str | None:
    if not math.isfinite(change):
        return None
    if isinstance(literal.value, int) and (literal.counts or not promoted or not step):
        whole = round(change)
        if whole == 0 and change and step:
            whole = rng.choice((-1, 1))
        total = literal.value + whole
        return None if whole == 0 or (literal.counts and total < 0 <= literal.value) else str(total)
    value = literal.value + change
    if not math.isfinite(value) or change == 0:
        return None
    if step > 0:
        value = round(value, _DIGITS - math.floor(math.log10(step)))
    return repr(float(value) + 0.0)


# Lengths and places


def _places(parsed: Parsed, rng: random.Random, *, every: float, single: float = 0.4) -> list[int]:
    """Which numbers to change; indices and bounds seldom."""
    free = parsed.free
    if not free or rng.random() < 0.03:
        free = list(range(len(parsed.literals)))
    if rng.random() < every:
        return free
    if rng.random() < single:
        return [rng.choice(free)]
    count = round(math.exp(rng.uniform(0.0, math.log(len(free)))))
    return sorted(rng.sample(free, count))


def _distance(family: Family, rng: random.Random, over: int | None) -> float | None:
    """How far apart the main program and another parent are, per number that differs, or spread over so many."""
    if not family.aligned:
        return None
    step = family.main.vector - rng.choice(family.aligned).vector
    moved = step[step != 0]
    length = float(np.sqrt(np.sum(moved * moved) / (over or moved.size))) if moved.size else 0.0
    return length if 0 < length < math.inf else None


def _along(
    way: Floats, factor: float, rng: random.Random, *, noise: float = 0.1, precision: float = 1.0
) -> Move | None:
    """Along a way, with noise in units of its typical size."""
    moved = way[way != 0]
    scale = float(np.sqrt(np.mean(moved * moved))) if moved.size else 0.0
    if not 0 < scale < math.inf:
        return None
    changes = {
        i: factor * d + (rng.gauss(0.0, noise * scale) if noise else 0.0)
        for i, d in enumerate(way.tolist())
        if d != 0
    }
    return Move(changes, precision * scale)


def _spreads(parsed: Parsed, points: Sequence[Group]) -> list[float]:
    """How far each coordinate varies over a list of points; of one that hardly does, a tenth of its size."""
    columns = parsed.vector[np.array(points)]
    spreads = np.maximum(columns.std(axis=0), 0.1 * np.abs(columns.mean(axis=0)))
    return [spread if 0 < spread < math.inf else 1.0 for spread in spreads.tolist()]


def _difference(a: float, b: float) -> float:
    try:
        return a - b
    except OverflowError:
        return 0.0


def _uniform(low: float, high: float, rng: random.Random) -> float:
    try:
        return rng.uniform(low, high)
    except OverflowError:
        return low
