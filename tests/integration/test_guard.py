"""Scores that are wrong once, and scores that are noisy, with real sandboxes and scorers' processes."""

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from discovery.cli import main
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import Candidate, CandidateKey
from discovery.repeats import overlap
from discovery.sandbox import make_backend

SANDBOXES = [pytest.param("bubblewrap", marks=pytest.mark.sandbox), "process"]

TIMED = """
import os, time
from discovery import Limits, Repeats, Score, problem

WORK = "def solve():\\n    return sum(i * i % 7 for i in range(COUNT))\\n"

@problem(name="timed", statement="Sum fast.", direction="minimize", bounds=(0.0, None), limits=Limits(wall_s=30.0),
         initial="import os\\n" + WORK.replace("COUNT", "400000")
                 + "\\ndef cores():\\n    return sorted(os.sched_getaffinity(0))\\n",
         repeats=Repeats(count=5, cores=1, baseline=True))
def score(program):
    cores = program.call("cores")
    begun = time.perf_counter()
    program.call("solve")
    seconds = time.perf_counter() - begun
    return Score(value=seconds, private={"cores": cores, "own": sorted(os.sched_getaffinity(0))})
"""


@pytest.fixture(params=SANDBOXES)
def backend(request):
    made = make_backend(request.param)
    if made.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{request.param}: {made.missing()}")
    return made


def candidate(source, index=0):
    return Candidate(key=CandidateKey(0, 1, index), source=source, parents=(), created_at=datetime.now(UTC))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="pinning leaves one CPU for everything else")
async def test_a_program_that_does_twice_as_much_takes_about_twice_as_long(tmp_path, backend):
    (tmp_path / "timed.py").write_text(TIMED)
    problem = load_problem(str(tmp_path / "timed.py"))
    before = os.sched_getaffinity(0)
    evaluator = Evaluator(problem, backend, slots=64)
    assert evaluator.meter.slots == len(before) - 1
    await evaluator.start()
    try:
        found = [
            await evaluator.evaluate(candidate(source, index))
            for index, source in enumerate(
                (problem.initial + "\n# as much\n", problem.initial.replace("400000", "800000"))
            )
        ]
    finally:
        await evaluator.close()
    assert [e.failure for e in found] == [None, None]
    same, slow = (e.score for e in found)
    # On a busy machine the intervals are wide; that they are is what they are for.
    assert overlap(same.interval, (0.8, 1.25))
    assert overlap(slow.interval, (1.6, 2.4))
    assert slow.value > 1.1
    assert len(slow.samples) == 5
    assert slow.interval[0] <= slow.value <= slow.interval[1]
    (core,) = slow.private["cores"]
    assert core in before
    assert core not in slow.private["own"]
    assert os.sched_getaffinity(0) == before


FLAKY = """
from discovery import problem

SEEN = []

@problem(name="flaky", statement="Return a number close to 0.5.", max_jump=10.0,
         initial="def solve():\\n    # EVOLVE-BLOCK-START\\n    return 0.1\\n    # EVOLVE-BLOCK-END\\n")
def score(program):
    SEEN.append(program.call("solve"))
    # A buffer that is used again, a cache without its key: wrong once per process, and much too good.
    return 1000.0 if len(SEEN) == 4 else -abs(SEEN[-1] - 0.5)
"""


@pytest.fixture
def discovery(tmp_path, monkeypatch, capsys):
    """Runs a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "state"))
    for name in ("DISCOVERY_STORAGE", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_scorer_that_is_wrong_once_is_caught_and_an_audit_confirms_the_rest(discovery, tmp_path):
    Path("flaky.py").write_text(FLAKY)
    shape = ("--chains", 2, "--steps", 5, "--candidates", 2, "--until", 500)
    code, out, _ = discovery("run", "./flaky.py", *shape, "--json")
    result = json.loads(out)
    run = result["run"]
    assert (code, result["status"], result["evaluations"]) == (0, "finished", 20)
    assert result["best_score"] <= 0
    assert result["quarantined"]["disagreed"] == result["failures"]["disagreement"] >= 1
    shown = discovery("show", run)[1]
    assert f"quarantined  {result['quarantined']['total']}: " in shown
    assert len(result["disagreements"]) >= 1
    assert f"disagreed    {result['disagreements'][0]}" in shown
    assert "disagreement: " in discovery("show", run, result["disagreements"][0])[1]

    code, out, err = discovery("audit", run, "--top", 2)
    assert (code, err) == (0, "")
    assert f"{result['best']} (best)" in out
    assert "all 3 agree" in out
    assert "it scored as announced" in discovery("show", run)[1]

    # Whoever changes the scorer afterwards gets other scores, and is told why.
    Path("flaky.py").write_text(FLAKY.replace("-abs(", "-1.5 - abs("))
    code, out, err = discovery("audit", run, "--top", 2)
    assert code == 1
    assert "differs by -1.5" in out
    assert "3 of 3 differ" in out
    assert "problem has changed since the run" in err
    code, out, _ = discovery("audit", run, "--json")
    told = json.loads(out)
    assert (code, told["agrees"], told["problem_changed"], told["stored"]) == (1, False, True, True)
    assert told["candidates"][0]["best"]
    assert not json.loads(discovery("show", run, "--json")[1])["audit"]["agrees"]

    for arguments, words in (((run, "--top", 0), "top is 0"), (("nonesuch",), "nonesuch")):
        code, out, err = discovery("audit", *arguments)
        assert (code, out) == (2, "")
        assert words in err


NOISY = """
import itertools
from discovery import Repeats, problem

