"""What each completion and each evaluation of a simulated run takes, drawn from a pilot's.

Draws are taken one after the other, whoever asks: so runs of other shapes with one seed have the same ones, and differ
by their shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np

from discovery.forecast.pilot import Judged, Pilot, Spoken

_NARROWEST = 1.349
"""Quartiles of a normal distribution are so many standard deviations apart."""


class Draws:
    """A row of completions and evaluations.

    Args:
        pilot: Drawn from.
        count: How many of each are made; they come round again where more are asked for.
        rng: Draws.
        is_resampled: Whether the pilot itself is drawn anew before, as one of the pilots that might have been.
    """

    def __init__(
        self, pilot: Pilot, count: int, rng: np.random.Generator, *, is_resampled: bool = False
    ) -> None:
        spoken, judged = list(pilot.spoken), list(pilot.judged)
        if is_resampled:
            spoken = [spoken[i] for i in rng.integers(len(spoken), size=len(spoken))]
            judged = [judged[i] for i in rng.integers(len(judged), size=len(judged))]
        works, tokens = _smoothed(spoken, count, rng)
        self.tokens: float | None = None
        """Mean tokens of a completion; None where they are not known."""
        known = [each for each in tokens if each is not None]
        if known:
            self.tokens = sum(known) / len(known)
        self._works: Iterator[float] = cycle(works)
        self._judged: Iterator[Judged] = cycle([judged[i] for i in rng.integers(len(judged), size=count)])
        self._chances = cycle(rng.random(count).tolist())
        verified = pilot.verified_s
        self._verified: Iterator[float] = cycle(
            [verified[i] for i in rng.integers(len(verified), size=min(count, 1000))] if verified else [0.0]
        )
        self._record_rate = pilot.record_rate if verified else 0.0
        self._evaluated = 0

    def work_s(self) -> float:
        """How long the next completion takes alone."""
        return next(self._works)

    def judged(self) -> Judged:
        """The next evaluation."""
        return next(self._judged)

    def verified_s(self) -> float | None:
        """How long a second scoring takes of the candidate that was just evaluated; None where it needs none."""
        self._evaluated += 1
        if next(self._chances) * self._evaluated >= self._record_rate:
            return None
        return next(self._verified)


def _smoothed(
    spoken: Sequence[Spoken], count: int, rng: np.random.Generator
) -> tuple[list[float], list[int | None]]:
    """Completions drawn with a little noise in the logarithm of their time, which keeps its spread as it is.

    A small pilot has few different times, and each step waits for the longest of several. Noise fills the gaps
    between them; as much as the middle half of them varies, so that what is one time, or two, stays so.

    Source: Silverman, Density Estimation for Statistics and Data Analysis (1986), 3.4 (3.31) and 6.4.1.
    """
    chosen = rng.integers(len(spoken), size=count)
    tokens = [spoken[i].tokens for i in chosen]
    works = np.array([each.work_s for each in spoken])
    if len(works) < 4 or works.min() <= 0.0:
        return works[chosen].tolist(), tokens
    logs = np.log(works)
    low, high = np.quantile(logs, (0.25, 0.75))
    spread = float(np.std(logs))
    narrow = min(spread, float(high - low) / _NARROWEST)
    if spread == 0.0 or narrow == 0.0:
        return works[chosen].tolist(), tokens
    width = 0.9 * narrow * len(works) ** -0.2
    noisy = logs[chosen] + width * rng.standard_normal(count)
    mean = float(logs.mean())
    shrunk = mean + (noisy - mean) / math.sqrt(1.0 + (width / spread) ** 2)
    return np.exp(shrunk).tolist(), tokens
