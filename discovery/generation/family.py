"""What a proposal is made from: the parents' programs taken apart, and all that a request shows as points of a space.

Programs that differ in their numbers only have one skeleton, and their numbers are vectors of one space. What a
request's trail shows beside the parents is read as such points, with their scores; what is better than every parent
shown is left out. A selector that shows worse parents wants them explored: best-of-n stays best-of-n.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from discovery.generation.base import ParentView
from discovery.generation.sketch import Literal, Sketch
from discovery.records import Direction

Floats = NDArray[np.float64]
Texts = tuple[str, ...]
_TOP = 1e150
Skeleton = tuple[tuple[str, ...], ...]


class Parsed:
    """A program's blocks, taken apart.

    Args:
        blocks: One sketch per EVOLVE-BLOCK.
    """

    def __init__(self, blocks: tuple[Sketch, ...]) -> None:
        self.blocks = blocks
        self.texts: Texts = tuple(block.text for block in blocks)
        self.literals: tuple[Literal, ...] = tuple(literal for block in blocks for literal in block.literals)
        self.skeleton: Skeleton = tuple(block.skeleton for block in blocks)

    @cached_property
    def values(self) -> list[float | int]:
        """The numbers of all blocks, in order."""
        return [literal.value for literal in self.literals]

    @cached_property
    def vector(self) -> Floats:
        """The same as an array, held within what can be squared and summed."""
        return np.array([float(min(max(value, -_TOP), _TOP)) for value in self.values], dtype=np.float64)

    @cached_property
    def free(self) -> list[int]:
        """Places of the numbers that are worth changing: all but indices, bounds and exponents."""
        return [i for i, literal in enumerate(self.literals) if not literal.counts]


@dataclass(frozen=True, slots=True)
class Family:
    """What one proposal is made from.

    Args:
        main: The program to change.
        quality: Its score, as a key that grows with quality.
        others: The other parents, as far as they differ from it.
        aligned: Those of them that differ from it in their numbers only.
        points: The numbers of all that is shown and differs from it in its numbers only, oldest first; one row each.
        qualities: Their scores, as keys.
        since: How many of ``points`` are older than the main one.
    """

    main: Parsed
    quality: float
    others: tuple[Parsed, ...]
    aligned: tuple[Parsed, ...]
    points: Floats
    qualities: Floats
    since: int


def family_of(
    parents: tuple[ParentView, ...],
    trail: tuple[ParentView, ...],
    direction: Direction,
    parse: Callable[[str], Parsed],
) -> Family:
    """Read a request.

    Args:
        parents: The one to change first.
        trail: What else is shown.
        direction: Which scores are better.
        parse: A program's text to its parts.
    """
    first = parents[0]
    main = parse(first.source)
    sources = dict.fromkeys(parent.source for parent in parents if parent.source != first.source)
    others = tuple(parse(source) for source in sources)
    best = max(direction.key(parent.score) for parent in parents)
    shown = {view.source: view for view in (*trail, *parents) if direction.key(view.score) <= best}
    shown.pop(first.source, None)
    views = sorted(shown.values(), key=lambda view: (view.key.step, view.key))
    pairs = [(parse(view.source), view) for view in views]
    points = [(parsed, view) for parsed, view in pairs if parsed.skeleton == main.skeleton]
    return Family(
        main=main,
        quality=direction.key(first.score),
        others=others,
        aligned=tuple(other for other in others if other.skeleton == main.skeleton),
        points=np.array([parsed.vector for parsed, _ in points]).reshape(len(points), len(main.literals)),
        qualities=np.array([direction.key(view.score) for _, view in points], dtype=np.float64),
        since=sum((view.key.step, view.key) < (first.key.step, first.key) for _, view in points),
    )
