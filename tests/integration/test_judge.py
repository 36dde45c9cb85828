"""A scorer that candidates can spoil, its hacked trajectory, and the judge, with real sandboxes."""

import dataclasses
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from discovery.launch import evaluator_for, problem_of
from discovery.plugins import load_problem
from discovery.records import INITIAL, SHARED_CHAIN, Candidate, CandidateKey, Prompt, RunStatus
from discovery.sandbox import make_backend
from discovery.storage import open_storage
from discovery.testing.storage_records import append, make_committed, make_completion, make_run, make_step
from discovery.trajectories.assemble import outlines, samples
from discovery.trajectories.curate import curated
from discovery.trajectories.judge import judged
from discovery.trajectories.records import Filter

PLUGIN = """
from discovery import Invalid, problem

CACHE = {}

@problem(name="forgetful", statement="Return a number.", initial="def solve():\\n    return 0.0\\n")
def score(program):
    value = program.call("solve")
    if isinstance(value, dict):
        CACHE.update(value)  # an honest mistake
        raise Invalid("not a number")
    return CACHE.setdefault(str(value), -abs(value - 3.25))
"""
"""It keeps what candidates gave it, and lets that change what later ones get."""

CHAINS = [
    ["def solve():\n    return 3.5\n"],
    ["def solve():\n    return {'1.0': 0.0}\n", "def solve():\n    return 1.0\n"],
    ["def solve():\n    return 2.0\n"],
]
"""By chain; the second one poisons the scorer, then reaps."""


@pytest.mark.parametrize("sandbox", [pytest.param("bubblewrap", marks=pytest.mark.sandbox), "process"])
async def test_a_hack_that_a_scorer_fell_for_is_not_learned_from(tmp_path, sandbox):
    (tmp_path / "forgetful.py").write_text(PLUGIN)
    problem = load_problem(str(tmp_path / "forgetful.py"))
    backend = make_backend(sandbox)
    storage = open_storage(str(tmp_path / "runs.db"))
    record = dataclasses.replace(
        make_run(),
        problem=problem.name,
        problem_path=str(problem.path),
        problem_version=problem.version,
        status=RunStatus.FINISHED,
    )
    storage.create_run(record)
    leases = {
        lease.chain: lease
        for lease in storage.acquire(record.id, range(SHARED_CHAIN, len(CHAINS)), "owner", 60.0)
    }

    async def scored(evaluator, key, source):
        candidate = Candidate(key=key, source=source, parents=(), created_at=datetime.now(UTC))
        evaluation = await evaluator.evaluate(candidate)
        append(storage, leases[key.chain], candidate, evaluation)
        return evaluation

    # One slot: each candidate has the scorer's worker of the one before.
    async with evaluator_for(problem, backend, slots=1) as evaluator:
        await scored(evaluator, INITIAL, problem.initial)
        for chain, sources in enumerate(CHAINS):
            for number, source in enumerate(sources, start=1):
                key, planned = CandidateKey(chain, number, 0), make_step(chain, number)
                prompt = Prompt(chain=chain, step=number, messages=(), parents=(INITIAL,))
                append(storage, leases[chain], planned, prompt, make_completion(key))
                evaluation = await scored(evaluator, key, source)
                append(
                    storage,
                    leases[chain],
                    make_committed(planned, key if evaluation.score is not None else None),
                )
    storage.release(list(leases.values()))

    found = list(outlines(storage, [record.id]))
    filter = Filter(top_percent=10, validation_percent=0)
    (fooled,) = curated(found, filter).selected
    assert (fooled.trajectory.chain, fooled.trajectory.best_score) == (1, 0.0), (
        "the hack is the best there is"
    )
    opened = []

    @asynccontextmanager
    async def evaluators(run):
        opened.append(run.id)
        async with evaluator_for(problem_of(run), backend, slots=2) as made:
            yield made

    for is_first in (True, False):
        judgement = await judged(storage, found, filter, evaluators)
        (refuted,) = judgement.refuted
        assert refuted.outline.place == (record.id, 1)
        assert refuted.reason == "scored 0.0 first, but a second scoring from nothing gave: -2.25"
        (chosen,) = curated(judgement.outlines, filter).selected
        assert (chosen.trajectory.chain, chosen.trajectory.best_score) == (0, -0.25)
        assert (judgement.evaluated, judgement.known) == ((2, 0) if is_first else (0, 2))
    assert opened == [record.id] * 2, "once for each round of the first judgement, never for the second"
    (sample,) = samples(storage, curated(judgement.outlines, filter))
    assert sample.committed.candidate.source == CHAINS[0][0]
    storage.close()
