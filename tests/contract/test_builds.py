"""Compiled candidates over real compilers and real sandboxes."""

import dataclasses
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from discovery.check import check_problem
from discovery.declared import Limits
from discovery.errors import MissingComponent
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import Candidate, CandidateKey, FailureKind, Purpose
from discovery.sandbox import images, make_backend
from discovery.sandbox.base import CommandRun, SandboxSpec
from discovery.sandbox.engine import Engine
from discovery.scaffold import create_problem

BACKENDS = [pytest.param("bubblewrap", marks=pytest.mark.sandbox), pytest.param("process")]
PLUGIN = """
from discovery import Limits, problem

@problem(name="runs", statement="Write a number.", initial="int main() {}", language="cpp",
         bounds=(None, None), scorer_timeout_s=TIMEOUT_S,
         limits=Limits(wall_s=10.0), build_limits=Limits(wall_s=WALL_S, memory_bytes=1 << 30,
         file_bytes=64 << 20, result_bytes=RESULT_BYTES))
def score(program):
    outputs = [program.run([str(n)]).stdout for n in range(3)]
    return float("".join(outputs))
"""
ARGUMENT = "#include <cstdio>\nint main(int, char **a) { std::fputs(a[1], stdout); }\n"


ENDLESS = (
    "constexpr long f(long n) { long s = 0; for (long i = 0; i < n; i++) s += i % 7; return s; }\n"
    + "".join(f"constexpr long x{i} = f(30'000'000);\n" for i in range(200))
    + "int main() {}\n"
)


def plugin(wall_s=60.0, result_bytes=16 << 20, timeout_s=60.0):
    return (
        PLUGIN.replace("WALL_S", str(wall_s))
        .replace("RESULT_BYTES", str(result_bytes))
        .replace("TIMEOUT_S", str(timeout_s))
    )


class Watched:
    """A backend that notes the requests of its sandboxes."""

    def __init__(self, backend):
        self._backend = backend
        self.name = backend.name
        self.requests = []
        self.wall_s = []

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def create(self, spec):
        sandbox = self._backend.create(spec)
        run = sandbox.run

        async def noted(request):
            self.requests.append(request)
            result = await run(request)
            self.wall_s.append(result.wall_s)
            return result

        sandbox.run = noted
        return sandbox

    @property
    def builds(self):
        return sum(isinstance(r, CommandRun) and r.collects for r in self.requests)


def candidate(source, index=0):
    return Candidate(key=CandidateKey(0, 1, index), source=source, parents=(), created_at=datetime.now(UTC))


@pytest.fixture(autouse=True)
def compiler():
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")


@pytest.fixture(params=BACKENDS)
def backend(request):
    found = make_backend(request.param)
    if missing := found.missing():
        pytest.skip("; ".join(missing))
    return Watched(found)


@pytest.fixture
async def evaluators(backend, tmp_path):
    made = []

    async def make(ref=None, *, wall_s=60.0, result_bytes=16 << 20, timeout_s=60.0):
        if ref is None:
            ref = tmp_path / "runs.py"
            ref.write_text(plugin(wall_s, result_bytes, timeout_s))
        made.append(Evaluator(load_problem(str(ref)), backend, slots=1))
        await made[-1].start()
        backend.requests.clear()
        backend.wall_s.clear()
        return made[-1]

    yield make
    for evaluator in made:
        await evaluator.close()


# No system package that can be counted on has a Rust compiler: where there is none, C++ stands for it.
@pytest.mark.parametrize("language", ["cpp", *(["rust"] if shutil.which("rustc") else [])])
async def test_a_first_problem_builds_and_checks_without_a_finding(backend, evaluators, tmp_path, language):
    folder = create_problem("my-curve", tmp_path, language)
    evaluator = await evaluators(folder)

    async def score(problem, source):
        return await evaluator._in_slot(candidate(source), Purpose.VERIFY)

    assert await check_problem(str(folder), score) == []


async def test_a_source_is_built_once_for_all_its_runs_and_anew_for_a_second_scoring(backend, evaluators):
    evaluator = await evaluators()
    evaluation = await evaluator.evaluate(candidate(ARGUMENT))
    assert evaluation.failure is None
    assert evaluation.score.value == 12.0  # "0", "1" and "2" in a row
    assert (backend.builds, len(backend.requests)) == (1, 4)
    assert evaluation.durations.sandbox_s == pytest.approx(sum(backend.wall_s)), "the compiler's time counts"
    again = await evaluator.verify(candidate(ARGUMENT), evaluation)
    assert again.failure is None
    assert backend.builds == 2


async def test_what_the_compiler_says_is_the_failure(evaluators):
    evaluator = await evaluators()
    failure = (await evaluator.evaluate(candidate("int main() {\n    return nothing;\n}\n"))).failure
    assert failure.kind is FailureKind.BUILD
    assert failure.message.startswith("does not compile: program.cpp:2:12: error: ")
    assert "nothing" in failure.message
    assert "program.cpp" in failure.detail
    assert "/box" not in failure.detail
    assert "/tmp" not in failure.detail


