"""The scale on which the scores of one chain are compared: about 0 to 1, frozen for a while.

Values that decay from child to parent must be taken on such a scale. Decaying raw scores would reward failure where
scores are negative (0.8 x -10 is *better* than -10), and would mean nothing where they are minimised.

The scale goes from the tenth percentile (0) to the best score (1). It is renewed when the chain has doubled, or when a
score exceeds the best by the whole span; until then later scores may lie above 1, and low ones count as 0. So what is
made of normalised scores stays valid for long, and renewing all of it costs O(log n) per candidate, amortised.
"""

from __future__ import annotations

import math
from array import array
from bisect import insort

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOW_QUANTILE = 0.1
"""The share of a chain's candidates whose normalised score is 0: one terrible score flattens nothing."""


class Scale:
    """The scores of a chain in order, as qualities, which grow with what is better."""

    def __init__(self) -> None:
        # Ascending. Inserting moves 8 bytes per better candidate, microseconds at 50,000: no tree is cheaper.
        self._sorted = array("d")
        self._low = self._high = 0.0
        self._renew_at = 1

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, quality: float) -> bool:
        """Take in a quality; returns whether the scale was renewed, so that all normalised qualities have changed."""
        insort(self._sorted, quality)
        count = len(self._sorted)
        # Halved, because the difference of two large floats may overflow.
        if count < self._renew_at and quality / 2 <= self._high - self._low / 2:
            return False
        self._renew_at = 2 * count
        self._low = self._sorted[math.floor(LOW_QUANTILE * (count - 1))]
        self._high = self._sorted[-1]
        return True

    def normalised(self, quality: float) -> float:
        """A quality on the scale: 0 or more, 1 for what was the best when it was renewed."""
        span = self._high / 2 - self._low / 2
        if span <= 0:  # halves of the smallest floats are 0
            return 1.0 if quality >= self._high else 0.0
        return max(0.0, (quality / 2 - self._low / 2) / span)

    def ranks(self, qualities: Floats) -> Floats:
        """Ranks of qualities among all of the chain, from 1 (best) to 0 (worst); equals share the better one."""
        count = len(self._sorted)
        better = count - np.searchsorted(np.frombuffer(self._sorted), qualities, side="right")
        ranks: Floats = 1.0 - better / max(1, count - 1)
        return ranks
