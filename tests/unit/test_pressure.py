import heapq
import itertools
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.config import GeneratorConfig, RunConfig, SearchConfig, SlotsConfig
from discovery.generation.base import ServerLoad
from discovery.pressure import Pressure


def load(running=16.0, waiting=0.0, *, server="a", **more):
    return ServerLoad(server=server, running=running, waiting=waiting, **more)


def pressed(limit=64, *, floor=4, ceiling=1000, **more):
    return Pressure(floor=floor, ceiling=ceiling, limit=limit, **more)


def limits(pressure, *readings):
    """Limits after readings of (loads, in flight); None for in flight means as many as the limit lets."""
    found = []
    for loads, in_flight in readings:
        pressure = pressure.after(loads, pressure.limit if in_flight is None else in_flight)
        found.append(pressure.limit)
    return found


def config(overlap=None, slots=None, **search):
    return RunConfig(
        problem="toy",
        search=SearchConfig(**{"chains": 8, "candidates": 4, "overlap": overlap, **search}),
        generator=GeneratorConfig(),
        slots=SlotsConfig(generation=slots),
    )


def test_bounds_come_from_the_shape_of_the_search():
    pressure = Pressure.of(config(overlap=1, chains=100, candidates=8))
    assert (pressure.floor, pressure.ceiling) == (8, 1600)
    assert pressure.floor <= pressure.limit < pressure.ceiling
    small = Pressure.of(config(chains=1, candidates=4))
    assert (small.floor, small.limit, small.ceiling) == (4, 4, 4)


def test_without_metrics_the_run_gets_all_it_has():
    assert limits(pressed(32, ceiling=640), ((), None)) == [640]


def test_growth_is_doubling_at_first():
    assert limits(pressed(32), *[([load()], None)] * 4) == [64, 128, 256, 512]


def test_growth_is_additive_once_something_waited_and_speeds_up_while_nothing_does():
    pressure = pressed(100, is_seeking=False)
    grown = limits(pressure, *[([load()], None)] * 12)
    steps = [after - before for before, after in itertools.pairwise([100, *grown])]
    assert steps == [1] * 4 + [2] * 4 + [4] * 4


def test_what_the_run_does_not_use_teaches_nothing():
    assert limits(pressed(64), ([load()], 63), ([load()], 10)) == [64, 64]


@pytest.mark.parametrize("waiting", [1, 3, 6.4])
def test_a_few_that_wait_hold_it(waiting):
    assert limits(pressed(70), *[([load(64, waiting)], None)] * 5) == [70] * 5


def test_a_queue_lets_it_fall_to_what_runs_and_a_few():
    assert limits(pressed(200), ([load(64, 136)], 200)) == [67]


def test_readings_while_the_surplus_drains_do_not_let_it_fall_further():
    draining = [([load(64, waiting)], 64 + waiting) for waiting in (136, 100, 50, 20, 7)]
    assert limits(pressed(200), *draining) == [67] * 5


def test_a_queue_of_one_moment_is_none():
    assert limits(pressed(70), ([load(64, 2)], 70), ([load(64, 40)], 70), ([load(64, 2)], 70)) == [70] * 3


def test_only_our_share_of_a_queue_is_taken_off():
    (limit,) = limits(pressed(50), ([load(100, 100)], 50))
    assert limit == pytest.approx(50 - (100 - 5) * 50 / 200, abs=1)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (load(), load(kv_usage=0.95)),
        (load(preemptions=7.0), load(preemptions=8.0)),
        (load(overloads=1), load(overloads=2)),
        (load(), load(overloads=1)),
    ],
    ids=["full cache", "preemptions", "503", "first 503"],
)
def test_strain_lets_it_fall(before, now):
    pressure = pressed(64, is_seeking=False, last={"a": before})
    assert pressure.after([now], 64).limit == round(0.85 * 64)


def test_what_happened_before_the_run_is_no_strain():
    assert limits(pressed(64), ([load(preemptions=500.0)], 64)) == [128]


def test_a_503_without_metrics_lets_it_fall_and_it_recovers_by_small_steps():
    quiet = ServerLoad(server="a", overloads=3)
    pressure = pressed(32, ceiling=100).after((), 32)
    assert pressure.limit == 100
    found = limits(pressure, ([quiet], 100), ([quiet], 90), ([quiet], 86))
    assert found == [85, 86, 87]


def test_room_at_one_server_is_room():
    assert limits(pressed(64), ([load(64, 30), load(10, 0, server="b")], 64)) == [128]
    full = [load(64, 30), load(64, 30, server="b")]
    assert limits(pressed(188), (full, 188)) == [round(188 - 60 + 6.4)]


def test_servers_that_are_away_leave_it_as_it_was():
    assert limits(pressed(64), ([load()], None), ((), None), ((), None)) == [128, 128, 128]


loads = st.builds(
    ServerLoad,
    server=st.sampled_from("abc"),
    running=st.none() | st.floats(0, 1e4),
    waiting=st.none() | st.floats(0, 1e4),
    kv_usage=st.none() | st.floats(0, 1),
    preemptions=st.none() | st.floats(0, 1e6),
    overloads=st.none() | st.integers(0, 100),
)
readings = st.lists(st.tuples(st.lists(loads, max_size=3), st.integers(0, 3000)), max_size=30)


