"""A model of two layers and exports for it, both from nothing."""

import hashlib
import json

import pytest

WORDS = "0123456789abcdefghijklmnopqrstuvwxyz ()=:+,.\n"
TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}>"
    "{% if message.thinking %}({{ message.thinking }}){% endif %}{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The folder of a Llama of two layers that knows single characters."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    special = ["<pad>", "</s>", "<user>", "<assistant>", "<system>"]
    vocabulary = {word: place for place, word in enumerate([*special, "?", *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="?"
    )
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def message(role, content, **more):
    return {"role": role, "content": content, **more}


def sft_row(number, weight=1.0, answer=None, **more):
    """One row as `trl-sft` has it."""
    answer = f"def f(x): x + {number % 10}" if answer is None else answer
    return {
        "prompt": [message("user", f"number {number}")],
        "completion": [message("assistant", answer, **more)],
        "weight": weight,
        "origin": {"run": "r", "problem": "p", "problem_version": "v", "chain": number, "step": 1},
    }


@pytest.fixture
def export(tmp_path):
    """Writes an export's folder: its name, its rows by file, its format."""

    def write(name, format="trl-sft", **files):
        folder = tmp_path / name
        folder.mkdir()
        facts = {}
        for file, rows in files.items():
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{file}.jsonl").write_text(text)
            hash_ = hashlib.sha256(text.encode()).hexdigest()
            facts[f"{file}.jsonl"] = {"sha256": hash_, "bytes": len(text), "rows": len(rows)}
        id_ = hashlib.sha256(json.dumps([format, facts]).encode()).hexdigest()[:16]
        (folder / "manifest.json").write_text(json.dumps({"id": id_, "format": format, "files": facts}))
        return folder

    write.row = sft_row
    return write
