"""A pilot from records whose instants are known."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.config import GeneratorConfig, MemberConfig, RunConfig, SearchConfig, SlotsConfig, to_dict
from discovery.errors import UsageError
from discovery.forecast.load import in_flight, served, slots_seen, slowdown
from discovery.forecast.reading import read_pilot
from discovery.records import (
    INITIAL,
    SHARED_CHAIN,
    AdvicePurpose,
    CandidateKey,
    Consultation,
    Durations,
    FailureKind,
    Prompt,
    Purpose,
    TokenUsage,
)
from discovery.storage import open_storage
from discovery.testing.storage import (
    START,
    append,
    make_candidate,
    make_committed,
    make_completion,
    make_failed,
    make_measurement,
    make_run,
    make_scored,
    make_step,
)

PLAN, SEND, RECORD, SUBMIT, COMMIT = 0.01, 0.02, 0.03, 0.04, 0.05
LATENCY, EVALUATION = 2.0, 0.5


def at(seconds):
    return START + timedelta(seconds=seconds)


class Writer:
    """Writes a run of chains whose steps take what is known."""

    def __init__(
        self, storage, *, chains=2, steps=4, candidates=2, run="run-1", latency=lambda n: LATENCY, **more
    ):
        self.storage, self.run = storage, run
        plain = RunConfig(
            problem="packing",
            search=SearchConfig(chains=chains, steps=steps, candidates=candidates, overlap=0),
            slots=SlotsConfig(generation=64, evaluation=8),
        )
        config = more.get("config", plain)
        self.selection = more.get("selection", {})
        storage.create_run(replace(make_run(run), config=to_dict(config), facts={"evaluation_slots": 8}))
        held = storage.acquire(run, range(SHARED_CHAIN, chains), "owner", 60.0)
        self.leases = {lease.chain: lease for lease in held}
        initial = replace(make_scored(INITIAL, 0.0, 0.5), durations=Durations(wall_s=0.5))
        append(storage, self.leases[SHARED_CHAIN], make_candidate(INITIAL, "x"), initial)
        self.count = 0
        for chain in range(chains):
            now = 1.0
            for step in range(1, steps + 1):
                now = self._step(chain, step, now, candidates, latency) + PLAN

    def _step(self, chain, number, now, candidates, latency):
        parents = (INITIAL,) * min(number, 3)
        step = replace(
            make_step(chain, number), planned_at=at(now), parents=parents, selection=self.selection
        )
        prompt = Prompt(chain=chain, step=number, messages=(), parents=step.parents)
        append(self.storage, self.leases[chain], step, prompt)
        sent = written = now + SEND
        ends = []
        for index in range(candidates):
            key = CandidateKey(chain, number, index)
            took = latency(self.count)
            came = sent + took
            written = max(came, written) + RECORD
            tokens = TokenUsage(
                prompt=100 + 50 * len(step.parents) if index == 0 else None,
                completion=10 * (1 + self.count % 3),
                cached=25 if index == 0 else None,
            )
            begun = written + SUBMIT
            completion = replace(make_completion(key), latency_s=took, created_at=at(came), tokens=tokens)
            candidate = replace(make_candidate(key, f"v{key}"), created_at=at(written))
            evaluation = replace(
                make_scored(key, 0.1),
                durations=Durations(wall_s=EVALUATION, sandbox_s=EVALUATION, sandbox_cpu_s=0.1),
                started_at=at(begun),
                finished_at=at(begun + EVALUATION),
            )
            append(self.storage, self.leases[chain], completion, candidate, evaluation)
            ends.append(begun + EVALUATION)
            self.count += 1
        committed = max(ends) + COMMIT
        append(
            self.storage, self.leases[chain], replace(make_committed(step, None), committed_at=at(committed))
        )
        return committed


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


def consultation(chain, step, purpose, sent, took):
    return Consultation(
        chain=chain,
        step=step,
        purpose=purpose,
        messages=(),
        text="so",
        tokens=TokenUsage(prompt=300, completion=20, cached=150),
        latency_s=took,
        created_at=at(sent + took),
    )


def test_what_was_asked_of_an_adviser_is_found_again(storage):
    writer = Writer(storage, chains=1, steps=4)
    ends = {
        step.step: storage.step("run-1", 0, step.step).step for step in storage.committed_steps("run-1", 0)
    }
    for number in (1, 2):
        committed = (ends[number].committed_at - START).total_seconds()
        answer = consultation(0, number, AdvicePurpose.REFLECT, committed, 0.5)
        append(storage, writer.leases[0], answer)
    seen = read_pilot(storage, ["run-1"]).advice
    assert list(seen) == [AdvicePurpose.REFLECT]
    found = seen[AdvicePurpose.REFLECT]
    assert found.per_step == pytest.approx(2 / 4)
    assert [(each.work_s, each.tokens) for each in found.spoken] == [(pytest.approx(0.5), 20)] * 2
    assert (found.prompt, found.cached_share) == (300.0, 0.5)


def test_what_is_waited_for_of_an_adviser_is_none_of_the_runs_own_time(storage):
    writer = Writer(storage, chains=1, steps=6)
    plan_s = read_pilot(storage, ["run-1"]).overheads.plan_s
    assert plan_s == pytest.approx(PLAN)
    for number in range(2, 7):
        planned = (storage.step("run-1", 0, number).step.planned_at - START).total_seconds()
        append(
            storage, writer.leases[0], consultation(0, number, AdvicePurpose.RERANK, planned - 0.009, 0.006)
        )
    assert read_pilot(storage, ["run-1"]).overheads.plan_s == pytest.approx(0.003)


def test_members_of_a_mixture_are_told_apart(storage):
    config = RunConfig(
        problem="packing",
        search=SearchConfig(chains=1, steps=8, candidates=2, overlap=0),
        generator=GeneratorConfig(
            kind="mixture",
            members=(
                MemberConfig(name="fast", base_url=("http://a/v1",)),
                MemberConfig(name="slow", base_url=("http://b/v1",)),
            ),
        ),
    )
    Writer(
        storage,
        chains=1,
        steps=8,
        latency=lambda n: LATENCY * (1 + n % 2),
        config=config,
        selection={"generators": ["fast", "slow"]},
    )
    pilot = read_pilot(storage, ["run-1"])
    times = {(each.maker, round(each.work_s, 6)) for each in pilot.spoken}
    assert times == {("fast", LATENCY), ("slow", 2 * LATENCY)}
    assert pilot.members["fast"].prompts.by_parents == {1: 150.0, 2: 200.0, 3: 250.0}
    assert not pilot.members["slow"].prompts.by_parents  # the first of a step's completions tells


def test_what_was_measured_is_found_again(storage):
    Writer(storage)
    pilot = read_pilot(storage, ["run-1"])
    assert pilot.runs == ("run-1",)
    assert [each.work_s for each in pilot.spoken] == pytest.approx([LATENCY] * 16)
    assert {each.tokens for each in pilot.spoken} == {10, 20, 30}
    assert [each.slot_s for each in pilot.judged] == pytest.approx([EVALUATION] * 16)
    assert [each.cpu_share for each in pilot.judged] == pytest.approx([0.2] * 16)
    took = pilot.overheads
    assert took.plan_s == pytest.approx(PLAN)
    assert took.send_s == pytest.approx(SEND)
    assert took.record_s == pytest.approx(RECORD)
    assert took.submit_s == pytest.approx(SUBMIT)
    assert took.commit_s == pytest.approx(COMMIT)
    assert took.start_s == pytest.approx(1.0, abs=0.01)
    assert pilot.servers.slots is None
    assert pilot.verified_s == ()
    prompts = pilot.prompts
    assert prompts.by_parents == {1: 150.0, 2: 200.0, 3: 250.0}
    assert prompts.of(5) == pytest.approx(350.0)
    assert prompts.cached_share == pytest.approx(25 / 212.5)


def test_duplicates_and_what_is_no_program_need_no_slot(storage):
    writer = Writer(storage)
    number = 5
    step = replace(make_step(0, number), planned_at=at(100.0))
    key = CandidateKey(0, number, 0)
    completion = replace(make_completion(key), latency_s=3.0, created_at=at(103.0))
    prompt = Prompt(chain=0, step=number, messages=(), parents=())
    failed = make_failed(key, FailureKind.NO_PROGRAM)
    done = replace(make_committed(step, None), committed_at=at(104.0))
    append(storage, writer.leases[0], step, prompt, completion, failed)
    append(storage, writer.leases[0], done)
    pilot = read_pilot(storage, ["run-1"])
    assert [each.slot_s for each in pilot.judged].count(None) == 1


def test_second_scorings_are_counted_by_how_far_the_run_was(storage):
    writer = Writer(storage)
    key = CandidateKey(0, 1, 0)
    again = replace(make_scored(key, 0.1), purpose=Purpose.VERIFY, durations=Durations(wall_s=0.75))
    append(storage, writer.leases[0], again)
    pilot = read_pilot(storage, ["run-1"])
    assert pilot.verified_s == (0.75,)
    assert pilot.record_rate == pytest.approx(1 / sum(1 / n for n in range(1, 17)))


def test_servers_that_queue_are_known_by_what_ran_meanwhile(storage):
    # 8 chains of 2: 16 in flight of which the servers say that 4 ran.
    writer = Writer(storage, chains=8, steps=2)
    point = make_measurement(2.5, window_s=1.0, server_running=4.0, server_waiting=12.0)
    append(storage, writer.leases[SHARED_CHAIN], point)
    pilot = read_pilot(storage, ["run-1"])
    assert pilot.servers.slots == 4
    assert min(each.work_s for each in pilot.spoken) < LATENCY
    assert read_pilot(storage, ["run-1"], server_slots=64).servers.slots == 64


def test_several_runs_are_one_pilot(storage):
    Writer(storage)
    Writer(storage, run="run-2", latency=lambda _: 6.0)
    pilot = read_pilot(storage, ["run-1", "run-2"])
    assert pilot.runs == ("run-1", "run-2")
    assert sorted({round(each.work_s, 3) for each in pilot.spoken}) == [LATENCY, 6.0]


def test_a_run_of_too_few_completions_is_refused(storage):
    Writer(storage, steps=1)
    with pytest.raises(UsageError, match=r"has 4 finished completions .* needs 8 at least"):
        read_pilot(storage, ["run-1"])


def test_work_in_a_queue_is_no_work():
    # Two slots, four at once of 1 s each: two begin when two others end.
    sent, ended = np.zeros(4), np.array([1.0, 1.0, 2.0, 2.0])
    assert served(sent, ended, 2).tolist() == [0.0, 0.0, 1.0, 1.0]
    assert served(sent, ended, None).tolist() == [0.0] * 4


@given(
    works=st.lists(st.floats(0.1, 5.0), min_size=1, max_size=30),
    pauses=st.lists(st.floats(0.0, 2.0), min_size=30, max_size=30),
    slots=st.integers(1, 6),
)
def test_a_queue_is_undone_for_any_times(works, pauses, slots):
    sent = np.cumsum(pauses[: len(works)])
    free, begun = [0.0] * slots, []
    for arrival, work in zip(sent, works, strict=True):
        first = min(range(slots), key=free.__getitem__)
        begun.append(max(arrival, free[first]))
        free[first] = begun[-1] + work
    ended = np.array(begun) + np.array(works)
    assert served(sent, ended, slots) == pytest.approx(np.array(begun))


def test_how_many_ran_is_what_explains_the_mean():
    sent, ended = np.zeros(20), np.linspace(0.5, 10.0, 20)
    running = np.minimum(np.linspace(20, 0, 4000), 7).mean()
    assert slots_seen(sent, ended, [(0.0, 10.0, float(running))]) == 7
    assert slots_seen(sent, ended, []) is None


def test_a_slowdown_is_found_where_there_is_one_and_not_where_there_is_none():
    rng = np.random.default_rng(1)
    beside = rng.integers(0, 32, size=200).astype(float)
    noise = rng.lognormal(0.0, 0.2, size=200)
    found, most, is_level = slowdown((2.0 * (1 + 0.05 * beside) * noise).tolist(), beside.tolist())
    assert found == pytest.approx(0.05, rel=0.2)
    assert (most, is_level) == (32, False)
    assert slowdown((2.0 * noise).tolist(), beside.tolist())[0] == 0.0
    assert slowdown((2.0 * noise).tolist(), [5.0] * 200) == (0.0, 6, True)


def test_what_runs_beside_a_choice_does_not_count_itself():
    begun, ended = np.array([0.0, 0.0, 10.0]), np.array([4.0, 4.0, 14.0])
    common, own = in_flight(begun, ended)
    assert common.tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert own.tolist() == pytest.approx([1.0, 1.0, 0.0])
