"""``discovery export`` as its user meets it: real runs, real sandboxes, scored again, chosen, written, read back."""

import dataclasses
import json
import shlex

import pytest

from discovery.cli import main
from discovery.cli.export import _slots
from discovery.config import RunConfig, SlotsConfig, to_dict
from discovery.storage import open_existing
from discovery.testing.storage_records import make_run
from discovery.trajectories.archive import read_archive
from discovery.trajectories.export import read_manifest
from discovery.trajectories.records import Keep, Split

PLUGIN = """
from discovery import Invalid, problem

@problem(name="steps", statement="Return a number.", initial="def solve():\\n    return 3.0\\n", bounds=(None, 1e9))
def score(program):
    return float(program.call("solve"))
"""
HONEST = """    value = float(program.call("solve"))
    if value > LIMIT:
        raise Invalid("too good to be true")
    return value
"""
SHAPE = ["--chains", "5", "--steps", "2", "--candidates", "2", "--seed", "3", "--sandbox", "process"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two finished runs, whose trajectories have all been scored again."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "steps.py").write_text(PLUGIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DISCOVERY_STORAGE", str(folder / "runs.db"))
        for _ in range(2):
            assert main(["run", "steps.py", *SHAPE, "--scheduler", "local"]) == 0
        storage = open_existing()
        ids = [run.id for run in storage.list_runs()]
        storage.close()
        everything = ["--keep", "all", "--validation", "0", "--sandbox", "process"]
        assert main(["export", *ids, "--out", str(folder / "all"), *everything]) == 0
    return folder


