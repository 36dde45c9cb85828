"""A run's time series: windows of readings, what is shown and stored, and that it never ends a run."""

import asyncio
import itertools
import math
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.budget import Budget, Ledger, Prices
from discovery.errors import GeneratorUnavailable, LeaseLost, StorageError
from discovery.generation.base import ServerLoad
from discovery.progress import BusyMeter, BusyTime, Progress
from discovery.pulse import Pulse, Quantity, Reading, overall, recent, window
from discovery.records import CandidateKey, Direction, Measurement
from discovery.storage.base import Lease

LEASE = Lease(run="run-1", chain=-1, owner="me", epoch=1)
Q = Quantity


def reading(at_s, totals=None, levels=None, sums=None, busy=None):
    return Reading(at_s=at_s, totals=totals or {}, levels=levels or {}, sums=sums or {}, busy=busy or {})


# Windows


def test_totals_become_rates_levels_means_and_slot_seconds_shares():
    values = window(
        [
            reading(
                10.0,
                {Q.EVALUATIONS_PER_S: 5},
                {Q.IN_FLIGHT: 100},
                {Q.COST: 1.0},
                {Q.GENERATOR_BUSY: BusyTime(8, 16)},
            ),
            reading(
                11.0,
                {Q.EVALUATIONS_PER_S: 6},
                {Q.IN_FLIGHT: 4},
                {Q.COST: 1.5},
                {Q.GENERATOR_BUSY: BusyTime(9, 20)},
            ),
            reading(
                14.0,
                {Q.EVALUATIONS_PER_S: 25},
                {Q.IN_FLIGHT: 2},
                {Q.COST: 2.5},
                {Q.GENERATOR_BUSY: BusyTime(20, 32)},
            ),
        ]
    )
    assert values == {
        "window_s": 4.0,
        "evaluations_per_s": 5.0,
        "in_flight": 3.0,
        "cost": 2.5,
        "generator_busy": 0.75,
    }
    assert all(type(name) is str for name in values)


def test_what_is_not_known_is_left_out():
    values = window(
        [
            reading(0.0, busy={Q.GENERATOR_BUSY: BusyTime(1, 2)}),
            reading(1.0, {Q.SERVER_PROMPT_TOKENS_PER_S: 7.0}, {Q.KV_USAGE: 0.5}),
            reading(2.0, {Q.SERVER_PROMPT_TOKENS_PER_S: 9.0}, busy={Q.GENERATOR_BUSY: BusyTime(1, 2)}),
        ]
    )
    assert values == {"window_s": 2.0, "kv_usage": 0.5}


@pytest.mark.parametrize("readings", [[], [reading(1.0)], [reading(1.0), reading(1.0)]])
def test_without_time_between_there_is_no_window(readings):
    assert window(readings) == {}


def test_a_hit_rate_is_of_what_was_looked_up_and_unknown_where_nothing_was():
    def at(at_s, hits, queries):
        return reading(at_s, {"cache hits": hits, Q.CACHE_QUERIES_PER_S: queries})

    assert window([at(0, 10, 100), at(2, 40, 140)]) == {
        "window_s": 2,
        "cache_queries_per_s": 20.0,
        "cache_hit_rate": 0.75,
    }
    assert window([at(0, 10, 100), at(2, 10, 100)]) == {"window_s": 2, "cache_queries_per_s": 0.0}


def test_only_finite_values_are_kept():
    assert window([reading(0.0), reading(1.0, levels={Q.KV_USAGE: math.nan, Q.SERVERS: math.inf})]) == {
        "window_s": 1.0
    }


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def point(second, **values):
    return Measurement(at=NOON + timedelta(seconds=second), values=values)


def test_points_are_summed_up_by_their_lengths():
    points = [
        point(
            10,
            window_s=10.0,
            evaluations=5.0,
            generator_busy=1.0,
            cache_hit_rate=0.5,
            cache_queries_per_s=1.0,
        ),
        point(20, window_s=10.0, evaluations=9.0, generator_busy=0.5, cache_queries_per_s=0.0),
        point(
            900,
            window_s=5.0,
            evaluations=11.0,
            cost=0.25,
            generator_busy=0.0,
            cache_hit_rate=1.0,
            cache_queries_per_s=6.0,
        ),
    ]
    assert overall(points) == {
        "window_s": 25.0,
        "evaluations": 11.0,
        "cost": 0.25,
        "generator_busy": pytest.approx(0.6),
        "cache_hit_rate": pytest.approx((10 * 1 * 0.5 + 5 * 6 * 1.0) / 40),
        "cache_queries_per_s": pytest.approx(40 / 25),
    }
    assert overall([]) == {}
    assert recent(points, 300) == points[2:]
    assert recent(points, 890) == points[1:]
    assert recent([]) == []


slot_times = st.floats(0, 1e6)


