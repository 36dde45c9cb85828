"""Whether one set of scores is better than another, or only luckier: tests for few seeds.

All tests here are exact: the chance is counted over all ways in which the data could have fallen, not read off a normal
curve that five seeds do not follow. Only where counting would take too long are the ways drawn, with a fixed seed, so
that equal data give equal p. A p is two-sided unless it is asked for ``"better"``: the chance of a difference at least
this large, in either direction, if there were none.

Runs with equal seeds are pairs: :func:`paired_test`. What has no pairs: :func:`unpaired_test`. Several comparisons of
one experiment: :func:`holm`. What few seeds can never show: :func:`smallest_p`. With 5 pairs all 5 of which agree, p is
2 / 2^5 = 0.0625, and no difference, however large, gets below it.

The test of ranks is the default of pairs. It asks for differences that are symmetric around their middle, and one
lucky seed cannot decide it alone; the mean's test (``"mean"``) is for where the mean itself is what counts.

Source: Wilcoxon, Individual comparisons by ranking methods (1945); zeros: Pratt, Remarks on zeros and ties in the
Wilcoxon signed rank procedures (1959); flipping signs: Fisher, The Design of Experiments (1935), section 21; unpaired:
Mann and Whitney, On a test of whether one of two random variables is stochastically larger than the other (1947);
drawn ways: Phipson and Smyth, Permutation p-values should never be zero (2010); several tests: Holm, A simple
sequentially rejective multiple test procedure (1979); the probability of superiority: Vargha and Delaney, A critique
and improvement of the CL common language effect size statistics (2000).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from discovery.errors import DataError
from discovery.records import Direction

Alternative = Literal["two-sided", "better"]
"""Against what: that there is a difference, or that the first is better."""

DRAWS = 20_000
"""Ways that are drawn where there are too many to count."""
_MOST_FLIPS = 16
"""Pairs up to which all ways of flipping signs are counted: 65,536."""
_MOST_RANKED = 100
"""Numbers up to which all ways of dividing ranks are counted."""
_SAME = 1e-13
"""Sums that differ by less than this share of what they could be are the same: they were added in another order."""


def paired_test(
    a: Sequence[float],
    b: Sequence[float],
    direction: Direction,
    *,
    alternative: Alternative = "two-sided",
    statistic: Literal["ranks", "mean"] = "ranks",
) -> float:
    """How likely so large a difference of pairs is by chance.

    Args:
        a: One score for each seed.
        b: The scores of what it is compared with, in the same order of seeds.
        direction: Which scores are better; only ``"better"`` depends on it.
        alternative: ``"two-sided"``, or ``"better"``: that a is better than b.
        statistic: ``"ranks"`` for Wilcoxon's signed ranks, exact for any number of pairs; ``"mean"`` for the mean
            difference with flipped signs, exact up to 16 pairs.

    Returns:
        p, above 0 to 1; 1 where no pair differs.

    Raises:
        DataError: There are no pairs, not as many of one as of the other, or a score is not finite.
    """
    first, second = _numbers(a), _numbers(b)
    if len(first) != len(second):
        raise DataError(f"{len(first)} scores and {len(second)}: pairs need as many of one as of the other")
    gains = first - second if direction is Direction.MAXIMIZE else second - first
    if not gains.any():
        return 1.0
    if statistic == "mean":
        return _flipped(gains, alternative)
    ranks = _doubled_ranks(np.abs(gains))
    ranks[gains == 0] = 0  # as Pratt has it: ranked with the others, then left out
    chances = np.ones(1)
    for rank in ranks[ranks > 0]:
        more = np.zeros(len(chances) + rank)
        more[: len(chances)] += chances / 2
        more[rank:] += chances / 2
        chances = more
    return _tail(chances, int(ranks[gains > 0].sum()), alternative)


def unpaired_test(
    a: Sequence[float], b: Sequence[float], direction: Direction, *, alternative: Alternative = "two-sided"
) -> float:
    """How likely so large a difference of two sets is by chance: the test of Mann and Whitney.

    Exact, ties included, up to 100 numbers in all; of more, ways of dividing them are drawn.

    Args:
        a: Scores.
        b: The scores that they are compared with.
        direction: Which scores are better.
        alternative: ``"two-sided"``, or ``"better"``: that a is better than b.

    Returns:
        p, above 0 to 1.

    Raises:
        DataError: One of them is empty, or a score is not finite.
    """
    sign = 1 if direction is Direction.MAXIMIZE else -1
    first, second = sign * _numbers(a), sign * _numbers(b)
    ranks = _doubled_ranks(np.concatenate([first, second]))
    found = int(ranks[: len(first)].sum())
    if len(ranks) > _MOST_RANKED:
        rng = np.random.default_rng(0)
        drawn = np.array([rng.permutation(ranks)[: len(first)].sum() for _ in range(DRAWS)])
        return _share(drawn, found, alternative)
    ways = np.zeros((len(first) + 1, int(ranks.sum()) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    chances = ways[-1]
    return _tail(chances / chances.sum(), found, alternative)


def holm(ps: Sequence[float]) -> list[float]:
    """The p of several tests together: below alpha for any of them by chance in at most alpha of all experiments.

    Args:
        ps: One p for each test, in any order.

    Returns:
        The corrected ones, in the same order.
    """
    corrected = [1.0] * len(ps)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        highest = max(highest, min(1.0, (len(ps) - place) * ps[index]))
        corrected[index] = highest
    return corrected


def smallest_p(pairs: int, *, alternative: Alternative = "two-sided", tests: int = 1) -> float:
    """The smallest p that so many pairs can have, however large the difference is.

    Args:
        pairs: How many there are, at least 1.
        alternative: As of the test.
        tests: How many are corrected together by :func:`holm`.
    """
    sides = 2 if alternative == "two-sided" else 1
    return min(1.0, tests * sides * 2.0**-pairs)


def pairs_needed(alpha: float, *, alternative: Alternative = "two-sided", tests: int = 1) -> int:
    """How many pairs must all agree for p to reach alpha.

    Args:
        alpha: Above 0 to below 1.
        alternative: As of the test.
        tests: How many are corrected together by :func:`holm`.

    Raises:
        DataError: Alpha is out of range.
    """
    if not 0 < alpha < 1:
        raise DataError(f"alpha is {alpha!r}; it must be above 0 and below 1")
    sides = 2 if alternative == "two-sided" else 1
    return max(1, math.ceil(math.log2(tests * sides / alpha)))


def superiority(a: Sequence[float], b: Sequence[float], direction: Direction) -> float:
    """How likely a score of a is better than one of b, a tie counting half: 0.5 where they are alike.

    Args:
        a: Scores.
        b: The scores that they are compared with.
        direction: Which scores are better.

    Raises:
        DataError: One of them is empty, or a score is not finite.
    """
    sign = 1 if direction is Direction.MAXIMIZE else -1
    gains = np.sign(sign * np.subtract.outer(_numbers(a), _numbers(b)))
    return float((gains.mean() + 1) / 2)


def _numbers(values: Sequence[float]) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise DataError("there is nothing to test; give at least one score on both sides")
    if not np.isfinite(numbers).all():
        raise DataError("a score is not finite; what has no score must be left out before")
    return numbers


def _doubled_ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Ranks from the smallest, equal values sharing the middle one; doubled, so that they are whole."""
    ordered = np.sort(values)
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right")
    doubled: NDArray[np.int64] = (first + last + 1).astype(np.int64)
    return doubled


