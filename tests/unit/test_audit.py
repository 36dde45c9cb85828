"""A stored run's best, scored again from nothing."""

import itertools
import os
import re
from contextlib import asynccontextmanager

import pytest

from discovery import data
from discovery.audit import audit
from discovery.config import RunConfig, SearchConfig
from discovery.errors import UnknownRun, UsageError
from discovery.evaluator import Evaluator
from discovery.owner import this_owner
from discovery.plugins import load_problem
from discovery.records import INITIAL, SHARED_CHAIN, CandidateKey, FailureKind, Purpose
from discovery.run import Run, new_run
from discovery.sandbox.base import SandboxResult
from discovery.selection import make_selector
from discovery.storage import open_storage
from discovery.summary import summarize
from discovery.testing.fakes import InProcessBackend, InProcessSandbox, ScriptedGenerator

PLUGIN = """
from discovery import Repeats, problem

@problem(name="climb", statement="Return a number.", initial="def solve():\\n    return 0\\n", **SETTINGS)
def score(program):
    return float(program.call("solve"))
"""
NUMBERS = [[4, 7], [7, 2], [0, 5]]
BEST = CandidateKey(0, 1, 1)


class Lying(InProcessBackend):
    """Every sandbox adds something to a program's number."""

    def __init__(self, added):
        super().__init__()
        self.added = {number: itertools.cycle(values) for number, values in added.items()}

    def create(self, spec):
        sandbox = InProcessSandbox(self)
        run = sandbox.run

        async def lying(request):
            number = int(re.search(r"return (-?\d+)", request.source).group(1))
            if number not in self.added:
                return await run(request)
            return SandboxResult(data=data.encode(number + next(self.added[number])), wall_s=0.001)

        sandbox.run = lying
        self.made.append(sandbox)
        return sandbox


@pytest.fixture
def climb(tmp_path):
    def load(settings="{}"):
        path = tmp_path / "climb.py"
        path.write_text(PLUGIN.replace("SETTINGS", settings))
        return load_problem(str(path))

    return load


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


@asynccontextmanager
async def evaluating(problem, backend):
    evaluator = Evaluator(problem, backend, slots=1)
    await evaluator.start()
    try:
        yield evaluator
    finally:
        await evaluator.close()


async def ran(problem, storage, backend=None):
    """The id of a finished run."""
    config = RunConfig(problem="climb", search=SearchConfig(chains=1, steps=3, candidates=2))
    generator = ScriptedGenerator(
        lambda key, request: f"def solve():\n    return {NUMBERS[key.step - 1][key.index]}\n"
    )
    async with evaluating(problem, backend or InProcessBackend()) as evaluator:
        run = Run(
            new_run(problem, config),
            config,
            problem,
            storage,
            generator=generator,
            selector=make_selector("best-of-n", problem.direction, {}),
            evaluator=evaluator,
            is_new=True,
        )
        return (await run.execute()).run


async def test_the_best_different_candidates_and_the_initial_one_are_scored_from_nothing(climb, storage):
    problem = climb()
    run = await ran(problem, storage)
    backend = InProcessBackend()
    async with evaluating(problem, backend) as evaluator:
        found = await audit(storage, run[:8], evaluator, top=3)
    assert [(str(a.key), a.is_best) for a in found.candidates] == [
        ("0.1.1", True),
        ("0.3.1", False),
        ("0.1.0", False),
        ("initial", False),
    ]
    assert (found.agrees, found.is_changed, found.not_kept) == (True, False, None)
    assert [a.again.score.value for a in found.candidates] == [7.0, 5.0, 4.0, 0.0]
    assert len(backend.made) == 4
    assert all(sandbox.closed for sandbox in backend.made)
    stored = [e for e in storage.evaluations(run, BEST) if e.purpose is Purpose.AUDIT]
    assert [e.score.value for e in stored] == [7.0]
    assert storage.counts(run).evaluations == 6
    told = summarize(storage, run).audit
    assert (told.agrees, told.is_changed) == (True, False)


async def test_a_forged_best_is_found_and_kept_as_such(climb, storage):
    problem = climb()
    run = await ran(problem, storage, Lying({2: [90]}))
    forged = CandidateKey(0, 2, 1)
    assert summarize(storage, run).best_score == 92.0
    for count in (1, 2):
        async with evaluating(problem, InProcessBackend()) as evaluator:
            found = await audit(storage, run, evaluator, top=1)
        assert [(a.key, a.agrees) for a in found.candidates] == [(forged, False), (INITIAL, True)]
        audits = [e for e in storage.evaluations(run, forged) if e.purpose is Purpose.AUDIT]
        assert [e.attempt for e in audits] == list(range(count))
    assert audits[0].failure.kind is FailureKind.DISAGREEMENT
    told = summarize(storage, run)
    assert "92.0 first" in told.audit.message
    assert not told.audit.agrees
    # An audit reports; it takes nothing back.
    assert told.best == forged
    assert told.failures == {}


async def test_a_noisy_candidate_is_held_to_its_second_score(climb, storage):
    settings = "{'repeats': Repeats(count=2, statistic='mean')}"
    noise = {7: [1.0, 2.0, -1.0, 0.0]}
    run = await ran(climb(settings), storage, Lying(noise))
    assert summarize(storage, run).best_score == 6.5
    async with evaluating(climb(settings), Lying({7: [0.0, 0.5]})) as evaluator:
        (best, _) = (await audit(storage, run, evaluator, top=1)).candidates
    assert (best.claimed.purpose, best.claimed.score.value) == (Purpose.VERIFY, 6.5)
    assert best.agrees


async def test_another_version_of_the_problem_is_told(climb, storage):
    run = await ran(climb(), storage)
    async with evaluating(climb("{'domain': 'other'}"), InProcessBackend()) as evaluator:
        found = await audit(storage, run, evaluator)
    assert (found.agrees, found.is_changed) == (True, True)
    assert summarize(storage, run).audit.is_changed


async def test_a_live_run_is_audited_without_being_written_to(climb, storage):
    problem = climb()
    run = await ran(problem, storage)
    leases = storage.acquire(run, [SHARED_CHAIN], this_owner(), 60.0)
    async with evaluating(problem, InProcessBackend()) as evaluator:
        found = await audit(storage, run, evaluator)
    assert found.agrees
    assert f"process {os.getpid()}" in found.not_kept
    assert summarize(storage, run).audit is None
    storage.release(leases)


async def test_misuse_is_told(climb, storage):
    problem = climb()
    run = await ran(problem, storage)
    async with evaluating(problem, InProcessBackend()) as evaluator:
        with pytest.raises(UsageError, match="top is 0"):
            await audit(storage, run, evaluator, top=0)
        with pytest.raises(UnknownRun):
            await audit(storage, "nonesuch", evaluator)
        record = new_run(problem, RunConfig(problem="climb"))
        storage.create_run(record)
        with pytest.raises(UsageError, match="nothing of run"):
            await audit(storage, record.id, evaluator)
