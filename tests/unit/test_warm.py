"""Warm starts: whose artifact a program is given, and that it is the same wherever the program is scored again."""

import asyncio
import dataclasses
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery import data
from discovery.audit import audit
from discovery.config import RunConfig, SearchConfig
from discovery.direct import score_directly
from discovery.errors import DataError, StorageError, UsageError
from discovery.evaluator import Evaluator
from discovery.past import Past
from discovery.plugins import load_problem
from discovery.records import (
    INITIAL,
    SHARED_CHAIN,
    Candidate,
    CandidateKey,
    Direction,
    Outcome,
    Purpose,
    Score,
)
from discovery.run import Run, new_run
from discovery.sandbox.base import SandboxResult
from discovery.scoring.client import ScorerWorker
from discovery.selection import make_selector
from discovery.selection.restarting import Restarting
from discovery.storage import open_storage
from discovery.testing.fakes import InProcessBackend, InProcessSandbox, ScriptedGenerator
from discovery.testing.selector import committed_step
from discovery.testing.storage_records import append, make_candidate, make_scored, start
from discovery.training.reward import LiveReward
from discovery.trajectories.assemble import outlines
from discovery.trajectories.judge import judged
from discovery.trajectories.records import Filter
from discovery.warm import (
    MOST_BYTES,
    NAME,
    Handout,
    Leading,
    WarmStarts,
    encoded,
    given_to,
    stored_warm_start,
)

# A construction is a list of numbers. The scorer spoils what it was handed, and tells what that was.
PLUGIN = """
from discovery import Invalid, Repeats, Score, problem

@problem(name="grow", statement="Go on.", initial="def solve(given):\\n    return given or [0]\\n", warm_start=True,
         **SETTINGS)
def score(program):
    given = program.warm_start
    told = list(given) if given is not None else None
    grown = program.call("solve", given)
    if not isinstance(grown, list):
        raise Invalid("no list")
    if given is not None:
        given.append(1000)
    return Score(value=float(sum(grown)), artifact=sorted(grown), private={"given": told})
"""
OLD, NEW = CandidateKey(0, 1, 0), CandidateKey(0, 2, 1)
SCORES = st.lists(
    st.lists(st.none() | st.integers(-9, 9).map(float), min_size=1, max_size=3), min_size=1, max_size=12
)


def program(number):
    return f"def solve(given):\n    return [*(given or []), {number}]\n"


def candidate(number, index=0, warm_start=None):
    return Candidate(
        key=CandidateKey(0, 3, index),
        source=program(number),
        parents=(INITIAL,),
        created_at=datetime.now(UTC),
        warm_start=warm_start,
    )


@pytest.fixture
def grow(tmp_path):
    def load(settings="{}"):
        path = tmp_path / "grow.py"
        path.write_text(PLUGIN.replace("SETTINGS", settings))
        return load_problem(str(path))

    return load


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


@asynccontextmanager
async def evaluating(problem, backend=None, **options):
    evaluator = Evaluator(problem, backend or InProcessBackend(), **{"slots": 1, **options})
    await evaluator.start()
    try:
        yield evaluator
    finally:
        await evaluator.close()


# Whose it is


@given(scores=SCORES, direction=st.sampled_from(Direction))
def test_the_oldest_of_the_best_leads(scores, direction):
    leading = Leading(direction)
    seen = []
    for number, step_scores in enumerate(scores):
        step = committed_step(3, number, (), step_scores, direction)
        leading.observe(step)
        seen += [(o.key, o.score) for o in step.outcomes if o.score is not None]
        best = max(seen, key=lambda pair: direction.key(pair[1]), default=None)  # the first of equals
        leader = leading.leader
        assert (leader and (leader.key, leader.score)) == best


def test_a_copy_of_another_chains_program_leads_as_any_other():
    leading = Leading(Direction.MAXIMIZE)
    copied = Outcome(key=NEW, program_hash="x", score=9.0, duplicate_of=OLD)
    leading.observe(dataclasses.replace(committed_step(0, 1, (), [1.0]), outcomes=(copied,)))
    assert leading.leader.key == NEW


