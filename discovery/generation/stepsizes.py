"""Step sizes read off what a request shows, since a generator that keeps no state has no other memory.

Whoever was better than all before it was a success. What it was made from is not known, but what was there before and
differs from it in the fewest numbers, and by the least, is a good guess; the difference is the step that succeeded: how
many numbers moved, and how far. From these the next steps are drawn: of the same breadth, from a range of lengths
around theirs that leans upwards. Taken as they are, lengths only ever shrink: short steps succeed more often than long
ones.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import numpy as np

from discovery.generation.family import Family, Floats

_MOST = 8
"""Successes that are read, the latest ones."""
NARROW = 8
"""Numbers that a narrow step moves at most: a point's."""


@dataclass(frozen=True, slots=True)
class Successes:
    """Steps that led to something better, oldest first.

    Args:
        lengths: Typical change of a number that moved, one per step.
        moved: How many numbers moved.
        gains: By how much the score got better.
    """

    lengths: tuple[float, ...]
    moved: tuple[int, ...]
    gains: tuple[float, ...]

    def narrow_share(self) -> float:
        """Share of all that was gained by steps which moved few numbers; a half where nothing is known."""
        total = math.fsum(self.gains)
        if not total > 0 or not math.isfinite(total):
            return 0.5
        narrow = math.fsum(g for g, m in zip(self.gains, self.moved, strict=True) if m <= NARROW)
        return narrow / total

    def length(self, rng: random.Random) -> float | None:
        """A length of one of them; None where there is none."""
        return rng.choice(self.lengths) if self.lengths else None


def successes(family: Family) -> Successes:
    """Read the steps that led to something better."""
    rows = np.insert(family.points, family.since, family.main.vector, axis=0)
    qualities = np.insert(family.qualities, family.since, family.quality)
    lengths: list[float] = []
    moved: list[int] = []
    gains: list[float] = []
    best = np.maximum.accumulate(qualities)
    better = [i for i in range(1, len(rows)) if qualities[i] > best[i - 1]][-_MOST:]
    for i in better:
        counts = np.count_nonzero(rows[:i] != rows[i], axis=1)
        distances = np.abs(rows[:i] - rows[i]).sum(axis=1)
        base = int(np.lexsort((distances, counts))[0])
        step = rows[i] - rows[base]
        length = _length(step)
        if length is None:
            continue
        lengths.append(length)
        moved.append(int(counts[base]))
        gains.append(float(qualities[i] - best[i - 1]))
    return Successes(tuple(lengths), tuple(moved), tuple(gains))


def _length(step: Floats) -> float | None:
    nonzero = step[step != 0]
    if not nonzero.size:
        return None
    length = float(np.sqrt(np.mean(nonzero * nonzero)))
    return length if math.isfinite(length) and length > 0 else None
