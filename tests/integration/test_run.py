"""The whole loop with fakes: no Prefect, no sandbox, no server; storage is a real SQLite file."""

import asyncio
import dataclasses
import re
import threading
import time
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.budget import Budget
from discovery.config import RunConfig, SandboxConfig, SearchConfig, SlotsConfig
from discovery.errors import (
    GeneratorRefused,
    GeneratorUnavailable,
    MissingComponent,
    ProblemError,
    RunBusy,
    SandboxError,
    SandboxUnavailable,
    StorageError,
    StorageFull,
)
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import (
    INITIAL,
    SHARED_CHAIN,
    CandidateKey,
    EvaluationState,
    Failure,
    FailureKind,
    Purpose,
    RunStatus,
    TokenUsage,
)
from discovery.run import Run, config_of, new_run, resumed
from discovery.selection import make_selector
from discovery.step import OpenStep
from discovery.storage import open_storage
from discovery.storage.base import Write
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


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    path = tmp_path_factory.mktemp("problem") / "climb.py"
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
        find_source=partial(storage.find_source, record.id),
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


def shape(chains=2, steps=6, candidates=3, selector="rpucg", overlap=None, **options):
    return RunConfig(
        problem="climb",
        search=SearchConfig(
            chains=chains, steps=steps, candidates=candidates, selector=selector, overlap=overlap
        ),
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
        if outcome.program_hash
    ]
    prompts = [storage.step(run, step.chain, step.step).prompt.messages for chain in steps for step in chain]
    timeless = [[dataclasses.replace(s, outcomes=_timeless(s.outcomes)) for s in chain] for chain in steps]
    return timeless, sources, prompts


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


@pytest.mark.parametrize("overlap", [0, 1])
async def test_same_seed_same_run_whatever_the_timing(problem, tmp_path, overlap):
    found = []
    for attempt in range(2):
        with_storage = open_storage(str(tmp_path / f"{attempt}.db"))
        generator = ScriptedGenerator(
            climb, latency_s=lambda key, a=attempt: 0.004 * ((key.chain + a * (key.index + 1)) % 3)
        )
        config = shape(
            chains=3,
            steps=5,
            selector="balance",
            overlap=overlap,
            slots=SlotsConfig(evaluation=1 + 3 * attempt),
        )
        async with running(problem, with_storage, config, generator=generator) as run:
            summary = await run.execute()
        found.append(contents(with_storage, summary.run, 3))
        with_storage.close()
    assert found[0] == found[1]
    assert {step.parents for chain in found[0][0] for step in chain[: overlap + 1]} == {(INITIAL,)}
    assert any(step.parents != (INITIAL,) for chain in found[0][0] for step in chain[overlap + 1 :][:1])


class Killed(BaseException):
    """Stands for the end of the process: nothing after it runs on purpose."""


CUT = shape(chains=2, steps=4, candidates=3)


@pytest.fixture(scope="module")
def whole(problem, tmp_path_factory):
    """What a run that nobody cuts comes to."""

    async def executed():
        with_storage = open_storage(str(tmp_path_factory.mktemp("whole") / "runs.db"))
        async with running(problem, with_storage, CUT) as run:
            summary = await run.execute()
        found = contents(with_storage, summary.run, 2)
        with_storage.close()
        return found

    return asyncio.run(executed())