def test_it_is_seen_by_the_lag_and_forgotten_on_a_restart():
    selector = Restarting(lambda: make_selector("greedy", Direction.MAXIMIZE, {}), 2, Direction.MAXIMIZE)
    past = Past(selector, Direction.MAXIMIZE, overlap=1)
    led = []
    for number, score in enumerate([0.0, 5.0, 4.0, 3.0, 2.0, 1.0]):
        past.take_in(committed_step(0, number, (), [score]))
        led.append((past.leading.leader.score, past.restarts))
    assert led[:3] == [(0.0, 0), (0.0, 0), (5.0, 0)]
    assert past.restarts == 1
    assert (0.0, 1) in led, "what was handed on leads up the same hill"


def test_what_is_stored_with_a_step_is_read_back_and_absent_in_old_runs():
    assert stored_warm_start(json.loads(json.dumps({NAME: str(NEW)}))) == NEW
    assert stored_warm_start({NAME: "initial"}) == INITIAL
    assert stored_warm_start({"params": {}, "values": {}}) is None


# What it is


def scored(key, artifact, purpose=Purpose.SEARCH):
    made = make_scored(key, 1.0)
    return dataclasses.replace(made, purpose=purpose, score=Score(value=1.0, artifact=artifact))


def test_it_is_what_the_first_scoring_made_and_storage_holds(storage):
    lease = start(storage)[0]
    append(storage, lease, make_candidate(OLD, "x"), scored(OLD, [1, 2.5, {"a": None}]))
    append(storage, lease, scored(OLD, ["other"], Purpose.VERIFY), scored(OLD, ["other"], Purpose.AUDIT))
    append(storage, lease, make_candidate(NEW, "y"), scored(NEW, None))
    assert data.decode(given_to(storage, "run-1", OLD)) == [1, 2.5, {"a": None}]
    assert given_to(storage, "run-1", None) is None
    leader = Leading(Direction.MAXIMIZE)
    handout = Handout(storage, "run-1")
    assert handout.of(None) is None
    for key, is_there in ((OLD, True), (NEW, False), (OLD, True)):
        step = committed_step(0, 1, (), [1.0])
        leader = Leading(Direction.MAXIMIZE)
        leader.observe(dataclasses.replace(step, outcomes=(Outcome(key=key, program_hash="x", score=1.0),)))
        assert handout.of(leader.leader) == (leader.leader if is_there else None)
    with pytest.raises(StorageError, match=r"candidate 0\.2\.1, a warm start, is not stored"):
        WarmStarts(storage, "run-1").get(NEW)


def test_so_much_of_it_is_kept_at_hand(storage):
    lease = start(storage)[0]
    keys = [CandidateKey(0, number, 0) for number in range(1, 7)]
    for key in keys:
        append(storage, lease, make_candidate(key, "x"), scored(key, [key.step] * 100))
    read = []

    class Watched:
        def evaluations(self, run, key):
            read.append(key)
            return storage.evaluations(run, key)

    starts = WarmStarts(Watched(), "run-1", most_bytes=3 * len(encoded([1] * 100)))
    for key in [*keys[:3], *keys[:3], *keys]:
        assert data.decode(starts.get(key)) == [key.step] * 100
    assert read == keys
    starts.get(keys[0])
    assert read[-1] == keys[0], "it made room for later ones"


def test_it_is_no_larger_than_what_is_kept_of_a_score():
    assert len(encoded("x" * (MOST_BYTES - 100))) <= MOST_BYTES
    with pytest.raises(DataError, match="a warm start may take 4,194,304"):
        encoded("x" * MOST_BYTES)


# Scoring


async def test_the_same_is_given_in_search_in_second_scorings_and_to_the_baseline(grow):
    problem = grow('{"repeats": Repeats(count=3, baseline=True, comparison="difference")}')
    own, both = candidate(5, warm_start=OLD), {OLD: encoded([3, 4])}
    async with evaluating(problem, find_artifact=both.__getitem__) as evaluator:
        first = await evaluator.evaluate(own)
        found = [first, await evaluator.verify(own, first), await evaluator.rescore(own)]
        found.append(await evaluator.rescore(candidate(5), both[OLD]))
        for evaluation in found:
            assert evaluation.score.private == {"given": [3, 4]}
            # 3 + 4 + 5, and the baseline returns what it was given.
            assert evaluation.score.samples == (5.0, 5.0, 5.0)
            assert evaluation.score.artifact == [3, 4, 5]
        cold = await evaluator.evaluate(candidate(6, 1))
        assert (cold.score.private, cold.score.artifact) == ({"given": None}, [6])


