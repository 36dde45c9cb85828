import re
from pathlib import Path

import pytest

from discovery.config import from_dict, load_toml
from discovery.errors import UsageError
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.memory import GIB, lora_parameters, plan
from discovery.training.shape import read_shape

# Source: https://huggingface.co/openai/gpt-oss-20b and gpt-oss-120b, config.json.
GPT_OSS_20B = {
    "model_type": "gpt_oss",
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_hidden_layers": 24,
    "num_local_experts": 32,
    "num_experts_per_tok": 4,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 201088,
    "attention_bias": True,
    "tie_word_embeddings": False,
}
GPT_OSS_120B = {**GPT_OSS_20B, "num_hidden_layers": 36, "num_local_experts": 128}
LORA = TrainConfig(lora=LoraConfig(rank=32), max_tokens=8192)


def bytes_of(found, name):
    return next(part.bytes for part in found.parts if part.name == name)


def test_gpt_oss_has_as_many_parameters_as_its_card_says():
    """20.9 and 116.8 billion: the gpt-oss model card (arXiv 2508.10925), table 1."""
    assert read_shape(GPT_OSS_20B).parameters == 20_914_757_184
    assert read_shape(GPT_OSS_120B).parameters == 116_829_156_672


def test_packed_experts_take_what_the_card_says():
    """12.8 and 60.8 GiB of checkpoint: the same table."""
    for config, size in ((GPT_OSS_20B, 12.8), (GPT_OSS_120B, 60.8)):
        shape = read_shape(config)
        found = plan(shape, TrainConfig(lora=LORA.lora, max_tokens=8192, packed=True))
        unpacked = shape.expert_weights // shape.layers * 2
        assert (bytes_of(found, "base weights") - unpacked) / GIB == pytest.approx(size, abs=0.15)


def test_adapters_are_of_the_linear_layers_only():
    shape = read_shape(GPT_OSS_20B)
    attention = 32 * ((2880 + 4096) * 2 + (2880 + 512) * 2)
    assert lora_parameters(shape, LORA) == 24 * attention
    only = TrainConfig(lora=LoraConfig(rank=32, targets=("k_proj",)))
    assert lora_parameters(shape, only) == 24 * 32 * (2880 + 512)
    with pytest.raises(UsageError, match="'up_proj', which is none of q_proj"):
        lora_parameters(shape, TrainConfig(lora=LoraConfig(rank=1, targets=("up_proj",))))


def test_what_is_trained_takes_sixteen_bytes_and_what_is_frozen_two():
    shape = read_shape(GPT_OSS_20B)
    adapters, whole = plan(shape, LORA), plan(shape, TrainConfig(dtype="float32"))
    stays = ("adapters", "gradients", "optimiser")
    assert sum(bytes_of(adapters, name) for name in stays) == 16 * adapters.trained
    assert bytes_of(adapters, "base weights") == 2 * shape.parameters
    assert whole.trained == shape.parameters
    assert sum(bytes_of(whole, name) for name in ("weights", "gradients", "optimiser")) == 16 * whole.trained


@pytest.mark.parametrize(
    ("change", "part", "grows"),
    [
        ({"max_tokens": 16384}, "activations", 2),
        ({"max_tokens": 16384}, "attention scores", 4),
        ({"max_tokens": 16384}, "logits", 1),
        ({"micro_rows": 2}, "activations", 2),
        ({"micro_rows": 2}, "attention scores", 2),
        ({"method": "dpo"}, "activations", 2),
        ({"method": "dpo"}, "logits", 16),
    ],
)
def test_what_comes_and_goes_grows_as_it_should(change, part, grows):
    fields = {"lora": LORA.lora, "max_tokens": 8192, **change}
    shape = read_shape(GPT_OSS_20B)
    assert bytes_of(plan(shape, TrainConfig(**fields)), part) == grows * bytes_of(plan(shape, LORA), part)


def test_answers_that_are_made_at_one_time_are_cached_at_one_time():
    """All of an optimiser step, whatever micro_rows says: so TRL generates."""
    shape = read_shape(GPT_OSS_20B)
    config = {"lora": LORA.lora, "method": "grpo", "batch_rows": 64, "group": 8, "max_tokens": 8192}
    found = bytes_of(plan(shape, TrainConfig(**config)), "cache of answers")
    assert found == 64 * 8192 * 24 * 2 * 8 * 64 * 2
    assert "cache of answers" not in {part.name for part in plan(shape, LORA).parts}


