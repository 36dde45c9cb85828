"""The lasso path over a real compiler and a real sandbox: what is fast is told, what skips work is caught."""

import dataclasses
import shutil
from datetime import UTC, datetime

import pytest

from discovery.adversarial import wrong_solutions
from discovery.declared import Repeats
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import Candidate, CandidateKey, FailureKind
from discovery.sandbox import make_backend

pytestmark = pytest.mark.sandbox
QUICKLY_BUILT = ("g++", "-O1", "-std=c++17", "-o", "{binary}", "{program}")
MARKS = """
    const char *places[] = {"./mark", "/tmp/mark", "/dev/shm/mark", "/var/tmp/mark", "/box/mark"};
    int left = 0;
    for (const char *place : places)
        if (std::fopen(place, "rb") != nullptr) return 5;
    for (const char *place : places)
        if (FILE *file = std::fopen(place, "wb")) left++, std::fclose(file);
    if (left == 0) return 6;
"""


def candidate(source, index=0):
    return Candidate(key=CandidateKey(0, 1, index), source=source, parents=(), created_at=datetime.now(UTC))


@pytest.fixture
async def evaluators():
    backend = make_backend("bubblewrap")
    if missing := backend.missing():
        pytest.skip("; ".join(missing))
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    made = []

    async def make(**changes):
        problem = load_problem("lasso-path")
        problem = dataclasses.replace(problem, settings=dataclasses.replace(problem.settings, **changes))
        made.append(Evaluator(problem, backend, slots=1))
        await made[-1].start()
        return problem, made[-1]

    yield make
    for evaluator in made:
        await evaluator.close()


async def test_the_initial_solver_takes_several_times_as_long_as_the_reference(evaluators):
    problem, evaluator = await evaluators(repeats=Repeats(count=3, baseline="reference.cpp"))
    evaluation = await evaluator.evaluate(candidate(problem.initial))
    assert evaluation.failure is None
    assert 3 < evaluation.score.value < 30
    assert evaluation.score.metrics["largest gap"] <= 1e-6


async def test_programs_that_skip_work_are_refused_with_the_reason(evaluators):
    problem, evaluator = await evaluators(repeats=None, bounds=(None, None), build=QUICKLY_BUILT)
    found = list(wrong_solutions(problem))
    assert len(found) >= 10
    for index, wrong in enumerate(found):
        evaluation = await evaluator.evaluate(candidate(wrong.program, index))
        assert evaluation.failure is not None, f"{wrong.name}: scored {evaluation.score.value}"
        assert evaluation.failure.kind is FailureKind.INVALID, f"{wrong.name}: {evaluation.failure}"
        assert wrong.says in evaluation.failure.message, f"{wrong.name}: {evaluation.failure.message}"


async def test_a_run_finds_nothing_of_an_earlier_one(evaluators):
    problem, evaluator = await evaluators(repeats=None, bounds=(None, None))
    source = problem.path.with_name("reference.cpp").read_text()
    start = "    int32_t problems;\n"
    assert source.count(start) == 1
    evaluation = await evaluator.evaluate(candidate(source.replace(start, MARKS + start)))
    assert evaluation.failure is None, "a file of an earlier run was there"
