"""A model of two layers and exports for it, both from nothing."""

import gc
import os
import signal
import warnings
from pathlib import Path

import pytest

from discovery.testing.exports import sft_row, write_export

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
    _save_time()
    return folder


def _save_time():
    """Spare each training what takes a third of its time here: collecting the libraries' objects, and peft's form."""
    from peft import PeftModel

    PeftModel.create_or_update_model_card = lambda self, folder: (Path(folder) / "README.md").touch()
    gc.freeze()


@pytest.fixture
def killed(monkeypatch):
    """Trains in a child that is killed: when a step is told, or where a function sees to it that it dies."""

    def train_and_die(request, *, at_step=None, arm=None):
        from discovery.training.training import train

        def tell(line):
            if at_step is not None and line.step >= at_step:
                os.kill(os.getpid(), signal.SIGKILL)

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                if arm is not None:
                    arm(monkeypatch)
                train(request, tell)
            finally:
                os._exit(1)  # it was to be killed, and was not
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the child ended by itself"
        assert os.WTERMSIG(status) == signal.SIGKILL

    return train_and_die


@pytest.fixture
def export(tmp_path):
    """Writes an export's folder: its name, its format, its rows by file."""

    def write(name, format_name="trl-sft", **files):
        return write_export(tmp_path / name, format_name, **files)

    write.row = sft_row
    return write
