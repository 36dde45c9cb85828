import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from discovery.cli import main
from discovery.cli.train import _settings
from discovery.errors import ConfigError, UsageError
from discovery.training.base import find_base
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.lineage import Lineage, write
from discovery.training.memory import plan
from discovery.training.shape import read_shape

LLAMA = {
    "model_type": "llama",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
}


@pytest.fixture
def model(tmp_path):
    """A model of which only the configuration is there: as much as a plan needs."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA))
    return folder


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr("discovery.training.base.gpu_memory", lambda: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")


def test_a_plan_shows_where_the_memory_goes(model, capsys):
    assert main(["train", "--model", str(model), "--plan", "--rank", "16", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = plan(read_shape(LLAMA), TrainConfig(lora=LoraConfig(rank=16)))
    assert found["parameters"] == 1_235_814_400
    assert found["total"] == expected.total == sum(found["parts"].values())
    assert found["gpu_memory"] is None
    assert main(["train", "--model", str(model), "--plan", "--rank", "16"]) == 0
    shown = capsys.readouterr().out
    assert "1,235,814,400 x 2 bytes" in shown
    assert f"{expected.total / (1 << 30):.2f}" in shown


def test_a_plan_that_does_not_fit_is_refused_unless_told_otherwise(model, capsys, monkeypatch):
    monkeypatch.setattr("discovery.training.base.gpu_memory", lambda: 16 << 30)
    command = ["train", "--model", str(model), "--plan", "--max-tokens", "2048"]
    assert main(command) == 2
    said = capsys.readouterr()
    assert "the GPU has 16.0; lower --micro-rows" in said.err
    assert "total" in said.out
    assert main([*command, "--anyway"]) == 0
    assert main([*command, "--rank", "8"]) == 0


def test_options_win_over_the_file(tmp_path):
    path = tmp_path / "how.toml"
    path.write_text('epochs = 2\nlearning_rate = 1e-4\n[lora]\nrank = 8\ntargets = ["q_proj"]\n')
    found = _settings(path, {"epochs": 3.0, "seed": None}, {"rank": 4, "alpha": None})
    lora = LoraConfig(rank=4, targets=("q_proj",))
    assert found == TrainConfig(epochs=3.0, learning_rate=1e-4, lora=lora)
    path.write_text("rank = 8\n")
    with pytest.raises(ConfigError, match=r"unknown setting 'rank'; it is written \[lora\] rank"):
        _settings(path, {}, {})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no model is named"),
        (["--model", "MODEL"], "no folder for the result is named"),
        (["--model", "MODEL", "--method", "ppo", "--plan"], "method is 'ppo'"),
        (["--model", "MODEL", "--batch-rows", "4", "--micro-rows", "3", "--plan"], "which does not divide"),
        (["--model", "./nowhere", "--plan"], "./nowhere is no folder"),
        (["--show", "MODEL"], "has no lineage.json"),
        (["--model", "MODEL", "--max-steps", "0", "--plan"], "max_steps is 0; it must be from 1"),
        (["--model", "MODEL", "--validate-every", "-1", "--plan"], "validate_every is -1; it must be from 1"),
        (["--model", "MODEL", "--save-every", "0", "--plan"], "save_every is 0; it must be from 1"),
        (["--model", "MODEL", "--seed", "-1", "--plan"], "seed is -1; it must be from 0"),
        (["--model", "MODEL", "--beta", "-1", "--plan"], "beta is -1.0; it must be from 0"),
        (["--model", "MODEL", "--alpha", "0", "--plan"], "alpha is 0; it must be from 1"),
    ],
)
def test_misuse_is_one_line_and_makes_nothing(model, tmp_path, capsys, arguments, said):
    arguments = [str(model) if each == "MODEL" else each for each in arguments]
    assert main(["train", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_that_cannot_be_counted_has_no_plan(model, capsys):
    (model / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    assert main(["train", "--model", str(model), "--plan"]) == 2
    assert "parameters are counted for gpt_oss, llama" in capsys.readouterr().err


def test_the_folder_of_a_training_is_told_from_its_weights(tmp_path):
    (tmp_path / "weights").mkdir()
    with pytest.raises(UsageError, match=r"is the folder of a training; name its result: --model .*/weights"):
        find_base(str(tmp_path))


def test_an_adapter_that_names_no_model_has_no_plan(tmp_path, capsys):
    (tmp_path / "adapter_config.json").write_text("{}")
    assert main(["train", "--model", str(tmp_path), "--plan"]) == 2
    assert "adapter_config.json names no base model; merge" in capsys.readouterr().err


def test_an_interrupted_training_says_how_to_go_on(model, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("discovery.training.training.train", interrupted)
    monkeypatch.setattr("discovery.training.base.require_libraries", lambda: None)
    assert main(["train", "rows", "--model", str(model), "--out", str(tmp_path / "out")]) == 130
    assert "the same command goes on from the last checkpoint" in capsys.readouterr().err


def test_a_lineage_from_elsewhere_says_nothing_to_the_terminal(tmp_path, capsys):
    lineage = Lineage(
        base="\x1b[2Jbase",
        base_hash="abc",
        exports=(),
        method="sft",
        config=TrainConfig(),
        versions={},
        metrics={"\x1b[1mloss": 1.0},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    write(tmp_path, lineage)
    assert main(["train", "--show", str(tmp_path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_a_missing_library_names_its_extra(model, tmp_path, capsys, monkeypatch):
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "trl" else find(name))
    assert main(["train", "--model", str(model), "--out", str(tmp_path / "out")]) == 2
    assert "training needs trl: pip install 'discovery-loop[train]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_module_loads_torch_before_it_trains():
    code = """
import pkgutil, sys, discovery.training, discovery.cli.train
for module in pkgutil.iter_modules(discovery.training.__path__, "discovery.training."):
    if not module.ispkg:
        __import__(module.name)
print(*sorted({"torch", "transformers", "trl", "peft", "datasets", "accelerate"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
