"""Counts of parameters, held to models that transformers makes of the same configuration, without their memory."""

import pytest

from discovery.training.base import lora_config
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.memory import lora_parameters
from discovery.training.shape import read_shape

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed in v6:FutureWarning"),
]
COMMON = {
    "vocab_size": 320,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
CONFIGS = {
    "llama": ("LlamaConfig", {}),
    "llama, tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "llama, biased": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True, "head_dim": 16}),
    "mistral": ("MistralConfig", {"head_dim": 8}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"head_dim": 16}),
    "gpt-oss": ("GptOssConfig", {"num_local_experts": 5, "num_experts_per_tok": 2, "head_dim": 16}),
    "gpt-oss-20b": ("GptOssConfig", "as published"),
    "gpt-oss-120b": ("GptOssConfig", {**dict.fromkeys(COMMON), "num_hidden_layers": 36}),
}


@pytest.fixture(params=CONFIGS)
def made(request):
    """A configuration as it is written to config.json, and a model of it without memory."""
    import torch
    import transformers

    kind, fields = CONFIGS[request.param]
    if fields == "as published":
        given = {"num_hidden_layers": 24, "num_local_experts": 32}
    else:
        given = {name: value for name, value in {**COMMON, **fields}.items() if value is not None}
    config = getattr(transformers, kind)(**given)
    with torch.device("meta"):
        return config.to_dict(), transformers.AutoModelForCausalLM.from_config(config)


def test_parameters_are_counted_exactly(made):
    config, model = made
    assert read_shape(config).parameters == sum(p.numel() for p in model.parameters())


def test_adapters_are_counted_exactly(made):
    from peft import get_peft_model

    config, model = made
    lora = LoraConfig(rank=4)
    adapted = get_peft_model(model, lora_config(lora), low_cpu_mem_usage=True)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert lora_parameters(read_shape(config), TrainConfig(lora=lora)) == trained
