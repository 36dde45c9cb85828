"""What counts: results in doubt are scored again before they do; noisy ones are announced by their second value."""

import asyncio
import itertools
import re
from contextlib import asynccontextmanager

import pytest

from discovery import data
from discovery.budget import Budget
from discovery.config import RunConfig, SearchConfig
from discovery.errors import GeneratorRefused
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.progress import Quarantine
from discovery.records import INITIAL, CandidateKey, FailureKind, Purpose
from discovery.run import Run, new_run, resumed
from discovery.sandbox.base import SandboxResult
from discovery.selection import make_selector
from discovery.step import OpenStep
from discovery.storage import open_storage
from discovery.storage.base import Write
from discovery.summary import summarize
from discovery.testing.fakes import InProcessBackend, InProcessSandbox, ScriptedGenerator

PLUGIN = """
from discovery import Repeats, problem

@problem(name="climb", statement="Return a number.", initial="def solve():\\n    return 0\\n",
         bounds=(None, 1000.0), **SETTINGS)
def score(program):
    return float(program.call("solve"))
"""


class Lying(InProcessBackend):
    """Sandboxes that hand out something else for the first run of some sources.

    Args:
        lies: By the number that the program returns: what is handed out in its first runs, in order.
    """

    def __init__(self, lies):
        super().__init__()
        self.lies = {number: list(values) for number, values in lies.items()}
        self.where = []

    def create(self, spec):
        sandbox = InProcessSandbox(self)
        run, here = sandbox.run, len(self.made)

        async def lying(request):
            result = await run(request)
            told = self.lies.get(number_in(request.source))
            self.where.append((number_in(request.source), here))
            return SandboxResult(data=data.encode(told.pop(0)), wall_s=0.001) if told else result

        sandbox.run = lying
        self.made.append(sandbox)
        return sandbox


def number_in(source):
    return int(re.search(r"return (-?\d+)", source).group(1))


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
async def running(problem, storage, backend, numbers, *, record=None, until=None, slots=1):
    """A run of one chain whose candidates return these numbers, a list for each step."""
    config = RunConfig(
        problem="climb",
        search=SearchConfig(chains=1, steps=len(numbers), candidates=len(numbers[0])),
        budget=Budget(until=until),
    )
    is_new = record is None
    record = new_run(problem, config) if is_new else resumed(record, config, problem)
    evaluator = Evaluator(
        problem,
        backend,
        slots=slots,
        find_source=lambda *place: storage.find_source(record.id, *place),
    )
    await evaluator.start()

    def answer(key, request):
        number = numbers[key.step - 1][key.index]
        if number is None:
            raise GeneratorRefused("cut here")
        return f"def solve():\n    return {number}\n"

    try:
        yield Run(
            record,
            config,
            problem,
            storage,
            generator=ScriptedGenerator(answer),
            selector=make_selector("rpucg", problem.direction, {}),
            evaluator=evaluator,
            is_new=is_new,
        )
    finally:
        await evaluator.close()


def second(storage, run, key):
    return [e for e in storage.evaluations(run, key) if e.purpose is Purpose.VERIFY]


def claimed(storage, run, key):
    return storage.evaluations(run, key)[0].score.value


FIRST, OTHER = CandidateKey(0, 1, 0), CandidateKey(0, 1, 1)


async def test_a_forged_jump_never_counts(climb, storage):
    backend = Lying({7: [900.0]})
    async with running(climb("{'max_jump': 50}"), storage, backend, [[7, 3]], until=500) as run:
        summary = await run.execute()
        assert run.progress.quarantine == Quarantine(total=1, disagreed=1)
        assert run.progress.failures == {FailureKind.DISAGREEMENT: 1}
        assert run.progress.chains[0].best == 3.0
    (step,) = storage.committed_steps(summary.run, 0)
    assert step.committed == OTHER
    assert [a.score for a in storage.announcements(summary.run)] == [0.0, 3.0]
    assert summary.message == "all steps taken"
    search, again = storage.evaluations(summary.run, FIRST)
    assert search.score.value == 900.0
    assert "900.0 is better than the run's best so far, 0.0, by 900" in search.suspicion
    assert again.failure.kind is FailureKind.DISAGREEMENT
    assert "900.0 first" in again.failure.message
    assert "7.0" in again.failure.message
    assert again.suspicion == search.suspicion
    assert summary.failures == {"disagreement": 1}
    assert summary.evaluations == 2
    # The second scoring had a sandbox that nothing had used, and which nothing uses again.
    places = [place for number, place in backend.where if number == 7]
    assert len(set(places)) == 2
    assert [place for _, place in backend.where].count(places[1]) == 1
    assert backend.made[places[1]].closed


