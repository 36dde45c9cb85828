"""The tally that is watched: busy time, rate and what remains, with a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.progress import BusyMeter, BusyTime, Progress
from discovery.records import CandidateKey, Direction, FailureKind

SLOTS = 4


class Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


# Sixteenths of seconds add up without rounding.
waits = st.integers(0, 1600).map(lambda n: n / 16)


@given(st.lists(st.tuples(st.integers(-3, 5), waits), min_size=1, max_size=30))
def test_busy_time_is_integrated_exactly(moves):
    clock = Clock()
    meter = BusyMeter(SLOTS, clock)
    clock.now += 50.0  # before the first use nothing counts
    assert meter.utilisation is None
    area = span = busy = 0
    for delta, wait in moves:
        delta = max(delta, -busy)
        meter.change(delta)
        busy += delta
        clock.now += wait
        area += min(busy, SLOTS) * wait
        span += wait
        expected = area / (SLOTS * span) if span else None
        assert meter.utilisation == expected
        assert meter.utilisation == expected, "looking changes nothing"
        assert expected is None or 0 <= expected <= 1
    assert meter.busy == busy


@given(st.lists(st.tuples(st.integers(-3, 5), st.integers(1, 9), waits), min_size=1, max_size=30))
def test_slots_that_come_and_go_count_while_they_are_there(moves):
    clock = Clock()
    meter = BusyMeter(SLOTS, clock)
    meter.slots = 7
    meter.change(0)
    area = total = 0
    for delta, slots, wait in moves:
        delta = max(delta, -meter.busy)
        meter.slots = slots
        meter.change(delta)
        clock.now += wait
        area += min(meter.busy, slots) * wait
        total += slots * wait
        assert meter.slots == slots
        assert meter.busy_time == BusyTime(area, total)
    assert meter.utilisation == (area / total if total else None)


def test_two_readings_tell_the_time_between_them():
    clock = Clock()
    meter = BusyMeter(SLOTS, clock)
    assert meter.busy_time.share_since(BusyTime()) is None
    meter.change(4)
    clock.now += 8.0
    first = meter.busy_time
    assert meter.busy_time.share_since(first) is None
    meter.change(-3)
    clock.now += 2.0
    assert meter.busy_time.share_since(first) == 0.25
    assert meter.utilisation == (4 * 8 + 1 * 2) / (4 * 10)


def progress(direction=Direction.MAXIMIZE, planned=100, chains=2):
    clock = Clock()
    return Progress(direction, planned, chains, clock=clock), clock


def finish(tally, score=1.0, failure=None, *, chain=0, duplicate=False):
    key = CandidateKey(chain, 1, tally.evaluations)
    tally.evaluated(key, score, failure, duplicate=duplicate)
    return key


def test_evaluations_failures_and_duplicates_are_counted():
    tally, _ = progress()
    finish(tally)
    finish(tally, None, FailureKind.CRASHED)
    finish(tally, None, FailureKind.CRASHED, duplicate=True)
    finish(tally, None, FailureKind.TIMEOUT)
    assert (tally.evaluations, tally.duplicates) == (4, 1)
    assert tally.failures == {FailureKind.CRASHED: 2, FailureKind.TIMEOUT: 1}


@given(st.sampled_from(Direction), st.lists(st.none() | st.integers(-5, 5), max_size=30))
def test_a_chain_keeps_the_first_of_its_best(direction, scores):
    tally, _ = progress(direction)
    keys = [finish(tally, score, None if score is not None else FailureKind.INVALID) for score in scores]
    found = [score for score in scores if score is not None]
    best = (max if direction is Direction.MAXIMIZE else min)(found, default=None)
    chain, other = tally.chains
    assert chain.best == best
    assert chain.best_key == (keys[scores.index(best)] if found else None)
    assert (other.best, other.best_key) == (None, None)
    assert tally.best is None, "only what was verified is announced"


def test_a_verified_best_is_announced():
    tally, _ = progress()
    tally.announce(CandidateKey(1, 2, 3), 4.5)
    assert (tally.best, tally.best_key) == (4.5, CandidateKey(1, 2, 3))


@given(st.integers(0, 1000))
def test_a_history_is_short_and_in_order(steps):
    tally, _ = progress()
    chain = tally.chains[0]
    chain.committed(1)
    assert chain.history == [], "nothing was scored yet"
    for step in range(1, steps + 1):
        finish(tally, float(step))
        chain.committed(step)
    assert chain.steps == (steps or 1)
    assert len(chain.history) <= 64
    assert chain.history == sorted(set(chain.history))
    assert len(chain.history) >= min(steps, 32)
    assert not chain.history or chain.history[-1] > steps - max(2, steps / 16)


def test_the_rate_is_that_of_the_last_twenty_seconds():
    tally, clock = progress()
    assert (tally.rate, tally.remaining_s) == (0.0, None)
    for _ in range(10):
        clock.now += 0.5
        finish(tally)
    assert tally.elapsed_s == 5.0
    assert tally.rate == pytest.approx(2.0)
    assert tally.remaining_s == pytest.approx(45.0)
    clock.now += 15.0
    assert tally.rate == pytest.approx(0.5)
    clock.now += 2.75
    assert tally.rate == pytest.approx(5 / 20)
    clock.now += 100.0
    assert (tally.rate, tally.remaining_s) == (0.0, None)


def test_a_rate_too_fast_for_its_window_is_right_all_the_same():
    tally, clock = progress(planned=10**6)
    for _ in range(10_000):
        clock.now += 1 / 1024
        finish(tally)
    assert tally.rate == pytest.approx(1024, rel=0.001)


@pytest.mark.parametrize("done", [100, 130])
def test_nothing_remains_when_all_or_more_is_done(done):
    tally, clock = progress()
    clock.now += 1.0
    for _ in range(done):
        finish(tally)
    assert tally.remaining_s == 0


def test_what_earlier_processes_did_is_no_rate():
    now = [0.0]
    progress = Progress(Direction.MAXIMIZE, 100, 1, clock=lambda: now[0])
    for n in range(50):
        progress.evaluated(CandidateKey(chain=0, step=n, index=0), 1.0, None, duplicate=False)
    progress.replayed()
    now[0] = 1.0
    assert (progress.evaluations, progress.earlier, progress.rate) == (50, 50, 0.0)
    assert progress.remaining_s is None
