"""What a loop showed, in words, numbers and a picture."""

import json
from dataclasses import replace

import pytest

from discovery.loop.report import make_report
from discovery.loop.showing import rows, save_report
from tests.unit.loop.conftest import Killed


@pytest.fixture
async def done(make_loop):
    looping = make_loop(gains=(0.0, 100.0, 100.0))
    await looping.go()
    return looping


async def test_it_tells_before_and_after_on_seen_and_unseen_problems(done):
    report = save_report(done.folder)
    table = list(rows(report))
    assert [row[:3] for row in table] == [
        ("seen", "seen", "0"),
        ("", "", "1 (result)"),
        ("", "", "2"),
        ("seen-too", "seen", "0"),
        ("", "", "1 (result)"),
        ("", "", "2"),
        ("unseen", "unseen", "0"),
        ("", "", "1 (result)"),
        ("", "", "2"),
    ]
    assert table[0][3].startswith("5.5 [")
    assert table[1][4].startswith("+100 [")
    assert table[1][4].endswith("better")
    assert table[0][5] == "2 x 8"
    text = (done.folder.path / "report.md").read_text()
    for said in (
        "Result: revision 1",
        "It ended after round 2, which does not help on the held-out problems",
        "learnt from export `export-1`: 6 steps to train on, 1 to validate, of 2 trajectories of 4 runs",
        "- left out: 7 below the best 10 %",
        "- refuted: a chain of lies: it scored 3, not 9",
        "each of the 144 completions says that the weights of its revision wrote it",
        "| measuring revision 0 | 6 | 48 | 600 | 60 |  |",
        "| training revision 1 | 2 |",
    ):
        assert said in text
    assert (done.folder.path / "report.png").read_bytes().startswith(b"\x89PNG")


async def test_json_has_all_numbers_and_where_weights_come_from(done):
    save_report(done.folder)
    data = json.loads((done.folder.path / "report.json").read_text())
    problem = data["problems"][2]
    assert (problem["problem"].rpartition("/")[2], problem["is_held_out"]) == ("unseen.py", True)
    change = problem["figures"][1]["change"]
    assert change["low"] <= change["estimate"] == 100 <= change["high"]
    assert [figures["holds_zero"] for figures in problem["figures"]] == [None, False, False]
    assert [made["helps"] for made in data["rounds"]] == [True, False]
    assert data["rounds"][1]["trained"]["lineage"] == {"base": "1"}
    assert data["rounds"][0]["exported"]["id"] == "export-1"
    assert data["result"] == 1


async def test_a_change_that_may_be_none_is_said_to_be(make_loop):
    looping = make_loop(gains=(0.0, 0.1), rounds=1)
    await looping.go()
    report = make_report(looping.folder)
    assert {problem.said(problem.figures[1]) for problem in report.problems} == {"interval holds 0"}
    assert "the interval holds 0" in str(report.rounds[0].verdict)


async def test_runs_that_did_not_spend_their_budget_are_named(make_loop):
    looping = make_loop(rounds=1)
    measured = looping.runs.measured
    looping.runs.measured = lambda job: replace(measured(job), evaluations=8 - job.seed)
    await looping.go()
    report = make_report(looping.folder)
    assert (
        "6 runs did not spend their budget, so that they do not compare: seen-loopfixed-r0-s1 (7 of 8)"
        in (report.notes[1])
    )
    assert next(rows(report))[5] == "2 x 7 or 8"


async def test_few_seeds_are_said_to_be_few(make_loop):
    for name, seeds, is_few in (("few", 2, True), ("enough", 3, False)):
        looping = make_loop(name, rounds=1, seeds=seeds)
        await looping.go()
        notes = make_report(looping.folder).notes
        assert ("2 seeds of 2 chains: too few for intervals to be believed" in notes[0]) == is_few


async def test_what_it_cost_is_told_by_currency(make_loop):
    looping = make_loop(rounds=1)
    measured = looping.runs.measured
    looping.runs.measured = lambda job: replace(
        measured(job), cost=1.5, currency="EUR" if job.seed else "USD"
    )
    await looping.go()
    assert make_report(looping.folder).spent[0].cost == {"USD": 4.5, "EUR": 4.5}


async def test_a_loop_in_the_middle_has_a_report_that_says_so(make_loop):
    looping = make_loop()
    looping.world.kill_at = 30
    with pytest.raises(Killed):
        await looping.go()
    report = save_report(looping.folder)
    assert report.ended is None
    assert report.result == 0
    assert "has not ended" in (looping.folder.path / "report.md").read_text()
    await looping.go()
    assert make_report(looping.folder).ended is not None


def test_a_loop_that_has_done_nothing_has_an_empty_report(make_loop):
    report = save_report(make_loop().folder)
    assert (report.problems, report.spent, report.result) == ((), (), 0)
