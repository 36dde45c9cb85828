"""How a program's numbers are arranged: which of them make a point, which points and which numbers make a list.

Brackets tell: numbers that share their innermost brackets belong together, and several such groups of one size in one
outer pair are points of a list, as the circles of a packing are. Only the texts between the numbers are read, so that
all programs of one skeleton have one arrangement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

Group = tuple[int, ...]

_LEAST_POINTS = 3
_LEAST_ITEMS = 5
_MOST_MEMBERS = 8
_IGNORED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'|#[^\n]*|//[^\n]*")
_BRACKET = re.compile(r"[()\[\]{}]")


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Places of numbers that belong together.

    Args:
        points: Lists of points; a point is the places of its coordinates, and all of one list have as many.
        rows: Lists of single numbers, in order.
    """

    points: tuple[tuple[Group, ...], ...]
    rows: tuple[Group, ...]


@lru_cache(maxsize=64)
def arrangement(skeleton: tuple[tuple[str, ...], ...]) -> Arrangement:
    """Find the points and rows of a program.

    Args:
        skeleton: Of each block, the texts between its numbers.
    """
    points: list[tuple[Group, ...]] = []
    rows: list[Group] = []
    first = 0
    for block in skeleton:
        members = _members(block, first)
        first += len(block) - 1
        by_parent: dict[tuple[int, int], list[Group]] = {}
        for outer, places in members:
            if len(places) >= _LEAST_ITEMS:
                rows.append(places)
            if 2 <= len(places) <= _MOST_MEMBERS:
                by_parent.setdefault((outer, len(places)), []).append(places)
        points += [
            tuple(groups)
            for (outer, _), groups in by_parent.items()
            if outer >= 0 and len(groups) >= _LEAST_POINTS
        ]
    return Arrangement(tuple(points), tuple(rows))


def _members(block: tuple[str, ...], first: int) -> list[tuple[int, Group]]:
    """Of each pair of brackets with numbers in it: the pair around it (-1 for none), and the numbers' places."""
    outers: list[int] = []
    places: list[list[int]] = []
    still_open: list[int] = []
    for number, text in enumerate(block):
        for match in _BRACKET.finditer(_IGNORED.sub("", text)):
            if match[0] in "([{":
                outers.append(still_open[-1] if still_open else -1)
                places.append([])
                still_open.append(len(places) - 1)
            elif still_open:
                still_open.pop()
        if number < len(block) - 1 and still_open:
            places[still_open[-1]].append(first + number)
    return [(outer, tuple(found)) for outer, found in zip(outers, places, strict=True) if found]