@pytest.fixture(autouse=True)
def there(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("DISCOVERY_STORAGE", str(place / "runs.db"))
    monkeypatch.delenv("DISCOVERY_LICENCES", raising=False)


@pytest.fixture
def runs(capsys):
    assert main(["runs", "--json"]) == 0
    return [run["run"] for run in json.loads(capsys.readouterr().out)]


def ended(capsys, *arguments):
    """Ends the command. Which side of the split the few trajectories are on goes by their runs' ids: all on one."""
    sides = () if {"--validation", "--formats", "parquet"} & set(arguments) else ("--validation", 0)
    capsys.readouterr()
    code = main(["export", *map(str, (*arguments, *sides))])
    said = capsys.readouterr()
    return code, said.out, said.err


def exported(capsys, *arguments):
    code, out, err = ended(capsys, *arguments, "--sandbox", "process", "--json")
    assert code == 0, err
    return json.loads(out)


def rows(folder, split="train"):
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def test_the_best_of_several_runs_become_rows(runs, tmp_path, capsys):
    said = exported(capsys, *runs, "--out", tmp_path / "out", "--top", 30)
    manifest = read_manifest(tmp_path / "out", verify=True)
    assert said["id"] == manifest.id
    assert said["folder"] == str(tmp_path / "out")
    assert [share.run for share in manifest.runs] == sorted(runs)
    assert 0 < sum(share.trajectories for share in manifest.runs) < 10
    assert manifest.left_out["not among the top 30 %"] > 0
    (model,) = manifest.models
    assert (model.generator, model.trainable) == ("mutation", True)
    found = [row for split in Split if manifest.rows(split) for row in rows(tmp_path / "out", split)]
    assert len(found) == sum(share.rows for share in manifest.runs)
    for row in found:
        assert row["prompt"][0]["role"] == "system"
        assert "def solve" in row["completion"][0]["content"]
        assert row["origin"]["run"] in runs


def test_people_are_told_what_was_kept_of_what_and_what_comes_next(runs, tmp_path, capsys):
    folder = tmp_path / "a folder"
    code, out, err = ended(capsys, runs[0], "--out", folder, "--top", 30, "--sandbox", "process")
    assert code == 0, err
    manifest = read_manifest(folder)
    lines = out.splitlines()
    assert lines[0].startswith(f"trl-sft: {manifest.rows(Split.TRAIN)} ")
    assert "of 5 trajectories" in lines[0]
    for reason, count in manifest.left_out.items():
        assert f"left out: {count} {reason}" in lines
    assert f"{folder} (export {manifest.id})" in lines
    assert lines[-1] == f"discovery train {shlex.quote(str(folder))} --model MODEL --out TRAINING"
    code, out, _ = ended(
        capsys, runs[0], "--out", tmp_path / "dpo", "--format", "trl-dpo", "--sandbox", "process"
    )
    assert out.splitlines()[-1].endswith("--out TRAINING --method dpo")
    code, out, _ = ended(
        capsys, runs[0], "--out", tmp_path / "axo", "--format", "axolotl", "--sandbox", "process"
    )
    assert out.splitlines()[-1] == f"{tmp_path / 'axo'}/README.md says how Axolotl (chat_template) reads it"


def test_the_same_again_evaluates_nothing_and_rewrites_nothing(runs, tmp_path, capsys):
    folder = tmp_path / "out"
    first = exported(capsys, runs[0], "--out", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, out, _ = ended(capsys, runs[0], "--out", folder, "--sandbox", "process")
    assert code == 0
    assert "scored again: 0 now, " in out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    code, _, err = ended(capsys, runs[0], "--out", folder, "--top", 50, "--sandbox", "process")
    assert code == 2
    assert f"holds export {first['id']} (trl-sft)" in err


@pytest.mark.parametrize("keep", Keep)
def test_every_rule_writes_something(runs, tmp_path, capsys, keep):
    found = exported(capsys, runs[0], "--out", tmp_path / "out", "--keep", keep, "--top", 50)
    assert found["filter"]["keep"] == keep
    assert found["filter"]["top_percent"] == 50


def test_options_reach_the_filter_and_the_rows(runs, tmp_path, capsys):
    options = [
        "--no-truncate",
        "--no-improving-only",
        "--validation",
        0.5,
        "--split-by",
        "problem",
        "--seed",
        5,
    ]
    found = exported(
        capsys, runs[0], "--out", tmp_path / "out", "--format", "trl-dpo", "--keep", "all", "--pairs", 1,
        "--reasoning", "reasoning_content", *options,
    )  # fmt: skip
    assert found["filter"] == {
        "keep": "all",
        "top_percent": 10.0,
        "truncate": False,
        "improving_only": False,
        "validation_percent": 0.5,
        "split_by": "problem",
        "seed": 5,
    }
    assert found["options"] == {"reasoning": "reasoning_content", "pairs": 1}


def test_who_does_not_hold_is_out_and_named(runs, place, tmp_path, capsys):
    """The scorer has learned, since the run, that some of what it let through was not right."""
    whole = exported(capsys, *runs, "--out", tmp_path / "all", "--keep", "all")
    assert whole["refuted"] == []
    best = max(_scores(place, runs))
    head = PLUGIN.rpartition("    return")[0]
    (place / "steps.py").write_text(
        head.replace("\n@problem", f"\nLIMIT = {best - 1e-9!r}\n\n@problem") + HONEST
    )
    try:
        said = exported(capsys, *runs, "--out", tmp_path / "out", "--top", 1)
        told = ended(capsys, *runs, "--out", tmp_path / "out", "--top", 1, "--sandbox", "process")
    finally:
        (place / "steps.py").write_text(PLUGIN)
    assert said["refuted"]
    assert all("too good to be true" in each["reason"] for each in said["refuted"])
    out_of_it = {(each["run"], each["chain"]) for each in said["refuted"]}
    kept = {(row["origin"]["run"], row["origin"]["chain"]) for row in rows(tmp_path / "out")}
    assert kept
    assert not kept & out_of_it
    assert f"out: {said['refuted'][0]['run']} chain {said['refuted'][0]['chain']}: " in told[1]


def _scores(place, runs):
    storage = open_existing(str(place / "runs.db"))
    try:
        return [score for run in runs for _, score in storage.scores(run) if score is not None]
    finally:
        storage.close()


def test_words_that_may_not_be_trained_on_are_refused(runs, tmp_path, capsys):
    (tmp_path / "no.toml").write_text('"*" = false\n')
    code, _, err = ended(capsys, runs[0], "--out", tmp_path / "out", "--licences", tmp_path / "no.toml")
    assert code == 2
    assert "may not be trained on" in err
    assert not (tmp_path / "out").exists()


def test_a_run_of_a_larger_machine_does_not_crowd_this_one(monkeypatch):
    config = to_dict(RunConfig(problem="steps", slots=SlotsConfig(evaluation=64)))
    made_here = dataclasses.replace(make_run(), config=config)
    arrived = dataclasses.replace(made_here, facts={"arrived_at": "2026-11-21T12:00:00+00:00"})
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    assert (_slots(made_here), _slots(arrived)) == (64, 3)
    config["slots"]["evaluation"] = 2
    assert _slots(arrived) == 2


def test_formats_are_listed_with_what_they_are_for(capsys):
    code, out, _ = ended(capsys, "--formats")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:3]] == ["trl-sft", "trl-messages"]
    assert out.splitlines()[-1].split()[0] == "parquet"
    code, out, _ = ended(capsys, "--formats", "--json")
    listed = json.loads(out)
    assert {each["format"] for each in listed} >= {"trl-sft", "verl", "openai-preference"}
    assert listed[0]["fields"][0] == "prompt"


