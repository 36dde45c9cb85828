"""A sample to its rows."""

import dataclasses
import json

import pytest
import yaml

from discovery.errors import ConfigError, UsageError
from discovery.records import Direction, FailureKind
from discovery.testing.samples import Said, outline, sample
from discovery.trajectories.formats import siblings
from discovery.trajectories.formats.base import Options, Reasoning
from discovery.trajectories.formats.registry import FORMATS, find_format

TYPES = {"string": str, "float64": float, "bool": bool, "int64": int}
PROMPTS = ("trl-grpo", "trl-rloo", "verl")
"""Formats of prompts alone."""
BEST = Said(text="best", score=3.0, reasoning="I think.")


def made(name, step, **options):
    form = find_format(name)
    return form.make(step, form.context(Options(**options), {"run-1": "packing-1"}))


def rows(name, step, **options):
    return made(name, step, **options).rows


def siblings_of(*others, best=BEST, **more):
    return sample([best, *others], **more)


def fits(value, kind):
    """Whether a value is what a card says of its field."""
    declared = yaml.safe_load(kind)
    if isinstance(declared, str):
        declared = {"dtype": declared}
    ((shape, of),) = declared.items()
    match shape, of:
        case "dtype", "json":
            return isinstance(value, dict)
        case "dtype", name:
            return type(value) is TYPES[name]
        case "list", str():
            return isinstance(value, list) and all(fits(each, f"dtype: {of}") for each in value)
        case "list", fields:
            return isinstance(value, list) and all(fits_fields(each, fields) for each in value)
        case "struct", fields:
            return fits_fields(value, fields)


def fits_fields(value, fields):
    return list(value) == [field["name"] for field in fields] and all(
        type(value[field["name"]]) is TYPES[field["dtype"]] for field in fields
    )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("reasoning", [None, "because"])
def test_every_row_has_the_declared_fields_and_says_where_it_is_from(name, reasoning):
    worse = Said(text="worse", score=1.0, sampling=(("reasoning_effort", "low"),))
    step = siblings_of(worse, best=Said(text="best", score=3.0, reasoning=reasoning))
    form = find_format(name)
    found = rows(name, step)
    assert found
    for row in found:
        assert list(row) == list(form.columns)
        assert [field for field, kind in form.columns.items() if not fits(row[field], kind)] == []
        assert form.origin is None or row[form.origin].items() >= step.origin.items()
        assert "null" not in json.dumps(row)
        assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_prompts_are_as_sent_and_only_the_answer_is_learned():
    (row,) = rows("trl-sft", siblings_of(Said(text="worse", score=1.0), weight=0.5))
    assert row == {
        "prompt": [
            {"role": "system", "content": "Improve it."},
            {"role": "user", "content": "Here it is."},
        ],
        "completion": [{"role": "assistant", "content": "best", "thinking": "I think."}],
        "chat_template_kwargs": {},
        "weight": 0.5,
        "rewards": {},
        "origin": {
            "run": "run-1",
            "problem": "packing",
            "problem_version": "a" * 64,
            "chain": 0,
            "step": 1,
        },
    }


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Reasoning.THINKING, {"content": "best", "thinking": "I think."}),
        (Reasoning.CONTENT, {"content": "best", "reasoning_content": "I think."}),
        (Reasoning.INLINE, {"content": "<think>\nI think.\n</think>\n\nbest"}),
        (Reasoning.OMIT, {"content": "best"}),
    ],
)
def test_reasoning_goes_where_it_is_told_and_is_nowhere_when_unknown(place, message):
    (row,) = rows("trl-sft", siblings_of(), reasoning=place)
    assert row["completion"] == [{"role": "assistant", **message}]
    for unknown in (None, ""):
        step = siblings_of(best=Said(text="best", score=3.0, reasoning=unknown))
        (row,) = rows("trl-sft", step, reasoning=place)
        assert row["completion"] == [{"role": "assistant", "content": "best"}]


def test_reasoning_has_no_place_in_prompts_alone():
    with pytest.raises(ConfigError, match="'thinking', for which trl-grpo has no place; give one of: omit"):
        rows("trl-grpo", siblings_of(), reasoning=Reasoning.THINKING)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (Said(text=None, score=1.0, reasoning="only this"), siblings.NO_TEXT),
        (Said(text=" \n", score=1.0), siblings.NO_TEXT),
        (Said(text="half", score=1.0, finish="abort"), siblings.ABORTED),
        (Said(text="half", score=1.0, finish="length"), siblings.CUT_OFF),
        (Said(text="<|channel|>final<|message|>x", score=1.0), siblings.TAGGED),
        (Said(text="x", score=1.0, reasoning="<|channel|>analysis<|message|>"), siblings.TAGGED),
    ],
)
@pytest.mark.parametrize("name", [name for name in FORMATS if name not in PROMPTS])
def test_what_cannot_be_learned_is_left_out_with_its_reason(name, said, reason):
    options = {"reasoning": Reasoning.THINKING} if reason == siblings.TAGGED else {}
    if options and Reasoning.THINKING not in find_format(name).reasonings:
        return
    found = made(name, siblings_of(Said(text="worse", score=0.5), best=said), **options)
    assert found.rows == ()
    assert found.left_out == {reason: 1}


