"""The command line as a user and a script meet it: words, JSON, exit codes, and every kind of misuse."""

import asyncio
import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from discovery.cli import main
from discovery.cli.app import FAULT, INTERRUPTED, MISUSE
from discovery.config import SearchConfig
from discovery.plugins import share_dir
from discovery.storage import open_existing

RUN_KEYS = {
    "run",
    "problem",
    "status",
    "evaluations",
    "best_score",
    "initial_score",
    "failures",
    "wall_s",
    "generator_utilisation",
}
SHOW_KEYS = {
    "run",
    "problem",
    "status",
    "evaluations",
    "distinct_candidates",
    "duplicates",
    "repeats",
    "best_score",
    "chains",
}
SHAPE = ["--chains", "2", "--steps", "3", "--candidates", "2", "--sandbox", "process", "--scheduler", "local"]
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON document on standard output, which holds nothing else."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1
        return json.loads(self.out, parse_constant=pytest.fail)

    def refused(self, *words):
        """Whether it is one line on standard error with these words, and exit code 2."""
        lines = self.err.splitlines()
        assert (self.code, self.out) == (MISUSE, "")
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        for word in words:
            assert word in lines[0]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty working folder, and nothing of this machine's or user's in the environment."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "DISCOVERY_STORAGE", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "state"))
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """Runs draw their pictures, as they do for everybody but most tests."""
    monkeypatch.delenv("DISCOVERY_PICTURES")