NOISE = itertools.cycle([0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0])

@problem(name="noisy", statement="Return a large number.", repeats=Repeats(count=7),
         initial="def solve():\\n    return 3.0\\n")
def score(program):
    return program.call("solve") + next(NOISE)
"""


def test_a_noisy_score_is_printed_with_its_interval_and_repeats(discovery):
    Path("noisy.py").write_text(NOISY)
    Path("five.py").write_text("def solve():\n    return 5.0\n")
    code, out, _ = discovery("score", "./noisy.py", "five.py", "--sandbox", "process")
    assert code == 0
    assert "5.0 [3, 7]  (median of 7 repeats, 95 % confidence)" in out
    told = json.loads(discovery("score", "./noisy.py", "five.py", "--sandbox", "process", "--json")[1])
    assert (told["score"], told["interval"]) == (5.0, [3.0, 7.0])
    assert told["samples"] == [5.0, 5.5, 4.5, 6.0, 4.0, 7.0, 3.0]
    shape = ("--chains", 1, "--steps", 1, "--candidates", 1, "--sandbox", "process")
    run = json.loads(discovery("run", "./noisy.py", *shape, "--json")[1])["run"]
    assert re.search(r"best +[0-9.]+ \[", discovery("show", run)[1])
    shown = discovery("show", run, "initial")[1]
    assert "search: 3.0 [1, 5]" in shown
    assert "7 repeats: 3, 3.5, 2.5" in shown


NOT_CONFIRMED = r"the quick scorer says (\S+), and the exact score is (\S+):"
PLANTED = """
from discovery import Score, problem
from discovery.exact import number

@problem(name="planted", statement="Return a number close to 0.5.", bounds=(None, 0.001),
         initial="def solve():\\n    # EVOLVE-BLOCK-START\\n    return 0.1\\n    # EVOLVE-BLOCK-END\\n")
def score(program):
    value = float(number(program.call("solve"), "the number", -1000, 1000))
    # A tolerance that somebody will find: too good by 1e-6 from here on.
    return Score(value=-abs(value - 0.5) + (1e-6 if value > 0.25 else 0.0), artifact=value)
"""
REFEREE = """
from discovery.exact import number, rational

def verify(solution):
    return -abs(rational(number(solution, "the number", -1000, 1000)) - rational(0.5))
"""


def test_a_quick_scorer_that_is_too_good_somewhere_is_never_believed(discovery, tmp_path):
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "problem.py").write_text(PLANTED)
    (folder / "verify.py").write_text(REFEREE)
    shape = ("--chains", 2, "--steps", 10, "--candidates", 4, "--sandbox", "process", "--scheduler", "local")
    code, out, err = discovery("run", "./planted", *shape, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["failures"]["disagreement"] >= 1
    assert result["best_score"] <= -0.25
    assert float(result["best_exact"]) == pytest.approx(result["best_score"], rel=1e-15)
    assert "exact scorer" not in out
    refused = discovery("show", result["run"], result["disagreements"][0])[1]
    quick, exact = re.search(NOT_CONFIRMED, " ".join(refused.split())).groups()
    assert float(quick) - float(exact) == pytest.approx(1e-6, rel=1e-6), "what was planted, to the digit"
    assert result["best_exact"] in discovery("show", result["run"])[1]
    assert result["best_exact"] in discovery("best", result["run"])[1]

    code, out, err = discovery("certify", result["run"], "--out", "best", "--json")
    assert (code, json.loads(out)["exact"]) == (0, result["best_exact"]), err
    told = json.loads(Path("best/certificate.json").read_text())["provenance"]
    assert (told["run"], told["candidate"]) == (result["run"], result["best"])
    code, out, err = discovery("certify", "best", "--check", "--problem", "./planted")
    assert (code, out.count("ok  ")) == (0, 5), err
    code, out, _ = discovery("certify", result["run"], result["disagreements"][0], "--out", "hack")
    assert (code, f"and the exact score is {exact}" in " ".join(out.split())) == (1, True), out
    assert not Path("hack").exists()

    for name, value in (("good.json", 0.2), ("bad.json", 0.3)):
        Path(name).write_text(json.dumps(value))
    code, out, _ = discovery("score", "./planted", "good.json")
    assert (code, "exact  -0.29999999999999998890" in out) == (0, True)
    Path("good.py").write_text("def solve():\n    return 0.2\n")
    code, out, _ = discovery("score", "./planted", "good.py", "--sandbox", "process", "--json")
    assert (code, json.loads(out)["exact"]) == (0, "-0.29999999999999998890")
    code, out, _ = discovery("score", "./planted", "bad.json")
    assert (code, "invalid" in out, "the exact score is -0.20000000000000001110" in out) == (1, True, True)
    assert discovery("score", "./planted", "none.json")[0] == 2