async def test_limits_of_a_build_are_kinds_of_their_own_and_say_so(evaluators):
    evaluator = await evaluators(wall_s=1.0)
    failure = (await evaluator.evaluate(candidate(ENDLESS, 1))).failure
    assert failure.kind is FailureKind.TIMEOUT
    assert failure.message.endswith("while it was built")
    evaluator = await evaluators(wall_s=20.0, result_bytes=1 << 20)
    large = "char big[8 << 20] = {1};\nint main() { return big[5]; }\n"
    failure = (await evaluator.evaluate(candidate(large, 2))).failure
    assert failure.kind is FailureKind.OUTPUT
    assert failure.message.endswith("while it was built")
    fine = await evaluator.evaluate(candidate(ARGUMENT, 3))
    assert fine.failure is None, "the sandbox still works"


async def test_the_time_of_a_scoring_includes_the_build(evaluators):
    evaluator = await evaluators(timeout_s=4.0)
    failure = (await evaluator.evaluate(candidate(ENDLESS))).failure
    assert failure.kind is FailureKind.TIMEOUT
    assert failure.message.endswith("scorer_timeout_s = 4 s; the program's compiler was running")
    assert (await evaluator.evaluate(candidate(ARGUMENT, 1))).failure is None


async def test_a_build_leaves_nothing_and_a_run_has_no_compilers_leavings(backend, evaluators):
    evaluator = await evaluators()
    assert (await evaluator.evaluate(candidate(ARGUMENT))).failure is None
    spec = SandboxSpec(image="cpp", label="left")
    sandbox = backend.create(spec)
    await sandbox.start()
    try:
        limits = Limits(wall_s=30.0)
        build = CommandRun(
            source=ARGUMENT,
            argv=("sh", "-c", 'touch left; g++ -o "$1" "$2"', "sh", "{binary}", "{program}"),
            suffix=".cpp",
            stdin=b"",
            limits=dataclasses.replace(limits, memory_bytes=2 << 30),
            collects=True,
        )
        built = await sandbox.run(build)
        assert built.binary is not None
        assert built.binary.startswith(b"\x7fELF")
        look = dataclasses.replace(
            build, collects=False, argv=("sh", "-c", "ls; cat {binary} | head -c 4"), binary=None
        )
        seen = await sandbox.run(look)
        assert seen.data.split() == [b"program.cpp"]
        fed = dataclasses.replace(look, binary=built.binary)
        assert (await sandbox.run(fed)).data.endswith(b"\x7fELF")
    finally:
        await sandbox.close()


@pytest.mark.sandbox
async def test_a_compiler_reads_nothing_of_the_host(tmp_path):
    backend = make_backend("bubblewrap")
    if missing := backend.missing():
        pytest.skip("; ".join(missing))
    secret = tmp_path / "secret"
    secret.write_text("the answer is 42\n")
    (tmp_path / "runs.py").write_text(plugin())
    evaluator = Evaluator(load_problem(str(tmp_path / "runs.py")), backend, slots=1)
    await evaluator.start()
    try:
        for index, path in enumerate((secret, Path(__file__), Path("/etc/shadow"))):
            for line in (f'#include "{path}"', f'asm(".incbin \\"{path}\\"");'):
                failure = (await evaluator.evaluate(candidate(f"{line}\nint main() {{}}\n", index))).failure
                assert failure.kind is FailureKind.BUILD
                assert "No such file" in failure.detail or "file not found" in failure.detail
                assert "answer" not in failure.detail
    finally:
        await evaluator.close()


@pytest.mark.docker
async def test_a_container_builds_with_the_compiler_of_this_machine(tmp_path, docker_engine):
    name = images.tag("cpp", ())
    with Engine() as engine:
        if engine.image(name) is None:
            contents = images.contents("cpp", ())
            labels = images.labels("cpp", ())
            engine.import_image(contents.tar(), name, labels=labels, environment=contents.environment)
    (tmp_path / "runs.py").write_text(plugin())
    evaluator = Evaluator(load_problem(str(tmp_path / "runs.py")), make_backend("docker"), slots=1)
    await evaluator.start()
    try:
        evaluation = await evaluator.evaluate(candidate(ARGUMENT))
        assert evaluation.failure is None
        assert evaluation.score.value == 12.0
        failure = (await evaluator.evaluate(candidate("int main() { return nothing; }\n", 1))).failure
        assert failure.message.startswith("does not compile: program.cpp:1:21: error: ")
    finally:
        await evaluator.close()


async def test_an_image_that_only_docker_has_is_refused(backend):
    with pytest.raises(MissingComponent, match="--sandbox docker"):
        backend.create(SandboxSpec(image="debian:12"))
