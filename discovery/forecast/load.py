"""What completions in flight do to each other's time: the queue at the servers, and the pace of those that run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_SURE = 3.0
"""A slope of so many standard errors is no coincidence."""
_LEVELS = 2.0
"""The most of a load has to be so many times the least for anything to be learned of its effect."""
_LOOKS = 9
_GRID = 400


def served(sent: np.ndarray, ended: np.ndarray, slots: int | None) -> np.ndarray:
    """When each choice began to be generated, by servers that take them in the order of their arrival.

    Args:
        sent: When each was asked for, in seconds.
        ended: When each had come.
        slots: How many they run at once; None for no limit.

    Returns:
        In the same order; never before it was sent, nor after it had come.
    """
    begun = sent.astype(float).copy()
    if slots is None or len(sent) <= slots:
        return begun
    order = np.argsort(sent, kind="stable")
    # The first choices get the slots, each later one that of the choice that ended before it in its turn.
    freed = np.sort(ended)
    later = order[slots:]
    begun[later] = np.maximum(sent[later], freed[: len(later)])
    earliest: np.ndarray = np.minimum(begun, ended)
    return earliest


def slots_seen(
    sent: np.ndarray, ended: np.ndarray, windows: Sequence[tuple[float, float, float]]
) -> int | None:
    """How many choices servers run at once, from times in which others waited there.

    They ran as many as there were, up to the number that is looked for: the one that explains how many ran on average.

    Args:
        sent: When each choice was asked for, in seconds.
        ended: When each had come.
        windows: Beginning, end and mean of those that ran, of each such time.

    Returns:
        None where no choice was in flight then.
    """
    begins, ends = np.sort(sent), np.sort(ended)
    there, ran = [], 0.0
    for first, last, running in windows:
        looks = np.linspace(first, last, _GRID)
        there.append(
            np.searchsorted(begins, looks, side="right") - np.searchsorted(ends, looks, side="right")
        )
        ran += running
    if not there or not np.any(there):
        return None
    flying = np.stack(there)
    mean = ran / len(there)
    candidates = np.arange(1, int(flying.max()) + 1)
    explained = np.array([np.minimum(flying, slots).mean() for slots in candidates])
    return int(candidates[np.abs(explained - mean).argmin()])


def in_flight(begun: np.ndarray, ended: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many others ran beside each choice.

    Args:
        begun: When each began, in seconds.
        ended: When each ended.

    Returns:
        The mean over a time that is the same for all from their beginnings, which does not depend on how long each of
        them took; and that over its own time.
    """
    begins, ends = np.sort(begun), np.sort(ended)
    typical = float(np.median(ended - begun)) / 2
    common = _beside(begun, begun + typical, ended, begins, ends)
    own = _beside(begun, ended, ended, begins, ends)
    return common, own


def _beside(
    first: np.ndarray, last: np.ndarray, ended: np.ndarray, begins: np.ndarray, ends: np.ndarray
) -> np.ndarray:
    shares = (np.arange(_LOOKS) + 0.5) / _LOOKS
    looks = first[:, None] + (last - first)[:, None] * shares
    running = np.searchsorted(begins, looks, side="right") - np.searchsorted(ends, looks, side="right")
    others: np.ndarray = (running - (looks < ended[:, None])).mean(axis=1)
    return others.clip(min=0.0)


def slowdown(times: Sequence[float], beside: Sequence[float]) -> tuple[float, int, bool]:
    """By how much a choice takes longer for each other one beside it, from a straight line through what was seen.

    Args:
        times: Seconds of each choice, or seconds of each of its tokens.
        beside: How many others ran when it did.

    Returns:
        The share of its time alone, 0 where the slope may be a coincidence; the most that ran at once; and whether
        the loads differ too little to tell.
    """
    x, y = np.asarray(beside, dtype=float), np.asarray(times, dtype=float)
    most = round(float(x.max())) + 1 if len(x) else 1
    if len(x) < 8 or (x.max() + 1.0) < _LEVELS * (x.min() + 1.0):
        return 0.0, most, True
    centred = x - x.mean()
    square = float((centred**2).sum())
    slope = float((centred * y).sum()) / square
    alone = float(y.mean()) - slope * float(x.mean())
    rest = y - alone - slope * x
    error = float(np.sqrt((rest**2).sum() / (len(x) - 2) / square))
    if slope <= _SURE * error or alone <= 0.0:
        return 0.0, most, False
    return slope / alone, most, False
