import json

import pytest

from discovery.errors import ConfigError, MissingComponent, UsageError
from discovery.generation.weights import Kind, read_weights, require_fit
from discovery.testing.fakes import InProcessBackend
from discovery.training import training
from discovery.training.config import LoraConfig, TrainConfig
from discovery.training.grpo import prompts
from discovery.training.preferences import pairs
from discovery.training.reward import LiveReward
from discovery.training.training import Request, train

pytestmark = pytest.mark.train
DIGIT = """
from discovery import problem

@problem(name="digit", statement="Give a digit.", initial="0\\n", bounds=(0, 9), schema={"type": "integer"})
def score(program):
    return float(program.data)
"""


def user(text):
    return [{"role": "user", "content": text}]


def assistant(text, **more):
    return [{"role": "assistant", "content": text, **more}]


def pair(number):
    said = {"thinking": ""}
    return {
        "prompt": user(f"number {number}"),
        "chosen": assistant("yes", **said),
        "rejected": assistant("no", **said),
        "chat_template_kwargs": {},
        "origin": {"chain": number},
    }


def asked(folder, model, out, **config):
    config = {"batch_rows": 4, "micro_rows": 2, "learning_rate": 1e-2, "max_tokens": 64, **config}
    return Request(exports=(folder,), model=str(model), out=out, config=TrainConfig(**config))


def logged(out, key):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


def margin(model, tokenizer, row):
    """How much likelier the chosen answer is than the rejected one."""
    import torch

    found = []
    for column in ("chosen", "rejected"):
        prompt = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*row["prompt"], *row[column]], tokenize=False)
        ids = tokenizer(whole, return_tensors="pt")["input_ids"]
        start = len(tokenizer(prompt)["input_ids"])
        with torch.no_grad():
            logprobs = model(input_ids=ids).logits.log_softmax(-1)[0, :-1]
        found.append(float(logprobs.gather(1, ids[0, 1:, None])[start - 1 :].sum()))
    return found[0] - found[1]


@pytest.mark.parametrize("rank", [0, 4])
def test_dpo_makes_the_chosen_answer_likelier_killed_or_not(tiny_model, export, tmp_path, rank, killed):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = export("pairs", "trl-dpo", train=[pair(n) for n in range(8)], validation=[pair(9)])
    options = {"method": "dpo", "epochs": 4, "lora": LoraConfig(rank=rank, dropout=0.1 if rank else 0.0)}
    request = asked(folder, tiny_model, tmp_path / "out", **options)
    done = train(request, lambda _: None)
    weights = read_weights(done.weights)
    require_fit(weights, read_weights(tiny_model), largest_rank=8)
    assert weights.kind is (Kind.ADAPTER if rank else Kind.CHECKPOINT)
    assert sorted(path.name for path in done.weights.iterdir() if path.is_dir()) == []
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    before = AutoModelForCausalLM.from_pretrained(tiny_model)
    at_first = margin(before, tokenizer, pair(9))
    after = (
        PeftModel.from_pretrained(before, done.weights)
        if rank
        else AutoModelForCausalLM.from_pretrained(done.weights)
    )
    assert margin(after, tokenizer, pair(9)) > at_first + 1
    validations = logged(tmp_path / "out", "eval_loss")
    assert validations[-1] < validations[0]
    if rank:
        again, told = asked(folder, tiny_model, tmp_path / "again", **options), []
        killed(again, at_step=7)
        resumed = train(again, told.append)
        assert told[0].step == 7
        [one], [other] = done.weights.glob("*.safetensors"), resumed.weights.glob("*.safetensors")
        assert one.read_bytes() == other.read_bytes()


def test_dpo_trains_an_adapter_on_and_goes_on_when_killed(tiny_model, export, tmp_path, killed):
    lora = LoraConfig(rank=2)
    rows = export("rows", train=[export.row(n) for n in range(4)])
    first = train(asked(rows, tiny_model, tmp_path / "first", max_tokens=128, lora=lora), lambda _: None)
    folder = export("pairs", "trl-dpo", train=[pair(n) for n in range(8)], validation=[pair(9)])
    options = {"method": "dpo", "epochs": 2, "lora": lora}
    straight = train(asked(folder, first.weights, tmp_path / "straight", **options), lambda _: None)
    request = asked(folder, first.weights, tmp_path / "out", **options)
    killed(request, at_step=3)
    resumed = train(request, lambda _: None)
    one, other = (each.weights / "adapter_model.safetensors" for each in (straight, resumed))
    assert one.read_bytes() == other.read_bytes()
    require_fit(read_weights(resumed.weights), read_weights(tiny_model), largest_rank=8)
    assert [each.method for each in resumed.lineage.chain()] == ["dpo", "sft"]