async def test_an_honest_jump_counts_once_it_is_confirmed(climb, storage):
    async with running(climb("{'max_jump': 50}"), storage, Lying({}), [[900, 3]], until=500) as run:
        summary = await run.execute()
        assert run.progress.quarantine == Quarantine(total=1, agreed=1)
    assert (summary.best, summary.best_score) == (FIRST, 900.0)
    (again,) = second(storage, summary.run, FIRST)
    assert again.score.value == 900.0
    assert "at most 50" in again.suspicion
    # An ordinary best was scored again as well, without any doubt.
    (ordinary,) = second(storage, summary.run, INITIAL)
    assert ordinary.suspicion is None


async def test_without_a_declared_jump_nothing_is_improbable(climb, storage):
    async with running(climb(), storage, Lying({}), [[900, 3]]) as run:
        summary = await run.execute()
        assert run.progress.quarantine == Quarantine()
    assert summary.best_score == 900.0


async def test_out_of_bounds_is_confirmed_or_refuted_too(climb, storage):
    backend = Lying({5: [1e6]})
    async with running(climb(), storage, backend, [[2000, 5]]) as run:
        summary = await run.execute()
        assert run.progress.quarantine == Quarantine(total=2, agreed=1, disagreed=1)
    assert summary.failures == {"out_of_bounds": 1, "disagreement": 1}
    (again,) = second(storage, summary.run, FIRST)
    assert again.failure.kind is FailureKind.OUT_OF_BOUNDS
    (again,) = second(storage, summary.run, OTHER)
    assert "out_of_bounds" in again.failure.message
    assert summary.best == INITIAL


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_crash_between_the_two_scorings_lets_nothing_through(climb, storage, is_stored):
    problem = climb("{'max_jump': 50}")
    async with running(problem, storage, Lying({7: [900.0]}), [[7, 3]], until=500) as run:
        verify = run._evaluator.verify

        async def cut(candidate, claimed, *rest):
            if candidate.key == FIRST and not is_stored:
                raise GeneratorRefused("cut here")
            again = await verify(candidate, claimed, *rest)
            if candidate.key == FIRST:
                storage.append([Write(lease=run._supervision.leases[0], records=(again,))])
                raise GeneratorRefused("cut here")
            return again

        run._evaluator.verify = cut
        with pytest.raises(GeneratorRefused):
            await run.execute()
    record = storage.get_run(run.record.id)
    assert [a.score for a in storage.announcements(record.id)][-1] < 500
    assert 900.0 not in [score for _, score in storage.scores(record.id)]
    assert storage.chain_summaries(record.id)[0].best_score < 500
    backend = Lying({})
    async with running(problem, storage, backend, [[7, 3]], until=500, record=record) as run:
        summary = await run.execute()
        assert run.progress.quarantine == Quarantine(total=1, disagreed=1)
        assert run.progress.failures == {FailureKind.DISAGREEMENT: 1}
    assert len(second(storage, summary.run, FIRST)) == 1
    (step,) = storage.committed_steps(summary.run, 0)
    assert step.committed == OTHER
    assert (summary.best_score, summary.evaluations) == (3.0, 2)