@given(st.lists(st.tuples(st.floats(0.1, 100), slot_times, slot_times), min_size=2, max_size=10))
def test_windows_one_after_the_other_say_what_one_over_all_says(parts):
    at, done, busy_s, slot_s, readings = 0.0, 0.0, 0.0, 0.0, []
    for span, more, busy in parts:
        at, done, busy_s, slot_s = at + span, done + more, busy_s + busy, slot_s + busy + more + 1
        readings.append(
            reading(at, {Q.EVALUATIONS_PER_S: done}, busy={Q.EVALUATOR_BUSY: BusyTime(busy_s, slot_s)})
        )
    whole = window(readings)
    points = [Measurement(at=NOON, values=window(pair)) for pair in itertools.pairwise(readings)]
    summed = overall(points)
    assert summed["window_s"] == pytest.approx(whole["window_s"])
    assert summed["evaluations_per_s"] == pytest.approx(whole["evaluations_per_s"], rel=1e-6, abs=1e-6)
    assert 0 <= whole["evaluator_busy"] <= 1


# The pulse


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Journal:
    """Keeps what is stored; refuses or stalls as told."""

    def __init__(self, error=None):
        self.waiting = 0
        self.stored = []
        self.error = error
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, lease, *records):
        assert lease is LEASE
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.stored += records


class Servers:
    """Says what it is told to, load after load; an error is raised."""

    def __init__(self, *loads):
        self.script = list(loads)

    async def loads(self):
        found = self.script.pop(0) if len(self.script) > 1 else self.script[0] if self.script else ()
        if isinstance(found, Exception):
            raise found
        return found


class Bench:
    """A pulse with a clock of the test's own: a beat each time that `beat` is called."""

    def __init__(self, *loads, error=None, prices=None):
        self.clock = Clock()
        self.progress = Progress(Direction.MAXIMIZE, 100, 2, clock=self.clock)
        self.progress.generation = BusyMeter(4, self.clock)
        self.progress.evaluation = BusyMeter(2, self.clock)
        self.ledger = Ledger(Budget(), prices=prices, clock=self.clock)
        self.journal = Journal(error)
        self.naps = []
        self.pulse = Pulse(
            self.progress,
            Servers(*loads),
            self.ledger,
            self.journal,
            LEASE,
            clock=self.clock,
            sleep=self._sleep,
        )

    async def _sleep(self, seconds):
        nap = asyncio.get_running_loop().create_future()
        self.naps.append((seconds, nap))
        await nap

    async def beat(self, times=1):
        for _ in range(times):
            await self.settle()
            seconds, nap = self.naps.pop()
            self.clock.now += seconds
            nap.set_result(None)
        await self.settle()

    async def settle(self):
        for _ in range(10):
            await asyncio.sleep(0)

    @property
    def series(self):
        return [record.values for record in self.journal.stored]

    @property
    def shown(self):
        return self.progress.window


def finish(progress, count=1):
    for _ in range(count):
        progress.evaluated(CandidateKey(0, 1, 0), 1.0, None, duplicate=False)
        progress.completed(10, 20)


async def test_it_reads_every_second_and_stores_every_ten_and_at_the_end():
    bench = Bench()
    async with bench.pulse.beating():
        await bench.settle()
        assert bench.shown == {}
        bench.progress.generation.change(3)
        finish(bench.progress, 5)
        await bench.beat(9)
        assert bench.series == []
        assert bench.shown["evaluations_per_s"] == pytest.approx(5 / 9)
        await bench.beat()
        assert len(bench.series) == 1
        bench.progress.generation.change(-3)
        finish(bench.progress, 2)
        await bench.beat(4)
        bench.clock.now += 0.5
    first, last = bench.series
    assert (first["window_s"], last["window_s"]) == (10.0, 4.5)
    assert (first["evaluations"], last["evaluations"]) == (5, 7)
    assert first["evaluations_per_s"] == first["completions_per_s"] == 0.5
    assert last["evaluations_per_s"] == pytest.approx(2 / 4.5)
    assert (first["prompt_tokens_per_s"], first["completion_tokens_per_s"]) == (5.0, 10.0)
    assert (first["generator_busy"], last["generator_busy"]) == (0.75, 0.0)
    assert (first["in_flight"], first["generation_slots"], first["evaluation_slots"]) == (3.0, 4.0, 2.0)
    assert "cost" not in first
    assert bench.journal.stored[0].at.tzinfo is not None


async def test_those_that_wait_are_told_wherever_they_wait():
    bench = Bench(prices=Prices(prompt=1e6, completion=2e6))
    gate, pool = bench.progress.generation, bench.progress.evaluation
    async with bench.pulse.beating():
        await bench.settle()
        gate.change(4)
        gate.users, gate.waiting = 2, 3
        pool.change(2)
        pool.waiting = 7
        bench.ledger.waiting = 5
        bench.ledger.add_tokens(3, 4)
        bench.journal.waiting = 11
        bench.progress.notice = "generator: gone"
        await bench.beat(2)
    (values,) = bench.series
    expected = {
        Q.IN_FLIGHT: 4,
        Q.REQUESTS_SENT: 2,
        Q.REQUESTS_WAITING: 3,
        Q.EVALUATING: 2,
        Q.COMPLETIONS_WAITING: 7,
        Q.BUDGET_WAITING: 5,
        Q.WRITES_WAITING: 11,
        Q.OUTAGE: 1.0,
        Q.COST: 11.0,
    }
    assert {name: values[name] for name in expected} == expected