@settings(max_examples=12, deadline=None)
@given(cuts=st.lists(st.integers(1, 60), min_size=1, max_size=3))
def test_a_run_cut_anywhere_resumes_to_the_same_end(problem, whole, tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("cut")

    async def in_pieces():
        with_storage = open_storage(str(folder / "pieces.db"))
        generator, backend, record = ScriptedGenerator(climb), InProcessBackend(), None
        for cut in [*cuts, None]:
            async with running(
                problem, with_storage, CUT, generator=generator, backend=backend, record=record
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

    found, counts, stored, requested = asyncio.run(in_pieces())
    assert found == whole
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
    failures = [SandboxError("gone")]

    async def twice(step: OpenStep):
        try:
            await step.complete()
        except SandboxError:
            await step.complete()

    async with running(problem, storage, shape(chains=1)) as run:
        evaluate = run._evaluator.evaluate

        async def failing(candidate, keep=None):
            if candidate.key.step == 2 and failures:
                raise failures.pop()
            return await evaluate(candidate, keep)

        run._evaluator.evaluate = failing
        summary = await run.execute(twice)
    assert not failures
    assert summary.evaluations == 18
    assert summary.status is RunStatus.FINISHED


async def no_sleep(seconds):
    await asyncio.sleep(0)


@asynccontextmanager
async def without_sandboxes(problem, storage, config, starts, **options):
    """A run whose sandboxes end once its initial candidate is verified, and then do not start for so many tries."""
    backend = InProcessBackend([None, None, SandboxError("gone")])
    async with running(problem, storage, config, backend=backend, **options) as run:
        run._evaluator.pool._sleep = no_sleep
        backend.starts = [None, *starts]
        yield run


def seen(run):
    """Collects what is stored and shown, in order."""
    statuses, store = [], run._storage.update_run

    def update(lease, **fields):
        stored = store(lease, **fields)
        if not statuses or statuses[-1] != (fields["status"], fields["message"]):
            statuses.append((fields["status"], fields["message"]))
        return stored

    run._storage.update_run = update
    return statuses


async def test_a_run_whose_sandboxes_do_not_start_waits_for_them(problem, storage, monkeypatch):
    monkeypatch.setattr("discovery.pace._FIRST_PAUSE_S", 0.001)
    config = shape()
    async with running(problem, storage, config) as run:
        undisturbed = (await run.execute()).run
    starts = [SandboxError("no room")] * 11
    async with without_sandboxes(problem, storage, config, starts) as run:
        statuses = seen(run)
        summary = await asyncio.wait_for(run.execute(), 20)
        assert run.progress.notice is None
    assert [status for status, _ in statuses] == ["running", "paused", "running", "finished"]
    assert "sandbox: no sandbox can be started (4 tries)" in statuses[1][1]
    assert "no room; goes on by itself" in statuses[1][1]
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 36)
    assert contents(storage, summary.run, 2) == contents(storage, undisturbed, 2)


async def test_a_run_without_sandboxes_can_be_stopped(problem, storage):
    async with without_sandboxes(problem, storage, shape(), [SandboxError("no room")] * 99) as run:
        task = asyncio.create_task(run.execute())
        await _until(lambda: run.progress.notice is not None)
        assert summarize(storage, run.record.id).status is RunStatus.PAUSED
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
    record = storage.get_run(run.record.id)
    assert record.status is RunStatus.STOPPED
    summary = await resume(problem, storage, record, shape())
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 36)