async def test_a_second_scoring_that_is_stored_is_not_made_again(climb, storage):
    """By a process that ended before it could announce, or of an equal program."""
    problem = climb("{'max_jump': 50}")
    async with running(problem, storage, Lying({}), [[700, 3]], until=500) as run:
        verify = run._evaluator.verify

        async def cut(candidate, claimed):
            again = await verify(candidate, claimed)
            if candidate.key == FIRST:
                storage.append([Write(lease=run._supervision.leases[0], records=(again,))])
                raise GeneratorRefused("cut here")
            return again

        run._evaluator.verify = cut
        with pytest.raises(GeneratorRefused):
            await run.execute()
    record = storage.get_run(run.record.id)
    (before,) = second(storage, record.id, FIRST)
    async with running(problem, storage, Lying({}), [[700, 3]], until=500, record=record) as run:
        summary = await run.execute()
        assert run.progress.quarantine == Quarantine(total=1, agreed=1)
    assert second(storage, record.id, FIRST) == [before]
    assert (summary.best, summary.best_score) == (FIRST, 700.0)


async def test_equal_programs_share_their_refutation(climb, storage):
    """Also when the forged score is no longer anything special."""
    backend = Lying({7: [90.0]})
    async with running(climb("{'max_jump': 50}"), storage, backend, [[7, 3], [40, 80], [99, 7]]) as run:
        summary = await run.execute()
    late = CandidateKey(0, 3, 1)
    assert storage.evaluations(summary.run, late)[0].duplicate_of == FIRST
    assert {FIRST, late} == set(storage.disagreements(summary.run))
    assert "same program as candidate 0.1.0" in storage.disagreements(summary.run)[late].message
    assert summary.failures == {"disagreement": 2}
    assert len([1 for number, _ in backend.where if number == 7]) == 2


async def test_equal_programs_at_once_share_it_too(climb, storage):
    backend = Lying({7: [900.0]})
    async with running(climb("{'max_jump': 50}"), storage, backend, [[7] * 6], slots=4) as run:
        summary = await run.execute()
        assert run.progress.quarantine == Quarantine(total=1, disagreed=1)
    keys = [CandidateKey(0, 1, i) for i in range(6)]
    assert [claimed(storage, summary.run, key) for key in keys] == [900] * 6
    assert set(storage.disagreements(summary.run)) == set(keys)
    assert len([1 for number, _ in backend.where if number == 7]) == 2, "once, and once again"
    assert summary.best_score == 0.0


async def test_what_an_equal_program_was_found_to_be_holds_for_the_first_one_too(climb, storage, monkeypatch):
    """A run that is resumed may come to the later one first."""
    problem, second_one = climb("{'max_jump': 50}"), CandidateKey(0, 1, 1)
    async with running(problem, storage, Lying({7: [900.0]}), [[7, 7]], slots=4) as run:
        evaluate, verify, both_stored = run._evaluator.evaluate, run._evaluator.verify, asyncio.Event()

        async def watched(candidate, keep=None):
            evaluation = await evaluate(candidate, keep)
            if candidate.key == second_one:
                both_stored.set()
            return evaluation

        async def cut(candidate, claimed):
            if candidate.key == INITIAL:
                return await verify(candidate, claimed)
            await both_stored.wait()
            raise GeneratorRefused("cut here")

        run._evaluator.evaluate, run._evaluator.verify = watched, cut
        with pytest.raises(GeneratorRefused):
            await run.execute()
    record = storage.get_run(run.record.id)
    judge, judged = OpenStep._judge, asyncio.Event()

    async def late(self, completion, stored):
        if completion.key == FIRST:
            await judged.wait()
        outcome = await judge(self, completion, stored)
        judged.set()
        return outcome

    monkeypatch.setattr(OpenStep, "_judge", late)
    # Scored once more, the first one would get away with it.
    async with running(problem, storage, Lying({7: [7.0, 900.0]}), [[7, 7]], record=record) as run:
        summary = await run.execute()
        assert run.progress.quarantine == Quarantine(total=1, disagreed=1)
    assert set(storage.disagreements(summary.run)) == {FIRST, second_one}
    assert "same program as candidate 0.1.1" in storage.disagreements(summary.run)[FIRST].message
    assert summary.best_score == 0.0
    assert summary.quarantine == Quarantine(total=1, disagreed=1)


