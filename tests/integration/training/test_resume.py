"""A training that is killed at any moment goes on, and ends with the weights that it would have ended with."""

import json
import os
import signal
from pathlib import Path

import pytest

from discovery.errors import TrainingFailed, UsageError
from discovery.testing.exports import sft_row, write_export
from discovery.training import lineage
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.place import Place
from discovery.training.training import Request, train

pytestmark = pytest.mark.train


ROWS = {
    "train": [sft_row(n, 1 + n % 2) for n in range(12)],
    "validation": [sft_row(n) for n in range(20, 23)],
}


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def tensors(weights):
    [path] = weights.glob("*.safetensors")
    return path.read_bytes()


@pytest.fixture
def rows(export):
    return export("rows", **ROWS)


def asked(rows, model, out, **config):
    config = {
        **{"batch_rows": 4, "micro_rows": 2, "learning_rate": 1e-2, "max_tokens": 128, "epochs": 3},
        **{"validate_every": 2, "save_every": 2},
        **config,
    }
    return Request(exports=(rows,), model=str(model), out=out, config=TrainConfig(**config))


DRAWING = {"lora": LoraConfig(rank=2, dropout=0.2)}
"""Draws at random at each step."""


@pytest.fixture(scope="module")
def straight(tiny_model, tmp_path_factory):
    """A training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("straight")
    return train(
        asked(write_export(folder / "rows", **ROWS), tiny_model, folder / "out", **DRAWING), lambda _: None
    )


def in_checkpoint(monkeypatch):
    whole = Place.mark_whole
    monkeypatch.setattr(Place, "mark_whole", lambda self, step: die() if step >= 4 else whole(self, step))


def before_the_result(monkeypatch):
    monkeypatch.setattr(lineage, "write", die)


def while_tidying(monkeypatch):
    monkeypatch.setattr(Place, "tidy", die)


def before_the_best_is_kept(monkeypatch):
    rename = Path.rename

    def renamed(self, target):
        return die() if Path(target).name == "best-4" else rename(self, target)

    monkeypatch.setattr(Path, "rename", renamed)


KILLS = (
    (1, None),
    (before_the_best_is_kept, 2),
    (in_checkpoint, 2),
    (7, 6),
    (before_the_result, 9),
    (while_tidying, 9),
)
"""A step or a place, and the checkpoint that must count then; each finds what the one before has left."""


def test_killed_at_six_places_it_ends_with_the_same_weights(tiny_model, rows, straight, tmp_path, killed):
    request = asked(rows, tiny_model, tmp_path / "out", **DRAWING)
    for arm, counts in KILLS:
        killed(request, **({"at_step": arm} if isinstance(arm, int) else {"arm": arm}))
        whole = sorted(path.parent.name for path in request.out.glob("checkpoints/*/whole"))
        assert whole[-1:] == ([] if counts is None else [f"checkpoint-{counts}"]), arm
    resumed = train(request, lambda _: None)
    assert tensors(resumed.weights) == tensors(straight.weights)
    assert resumed.lineage.metrics == straight.lineage.metrics
    logs = [
        [(line["step"], line.get("loss"), line.get("eval_loss")) for line in map(json.loads, log)]
        for log in (
            (out / "log.jsonl").read_text().splitlines() for out in (straight.weights.parent, request.out)
        )
    ]
    assert logs[0] == logs[1]
    assert {path.name for path in request.out.iterdir()} == {".lock", "log.jsonl", "training.json", "weights"}


def test_all_weights_go_on_as_well(tiny_model, rows, tmp_path, killed):
    straight = train(asked(rows, tiny_model, tmp_path / "straight", epochs=1), lambda _: None)
    request = asked(rows, tiny_model, tmp_path / "out", epochs=1)
    killed(request, at_step=3)
    assert tensors(train(request, lambda _: None).weights) == tensors(straight.weights)


def test_an_early_end_is_not_forgotten(tiny_model, export, tmp_path, killed):
    folder = export(
        "odd", train=[export.row(1, answer="aaaa")] * 4, validation=[export.row(1, answer="bbbb")]
    )
    config = {"epochs": 50, "patience": 1, "warmup": 0.0, "validate_every": 1, "save_every": 1}
    request = asked(folder, tiny_model, tmp_path / "out", **config)
    killed(request, arm=before_the_result)
    told = []
    done = train(request, told.append)
    assert told == []
    assert done.lineage.metrics["ended_early"]


def test_without_validation_the_last_weights_are_the_result(tiny_model, export, tmp_path, killed):
    folder = export("rows", train=[export.row(n) for n in range(8)])
    request = asked(folder, tiny_model, tmp_path / "out")
    killed(request, arm=before_the_result)
    told = []
    done = train(request, told.append)
    assert told == []
    assert done.lineage.metrics["weights_of_step"] == done.lineage.metrics["steps"] == 6


def test_a_second_process_is_refused(tiny_model, rows, tmp_path):
    with Place(tmp_path / "out").held(), pytest.raises(UsageError, match="another process trains in"):
        train(asked(rows, tiny_model, tmp_path / "out"), lambda _: None)


def test_a_folder_with_something_else_is_refused(tiny_model, rows, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"holds 'thesis\.tex' and no training"):
        train(asked(rows, tiny_model, tmp_path / "out"), lambda _: None)


def test_a_start_that_nothing_came_of_binds_nobody(tiny_model, export, tmp_path):
    folder = export("rows", train=[export.row(1)])
    with pytest.raises(UsageError, match=r"no row is left to train on: .*longer than max_tokens.: 1"):
        train(asked(folder, tiny_model, tmp_path / "out", max_tokens=8), lambda _: None)
    train(asked(folder, tiny_model, tmp_path / "out", max_tokens=64), lambda _: None)


def test_memory_that_runs_out_is_told_with_what_to_do(tiny_model, rows, tmp_path):
    import torch

    def run_out(line):
        raise torch.OutOfMemoryError("tried to allocate 1 GiB")

    with pytest.raises(
        TrainingFailed, match=r"ran out after step 1 .tried to allocate 1 GiB.; lower --micro-rows"
    ):
        train(asked(rows, tiny_model, tmp_path / "out"), run_out)


def test_gradients_add_up_to_those_of_the_whole_batch(tiny_model, export, tmp_path):
    """One forward pass of 4 rows of unlike lengths and weights, or 4 of one: the same step."""
    from safetensors.torch import load_file
    from torch.testing import assert_close

    rows = [
        export.row(n, weight, "y" * length)
        for n, weight, length in [(1, 1, 3), (2, 5, 30), (3, 0.5, 9), (4, 2, 1)]
    ]
    folder = export("rows", train=rows)
    found = []
    for micro_rows in (4, 1):
        config = {"micro_rows": micro_rows, "max_steps": 1, "warmup": 0.0, "clip_norm": 0.1}
        done = train(asked(folder, tiny_model, tmp_path / str(micro_rows), **config), lambda _: None)
        [line] = map(json.loads, (tmp_path / str(micro_rows) / "log.jsonl").read_text().splitlines())
        found.append((line, load_file(done.weights / "model.safetensors")))
    for number in ("loss", "grad_norm"):  # AdamW's first step forgets how large a gradient is
        assert found[0][0][number] == pytest.approx(found[1][0][number], rel=1e-5)
    for name, tensor in found[0][1].items():
        assert_close(tensor, found[1][1][name], rtol=0, atol=1e-5)