@pytest.mark.parametrize("generator_first", [True, False])
async def test_two_things_gone_at_once_are_told_together_and_apart(
    problem, storage, monkeypatch, generator_first
):
    monkeypatch.setattr("discovery.pace._FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("discovery.pace._LONGEST_PAUSE_S", 0.002)
    back = {"generator": asyncio.Event(), "sandbox": asyncio.Event()}
    generator = ScriptedGenerator(climb)

    async def ready():
        return back["generator"].is_set()

    async def absent(request):
        if request.prompt.chain == 1 and not back["generator"].is_set():
            raise GeneratorUnavailable("no server")
        async for completion in sample(request):
            yield completion

    sample, generator.sample, generator.ready = generator.sample, absent, ready
    async with without_sandboxes(problem, storage, shape(), [], generator=generator) as run:
        pool, statuses = run._evaluator.pool, seen(run)
        starts, backend = pool.starts, pool._backend

        async def when_back():
            if back["sandbox"].is_set():
                backend.starts = []
            return await starts()

        pool.starts = when_back
        backend.starts = [None, *[SandboxError("no room")] * 9999]
        task = asyncio.create_task(run.execute())
        await _until(lambda: {"no room", "no server"} <= _words(run.progress.notice))
        first, second = ("generator", "sandbox") if generator_first else ("sandbox", "generator")
        text = {"generator": "no server", "sandbox": "no room"}
        back[first].set()
        await _until(lambda: text[first] not in run.progress.notice)
        assert text[second] in run.progress.notice
        assert summarize(storage, run.record.id).status is RunStatus.PAUSED
        back[second].set()
        summary = await asyncio.wait_for(task, 20)
        assert run.progress.notice is None
    assert [status for status, _ in statuses] == [
        "running",
        "paused",
        "paused",
        "paused",
        "running",
        "finished",
    ]
    assert summary.evaluations == 36


def _words(notice):
    return {words for words in ("no room", "no server") if words in (notice or "")}


async def _until(holds):
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def test_a_sandbox_that_can_never_start_fails_the_run_with_the_reason(problem, storage):
    async with without_sandboxes(problem, storage, shape(), [MissingComponent("no numpy")]) as run:
        with pytest.raises(MissingComponent):
            await asyncio.wait_for(run.execute(), 20)
    record = storage.get_run(run.record.id)
    assert (record.status, record.message) == (RunStatus.FAILED, "no numpy")


async def test_the_first_sandbox_that_does_not_start_is_an_error(problem, storage):
    backend = InProcessBackend(starts=[SandboxError("no room")] * 99)
    async with running(problem, storage, shape(), backend=backend) as run:
        run._evaluator.pool._sleep = no_sleep
        with pytest.raises(SandboxUnavailable, match="no room"):
            await asyncio.wait_for(run.execute(), 20)
    assert storage.list_runs() == []


async def test_one_candidate_that_ends_its_sandboxes_does_not_end_the_run(problem, storage):
    def fatal(key, request):
        return (
            "def solve():\n    return 'fatal'\n" if key.step == 2 and key.index == 0 else climb(key, request)
        )

    config = shape()
    backend = InProcessBackend(fatal="'fatal'")
    async with running(problem, storage, config, backend=backend, generator=ScriptedGenerator(fatal)) as run:
        summary = await run.execute()
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 36)
    assert summary.failures[FailureKind.SANDBOX] == 2


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


async def fail_at(problem, storage, config, place, *, generator=None):
    """Run until the generator refuses a completion; the record to resume."""

    def refuse(key, request):
        if key == place:
            raise GeneratorRefused("cut here")
        return climb(key, request)

    async with running(problem, storage, config, generator=generator or ScriptedGenerator(refuse)) as run:
        with pytest.raises(GeneratorRefused):
            await run.execute()
    return storage.get_run(run.record.id)


async def resume(problem, storage, record, config, **options):
    async with running(problem, storage, config, record=resumed(record, config, problem), **options) as run:
        return await run.execute()


async def test_a_generator_that_only_says_it_is_ready_ends_in_a_refusal(problem, storage, monkeypatch):
    monkeypatch.setattr("discovery.pace._FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("discovery.pace._LONGEST_PAUSE_S", 0.002)
    config = shape(chains=1, steps=2)
    generator = ScriptedGenerator(climb, outages=1000)
    async with running(problem, storage, config, generator=generator) as run:
        with pytest.raises(GeneratorRefused, match=r"8 times in a row.*scripted outage"):
            await asyncio.wait_for(run.execute(), 20)
    assert generator._outages == 992
    record = storage.get_run(run.record.id)
    assert record.status is RunStatus.FAILED
    summary = await resume(problem, storage, record, config)
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 6)


async def test_a_generator_that_yields_nothing_ends_in_a_refusal(problem, storage):
    class Mute(ScriptedGenerator):
        async def sample(self, request):
            for completion in ():
                yield completion

    async with running(problem, storage, shape(chains=1), generator=Mute(climb)) as run:
        with pytest.raises(GeneratorRefused, match="yielded nothing"):
            await asyncio.wait_for(run.execute(), 20)