@given(readings, st.integers(1, 64), st.integers(1, 50))
def test_always_between_one_request_and_all_of_them(given_readings, floor, factor):
    pressure = pressed(floor, floor=floor, ceiling=floor * factor)
    for limit in limits(pressure, *given_readings):
        assert floor <= limit <= floor * factor


@given(readings, st.floats(0, 500), st.floats(0, 500), st.integers(0, 1000))
def test_more_that_wait_never_raise_it(given_readings, waiting, more, in_flight):
    pressure = pressed(64)
    for loads_now, flying in given_readings:
        pressure = pressure.after(loads_now, flying)
    less_waits = pressure.after([load(64, waiting)], in_flight)
    more_waits = pressure.after([load(64, waiting + more)], in_flight)
    assert more_waits.limit <= less_waits.limit


@given(readings, st.sampled_from(["kv_usage", "preemptions", "overloads"]), st.integers(0, 1000))
def test_strain_never_raises_it(given_readings, sign, in_flight):
    pressure = pressed(64)
    for loads_now, flying in given_readings:
        pressure = pressure.after(loads_now, flying)
    strained = replace(load(64, 0), **{sign: {"kv_usage": 0.99}.get(sign, 10_000_000)})
    pressure = replace(pressure, last={**pressure.last, "a": load(64, 0)})
    assert pressure.after([strained], in_flight).limit <= pressure.limit


@given(readings)
def test_it_recovers_from_whatever_was(given_readings):
    pressure = pressed(64, ceiling=500)
    for loads_now, flying in given_readings:
        pressure = pressure.after(loads_now, flying)
    assert limits(pressure, *[([load(64, 0)], None)] * 60)[-1] == 500


class Simulation:
    """A server of so many slots that nobody knows, and a run that always has more to send, event by event.

    Requests of K enter like at the gate: whole, while fewer than the limit are in flight. The way from the end of a
    choice to its successor's begin takes ``transit_s`` of the run's time; the server gives a free slot away at once.
    """

    def __init__(self, slots, *, pressure, latency_s=5.0, sigma=0.5, transit_s=0.05, seed=0):
        self.slots = slots
        self.pressure = pressure
        self.waiting = self.running = self.in_flight = 0
        self.busy_s = self.in_flight_s = self.waiting_s = 0.0
        self.now = 0.0
        self._latency, self._transit_s = (math.log(latency_s), sigma), transit_s
        self._rng = random.Random(seed)
        self._events, self._order = [(0.0, 0, "read")], itertools.count(1)

    def run(self, seconds):
        """Run on; returns busy share, mean in flight and mean waiting of that time."""
        end, before = self.now + seconds, (self.busy_s, self.in_flight_s, self.waiting_s)
        while self._events[0][0] <= end:
            at, _, what = heapq.heappop(self._events)
            self._pass(at)
            getattr(self, f"_{what}")()
        self._pass(end)
        after = (self.busy_s / self.slots, self.in_flight_s, self.waiting_s)
        before = (before[0] / self.slots, *before[1:])
        return [(b - a) / seconds for a, b in zip(before, after, strict=True)]

    def _pass(self, at):
        span, self.now = at - self.now, at
        self.busy_s += min(self.running, self.slots) * span
        self.in_flight_s += self.in_flight * span
        self.waiting_s += self.waiting * span

    def _later(self, after_s, what):
        heapq.heappush(self._events, (self.now + after_s, next(self._order), what))

    def _read(self):
        self.pressure = self.pressure.after([load(self.running, self.waiting)], self.in_flight)
        self._send()
        self._later(1.0, "read")

    def _send(self):
        room = self.pressure.ceiling - self.pressure.floor
        while self.in_flight < self.pressure.limit and self.in_flight <= room:
            self.in_flight += self.pressure.floor
            for _ in range(self.pressure.floor):
                self._later(self._transit_s, "arrive")

    def _arrive(self):
        self.waiting += 1
        self._start()

    def _start(self):
        while self.waiting and self.running < self.slots:
            self.waiting -= 1
            self.running += 1
            self._later(self._rng.lognormvariate(*self._latency), "end")

    def _end(self):
        self.running -= 1
        self.in_flight -= 1
        self._start()
        self._send()


@pytest.mark.parametrize("slots", [16, 64, 256])
@pytest.mark.parametrize("latency_s", [2.0, 20.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_finds_what_a_server_can_do(slots, latency_s, seed):
    pressure = Pressure.of(config(chains=256, candidates=4))
    simulation = Simulation(slots, pressure=pressure, latency_s=latency_s, seed=seed)
    simulation.run(20 * latency_s)
    busy, in_flight, waiting = simulation.run(300)
    assert busy >= 0.98
    assert slots <= in_flight <= 1.25 * slots
    assert waiting <= 0.2 * slots


def test_it_follows_a_server_that_loses_slots_and_gets_them_back():
    simulation = Simulation(256, pressure=Pressure.of(config(chains=256, candidates=4)))
    simulation.run(60)
    simulation.slots = 64
    simulation.run(60)
    _, in_flight, _ = simulation.run(60)
    assert 64 <= in_flight <= 1.25 * 64
    simulation.slots = 256
    simulation.run(60)
    busy, in_flight, _ = simulation.run(60)
    assert busy >= 0.98
    assert in_flight <= 1.25 * 256


def test_a_run_that_has_less_than_the_server_can_do_sends_all_of_it():
    simulation = Simulation(256, pressure=Pressure.of(config(chains=16, candidates=8)))
    simulation.run(20)
    assert 120 <= simulation.run(60)[1] <= 128
