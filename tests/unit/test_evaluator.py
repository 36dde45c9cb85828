import asyncio
import dataclasses
import os
import signal
from datetime import UTC, datetime

import pytest

from discovery.errors import ConfigError, SandboxError, SandboxUnavailable, StorageError
from discovery.evaluator import Evaluator
from discovery.judging import Judging
from discovery.plugins import load_problem
from discovery.records import (
    Candidate,
    CandidateKey,
    EvaluationState,
    Failure,
    FailureKind,
    Purpose,
    Score,
)
from discovery.repeats import Cores
from discovery.sandbox.base import SandboxResult
from discovery.testing.fakes import InProcessBackend

PLUGIN = """
import os, time
from discovery import Invalid, Repeats, Score, problem

STATE = []

@problem(name="toy", statement="Return a number.", initial="def solve():\\n    return 0.0\\n",
         bounds=(None, 100.0), scorer_timeout_s=1.0, **{settings})
def score(program):
    value = program.call("solve")
    STATE.append(value)
    if value == "twice":
        program.call("solve")
        return 2.0
    if value == "die":
        os._exit(3)
    if value == "hang":
        time.sleep(60)
    if value == "raise":
        raise RuntimeError("odd")
    if value == "flaky":
        return float(len(STATE))
    if value == "wrong type":
        return "high"
    if value == "odd metrics":
        return Score(value=1.0, metrics={{"x": float("nan")}})
    if not isinstance(value, (int, float)):
        raise Invalid(f"{{value!r}} is not a number")
    return Score(value=value, metrics={{"twice": 2 * value}}, private={{"calls": len(STATE)}}, feedback="ok",
                 artifact=[value])
"""


class Odd(InProcessBackend):
    """Its first sandboxes are odd after their first request."""

    def __init__(self, times, starts):
        super().__init__(starts=starts)
        self.times = times

    def create(self, spec):
        sandbox = super().create(spec)
        run = sandbox.run

        async def once(request):
            result = await run(request)
            if self.times:
                self.times -= 1
                sandbox.suspicion = "left a process"
            return result

        sandbox.run = once
        return sandbox


def candidate(value, index=0):
    return Candidate(
        key=CandidateKey(0, 1, index),
        source=f"def solve():\n    return {value!r}\n",
        parents=(),
        created_at=datetime.now(UTC),
    )


@pytest.fixture
def toy(tmp_path):
    def load(settings="{}", timeout="1.0"):
        path = tmp_path / "toy.py"
        plugin = PLUGIN.replace("scorer_timeout_s=1.0", f"scorer_timeout_s={timeout}")
        path.write_text(plugin.replace("{settings}", settings).replace("{{", "{").replace("}}", "}"))
        return load_problem(str(path))

    return load


@pytest.fixture
async def evaluators():
    made = []

    async def make(problem, backend=None, **options):
        evaluator = Evaluator(problem, backend or InProcessBackend(), **{"slots": 1, **options})
        made.append(evaluator)
        await evaluator.start()
        return evaluator

    yield make
    for evaluator in made:
        await evaluator.close()


async def test_a_score_comes_with_all_that_the_scorer_said(toy, evaluators):
    problem = toy()
    evaluation = await (await evaluators(problem)).evaluate(candidate(2.5))
    assert evaluation.state is EvaluationState.SCORED
    assert evaluation.score == Score(
        value=2.5, metrics={"twice": 5.0}, private={"calls": 1}, feedback="ok", artifact=[2.5]
    )
    assert evaluation.scorer_version == problem.version
    assert evaluation.sandbox == "in-process"


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("text", FailureKind.INVALID, "'text' is not a number"),
        ("raise", FailureKind.SCORER, "RuntimeError: odd"),
        ("wrong type", FailureKind.SCORER, "'high'"),
        ("odd metrics", FailureKind.SCORER, "finite"),
        (1e6, FailureKind.OUT_OF_BOUNDS, "1000000.0"),
        (float("nan"), FailureKind.CRASHED, "nan"),
        ("die", FailureKind.SCORER, "ended while it scored"),
        ("hang", FailureKind.SCORER, "the scorer was running"),
    ],
)
async def test_whatever_goes_wrong_is_a_typed_failure_and_the_next_one_scores(
    toy, evaluators, value, kind, words
):
    evaluator = await evaluators(toy())
    evaluation = await evaluator.evaluate(candidate(value))
    assert evaluation.failure is not None
    assert (evaluation.failure.kind, words in evaluation.failure.message) == (kind, True), evaluation.failure
    after = await evaluator.evaluate(candidate(1.0, index=1))
    assert after.score is not None