async def test_outages_with_progress_between_them_go_on_for_ever(problem, storage, monkeypatch):
    monkeypatch.setattr("discovery.pace._FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("discovery.pace._LONGEST_PAUSE_S", 0.002)
    generator = ScriptedGenerator(climb, outages=20, yields_before_outage=1)
    config = shape(chains=1, steps=2, candidates=12)
    async with running(problem, storage, config, generator=generator) as run:
        summary = await asyncio.wait_for(run.execute(), 20)
    assert summary.evaluations == 24
    assert generator._outages == 0


@pytest.mark.parametrize("limit", [13, 14, 17, 20, 31])
async def test_another_budget_on_resume_is_spent_exactly(problem, storage, limit):
    """Chain 0 is far ahead of chain 1, which stops with a step open; then the budget shrinks."""
    behind = asyncio.Event()

    def uneven(key, request):
        if key.chain == 1 and key.step == 2:
            raise GeneratorRefused("cut here")
        return climb(key, request)

    class Uneven(ScriptedGenerator):
        async def sample(self, request):
            if request.prompt.step == 5:
                behind.set()
            if request.prompt.chain == 1 and request.prompt.step == 2:
                await behind.wait()
            async for completion in super().sample(request):
                yield completion

    record = await fail_at(problem, storage, shape(), None, generator=Uneven(uneven))
    spent = storage.counts(record.id).evaluations
    assert 12 <= spent - 3 <= 14
    summary = await resume(problem, storage, record, shape(budget=Budget(max_evaluations=limit)))
    assert summary.evaluations == max(limit, spent)
    record = storage.get_run(record.id)
    summary = await resume(problem, storage, record, shape())
    assert summary.evaluations == 36


async def test_stored_completions_beyond_a_smaller_budget_are_not_evaluated(problem, storage):
    config = shape(chains=1, candidates=6, slots=SlotsConfig(evaluation=1))
    generator = ScriptedGenerator(climb)
    async with running(problem, storage, config, generator=generator) as run:
        evaluate = run._evaluator.evaluate

        async def only_the_first(candidate, keep=None):
            if candidate.key.index > 1:
                async with asyncio.timeout(10):
                    while storage.counts(run.record.id).completions < 6:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
                raise SandboxError("gone")
            return await evaluate(candidate, keep)

        run._evaluator.evaluate = only_the_first
        with pytest.raises(SandboxError):
            await run.execute()
    record = storage.get_run(run.record.id)
    (open_step,) = storage.open_steps(record.id, 0)
    before = storage.counts(record.id).evaluations
    assert len(open_step.completions) > len(open_step.evaluations) + 1
    smaller = shape(chains=1, candidates=6, budget=Budget(max_evaluations=before + 1))
    summary = await resume(problem, storage, record, smaller)
    assert summary.evaluations == before + 1


async def test_a_resume_without_options_keeps_the_budget_of_the_last_one(problem, storage):
    first = shape(chains=1, budget=Budget(max_evaluations=3))
    async with running(problem, storage, first) as run:
        await run.execute()
    record = storage.get_run(run.record.id)
    await resume(problem, storage, record, shape(chains=1, budget=Budget(max_evaluations=7)))
    record = storage.get_run(run.record.id)
    assert config_of(record).budget.max_evaluations == 7
    summary = await resume(problem, storage, record, config_of(record))
    assert summary.evaluations == 7
    elsewhere = dataclasses.replace(config_of(record), sandbox=SandboxConfig(backend="process"))
    await resume(problem, storage, record, elsewhere)
    assert config_of(storage.get_run(record.id)).sandbox.backend == "auto"


async def test_a_step_taken_up_again_counts_what_was_stored_meanwhile(problem, storage):
    """A sibling's failure cancels a step while its other records are on their way to the disk."""
    told = []

    async def again(step: OpenStep):
        try:
            await step.complete()
        except SandboxError:
            told.append(step)
            await step.complete()

    config = shape(chains=1, steps=2, candidates=6)
    async with running(problem, storage, config, generator=Wordy(climb)) as run:
        slow, evaluate = storage.append, run._evaluator.evaluate

        async def not_at_first(candidate, keep=None):
            if candidate.key.index == 3 and not told:
                raise SandboxError("gone")
            return await evaluate(candidate, keep)

        run._evaluator.evaluate = not_at_first

        def late(writes):
            time.sleep(0.02)
            return slow(writes)

        storage.append = late
        summary = await run.execute(again)
    assert told
    assert run.progress.evaluations == summary.evaluations == 12
    counts = storage.counts(summary.run)
    assert (run.progress.prompt_tokens, run.progress.completion_tokens) == (
        counts.prompt_tokens,
        counts.completion_tokens,
    )


class Wordy(ScriptedGenerator):
    """Counts 10 tokens for each completion, and may announce that it needs more."""

    async def sample(self, request):
        async for completion in super().sample(request):
            yield dataclasses.replace(completion, tokens=TokenUsage(prompt=0, completion=10))


async def test_chains_wait_for_tokens_in_flight_instead_of_ending(problem, storage):
    generator = Wordy(climb, latency_s=lambda key: 0.01 * key.chain)
    generator.max_tokens = 1000
    config = shape(chains=4, steps=3, candidates=2, budget=Budget(max_tokens=2400))
    async with running(problem, storage, config, generator=generator) as run:
        summary = await asyncio.wait_for(run.execute(), 20)
    assert summary.evaluations == 24, "a chain that met the others' reservations stopped for good"


async def test_tokens_in_flight_never_exceed_the_budget(problem, storage):
    generator = Wordy(climb, latency_s=lambda key: 0.002)
    generator.max_tokens = 10
    config = shape(chains=4, steps=5, candidates=2, budget=Budget(max_tokens=250))
    async with running(problem, storage, config, generator=generator) as run:
        summary = await asyncio.wait_for(run.execute(), 20)
    assert storage.counts(summary.run).completion_tokens == 240


async def test_a_committed_candidate_that_disagrees_later_does_not_end_the_resume(problem, storage):
    """Whatever order records came in, a stored run can be resumed."""
    config = shape(chains=1, steps=2, candidates=2)
    async with running(problem, storage, config) as run:
        summary = await run.execute()
    key = CandidateKey(0, 1, 1)
    (first, _) = storage.committed_steps(summary.run, 0)
    assert first.committed == key
    (search,) = [e for e in storage.evaluations(summary.run, INITIAL) if e.purpose is Purpose.SEARCH]
    failed = dataclasses.replace(
        search,
        key=key,
        purpose=Purpose.VERIFY,
        attempt=1,
        state=EvaluationState.FAILED,
        score=None,
        failure=Failure(kind=FailureKind.DISAGREEMENT, message="not again"),
    )
    leases = storage.acquire(summary.run, [SHARED_CHAIN, 0], "me|1|1|x", 30)
    assert storage.append([Write(lease=leases[1], records=(failed,))]) == []
    storage.release(leases)
    longer = shape(chains=1, steps=4, candidates=2)
    summary = await resume(problem, storage, storage.get_run(summary.run), longer)
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 8)


