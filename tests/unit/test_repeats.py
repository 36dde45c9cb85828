"""Statistics, intervals and cores of repeated scores."""

import itertools
import math
import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.declared import STATISTICS, Repeats
from discovery.errors import ConfigError
from discovery.repeats import Cores, compared, estimate, median_rank, order, overlap, t_quantile

finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("freedom", "confidence", "value"),
    [
        # Two-sided values of Student's t as every textbook prints them.
        (1, 0.95, 12.706),
        (2, 0.95, 4.303),
        (3, 0.95, 3.182),
        (4, 0.95, 2.776),
        (4, 0.99, 4.604),
        (9, 0.95, 2.262),
        (10, 0.90, 1.812),
        (30, 0.95, 2.042),
        (120, 0.99, 2.617),
        (999, 0.95, 1.962),
        (1, 0.5, 1.000),
    ],
)
def test_the_t_quantile_is_the_tables(freedom, confidence, value):
    assert t_quantile(freedom, confidence) == pytest.approx(value, abs=6e-4)


@pytest.mark.parametrize(
    ("count", "confidence", "rank"),
    # Conover, Practical Nonparametric Statistics, and by hand: 1 - 2 * (1/2)^5 = 0.9375.
    [
        (5, 0.95, 0),
        (6, 0.95, 1),
        (8, 0.95, 1),
        (9, 0.95, 2),
        (10, 0.95, 2),
        (20, 0.95, 6),
        (5, 0.9375, 1),
        (1, 0.5, 0),
    ],
)
def test_the_median_lies_between_the_binomials_order_statistics(count, confidence, rank):
    assert median_rank(count, confidence) == rank


NOISES = {
    "normal": lambda rng, size: rng.normal(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size),
    "uniform": lambda rng, size: rng.uniform(size=size),
}


@pytest.mark.parametrize(
    ("statistic", "noise", "truth", "count"),
    [
        ("median", "normal", 0.0, 5),
        ("median", "exponential", math.log(2), 5),
        ("median", "exponential", math.log(2), 11),
        ("mean", "normal", 0.0, 2),
        ("mean", "normal", 0.0, 7),
        ("mean", "uniform", 0.5, 10),
        ("min", "uniform", 0.0, 5),
        ("min", "exponential", 0.0, 9),
        ("max", "uniform", 1.0, 9),
    ],
)
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_holds_the_truth_as_often_as_it_says(statistic, noise, truth, count, confidence):
    repeats = Repeats(count=count, statistic=statistic, confidence=confidence)
    rng = np.random.default_rng(7)
    intervals = [estimate(draw, repeats).interval for draw in NOISES[noise](rng, (1500, count))]
    held = np.mean([low <= truth <= high for low, high in intervals])
    assert held >= confidence - 3 * math.sqrt(confidence * (1 - confidence) / 1500)


def test_an_interval_that_always_held_would_say_nothing():
    rng = np.random.default_rng(7)
    for statistic, truth in (("median", math.log(2)), ("mean", 1.0), ("min", 0.0)):
        repeats = Repeats(count=11, statistic=statistic, confidence=0.75)
        intervals = [estimate(draw, repeats).interval for draw in rng.exponential(size=(1500, 11))]
        assert 0.7 < np.mean([low <= truth <= high for low, high in intervals]) < 0.85


@given(st.lists(finite, min_size=1, max_size=12), st.sampled_from(STATISTICS), st.floats(0.5, 0.99))
def test_any_repeats_have_a_finite_statistic_within_their_interval(samples, statistic, confidence):
    found = estimate(samples, Repeats(count=len(samples), statistic=statistic, confidence=confidence))
    assert min(samples) <= found.value <= max(samples)
    gaps = [abs(sample / 2 - found.value / 2) for sample in samples]
    assert gaps[found.closest] == min(gaps)
    if len(samples) == 1:
        assert found.interval is None
    else:
        low, high = found.interval
        assert low <= found.value <= high
        assert math.isfinite(low)
        assert math.isfinite(high)


@pytest.mark.parametrize(
    ("statistic", "value", "closest"),
    [("median", 3.0, 2), ("mean", 4.0, 2), ("min", 1.0, 0), ("max", 9.0, 1)],
)
def test_the_statistic_is_the_declared_one(statistic, value, closest):
    found = estimate([1.0, 9.0, 3.0, 5.0, 2.0], Repeats(count=5, statistic=statistic))
    assert (found.value, found.closest) == (value, closest)


def test_turns_alternate_so_that_a_steady_drift_cancels():
    clock = itertools.count()
    differences = []
    for turn in range(10):
        times = {is_baseline: next(clock) for is_baseline in order(turn)}
        differences.append(times[False] - times[True])
    assert sum(differences) == 0


def test_comparisons():
    assert compared(3.0, 2.0, "ratio") == 1.5
    assert compared(0.0, 2.0, "ratio") == 0.0
    assert compared(-3.0, 2.0, "difference") == -5.0
    for value, baseline in ((1.0, 0.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)):
        with pytest.raises(ValueError, match=r"baseline above 0.*difference"):
            compared(value, baseline, "ratio")
    with pytest.raises(ValueError, match="inf"):
        compared(1e308, 1e-308, "ratio")


def test_intervals_overlap_at_their_ends_too():
    assert overlap((0.0, 1.0), (1.0, 2.0))
    assert overlap((0.0, 3.0), (1.0, 2.0))
    assert not overlap((0.0, 1.0), (1.1, 2.0))


@given(st.integers(1, 5), st.sets(st.integers(0, 63), min_size=1, max_size=20))
def test_no_core_is_ever_shared(each, allowed):
    kept = min(1, len(allowed) - 1)
    if len(allowed) - kept < each:
        with pytest.raises(ConfigError, match=rf"{each + 1} in all, and this process may use {len(allowed)}"):
            Cores(each, allowed)
        return
    cores = Cores(each, allowed)
    taken = [cores.take() for _ in range(cores.evaluations)]
    every = [cpu for part in taken for cpu in part]
    assert all(len(part) == each for part in taken)
    assert len(set(every)) == len(every)
    assert set(every) <= allowed
    assert len(allowed) == 1 or len(every) < len(allowed)
    with pytest.raises(RuntimeError):
        cores.take()
    cores.give(taken[0])
    assert cores.take() == taken[0]


def test_without_pinning_nothing_is_set_apart():
    cores = Cores(0)
    assert cores.evaluations is None
    assert cores.take() == ()
    cores.give(())
    before = os.sched_getaffinity(0)
    cores.keep_off()
    assert os.sched_getaffinity(0) == before


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")
def test_everything_else_keeps_off_the_cores_until_the_end():
    before = os.sched_getaffinity(0)
    seen = []
    go = threading.Event()

    def other():
        go.wait(10)
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=other)
    thread.start()
    cores = Cores(1)
    cores.keep_off()
    try:
        own = cores.take()
        assert not set(own) & os.sched_getaffinity(0)
        go.set()
        thread.join()
        assert not set(own) & seen[0]
    finally:
        cores.restore()
    assert os.sched_getaffinity(0) == before
    cores.restore()