async def test_equal_programs_are_equal_where_they_were_given_the_same(grow):
    backend, known = InProcessBackend(), {}
    artifacts = {OLD: encoded([3]), NEW: encoded([9])}
    async with evaluating(
        grow(),
        backend,
        find_source=lambda source, key, form: known.get((source, key)),
        find_artifact=artifacts.__getitem__,
    ) as evaluator:
        for index, key in enumerate((None, OLD, NEW)):
            each = candidate(1, index, key)
            known[each.source_hash, key] = await evaluator.evaluate(each)
            evaluator.remember(each.source_hash)
        assert [e.score.value for e in known.values()] == [1.0, 4.0, 10.0]
        assert all(e.duplicate_of is None for e in known.values())
        for index, key in enumerate((NEW, OLD, None)):
            again = await evaluator.evaluate(candidate(1, 7 + index, key))
            assert again.duplicate_of == CandidateKey(0, 3, 2 - index)
        assert len(backend.sources) == 3


async def test_those_in_flight_are_equal_where_they_are_given_the_same(grow):
    artifacts = {OLD: encoded([3]), NEW: encoded([9])}
    async with evaluating(grow(), slots=4, find_artifact=artifacts.__getitem__) as evaluator:
        tasks = [evaluator.evaluate(candidate(1, n, key)) for n, key in enumerate((OLD, NEW, OLD, NEW))]
        found = await asyncio.gather(*tasks)
    assert [e.score.value for e in found] == [4.0, 10.0, 4.0, 10.0]
    assert [e.duplicate_of and e.duplicate_of.index for e in found] == [None, None, 0, 1]


async def test_it_is_sent_once_however_often_a_program_is_scored(grow, monkeypatch):
    sent, send = [], ScorerWorker._send

    async def counted(worker, frame):
        if frame.kind == "warm_start":
            sent.append(frame.body)
        await send(worker, frame)

    monkeypatch.setattr(ScorerWorker, "_send", counted)
    artifacts = {OLD: encoded([3]), NEW: encoded([9])}
    problem = grow('{"repeats": Repeats(count=5)}')
    async with evaluating(problem, find_artifact=artifacts.__getitem__) as evaluator:
        for index, key in enumerate((OLD, OLD, NEW, None, None)):
            await evaluator.evaluate(candidate(index, index, key))
    assert sent == [artifacts[OLD], artifacts[NEW], b""]


async def test_nobody_scores_a_program_without_what_it_was_given(grow):
    async with evaluating(grow()) as evaluator:
        with pytest.raises(ValueError, match=r"0\.3\.0 was given a warm start; give its data"):
            await evaluator.rescore(candidate(1, warm_start=OLD))


async def test_a_solution_that_is_data_is_as_if_it_had_been_returned_for_what_was_given(grow):
    async with evaluating(grow()) as evaluator:
        for warm_start in (None, encoded([3])):
            found = await evaluator.evaluate_data(candidate(1), [7, 8], warm_start)
            assert found.score.value == 15.0
    assert score_directly(grow(), [7]).value == 7.0


# Whole runs


class Lying(InProcessBackend):
    """What a program with LIE in it returns the first time is much better than what it returns the second time."""

    def __init__(self):
        super().__init__()
        self.lied = set()

    def create(self, spec):
        sandbox = InProcessSandbox(self)
        run = sandbox.run

        async def lying(request):
            result = await run(request)
            if "LIE" in request.source and request.source not in self.lied:
                self.lied.add(request.source)
                return SandboxResult(data=data.encode([10**6]), wall_s=0.001)
            return result

        sandbox.run = lying
        return sandbox


def answer(key, request):
    """Some grow, one tries to spoil what it was given and says what it would like to be handed on, one lies."""
    source = program(1 + (key.step + key.index) % 3)
    if key.index == 1:
        source = "artifact = [500]\ndef solve(given):\n    (given or []).clear()\n    return [9, 1][key.step % 2:]\n"
        source = source.replace("key.step", str(key.step))
    if key.index == 2 and key.step % 2:
        source = f"LIE = {key.chain}, {key.step}\n{source}"
    return f"```python\n{source}```"


