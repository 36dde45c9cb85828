"""Zigzags of digits, for scorers: short solutions of any length, scored in whole numbers.

What a small model can write and learn from within seconds: a program of this family is a few dozen tokens, its best is
known by construction, and a change of one digit matters to its neighbours only. Greed does not end it at once, since a
step counts only where it turns, so that a better digit may cost what its neighbour counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from discovery.data import Data
from discovery.errors import Invalid

TOP = 9
"""The largest digit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zigzag:
    """What a row of digits counts.

    Args:
        value: Share of the most that a row of this length can count, 0 to 1.
        turns: Steps that count.
    """

    value: float
    turns: int


def digits(data: Data, count: int) -> tuple[int, ...]:
    """A row of digits from what a program returned.

    Args:
        data: Anything; a one-dimensional array of integers will do.
        count: How many there must be, at least 1.

    Raises:
        Invalid: It is no row of so many digits; says where.
    """
    row = data.tolist() if hasattr(data, "tolist") else data
    if not isinstance(row, list):
        raise Invalid(f"solve() returned a {type(row).__name__}; expected a list of {count} digits")
    if len(row) != count:
        raise Invalid(f"solve() returned {len(row)} values; expected {count} digits")
    for place, value in enumerate(row):
        if type(value) is not int:
            raise Invalid(f"value {place} is a {type(value).__name__}; expected an integer, 0 to {TOP}")
        if not 0 <= value <= TOP:
            raise Invalid(f"value {place} is not between 0 and {TOP}")
    return tuple(row)


def zigzag(row: Sequence[int]) -> Zigzag:
    """How much a row goes up and down.

    A step from one digit to the next counts its square where it goes the other way than the step before it; the first
    step always does. So the most is 81 for each step: 0, 9, 0, 9 and so on. The sum is a whole number, and the value
    its quotient by the most, rounded once.

    Args:
        row: At least two digits.
    """
    steps = [after - before for before, after in pairwise(row)]
    counted = [step for before, step in pairwise([-steps[0], *steps]) if before * step < 0]
    most = TOP**2 * len(steps)
    return Zigzag(value=sum(step**2 for step in counted) / most, turns=len(counted))
