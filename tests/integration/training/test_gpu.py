"""Training on a GPU: a model of more than a billion parameters made from nothing, its memory beside the arithmetic.

What it prints (`pytest -s`) goes into docs/guide/training.md.
"""

import json

import pytest

from discovery.training.base import gpu_memory
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.memory import GIB, plan
from discovery.training.shape import read_shape
from discovery.training.training import Request, train

pytestmark = [pytest.mark.train, pytest.mark.gpu, pytest.mark.timeout(900)]
TOKENS = 2048
SHAPE = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": TOKENS,
    "tie_word_embeddings": True,
}
"""1.24 billion parameters."""


@pytest.fixture(scope="module")
def large_model(tiny_model, tmp_path_factory):
    """The folder of a Llama of that shape, with the tokenizer of the tiny one."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "large"
    with torch.device("cuda"):
        model = LlamaForCausalLM(LlamaConfig(**SHAPE, pad_token_id=0, eos_token_id=1, bos_token_id=None))
    model.to(torch.bfloat16).save_pretrained(folder)
    del model
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("rank", [0, 32])
def test_a_step_takes_the_memory_that_the_arithmetic_says(large_model, export, tmp_path, rank, capsys):
    import torch

    config = TrainConfig(
        **{
            "batch_rows": 8,
            "micro_rows": 1,
            "max_tokens": TOKENS,
            "max_steps": 5,
            "epochs": 5,
            "patience": 0,
        },
        learning_rate=3e-4,
        lora=LoraConfig(rank=rank),
    )
    answer = "x" * (TOKENS - 20)
    folder = export("rows", train=[export.row(n, answer=answer) for n in range(8)])
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    request = Request(exports=(folder,), model=str(large_model), out=tmp_path / "out", config=config)
    train(request, lambda _: None)
    peak = torch.cuda.max_memory_allocated()
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    expected = plan(read_shape(json.loads((large_model / "config.json").read_text())), config)
    without_reserve = expected.total - next(p.bytes for p in expected.parts if p.name == "reserve")
    with capsys.disabled():
        print(
            f"\n{torch.cuda.get_device_name()}: rank {rank}, {expected.parameters:,} parameters, "
            f"{expected.trained:,} trained, {lines[-1]['tokens_per_s']:,.0f} tokens/s, "
            f"peak {peak / GIB:.2f} GiB, arithmetic {without_reserve / GIB:.2f} GiB without reserve"
        )
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert 0.7 * without_reserve < peak < expected.total
    assert expected.total < (gpu_memory() or 0)
