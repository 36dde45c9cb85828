"""Warm starts over whole runs: the guide's example climbs by them alone, killed or not."""

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from discovery.cli import main
from discovery.direct import score_directly
from discovery.plugins import load_problem
from discovery.records import INITIAL
from discovery.storage import open_storage
from discovery.trajectories.archive import write_archive
from discovery.trajectories.arrival import arrive
from discovery.warm import stored_artifact

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "problems.md").read_text()
FILES = dict(re.findall(r"^`tour-20/([\w.]+)`:\n\n```\w+\n(.*?)^```", GUIDE, re.M | re.S))
CHAINS, STEPS = 2, 10
SHAPE = ["--chains", str(CHAINS), "--steps", str(STEPS), "--candidates", "4", "--overlap", "1", "--seed", "3"]
OPTIONS = ["--scheduler", "local", "--sandbox", "process", "--evaluation-slots", "2", "--json"]


@pytest.fixture
def tour(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCOVERY_PICTURES", "off")
    folder = tmp_path / "tour-20"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return load_problem(str(folder))


def command(*arguments):
    code = "import sys; from discovery.cli import main; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments]


def found(database, run=None):
    """Each candidate with its source, whose construction it was given, and its score."""
    with contextlib.closing(open_storage(str(database))) as storage:
        run = run or storage.list_runs()[0].id
        places = {}
        for chain in range(CHAINS):
            for number in range(1, STEPS + 1):
                whole = storage.step(run, chain, number)
                for index, each in whole.candidates.items() if whole else ():
                    evaluation = whole.evaluations.get(index)
                    score = evaluation.score.value if evaluation and evaluation.score else None
                    places[str(each.key)] = (each.source, each.warm_start, score)
        return run, places


@pytest.mark.timeout(240)
def test_killed_and_resumed_it_hands_on_what_it_would_have_undisturbed(tour, tmp_path, capsys):
    start = ["run", str(tour.path.parent), *SHAPE, *OPTIONS]
    assert main([*start, "--storage", "straight.db"]) == 0
    best = json.loads(capsys.readouterr().out.splitlines()[-1])["best_score"]
    run, expected = found("straight.db")
    killed, name = tmp_path / "killed.db", None
    for enough in (15, 45):
        arguments = start if name is None else ["resume", name, *OPTIONS]
        process = subprocess.Popen(
            command(*arguments, "--storage", str(killed)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if rows(killed) >= enough:
                break
            time.sleep(0.02)
        process.kill()
        process.communicate()
        name, _ = found(killed)
    assert rows(killed) < len(expected), "it was killed before its end"
    assert main(["resume", name, *OPTIONS, "--storage", str(killed)]) == 0
    assert found(killed, name)[1] == expected

    # Without what was handed on a program can turn one stretch of the first tour around, and no more.
    first = list(range(20))
    turns = (first[:a] + first[a:b][::-1] + first[b:] for a in range(21) for b in range(a, 21))
    alone = min(score_directly(tour, each).value for each in turns)
    assert f"{alone:.1f}" in GUIDE
    assert best < 0.9 * alone
    with contextlib.closing(open_storage("straight.db")) as storage:
        for source, given, score in expected.values():
            names = {}
            exec(source, names)
            if score is not None:
                tour_given = stored_artifact(storage, run, given)
                assert score_directly(tour, names["solve"](tour_given)).value == score
    assert len({given for _, given, _ in expected.values()} - {INITIAL}) > 5

    check_what_is_told(tour, run, best, capsys)
    check_that_it_travels(run, expected, tmp_path)


def rows(database):
    if not database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            return connection.execute("SELECT count(*) FROM evaluations").fetchone()[0]
        except sqlite3.OperationalError:  # its tables are being made
            return 0


def check_what_is_told(tour, run, best, capsys):
    capsys.readouterr()
    assert main(["best", run, "--out", "best", "--storage", "straight.db", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["score"], told["warm_start"]) == (best, "best/warm_start.json")
    score = ["score", str(tour.path.parent), "best/best.py", "--sandbox", "process", "--json"]
    assert main([*score, "--warm-start", told["warm_start"]]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == best
    assert main(score) == 0
    assert json.loads(capsys.readouterr().out)["score"] > best
    assert main(["show", run, "--candidate", told["candidate"], "--storage", "straight.db", "--json"]) == 0
    given = json.loads(capsys.readouterr().out)["warm_start"]
    assert main(["show", run, "--candidate", told["candidate"], "--storage", "straight.db"]) == 0
    assert f"it was given the construction of {given}" in capsys.readouterr().out
    assert main(["audit", run, "--storage", "straight.db", "--sandbox", "process", "--json"]) == 0
    capsys.readouterr()
    for wrong, says in (("none.json", "No such file"), ("bad.json", "NaN is not a finite number")):
        Path("bad.json").write_text("[NaN]")
        assert main([*score, "--warm-start", wrong]) == 2
        assert says in capsys.readouterr().err
    assert main(["score", "circle-packing-26", "best/best.py", "--warm-start", "bad.json"]) == 2
    assert "gives its programs nothing" in capsys.readouterr().err


def check_that_it_travels(run, expected, tmp_path):
    with contextlib.closing(open_storage("straight.db")) as storage:
        write_archive(tmp_path / "archive", storage, [run])
    with contextlib.closing(open_storage("other.db")) as storage:
        arrive(storage, tmp_path / "archive")
    assert found("other.db", run)[1] == expected


def test_the_guides_example_has_no_fault(tour, capsys):
    assert main(["check", str(tour.path.parent), "--sandbox", "process"]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