async def test_a_sandbox_that_fails_is_replaced_and_the_evaluation_repeated(toy, evaluators):
    backend = InProcessBackend([SandboxError("gone"), None])
    evaluator = await evaluators(toy(), backend)
    evaluation = await evaluator.evaluate(candidate(1.0))
    assert evaluation.score is not None
    assert evaluation.attempt == 1
    assert [sandbox.closed for sandbox in backend.made] == [True, False]


async def test_the_last_attempt_is_in_a_sandbox_that_was_seen_to_work(toy, evaluators):
    backend = InProcessBackend(
        [SandboxError("gone"), SandboxError("gone"), SandboxError("probe"), None, None]
    )
    evaluator = await evaluators(toy(), backend)
    evaluation = await evaluator.evaluate(candidate(1.0))
    assert evaluation.score is not None
    assert evaluation.attempt == 2
    assert "def probe" in backend.sources[-2]
    assert all(sandbox.closed for sandbox in backend.made)
    assert len(backend.made) == 4


async def test_a_candidate_that_ends_every_sandbox_is_to_blame_and_the_next_one_scores(toy, evaluators):
    backend = InProcessBackend(fatal="'fatal'")
    evaluator = await evaluators(toy(), backend)
    evaluation = await evaluator.evaluate(candidate("fatal"))
    assert evaluation.failure.kind is FailureKind.SANDBOX
    assert "3 sandboxes" in evaluation.failure.message
    assert evaluation.scorer_version is not None
    assert len(backend.made) == 3
    assert all(sandbox.closed for sandbox in backend.made)
    assert (await evaluator.evaluate(candidate(1.0, 1))).score is not None


async def no_sleep(seconds):
    await asyncio.sleep(0)


async def test_a_machine_without_memory_blames_nobody(toy, evaluators):
    evaluator = await evaluators(toy(), InProcessBackend([SandboxUnavailable("no memory left")] * 5))
    waited = []

    async def wait(error, tries):
        waited.append((str(error), tries, evaluator.meter.busy))

    evaluator.pool.wait = wait
    evaluation = await evaluator.evaluate(candidate(1.0))
    assert (evaluation.score.value, evaluation.attempt) == (1.0, 0)
    assert waited == [("no memory left", tries, 0) for tries in range(1, 6)]


async def test_a_candidate_is_not_blamed_while_honest_programs_fail_too(toy, evaluators):
    evaluator = await evaluators(toy(), InProcessBackend([SandboxError("gone")] * 99))
    evaluator.pool._sleep = no_sleep
    with pytest.raises(SandboxUnavailable, match=r"tries.*gone"):
        await evaluator.evaluate(candidate(1.0))


async def test_a_program_past_its_own_limit_costs_no_sandbox_and_no_worker(toy, evaluators):
    backend = InProcessBackend()
    evaluator = await evaluators(toy(), backend)
    await evaluator.evaluate(candidate(1.0))
    (slot,) = evaluator.pool._live
    worker = slot.worker.pid

    async def run(request):
        return SandboxResult(failure=Failure(kind=FailureKind.TIMEOUT, message="too long"), wall_s=1.0)

    backend.made[0].run = run
    assert (await evaluator.evaluate(candidate(2.0, 1))).failure.kind is FailureKind.TIMEOUT
    assert slot.worker.pid == worker
    assert len(backend.made) == 1


@pytest.mark.parametrize("value", ["raise", "hang"])
async def test_a_scorer_that_fails_costs_its_worker_but_no_sandbox(toy, evaluators, value):
    backend = InProcessBackend()
    evaluator = await evaluators(toy(timeout="0.2" if value == "hang" else "5.0"), backend)
    await evaluator.evaluate(candidate(1.0))
    (slot,) = evaluator.pool._live
    worker = slot.worker.pid
    assert (await evaluator.evaluate(candidate(value, 1))).failure.kind is FailureKind.SCORER
    assert slot.worker.pid != worker
    assert (await evaluator.evaluate(candidate(2.0, 2))).score.private == {"calls": 1}
    assert len(backend.made) == 1


