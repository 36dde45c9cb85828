"""Scores of several repeats: the statistic, the interval around it, the order of turns, and whose CPUs are whose.

A noisy score is a draw, so a problem may ask for several and for a statistic of them (:class:`discovery.problem.
Repeats`). The interval says where that statistic's true value lies, with the declared confidence, if the repeats are
independent and alike:

- *median*: the exact interval between two order statistics, from the binomial distribution, which holds for noise of
  any shape. Fewer repeats than it needs (six for 0.95) give the hull of their range and of the mean's interval.
- *mean*: Student's t, exact for normal noise and good for averages of any.
- *min*, *max*: the end point of the noise's distribution (the time that a program takes when nothing disturbs it),
  which lies beyond the extreme repeat by a multiple of the last gap. A bootstrap is no way to it: resampling never
  leaves the sample. It holds for noise whose density does not vanish at its end.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from discovery.declared import Repeats
from discovery.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What several repeats say together.

    Args:
        value: The declared statistic.
        interval: Where its true value lies with the declared confidence; None of a single repeat.
        closest: Which repeat comes closest to it, the first of equals, from 0.
    """

    value: float
    interval: tuple[float, float] | None
    closest: int


def estimate(samples: Sequence[float], repeats: Repeats) -> Estimate:
    """The declared statistic of some repeats, with its interval.

    Args:
        samples: At least one, all finite.
        repeats: Which statistic, with what confidence.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    with np.errstate(over="ignore", invalid="ignore"):
        value = _STATISTICS[repeats.statistic](ordered)
        interval = None
        if len(ordered) > 1:
            low, high = _INTERVALS[repeats.statistic](ordered, repeats.confidence)
            interval = (_bounded(min(low, value)), _bounded(max(high, value)))
        closest = int(np.argmin(np.abs(np.asarray(samples, dtype=np.float64) / 2 - value / 2)))
    return Estimate(value=value, interval=interval, closest=closest)


def _middle(ordered: np.ndarray) -> float:
    count = len(ordered)
    low, high = float(ordered[(count - 1) // 2]), float(ordered[count // 2])
    return low if low == high else low / 2 + high / 2  # halves, since the sum may overflow


def _mean(ordered: np.ndarray) -> float:
    # Parts of the sum, which may overflow; their rounding may leave the samples' range.
    return float(np.clip(np.sum(ordered / len(ordered)), ordered[0], ordered[-1]))


_STATISTICS: dict[str, Callable[[np.ndarray], float]] = {
    "median": _middle,
    "mean": _mean,
    "min": lambda ordered: float(ordered[0]),
    "max": lambda ordered: float(ordered[-1]),
}


def _bounded(value: float) -> float:
    """Within what a float can say: an interval's end is stored, and only finite numbers are."""
    return min(max(value, -sys.float_info.max), sys.float_info.max)


