"""Whole runs that prune chains, begin them anew, or end them: stopped anywhere, resumed, given more."""

import asyncio
import dataclasses
import itertools
import re
from contextlib import asynccontextmanager

import pytest

from discovery.budget import Budget
from discovery.chain import ended_by
from discovery.config import AdaptConfig, RunConfig, SearchConfig
from discovery.evaluator import Evaluator
from discovery.launch import selector_of
from discovery.plugins import load_problem
from discovery.records import RunStatus
from discovery.run import Run, config_of, new_run, resumed
from discovery.storage import open_storage
from discovery.testing.fakes import InProcessBackend, ScriptedGenerator

PLUGIN = """
from discovery import problem

@problem(name="climb", statement="Return a number.", initial="def solve():\\n    return 0\\n", bounds=(None, 1e6))
def score(program):
    return float(program.call("solve"))
"""


def uneven(key, request):
    """Chain 2 climbs fastest; all are stuck in three steps of six."""
    base = int(re.search(r"return (-?\d+)", request.parents[0].source).group(1))
    pace = (1, 2, 4, 3)[key.chain] if key.step % 6 < 3 else 0
    return f"def solve():\n    return {base + pace - key.index}\n"


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
async def running(problem, storage, config, record=None, delay=0.0):
    is_new = record is None
    record = new_run(problem, config) if is_new else resumed(record, config, problem)
    evaluator = Evaluator(problem, InProcessBackend(), slots=2)
    await evaluator.start()
    generator = ScriptedGenerator(uneven, latency_s=lambda key: delay * (key.chain + 1))
    try:
        yield Run(
            record,
            config,
            problem,
            storage,
            generator=generator,
            selector=selector_of(config, problem),
            evaluator=evaluator,
            is_new=is_new,
        )
    finally:
        await evaluator.close()


def shape(**adapt):
    search = SearchConfig(chains=4, steps=12, candidates=2, parents=1, selector="greedy")
    return RunConfig(problem="climb", search=search, adapt=AdaptConfig(**adapt))


def contents(storage, run):
    steps = [list(storage.committed_steps(run, chain)) for chain in range(4)]
    timeless = [
        [(s.step, s.parents, [(o.key, o.score) for o in s.outcomes]) for s in chain] for chain in steps
    ]
    return (
        timeless,
        storage.get_run(run).facts.get("ended_chains"),
        storage.get_run(run).facts.get("restarts"),
    )


async def whole(problem, storage, config):
    async with running(problem, storage, config) as run:
        return await run.execute()


async def test_a_run_prunes_its_worst_chains_and_says_so(problem, storage):
    summary = await whole(problem, storage, shape(rungs=2))
    assert summary.status is RunStatus.FINISHED
    assert summary.message == "all steps taken"
    record = storage.get_run(summary.run)
    assert config_of(record).adapt.at == (8, 24)
    assert record.facts["ended_chains"] == {"pruned at rung 1 of 2": [0, 1], "pruned at rung 2 of 2": [3]}
    assert [chain.evaluations for chain in summary.chains] == [8, 8, 56, 24]
    assert summary.evaluations == 96
    assert summary.best.chain == 2


def test_why_a_run_ended_does_not_depend_on_which_chain_was_the_last():
    cut, spent, done, pruned = (
        "max_seconds 5",
        "its evaluations are spent",
        "all steps taken",
        "pruned at rung 1 of 1",
    )
    for told, fates, said in (
        ({0: done, 1: cut, 2: done}, (), cut),
        ({0: spent, 1: done, 2: pruned}, {2}, spent),
        ({0: pruned, 1: done}, {0}, done),
        ({0: pruned, 1: "no improvement in 3 steps"}, {0, 1}, pruned),
        ({}, (), None),
    ):
        for order in itertools.permutations(told):
            assert ended_by({number: told[number] for number in order}, fates) == said


@pytest.mark.parametrize(
    "adapt",
    [
        {"rungs": 2, "patience": 2},
        {"patience": 2},
        {"rungs": 2, "patience": 3, "on_stall": "stop"},
    ],
    ids=["both", "restarts", "ends"],
)
async def test_a_run_that_is_stopped_again_and_again_is_what_it_would_have_been(problem, storage, adapt):
    config = shape(**adapt)
    expected = await whole(problem, storage, config)
    record, pieces = None, 0
    while True:
        async with running(problem, storage, config, record, delay=0.001) as run:
            task = asyncio.create_task(run.execute())
            while not task.done() and run.progress.evaluations - run.progress.earlier < 17:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            pieces += 1
            if task.done():
                await task
                break
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            record = storage.get_run(run.record.id)
            config = config_of(record)
    record = storage.get_run(record.id)
    assert pieces > 1
    assert contents(storage, record.id) == contents(storage, expected.run)
    if "patience" in adapt and "on_stall" not in adapt:
        assert record.facts["restarts"] > 0


async def test_more_evaluations_go_to_those_that_are_left(problem, storage):
    summary = await whole(problem, storage, shape(rungs=2))
    record = storage.get_run(summary.run)
    config = config_of(record)
    more = dataclasses.replace(
        config,
        search=dataclasses.replace(config.search, steps=24),
        budget=Budget(max_evaluations=120),
    )
    async with running(problem, storage, more, record) as run:
        again = await run.execute()
    assert [chain.evaluations for chain in again.chains] == [8, 8, 80, 24]


async def test_chains_that_end_without_rungs_leave_their_evaluations_unspent(problem, storage):
    summary = await whole(problem, storage, shape(patience=2, on_stall="stop"))
    assert summary.status is RunStatus.FINISHED
    assert summary.message == "no improvement in 2 steps"
    assert summary.evaluations < 96
    facts = storage.get_run(summary.run).facts
    assert facts["ended_chains"] == {"no improvement in 2 steps": [0, 1, 2, 3]}