async def test_leases_are_renewed_while_the_best_is_scored_again(problem, storage, monkeypatch):
    monkeypatch.setattr("discovery.supervision._HEARTBEAT_S", 0.01)
    renewed = []
    renew = storage.renew
    monkeypatch.setattr(storage, "renew", lambda leases, ttl: renewed.append(1) or renew(leases, ttl))
    async with running(problem, storage, shape(chains=1, steps=1)) as run:
        verify = run._evaluator.verify

        async def slow(candidate, score):
            if candidate.key == INITIAL:
                async with asyncio.timeout(10):
                    while len(renewed) < 2:  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            return await verify(candidate, score)

        run._evaluator.verify = slow
        summary = await run.execute()
    assert summary.status is RunStatus.FINISHED


async def test_a_late_heartbeat_does_not_write_over_the_last_status(problem, storage, monkeypatch):
    monkeypatch.setattr("discovery.supervision._HEARTBEAT_S", 0.001)
    update, release = storage.update_run, storage.release
    asked, over = threading.Event(), threading.Event()
    main = threading.get_ident()

    def slow_in_threads(lease, **fields):
        if threading.get_ident() != main:
            asked.set()
            time.sleep(0.05)
        update(lease, **fields)

    def slow_release(leases):
        time.sleep(0.2)
        over.set()
        release(leases)

    monkeypatch.setattr(storage, "update_run", slow_in_threads)
    monkeypatch.setattr(storage, "release", slow_release)
    async with running(problem, storage, shape(chains=1, steps=8)) as run:
        summary = await run.execute()
    assert asked.is_set()
    assert over.is_set()
    assert summary.status is RunStatus.FINISHED


