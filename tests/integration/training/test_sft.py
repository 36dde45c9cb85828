import json
import shutil

import pytest

from discovery.errors import TrainingFailed, UsageError
from discovery.generation.weights import Kind, read_weights, require_fit
from discovery.training.base import find_base, load_model, lora_config
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.lineage import read
from discovery.training.training import Request, train

pytestmark = pytest.mark.train


def asked(exports, model, out, **config):
    config = {"batch_rows": 4, "learning_rate": 1e-2, "max_tokens": 128, "epochs": 3, **config}
    return Request(exports=tuple(exports), model=str(model), out=out, config=TrainConfig(**config))


@pytest.fixture
def rows(export):
    return export("rows", train=[export.row(n, 1 + n % 2) for n in range(10)], validation=[export.row(20)])


def logged(out, key):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


def test_training_lowers_both_losses_and_makes_a_folder_that_can_be_served(tiny_model, rows, tmp_path):
    told = []
    done = train(asked([rows], tiny_model, tmp_path / "out"), told.append)
    losses, validations = logged(tmp_path / "out", "loss"), logged(tmp_path / "out", "eval_loss")
    assert len(losses) == 9
    assert losses[-1] < 0.8 * losses[0]
    assert len(validations) == 3
    assert validations[-1] < validations[0]
    assert [line.loss for line in told if line.loss is not None] == losses
    weights, base = read_weights(done.weights), read_weights(tiny_model)
    assert weights.kind is Kind.CHECKPOINT
    require_fit(weights, base, largest_rank=None)
    assert (done.weights / "chat_template.jinja").is_file()
    assert weights.config == base.config, "what training needs must not stay: no cache, float32"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".lock",
        "log.jsonl",
        "training.json",
        "weights",
    ]


@pytest.mark.parametrize("tied", [False, True])
def test_all_weights_are_saved_in_the_type_of_the_base(tiny_model, rows, tmp_path, tied):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    half = tmp_path / "half"
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16, tie_word_embeddings=tied)
    model.save_pretrained(half)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(half)
    done = train(asked([rows], half, tmp_path / "out", max_steps=2), lambda _: None)
    weights, base = read_weights(done.weights), read_weights(half)
    assert {tensor.dtype for tensor in weights.tensors.values()} == {"BF16"}
    assert weights.tensors.keys() == base.tensors.keys()
    assert weights.config["dtype"] == base.config["dtype"] == "bfloat16"


def test_an_adapter_fits_its_base_and_only_it_is_saved(tiny_model, rows, tmp_path):
    done = train(asked([rows], tiny_model, tmp_path / "out", lora=LoraConfig(rank=4)), lambda _: None)
    weights = read_weights(done.weights)
    assert weights.kind is Kind.ADAPTER
    assert weights.rank == 4
    require_fit(weights, read_weights(tiny_model), largest_rank=8)
    assert {name.rpartition(".layers.")[2].split(".")[2] for name in weights.tensors} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    }


def test_an_adapter_is_trained_on_and_its_lineage_leads_back(tiny_model, rows, export, tmp_path):
    lora = LoraConfig(rank=4)
    first = train(asked([rows], tiny_model, tmp_path / "one", lora=lora), lambda _: None)
    more = export("more", train=[export.row(n) for n in range(30, 34)], validation=[export.row(20)])
    second = train(asked([more], first.weights, tmp_path / "two", lora=lora, epochs=1), lambda _: None)
    assert logged(tmp_path / "two", "loss")[0] < logged(tmp_path / "one", "loss")[0]
    chain = list(read(second.weights).chain())
    assert [lineage.base for lineage in chain] == [str(first.weights), str(tiny_model)]
    assert chain[1] == read(first.weights)
    require_fit(read_weights(second.weights), read_weights(tiny_model), largest_rank=8)


@pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning")
@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({}, "adapter of rank 4, and rank 0 is asked for"),
        ({"rank": 4, "alpha": 3}, "adapter of alpha 8, and alpha 3 is asked for; leave --alpha out"),
        ({"rank": 4, "dropout": 0.5}, "adapter with dropout 0.0, and 0.5 is asked for; write dropout = 0.0"),
        ({"rank": 4, "targets": ("q_proj",)}, "adapter on down_proj, .*v_proj, and q_proj are asked for"),
    ],
)
def test_settings_that_an_adapter_would_not_follow_are_refused(tiny_model, lora, said, tmp_path):
    """Else the lineage would tell of a training that never was."""
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    get_peft_model(model, lora_config(LoraConfig(rank=4))).save_pretrained(tmp_path)
    base = find_base(str(tmp_path))
    with pytest.raises(UsageError, match=said):
        load_model(base, TrainConfig(lora=LoraConfig(**lora)))
    every = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    load_model(base, TrainConfig(lora=LoraConfig(rank=4, alpha=8, targets=every)))


def test_a_finished_folder_is_left_alone_and_that_of_another_training_refused(
    tiny_model, rows, export, tmp_path
):
    request = asked([rows], tiny_model, tmp_path / "out", max_steps=1)
    first = train(request, lambda _: None)
    log = (tmp_path / "out" / "log.jsonl").read_text()
    again = train(request, lambda _: None)
    assert again.was_finished
    assert not first.was_finished
    assert again.lineage == first.lineage
    assert (tmp_path / "out" / "log.jsonl").read_text() == log
    with pytest.raises(UsageError, match=r"config\.learning_rate was 0\.01 and is 0\.5"):
        train(asked([rows], tiny_model, tmp_path / "out", max_steps=1, learning_rate=0.5), lambda _: None)
    other = export("other", train=[export.row(1)])
    with pytest.raises(UsageError, match=r"holds another training: exports\."):
        train(asked([other], tiny_model, tmp_path / "out", max_steps=1), lambda _: None)
    otherwise = shutil.copytree(tiny_model, tmp_path / "otherwise")
    template = otherwise / "chat_template.jinja"
    template.write_text(template.read_text().replace("<assistant>", "<system>"))
    with pytest.raises(UsageError, match=r"holds another training: model\.words was"):
        train(asked([rows], otherwise, tmp_path / "out", max_steps=1), lambda _: None)


def test_it_ends_early_and_keeps_the_best_weights(tiny_model, export, tmp_path):
    """What is learned contradicts what is validated, so that validation only becomes worse after a while."""
    folder = export(
        "odd",
        train=[export.row(1, answer="aaaa")] * 4,
        validation=[export.row(1, answer="bbbb")],
    )
    request = asked([folder], tiny_model, tmp_path / "out", epochs=50, patience=2, warmup=0.0)
    done = train(request, lambda _: None)
    validations = logged(tmp_path / "out", "eval_loss")
    best = min(range(len(validations)), key=validations.__getitem__) + 1
    metrics = done.lineage.metrics
    assert metrics["ended_early"]
    assert metrics["steps"] == best + 2 < 50
    assert metrics["weights_of_step"] == best
    assert metrics["validation_loss"] == pytest.approx(validations[best - 1])


def test_a_loss_that_is_no_number_ends_it(tiny_model, export, tmp_path):
    folder = export("heavy", train=[export.row(n, weight=3e38) for n in range(4)])
    with pytest.raises(TrainingFailed, match="the loss of step 1 is nan: training diverged"):
        train(asked([folder], tiny_model, tmp_path / "out"), lambda _: None)
    assert not (tmp_path / "out" / "weights").exists()