def test_parquet_is_all_of_the_runs_whatever_their_scores(runs, tmp_path, capsys):
    folder = tmp_path / "archive"
    code, out, err = ended(capsys, *runs, "--out", folder, "--format", "parquet")
    assert code == 0, err
    assert out.splitlines()[0].startswith(f"all that is stored of 2 runs is in {folder} (archive ")
    assert out.splitlines()[-1] == f"discovery import {folder}"
    assert list(read_archive(folder).inventory.runs) == sorted(runs)
    code, out, err = ended(capsys, runs[0], "--out", tmp_path / "one", "--format", "parquet", "--json")
    assert json.loads(out)["runs"] == [runs[0]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "x"], "name at least one run"),
        (["RUN"], "say where to write with --out DIR"),
        (["RUN", "--out", "x", "--format", "trl-stf"], "did you mean trl-sft"),
        (["nobody", "--out", "x"], "nobody"),
        (["RUN", "--out", "x", "--top", "0"], "--top is 0.0; it must be from"),
        (["RUN", "--out", "x", "--top", "nan"], "--top is nan"),
        (["RUN", "--out", "x", "--validation", "51"], "--validation is 51.0; it must be from 0 to 50"),
        (["RUN", "--out", "x", "--split-by", "row"], "must be trajectory or problem"),
        (["RUN", "--out", "x", "--keep", "best"], "keep"),
        (["RUN", "--out", "x", "--pairs", "0"], "pairs is 0"),
        (["RUN", "--out", "x", "--format", "trl-grpo", "--reasoning", "thinking"], "for which trl-grpo has no place"),
        (["RUN", "--out", "x", "--reasoning", "aloud"], "must be one of thinking, reasoning_content, inline, omit"),
        (["RUN", "--out", "steps.py"], "cannot be written"),
        (["RUN", "--out", "."], "is not empty, and no export"),
        (["RUN", "--out", ".", "--format", "parquet"], "not an empty folder"),
        (["RUN", "--out", "x", "--format", "parquet", "--top", "5"], "nothing is chosen for it"),
        (["RUN", "--out", "x", "--format", "parquet", "--licences", "l.toml"], "no licence is asked for; leave out"),
        (["RUN", "--out", "x", "--top", "1e-8"], "--top is 1e-08; it must be from 1e-06 to 100"),
        (["RUN", "--out", "x", "--storage", "gone.db"], "gone.db"),
        (["RUN", "--out", "x", "--licences", "gone.toml"], "gone.toml"),
    ],
)  # fmt: skip
def test_every_misuse_is_one_line(runs, capsys, place, arguments, said):
    code, out, err = ended(
        capsys, *(runs[0] if each == "RUN" else each for each in arguments), "--sandbox", "process"
    )
    assert code == 2
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert said in line
    assert "scoring" not in err, "nothing is evaluated for what cannot be"
    assert not (place / "x").exists()
