"""The whole loop with fakes: no Prefect, no sandbox, no server; storage is a real SQLite file."""

import asyncio
import dataclasses
import re
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from discovery.budget import Budget
from discovery.chain import Chain
from discovery.config import RunConfig, SearchConfig, SlotsConfig
from discovery.errors import GeneratorRefused, ProblemError, RunBusy, SandboxError
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import INITIAL, CandidateKey, FailureKind, RunStatus
from discovery.run import Run, new_run, resumed
from discovery.selection import make_selector
from discovery.storage import open_storage
from discovery.summary import summarize
from discovery.testing.fakes import InProcessBackend, ScriptedGenerator

PLUGIN = """
from discovery import Invalid, problem

@problem(name="climb", statement="Return a number.", initial="def solve():\\n    return 0\\n", bounds=(None, 1e6))
def score(program):
    value = program.call("solve")
    if value < 0:
        raise Invalid("negative")
    return float(value)
"""


def number_in(source):
    return int(re.search(r"return (-?\d+)", source).group(1))


def climb(key, request):
    """The main parent's number plus the index, with a failure now and then."""
    base = number_in(request.parents[0].source)
    if key.index == 2 and key.step % 3 == 0:
        return "def solve():\n    return -5\n"
    if key.index == 1 and key.step % 4 == 0:
        return "def solve():\n    raise ValueError('no')\n"
    return f"def solve():\n    return {base + key.index}\n"


@pytest.fixture
def problem(tmp_path):
    path = tmp_path / "climb.py"
    path.write_text(PLUGIN)
    return load_problem(str(path))


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


@asynccontextmanager
async def running(problem, storage, config, *, generator=None, backend=None, record=None):
    backend = backend or InProcessBackend()
    is_new = record is None
    record = new_run(problem, config) if is_new else record
    evaluator = Evaluator(
        problem,
        backend,
        slots=config.slots.evaluation or 2,
        find_source=lambda source: storage.find_source(record.id, source),
    )
    await evaluator.start()
    try:
        yield Run(
            record,
            config,
            problem,
            storage,
            generator=generator or ScriptedGenerator(climb),
            selector=make_selector(config.search.selector, problem.direction, {}),
            evaluator=evaluator,
            is_new=is_new,
        )
    finally:
        await evaluator.close()


def shape(chains=2, steps=6, candidates=3, selector="rpucg", **options):
    return RunConfig(
        problem="climb",
        search=SearchConfig(chains=chains, steps=steps, candidates=candidates, selector=selector),
        **options,
    )


def contents(storage, run, chains):
    """Everything about a run that timing must not change."""
    steps = [list(storage.committed_steps(run, chain)) for chain in range(chains)]
    sources = [
        storage.candidate(run, outcome.key).source
        for chain in steps
        for step in chain
        for outcome in step.outcomes
        if outcome.source_hash
    ]
    return [
        [dataclasses.replace(s, outcomes=_timeless(s.outcomes)) for s in chain] for chain in steps
    ], sources


def _timeless(outcomes):
    return tuple(dataclasses.replace(o, duplicate_of=None) for o in outcomes)


async def test_a_run_spends_its_budget_and_keeps_everything(problem, storage):
    config = shape()
    generator = ScriptedGenerator(climb)
    async with running(problem, storage, config, generator=generator) as run:
        summary = await run.execute()
    assert summary.status is RunStatus.FINISHED
    assert summary.evaluations == 36
    assert len(generator.requested) == 36
    assert summary.initial_score == 0.0
    assert summary.best_score is not None
    assert summary.best_score > 0
    assert set(summary.failures) == {FailureKind.INVALID, FailureKind.CRASHED}
    step = storage.step(summary.run, 0, 4)
    assert len(step.completions) == len(step.evaluations) == 3
    assert step.prompt.messages
    assert step.step.committed in {c.key for c in step.candidates.values()}
    assert storage.announcements(summary.run)[-1].score == summary.best_score
    assert storage.holder(summary.run) is None


@pytest.mark.parametrize("limit", [1, 7, 20])
async def test_fewer_evaluations_than_steps_are_spent_exactly(problem, storage, limit):
    async with running(problem, storage, shape(budget=Budget(max_evaluations=limit))) as run:
        summary = await run.execute()
    assert summary.evaluations == limit
    assert summary.status is RunStatus.FINISHED


async def test_the_target_ends_the_run(problem, storage):
    async with running(problem, storage, shape(steps=100, budget=Budget(until=9.0))) as run:
        summary = await run.execute()
    assert 9.0 <= summary.best_score < 12.0
    assert summary.evaluations < 60


