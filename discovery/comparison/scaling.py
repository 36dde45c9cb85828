"""How the best score grows with the number N of evaluations: a power law with a floor, where the data support one.

What is fitted is what is missing: y(n) = floor + a n^-b. Where the problem knows a best value, y is the distance from
it, above 0, and residuals are relative, so that a distance of 1e-6 counts as much as one of 1; floor and a are at
least 0. Where it knows none, y is the score itself, turned so that less is better, and the floor is where it would
end. For a given b that is linear in floor and a; b is searched on a grid and then more closely.

The curve is the median over seeds; its interval comes from resampling the seeds and fitting again. Points of one
curve hang together, so that residuals alone would promise far too much. A fit is called supported only where at least 3
seeds and 8 times as many evaluations at the end as at the beginning are there, the score improves, the interval of b
excludes both ends of what is searched and spans at most a factor of 4, and the fit explains nine tenths of how the
median curve varies.

Source: the form: Hestness et al., Deep Learning Scaling is Predictable, Empirically (2017); that intervals
come from whole repetitions: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 9.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from discovery.intervals import Interval
from discovery.records import Direction

SMALLEST, LARGEST = 0.02, 4.0
"""Exponents that are searched."""
_POINTS = 24
_RESAMPLES = 200
_FEWEST_SEEDS = 3
_SHORTEST = 8
_LEAST_EXPLAINED = 0.9
_GRID = np.geomspace(SMALLEST, LARGEST, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """One fit.

    Args:
        floor: What would be missing after ever so many evaluations; a score, turned, where no best is known.
        scale: a: what one evaluation leaves above the floor.
        exponent: b, from 0.02 to 4.
    """

    floor: float
    scale: float
    exponent: float

    def at(self, evaluations: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is missing after so many evaluations, each at least 1."""
        missing: NDArray[np.float64] = self.floor + self.scale * evaluations**-self.exponent
        return missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What is known of how a setting scales.

    Args:
        law: The fit; None where nothing improves or there is too little.
        exponent: b with its interval of 95 %; None without a fit.
        doubled: The score at twice the budget, by the fit, with its interval; None without one.
        why_not: Why the data do not support it, in words; None where they do.
        known: The best value known, from which what is missing is counted; None where the score itself was fitted.
    """

    law: PowerLaw | None
    exponent: Interval | None
    doubled: Interval | None
    why_not: str | None
    known: float | None

    @property
    def is_supported(self) -> bool:
        """Whether the data support it."""
        return self.why_not is None

    def score_at(self, evaluations: NDArray[np.float64], direction: Direction) -> NDArray[np.float64]:
        """The fitted best score after so many evaluations.

        Args:
            evaluations: Each at least 1.
            direction: Which scores are better.
        """
        assert self.law is not None
        return _score(self.law.at(evaluations), self.known, direction)


def fitted(
    best: NDArray[np.float64], direction: Direction, *, first: int = 1, known: float | None = None
) -> Scaling:
    """Fit how a setting scales.

    Args:
        best: A row for each seed: best score after 0, 1, ... evaluations.
        direction: Which scores are better.
        first: Evaluations from which on it is fitted, at least 1: those of the first step are all of one parent.
        known: The best value known of the problem; left aside where a run is as good or better.
    """
    last = best.shape[1] - 1
    if last < _SHORTEST * first:
        return _none(f"{last} evaluations are too short a curve; run {_SHORTEST * first} or more", known)
    places = np.unique(np.geomspace(first, last, _POINTS).round().astype(np.int64))
    return fitted_at(places.astype(np.float64), best[:, places], direction, known=known)


def fitted_at(
    points: NDArray[np.float64],
    best: NDArray[np.float64],
    direction: Direction,
    *,
    known: float | None = None,
) -> Scaling:
    """Fit how the best score scales over given numbers of evaluations.

    Args:
        points: Numbers of evaluations, ascending, the first at least 1; at least 4.
        best: A row for each seed: best score after so many.
        direction: Which scores are better.
        known: The best value known of the problem; left aside where a run is as good or better.
    """
    seeds, last = len(best), float(points[-1])
    keys = best if direction is Direction.MAXIMIZE else -best
    if known is not None and not bool((keys < direction.key(known)).all()):
        known = None  # reached or surpassed: nothing is missing from it, and a distance of 0 has no logarithm
    rows = (direction.key(known) - keys) if known is not None else -keys
    if seeds < _FEWEST_SEEDS:
        return _none(f"{seeds} seeds tell nothing of its spread; run {_FEWEST_SEEDS} or more", known)
    middle = np.median(rows, axis=0)
    if not middle[0] > middle[-1]:
        return _none("the median score does not improve", known)
    is_distance = known is not None
    found = _fit(points, middle[None, :], is_distance=is_distance)
    law = PowerLaw(
        floor=float(found.floor[0]), scale=float(found.scale[0]), exponent=float(found.exponent[0])
    )
    rng = np.random.default_rng(0)
    middles = np.median(rows[rng.integers(0, seeds, size=(_RESAMPLES, seeds))], axis=1)
    again = _fit(points, middles[middles[:, 0] > middles[:, -1]], is_distance=is_distance)
    stretch = math.sqrt(seeds / (seeds - 1))
    exponent = _interval(np.log(again.exponent), math.log(law.exponent), stretch)
    twice = 2.0 * last
    ahead = again.floor + again.scale * twice**-again.exponent
    doubled = _interval(ahead, float(law.at(np.array([twice]))[0]), stretch)
    low, high = (min(LARGEST, max(SMALLEST, math.exp(end))) for end in exponent)
    ends = [float(_score(np.array([end]), known, direction)[0]) for end in doubled]
    score = float(_score(law.at(np.array([twice])), known, direction)[0])
    return Scaling(
        law=law,
        exponent=Interval(estimate=law.exponent, low=low, high=high),
        doubled=Interval(estimate=score, low=min(ends), high=max(ends)),
        why_not=_why_not(low, high, len(again.exponent), _explained(middle, found, is_distance)),
        known=known,
    )


def _interval(resamples: NDArray[np.float64], estimate: float, stretch: float) -> tuple[float, float]:
    """Where 95 % of the resamples lie, stretched as in :mod:`discovery.intervals`."""
    low, high = (estimate + stretch * (float(q) - estimate) for q in np.quantile(resamples, [0.025, 0.975]))
    return min(low, estimate), max(high, estimate)


def _explained(middle: NDArray[np.float64], found: _Fits, is_distance: bool) -> float:
    """Which share of how the curve varies the fit explains, weighted as it was fitted."""
    weights = middle**-2 if is_distance else np.ones(len(middle))
    mean = float(np.average(middle, weights=weights))
    return 1 - float(found.left[0]) / float((weights * (middle - mean) ** 2).sum())


def _why_not(low: float, high: float, fits: int, explained: float) -> str | None:
    if fits < 0.9 * _RESAMPLES:
        return "in more than a tenth of the resamples of the seeds nothing improves"
    if low <= 1.1 * SMALLEST and high >= 0.9 * LARGEST:
        return "any exponent fits"
    if low <= 1.1 * SMALLEST:
        return "no end is in sight: it may grow as fast as the logarithm of N, or faster"
    if high >= 0.9 * LARGEST:
        return f"an exponent of {LARGEST:g} or more fits too: it may have come to its end"
    if high > 4 * low:
        return f"the exponent may be anything from {low:.2g} to {high:.2g}"
    if explained < _LEAST_EXPLAINED:
        return f"the best one explains only {100 * explained:.0f} % of how the median curve varies"
    return None


def _none(why: str, known: float | None) -> Scaling:
    return Scaling(law=None, exponent=None, doubled=None, why_not=why, known=known)


def _score(missing: NDArray[np.float64], known: float | None, direction: Direction) -> NDArray[np.float64]:
    keys = (direction.key(known) if known is not None else 0.0) - missing
    score: NDArray[np.float64] = keys if direction is Direction.MAXIMIZE else -keys
    return score


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fits:
    """Fits of several curves, an entry each; ``left`` is the sum of the squares that are left."""

    floor: NDArray[np.float64]
    scale: NDArray[np.float64]
    exponent: NDArray[np.float64]
    left: NDArray[np.float64]


def _fit(points: NDArray[np.float64], missing: NDArray[np.float64], *, is_distance: bool) -> _Fits:
    """The best exponent of the grid for each row, then closer between its neighbours."""
    rows = len(missing)
    errors = np.array([_linear(points, missing, np.full(rows, b), is_distance).left for b in _GRID])
    place = errors.argmin(axis=0)
    low, high = _GRID[np.maximum(place - 1, 0)], _GRID[np.minimum(place + 1, len(_GRID) - 1)]
    for _ in range(20):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        is_left = (
            _linear(points, missing, left, is_distance).left
            <= _linear(points, missing, right, is_distance).left
        )
        low, high = np.where(is_left, low, left), np.where(is_left, right, high)
    return _linear(points, missing, (low + high) / 2, is_distance)


def _linear(
    points: NDArray[np.float64],
    missing: NDArray[np.float64],
    exponent: NDArray[np.float64],
    is_distance: bool,
) -> _Fits:
    """Floor and scale by weighted least squares, for one exponent for each row."""
    shape = points[None, :] ** -exponent[:, None]
    weights = missing**-2 if is_distance else np.ones_like(missing)
    total = weights.sum(axis=1)
    off_x = shape - ((weights * shape).sum(axis=1) / total)[:, None]
    mean_y = (weights * missing).sum(axis=1) / total
    off_y = missing - mean_y[:, None]
    scale = np.maximum(0.0, (weights * off_x * off_y).sum(axis=1) / (weights * off_x**2).sum(axis=1))
    floor = mean_y - scale * (weights * shape).sum(axis=1) / total
    if is_distance:
        alone = (weights * shape * missing).sum(axis=1) / (weights * shape**2).sum(axis=1)
        floor, scale = np.where(floor < 0, 0.0, floor), np.where(floor < 0, alone, scale)
    left = weights * (missing - floor[:, None] - scale[:, None] * shape) ** 2
    return _Fits(floor=floor, scale=scale, exponent=exponent, left=left.sum(axis=1))
