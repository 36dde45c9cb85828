"""What a loop is told: read back as it was stored, refused where it cannot be."""

import json
from dataclasses import replace

import pytest

from discovery.budget import Budget
from discovery.config import RunConfig, SearchConfig
from discovery.errors import ConfigError, UsageError, WeightsError
from discovery.loop.assembly import lasting_storage
from discovery.loop.plan import RoundsConfig, filter_from_dict, make_plan, plan_from_dict, plan_to_dict
from discovery.testing.vllm import write_adapter
from discovery.training.config import LoraConfig, TrainConfig
from discovery.trajectories.records import Filter, Keep

RUN = RunConfig(problem="")


@pytest.fixture
def plan(model, write_problem):
    return make_plan(
        model,
        (write_problem("seen"),),
        (write_problem("unseen"), "constants-10"),
        RunConfig(problem="", seed=7, search=SearchConfig(chains=3, selector_params={"c": 0.5})),
        rounds=RoundsConfig(rounds=3, seeds=2, replay=1, start="base"),
        filter=Filter(keep=Keep.RANDOM, top_percent=25),
        train=TrainConfig(epochs=2, lora=LoraConfig(rank=8, targets=("q_proj",))),
        serve=("--max-num-seqs", "8"),
        storage="/somewhere.db",
    )


def test_a_plan_is_read_back_as_it_was(plan):
    again = plan_from_dict(json.loads(json.dumps(plan_to_dict(plan))))
    assert again == plan
    assert again.filter.keep is Keep.RANDOM


def test_names_mean_the_same_in_every_folder(plan, model, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    relative = make_plan(model.relative_to(tmp_path), ("seen.py:seen",), ("constants-10",), RUN)
    assert relative.problems == (f"{tmp_path}/seen.py:seen",)
    assert (relative.held_out, relative.model) == (("constants-10",), str(model))
    monkeypatch.chdir("/")
    relative.check()


def test_runs_are_named_before_they_start_and_no_two_loops_share_one(plan, model, write_problem):
    assert plan.run_id(2, "seen", 1) == f"seen-{plan.id}-r2-s1"
    other = make_plan(model, plan.problems, plan.held_out, RUN)
    assert other.id != plan.id
    assert [plan.run_config("constants-10", seed).seed for seed in range(3)] == [7, 8, 9]
    assert plan.run_config("constants-10", 0).problem == "constants-10"


@pytest.mark.parametrize(
    ("replay", "round_", "revisions"),
    [(None, 1, [0]), (None, 3, [0, 1, 2]), (0, 3, [2]), (1, 3, [1, 2]), (9, 2, [0, 1])],
)
def test_what_a_round_learns_from(plan, replay, round_, revisions):
    changed = replace(plan, rounds=replace(plan.rounds, replay=replay))
    assert list(changed.learnt_from(round_)) == revisions


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"engine": "llama"}, "engine is 'llama'; it must be one of vllm, torch"),
        ({"engine": "torch"}, "the torch engine serves no adapters"),
        ({"train": TrainConfig(method="dpo")}, "method is 'dpo'; a loop trains by sft"),
        ({"rounds": RoundsConfig(start="previous")}, "leave start out"),
        (
            {"run": RunConfig(problem="", budget=Budget(until=1.0))},
            "until is 1; a loop compares runs of equal",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(plan, change, said):
    with pytest.raises(ConfigError, match=said):
        replace(plan, **change)


@pytest.mark.parametrize("bad", [{"rounds": 0}, {"seeds": 0}, {"replay": -1}, {"start": "here"}])
def test_rounds_out_of_range_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        RoundsConfig(**bad)


def test_a_rule_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match="keep is 'best'; it must be one of trajectory, step, random, all"):
        filter_from_dict({"keep": "best"})


def test_problems_must_be_there_twice_over_and_different(model, write_problem):
    one = write_problem("one")
    with pytest.raises(UsageError, match="got 1 and 0; name them"):
        make_plan(model, (one,), (), RUN)
    with pytest.raises(UsageError, match="is named twice"):
        make_plan(model, (one,), (f"{one}:one",), RUN)
    with pytest.raises(UsageError, match="is named twice"):
        make_plan(model, (one, one), ("constants-10",), RUN)


def test_an_adapter_is_no_model_to_begin_with(tmp_path, write_problem):
    adapter = write_adapter(tmp_path / "adapter", tmp_path / "its-base")
    with pytest.raises(UsageError, match=r"is an adapter; .* merge it into .*its-base"):
        make_plan(adapter, (write_problem("one"),), ("constants-10",), RUN)
    with pytest.raises(WeightsError, match="is no folder"):
        make_plan(tmp_path / "nowhere", (write_problem("one"),), ("constants-10",), RUN)


def test_a_password_is_not_stored(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISCOVERY_STORAGE", raising=False)
    assert lasting_storage("postgresql://me:secret@host/runs") is None
    assert lasting_storage("postgresql://me@host/runs") == "postgresql://me@host/runs"
    assert lasting_storage("runs.db") == str(tmp_path / "runs.db")
    assert lasting_storage(None) == str(tmp_path / ".discovery" / "discovery.db")