async def test_what_dead_processes_left_is_removed_at_the_start(toy, evaluators):
    backend = InProcessBackend()
    backend.sweep = lambda: ["container discovery-1"]
    assert (await evaluators(toy(), backend)).swept == ("container discovery-1",)


async def test_equal_sources_are_evaluated_once_even_at_the_same_time(toy, evaluators):
    backend = InProcessBackend()
    evaluator = await evaluators(toy(), backend, slots=4)
    first, second, third = await asyncio.gather(*(evaluator.evaluate(candidate(1.0, i)) for i in range(3)))
    assert len(backend.sources) == 1
    assert [e.duplicate_of for e in (first, second, third)] == [None, first.key, first.key]
    assert second.score == first.score
    assert second.durations is None


async def test_a_stored_result_is_taken_over(toy, evaluators):
    backend = InProcessBackend()
    known = {}
    evaluator = await evaluators(toy(), backend, find_source=lambda source, *_: known.get(source))
    first = candidate(1.0)
    known[first.source_hash] = await evaluator.evaluate(first)
    evaluator.remember(first.source_hash)
    again = await evaluator.evaluate(candidate(1.0, 7))
    assert again.duplicate_of == first.key
    assert len(backend.sources) == 1


async def test_an_equal_program_waits_until_the_first_ones_result_is_kept(toy, evaluators):
    backend, known, storing = InProcessBackend(), {}, asyncio.Event()
    evaluator = await evaluators(toy(), backend, slots=4, find_source=lambda source, *_: known.get(source))

    async def keep(evaluation):
        storing.set()
        await asyncio.sleep(0.02)
        kept = dataclasses.replace(evaluation, suspicion=evaluation.suspicion or "too good")
        known.setdefault(candidate(1.0).source_hash, kept)
        return kept

    first = asyncio.create_task(evaluator.evaluate(candidate(1.0), keep))
    await storing.wait()
    during = await evaluator.evaluate(candidate(1.0, 1))
    after = await evaluator.evaluate(candidate(1.0, 2))
    assert len(backend.sources) == 1
    key = (await first).key
    assert [(e.duplicate_of, e.suspicion) for e in (during, after)] == [(key, "too good")] * 2


async def test_a_result_that_could_not_be_kept_is_nobodys(toy, evaluators):
    backend = InProcessBackend()
    evaluator = await evaluators(toy(), backend, slots=4)

    async def refuse(evaluation):
        await asyncio.sleep(0.01)
        raise StorageError("full")

    first = asyncio.create_task(evaluator.evaluate(candidate(1.0), refuse))
    await asyncio.sleep(0)
    other = await evaluator.evaluate(candidate(1.0, 1))
    with pytest.raises(StorageError):
        await first
    assert other.duplicate_of is None
    assert len(backend.sources) == 2
    assert not evaluator._twins._in_flight


async def test_a_program_is_not_blamed_for_a_replacement_that_does_not_start(toy, evaluators):
    """Its second request finds the sandbox odd, and no new one starts: three times, more than it has attempts."""
    gone = SandboxError("no room")
    backend = Odd(times=3, starts=[None, gone] * 3)
    evaluator = await evaluators(toy(), backend)
    evaluator.pool._sleep = no_sleep
    assert (await evaluator.evaluate(candidate("twice"))).score.value == 2.0
    assert evaluator.meter.busy == 0


async def test_scorers_with_noise_are_asked_every_time(toy, evaluators):
    backend = InProcessBackend()
    evaluator = await evaluators(toy('{"deterministic": False}'), backend)
    await evaluator.evaluate(candidate(1.0))
    await evaluator.evaluate(candidate(1.0, 1))
    assert len(backend.sources) == 2


async def test_verification_uses_a_process_that_has_never_scored(toy, evaluators):
    evaluator = await evaluators(toy())
    await evaluator.evaluate(candidate(1.0))
    first = await evaluator.evaluate(candidate(2.0, 1))
    assert first.score.private == {"calls": 2}
    again = await evaluator.verify(candidate(2.0, 1), first)
    assert again.purpose is Purpose.VERIFY
    assert again.score.private == {"calls": 1}