@pytest.fixture
def discovery(home, capsys):
    """Runs a command in this process."""

    def call(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A storage with one finished run of constants-10, and its id."""
    folder = tmp_path_factory.mktemp("stored")
    done = subprocess.run(
        [*PROGRAM, "run", "constants-10", *SHAPE, "--storage", "runs.db", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return folder / "runs.db", json.loads(done.stdout)["run"]


PROGRAM = [sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())"]


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# What scripts call


def test_run_prints_one_json_object_and_writes_the_results(discovery, home, drawn):
    ended = discovery("run", "constants-10", *SHAPE, "--json")
    result = ended.json
    assert ended.code == 0
    assert result.keys() >= RUN_KEYS
    assert (result["problem"], result["status"], result["evaluations"]) == ("constants-10", "finished", 12)
    assert result["best_score"] >= result["initial_score"] > 0
    assert 0 <= result["generator_utilisation"] <= 1
    assert result["wall_s"] > 0
    assert result["run"] in ended.err
    folder = home / "discovery-runs" / result["run"]
    assert (folder / "progress.png").read_bytes().startswith(PNG)
    assert "def solve" in (folder / "best.py").read_text()


def test_run_ends_with_what_it_found_and_what_comes_next(discovery, drawn):
    ended = discovery("run", "constants-10", *SHAPE)
    run = open_existing().list_runs()[0].id
    assert ended.code == 0
    assert "\x1b" not in ended.out
    for words in (
        "finished (all steps taken) after 12 evaluations",
        "initial",
        "best known",
        f"discovery-runs/{run}/best.py",
        f"discovery-runs/{run}/progress.png",
        f"discovery show {run}\n",
        f"discovery best {run}\n",
        f"discovery score constants-10 discovery-runs/{run}/best.py\n",
    ):
        assert words in ended.out
    assert all(line == line.rstrip() for line in ended.out.splitlines())
    scored = discovery(
        "score", "constants-10", f"discovery-runs/{run}/best.py", "--sandbox", "process", "--json"
    )
    assert scored.code == 0
    assert scored.json["score"] == discovery("show", run, "--json").json["best_score"]


def test_chains_that_all_ended_are_offered_no_larger_budget(discovery, home):
    options = (
        "--chains",
        2,
        "--candidates",
        2,
        "--steps",
        60,
        "--sandbox",
        "process",
        "--scheduler",
        "local",
    )
    patience = ("--patience", 1, "--on-stall", "stop")
    run = discovery("run", "constants-10", *options, *patience, "--json").json
    assert run["message"] == "no improvement in 1 step"
    again = discovery("resume", run["run"])
    assert "a larger budget would change nothing" in again.out
    assert "--max-evaluations" not in again.out


def test_pictures_can_be_left_out(discovery, home, monkeypatch):
    monkeypatch.setenv("DISCOVERY_PICTURES", "off")
    ended = discovery("run", "circle-packing-26", *SHAPE, "--max-evaluations", 1)
    assert (ended.code, ended.err.count("no plot")) == (0, 0)
    assert ".png" not in ended.out
    (folder,) = (home / "discovery-runs").iterdir()
    assert contents(folder) == ["best.py"]


def test_a_problems_own_picture_is_saved_for_its_best(discovery, home, drawn):
    run = discovery("run", "circle-packing-26", *SHAPE, "--max-evaluations", 2, "--json").json["run"]
    folder = home / "discovery-runs" / run
    assert {path.name for path in folder.iterdir()} == {
        "best.py",
        "best.png",
        "progress.png",
        "utilisation.png",
    }
    assert (folder / "best.png").read_bytes().startswith(PNG)


def test_show_and_runs_have_the_same_keys_and_run_its_own(discovery, stored):
    storage, run = stored
    shown = discovery("show", run, "--storage", storage, "--json").json
    assert shown.keys() >= SHOW_KEYS | RUN_KEYS
    assert (shown["run"], shown["status"], shown["evaluations"]) == (run, "finished", 12)
    assert [chain["chain"] for chain in shown["chains"]] == [0, 1]
    assert sum(chain["evaluations"] for chain in shown["chains"]) == 12
    assert (shown["ended_chains"], shown["restarts"], shown["too_long"]) == ({}, 0, 0)
    of_show_alone = {"utilisation", "ended_chains", "restarts", "too_long"}
    listed = {key: value for key, value in shown.items() if key not in of_show_alone}
    assert discovery("runs", "--storage", storage, "--json").json == [listed]


def test_show_tells_how_busy_a_run_was_and_gives_the_series(discovery, stored):
    storage, run = stored
    shown = discovery("show", run, "--storage", storage, "--json").json["utilisation"]
    assert shown["waits_for"] in ("evaluation", "chains", "storage")
    assert shown["run"] == shown["recent"], "it was shorter than what is told apart"
    assert shown["run"]["evaluations"] == 12
    assert 0 < shown["run"]["evaluator_busy"] <= 1
    out = discovery("show", run, "--storage", storage).out
    assert re.search(r"^utilisation  generator \d+ %, evaluators \d+ %$", out, re.MULTILINE)
    assert re.search(r"^waits for    \S", out, re.MULTILINE)
    assert "\nadvice" not in out, "nobody was asked for any"
    rows = list(csv.DictReader(io.StringIO(discovery("show", run, "--series", "--storage", storage).out)))
    series = discovery("show", run, "--series", "--storage", storage, "--json").json
    assert series["run"] == run
    assert [row["at"] for row in rows] == [point["at"] for point in series["series"]]
    assert float(rows[-1]["evaluations"]) == series["series"][-1]["evaluations"] == 12
    assert rows[-1]["kv_usage"] == "", "what is not known is empty, never zero"
    discovery("show", run, "0.1.0", "--series", "--storage", storage).refused("--series", "'0.1.0'")


def test_steps_may_overlap(discovery):
    run = discovery("run", "constants-10", *SHAPE, "--overlap", 1, "--json").json["run"]
    assert "C=2 L=3 K=2, rpucg, overlap 1" in discovery("show", run).out
    discovery("run", "constants-10", *SHAPE, "--overlap", 9).refused("overlap is 9", "from 0 to 8")


def test_a_run_is_named_by_any_unique_beginning(discovery, stored):
    storage, run = stored
    assert discovery("show", run[:-2], "--storage", storage, "--json").json["run"] == run


def test_a_sandbox_that_holds_less_than_is_required_is_refused_and_one_that_does_is_shown(discovery, home):
    refused = ["--sandbox", "process", "--require-isolation", "untrusted"]
    words = ["'process' does not hold here", "host_files_hidden", "doctor --sandbox process"]
    discovery("run", "constants-10", *SHAPE, *refused[2:]).refused(*words)
    (home / "one.py").write_text("def solve():\n    return [0.0] * 10\n")
    for command in (["score", "constants-10", "one.py"], ["check", "constants-10"]):
        ended = discovery(*command, *refused)
        assert (ended.code, ended.out) == (MISUSE, "")
        assert all(word in ended.err.splitlines()[-1] for word in words)
    assert discovery("runs", "--json").json == []
    held = ["--require-isolation", "setuid_ignored,no_network", "--require-isolation", "process_tree_ended"]
    run = discovery("run", "constants-10", *SHAPE, *held, "--json").json["run"]
    assert "properties verified; not host_files_hidden, " in discovery("show", run).out.replace("\n", " ")
    more = ["--max-evaluations", "20"]
    discovery("resume", run, *more, "--require-isolation", "full").refused("'process' does not hold here")
    assert discovery("resume", run, *more, "--json").json["evaluations"] == 20


def test_show_for_people_says_where_it_stands_and_what_comes_next(discovery, stored):
    storage, run = stored
    out = discovery("show", run, "--storage", storage).out
    for words in (
        run,
        "finished",
        "C=2 L=3 K=2, rpucg",
        "process",
        "12 of 12",
        f"discovery best {run} --storage",
    ):
        assert words in out
    assert "resume" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_a_list_of_runs_never_cuts_off_an_id(discovery, stored):
    storage, run = stored
    assert run in discovery("runs", "--storage", storage).out


def test_one_candidate_is_shown_with_its_evaluation_and_the_sandbox_it_ran_in(discovery, stored):
    storage, run = stored
    shown = discovery("show", run, "0.1.0", "--storage", storage, "--json").json
    assert (shown["candidate"], shown["parents"][0]) == ("0.1.0", "initial")
    (search,) = [e for e in shown["evaluations"] if e["purpose"] == "search"]
    assert search["sandbox"].startswith("process"), "a result tells how little isolated it was"
    assert "def solve" in shown["source"]
    assert shown["source"].strip() in discovery("show", run, "0.1.0", "--storage", storage).out


def test_best_prints_the_program_and_writes_it_where_it_is_told(discovery, stored, home, drawn):
    storage, run = stored
    best = discovery("best", run, "--storage", storage, "--out", "here", "--json").json
    assert Path(best["program"]).read_text() == best["source"]
    assert best["score"] == discovery("show", run, "--storage", storage, "--json").json["best_score"]
    assert contents(home) == ["here", "here/best.py", "here/progress.png", "here/utilisation.png"]
    assert best["source"].strip() in discovery("best", run, "--storage", storage, "--out", "here").out


SOLUTIONS = [
    ("good.py", "def solve():\n    return [0.0] * 10\n", 0, None),
    ("good.json", "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0]", 0, None),
    ("short.py", "def solve():\n    return [0.0] * 9\n", 1, "invalid"),
    ("short.json", "[0]", 1, "invalid"),
    ("raises.py", "def solve():\n    return 1 / 0\n", 1, "crashed"),
    ("syntax.py", "def solve(:\n", 1, "crashed"),
    ("other.py", "x = 1\n", 1, "missing_function"),
    ("empty.py", "", 1, "missing_function"),
]


@pytest.mark.parametrize(("name", "text", "code", "kind"), SOLUTIONS, ids=[s[0] for s in SOLUTIONS])
def test_score_says_valid_or_why_not(discovery, name, text, code, kind):
    Path(name).write_text(text)
    ended = discovery("score", "constants-10", name, "--sandbox", "process", "--json")
    result = ended.json
    assert ended.code == code
    assert result.keys() >= {"valid", "score", "metrics", "failure"}
    assert result["valid"] is (code == 0)
    assert (result["score"] is not None) is result["valid"]
    assert (result["failure"] or {}).get("kind") == kind


def test_score_for_people(discovery):
    Path("good.json").write_text(json.dumps([0] * 10))
    Path("bad.json").write_text("[1]")
    assert discovery("score", "constants-10", "good.json").out.startswith("valid  0.0108")
    bad = discovery("score", "constants-10", "bad.json")
    assert (bad.code, bad.err) == (1, "")
    assert bad.out.startswith("invalid  ")
    assert bad.out.count("invalid") == 1


def test_problems_are_listed_and_shown(discovery):
    listed = discovery("problems", "--json").json
    assert {p["problem"] for p in listed} >= {"circle-packing-26", "circle-packing-32", "constants-10"}
    one = discovery("problems", "circle-packing-26", "--json").json
    assert one["known_best"][0]["source"]
    assert "circle-packing-26" in discovery("problems").out
    shown = discovery("problems", "constants-10").out
    assert "Ten hidden constants" in shown
    assert "EVOLVE-BLOCK-START" in shown


def test_doctor_tells_all_it_looked_at(discovery, monkeypatch):
    monkeypatch.setattr("discovery.orchestration.server.import_error", lambda *_: None)
    ended = discovery("doctor", "--json")
    found = {d["name"]: d for d in ended.json}
    assert {"python", "bubblewrap", "storage", "disk", "prefect"} <= set(found)
    assert all(d["ok"] or d["fix"] for d in found.values())
    assert ended.code in (0, 1)


def test_doctor_verifies_a_sandbox(discovery):
    found = discovery("doctor", "--sandbox", "process", "--json").json
    assert found["sandbox"] == "process"
    assert found["properties"]["process_tree_ended"]
    assert not found["properties"]["host_files_hidden"]
    assert found["levels"] == ["none"]
    out = discovery("doctor", "--sandbox", "process").out
    assert "no     host_files_hidden" in out
    assert "met    level none" in out
    discovery("doctor", "--sandbox", "jail").refused("'jail'")


def test_the_server_that_does_not_run_says_so(discovery):
    ended = discovery("server", "status", "--json")
    assert (ended.code, ended.json["healthy"], ended.json["url"]) == (1, False, None)
    assert "discovery server start" in discovery("server", "status").out
    assert discovery("server", "stop").code == 0


def test_bench_measures(discovery, home):
    measured = discovery("bench", "--evaluations", 20, "--sandbox", "process", "--json").json
    assert measured["evaluations"] == 20
    assert measured["cpu_ms"] > 0
    assert contents(home) == []


def test_new_makes_what_check_passes_and_run_improves(discovery, home, drawn):
    made = discovery("new", "my-problem")
    assert made.code == 0
    assert "discovery check ./my-problem" in made.out
    checked = discovery("check", "./my-problem", "--sandbox", "process", "--json")
    assert (checked.code, checked.json) == (0, [])
    result = discovery("run", "./my-problem", *SHAPE, "--json").json
    assert result["best_score"] < result["initial_score"], "it minimises"
    assert (home / "discovery-runs" / result["run"] / "best.png").read_bytes().startswith(PNG)


def test_check_reports_all_that_is_wrong_with_fixes(discovery):
    discovery("new", "mine")
    file = Path("mine/problem.py")
    file.write_text(file.read_text().replace("(0.0, None)", "(1.0, 0.0)").replace('"minimize"', '"up"'))
    Path("mine/statement.md").write_text("")
    ended = discovery("check", "./mine", "--sandbox", "process", "--json")
    assert ended.code == 1
    assert len([f for f in ended.json if f["level"] == "error" and f["fix"]]) >= 3
    people = discovery("check", "./mine", "--sandbox", "process")
    assert people.code == 1
    assert people.out.count("fix: ") == len(ended.json)


# How runs go


def trajectory(discovery, storage, run):
    keys = [f"{chain}.{step}.{index}" for chain in range(2) for step in range(1, 4) for index in range(2)]
    shown = [discovery("show", run, key, "--storage", storage, "--json").json for key in keys]
    return [
        (
            s["candidate"],
            s["parents"],
            s["source"],
            s["evaluations"][0]["score"],
            s["evaluations"][0]["message"],
        )
        for s in shown
    ]


def test_the_same_seed_makes_the_same_run(discovery):
    found = {}
    for name, seed, slots in (("a", 5, 1), ("b", 5, 4), ("c", 6, 4)):
        result = discovery(
            "run", "constants-10", *SHAPE, "--seed", seed, "--evaluation-slots", slots,
            "--storage", f"{name}.db", "--json",
        ).json  # fmt: skip
        found[name] = (result["best_score"], trajectory(discovery, f"{name}.db", result["run"]))
    assert found["a"] == found["b"]
    assert found["a"] != found["c"]


def test_until_ends_a_run_at_the_first_score_that_is_good_enough(discovery):
    result = discovery("run", "constants-10", *SHAPE, "--until", 0.0108, "--json").json
    assert (result["status"], result["evaluations"]) == ("finished", 0)
    shape = ["50" if option == "3" else option for option in SHAPE]
    result = discovery("run", "constants-10", *shape, "--until", 0.0115, "--json").json
    assert result["best_score"] >= 0.0115
    assert result["evaluations"] < 200


def test_selectors_and_their_parameters(discovery):
    listed = [each["name"] for each in discovery("selectors", "--json").json]
    advised = {name for name in listed if name.startswith("llm-")}
    for selector in advised:
        discovery("run", "constants-10", *SHAPE, "--selector", selector).refused(selector, "asks a model")
    for selector in sorted({*listed} - advised - {"pareto"}):
        assert discovery("run", "constants-10", *SHAPE, "--selector", selector, "--json").code == 0
    chosen = ("--selector-param", "gamma=0.5", "--selector-param", "c=2")
    run = discovery("run", "constants-10", *SHAPE, *chosen, "--json").json["run"]
    stored = open_existing()
    assert stored.get_run(run).config["search"]["selector_params"] == {"gamma": 0.5, "c": 2.0}
    stored.close()


def test_settings_come_from_a_file_and_options_win(discovery):
    Path("run.toml").write_text("seed = 3\n[search]\nchains = 2\nsteps = 1\ncandidates = 3\n")
    options = (
        "--config",
        "run.toml",
        "--candidates",
        2,
        "--sandbox",
        "process",
        "--scheduler",
        "local",
        "--json",
    )
    result = discovery("run", "constants-10", *options).json
    assert (len(result["chains"]), result["evaluations"]) == (2, 4)


def test_a_budget_deepens_the_chains_unless_their_depth_is_given(discovery):
    options = ("--chains", 2, "--candidates", 2, "--sandbox", "process", "--scheduler", "local", "--json")
    more = 2 * 2 * SearchConfig().steps + 3
    assert discovery("run", "constants-10", *options, "--max-evaluations", more).json["evaluations"] == more
    capped = discovery("run", "constants-10", *options, "--steps", 2, "--max-evaluations", more).json
    assert capped["evaluations"] == 8


def test_a_finished_run_goes_on_with_a_larger_budget(discovery):
    first = discovery("run", "constants-10", *SHAPE, "--max-evaluations", 5, "--json").json
    run = first["run"]
    assert first["evaluations"] == 5
    again = discovery("resume", run)
    assert (again.code, again.err) == (0, "")
    assert "has finished" in again.out
    assert "It goes on with a larger budget: " in again.out
    assert f"discovery resume {run} --max-evaluations" in again.out
    assert discovery("resume", run, "--json").json["evaluations"] == 5
    more = ("--scheduler", "local", "--sandbox", "process", "--json")
    assert discovery("resume", run, "--max-evaluations", 40, *more).json["evaluations"] == 40
    assert discovery("resume", run, "--max-evaluations", 3, *more).json["evaluations"] == 40


SLOW = '''
from discovery import problem

INITIAL = """
import time

def solve():
    time.sleep(0.05)
    return value()

# EVOLVE-BLOCK-START
def value():
    return 0.1
# EVOLVE-BLOCK-END
"""

@problem(name="slow", statement="Write solve() that returns a number.", initial=INITIAL)
def score(program):
    return float(program.call("solve"))
'''


def descendants(pid):
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = (int(fields[1]), fields[0], fields[19])
    found, wave = {}, {pid}
    while wave:
        wave = {p for p, (parent, _, _) in parents.items() if parent in wave}
        found |= {p: parents[p][2] for p in wave}
    return found


def alive(processes):
    """Those that still run, told from later ones of the same number by when they started."""
    left = []
    for pid, started in processes.items():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and fields[19] == started:
            left.append(pid)
    return left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on_and_leaves_nothing_behind(discovery, home, number):
    Path("slow.py").write_text(SLOW)
    options = ["--chains", "2", "--candidates", "2", "--max-evaluations", "120", "--evaluation-slots", "2"]
    with subprocess.Popen(
        [*PROGRAM, "run", "./slow.py", *options, "--scheduler", "local", "--sandbox", "process", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        first = process.stderr.readline()
        assert first.startswith("run slow-")
        time.sleep(0.5)
        processes = descendants(process.pid)
        assert processes
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    stopped = Ended(process.returncode, out, err)
    assert stopped.code == INTERRUPTED
    result = stopped.json
    assert result["status"] == "stopped"
    assert 0 < result["evaluations"] < 120
    assert f"discovery resume {result['run']}\n" in err
    assert "Traceback" not in err
    deadline = time.monotonic() + 5
    while (left := alive(processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    assert discovery("show", result["run"], "--json").json["status"] == "stopped"
    assert f"discovery resume {result['run']}" in discovery("show", result["run"]).out
    ended = discovery("resume", result["run"], "--sandbox", "process", "--scheduler", "local", "--json")
    assert (ended.code, ended.json["evaluations"], ended.json["status"]) == (0, 120, "finished")


def test_a_run_that_runs_is_left_alone(discovery, home):
    Path("slow.py").write_text(SLOW)
    options = ["--chains", "2", "--candidates", "2", "--scheduler", "local", "--sandbox", "process"]
    with subprocess.Popen(
        [*PROGRAM, "run", "./slow.py", *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        run = process.stderr.readline().split()[1]
        ended = discovery("resume", run, "--scheduler", "local", "--sandbox", "process")
        shown = discovery("show", run, "--json").json
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    ended.refused(run, f"process {process.pid}", "discovery show")
    assert shown["status"] == "running"


def test_a_reader_that_leaves_is_no_error(home):
    process = subprocess.Popen(
        [*PROGRAM, "problems", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


# Misuse: one line with the value, what was expected and the fix; nothing made

MISUSES = [
    (["run"], ["needs PROBLEM", "discovery problems"]),
    (["resume"], ["needs RUN", "discovery runs"]),
    (["score", "constants-10"], ["needs SOLUTION"]),
    (["rum", "constants-10"], ["rum", "Did you mean", "run", "See: discovery --help"]),
    (["run", "constants-10", "more"], ["nothing further", "more"]),
    (["run", "constants-10", "--chain", "2"], ["--chain", "Did you mean", "--chains"]),
    (["run", "constants-10", "--chains", "two"], ["--chains", "two", "int"]),
    (["run", "constants-10", "--chains"], ["--chains"]),
    (["run", "constants-10", "--scheduler", "cron"], ["cron", "auto", "prefect", "local"]),
    (["server", "begin"], ["begin", "start, stop, status"]),
    (["run", "nosuch"], ["'nosuch'", "discovery problems", "discovery new nosuch"]),
    (["run", "circle-paking-26"], ["did you mean circle-packing-26"]),
    (["run", "./nosuch.py"], ["nosuch.py", "no file or folder"]),
    (["run", ""], ["discovery problems"]),
    (["run", "."], ["problem.py"]),
    (["run", "n" * 300], ["File name too long", "discovery problems"]),
    (["problems", "nosuch"], ["'nosuch'"]),
    (["check", "nosuch"], ["'nosuch'"]),
    (["score", "nosuch", "x.py"], ["'nosuch'"]),
    (["score", "constants-10", "nosuch.py"], ["nosuch.py", "No such file"]),
    (["score", "constants-10", "."], ["Is a directory"]),
    (["run", "constants-10", "--chains", "0"], ["chains is 0", "from 1 to"]),
    (["run", "constants-10", "--steps", "-1"], ["steps is -1"]),
    (["run", "constants-10", "--candidates", "2000"], ["candidates is 2000", "1,024"]),
    (["run", "constants-10", "--parents", "33"], ["parents is 33"]),
    (["run", "constants-10", "--seed", "-1"], ["seed is -1"]),
    (["run", "constants-10", "--temperature", "3"], ["temperature is 3.0"]),
    (["run", "constants-10", "--evaluation-slots", "0"], ["evaluation slots is 0"]),
    (["run", "constants-10", "--generation-slots", "0"], ["generation slots is 0"]),
    (["run", "constants-10", "--max-evaluations", "0"], ["max_evaluations is 0"]),
    (["run", "constants-10", "--max-seconds", "-1"], ["max_seconds is -1"]),
    (["run", "constants-10", "--until", "nan"], ["until is nan"]),
    (["run", "constants-10", "--max-seconds", "inf"], ["max_seconds is inf"]),
    (["run", "constants-10", "--max-cost", "1"], ["max_cost is 1", "embedded", "[prices]"]),
    (["run", "constants-10", "--prices", "nosuch.toml"], ["nosuch.toml", "No such file"]),
    (
        ["run", "constants-10", "--base-url", "http://127.0.0.1:1/v1", "--model", "m", "--max-cost", "1"],
        ["max_cost is 1", "model 'm'", "discovery prices init"],
    ),
    (["run", "constants-10", "--selector", "greed"], ["greed", "balance, best-of-n, greedy"]),
    (["run", "constants-10", "--selector", "pareto"], ["no objectives", "objectives=[Objective(...)]"]),
    (["run", "constants-10", "--selector-param", "gamma"], ["NAME=VALUE"]),
    (["run", "constants-10", "--selector-param", "gamma=big"], ["rpucg: gamma", "'big'", "a number"]),
    (
        ["run", "constants-10", "--selector", "puct", "--selector-param", "backup=min"],
        ["'min'", "max or mean"],
    ),
    (["run", "constants-10", "--selector-param", "beta=1"], ["'beta'", "gamma"]),
    (["run", "constants-10", "--selector", "best-of-n", "--selector-param", "c=1"], ["'c'", "none"]),
    (["run", "constants-10", "--generator", "gpt"], ["gpt", "mutation, openai"]),
    (["run", "constants-10", "--generator", "openai"], ["--base-url"]),
    (["run", "constants-10", "--generator", "mutation", "--model", "m"], ["--model m", "leave one"]),
    (["run", "constants-10", "--generator", "mutation", "--base-url", "u"], ["--base-url u", "leave one"]),
    (["run", "constants-10", "--base-url", "me:secret@h:1/v1"], ["'h:1/v1'", "http://h:1/v1"]),
    (["run", "constants-10", "--effort", "low"], ["--effort low", "--serve MODEL"]),
    (["run", "constants-10", "--answer-tokens", "0"], ["--answer-tokens 0", "leave the option out"]),
    (
        ["run", "constants-10", "--base-url", "http://h/v1", "--effort", "hihg"],
        ["'hihg'", "low, medium, high"],
    ),
    (
        ["run", "constants-10", "--base-url", "http://h/v1", "--keep", "all"],
        ["'all'", "text, tokens, logprobs"],
    ),
    (["run", "constants-10", "--sandbox", "jail"], ["jail", "bubblewrap, docker, process"]),
    (["run", "constants-10", "--require-isolation", ""], ["''", "empty name", "none"]),
    (["run", "constants-10", "--require-isolation", "full,"], ["'full,'", "empty name", "none"]),
    (["run", "constants-10", "--require-isolation", "jail"], ["'jail'", "untrusted", "no_network"]),
    (["run", "constants-10", "--config", "nosuch.toml"], ["nosuch.toml", "TOML"]),
    (["run", "constants-10", "--storage", "mysql://u:secret@h/x"], ["mysql", "sqlite and postgresql"]),
    (["run", "constants-10", "--storage", "/"], ["folder"]),
    (["run", "constants-10", "--storage", "/proc/nosuch/x.db"], ["/proc/nosuch/x.db", "--storage"]),
    (["run", "constants-10", "--storage", "n" * 300], ["File name too long", "--storage"]),
    (["show", "nosuch"], ["no run is stored", "discovery run PROBLEM"]),
    (["resume", "nosuch"], ["no run is stored"]),
    (["best", "nosuch"], ["no run is stored"]),
    (["new", "Bad Name"], ["'Bad Name'", "bad-name"]),
    (["new", "circle-packing-26"], ["bundled"]),
    (["new", "mine", "--in", "nosuch"], ["nosuch/mine", "No such file"]),
    (["bench", "--evaluations", "0"], ["--evaluations 0"]),
]


@pytest.mark.parametrize(("arguments", "words"), MISUSES, ids=[" ".join(m[0])[:50] for m in MISUSES])
def test_misuse_is_one_line_and_makes_nothing(discovery, home, arguments, words):
    discovery(*arguments).refused(*words)
    assert contents(home) == []


def test_no_arguments_give_help(discovery):
    ended = discovery()
    assert (ended.code, ended.err) == (0, "")
    assert "Commands" in ended.out


def test_runs_of_an_empty_folder_are_none_and_none_are_made(discovery, home):
    assert discovery("runs", "--json").json == []
    assert "discovery run circle-packing-26" in discovery("runs").out
    assert contents(home) == []


def test_a_run_that_is_not_there_or_not_the_only_one(discovery, stored):
    storage, run = stored
    copied = shutil.copy(storage, "copy.db")
    second = discovery(
        "run", "constants-10", *SHAPE, "--max-evaluations", 2, "--storage", copied, "--json"
    ).json["run"]
    discovery("show", "constants", "--storage", copied).refused(run, second, "give more")
    for command in ("show", "resume", "best"):
        discovery(command, f"{run}x", "--storage", copied).refused(f"{run}x", "the nearest are", run)
    discovery("show", run, "9.9.9", "--storage", copied).refused("9.9.9", f"discovery show {run}")
    discovery("show", run, "first", "--storage", copied).refused("'first'", "CHAIN.STEP.INDEX")
    discovery("best", run, "--storage", copied, "--out", "/proc/nosuch").refused(
        "/proc/nosuch", "another folder"
    )


PLUGINS = [
    ("syntax", "def f(:", ["plugin.py:1", "SyntaxError"]),
    ("nothing", "", ["declares no problem", "@problem"]),
    ("undecorated", "def score(program): return 1", ["not decorated"]),
    ("raises", "\nraise RuntimeError('one\\ntwo')", ["plugin.py:2", "RuntimeError: one two"]),
    ("imports", "import nosuchmodule", ["nosuchmodule", "pip install"]),
    ("exits", "import sys; sys.exit(3)", ["exits while it is loaded"]),
    ("bytes", b"\xff\xfe\x00", ["plugin.py:1", "SyntaxError"]),
    ("declared", SLOW.replace('"slow"', '"Slow One"'), ["'Slow One'", "lower-case"]),
    ("misspelt", SLOW.replace("statement=", "statment="), ["no statement", "discovery check"]),
    (
        "twice",
        SLOW + SLOW.replace('"slow"', '"fast"').replace("def score", "def other"),
        ["plugin.py:fast", "name one"],
    ),
    ("scorer", SLOW.replace("float(", "1 / (0 * "), ["ZeroDivisionError", "discovery check ./plugin.py"]),
    ("infinite", SLOW.replace('float(program.call("solve"))', 'float("nan")'), ["nan", "finite"]),
    ("initial", SLOW.replace("import time", "import tim"), ["crashed", "tim"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), [p[1:] for p in PLUGINS], ids=[p[0] for p in PLUGINS])
def test_a_malformed_plugin_is_one_line_and_makes_no_run(discovery, home, text, words):
    Path("plugin.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    discovery("run", "./plugin.py", *SHAPE, "--json").refused(*words)
    assert discovery("runs", "--json").json == []
    assert not (home / "discovery-runs").exists()


def test_a_plugin_that_does_not_end_is_interrupted(home):
    """In a process of its own: pytest has taken this one's alarm."""
    Path("plugin.py").write_text("while True: pass")
    impatient = "from discovery import plugins; plugins.LOAD_TIMEOUT_S = 0.2; "
    done = subprocess.run(
        [sys.executable, "-c", impatient + PROGRAM[2], "run", "./plugin.py"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    Ended(done.returncode, done.stdout, done.stderr).refused("plugin.py:1", "more than 0.2 s")


def test_what_a_plugin_prints_is_not_in_the_json(discovery):
    Path("plugin.py").write_text(
        "print('hello')\n" + SLOW.replace("    return float", "    print('there')\n    return float")
    )
    result = discovery("run", "./plugin.py", *SHAPE, "--max-evaluations", 2, "--json")
    assert result.json["evaluations"] == 2
    assert discovery("check", "./plugin.py", "--sandbox", "process", "--json").json is not None


def test_names_with_spaces_are_quoted_where_they_are_shown(discovery):
    Path("my problem.py").write_text(SLOW)
    ended = discovery("run", "./my problem.py", *SHAPE, "--max-evaluations", 2, "--storage", "my runs.db")
    assert ended.code == 0
    assert "--storage 'my runs.db'" in ended.out
    assert f"discovery score '{Path.cwd()}/my problem.py' " in ended.out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[search]\nchians = 3", ["search.chians", "chains"]),
        ("seed = 'x'", ["seed is 'x'", "int"]),
        ("search = 3", ["search is 3", "table"]),
        ("seed = ", ["TOML"]),
        (b"\xff\xfe", ["TOML"]),
        ("[search]\nsteps = 0", ["steps is 0"]),
        (
            "[generator]\ntemperature = 0.7",
            ["'generator.temperature'", "[generator.sampling] temperature = ..."],
        ),
        ("[generator]\nreasoning_effort = 'low'", ["[generator.reasoning] effort = ..."]),
        ("max_tokens = 5", ["'max_tokens'", "[budget] max_tokens = ..."]),
    ],
)
def test_a_faulty_settings_file_is_one_line(discovery, text, words):
    Path("run.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    discovery("run", "constants-10", "--config", "run.toml").refused(*words)


@pytest.mark.parametrize("text", ["{", "[NaN]", "[1e999]", ""])
def test_solutions_that_are_no_json_are_misuse(discovery, text):
    Path("solution.json").write_text(text)
    discovery("score", "constants-10", "solution.json").refused("solution.json")


def test_solutions_that_are_no_text_are_misuse(discovery):
    Path("solution.py").write_bytes(b"\xff\xfe")
    discovery("score", "constants-10", "solution.py").refused("UTF-8")


def test_storages_that_cannot_be_used(discovery, stored):
    storage, run = stored
    Path("garbage.db").write_bytes(b"no database at all" * 100)
    newer = shutil.copy(storage, "newer.db")
    with sqlite3.connect(newer) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    before = Path("garbage.db").read_bytes()
    for command in (["run", "constants-10"], ["runs"], ["show", run], ["resume", run], ["best", run]):
        discovery(*command, "--storage", "garbage.db").refused("garbage.db", "not an SQLite database")
        discovery(*command, "--storage", newer).refused("9999", "upgrade")
    assert Path("garbage.db").read_bytes() == before


def test_a_problem_that_has_changed_or_is_gone_cannot_be_resumed_but_looked_at(discovery):
    file = Path("slow.py")
    file.write_text(SLOW)
    run = discovery("run", "./slow.py", *SHAPE, "--max-evaluations", 2, "--json").json["run"]
    file.write_text(SLOW.replace("0.1", "0.2"))
    more = ("--max-evaluations", 4, "--scheduler", "local", "--sandbox", "process")
    discovery("resume", run, *more).refused("has changed", run)
    file.unlink()
    discovery("resume", run, *more).refused(run, "slow.py is gone", "put it back")
    for command in ("show", "best"):
        assert discovery(command, run, "--json").code == 0
    file.write_text(SLOW)
    assert discovery("resume", run, *more, "--json").json["evaluations"] == 4


def test_results_that_cannot_be_written_do_not_cost_the_run(discovery):
    Path("discovery-runs").write_text("a file where the folder would be")
    ended = discovery("run", "constants-10", *SHAPE, "--json")
    assert (ended.code, ended.json["status"]) == (0, "finished")
    assert f"discovery best {ended.json['run']} --out FOLDER" in ended.err
    discovery("best", ended.json["run"]).refused("discovery-runs", "another folder")
    assert discovery("best", ended.json["run"], "--out", "elsewhere", "--json").code == 0


@pytest.mark.sandbox
def test_a_full_disk_is_one_line(home, discovery):
    """A file system of 64 KiB, which bubblewrap makes without privileges."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("bubblewrap is not installed")
    small = [bwrap, "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--size", "65536", "--tmpfs", str(home)]
    done = subprocess.run(
        [*small, *PROGRAM, "run", "constants-10", *SHAPE, "--storage", f"{home}/runs.db"],
        capture_output=True,
        text=True,
        check=False,
    )
    Ended(done.returncode, done.stdout, done.stderr).refused("storage", "no room", "free space")


def test_a_sandbox_that_is_missing(discovery, home, monkeypatch):
    programs = home.parent / "programs"
    programs.mkdir()
    for name in ("sh", "env", "rm", "cat"):
        (programs / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{programs}/docker.sock")
    shape = [option for option in SHAPE if option not in ("--sandbox", "process")]
    solution = share_dir("problems") / "constants-10" / "initial.py"
    for command in (
        ["run", "constants-10", "--sandbox", "bubblewrap"],
        ["run", "constants-10", "--base-url", "http://127.0.0.1:9/v1"],
        ["score", "constants-10", solution],
    ):
        discovery(*command).refused("bubblewrap is not installed")
    discovery("run", "constants-10", "--base-url", "http://127.0.0.1:9/v1").refused("--sandbox process")
    assert contents(home) == []
    ended = discovery("run", "constants-10", *shape, "--max-evaluations", 2, "--json")
    assert ended.json["evaluations"] == 2
    assert [line for line in ended.err.splitlines() if line.startswith("note:")] == [
        line for line in ended.err.splitlines() if "plain processes" in line or "Prefect" in line
    ]
    shown = discovery("show", ended.json["run"], "0.1.0", "--json").json
    assert shown["evaluations"][0]["sandbox"].startswith("process")


@pytest.fixture
def refusing():
    """A server to which no key is right."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"error": {"message": "Incorrect API key provided"}}'
            self.send_response(401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_servers_that_do_not_answer_or_refuse(discovery, refusing, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        options = ("--model", "m", "--sandbox", "process", "--scheduler", "local")
        discovery("run", "constants-10", "--base-url", url, *options).refused(
            url, "is the server up, and its URL right?"
        )
        discovery("run", "constants-10", "--base-url", refusing, *options).refused(refusing, "OPENAI_API_KEY")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
        keyed = discovery("run", "constants-10", "--base-url", refusing, *options)
        keyed.refused(refusing, "OPENAI_API_KEY")
        assert "sk-very-secret" not in keyed.err
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        assert url in discovery("run", "constants-10", *options).err, "the variable alone asks for the model"
    assert discovery("runs", "--json").json == []


def test_prefect_that_does_not_answer_is_said(discovery):
    options = [option if option != "local" else "prefect" for option in SHAPE]
    discovery("run", "constants-10", *options).refused("no Prefect API", "discovery server start")
    assert discovery("runs", "--json").json == []


def test_a_fault_of_our_own_is_one_line_too(discovery, monkeypatch):
    def broken(*_):
        raise KeyError("a fault")

    monkeypatch.setattr("discovery.cli.show.open_existing", broken)
    ended = discovery("show", "x")
    assert ended.code == FAULT
    assert ended.err.count("\n") == 1
    assert "DISCOVERY_DEBUG=1" in ended.err
    monkeypatch.setenv("DISCOVERY_DEBUG", "1")
    assert "Traceback" in discovery("show", "x").err


def test_no_command_leaves_an_event_loop_behind(discovery):
    discovery("run", "constants-10", *SHAPE, "--max-evaluations", 2)
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert os.environ.get("PREFECT_API_URL") is None
