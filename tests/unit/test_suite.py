"""The benchmark of the suite tells what was reached, what was not measured, and what does not hold."""

import dataclasses
import json
from datetime import timedelta

import pytest

from benchmarks import suite
from benchmarks.__main__ import main
from discovery.plugins import load_problem
from discovery.records import SHARED_CHAIN, Announcement, CandidateKey, Direction, Purpose
from discovery.storage import open_storage
from discovery.testing.storage_records import START, append, make_candidate, make_scored, start

FOUND = {"evaluations": 200, "initial": 0.25, "reached": 0.5, "exact": "0.50000000000000000000"}


@pytest.fixture
def searched(monkeypatch):
    """What each problem's run is made to say; and which were run."""
    monkeypatch.delenv("CI", raising=False)
    ran = []

    def say(*found):
        said = found[0] if isinstance(found[0], str) else list(found)
        monkeypatch.setattr(suite, "_searched", lambda problem, *_: ran.append(problem.name) or said)
        return ran

    return say


def run(tmp_path, *names, **budget):
    return suite.run(problems=list(names), results=tmp_path, **(budget or {"evaluations": 200}))


def test_what_was_reached_stands_beside_the_best_known_and_is_kept(searched, tmp_path):
    ran = searched(FOUND)
    report = run(tmp_path, "zigzag-8", "uncertainty-inequality")
    high, low = report.rows
    assert (high.gap, high.improves, high.said) == (0.5, True, "")
    assert (low.improves, low.holds) == (False, False), "to be minimised"
    assert not report.holds
    told = json.loads(json.dumps(report.as_dict()))
    assert told["rows"][0]["exact"] == "0.50000000000000000000"
    assert run(tmp_path, "zigzag-8").rows == [high]
    assert ran == ["zigzag-8", "uncertainty-inequality"]
    run(tmp_path, "zigzag-8", minutes=[1.0])
    assert len(ran) == 3, "another budget"
    (kept,) = tmp_path.glob("suite/zigzag-8 200 *.json")
    kept.write_text(kept.read_text().replace(load_problem("zigzag-8").version, "0" * 64))
    run(tmp_path, "zigzag-8")
    assert len(ran) == 4, "another version"
    kept.write_text(kept.read_text().replace(suite.MODEL, "mutation-1"))
    run(tmp_path, "zigzag-8")
    assert len(ran) == 5, "another generator"


def test_one_run_gives_what_was_reached_in_each_of_several_minutes(searched, tmp_path):
    ran = searched({**FOUND, "evaluations": 20, "reached": 0.25}, FOUND)
    report = run(tmp_path, "zigzag-8", minutes=[10.0, 1.0])
    assert [(row.budget, row.evaluations, row.reached) for row in report.rows] == [
        ("1 min", 20, 0.25),
        ("10 min", 200, 0.5),
    ]
    assert report.holds, "that it improves in the longest is enough"
    (cells,) = zip(*(list(column.cells) for column in report.table().columns), strict=True)
    assert list(map(str, cells)) == ["zigzag-8", "200", "0.25", "0.25", "0.5", "1", "0.5", ""]
    assert run(tmp_path, "zigzag-8", minutes=[1.0]).rows == report.rows[:1]
    assert ran == ["zigzag-8"]


def test_a_page_shows_all_that_is_kept_of_minutes_and_nothing_out_of_date(searched, tmp_path):
    ran = searched({**FOUND, "evaluations": 20, "reached": 0.375}, {**FOUND, "evaluations": 2000})
    run(tmp_path, "zigzag-8", minutes=[10.0, 1.0])
    searched(FOUND)
    run(tmp_path, "uncertainty-inequality", "zigzag-12", minutes=[1.0])
    run(tmp_path, "zigzag-16")
    (old,) = tmp_path.glob("suite/zigzag-12 *.json")
    old.write_text(old.read_text().replace(load_problem("zigzag-12").version, "0" * 64))
    page = tmp_path / "reached.md"
    run(tmp_path, "zigzag-8", minutes=[1.0], page=page)
    assert len(ran) == 4, "nothing is measured again for a page"
    title, about, command, table = page.read_text().split("\n\n", 3)
    assert title == "# What the embedded generator reaches"
    assert f"`{suite.MODEL}`" in about
    assert f"--page {page}" in command
    assert table.splitlines() == [
        "| problem | evaluations | initial | 1 min | 10 min | best known | gap |",
        "|---|---|---|---|---|---|---|",
        "| uncertainty-inequality (min) | 200 | 0.25 | 0.5 | - | 0.3215872 | 0.1784128 |",
        "| zigzag-8 | 2,000 | 0.25 | 0.375 | 0.5 | 1 | 0.5 |",
    ]