async def test_a_score_that_depends_on_what_was_scored_before_does_not_verify(toy, evaluators):
    evaluator = await evaluators(toy())
    await evaluator.evaluate(candidate(1.0))
    first = await evaluator.evaluate(candidate("flaky", 1))
    again = await evaluator.verify(candidate("flaky", 1), first)
    assert again.failure.kind is FailureKind.DISAGREEMENT
    assert "2.0 first" in again.failure.message


async def test_data_is_scored_without_a_sandbox(toy, evaluators):
    evaluator = await evaluators(toy(), InProcessBackend([SandboxError("must not be used")]))
    evaluation = await evaluator.evaluate_data(candidate("source"), 3.0)
    assert evaluation.score.value == 3.0


async def test_cancelling_an_evaluation_frees_its_slot(toy, evaluators):
    evaluator = await evaluators(toy())
    task = asyncio.create_task(evaluator.evaluate(candidate("hang")))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await evaluator.evaluate(candidate(1.0, 1))).score is not None
    assert evaluator.meter.busy == 0


async def test_a_scorers_host_that_is_killed_is_started_again_and_nobody_is_blamed(toy, evaluators):
    evaluator = await evaluators(toy())
    assert (await evaluator.evaluate(candidate(1.0))).score is not None
    os.kill(evaluator._host._process.pid, signal.SIGKILL)
    after = await evaluator.evaluate(candidate(2.0, 1))
    assert after.score.value == 2.0
    os.kill(evaluator._host._process.pid, signal.SIGKILL)
    assert (await evaluator.verify(candidate(2.0, 1), after)).failure is None


@pytest.mark.parametrize("deaths", [2, 1000])
async def test_a_killed_host_blames_nobody_unless_it_never_lives(toy, evaluators, monkeypatch, deaths):
    monkeypatch.setattr("discovery.evaluator._MOST_EXCUSED", 4)
    evaluator = await evaluators(toy())
    judge, killed = Judging.once, []

    async def judged(*arguments):
        if len(killed) < deaths:
            killed.append(evaluator._host._process.pid)
            os.kill(evaluator._host._process.pid, signal.SIGKILL)
            evaluator._host._process.wait()
        return await judge(*arguments)

    monkeypatch.setattr(Judging, "once", judged)
    evaluation = await evaluator.evaluate(candidate(2.0))
    if deaths == 2:
        assert (evaluation.score.value, evaluation.attempt) == (2.0, 0)
    else:
        assert evaluation.failure.kind is FailureKind.SCORER


async def test_a_scorers_host_that_cannot_start_again_is_infrastructure(toy, evaluators, monkeypatch):
    evaluator = await evaluators(toy())
    os.kill(evaluator._host._process.pid, signal.SIGKILL)
    evaluator._host._process.wait()
    monkeypatch.setattr("discovery.scoring.client.sys.executable", "/bin/false")
    evaluator.pool._sleep = no_sleep
    with pytest.raises(SandboxError, match="no scorer's process can be started"):
        await evaluator.evaluate(candidate(1.0))
    monkeypatch.undo()
    assert (await evaluator.evaluate(candidate(1.0))).score is not None


async def test_a_sandbox_that_cannot_be_made_is_infrastructure(toy, evaluators, monkeypatch):
    evaluator = await evaluators(toy())

    async def full(self):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("discovery.testing.fakes.InProcessSandbox.start", full)
    evaluator.pool._sleep = no_sleep
    with pytest.raises(SandboxError, match="No space left"):
        await evaluator.evaluate(candidate(1.0))


async def test_a_machine_with_too_few_cpus_is_told_before_anything_runs(toy):
    with pytest.raises(
        ConfigError, match=rf"1025 in all, and this process may use {len(os.sched_getaffinity(0))}"
    ):
        Evaluator(toy('{"repeats": Repeats(cores=1024)}'), InProcessBackend(), slots=1)


