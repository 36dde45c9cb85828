"""A gpt-oss of two layers whose experts are packed as the published ones are."""

import json

import pytest

from discovery.errors import ConfigError, UsageError
from discovery.generation.weights import read_weights, require_fit
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.packed import load_packed, unpack
from discovery.training.training import Request, train

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning"),
]


@pytest.fixture(scope="module")
def gpt_oss(tiny_model, tmp_path_factory):
    """The folder of a small gpt-oss in bfloat16, its experts random bytes of MXFP4."""
    import torch
    from safetensors.torch import load_file, save_file
    from transformers import AutoTokenizer, GptOssConfig, GptOssForCausalLM

    folder = tmp_path_factory.mktemp("models") / "gpt-oss"
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    config = GptOssConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    torch.manual_seed(1)
    GptOssForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith(("gate_up_proj", "down_proj"))]:
        experts, inputs, outputs = tensors.pop(name).shape
        groups = (experts, outputs, inputs // 32)
        tensors[f"{name}_blocks"] = torch.randint(0, 256, (*groups, 16), dtype=torch.uint8)
        tensors[f"{name}_scales"] = torch.randint(118, 123, groups, dtype=torch.uint8)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    said = json.loads((folder / "config.json").read_text())
    not_packed = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    said["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": not_packed}
    (folder / "config.json").write_text(json.dumps(said))
    return folder


def test_bytes_are_the_numbers_of_the_standard():
    import torch

    blocks = torch.zeros((1, 1, 1, 16), dtype=torch.uint8)
    blocks[0, 0, 0, :4] = torch.tensor([0x10, 0x32, 0x74, 0xF9])
    found = unpack(blocks, torch.tensor([[[128]]], dtype=torch.uint8), torch.float32)
    assert found.shape == (1, 32, 1)
    assert found[0, :8, 0].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 12.0, -1.0, -12.0]


def test_a_packed_model_says_what_the_unpacked_one_says(gpt_oss):
    import torch
    from transformers import AutoModelForCausalLM, Mxfp4Config

    packed = load_packed(read_weights(gpt_oss), dtype=torch.float32, device="cpu")
    whole = AutoModelForCausalLM.from_pretrained(
        gpt_oss, dtype=torch.float32, quantization_config=Mxfp4Config(dequantize=True)
    )
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        torch.testing.assert_close(packed(input_ids=ids).logits, whole(input_ids=ids).logits)
    experts = packed.model.layers[0].mlp.experts
    assert {p.dtype for p in experts.buffers()} == {torch.uint8}
    assert not hasattr(experts, "gate_up_proj")


def test_adapters_become_the_same_beside_packed_experts(gpt_oss, export, tmp_path):
    folder = export("rows", train=[export.row(n) for n in range(8)], validation=[export.row(9)])
    found = []
    for packed in (False, True):
        config = TrainConfig(
            **{"batch_rows": 4, "micro_rows": 2, "max_tokens": 64, "learning_rate": 1e-2, "epochs": 3},
            lora=LoraConfig(rank=4),
            packed=packed,
        )
        out = tmp_path / str(packed)
        done = train(Request(exports=(folder,), model=str(gpt_oss), out=out, config=config), lambda _: None)
        weights = read_weights(done.weights)
        require_fit(weights, read_weights(gpt_oss), largest_rank=8)
        found.append((done.lineage.metrics, (done.weights / "adapter_model.safetensors").read_bytes()))
    assert found[0] == found[1]
    assert found[0][0]["validation_loss"] < 3.9


def test_all_weights_of_a_packed_model_are_not_trained(gpt_oss, export, tmp_path):
    """transformers would save numbers under the names of bytes."""
    request = Request(
        exports=(export("rows", train=[export.row(1)]),),
        model=str(gpt_oss),
        out=tmp_path / "out",
        config=TrainConfig(),
    )
    with pytest.raises(UsageError, match="nothing here packs trained ones again; train adapters: --rank 32"):
        train(request, lambda _: None)


def test_what_cannot_stay_packed_is_refused(tiny_model, export, tmp_path):
    folder = export("rows", train=[export.row(1)])
    config = TrainConfig(lora=LoraConfig(rank=4), packed=True)
    with pytest.raises(UsageError, match="holds no experts packed as MXFP4"):
        train(
            Request(exports=(folder,), model=str(tiny_model), out=tmp_path / "out", config=config),
            lambda _: None,
        )
    with pytest.raises(ConfigError, match="it needs adapters"):
        TrainConfig(packed=True)