async def ran(problem, storage, overlap=1):
    search = SearchConfig(chains=2, steps=4, candidates=3, overlap=overlap)
    config = RunConfig(problem="grow", search=search)
    record = new_run(problem, config)
    starts = WarmStarts(storage, record.id)
    generator = ScriptedGenerator(answer)
    async with evaluating(
        problem,
        Lying(),
        slots=2,
        find_source=lambda *place: storage.find_source(record.id, *place),
        find_artifact=starts.get,
    ) as evaluator:
        selector = make_selector("greedy", problem.direction, {})
        parts = {"generator": generator, "selector": selector, "evaluator": evaluator}
        return (await Run(record, config, problem, storage, **parts, is_new=True).execute()).run


def candidates(storage, run):
    for chain in range(2):
        for number in range(1, 5):
            whole = storage.step(run, chain, number)
            for index, each in whole.candidates.items():
                yield whole, each, whole.evaluations[index]


@pytest.mark.parametrize("overlap", [0, 2])
async def test_what_is_handed_on_is_what_the_scorer_made_of_the_best_and_never_of_a_refuted_one(
    grow, storage, overlap
):
    run = await ran(grow(), storage, overlap)
    disagreed = storage.disagreements(run)
    assert disagreed
    grew = set()
    for whole, each, evaluation in candidates(storage, run):
        assert each.warm_start == stored_warm_start(whole.step.selection)
        assert each.warm_start not in disagreed
        given = data.decode(given_to(storage, run, each.warm_start))
        if evaluation.score is not None:
            assert evaluation.score.private["given"] == given
        before = [
            (other.score.value, -other.key.step, -other.key.index)
            for _, _, other in candidates(storage, run)
            if other.score is not None
            and other.key not in disagreed
            and other.key.chain == each.key.chain
            and other.key.step <= each.key.step - 1 - overlap
        ]
        best = max(before, default=(0.0, 0, 0))
        expected = CandidateKey(each.key.chain, -best[1], -best[2]) if best[0] > 0 else INITIAL
        assert each.warm_start == expected
        shown = f"The construction that the program will be given scores {float(sum(given))!r}."
        assert shown in whole.prompt.messages[1].content
        grew.add(len(given))
        assert 1000 not in given
        assert 500 not in given
    assert len(grew) >= (3 if overlap == 0 else 2), "constructions grew from step to step"


async def test_an_audit_and_an_export_give_what_the_run_gave(grow, storage):
    problem = grow()
    run = await ran(problem, storage)
    # Equal programs that were given something else are audited each.
    leases = storage.acquire(run, [SHARED_CHAIN, 0, 1], "owner", 60.0)
    lease = next(lease for lease in leases if lease.chain == 0)
    extra = [CandidateKey(0, 90, index) for index in range(2)]
    for key, warm_start in zip(extra, (INITIAL, CandidateKey(0, 1, 0)), strict=True):
        made = make_candidate(key, program(77))
        total = float(77 + sum(data.decode(given_to(storage, run, warm_start))))
        append(storage, lease, dataclasses.replace(made, warm_start=warm_start), make_scored(key, total))
    storage.release(leases)

    class Bench:
        opened = 0

        @asynccontextmanager
        async def __call__(self, record):
            Bench.opened += 1
            async with evaluating(problem) as evaluator:
                yield evaluator

    judgement = await judged(storage, outlines(storage, [run]), Filter(top_percent=100), Bench())
    assert Bench.opened == 1
    assert not judgement.refuted
    async with evaluating(problem) as evaluator:
        found = await audit(storage, run, evaluator, top=4)
    assert found.agrees
    assert {each.key for each in found.candidates} >= set(extra)
    assert next(each for each in found.candidates if each.is_best).again.score.private["given"]


def test_a_program_of_a_problem_that_asks_for_it_gets_no_reward_without(grow):
    problem = grow()
    with (
        LiveReward(backend=InProcessBackend(), slots=1) as reward,
        pytest.raises(UsageError, match="rows do not"),
    ):
        reward(["p"], [program(1)], problem_path=[str(problem.path)])
