"""Runs whose chains start from several initial candidates, with fakes; storage is a real SQLite file."""

import asyncio
import os
import signal
from functools import partial

import pytest

from discovery.config import AdaptConfig, RunConfig, SearchConfig, SlotsConfig
from discovery.errors import ProblemError
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import INITIAL, CandidateKey, Purpose, initial_key
from discovery.run import Run, config_of, new_run, resumed
from discovery.selection import make_selector
from discovery.selection.restarting import restarting
from discovery.storage import open_storage
from discovery.storage.journal import Journal
from discovery.summary import summarize
from discovery.testing.fakes import InProcessBackend, ScriptedGenerator
from discovery.trajectories.assemble import outlines

PLUGIN = """
from discovery import Invalid, problem

@problem(
    name="climb", statement="Return a number.", bounds=(None, 1e6),
    initial=[f"def solve():\\n    return {n}\\n" for n in %s],
)
def score(program):
    value = program.call("solve")
    if value < 0:
        raise Invalid("negative")
    return float(value)
"""
STARTS = [0, 20, 10]


def climb(key, request):
    """One more than the main parent's number for each index; nothing new in most steps."""
    base = int(request.parents[0].source.split()[-1])
    return f"def solve():\n    return {base + (key.index if key.step % 3 == 0 else 0)}\n"


@pytest.fixture
def problem(tmp_path):
    (tmp_path / "climb.py").write_text(PLUGIN % STARTS)
    return load_problem(str(tmp_path / "climb.py"))


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


def shape(chains=4, steps=6, **options):
    search = SearchConfig(chains=chains, steps=steps, candidates=2, selector="rpucg", parents=2)
    return RunConfig(problem="climb", search=search, slots=SlotsConfig(evaluation=2), **options)


async def execute(problem, storage, config, record=None, *, until=None):
    """Run, or take a run up again; stop it when so many evaluations are done."""
    run_record = record or new_run(problem, config)
    evaluator = Evaluator(
        problem,
        InProcessBackend(),
        slots=2,
        find_source=partial(storage.find_source, run_record.id),
    )
    await evaluator.start()

    def selector():
        return make_selector(config.search.selector, problem.direction, {})

    patience = config.adapt.patience
    try:
        run = Run(
            run_record,
            config,
            problem,
            storage,
            generator=ScriptedGenerator(climb),
            selector=restarting(selector, patience, problem.direction) if patience else selector(),
            evaluator=evaluator,
            is_new=record is None,
        )
        task = asyncio.create_task(run.execute())
        while until is not None and run.progress.evaluations < until and not task.done():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        if until is not None:
            task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
    finally:
        await evaluator.close()
    return run


async def resume(problem, storage, run):
    stored = storage.get_run(run)
    record = resumed(stored, config_of(stored), problem)
    return await execute(problem, storage, config_of(record), record)


def found(storage, run, chains=4):
    """What was shown and what came of it, chain by chain, without what timing may change."""
    return [
        [
            (step.parents, step.committed, [(o.key, o.program_hash, o.score) for o in step.outcomes])
            for step in storage.committed_steps(run, chain)
        ]
        for chain in range(chains)
    ]


async def test_chains_start_from_the_initial_candidates_in_turn(problem, storage):
    run = await execute(problem, storage, shape())
    for chain in range(4):
        first = next(iter(storage.committed_steps(run.record.id, chain)))
        assert first.parents == (initial_key(chain % 3),)
    summary = summarize(storage, run.record.id)
    assert summary.initial_score == 20.0, "what there is to improve on is the best of them"
    assert [c.best_score for c in summary.chains] == [2.0, 22.0, 12.0, 2.0]
    assert [p.best for p in run.progress.chains] == [2.0, 22.0, 12.0, 2.0]
    kept = [storage.candidate(summary.run, initial_key(n)).source.split()[-1] for n in range(3)]
    assert kept == ["0", "20", "10"]
    verified = {e.key for e in storage.verifications(summary.run)}
    assert verified & {initial_key(n) for n in range(3)} == {initial_key(1)}, "only the best is announced"


async def test_trajectories_are_compared_with_the_candidate_that_they_started_from(problem, storage):
    run = await execute(problem, storage, shape())
    told = [(o.chain, o.initial_score, o.best_score) for o in outlines(storage, [run.record.id])]
    assert told == [(0, 0.0, 2.0), (1, 20.0, 22.0), (2, 10.0, 12.0), (3, 0.0, 2.0)]


@pytest.mark.parametrize("adapt", [{}, {"patience": 2}, {"rungs": 1}])
async def test_a_resumed_run_equals_an_undisturbed_one(problem, storage, adapt):
    config = shape(adapt=AdaptConfig(**adapt))
    undisturbed = await execute(problem, storage, config)
    first = await execute(problem, storage, config, until=9)
    assert 9 <= first.progress.evaluations < undisturbed.progress.evaluations
    again = await resume(problem, storage, first.record.id)
    assert found(storage, first.record.id) == found(storage, undisturbed.record.id)
    assert again.progress.initial == 20.0
    ours, theirs = ([(c.end, c.restarts) for c in r.progress.chains] for r in (again, undisturbed))
    assert ours == theirs
    if adapt.get("patience"):
        shown = {p for chain in found(storage, first.record.id) for step in chain[3:] for p in step[0]}
        assert {initial_key(n) for n in range(3)} <= shown, "each begins anew from its own"


def test_a_run_killed_between_its_initial_candidates_goes_on(problem, storage, tmp_path):
    undisturbed = asyncio.run(execute(problem, storage, shape()))
    place = str(tmp_path / "killed.db")
    child = os.fork()
    if child == 0:
        append = Journal.append

        async def killed(self, lease, *records):
            # The first initial candidate with its score, and the second without.
            await append(self, lease, *records[: [r.key for r in records[1:]].index(initial_key(1)) + 2])
            os.kill(os.getpid(), signal.SIGKILL)

        Journal.append = killed
        try:
            asyncio.run(execute(problem, open_storage(place), shape()))
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    with_killed = open_storage(place)
    try:
        (stopped,) = with_killed.list_runs()
        stored = {n: with_killed.evaluations(stopped.id, initial_key(n)) for n in range(3)}
        assert [len(e) for e in stored.values()] == [1, 0, 0]
        asyncio.run(resume(problem, with_killed, stopped.id))
        assert found(with_killed, stopped.id) == found(storage, undisturbed.record.id)
        assert [
            e for e in with_killed.evaluations(stopped.id, INITIAL) if e.purpose is Purpose.SEARCH
        ] == stored[0]
    finally:
        with_killed.close()


async def test_a_new_run_says_which_initial_candidate_does_not_score(tmp_path, storage):
    (tmp_path / "bad.py").write_text(PLUGIN % [1, 2, -3])
    problem = load_problem(str(tmp_path / "bad.py"))
    with pytest.raises(ProblemError, match=r"the initial candidate initial-2 of 'climb' .*invalid.*negative"):
        await execute(problem, storage, shape())
    assert storage.list_runs() == []
    run = await execute(problem, storage, shape(chains=2))
    assert "of 3 initial candidates the first 2 are used; --chains 3 starts from all" in run.notice
    assert storage.candidate(run.record.id, CandidateKey(-1, 0, 2)) is None