def load(server="http://a", **values):
    return ServerLoad(server=server, **values)


async def test_servers_are_summed_and_a_restart_counts_from_zero():
    bench = Bench(
        (
            load(completion_tokens=1000, running=3, kv_usage=0.2),
            load("http://b", completion_tokens=50, waiting=2),
        ),
        (load(completion_tokens=1100, running=5, kv_usage=0.2), load("http://b", running=4, kv_usage=0.9)),
        (
            load(completion_tokens=30, running=5, kv_usage=0.2),
            load("http://b", completion_tokens=70, running=4),
        ),
    )
    async with bench.pulse.beating():
        await bench.beat(2)
    (values,) = bench.series
    assert values["server_completion_tokens_per_s"] == pytest.approx((100 + 30 + 20) / 2)
    assert values["server_running"] == 9.0
    assert values["servers"] == 2.0
    assert values["kv_usage"] == pytest.approx((0.9 + 0.2) / 2)
    assert "server_waiting" not in values, "it was told before the window began only"
    assert "cache_hit_rate" not in values


async def test_what_is_shown_is_of_the_last_while_and_keeps_the_last_hit_rate():
    bench = Bench(
        (load(cache_hits=0, cache_queries=0),),
        (load(cache_hits=80, cache_queries=100),),
    )
    async with bench.pulse.beating():
        finish(bench.progress, 30)
        await bench.beat(30)
        assert bench.shown["cache_hit_rate"] == pytest.approx(0.8)
        assert bench.shown["window_s"] == 30.0
        await bench.beat(40)
        assert bench.shown["window_s"] == 30.0
        assert bench.shown["evaluations_per_s"] == 0.0
        assert bench.shown["cache_hit_rate"] == pytest.approx(0.8), (
            "nothing was looked up since; it does not flicker"
        )
    assert "cache_hit_rate" not in bench.series[-1], "but it is not stored as if it had been measured"


@pytest.mark.parametrize("error", [GeneratorUnavailable("gone"), ValueError("a fault of a generator")])
async def test_servers_that_cannot_be_read_leave_the_rest(error):
    bench = Bench(error)
    async with bench.pulse.beating():
        finish(bench.progress, 4)
        await bench.beat(4)
    assert bench.series[0]["window_s"] == 4.0
    assert "servers" not in bench.series[0]


@pytest.mark.parametrize("error", [StorageError("disk full"), LeaseLost("taken over")])
async def test_what_cannot_be_stored_is_left_out(error):
    bench = Bench(error=error)
    async with bench.pulse.beating():
        await bench.beat(12)
        bench.journal.error = None
        await bench.beat(12)
    assert [values["window_s"] for values in bench.series] == [10.0, 4.0]


async def test_a_disk_that_is_slow_does_not_stop_the_readings():
    bench = Bench()
    bench.journal.gate.clear()
    async with bench.pulse.beating():
        await bench.beat(25)
        assert bench.shown["window_s"] == 25.0
        bench.journal.gate.set()
        await bench.beat(1)
    assert [values["window_s"] for values in bench.series] == [10.0, 16.0]


async def test_an_error_of_the_run_passes_and_what_was_measured_is_stored():
    bench = Bench()

    async def fail():
        async with bench.pulse.beating():
            await bench.beat(3)
            raise KeyError("stop")

    with pytest.raises(KeyError):
        await fail()
    assert [values["window_s"] for values in bench.series] == [3.0]
    assert len(asyncio.all_tasks()) == 1, "nothing goes on"


async def test_a_fault_of_its_own_does_not_end_a_run(caplog):
    bench = Bench()
    bench.progress.generation = "no meter at all"
    async with bench.pulse.beating():
        await bench.settle()
    assert "pulse of run run-1 is not whole" in caplog.text
    assert bench.series == []


async def test_a_second_of_it_costs_less_than_a_millisecond():
    servers = [
        load(f"http://{n}", running=60, waiting=5, kv_usage=0.5, preemptions=1, prompt_tokens=1e6,
             completion_tokens=1e6, cache_queries=1e6, cache_hits=9e5)
        for n in range(4)
    ]  # fmt: skip
    bench = Bench(servers)
    bench.progress.generation.change(3)
    for _ in range(31):
        bench.clock.now += 1
        bench.pulse._take(servers)
    spent = []
    for _ in range(50):
        bench.clock.now += 1
        began = time.thread_time()
        bench.pulse._take(servers)
        spent.append(time.thread_time() - began)
    assert sorted(spent)[25] < 0.001
