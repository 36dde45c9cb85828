"""Cheap first scores: what does not reach them is never scored in full, and is told why."""

import pytest

from discovery.check import check_problem
from discovery.declared import Stage
from discovery.direct import score_directly
from discovery.errors import ProblemError, ProgramFailed
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.problem import DeclarationError
from discovery.records import Candidate, CandidateKey, FailureKind, Purpose, Score
from discovery.testing.fakes import InProcessBackend

PLUGIN = """
import time
from discovery import Invalid, Repeats, Score, Stage, problem

def first(program):
    value = program.call("solve")
    if value == "invalid":
        raise Invalid("not a number")
    if value == "slow":
        time.sleep(60)
    if value == "nan":
        return float("nan")
    return Score(value=value, metrics={{"size": 7}}, feedback="make it larger")

def second(program):
    return -program.call("solve")

@problem(name="staged", statement="Return a number.", initial="def solve():\\n    return {initial}\\n",
         stages=[Stage(first, name="large", least=2.0, timeout_s=0.5), Stage(second, name="small", least=-5.0)],
         **{settings})
def score(program):
    return Score(value=program.call("solve") * 10.0, metrics={{"calls": 1}})
"""


def staged(tmp_path, initial="3", settings="{}"):
    path = tmp_path / "staged.py"
    path.write_text(PLUGIN.format(initial=initial, settings=settings))
    return load_problem(str(path))


def candidate(value, step=1):
    source = f"def solve():\n    return {value!r}\n"
    return Candidate(key=CandidateKey(0, step, 0), source=source, parents=(), created_at=None)


@pytest.fixture
async def evaluating():
    opened = []

    async def begin(problem):
        backend = InProcessBackend()
        opened.append(Evaluator(problem, backend, slots=1))
        await opened[-1].start()
        return opened[-1], backend

    yield begin
    for each in opened:
        await each.close()


async def test_what_passes_is_scored_in_full_with_the_cheap_scores_as_metrics(tmp_path, evaluating):
    evaluator, backend = await evaluating(staged(tmp_path))
    scored = await evaluator.evaluate(candidate(4))
    assert scored.score == Score(value=40.0, metrics={"calls": 1, "stage_large": 4.0, "stage_small": -4.0})
    assert len(backend.sources) == 3
    assert scored.durations.sandbox_s == pytest.approx(0.003)


@pytest.mark.parametrize(
    ("value", "kind", "says", "uses"),
    [
        (1, "stage", "stage 'large' scored 1.0, below 2.0: size 7; make it larger", 1),
        (9, "stage", "stage 'small' scored -9.0, below -5.0", 2),
        ("invalid", "invalid", "in stage 'large': not a number", 1),
        ("nan", "scorer", "in stage 'large': the score nan is not finite", 1),
        ("slow", "scorer", "longer than timeout_s of stage 'large' = 0.5 s; stage 'large' was running", 1),
    ],
)
async def test_what_does_not_pass_is_never_scored_in_full(tmp_path, evaluating, value, kind, says, uses):
    evaluator, backend = await evaluating(staged(tmp_path))
    failed = await evaluator.evaluate(candidate(value))
    assert failed.score is None
    assert failed.failure.kind == kind
    assert says in failed.failure.message
    assert len(backend.sources) == uses
    assert (await evaluator.evaluate(candidate(4, step=2))).score.value == 40.0


async def test_second_scorings_and_data_go_through_all_stages(tmp_path, evaluating):
    evaluator, backend = await evaluating(staged(tmp_path))
    once = await evaluator.evaluate(candidate(4))
    again = await evaluator.verify(candidate(4), once)
    assert (again.purpose, again.score.metrics) == (Purpose.VERIFY, once.score.metrics)
    audited = await evaluator.rescore(candidate(1))
    assert (audited.purpose, audited.failure.kind) == (Purpose.AUDIT, FailureKind.STAGE)
    assert len(backend.sources) == 3 + 3 + 1
    assert (await evaluator.evaluate_data(candidate(0), 4)).score.value == 40.0
    assert (await evaluator.evaluate_data(candidate(0), 9)).failure.kind is FailureKind.STAGE


async def test_stages_run_once_before_all_repeats_and_never_on_the_baseline(tmp_path, evaluating):
    settings = "dict(repeats=Repeats(count=3, baseline=True), deterministic=False)"
    evaluator, backend = await evaluating(staged(tmp_path, settings=settings))
    scored = await evaluator.evaluate(candidate(4))
    assert scored.score.value == pytest.approx(4 / 3)
    assert scored.score.metrics["stage_large"] == 4.0
    own = [source for source in backend.sources if "return 4" in source]
    assert (len(own), len(backend.sources)) == (2 + 3, 2 + 6)


async def test_check_says_that_the_initial_candidate_does_not_pass(tmp_path, evaluating):
    problem = staged(tmp_path, initial="1")
    evaluator, _ = await evaluating(problem)

    async def score(_, source):
        return await evaluator.rescore(
            Candidate(key=CandidateKey(0, 1, 0), source=source, parents=(), created_at=None)
        )

    findings = await check_problem(str(problem.path), score)
    found = next(f for f in findings if f.where == "initial")
    assert "does not score (stage): stage 'large' scored 1.0, below 2.0" in found.message
    assert "ask for less in the stage" in found.fix


def test_data_that_is_scored_directly_goes_through_them(tmp_path):
    problem = staged(tmp_path)
    assert score_directly(problem, 4).value == 40.0
    with pytest.raises(ProgramFailed, match=r"stage 'small' scored -9\.0") as raised:
        score_directly(problem, 9)
    assert raised.value.kind is FailureKind.STAGE


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"least": None}, "give one of them, or both with the lower first"),
        ({"least": 2.0, "most": 1.0}, "give one of them, or both with the lower first"),
        ({"least": float("nan")}, "give one of them"),
        ({"least": 1.0, "name": "Cheap one"}, "the name must be lower-case"),
        ({"least": 1.0, "timeout_s": 0}, "timeout_s is 0; it must be a positive number"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused(options, says):
    with pytest.raises(ProblemError, match=says):
        Stage(len, **options)


def test_a_value_between_both_ends_passes():
    stage = Stage(len, least=1.0, most=2.0)
    assert [stage.refusal(Score(value=v)) is None for v in (0.9, 1.0, 2.0, 2.1)] == [False, True, True, False]


def test_two_stages_of_one_name_are_refused(tmp_path):
    (tmp_path / "twice.py").write_text(
        "from discovery import Stage, problem\n"
        "@problem(name='twice', statement='s', initial='i', stages=[Stage(len, least=1), Stage(len, least=2)])\n"
        "def score(program): return 1.0\n"
    )
    with pytest.raises(DeclarationError, match=r"it must be a Stage.* each of another name"):
        load_problem(str(tmp_path / "twice.py"))