def overlap(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """Whether two intervals have a point in common."""
    return max(a[0], b[0]) <= min(a[1], b[1])


def order(turn: int) -> tuple[bool, bool]:
    """Who is scored first and second in a turn with a baseline: AB BA AB ..., so that a steady drift cancels.

    Args:
        turn: From 0.

    Returns:
        For each of the two, whether it is the baseline.
    """
    return (False, True) if turn % 2 == 0 else (True, False)


def compared(value: float, baseline: float, comparison: str) -> float:
    """A repeat's value beside the baseline's of the same turn.

    Args:
        value: The candidate's.
        baseline: The baseline's.
        comparison: ``ratio`` or ``difference``.

    Raises:
        ValueError: A ratio of these two says nothing, or the result is not finite.
    """
    if comparison == "difference":
        result = value - baseline
    elif baseline > 0 and value >= 0:
        result = value / baseline
    else:
        raise ValueError(
            f"the ratio of {value!r} to the baseline's {baseline!r} says nothing: it needs a baseline above 0 and a "
            "score of at least 0; declare comparison='difference', or return such scores"
        )
    if not math.isfinite(result):
        raise ValueError(f"the {comparison} of {value!r} and the baseline's {baseline!r} is {result!r}")
    return result


# Intervals


def _median_interval(ordered: np.ndarray, confidence: float) -> tuple[float, float]:
    """Two order statistics.

    Source: David and Nagaraja, Order Statistics (3rd edition, 2003), section 7.1: the number of samples below the
    median is binomial with probability 1/2.
    """
    rank = median_rank(len(ordered), confidence)
    if rank:
        return float(ordered[rank - 1]), float(ordered[-rank])
    low, high = _mean_interval(ordered, confidence)
    return min(low, float(ordered[0])), max(high, float(ordered[-1]))


@lru_cache(maxsize=64)
def median_rank(count: int, confidence: float) -> int:
    """The largest r for which the r-th smallest and r-th largest of some samples enclose the median surely enough.

    Args:
        count: How many samples.
        confidence: Above 0 and below 1.

    Returns:
        r, from 1; 0 when there are too few samples for any.
    """
    rank, outside = 0, 0.0
    while 2 * (rank + 1) <= count:
        outside += 2 * math.comb(count, rank) / 2**count
        if 1 - outside < confidence:
            break
        rank += 1
    return rank


def _mean_interval(ordered: np.ndarray, confidence: float) -> tuple[float, float]:
    """Student's interval.

    Source: Student, The probable error of a mean, Biometrika 6 (1908).
    """
    count = len(ordered)
    mean = _mean(ordered)
    half = t_quantile(count - 1, confidence) * float(np.std(ordered, ddof=1)) / math.sqrt(count)
    return mean - half, mean + half


@lru_cache(maxsize=64)
def t_quantile(freedom: int, confidence: float) -> float:
    """What Student's t stays below in absolute value with a probability.

    Args:
        freedom: Degrees of freedom, from 1.
        confidence: That probability, above 0 and below 1.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4, solved by bisection
    of the angle.
    """
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _within(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(low)


def _within(angle: float, freedom: int) -> float:
    """The probability that the absolute value of t is below sqrt(freedom) tan(angle)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    total, term = 0.0, cosine if freedom % 2 else 1.0
    for k in range(1 + freedom % 2, freedom, 2):
        total += term
        term *= k / (k + 1) * cosine * cosine
    return 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total


def _low_end_interval(ordered: np.ndarray, confidence: float) -> tuple[float, float]:
    """From the smallest sample down by a multiple of the gap to the next.

    Source: Robson and Whitlock, Estimation of a truncation point, Biometrika 51 (1964), p. 33: the gaps before and
    after the smallest sample are alike, so that the first is at most r times the second with probability r/(1 + r).
    """
    least, next_least = float(ordered[0]), float(ordered[1])
    return least - confidence / (1 - confidence) * (next_least - least), least


def _high_end_interval(ordered: np.ndarray, confidence: float) -> tuple[float, float]:
    low, high = _low_end_interval(-ordered[::-1], confidence)
    return -high, -low


_INTERVALS: dict[str, Callable[[np.ndarray, float], tuple[float, float]]] = {
    "median": _median_interval,
    "mean": _mean_interval,
    "min": _low_end_interval,
    "max": _high_end_interval,
}


# CPUs


class Cores:
    """Which CPUs evaluations have for themselves, and which are left for everything else.

    One CPU at least is kept for everything else (this process, scorers, storage) where there is more than one. Other
    processes of the machine are not kept off; two runs at once on one machine share their cores unless each was
    started with CPUs of its own (``taskset``).

    Args:
        each: CPUs of one evaluation; 0: none is set apart.
        allowed: Numbers of the CPUs that may be used; None: those that this process may use.

    Raises:
        ConfigError: There are too few for a single evaluation.
    """

    def __init__(self, each: int, allowed: Iterable[int] | None = None) -> None:
        cpus = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
        kept = min(1, len(cpus) - 1)
        usable = cpus[kept:]
        if each > len(usable):
            raise ConfigError(
                f"the problem asks for {each} CPUs for each evaluation alone, beside one for everything else: "
                f"{each + 1} in all, and this process may use {len(cpus)}; lower cores=... in its repeats, or use "
                "a machine with more"
            )
        count = len(usable) // each if each else 0
        self.evaluations: int | None = count if each else None
        """How many evaluations can have cores at once; None: any number."""
        self._free = [tuple(usable[i * each : (i + 1) * each]) for i in reversed(range(count))]
        taken = {cpu for cores in self._free for cpu in cores}
        self._rest = (set(cpus) - taken) or set(cpus)
        self._each = each
        self._before: dict[int, set[int]] = {}

    def take(self) -> tuple[int, ...]:
        """Cores for one evaluation; empty when none are set apart.

        Raises:
            RuntimeError: More evaluations ask at once than :attr:`evaluations`.
        """
        if not self._each:
            return ()
        if not self._free:
            raise RuntimeError("more evaluations ask for cores at once than there are cores for")
        return self._free.pop()

    def give(self, cores: tuple[int, ...]) -> None:
        """Cores of an evaluation that has ended."""
        if cores:
            self._free.append(cores)

    def keep_off(self) -> None:
        """Keep all threads of this process, and what it starts from now on, off the cores that are set apart."""
        if not self._each:
            return
        for thread in _threads():
            with suppress(OSError):  # it may have ended
                self._before.setdefault(thread, os.sched_getaffinity(thread))
                os.sched_setaffinity(thread, self._rest)

    def restore(self) -> None:
        """Undo :meth:`keep_off`. May be called twice."""
        everywhere = set().union(*self._before.values())
        for thread in _threads() if self._before else ():
            with suppress(OSError):
                os.sched_setaffinity(thread, self._before.get(thread, everywhere))
        self._before.clear()


def _threads() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/task").iterdir()]
