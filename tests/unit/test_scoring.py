"""Scorers in processes of their own: what they say comes over whole, and none outlives who started it."""

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from discovery import data
from discovery.errors import ProblemError, ScoringError
from discovery.plugins import load_problem
from discovery.records import Failure, FailureKind, Score
from discovery.sandbox.base import SandboxResult
from discovery.scoring.client import ScorerHost
from discovery.scoring.host import serve

PLUGIN = """
import os, sys, time
import numpy as np
from discovery import Invalid, ProgramFailed, Score, problem

STATE = []
print("loaded", flush=True)
os.write(1, b"loaded")

@problem(name="toy", statement="Return a number.", initial="x = 1\\n", bounds=(None, 100.0))
def score(program):
    print("scoring", flush=True)
    os.write(1, b"noise"); os.write(2, b"noise")
    STATE.append(1)
    return eval(program.source)
"""


def load(folder, plugin=PLUGIN):
    path = folder / "toy.py"
    path.write_text(plugin)
    return load_problem(str(path))


async def refuse(request):
    raise AssertionError(f"asked for {request}")


def returning(value):
    async def serve(request):
        return SandboxResult(data=data.encode(value), wall_s=0.1)

    return serve


def is_gone(pid):
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def gone(*pids):
    """Whether all have ended, ten seconds later at the latest."""
    deadline = time.monotonic() + 10
    while not all(is_gone(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def started(monkeypatch):
    """A host is a process that was started, as in a run, not one that was forked for the tests' sake."""
    monkeypatch.setattr("discovery.scoring.client.subprocess", subprocess)


@pytest.fixture
async def host(tmp_path):
    host = ScorerHost(load(tmp_path))
    await host.start()
    yield host
    host.close()


@pytest.fixture
async def worker(host):
    worker = await host.fork()
    yield worker
    worker.kill()


async def test_a_scorer_knows_which_repeat_it_is(worker):
    assert (await worker.score("float(program.repeat)", refuse)).score.value == 0.0
    assert (await worker.score("float(program.repeat)", refuse, 3)).score.value == 3.0


async def test_binary_output_comes_over_as_it_is(worker):
    async def serve(request):
        return SandboxResult(data=b"\xff\x00\xfe", exit_code=0, wall_s=0.0)

    verdict = await worker.score("float(program.run().stdout_bytes == bytes([255, 0, 254]))", serve)
    assert verdict.score.value == 1.0


async def failure_of(worker, source, serve=refuse):
    verdict = await worker.score(source, serve)
    assert verdict.score is None
    return verdict.failure


@pytest.mark.usefixtures("started")
async def test_all_that_a_scorer_says_comes_over(worker):
    verdict = await worker.score(
        "Score(value=0.1 + 0.2, metrics={'a': np.float32(0.5), 'b': (1, [2])}, private={'c': np.arange(3)},"
        " feedback='größer', artifact={'x': np.eye(2)})",
        refuse,
    )
    assert verdict.failure is None
    assert verdict.score == Score(
        value=0.1 + 0.2,
        metrics={"a": 0.5, "b": [1, [2]]},
        private={"c": [0, 1, 2]},
        feedback="größer",
        artifact={"x": [[1.0, 0.0], [0.0, 1.0]]},
    )


async def test_a_score_that_would_fill_the_disk_fails(worker):
    """Scorers keep what candidates return, and ten thousand of them may return all that they are let."""
    for part in ("artifact=np.ones(1 << 20)", "feedback='x' * (1 << 23)", "metrics={'a': 'x' * (1 << 23)}"):
        failure = await failure_of(worker, f"Score(value=1.0, {part})")
        assert failure.kind is FailureKind.OUTPUT
        assert "4,194,304" in failure.message
    verdict = await worker.score("Score(value=1.0, artifact='x' * (1 << 21))", refuse)
    assert verdict.failure is None


async def test_arguments_and_results_cross_as_data(worker):
    asked = []

    async def serve(request):
        asked.append(request)
        return await returning({"y": np.arange(3.0)})(request)

    verdict = await worker.score("float(program.call('f', [1], k=np.ones(2), timeout_s=2)['y'].sum())", serve)
    assert verdict.score == Score(value=3.0)
    (request,) = asked
    assert (request.function, request.timeout_s) == ("f", 2)
    args, kwargs = data.decode(request.body)
    assert args == [[1]]
    assert kwargs["k"].tolist() == [1.0, 1.0]


async def test_a_program_runs_as_a_process_through_the_same_way(worker):
    async def serve(request):
        assert (request.function, request.args, request.body) == (None, ("-v",), b"in")
        return SandboxResult(data=b"4\xff", stderr="warned", exit_code=3, wall_s=0.5, cpu_s=0.25)

    source = (
        "(lambda o: Score(value=o.exit_code, artifact=[o.stdout, o.stderr, o.wall_s, o.cpu_s]))"
        "(program.run(['-v'], stdin='in'))"
    )
    verdict = await worker.score(source, serve)
    assert verdict.score == Score(value=3.0, artifact=["4\ufffd", "warned", 0.5, 0.25])


async def test_a_failed_program_fails_the_evaluation_with_its_own_reason(worker):
    failure = Failure(kind=FailureKind.TIMEOUT, message="too slow", detail="trace")

    async def serve(request):
        return SandboxResult(failure=failure, wall_s=1.0)

    assert await failure_of(worker, "program.call('f')", serve) == failure


@pytest.mark.parametrize("body", [b"", b"00000002{}", b"\xff" * 50])
async def test_bytes_that_are_no_data_fail_the_candidate_not_the_scorer(worker, body):
    async def serve(request):
        return SandboxResult(data=body, wall_s=0.1)

    failure = await failure_of(worker, "program.call('f')", serve)
    assert failure.kind is FailureKind.BAD_DATA
    assert failure.message.startswith("f() returned bad data: ")


DEEP = "[" * 90 + "]" * 90


WRONG = [
    ("1 / 0", FailureKind.SCORER, "the scorer raised ZeroDivisionError: division by zero"),
    ("'high'", FailureKind.SCORER, "return a float or a Score"),
    ("None", FailureKind.SCORER, "return a float or a Score"),
    ("10**400", FailureKind.SCORER, "OverflowError"),
    ("float('nan')", FailureKind.OUT_OF_BOUNDS, "the score nan is not a finite number within"),
    ("100.5", FailureKind.OUT_OF_BOUNDS, "the score 100.5 is not"),
    ("Score(value=1, metrics={'a': float('inf')})", FailureKind.SCORER, "['a'] is inf"),
    ("Score(value=1, metrics={1: 2})", FailureKind.SCORER, "a key of type int"),
    ("Score(value=1, metrics=None)", FailureKind.SCORER, "must be plain finite data"),
    ("Score(value=1, feedback=['a'])", FailureKind.SCORER, "gave list as feedback; give text"),
    ("Score(value=1, artifact=object())", FailureKind.SCORER, "['artifact'] is a builtins.object"),
    (f"Score(value=1, artifact={DEEP})", FailureKind.SCORER, "nested deeper"),
    ("Score(value=1, artifact=(x := [], x.append(x))[0])", FailureKind.SCORER, "recursion"),
    ("program.call('f', object())", FailureKind.SCORER, "arguments must be plain data"),
    ("program.call('f', timeout_s=object())", FailureKind.SCORER, "not JSON serializable"),
    ("(_ for _ in ()).throw(Invalid('overlap'))", FailureKind.INVALID, "overlap"),
    ("(_ for _ in ()).throw(Invalid({'not': 'text'}))", FailureKind.INVALID, "{'not': 'text'}"),
    ("(_ for _ in ()).throw(Invalid(np.float32(1)))", FailureKind.INVALID, "1.0"),
    ("(_ for _ in ()).throw(ProgramFailed('crashed', 'boom'))", FailureKind.CRASHED, "boom"),
    (
        "(_ for _ in ()).throw(ProgramFailed('odd', 'boom'))",
        FailureKind.SCORER,
        "kind 'odd'; the kinds are",
    ),
]


async def test_what_a_scorer_does_wrong_is_a_typed_failure_and_the_worker_lives_on(worker):
    for source, kind, says in WRONG:
        failure = await failure_of(worker, source)
        assert failure.kind is kind, source
        assert says in failure.message, source
    assert (await worker.score("7.0", refuse)).score == Score(value=7.0)


async def test_a_reason_that_quotes_what_was_returned_is_cut_short(worker):
    failure = await failure_of(worker, "(_ for _ in ()).throw(Invalid('a' * 10**6))")
    assert failure.message == "a" * 1996 + " ..."
    failure = await failure_of(worker, "[][10**6 * 'x']")
    assert len(failure.detail) <= 4000


async def test_a_worker_starts_from_the_state_after_loading(host):
    first, second = await host.fork(), await host.fork()
    try:
        assert [(await first.score("len(STATE)", refuse)).score.value for _ in range(3)] == [1, 2, 3]
        assert (await second.score("len(STATE)", refuse)).score.value == 1
    finally:
        first.kill()
        second.kill()


def first_to_go(pid):
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def test_a_worker_goes_before_the_run_when_memory_runs_out(worker):
    """A candidate's data may make a scorer take all there is."""
    await worker.score("1.0", refuse)  # it answers once it is set up
    assert first_to_go(worker.pid) >= max(500, first_to_go("self"))


async def test_workers_forked_at_once_score_at_once(host):
    workers = await asyncio.gather(*(host.fork() for _ in range(8)))
    try:
        assert len({worker.pid for worker in workers}) == 8
        verdicts = await asyncio.gather(
            *(worker.score("float(program.call('f'))", returning(n)) for n, worker in enumerate(workers))
        )
        assert [verdict.score.value for verdict in verdicts] == list(range(8))
        source = "Score(value=1.0, artifact=os.getpid())"
        own = await asyncio.gather(*(worker.score(source, refuse) for worker in workers))
        pids = [worker.pid for worker in workers]
        assert [verdict.score.artifact for verdict in own] == pids
    finally:
        for worker in workers:
            worker.kill()
    assert gone(*pids)


@pytest.mark.parametrize("source", ["os._exit(3)", "sys.exit()", "os.kill(os.getpid(), 9)", "os.abort()"])
async def test_a_scorer_that_ends_its_process_is_an_error_and_the_host_forks_another(host, source):
    worker = await host.fork()
    with pytest.raises(ScoringError, match="ended while it scored"):
        await worker.score(source, refuse)
    worker.kill()
    fresh = await host.fork()
    assert (await fresh.score("1.0", refuse)).score == Score(value=1.0)
    fresh.kill()


async def test_a_killed_worker_ends_what_waits_for_it(host, worker):
    waiting = asyncio.create_task(worker.score("time.sleep(60)", refuse))
    await asyncio.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(ScoringError, match="process"):
        await waiting
    with pytest.raises(ScoringError):
        await worker.score("1.0", refuse)
    worker.kill()
    worker.kill()


@pytest.mark.usefixtures("started")
async def test_a_killed_host_takes_its_workers_along_and_is_started_again(host, worker):
    killed = host._process.pid
    host._process.kill()
    assert gone(killed, worker.pid)
    with pytest.raises(ScoringError):
        await worker.score("1.0", refuse)
    fresh = await host.fork()
    assert (await fresh.score("len(STATE)", refuse)).score == Score(value=1.0)
    assert host._process.pid != killed
    host.close()
    assert gone(fresh.pid)
    fresh.kill()


async def test_a_killed_host_whose_plugin_has_changed_is_not_started_again(host, tmp_path):
    load(tmp_path, PLUGIN + "# changed\n")
    host._process.kill()
    with pytest.raises(ProblemError, match="changed"):
        await host.fork()
    assert host._process is None


@pytest.mark.usefixtures("started")
async def test_nothing_is_left_after_closing(host):
    workers = [await host.fork() for _ in range(3)]
    busy = asyncio.create_task(workers[0].score("time.sleep(60)", refuse))
    await asyncio.sleep(0.02)
    pid = host._process.pid
    host.close()
    assert gone(pid, *(worker.pid for worker in workers))
    with pytest.raises(ScoringError):
        await busy
    with pytest.raises(ScoringError, match="not running"):
        await host.fork()
    host.close()
    for worker in workers:
        worker.kill()


async def test_a_host_that_was_not_started_forks_nothing(tmp_path):
    host = ScorerHost(load(tmp_path))
    with pytest.raises(ScoringError, match="not running"):
        await host.fork()
    host.close()


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("then", "error", "says"),
    [
        ("def broken(:\n", ProblemError, "SyntaxError"),
        ("raise RuntimeError('odd')\n", ProblemError, "odd"),
        (PLUGIN + "# changed\n", ProblemError, "changed while it was being loaded"),
        ("import os\nos._exit(1)\n", ScoringError, "ended while it loaded"),
        ("import sys\nsys.exit()\n", ProblemError, "exits while it is loaded"),
    ],
)
async def test_a_plugin_that_breaks_before_the_host_loads_it_leaves_no_process(tmp_path, then, error, says):
    host = ScorerHost(load(tmp_path))
    (tmp_path / "toy.py").write_text(then)
    with pytest.raises(error, match=says):
        await host.start()
    assert host._process is None
    with pytest.raises(ScoringError, match="not running"):
        await host.fork()


@pytest.mark.usefixtures("started")
async def test_a_start_that_is_cancelled_leaves_no_process(tmp_path):
    host = ScorerHost(load(tmp_path))
    (tmp_path / "toy.py").write_text("import time\ntime.sleep(60)\n")
    starting = asyncio.create_task(host.start())
    await asyncio.sleep(0)
    pid = host._process.pid
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert gone(pid)


PARENT = """
import asyncio, sys, time
from discovery.plugins import load_problem
from discovery.scoring.client import ScorerHost
from discovery.scoring.host import serve

async def main():
    host = ScorerHost(load_problem(sys.argv[1]))
    await host.start()
    workers = [await host.fork() for _ in range(2)]
    tasks = [asyncio.create_task(worker.score("time.sleep(60)", None)) for worker in workers[1:]]
    await asyncio.sleep(0)
    print()
    print("pids", host._process.pid, *(worker.pid for worker in workers), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_parent_killed_without_warning_leaves_neither_host_nor_worker(tmp_path):
    load(tmp_path)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "toy.py")], stdout=subprocess.PIPE, text=True
    )
    try:
        line = next(line for line in parent.stdout if line.startswith("pids "))
        pids = [int(pid) for pid in line.split()[1:]]
        assert len(pids) == 3
        assert not any(is_gone(pid) for pid in pids)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    assert gone(*pids)


@pytest.mark.parametrize("call", ["socket.socketpair", "os.pidfd_open"])
async def test_without_descriptors_no_worker_is_forked_and_the_host_is_kept(host, worker, monkeypatch, call):
    before = host._process.pid

    def refused(*_):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as full:
        full.setattr(f"discovery.scoring.client.{call}", refused)
        with pytest.raises(ScoringError, match="Too many open files"):
            await host.fork()
    assert host._process.pid == before
    assert (await worker.score("2.0", refuse)).score.value == 2.0
    again = await host.fork()
    assert (await again.score("3.0", refuse)).score.value == 3.0
    again.kill()


async def test_a_host_that_may_not_fork_says_so_and_keeps_its_workers(tmp_path, monkeypatch):
    def refused():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    problem = load(tmp_path)
    host = ScorerHost(problem)
    ours, theirs = socket.socketpair()
    with monkeypatch.context() as full:
        full.setattr("discovery.scoring.host.os.fork", refused)
        serving = threading.Thread(target=serve, args=(theirs, problem))
        serving.start()
        host._control, host._is_open = ours, True
        for _ in range(3):
            with pytest.raises(ScoringError, match=r"cannot fork.*Resource temporarily"):
                await host.fork()
        assert host._control is ours
    host.close()
    serving.join()
    theirs.close()


async def test_a_host_that_cannot_load_the_plugin_again_is_infrastructure(host, tmp_path):
    os.kill(host._process.pid, signal.SIGKILL)
    host._process.wait()
    plugin = tmp_path / "toy.py"
    text = plugin.read_text()
    plugin.write_text("raise MemoryError\n")
    with pytest.raises(ScoringError, match=r"cannot be started again.*MemoryError"):
        await host.fork()
    plugin.write_text(text)
    (await host.fork()).kill()


EXACT = """
import os, time
from fractions import Fraction
from discovery.exact import Invalid, number

def verify(solution):
    value = number(solution[0], "the number")
    if value == 13:
        raise Invalid("13 is no number for a referee")
    if value == 14:
        raise RuntimeError("odd")
    if value == 15:
        os._exit(3)
    if value == 16:
        time.sleep(60)
    return Fraction(value)
"""


@pytest.fixture
async def exact_host(tmp_path):
    (tmp_path / "problem.py").write_text(PLUGIN)
    (tmp_path / "verify.py").write_text(EXACT)
    host = ScorerHost(load_problem(str(tmp_path)))
    await host.start()
    yield host
    host.close()


async def test_a_score_is_confirmed_exactly_by_the_verifier_that_was_loaded(exact_host, host, tmp_path):
    assert (exact_host.has_exact, host.has_exact) == (True, False)
    (tmp_path / "verify.py").write_text("def verify(solution):\n    return 7\n")
    worker = await exact_host.fork()
    quick = (await worker.score("Score(value=0.1, artifact=[0.1], metrics={'a': 1})", refuse)).score
    assert quick.exact is None
    confirmed = (await worker.confirm(quick)).score
    assert confirmed == dataclasses.replace(quick, exact="0.10000000000000000555")
    worker.kill()


async def test_what_a_scorer_says_of_the_exact_score_is_not_read(exact_host):
    worker = await exact_host.fork()
    assert (await worker.score("Score(value=1.0, artifact=[1.0], exact='9')", refuse)).score.exact is None
    worker.kill()


@pytest.mark.parametrize(
    ("value", "artifact", "kind", "words"),
    [
        (1.000001, [1.0], FailureKind.INVALID, "says 1.000001, and the exact score is 1.0000000000000000000"),
        (1.0, ["1"], FailureKind.INVALID, "a text"),
        (13.0, [13.0], FailureKind.INVALID, "13 is no number for a referee"),
        (14.0, [14.0], FailureKind.SCORER, "RuntimeError: odd"),
        (1.0, None, FailureKind.SCORER, "no artifact"),
        (1.0, [], FailureKind.SCORER, "IndexError"),
    ],
)
async def test_a_score_that_is_not_confirmed_fails(exact_host, value, artifact, kind, words):
    worker = await exact_host.fork()
    found = await worker.confirm(Score(value=value, artifact=artifact))
    assert found.score is None
    assert (found.failure.kind, words in found.failure.message) == (kind, True), found.failure
    worker.kill()


async def test_a_host_whose_verifier_does_not_load_does_not_start(tmp_path):
    (tmp_path / "problem.py").write_text(PLUGIN)
    (tmp_path / "verify.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(ProblemError, match="nothing_of_that_name"):
        await ScorerHost(load_problem(str(tmp_path))).start()