async def test_noise_without_repeats_is_confirmed_by_any_valid_score_with_a_note(climb, storage):
    settings = "{'max_jump': 50, 'deterministic': False}"
    async with running(climb(settings), storage, Lying({7: [900.0, 8.0]}), [[7, 3]]) as run:
        summary = await run.execute()
    (again,) = second(storage, summary.run, FIRST)
    assert again.score.value == 8.0
    assert "any valid score confirms it" in again.suspicion
    # What is reported is the second value: the first was noticed because it was high.
    assert (summary.best, summary.best_score) == (FIRST, 8.0)


async def test_a_lucky_score_is_not_announced(climb, storage):
    """The first of several noisy ones is too high on average: the winner's curse."""
    settings = "{'repeats': Repeats(count=2, statistic='mean')}"
    numbers = [[10, 9], [8, 7]]
    backend = Lying({8: [9.0, 15.0], 10: [9.0, 11.0, 8.0, 12.0]})
    async with running(climb(settings), storage, backend, numbers) as run:
        summary = await run.execute()
    lucky = CandidateKey(0, 2, 0)
    first, again = storage.evaluations(summary.run, lucky)
    assert first.score.value == 12.0 > summary.best_score
    assert again.score.value == 8.0
    assert (summary.best, summary.best_score) == (FIRST, 10.0)
    assert lucky not in [a.key for a in storage.announcements(summary.run)]
    (second_round,) = second(storage, summary.run, FIRST)
    assert second_round.score.samples == (8.0, 12.0)


async def test_repeats_whose_intervals_do_not_overlap_disagree(climb, storage):
    settings = "{'repeats': Repeats(count=6)}"
    lies = [*itertools.repeat(90.0, 5), 91.0]
    async with running(climb(settings), storage, Lying({7: lies}), [[7, 3]]) as run:
        summary = await run.execute()
    assert "intervals do not overlap" in storage.disagreements(summary.run)[FIRST].message
    assert summary.best_score == 3.0


async def test_second_scorings_are_never_charged(climb, storage):
    async with running(climb("{'max_jump': 1}"), storage, Lying({}), [[5, 10], [20, 40]]) as run:
        summary = await run.execute()
    assert len(storage.verifications(summary.run)) == 5
    assert (summary.evaluations, storage.counts(summary.run).evaluations) == (4, 4)


WRONG_ONCE = """
from discovery import Score, problem

@problem(name="climb", statement="Return a number.", initial="def solve():\\n    return 0\\n")
def score(program):
    value = program.call("solve")
    # A scorer whose rounding somebody found out.
    return Score(value=value + 1e-6 if value % 2 else float(value), artifact=[value])
"""


async def test_what_the_exact_scorer_does_not_confirm_is_never_announced(tmp_path, storage):
    (tmp_path / "problem.py").write_text(WRONG_ONCE)
    (tmp_path / "verify.py").write_text("def verify(solution):\n    return solution[0]\n")
    problem = load_problem(str(tmp_path))
    async with running(problem, storage, InProcessBackend(), [[7, 6], [9, 8]]) as run:
        summary = await run.execute()
        assert run.progress.failures == {FailureKind.DISAGREEMENT: 2}
    assert [a.score for a in storage.announcements(summary.run)] == [0.0, 6.0, 8.0]
    assert [step.committed for step in storage.committed_steps(summary.run, 0)][-2:] == [
        CandidateKey(0, 1, 1),
        CandidateKey(0, 2, 1),
    ]
    quick, again = storage.evaluations(summary.run, FIRST)
    assert quick.score.value == 7.000001
    assert again.failure.kind is FailureKind.DISAGREEMENT
    assert "says 7.000001, and the exact score is 7.0000000000000000000" in again.failure.message
    told = summarize(storage, summary.run)
    assert (told.best_score, told.best_exact) == (8.0, "8.0000000000000000000")


async def test_the_exact_score_of_an_equal_programs_best_is_found(tmp_path, storage):
    (tmp_path / "problem.py").write_text(WRONG_ONCE)
    (tmp_path / "verify.py").write_text("def verify(solution):\n    return solution[0]\n")
    problem = load_problem(str(tmp_path))
    async with running(problem, storage, InProcessBackend(), [[4, 4, 4]]) as run:
        summary = await run.execute()
    assert summarize(storage, summary.run).best_exact == "4.0000000000000000000"
