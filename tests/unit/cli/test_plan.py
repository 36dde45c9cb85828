"""``discovery plan``."""

import json
import shutil
from dataclasses import replace

import pytest

from discovery.cli import main
from discovery.config import RunConfig, to_dict
from discovery.storage import open_storage
from discovery.testing.storage import make_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a small run, and what `plan` said when it made one itself."""
    folder = tmp_path_factory.mktemp("plan")
    path = str(folder / "runs.db")
    assert main(["plan", "constants-10", "--pilot", "12", "--sandbox", "process", "--storage", path]) == 0
    return folder


@pytest.fixture
def stored(made, tmp_path, monkeypatch):
    monkeypatch.delenv("DISCOVERY_PRICES", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    for file in made.iterdir():
        shutil.copy(file, tmp_path)
    return str(tmp_path / "runs.db")


def run_of(path):
    storage = open_storage(path)
    try:
        (record,) = storage.list_runs()
        return record
    finally:
        storage.close()


def test_the_pilot_is_an_ordinary_run(stored, capsys):
    record = run_of(stored)
    assert record.facts["pilot"] is True
    assert record.config["search"]["steps"] >= 2
    assert main(["show", record.id, "--storage", stored]) == 0
    assert "12 of 12" in capsys.readouterr().out


def test_a_stored_run_foretells_another(stored, capsys):
    record = run_of(stored)
    arguments = ["plan", "--like", record.id, "--chains", "8", "--steps", "10", "--candidates", "4"]
    assert main([*arguments, "--storage", stored]) == 0
    said = capsys.readouterr().out
    for part in (
        "C=8 L=10 K=4",
        record.id,
        "320,",
        "wall time",
        "waits for",
        "What if",
        "--overlap 1",
        "assumed",
    ):
        assert part in said
    assert main([*arguments, "--storage", stored, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pilot"] == {"runs": [record.id], "completions": 12}
    assert told["evaluations"] == 320
    assert 0 < told["wall_s"]["low"] <= told["wall_s"]["value"] <= told["wall_s"]["high"]
    assert told["cost"] is None
    assert told["what_ifs"]


def test_without_options_it_is_the_run_itself(stored, capsys):
    record = run_of(stored)
    assert main(["plan", "--like", record.id, "--storage", stored, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["evaluations"] == 12
    assert told["wall_s"]["value"] == pytest.approx(record.wall_s, rel=0.6)


def test_a_run_without_completions_is_refused(tmp_path, capsys):
    path = str(tmp_path / "empty.db")
    storage = open_storage(path)
    storage.create_run(replace(make_run("run-1"), config=to_dict(RunConfig(problem="packing"))))
    storage.close()
    assert main(["plan", "--like", "run-1", "--storage", path]) == 2
    said = capsys.readouterr().err
    assert "run run-1 has 0 finished completions" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "needs PROBLEM"),
        (["constants-10", "--pilot", "3"], "--pilot is 3"),
        (["constants-10", "--like", "RUN", "--pilot", "9"], "--pilot is for a run that is made now"),
        (["--like", "RUN", "--model", "x"], "--model is of a pilot run"),
        (["zigzag-8", "--like", "RUN"], "says nothing of 'zigzag-8'"),
        (["--like", "RUN", "--server-slots", "0"], "--server-slots is 0"),
        (["--like", "nothing"], "no run 'nothing'"),
    ],
)
def test_misuse_is_one_line(stored, capsys, arguments, named):
    identity = run_of(stored).id
    given = [identity if argument == "RUN" else argument for argument in arguments]
    assert main(["plan", *given, "--storage", stored]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert len(said.splitlines()) == 1


def test_rungs_are_foretold_and_shown(stored, capsys):
    record = run_of(stored)
    arguments = ["plan", "--like", record.id, "--chains", "8", "--steps", "10", "--candidates", "4"]
    assert main([*arguments, "--rungs", "2", "--storage", stored]) == 0
    said = capsys.readouterr().out
    assert "50 % of the chains go on at each" in said
    assert "which chains are pruned at a rung" in " ".join(said.split())
    assert main([*arguments, "--rungs", "9", "--storage", stored]) == 2
    assert main([*arguments, "--keep-chains", "0.3", "--storage", stored]) == 2
    assert main([*arguments, "--mix", "a=mutation", "--storage", stored]) == 2
    assert "--mix is of a pilot run" in " ".join(capsys.readouterr().err.split())


def test_a_pilot_may_be_of_a_mixture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mixed = ["--mix", "a=mutation,weight=3", "--mix", "b=mutation"]
    assert main(["plan", "constants-10", *mixed, "--pilot", "16", "--sandbox", "process"]) == 0
    assert "completions come from a 75 %, b 25 %" in " ".join(capsys.readouterr().out.split())
    assert main(["plan", "constants-10", "--mix-by", "ucb", "--pilot", "16", "--sandbox", "process"]) == 2