def test_an_unknown_end_is_no_reason_to_leave_an_answer_out():
    assert rows("trl-sft", siblings_of(best=Said(text="best", score=1.0, finish=None)))


def worse_texts(step, **options):
    return [row["rejected"][0]["content"] for row in rows("trl-dpo", step, **options)]


def test_a_pair_is_the_committed_answer_and_a_worse_one_failures_first():
    step = siblings_of(
        Said(text="near", score=2.5),
        Said(text="far", score=-1.0),
        Said(text="crash", failure=FailureKind.CRASHED),
        Said(text="as good", score=3.0),
        Said(text="scorer fell", failure=FailureKind.SCORER),
        Said(text="nobody knows"),
        Said(text="near", score=2.0),
        Said(text="best", score=1.0),
        Said(text="cut", failure=FailureKind.NO_PROGRAM, finish="length"),
        Said(text="gone", failure=FailureKind.NO_PROGRAM, finish="abort"),
        Said(text=None, failure=FailureKind.NO_PROGRAM),
    )
    found = made("trl-dpo", step)
    assert [row["rejected"][0]["content"] for row in found.rows] == ["crash", "cut", "far", "near"]
    assert {row["chosen"][0]["content"] for row in found.rows} == {"best"}
    assert found.left_out == {f"sibling: {siblings.ABORTED}": 1, f"sibling: {siblings.NO_TEXT}": 1}


def test_which_is_worse_goes_by_the_problems_direction():
    step = siblings_of(
        Said(text="lower", score=2.0),
        Said(text="higher", score=4.0),
        trajectory=outline(direction=Direction.MINIMIZE),
    )
    assert worse_texts(step) == ["higher"]


def test_of_many_pairs_some_are_taken_evenly_from_the_worst_on():
    step = siblings_of(*(Said(text=f"s{n}", score=n / 10) for n in range(10)))
    assert worse_texts(step) == ["s0", "s3", "s6", "s9"]
    assert worse_texts(step, pairs=1) == ["s0"]
    assert worse_texts(step, pairs=64) == [f"s{n}" for n in range(10)]
    with pytest.raises(ConfigError, match="pairs is 0; it must be from 1 to 64"):
        Options(pairs=0)


def test_no_preference_without_a_score_or_a_worse_sibling():
    alone = made("trl-dpo", siblings_of(Said(text="as good", score=3.0)))
    assert (alone.rows, alone.left_out) == ((), {siblings.NO_WORSE: 1})
    refuted = siblings_of(Said(text="crash", failure=FailureKind.CRASHED), best=Said(text="best"))
    assert made("trl-dpo", refuted).left_out == {siblings.NO_WORSE: 1}


def test_what_is_wanted_is_the_committed_answer_and_not_its_worse_siblings():
    step = siblings_of(Said(text="worse", score=1.0), Said(text="as good", score=3.0))
    assert [(row["completion"][0]["content"], row["label"]) for row in rows("trl-kto", step)] == [
        ("best", True),
        ("worse", False),
    ]
    assert made("trl-kto", siblings_of()).left_out == {}


def test_prompts_alone_need_no_answer_and_say_what_scores_them():
    step = siblings_of(best=Said(text=None, score=3.0))
    (row,) = rows("trl-grpo", step)
    assert row["problem"] == "packing"
    assert row["problem_path"] == "packing-1"
    assert row["parents"] == ["initial"]
    assert rows("trl-rloo", step) == (row,)


def test_what_the_template_was_told_is_said_again():
    step = siblings_of(best=Said(text="best", score=1.0, sampling=(("reasoning_effort", "high"),)))
    (row,) = rows("trl-sft", step)
    assert row["chat_template_kwargs"] == {"reasoning_effort": "high"}


def test_rewards_are_those_of_the_very_attempt_and_unknown_stays_unknown():
    step = siblings_of(Said(text="worse", score=1.0), Said(text="crash", failure=FailureKind.CRASHED))
    step = dataclasses.replace(step, rewards={"own_score": (3.0, 1.0, None), "max_at_k": (None, None, None)})
    (row,) = rows("trl-sft", step)
    assert row["rewards"] == {"own_score": 3.0, "max_at_k": None}
    assert [row["rewards"]["own_score"] for row in rows("trl-kto", step)] == [3.0, None, 1.0]


def test_an_unknown_format_gets_the_nearest_names():
    with pytest.raises(
        UsageError, match=r"'trl-stf'; did you mean trl-sft or .*`discovery export --formats`"
    ):
        find_format("trl-stf")