def test_without_recomputation_each_layer_keeps_its_own():
    shape = read_shape(GPT_OSS_20B)
    kept = plan(shape, TrainConfig(lora=LORA.lora, max_tokens=8192, checkpoint_activations=False))
    assert bytes_of(kept, "activations") > 8 * bytes_of(plan(shape, LORA), "activations")
    assert bytes_of(kept, "attention scores") == 24 * bytes_of(plan(shape, LORA), "attention scores")


def test_a_fused_attention_has_no_scores():
    fused = TrainConfig(lora=LORA.lora, max_tokens=8192, attention="flex_attention")
    assert "attention scores" not in {part.name for part in plan(read_shape(GPT_OSS_20B), fused).parts}


def test_a_second_model_is_counted_where_there_is_one():
    shape = read_shape(GPT_OSS_20B)
    names = {part.name for part in plan(shape, TrainConfig(method="dpo")).parts}
    assert "reference model" in names
    assert "reference model" not in {part.name for part in plan(shape, TrainConfig()).parts}
    alone = TrainConfig(method="grpo", beta=0.0)
    assert "reference model" not in {part.name for part in plan(shape, alone).parts}
    adapters = TrainConfig(method="dpo", lora=LORA.lora)
    assert "reference model" not in {part.name for part in plan(shape, adapters).parts}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba'"),
        ({**GPT_OSS_20B, "hidden_size": None}, "hidden_size None"),
        ({**GPT_OSS_20B, "num_local_experts": "many"}, "num_local_experts 'many'"),
    ],
)
def test_what_cannot_be_counted_is_refused(config, said):
    with pytest.raises(UsageError, match=said):
        read_shape(config)


GUIDE = Path(__file__).parents[3] / "docs" / "guide"


def shown():
    """The columns of the guide's table: title to numbers by row."""
    table = re.search(r"\n\| \| 20b(?:.*\n)+?\n", (GUIDE / "training.md").read_text())[0].strip().splitlines()
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table if "---" not in line]
    return {title: {row[0]: row[place] for row in rows[1:]} for place, title in enumerate(rows[0]) if place}


@pytest.mark.parametrize(
    ("title", "file", "model", "packed"),
    [
        ("20b", "gpt-oss-20b-lora.toml", GPT_OSS_20B, False),
        ("20b, packed", "gpt-oss-20b-lora.toml", GPT_OSS_20B, True),
        ("120b", "gpt-oss-120b-lora.toml", GPT_OSS_120B, False),
        ("120b, packed", "gpt-oss-120b-lora.toml", GPT_OSS_120B, True),
    ],
)
def test_the_guide_shows_what_the_configurations_beside_it_take(title, file, model, packed):
    config = from_dict(TrainConfig, {**load_toml(GUIDE / file), "packed": packed})
    found, said = plan(read_shape(model), config), shown()[title]
    sizes = {part.name: part.bytes / GIB for part in found.parts}
    sizes["all trained"] = sizes["adapters"] + sizes["gradients"] + sizes["optimiser"]
    assert said["longest row, tokens"] == f"{config.max_tokens:,}"
    for name, row in {
        "base weights": "base weights",
        "all trained": "adapters, gradients, optimiser",
        "activations": "activations, recomputed",
        "attention scores": "attention scores",
        "logits": "logits",
        "reserve": "reserve (1 GiB and 5 %)",
    }.items():
        assert said[row] == f"{sizes[name]:.2f}"
    assert said["total"] == f"{found.total / GIB:.1f}"
    assert said["fits"] == ("yes" if found.total < 141e9 else "no")


def test_the_configurations_of_the_guide_fit_on_141_gb_and_name_their_sum():
    for file, model in (("gpt-oss-20b-lora.toml", GPT_OSS_20B), ("gpt-oss-120b-lora.toml", GPT_OSS_120B)):
        found = plan(read_shape(model), from_dict(TrainConfig, load_toml(GUIDE / file)))
        assert found.total < 141e9
        assert f"{found.total / GIB:.0f} GiB by the arithmetic" in (GUIDE / file).read_text()


def test_the_guide_names_the_sum_for_long_rows():
    fields = {"max_tokens": 32768, "attention": "flex_attention", "packed": True, "lora": LORA.lora}
    found = plan(read_shape(GPT_OSS_120B), TrainConfig(**fields))
    said = " ".join((GUIDE / "training.md").read_text().split())
    assert f"takes {found.total / GIB:.1f} GiB for rows of 32,768 tokens" in said
