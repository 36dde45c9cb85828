"""Exports load in `datasets`, and train in each trainer of TRL, with a tiny model under gpt-oss's own chat template."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from discovery.records import FailureKind
from discovery.testing.samples import Said, outline, sample, selection_of
from discovery.trajectories.export import Facts, RunFact, write_export
from discovery.trajectories.formats.base import Options, Reasoning
from discovery.trajectories.formats.registry import FORMATS
from discovery.trajectories.records import Split

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("default"),  # theirs
]

BIG = 12 << 20
"""More than `datasets` looks at before it decides what the rows are."""


@pytest.fixture(scope="module", autouse=True)
def offline():
    """Nothing here asks the network; their libraries are loaded when the first test runs, not when tests are listed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_DATASETS_OFFLINE", "1")
        pytest.importorskip("trl", reason="pip install 'discovery-loop[train]'")
        yield


def steps(*, big=False):
    """Answers with and without reasoning, and with what was told of it."""
    samples = []
    for number in range(6):
        reasons = number % 2 == 0
        best = Said(
            text=f"best {number}" + "." * (BIG if big and number == 2 else 0),
            score=3.0,
            reasoning="I think." if reasons else None,
            sampling=(("reasoning_effort", "low"),) if number == 0 else (),
        )
        others = (
            Said(text="worse", score=1.0, reasoning=None if reasons else "Hm."),
            Said(text="crash", failure=FailureKind.CRASHED),
        )
        rewards = {"own_score": (3.0, 1.0, None), "rank": (None, None, None)} if number else {}
        split = Split.VALIDATION if number == 5 else Split.TRAIN
        made = sample([best, *others], trajectory=outline(chain=number), split=split, weight=1 + number / 4)
        samples.append(dataclasses.replace(made, rewards=rewards))
    return samples


def exported(folder, name, samples=None, **options):
    samples = samples if samples is not None else steps()
    runs = (RunFact(run="run-1", problem="packing", problem_version="a" * 64, loads="packing-1"),)
    facts = Facts(options=Options(**options), runs=runs)
    write_export(folder, name, selection_of(samples), samples, facts=facts)
    return folder


def loaded(folder):
    import datasets

    return datasets.load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))


def lines(path):
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


@pytest.mark.parametrize("name", FORMATS)
def test_a_folder_loads_as_it_was_written(tmp_path, name):
    folder = exported(tmp_path / "export", name)
    found = loaded(folder)
    assert sorted(found) == ["train", "validation"]
    for split in found:
        assert list(found[split]) == lines(folder / f"{split}.jsonl")


def test_a_key_that_is_missing_stays_missing_however_large_an_export_is(tmp_path):
    samples = steps(big=True)
    for order, name in ((samples, "up"), ([*reversed(samples)], "down")):
        folder = exported(tmp_path / name, "trl-sft", order)
        assert list(loaded(folder)["train"]) == lines(folder / "train.jsonl")


def test_verl_gets_parquet_of_it_by_the_program_in_its_card(tmp_path, monkeypatch):
    import datasets

    for name in ("verl", "verl-sft"):
        folder = exported(tmp_path / name, name)
        (program,) = re.findall(r'python -c "(.*?)"\n', (folder / "README.md").read_text(), re.DOTALL)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache" / name)
        exec(program, {})
        back = datasets.load_dataset("parquet", data_files="train.parquet", cache_dir=str(tmp_path / "back"))
        assert list(back["train"]) == lines(folder / "train.jsonl")


# TRL


@pytest.fixture(scope="module")
def gpt_oss():
    """gpt-oss's chat template as TRL ships it."""
    import trl

    folder = Path(trl.__file__).parent / "chat_templates"
    return (folder / "gptoss_training.jinja").read_text()