def _flipped(gains: NDArray[np.float64], alternative: Alternative) -> float:
    found, reach = float(gains.sum()), float(np.abs(gains).sum())
    if len(gains) <= _MOST_FLIPS:
        ways = np.arange(2 ** len(gains))[:, None] >> np.arange(len(gains)) & 1
        sums = (1 - 2 * ways) @ gains
        far = (
            np.abs(sums) >= abs(found) - _SAME * reach
            if alternative == "two-sided"
            else sums >= found - _SAME * reach
        )
        return float(far.mean())
    rng = np.random.default_rng(0)
    drawn = np.array([float((rng.integers(0, 2, len(gains)) * 2 - 1) @ gains) for _ in range(DRAWS)])
    return _share(drawn, found, alternative, _SAME * reach)


def _tail(chances: NDArray[np.float64], found: int, alternative: Alternative) -> float:
    """The chance of at least ``found``, or of either end as far out."""
    above = float(chances[found:].sum())
    if alternative == "better":
        return min(1.0, above)
    return min(1.0, 2 * min(above, float(chances[: found + 1].sum())))


def _share(drawn: NDArray[np.float64], found: float, alternative: Alternative, same: float = 0.0) -> float:
    """The same of ways that were drawn, the one that was found among them."""
    above = (1 + int((drawn >= found - same).sum())) / (1 + len(drawn))
    if alternative == "better":
        return above
    below = (1 + int((drawn <= found + same).sum())) / (1 + len(drawn))
    return min(1.0, 2 * min(above, below))