async def test_each_evaluation_has_cores_of_its_own(toy, evaluators, monkeypatch):
    """And there are no more evaluations at once than there are cores for."""
    monkeypatch.setattr("discovery.evaluator.Cores", lambda each: Cores(each, range(5)))
    monkeypatch.setattr(Cores, "keep_off", lambda self: None)
    at_once, used = [], []

    class Watching(InProcessBackend):
        def create(self, spec):
            sandbox = super().create(spec)
            run = sandbox.run

            async def watched(request):
                assert not set(request.cores) & set().union(*at_once)
                at_once.append(request.cores)
                used.append(request.cores)
                await asyncio.sleep(0.01)
                at_once.remove(request.cores)
                return await run(request)

            sandbox.run = watched
            return sandbox

    settings = '{"deterministic": False, "repeats": Repeats(count=2, cores=2, baseline=True, comparison="difference")}'
    evaluator = await evaluators(toy(settings), Watching(), slots=8)
    assert evaluator.meter.slots == 2
    found = await asyncio.gather(*(evaluator.evaluate(candidate(float(i), i)) for i in range(5)))
    assert [e.score.value for e in found] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert set(used) == {(1, 2), (3, 4)}
    assert len(used) == 5 * 2 * 2
    # One evaluation stays on its cores from its first repeat to its last.
    again = await evaluator.verify(candidate(4.0, 4), found[4])
    assert (again.score.value, len(set(used[-4:]))) == (4.0, 1)


async def test_the_baseline_is_the_initial_candidate_or_the_program_that_is_shipped(toy, evaluators):
    settings = '{"deterministic": False, "repeats": Repeats(count=2, baseline=True, comparison="difference")}'
    initial = toy(settings)
    shipped = dataclasses.replace(initial, baseline="def solve():\n    return 2.5\n")
    scores = [
        (await (await evaluators(each)).evaluate(candidate(4.0))).score.value for each in (initial, shipped)
    ]
    assert scores == [4.0, 1.5]


async def test_data_is_not_scored_beside_a_baseline(toy, evaluators):
    evaluator = await evaluators(toy('{"repeats": Repeats(count=3, baseline=True)}'))
    evaluation = await evaluator.evaluate_data(candidate("source"), 3.0)
    assert "baseline" in evaluation.failure.message


VERIFY = """
import time

def verify(solution):
    if solution == [9.0]:
        time.sleep(60)
    return int(4 * solution[0]) // 4
"""


@pytest.fixture
def exact(toy, tmp_path):
    """The toy with an exact scorer, which is right of whole numbers only."""

    def load(settings="{}"):
        (tmp_path / "verify.py").write_text(VERIFY)
        path = toy(settings, timeout="5.0").path
        return load_problem(str(path.rename(tmp_path / "problem.py").parent))

    return load


async def test_a_search_does_without_the_exact_score_and_everything_else_has_it(exact, evaluators):
    evaluator = await evaluators(exact())
    first = await evaluator.evaluate(candidate(2.0))
    assert first.score.exact is None
    doubtful = dataclasses.replace(first, suspicion="odd")
    found = [
        await evaluator.verify(candidate(2.0), first),
        await evaluator.verify(candidate(2.0), doubtful),
        await evaluator.rescore(candidate(2.0)),
        await evaluator.evaluate_data(candidate("source"), 2.0),
    ]
    assert [e.score.exact for e in found] == ["2.0000000000000000000"] * 4
    assert [e.score.value for e in found] == [2.0] * 4


async def test_a_second_scoring_that_is_not_confirmed_exactly_disagrees(exact, evaluators):
    evaluator = await evaluators(exact())
    first = await evaluator.evaluate(candidate(2.5))
    assert first.score.value == 2.5
    again = await evaluator.verify(candidate(2.5), first)
    assert again.failure.kind is FailureKind.DISAGREEMENT
    assert "scored 2.5 first" in again.failure.message
    assert "says 2.5, and the exact score is 2.0000000000000000000" in again.failure.message
    for alone in (
        await evaluator.rescore(candidate(2.5)),
        await evaluator.evaluate_data(candidate("x"), 2.5),
    ):
        assert alone.failure.kind is FailureKind.INVALID


async def test_the_exact_scorer_has_a_time_limit_of_its_own_and_holds_nobody_up(exact, evaluators):
    evaluator = await evaluators(exact("{'exact_timeout_s': 1.0}"), slots=2)
    first = await evaluator.evaluate(candidate(9.0))
    slow = asyncio.create_task(evaluator.verify(candidate(9.0), first))
    others = [await evaluator.evaluate(candidate(float(n), n)) for n in range(1, 4)]
    assert not slow.done()
    assert all(e.score is not None for e in others)
    again = await slow
    assert again.failure.kind is FailureKind.DISAGREEMENT
    assert "longer than exact_timeout_s = 1 s" in again.failure.message
    assert (await evaluator.verify(candidate(3.0, 3), others[2])).score.exact == "3.0000000000000000000"