def test_pairs_that_are_too_long_are_left_out_and_broken_ones_refused(tiny_model, export, tmp_path):
    long = {**pair(2), "rejected": assistant("n" * 100, thinking="")}
    folder = export("pairs", "trl-dpo", train=[pair(1), long])
    done = train(asked(folder, tiny_model, tmp_path / "out", method="dpo", max_steps=1), lambda _: None)
    assert done.lineage.metrics["left_out"] == {"train.jsonl: longer than max_tokens": 1}
    broken = export("broken", "trl-dpo", train=[{**pair(1), "rejected": []}])
    with pytest.raises(UsageError, match="row 1 lacks one of prompt, chosen, rejected"):
        train(asked(broken, tiny_model, tmp_path / "other", method="dpo"), lambda _: None)


def test_reasoning_in_pairs_goes_where_the_template_reads_it(tiny_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    row = {**pair(1), "chosen": assistant("yes", thinking="hm")}
    made, left_out = pairs(tokenizer, [row], max_tokens=64)
    assert left_out == {}
    said = {name: tokenizer.decode(ids).replace(" ", "") for name, ids in made[0].items()}
    assert said == {
        "prompt_ids": "<user>number1</s><assistant>",
        "chosen_ids": "(hm)yes</s>",
        "rejected_ids": "no</s>",
    }
    tokenizer.chat_template = tokenizer.chat_template.replace("message.thinking", "message.reasoning_content")
    assert pairs(tokenizer, [row], max_tokens=64)[0] == made


@pytest.fixture
def digits(tmp_path, export, monkeypatch):
    """An export of prompts of a problem whose solutions are one digit; evaluated in this process."""

    def live(**options):
        return LiveReward(backend=InProcessBackend(), slots=1, **options)

    monkeypatch.setattr(training, "LiveReward", live)
    path = tmp_path / "digit.py"
    path.write_text(DIGIT)
    rows = [{"prompt": user(f"number {n}"), "problem": "digit", "problem_path": str(path)} for n in range(4)]
    return export("prompts", "trl-grpo", train=rows, validation=rows[:1])


def test_grpo_learns_what_the_scorer_likes(tiny_model, digits, tmp_path):
    request = asked(
        digits,
        tiny_model,
        tmp_path / "out",
        **{"method": "grpo", "group": 8, "batch_rows": 32, "micro_rows": 32, "completion_tokens": 1},
        **{"learning_rate": 3e-2, "epochs": 20, "beta": 0.0, "validate_every": 10, "warmup": 0.0},
    )
    told = []
    done = train(request, told.append)
    rewards = [line.reward for line in told if line.reward is not None]
    assert len(rewards) == 20
    assert sum(rewards[-3:]) / 3 > 7 > 5 > sum(rewards[:3]) / 3
    assert done.lineage.metrics["validation_reward"] > 7
    require_fit(read_weights(done.weights), read_weights(tiny_model), largest_rank=None)


def test_grpo_that_is_killed_goes_on(tiny_model, digits, tmp_path, killed):
    request = asked(
        digits,
        tiny_model,
        tmp_path / "out",
        **{"method": "grpo", "group": 8, "batch_rows": 32, "micro_rows": 32, "completion_tokens": 1},
        **{"epochs": 3, "validate_every": 1},
    )
    killed(request, at_step=2)
    told = []
    done = train(request, told.append)
    assert told[0].step == 2
    assert done.lineage.metrics["steps"] == 3


def test_grpo_without_a_sandbox_loads_no_model(tiny_model, digits, tmp_path, monkeypatch):
    def nothing_safe(**_):
        raise MissingComponent("no sandbox")

    monkeypatch.setattr(training, "LiveReward", nothing_safe)
    monkeypatch.setattr(training, "load_model", lambda *_: pytest.fail("minutes for a large one"))
    request = asked(digits, tiny_model, tmp_path / "out", method="grpo", group=4, completion_tokens=1)
    with pytest.raises(MissingComponent):
        train(request, lambda _: None)


def test_grpo_names_the_problem_where_it_has_no_path_of_its_own(tiny_model):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    rows = [
        {"prompt": user("a"), "problem": "p", "problem_path": None},
        {"prompt": user("b"), "problem": "p", "problem_path": "/p.py"},
    ]
    made, _ = prompts(tokenizer, rows, config=TrainConfig(method="grpo"))
    assert [row["problem_path"] for row in made] == ["p", "/p.py"]


def test_grpo_needs_whole_groups(tiny_model, digits, tmp_path):
    with pytest.raises(ConfigError, match=r"does not hold whole groups of 8; .* --batch-rows 8"):
        train(asked(digits, tiny_model, tmp_path / "out", method="grpo"), lambda _: None)
