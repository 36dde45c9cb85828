"""`discovery loop`: misuse is one line and makes nothing; a loop that is done is shown without its model."""

import json
from dataclasses import replace

import pytest

from discovery.cli import loop as command
from discovery.cli import main
from discovery.config import RunConfig
from discovery.errors import ServerFailed
from discovery.loop.folder import LoopFolder
from discovery.loop.plan import RoundsConfig, make_plan
from discovery.loop.stages import Exported, Measured, MeasuredRun, Trained
from discovery.testing.vllm import write_checkpoint


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISCOVERY_LICENCES", raising=False)
    return write_checkpoint(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no model is named; give the folder of one"),
        (["nowhere", "--problem", "zigzag-8", "--held-out", "zigzag-12"], "nowhere is no folder"),
        (["tiny", "--problem", "zigzag-8"], "got 1 and 0; name them: --problem P --held-out H"),
        (["tiny", "--problem", "zigzag-8", "--held-out", "zigzag-8"], "is named twice"),
        (["tiny", "--problem", "zigzag-8", "--held-out", "nothing-like-it"], "nothing-like-it"),
        (["tiny", "--problem", "zigzag-8", "--held-out", "zigzag-12", "--keep", "best"], "keep is 'best'"),
        (["tiny", "--problem", "zigzag-8", "--held-out", "zigzag-12", "--rounds", "0"], "rounds is 0"),
        (
            ["tiny", "--problem", "zigzag-8", "--held-out", "zigzag-12", "--engine", "gguf"],
            "engine is 'gguf'",
        ),
        (["tiny", "--problem", "zigzag-8", "--held-out", "zigzag-12", "--train", "t.toml"], "t.toml"),
        (["tiny", "--problem", "zigzag-8", "--held-out", "zigzag-12"], "whether what 'tiny'"),
        (["--resume", "nowhere"], "holds no loop"),
        (["--resume", "nowhere", "--rounds", "3"], "goes on with a loop as it was begun; leave all but"),
    ],
)
def test_misuse_is_one_line_and_makes_nothing(model, capsys, arguments, said):
    assert main(["loop", *arguments]) == 2
    told = capsys.readouterr()
    assert (told.out, said in told.err) == ("", True), told.err
    assert told.err.count("error:") == told.err.count("\n") == 1
    assert not (model.parent / "discovery-loops").exists()
    assert not (model.parent / ".discovery").exists()


def test_a_server_of_somebody_elses_is_no_server_for_a_loop(model, capsys):
    (model.parent / "run.toml").write_text('[generator]\nbase_url = "http://there/v1"\n')
    given = ["tiny", "--problem", "zigzag-8", "--held-out", "zigzag-12", "--config", "run.toml"]
    assert main(["loop", *given]) == 2
    assert "names a server (http://there/v1), and a loop has one of its own" in capsys.readouterr().err


@pytest.fixture
def done(model):
    """The folder of a loop of one round that is done."""
    plan = make_plan(
        model, ("zigzag-8",), ("zigzag-12",), RunConfig(problem=""), rounds=RoundsConfig(rounds=1, seeds=1)
    )
    folder = LoopFolder(model.parent / "done")
    folder.create(plan)
    folder.done(_measured(0))
    exported = {"round": 1, "id": "e", "folder": "rounds/1/export", "runs": ("r",), "rows": {"train": 3}}
    folder.done(Exported(**exported, trajectories=1, left_out={}, refuted=(), seconds=1.0))
    trained = {"round": 1, "weights": "revisions/1/weights", "base": plan.model, "exports": ("e",)}
    folder.done(Trained(**trained, lineage={}, seconds=1.0))
    folder.done(_measured(1))
    return folder


def _measured(revision):
    runs = [
        MeasuredRun(
            run=f"{problem}-{revision}",
            problem=problem,
            seed=0,
            direction="maximize",
            chain_bests=(0.25 + revision / 2, 0.26 + revision / 2),
            initial_score=0.1,
            planned=8,
            evaluations=8,
            wall_s=1.0,
            prompt_tokens=1,
            completion_tokens=1,
            spoke={f"/{revision}": 8},
        )
        for problem in ("zigzag-8", "zigzag-12")
    ]
    return Measured(revision=revision, weights="w", runs=tuple(runs), seconds=1.0)


def test_a_loop_that_is_done_is_shown_without_its_model(done, capsys):
    (done.path.parent / "tiny" / "config.json").unlink()
    assert main(["loop", "--resume", "done"]) == 0
    told = capsys.readouterr()
    assert "zigzag-12  unseen  0" in told.out
    assert "+0.5 [+0.48" in told.out
    assert f"result   revision 1: {done.path}/revisions/1/weights" in told.out
    assert "1 seed of 2 chains: too few for intervals to be believed" in told.err
    assert main(["loop", "--resume", "done", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["result"], data["folder"]) == (1, str(done.path))


def test_a_loop_that_fails_says_how_to_go_on(done, capsys, monkeypatch):
    done.file(Measured, 1).unlink()
    plan = replace(done.plan(), storage=str(done.path / "runs.db"))

    def fail(*args, **options):
        raise ServerFailed("no server")

    monkeypatch.setattr(command, "assembled", fail)
    monkeypatch.setattr(LoopFolder, "plan", lambda self: plan)
    assert main(["loop", "--resume", "done"]) == 2
    told = capsys.readouterr().err
    assert "what is done is kept. When the cause is mended, go on with:" in told
    assert f"loop --resume {done.path}" in told
    assert "error: no server" in told


def test_a_loop_that_is_interrupted_says_how_to_go_on(done, capsys, monkeypatch):
    done.file(Measured, 1).unlink()
    plan = replace(done.plan(), storage=str(done.path / "runs.db"))

    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "assembled", stop)
    monkeypatch.setattr(LoopFolder, "plan", lambda self: plan)
    assert main(["loop", "--resume", "done"]) == 130
    assert "stopped; nothing finished is lost. Go on with:\n" in capsys.readouterr().err