async def test_same_seed_same_run_whatever_the_timing(problem, tmp_path):
    found = []
    for attempt in range(2):
        with_storage = open_storage(str(tmp_path / f"{attempt}.db"))
        generator = ScriptedGenerator(
            climb, latency_s=lambda key, a=attempt: 0.004 * ((key.chain + a * (key.index + 1)) % 3)
        )
        config = shape(chains=3, steps=5, selector="balance", slots=SlotsConfig(evaluation=1 + 3 * attempt))
        async with running(problem, with_storage, config, generator=generator) as run:
            summary = await run.execute()
        found.append(contents(with_storage, summary.run, 3))
        with_storage.close()
    assert found[0] == found[1]


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs on purpose."""


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(1, 60), min_size=1, max_size=3))
def test_a_run_cut_anywhere_resumes_to_the_same_end(problem, tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("cut")
    config = shape(chains=2, steps=4, candidates=3)

    async def whole():
        with_storage = open_storage(str(folder / "whole.db"))
        async with running(problem, with_storage, config) as run:
            summary = await run.execute()
        found = contents(with_storage, summary.run, 2)
        with_storage.close()
        return found

    async def in_pieces():
        with_storage = open_storage(str(folder / "pieces.db"))
        generator, backend, record = ScriptedGenerator(climb), InProcessBackend(), None
        for cut in [*cuts, None]:
            async with running(
                problem, with_storage, config, generator=generator, backend=backend, record=record
            ) as run:
                record = run.record
                task = asyncio.create_task(run.execute())
                if cut is not None:
                    for _ in range(cut):
                        await asyncio.sleep(0.001)
                    task.cancel()
                done = await asyncio.gather(task, return_exceptions=True)
            if cut is None:
                assert not isinstance(done[0], BaseException), done
            elif not with_storage.list_runs():
                record = None
        found = contents(with_storage, record.id, 2)
        counts = with_storage.counts(record.id)
        stored = with_storage.counts(record.id).completions
        with_storage.close()
        return found, counts, stored, generator.requested

    expected = asyncio.run(whole())
    found, counts, stored, requested = asyncio.run(in_pieces())
    assert found == expected
    assert counts.evaluations == stored == 24
    assert len(requested) - 24 <= 6 * len(cuts), "more was generated again than was in flight"


async def test_an_outage_pauses_and_spends_nothing(problem, storage):
    generator = ScriptedGenerator(climb, outages=1, yields_before_outage=1)
    async with running(problem, storage, shape(chains=1, steps=2), generator=generator) as run:
        summary = await run.execute()
    assert summary.evaluations == 6
    assert len(generator.requested) == len(set(generator.requested)) == 6


async def test_a_refusal_fails_the_run_which_can_be_resumed(problem, storage):
    def refuse(key, request):
        if key.step == 2:
            raise GeneratorRefused("wrong key")
        return climb(key, request)

    config = shape(chains=1, steps=3)
    async with running(problem, storage, config, generator=ScriptedGenerator(refuse)) as run:
        record = run.record
        with pytest.raises(GeneratorRefused):
            await run.execute()
    assert summarize(storage, record.id).status is RunStatus.FAILED
    record = resumed(storage.get_run(record.id), config, problem)
    async with running(problem, storage, config, record=record) as run:
        summary = await run.execute()
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 9)


async def test_a_step_that_infrastructure_failed_can_be_tried_again(problem, storage):
    async def twice(chain: Chain):
        try:
            await chain.advance()
        except SandboxError:
            await chain.advance()

    backend = InProcessBackend([None, None, None, *[SandboxError("gone")] * 3])
    async with running(
        problem, storage, shape(chains=1, slots=SlotsConfig(evaluation=1)), backend=backend
    ) as run:
        summary = await run.execute(twice)
    assert summary.evaluations == 18
    assert summary.status is RunStatus.FINISHED


async def test_two_processes_never_run_one_run(problem, storage):
    config = shape(chains=1, steps=1)
    async with running(problem, storage, config) as run:
        record = run.record
        await run.execute()
    leases = storage.acquire(record.id, [-1, 0], "elsewhere/pid:[1]|1|2|x", 30)
    assert len(leases) == 2
    again = resumed(storage.get_run(record.id), shape(chains=1, steps=2), problem)
    async with running(problem, storage, shape(chains=1, steps=2), record=again) as run:
        with pytest.raises(RunBusy, match="process 1 on elsewhere"):
            await run.execute()


async def test_an_initial_candidate_that_fails_stores_nothing(problem, storage, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text(PLUGIN.replace("return 0", "return -1"))
    async with running(load_problem(str(path)), storage, shape()) as run:
        with pytest.raises(ProblemError, match="negative"):
            await run.execute()
    assert storage.list_runs() == []


async def test_a_changed_problem_is_not_resumed(problem, storage, tmp_path):
    config = shape(chains=1, steps=1)
    async with running(problem, storage, config) as run:
        record = run.record
        await run.execute()
    path = tmp_path / "climb.py"
    path.write_text(PLUGIN.replace("negative", "below zero"))
    with pytest.raises(ProblemError, match="changed since"):
        resumed(storage.get_run(record.id), config, load_problem(str(path)))


async def test_a_best_that_does_not_verify_is_neither_announced_nor_built_on(storage, tmp_path):
    path = tmp_path / "moody.py"
    path.write_text(
        PLUGIN.replace('name="climb"', 'name="moody"')
        .replace(
            "    return float(value)",
            "    SEEN.append(value)\n    return float(value) if value != 2 or len(SEEN) > 1 else 0.5",
        )
        .replace("@problem", "SEEN = []\n@problem")
    )
    problem = load_problem(str(path))
    config = shape(chains=1, steps=1, slots=SlotsConfig(evaluation=1))
    async with running(problem, storage, config) as run:
        summary = await run.execute()
    key = CandidateKey(0, 1, 2)
    (step,) = storage.committed_steps(summary.run, 0)
    assert step.committed == CandidateKey(0, 1, 1)
    assert summary.best == CandidateKey(0, 1, 1)
    assert storage.disagreements(summary.run)[key].kind is FailureKind.DISAGREEMENT
    assert INITIAL not in storage.disagreements(summary.run)