async def test_a_storage_that_refuses_heartbeats_for_a_while_costs_nothing(problem, storage, monkeypatch):
    monkeypatch.setattr("discovery.supervision._HEARTBEAT_S", 0.005)
    refused = Counter()
    renew, update = storage.renew, storage.update_run

    def failing(name, call):
        def called(*arguments, **fields):
            if threading.get_ident() != main and refused[name] < 2:
                refused[name] += 1
                raise StorageError("unable to open database file")
            return call(*arguments, **fields)

        return called

    main = threading.get_ident()
    monkeypatch.setattr(storage, "renew", failing("renew", renew))
    monkeypatch.setattr(storage, "update_run", failing("update", update))
    async with running(problem, storage, shape(chains=1, steps=20)) as run:
        summary = await run.execute()
    assert refused == {"renew": 2, "update": 2}
    assert summary.status is RunStatus.FINISHED


async def test_a_pause_that_cannot_be_stored_is_told_all_the_same(problem, storage, monkeypatch):
    async with running(problem, storage, shape(chains=1, steps=1)) as run:
        supervision = run._supervision
        storage.create_run(run.record)
        supervision.begin(1, run.record.config)
        update = storage.update_run

        def refusing(*arguments, **fields):
            raise StorageError("unable to open database file")

        monkeypatch.setattr(storage, "update_run", refusing)
        await supervision.notice("sandbox", "no descriptors left")
        assert run.progress.notice == "sandbox: no descriptors left; goes on by itself when that is over"
        monkeypatch.setattr(storage, "update_run", update)
        await supervision.notice("sandbox", None)
        assert run.progress.notice is None
        supervision.leave(RunStatus.STOPPED, None)


async def test_the_best_is_the_best_whatever_the_clocks_said(problem, storage):
    async with running(problem, storage, shape(chains=1, steps=2)) as run:
        summary = await run.execute()
    later = dataclasses.replace(
        storage.announcements(summary.run)[0], key=CandidateKey(0, 1, 0), announced_at=datetime.now(UTC)
    )
    assert later.score < summary.best_score
    leases = storage.acquire(summary.run, [SHARED_CHAIN], "me|1|1|x", 30)
    storage.append([Write(lease=leases[0], records=(later,))])
    assert summarize(storage, summary.run).best_score == summary.best_score


class Full:
    """A disk that is full from the given number of writes on."""

    def __init__(self, storage, writes):
        self.storage, self.writes = storage, writes

    def __getattr__(self, name):
        return getattr(self.storage, name)

    def append(self, writes):
        self.writes -= 1
        if self.writes < 0:
            raise StorageFull("no room left for runs.db, nothing was written; free space on its disk")
        return self.storage.append(writes)

    def update_run(self, *args, **kwargs):
        if self.writes < 0:
            raise StorageFull("no room left")
        return self.storage.update_run(*args, **kwargs)


@pytest.mark.parametrize("writes", [0, 1, 2, 5, 9, 14, 20])
async def test_a_full_disk_ends_the_run_which_is_resumed_without_loss(problem, storage, writes):
    config = shape()
    generator = ScriptedGenerator(climb)
    async with running(problem, Full(storage, writes), config, generator=generator) as run:
        with pytest.raises(StorageFull):
            await run.execute()
    assert storage.holder(run.record.id) is None
    assert summarize(storage, run.record.id).status in (RunStatus.STOPPED, RunStatus.FAILED)
    stored = storage.counts(run.record.id).completions
    again = ScriptedGenerator(climb)
    summary = await resume(problem, storage, storage.get_run(run.record.id), config, generator=again)
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 36)
    assert len(again.requested) == 36 - stored