@pytest.fixture(scope="module")
def tokenizer(gpt_oss):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|return|>", "<|pad|>"]
    bpe = Tokenizer(models.BPE({token: place for place, token in enumerate([*specials, *letters])}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens(specials)
    made = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|return|>", pad_token="<|pad|>")
    made.chat_template = gpt_oss
    return made


@pytest.fixture(scope="module")
def model(tokenizer, tmp_path_factory):
    """The path of a tiny model that was made here."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    folder = tmp_path_factory.mktemp("model")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def settings(tmp_path, **more):
    return {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 1,
        "per_device_train_batch_size": 2,
        "report_to": "none",
        "use_cpu": True,
        "save_strategy": "no",
        "disable_tqdm": True,
        "gradient_checkpointing": False,
        "bf16": False,
        **more,
    }


def trained(trainer):
    """Train one step, and on the rows of the validation split be measured."""
    assert trainer.train().global_step == 1
    return trainer


@pytest.mark.parametrize("name", ["trl-sft", "trl-messages"])
def test_supervised_rows_train(tmp_path, model, tokenizer, name):
    from trl import SFTConfig, SFTTrainer

    found = loaded(exported(tmp_path / "export", name))
    more = {"assistant_only_loss": True} if name == "trl-messages" else {}
    trainer = trained(
        SFTTrainer(
            model=model,
            args=SFTConfig(**settings(tmp_path, max_length=None, **more)),
            train_dataset=found["train"],
            eval_dataset=found["validation"],
            processing_class=tokenizer,
        )
    )
    assert trainer.evaluate()["eval_loss"] > 0
    texts = [tokenizer.decode(row["input_ids"]) for row in trainer.train_dataset]
    assert "Reasoning: low" in texts[0]
    assert "Reasoning: medium" in texts[1]
    thought = "<|channel|>analysis<|message|>I think.<|end|>"
    assert [thought in text for text in texts] == [True, False, True, False, True]
    assert ["<|channel|>analysis<|message|>" in text for text in texts] == [True, False, True, False, True]
    row = trainer.train_dataset[0]
    learned = tokenizer.decode([label for label in row["labels"] if label != -100])
    assert learned.removeprefix("<|start|>assistant").startswith("<|channel|>analysis<|message|>I think.")
    assert "best 0" in learned
    assert "Here it is." not in learned


def test_preferences_train(tmp_path, model, tokenizer):
    from trl import DPOConfig, DPOTrainer

    found = loaded(exported(tmp_path / "export", "trl-dpo"))
    trained(
        DPOTrainer(
            model=model,
            args=DPOConfig(**settings(tmp_path, max_length=None)),
            train_dataset=found["train"],
            processing_class=tokenizer,
        )
    )


def test_unpaired_preferences_train(tmp_path, model, tokenizer):
    from trl import KTOConfig, KTOTrainer

    found = loaded(exported(tmp_path / "export", "trl-kto"))
    trained(
        KTOTrainer(
            model=model,
            args=KTOConfig(**settings(tmp_path, max_length=None)),
            train_dataset=found["train"],
            processing_class=tokenizer,
        )
    )


def test_reward_models_train(tmp_path, model, tokenizer):
    from trl import RewardConfig, RewardTrainer

    found = loaded(exported(tmp_path / "export", "trl-reward"))
    trained(
        RewardTrainer(
            model=model,
            args=RewardConfig(**settings(tmp_path, max_length=None)),
            train_dataset=found["train"],
            processing_class=tokenizer,
        )
    )


@pytest.mark.parametrize("name", ["GRPO", "RLOO"])
def test_online_methods_train_and_give_the_reward_function_its_columns(tmp_path, model, tokenizer, name):
    import trl

    found = loaded(exported(tmp_path / "export", f"trl-{name.lower()}"))
    got = []

    def reward(prompts, completions, **columns):
        got.append({key: columns[key][0] for key in ("problem", "problem_path", "parents", "origin")})
        return [float(len(completion[0]["content"])) for completion in completions]

    config = getattr(trl, f"{name}Config")(**settings(tmp_path, num_generations=2, max_completion_length=4))
    trained(
        getattr(trl, f"{name}Trainer")(
            model=model,
            reward_funcs=reward,
            args=config,
            train_dataset=found["train"],
            processing_class=tokenizer,
        )
    )
    assert got[0]["problem"] == "packing"
    assert got[0]["problem_path"] == "packing-1"
    assert got[0]["parents"] == ["initial"]
    assert got[0]["origin"]["run"] == "run-1"


# The traps, of the very template


def said(tokenizer, **turn):
    messages = [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "best", **turn}]
    return tokenizer.apply_chat_template(messages, tokenize=False)


def by_itself(template, **turn):
    """What the template makes of a message as it is: newer Transformers rename the keys of reasoning before."""
    from transformers.utils import chat_template_utils

    messages = [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "best", **turn}]
    return chat_template_utils._compile_jinja_template(template).render(messages=messages)


def test_what_the_template_does_is_why_rows_are_as_they_are(tokenizer, gpt_oss):
    import jinja2

    analysis = "<|channel|>analysis<|message|>"
    assert f"{analysis}I think.<|end|>" in said(tokenizer, thinking="I think.")
    assert "I think." not in by_itself(gpt_oss, reasoning_content="I think.")
    assert "I think." in by_itself(gpt_oss, thinking="I think.")
    assert analysis not in said(tokenizer)
    assert f"{analysis}<|end|>" in said(tokenizer, thinking="")
    with pytest.raises(TypeError):
        by_itself(gpt_oss, thinking=None)
    with pytest.raises(jinja2.exceptions.TemplateError, match="channel"):
        said(tokenizer, content="<|channel|>final<|message|>best")


def test_other_templates_read_the_other_key(tmp_path, tokenizer):
    import trl

    template = (Path(trl.__file__).parent / "chat_templates" / "qwen3_training.jinja").read_text()
    folder = exported(tmp_path / "export", "trl-sft", reasoning=Reasoning.CONTENT)
    row = loaded(folder)["train"][0]
    text = tokenizer.apply_chat_template(
        row["prompt"] + row["completion"], tokenize=False, chat_template=template
    )
    assert "<think>\nI think.\n</think>" in text
