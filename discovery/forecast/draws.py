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
from discovery.forecast.shape import MemberShape
from discovery.generation.arms import Arm, Dealer
from discovery.records import AdvicePurpose

_NARROWEST = 1.349
"""Quartiles of a normal distribution are so many standard deviations apart."""


class Draws:
    """A row of completions and evaluations.

    Args:
        pilot: Drawn from.
        count: How many of each are made; they come round again where more are asked for.
        rng: Draws.
        is_resampled: Whether the pilot itself is drawn anew before, as one of the pilots that might have been.
        members: Who makes completions, where several do. One that made none in the pilot is taken to be like all.
    """

    def __init__(
        self,
        pilot: Pilot,
        count: int,
        rng: np.random.Generator,
        *,
        is_resampled: bool = False,
        members: Sequence[MemberShape] = (),
    ) -> None:
        spoken, judged = list(pilot.spoken), list(pilot.judged)
        if is_resampled:
            if not members:
                spoken = _drawn(spoken, len(spoken), rng)
            judged = [judged[i] for i in rng.integers(len(judged), size=len(judged))]
        names: list[str | None] = [member.name for member in members] or [None]
        self.tokens_of: dict[str | None, float | None] = {}
        """Mean tokens of a completion, by who made it; None where they are not known."""
        self._works: dict[str | None, Iterator[float]] = {}
        for name in names:
            own = [each for each in spoken if each.maker == name] if name is not None else spoken
            own = own or spoken
            if is_resampled and members:
                own = _drawn(own, len(own), rng)
            works, tokens = _smoothed(own, count, rng)
            known = [each for each in tokens if each is not None]
            self.tokens_of[name] = sum(known) / len(known) if known else None
            self._works[name] = cycle(works)
        self._dealer = (
            Dealer([Arm(name=each.name, weight=each.share) for each in members]) if members else None
        )
        self._rng = rng
        self._judged: Iterator[Judged] = cycle([judged[i] for i in rng.integers(len(judged), size=count)])
        self._chances = cycle(rng.random(count).tolist())
        verified = pilot.verified_s
        self._verified: Iterator[float] = cycle(
            [verified[i] for i in rng.integers(len(verified), size=min(count, 1000))] if verified else [0.0]
        )
        self._record_rate = pilot.record_rate if verified else 0.0
        self._evaluated = 0
        self._asked = {
            purpose: (seen.per_step, cycle(_drawn(seen.spoken, min(count, 1000), rng)))
            for purpose, seen in pilot.advice.items()
        }
        self._fates: Iterator[float] = cycle(rng.random(count).tolist())

    def makers(self, count: int) -> tuple[str | None, ...]:
        """Who makes each of a step's completions; of nobody in particular where there is one generator."""
        return self._dealer.deal(count, self._rng).names if self._dealer is not None else (None,) * count

    def work_s(self, maker: str | None = None) -> float:
        """How long the next completion takes alone."""
        return next(self._works[maker])

    def advice(self, purpose: AdvicePurpose) -> Spoken | None:
        """The answer to a step's question; None where it asks none."""
        per_step, answers = self._asked.get(purpose, (0.0, None))
        if answers is None or next(self._fates) >= per_step:
            return None
        return next(answers)

    def fate(self) -> float:
        """How well a chain does beside others: a number between 0 and 1."""
        return next(self._fates)

    def judged(self) -> Judged:
        """The next evaluation."""
        return next(self._judged)

    def verified_s(self) -> float | None:
        """How long a second scoring takes of the candidate that was just evaluated; None where it needs none."""
        self._evaluated += 1
        if next(self._chances) * self._evaluated >= self._record_rate:
            return None
        return next(self._verified)


def _drawn(spoken: Sequence[Spoken], count: int, rng: np.random.Generator) -> list[Spoken]:
    return [spoken[i] for i in rng.integers(len(spoken), size=count)]


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
