"""The simulated loop beside what can be reckoned by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.config import RunConfig, SearchConfig, SlotsConfig
from discovery.forecast.draws import Draws
from discovery.forecast.pilot import Judged, Overheads, Pilot, ServersSeen, Spoken
from discovery.forecast.shape import Machine, Shape
from discovery.forecast.simulation import simulate
from discovery.forecast.station import Job, Station

MODEL_S, EVALUATION_S = 4.0, 1.0


def pilot(model_s=MODEL_S, evaluation_s=EVALUATION_S, **more):
    times = (model_s,) if isinstance(model_s, float) else model_s
    judged = Judged(slot_s=evaluation_s) if not isinstance(evaluation_s, Judged) else evaluation_s
    return Pilot(spoken=tuple(Spoken(work_s=each, tokens=100) for each in times), judged=(judged,), **more)


def shape(chains, steps, candidates, *, places=None, evaluators=64, overlap=0, cpus=64, server_slots=None):
    config = RunConfig(
        problem="none",
        search=SearchConfig(chains=chains, steps=steps, candidates=candidates, overlap=overlap),
        slots=SlotsConfig(generation=places, evaluation=evaluators),
    )
    return Shape.of(config, Machine(cpus=cpus, evaluation_slots=1, server_slots=server_slots))


def run(drawn, of, seed=0, **more):
    return simulate(drawn, of, Draws(drawn, of.evaluations, np.random.default_rng(seed)), **more)


def test_one_chain_and_one_slot_take_turns():
    trace = run(pilot(), shape(1, 5, 1, places=1, evaluators=1))
    assert trace.wall_s == pytest.approx(5 * (MODEL_S + EVALUATION_S))
    assert trace.values["generator_busy"] == pytest.approx(MODEL_S / (MODEL_S + EVALUATION_S))
    assert trace.values["evaluator_busy"] == pytest.approx(EVALUATION_S / (MODEL_S + EVALUATION_S))
    assert trace.values["evaluations_per_s"] == pytest.approx(1 / 5)
    assert trace.tokens == 100


def test_what_the_run_itself_takes_is_added_where_it_is_waited_for():
    took = Overheads(plan_s=0.1, send_s=0.2, record_s=0.3, submit_s=0.4, commit_s=0.5)
    trace = run(pilot(overheads=took), shape(1, 5, 2, places=2, evaluators=2))
    # The second of two completions that come at once is stored after the first.
    assert trace.wall_s == pytest.approx(5 * (MODEL_S + EVALUATION_S + 0.1 + 0.2 + 2 * 0.3 + 0.4 + 0.5))


def test_chains_that_fill_all_places_keep_step():
    trace = run(pilot(), shape(4, 6, 4, places=16))
    assert trace.wall_s == pytest.approx(6 * (MODEL_S + EVALUATION_S))
    assert trace.values["generator_busy"] == pytest.approx(MODEL_S / (MODEL_S + EVALUATION_S))


def test_many_chains_keep_the_places_busy():
    trace = run(pilot(), shape(16, 6, 4, places=16))
    assert trace.wall_s == pytest.approx(16 * 6 * 4 * MODEL_S / 16 + EVALUATION_S)
    assert trace.values["generator_busy"] == pytest.approx(1.0, abs=0.02)
    assert trace.values["requests_waiting"] > 5


def test_evaluations_are_what_is_waited_for_where_they_have_few_slots():
    trace = run(pilot(), shape(8, 6, 4, places=64, evaluators=2))
    assert trace.wall_s == pytest.approx(MODEL_S + 8 * 6 * 4 * EVALUATION_S / 2, rel=0.05)
    assert trace.values["evaluator_busy"] > 0.94
    assert trace.values["completions_waiting"] > 10


def test_overlap_fills_what_a_step_leaves_idle():
    # Two steps are open, so in each 5 s two steps of 2 are made where there was one.
    alone, both = (run(pilot(), shape(1, 20, 2, places=4, overlap=d)) for d in (0, 1))
    assert alone.wall_s == pytest.approx(20 * 5.0)
    assert both.wall_s == pytest.approx(10 * 5.0)


def test_a_request_goes_whole_through_the_gate_as_soon_as_one_place_is_free():
    # 3 requests of 4 through 5 places: two at once, and the third when the first completions have come.
    trace = run(pilot(), shape(3, 1, 4, places=5))
    assert trace.wall_s == pytest.approx(2 * MODEL_S + EVALUATION_S)
    assert trace.values["in_flight"] > 5 * trace.values["generator_busy"]


def test_what_the_servers_cannot_run_waits_there():
    free = run(pilot(), shape(4, 3, 4, places=16))
    queued = run(pilot(), shape(4, 3, 4, places=16, server_slots=8))
    assert free.values["server_waiting"] == 0
    assert queued.values["server_waiting"] > 1
    assert queued.wall_s == pytest.approx(3 * 2 * MODEL_S + EVALUATION_S, rel=0.1)


def test_a_gate_that_follows_the_servers_stops_where_they_are_full():
    trace = run(pilot(model_s=0.5), shape(32, 10, 4, server_slots=12))
    assert 10 < trace.values["generation_slots"] < 24
    assert trace.wall_s == pytest.approx(32 * 10 * 4 * 0.5 / 12, rel=0.1)


def test_choices_that_slow_each_other_down_are_slow_together():
    slow = pilot(servers=ServersSeen(slowdown=0.1))
    assert run(slow, shape(1, 3, 1, places=8)).wall_s == pytest.approx(3 * (MODEL_S + 1.0))
    assert run(slow, shape(1, 3, 6, places=8)).wall_s == pytest.approx(3 * (1.5 * MODEL_S + 1.0))


def test_evaluations_share_the_cpus():
    busy = pilot(evaluation_s=Judged(slot_s=1.0, cpu_share=1.0))
    idle = pilot(evaluation_s=Judged(slot_s=1.0, cpu_share=0.0))
    crowded = shape(1, 3, 8, places=8, evaluators=8, cpus=2)
    assert run(busy, crowded).wall_s == pytest.approx(3 * (MODEL_S + 4.0))
    assert run(idle, crowded).wall_s == pytest.approx(3 * (MODEL_S + 1.0))


def test_second_scorings_have_slots_too_and_become_rare():
    often = pilot(verified_s=(2.0,), record_rate=3.0)
    one = run(often, shape(1, 100, 1, places=1, evaluators=1))
    more = one.wall_s - 100 * (MODEL_S + EVALUATION_S)
    # The first three for sure, then 3/n.
    assert 2.0 * 4 < more < 2.0 * 24


def test_duplicates_need_no_slot():
    trace = run(pilot(evaluation_s=Judged(slot_s=None)), shape(1, 4, 2, places=2))
    assert trace.wall_s == pytest.approx(4 * MODEL_S)
    assert trace.values["evaluator_busy"] == 0


def test_first_uses_of_slots_take_longer():
    took = Overheads(pair_s=10.0)
    trace = run(pilot(overheads=took), shape(1, 3, 4, places=4))
    assert trace.wall_s == pytest.approx(10.0 + 3 * (MODEL_S + EVALUATION_S))


def test_a_long_run_is_simulated_in_part():
    drawn, of = pilot(model_s=(1.0, 2.0, 4.0)), shape(4, 500, 4, places=8)
    whole, part = run(drawn, of), run(drawn, of, most=800)
    assert part.wall_s == pytest.approx(whole.wall_s, rel=0.03)
    assert part.values["generator_busy"] == pytest.approx(whole.values["generator_busy"], abs=0.02)
    assert part.evaluations == whole.evaluations == 8000


@pytest.mark.parametrize(("chains", "steps", "candidates"), [(1, 7, 1), (3, 5, 4), (7, 2, 3)])
def test_a_budget_that_is_no_multiple_of_a_step_is_spent_to_the_last(chains, steps, candidates):
    config = RunConfig(
        problem="none", search=SearchConfig(chains=chains, steps=steps, candidates=candidates), seed=1
    )
    n = config.planned_evaluations - 2
    cut = replace(config, budget=replace(config.budget, max_evaluations=n))
    of = Shape.of(cut, Machine(cpus=2, evaluation_slots=2))
    counted = Counted(pilot(), n)
    simulate(pilot(), of, counted)
    assert counted.evaluated == n


class Counted(Draws):
    """Counts what is asked for."""

    def __init__(self, drawn, count, seed=0):
        super().__init__(drawn, count, np.random.default_rng(seed))
        self.evaluated = self.made = 0

    def work_s(self, maker=None):
        self.made += 1
        return super().work_s(maker)

    def judged(self):
        self.evaluated += 1
        return super().judged()


SHAPES = st.builds(
    shape,
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 5),
    places=st.one_of(st.none(), st.integers(1, 12)),
    evaluators=st.integers(1, 6),
    overlap=st.integers(0, 3),
    cpus=st.integers(1, 4),
    server_slots=st.one_of(st.none(), st.integers(1, 12)),
)
TIMES = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=8).map(tuple)


@given(
    of=SHAPES, times=TIMES, evaluation_s=st.floats(0.0, 5.0), share=st.floats(0, 1), slower=st.floats(0, 1)
)
def test_all_completions_are_made_and_evaluated_and_nothing_is_more_than_busy(
    of, times, evaluation_s, share, slower
):
    drawn = pilot(times, Judged(slot_s=evaluation_s, cpu_share=share), servers=ServersSeen(slowdown=slower))
    counted = Counted(drawn, of.evaluations)
    trace = simulate(drawn, of, counted)
    assert counted.made == counted.evaluated == of.evaluations
    assert 0.0 < trace.values["generator_busy"] <= 1.0
    assert 0.0 <= trace.values["evaluator_busy"] <= 1.0
    assert trace.values["in_flight"] <= of.candidates * of.chains * (1 + of.overlap) + 1e-9
    if of.generation_slots is not None:
        assert trace.values["in_flight"] <= of.generation_slots + of.candidates - 1 + 1e-9
    assert trace.wall_s >= sum(sorted(times)[:1]) * (1 - 1e-9)
    again = simulate(drawn, of, Draws(drawn, of.evaluations, np.random.default_rng(0)))
    assert again == trace


@given(
    chains=st.integers(1, 6),
    candidates=st.integers(1, 5),
    places=st.integers(1, 16),
    evaluators=st.integers(1, 6),
    overlap=st.integers(0, 2),
)
def test_more_slots_are_not_slower_where_all_takes_equally_long(
    chains, candidates, places, evaluators, overlap
):
    less = run(pilot(), shape(chains, 6, candidates, places=places, evaluators=evaluators, overlap=overlap))
    for twice in ({"places": 2 * places}, {"evaluators": 2 * evaluators}):
        given_slots = {"places": places, "evaluators": evaluators} | twice
        more = run(pilot(), shape(chains, 6, candidates, overlap=overlap, **given_slots))
        # Whose turn it is may come out a step worse, never more.
        assert more.wall_s <= less.wall_s + MODEL_S + EVALUATION_S


def test_a_station_goes_on_where_it_was_when_its_pace_changes():
    station = Station(None, lambda busy, _: 1.0 / max(1, busy))
    station.arrive(0.0, Job(2.0, 1.0, "first"))
    assert station.next_s == 2.0
    station.arrive(1.0, Job(2.0, 1.0, "second"))
    assert station.next_s == pytest.approx(3.0)
    assert station.finish(3.0) == "first"
    assert station.next_s == pytest.approx(4.0)
    assert station.finish(4.0) == "second"
    assert station.busy == 0