def test_the_command_prints_the_table_and_writes_the_report(searched, tmp_path, monkeypatch, capsys):
    searched(FOUND)
    asked = ["suite", "--evaluations", "200", "--problems", "zigzag-8", "--results", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["benchmarks", *asked])
    assert main() == 0
    assert "zigzag-8" in capsys.readouterr().out
    assert json.loads((tmp_path / "suite.json").read_text())["rows"][0]["reached"] == 0.5


def test_what_was_reached_by_a_mark_is_the_best_announced_by_then(tmp_path):
    storage = open_storage(str(tmp_path / "r.db"))
    leases = start(storage)
    for index, (score, after_s) in enumerate([(1.0, 10), (3.0, 50), (2.0, 70), (4.0, 70)]):
        key = CandidateKey(0, 1, index)
        scored = make_scored(key, score, after_s=after_s)
        exactly = dataclasses.replace(scored.score, exact=f"{score}00")
        again = dataclasses.replace(scored, purpose=Purpose.VERIFY, score=exactly)
        append(storage, leases[0], make_candidate(key, f"x = {index}"), scored, again)
        told = Announcement(
            key=key, score=score, evaluations=index + 1, announced_at=START + timedelta(seconds=after_s)
        )
        append(storage, leases[SHARED_CHAIN], told)
    marks = [suite.reached_by(storage, "run-1", Direction.MAXIMIZE, seconds) for seconds in (9, 60, 90)]
    assert marks == [
        {"evaluations": 0},
        {"evaluations": 2, "reached": 3.0, "exact": "3.000"},
        {"evaluations": 4, "reached": 4.0, "exact": "4.000"},
    ]
    storage.close()


def test_a_problem_that_does_not_improve_must_say_why(searched, tmp_path, monkeypatch):
    searched({**FOUND, "reached": 0.25})
    report = run(tmp_path, "zigzag-8")
    assert not report.holds
    assert "nothing says why" in report.rows[0].said
    zigzag = load_problem("zigzag-8")
    settings = dataclasses.replace(zigzag.settings, out_of_reach="its literals are no numbers")
    monkeypatch.setattr(suite, "load_problem", lambda name: dataclasses.replace(zigzag, settings=settings))
    report = run(tmp_path, "zigzag-8")
    assert report.holds
    assert "its literals are no numbers" in report.rows[0].said


def test_what_fails_is_missed_and_tried_again(searched, tmp_path):
    ran = searched("error: no sandbox")
    for _ in range(2):
        report = run(tmp_path, "zigzag-8")
        assert (report.holds, report.rows[0].said) == (False, "failed: error: no sandbox")
    assert len(ran) == 2


def test_what_the_machine_lacks_is_said_and_missed_by_ci_only(searched, tmp_path, monkeypatch):
    ran = searched(FOUND)
    zigzag = load_problem("zigzag-8")
    settings = dataclasses.replace(zigzag.settings, packages=("no_such_package",))
    monkeypatch.setattr(suite, "load_problem", lambda name: dataclasses.replace(zigzag, settings=settings))
    report = run(tmp_path, "zigzag-8")
    assert (report.holds, ran) == (True, [])
    assert "lacks the package no_such_package" in report.rows[0].said
    monkeypatch.setenv("CI", "true")
    assert not run(tmp_path, "zigzag-8").holds
