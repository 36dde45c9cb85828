"""`discovery compare`: killed at any instant it goes on, and comes to what it would have come to undisturbed."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from discovery.cli import main
from discovery.storage import open_storage

GRID = [
    "constants-10",
    "--selector",
    "rpucg,best-of-n",
    "--chains",
    "2",
    "--candidates",
    "2",
    "--max-evaluations",
    "16",
]
OPTIONS = ["--sandbox", "process", "--evaluation-slots", "1", "--seeds", "2"]


def command(*arguments):
    return [sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())", *arguments]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr("discovery.comparison.pictures._DPI", 20)


def compare(capsys, *arguments):
    code = main(["compare", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def stored(url):
    """Of each run: its record, and every step with all that is stored of it."""
    storage = open_storage(url)
    try:
        return {
            run.id: (run, [list(storage.committed_steps(run.id, chain)) for chain in range(2)])
            for run in storage.list_runs()
        }
    finally:
        storage.close()


def without_times(report):
    """What a report says, without how long it took."""
    for budget in report["budgets"]:
        for setting in budget["settings"]:
            del setting["wall_s"]
    return report


@pytest.mark.timeout(120)
def test_killed_again_and_again_it_comes_to_what_it_comes_to_undisturbed(tmp_path, capsys):
    killed = str(tmp_path / "killed.db")
    rng = random.Random(1)
    finished, at_work = {}, 0
    for _ in range(3):
        process = subprocess.Popen(
            command("compare", *GRID, *OPTIONS, "--storage", killed),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        process.stderr.readline()  # how many runs there are, printed when the first is about to start
        time.sleep(rng.uniform(0.2, 1.2))
        at_work += process.poll() is None
        process.kill()
        process.communicate()
        now = stored(killed)
        done = {name: run for name, run in now.items() if run[0].finished_at is not None}
        assert {name: now.get(name) for name in finished} == finished, "what had finished was run again"
        finished = done
    assert at_work >= 2
    code, out, said = compare(capsys, *GRID, *OPTIONS, "--storage", killed, "--json")
    assert code == 0, said
    after = stored(killed)
    assert {name: after[name] for name in finished} == finished
    code, straight, _ = compare(
        capsys, *GRID, *OPTIONS, "--storage", str(tmp_path / "straight.db"), "--json", "--jobs", "2"
    )
    assert code == 0
    assert without_times(json.loads(out)) == without_times(json.loads(straight))
    other = stored(str(tmp_path / "straight.db"))
    assert {name: steps for name, (_, steps) in after.items()} == {
        name: steps for name, (_, steps) in other.items()
    }
    assert len(after) == 4
    for run, _ in after.values():
        assert run.facts["comparison"] == json.loads(out)["comparison"]
        assert run.facts["setting"] in ("rpucg", "best-of-n")
        assert run.facts["seed"] == run.config["seed"]


@pytest.mark.timeout(60)
def test_interrupted_it_says_how_to_go_on_and_more_seeds_are_added(tmp_path, capsys):
    process = subprocess.Popen(
        command("compare", *GRID, *OPTIONS),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "1/4" in line:
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "of 4 runs; nothing finished is lost. Go on with:" in errors
    going_on = errors.strip().splitlines()[-1].split()
    assert going_on[1:3] == ["compare", "--resume"]
    code, out, said = compare(capsys, *going_on[2:], "--seeds", "3", "--json")
    assert code == 0, said
    assert "6 runs" in said
    assert "have finished already" in said
    report = json.loads(out)
    assert report["seeds"] == [0, 1, 2]
    assert report["runs"] == {"planned": 6, "finished": 6}
    code, out, said = compare(capsys, *going_on[2:])
    assert code == 0
    assert "3 settings" not in out
    assert "recommended" in out
    folder = tmp_path / "discovery-runs" / f"compare-{report['comparison']}"
    assert (folder / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "needs PROBLEM, or --resume ID"),
        (["constants-10"], "one setting and nothing to compare it with"),
        (["constants-10", "--chains", "1,x"], "--chains '1,x': expected whole numbers"),
        (["constants-10", "--steps", "1,,2"], "--steps '1,,2' has an empty value"),
        (["constants-10", "--selector", "rpucg,nope"], "setting 'nope': no selector 'nope'"),
        (["constants-10", "--baseline", "nope"], "setting 'nope': no selector 'nope'"),
        (["constants-10", "--set", "parents"], "expected TABLE.NAME=VALUE,VALUE"),
        (["constants-10", "--set", "search.parents=1,99"], "parents is 99"),
        (
            ["constants-10", "--chains", "1,64", "--max-evaluations", "60"],
            "'C=64' cannot spend 60 evaluations",
        ),
        (
            ["constants-10", "--set", "adapt.rungs=0,2", "--max-evaluations", "24"],
            "setting 'rungs=2': rungs is 2, and 24 evaluations on 4 chains are too few",
        ),
        (["constants-10", "--selector", "rpucg,balance", "--jobs", "0"], "--jobs is 0"),
        (["constants-10", "--selector", "rpucg,balance", "--seeds", "0"], "seeds is 0"),
        (["constants-10", "--generator", "mutation", "--model", "m"], "has none; leave one of them out"),
        (["--resume", "x"], "no comparison 'x' in discovery-runs"),
        (["--resume", "x", "--chains", "2"], "the settings would change them"),
        (
            ["constants-10", "--selector", "rpucg,balance", "--report"],
            "0 of 12 runs have; go on with it first",
        ),
        (["nothing-of-that-name", "--baseline", "best-of-n"], "nothing-of-that-name"),
    ],
)
def test_what_is_asked_wrongly_is_one_line(capsys, arguments, says):
    code, out, said = compare(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert says in said
    assert said.count("\n") == 1


def test_settings_of_a_file_are_compared_by_their_names(tmp_path, capsys):
    (tmp_path / "two.toml").write_text(
        '[search]\ncandidates = 2\n\n[[setting]]\nname = "one deep"\nsearch = { chains = 1 }\n\n'
        '[[setting]]\nname = "two [b]wide[/]"\nsearch = { chains = 2, selector = "balance" }\n'
    )
    code, out, said = compare(
        capsys,
        "constants-10",
        "--config",
        "two.toml",
        "--max-evaluations",
        "8",
        "--seeds",
        "1",
        "--sandbox",
        "process",
    )
    assert code == 0, said
    assert "one deep" in out
    assert "two [b]wide[/]" in out
    assert "two [b]wide[/]  seed 0" in said
    (tmp_path / "bad.toml").write_text("[[setting]]\nsearch = { chains = 1 }\n")
    code, out, said = compare(capsys, "constants-10", "--config", "bad.toml")
    assert (code, out) == (2, "")
    assert "[[setting]] number 1 has the name None" in said


def test_other_commands_know_runs_of_a_comparison(tmp_path, capsys):
    code, out, _ = compare(capsys, *GRID, *OPTIONS, "--json")
    assert code == 0
    run = json.loads(out)["budgets"][0]["settings"][0]["runs"][0]
    assert main(["show", run]) == 0
    shown = capsys.readouterr().out
    assert json.loads(out)["comparison"] in shown
    assert "setting rpucg" in shown or "setting best-of-n" in shown
    assert main(["resume", run]) == 0
    assert "has finished" in capsys.readouterr().out


def test_a_mixture_is_shared_by_all_settings_and_how_it_is_shared_may_be_compared(tmp_path, capsys):
    db = str(tmp_path / "runs.db")
    mixed = ["constants-10", "--mix", "a=mutation,weight=3", "--mix", "b=mutation", "--mix-by", "weights,ucb"]
    shape = ["--chains", "1", "--candidates", "2", "--max-evaluations", "8", "--seeds", "1"]
    options = ["--sandbox", "process", "--evaluation-slots", "1", "--storage", db]
    code, _, said = compare(capsys, *mixed, *shape, *options)
    assert code == 0, said
    storage = open_storage(db)
    try:
        runs = storage.list_runs()
        assert sorted(run.facts["setting"] for run in runs) == ["ucb", "weights"]
        for run in runs:
            assert [m["name"] for m in run.config["generator"]["members"]] == ["a", "b"]
            assert run.config["arms"]["choice"] == run.facts["setting"]
    finally:
        storage.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mix", "a=mutation", "--mix", "b=mutation", "--generator", "mutation"], "--mix names several"),
        (["--mix-by", "weights,ucb"], "name more by --mix"),
        (["--mix", "a=nowhere", "--selector", "rpucg,greedy"], "expected NAME=URL"),
    ],
)
def test_a_mixture_that_cannot_be_is_refused(capsys, arguments, said):
    code, _, err = compare(capsys, "constants-10", *arguments)
    assert code == 2
    assert said in " ".join(err.split())
