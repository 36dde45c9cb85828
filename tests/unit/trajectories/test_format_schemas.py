"""Rows of libraries that cannot be installed here, held to what their documentation and code say that they take.

The pages are named in the modules of `discovery/trajectories/formats`. What each library fails on, or does not say that
it drops, is a negative case of its schema here, so that the schemas are known to notice.
"""

import copy

import jsonschema
import pytest
import yaml

from discovery.records import FailureKind
from discovery.testing.samples import Said, sample
from discovery.trajectories.formats.base import Options, Reasoning
from discovery.trajectories.formats.llamafactory import NOT_ALTERNATING
from discovery.trajectories.formats.messages import NOT_ONE_QUESTION
from discovery.trajectories.formats.openai import UNKNOWN_ROLE
from discovery.trajectories.formats.registry import find_format
from discovery.trajectories.records import Split

TEXT = {"type": "string"}
FILLED = {"type": "string", "minLength": 1}


def closed(**fields):
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def message(*roles):
    return closed(role={"enum": list(roles)}, content=FILLED)


def listed(item, **more):
    return {"type": "array", "items": item, "minItems": 1, **more}


ORIGIN = closed(
    run=FILLED,
    problem=FILLED,
    problem_version=FILLED,
    chain={"type": "integer"},
    step={"type": "integer"},
)
PROMPT = listed(message("system", "user", "assistant", "developer"))
ANSWER = listed(message("assistant"), maxItems=1)
CONVERSATION = {
    **listed(message("system", "user", "assistant", "developer"), minItems=2),
    "contains": {"properties": {"role": {"const": "assistant"}}},
}
TRAINED = closed(role=TEXT, content=FILLED, train={"type": "boolean"})
TRAINED = {**TRAINED, "properties": {**TRAINED["properties"], "reasoning_content": FILLED}}
RANKED = closed(rank={"type": "integer"}, completion=ANSWER)
SCHEMAS = {
    "verl": closed(
        data_source=FILLED,
        prompt=PROMPT,
        ability=TEXT,
        reward_model=closed(style={"enum": ["rule", "model"]}, ground_truth=FILLED),
        extra_info={"type": "object", "required": ["split"]},
    ),
    "verl-sft": closed(messages=CONVERSATION, origin=ORIGIN),
    "openrlhf-sft": closed(input=PROMPT, output=ANSWER, origin=ORIGIN),
    "openrlhf-preference": closed(prompt=PROMPT, chosen=ANSWER, rejected=ANSWER, origin=ORIGIN),
    "axolotl": closed(messages=listed(TRAINED), origin=ORIGIN),
    "llamafactory": closed(
        conversations=listed(closed(**{"from": {"enum": ["human", "gpt"]}, "value": FILLED}), minItems=2),
        system=TEXT,
        origin=ORIGIN,
    ),
    "nemo-sft": closed(input=FILLED, output=FILLED, origin=ORIGIN),
    "nemo-preference": closed(
        context=PROMPT, completions=listed(RANKED, minItems=2, maxItems=2), origin=ORIGIN
    ),
    "openai-sft": closed(messages=CONVERSATION),
    "openai-preference": closed(
        input=closed(messages=PROMPT), preferred_output=ANSWER, non_preferred_output=ANSWER
    ),
}


def made(name, step, **options):
    form = find_format(name)
    return form.make(step, form.context(Options(**options), {}))


def step_with(reasoning="I think.", **more):
    best = Said(text="best", score=3.0, reasoning=reasoning)
    others = (Said(text="worse", score=1.0), Said(text="crash", failure=FailureKind.CRASHED))
    return sample([best, *others], **more)


def valid(name, row):
    return jsonschema.Draft202012Validator(SCHEMAS[name]).is_valid(row)


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("reasoning", [None, "I think."])
@pytest.mark.parametrize(
    "messages", [[("user", "Go on.")], [("system", "Improve it."), ("user", "Here it is.")]]
)
def test_rows_are_what_the_library_takes(name, reasoning, messages):
    found = made(name, step_with(reasoning, messages=messages))
    assert found.rows
    for row in found.rows:
        jsonschema.validate(row, SCHEMAS[name], cls=jsonschema.Draft202012Validator)


def changed(row, path, value):
    row = copy.deepcopy(row)
    at = row
    for key in path[:-1]:
        at = at[key]
    if value is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return row


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("verl", ["reward_model", "ground_truth"], None),
        ("verl", ["prompt"], "a text, not messages"),
        ("verl-sft", ["messages", -1, "thinking"], None),  # what Parquet makes of a key that others have
        ("openrlhf-sft", ["output"], "a text where the input is messages"),
        ("openrlhf-preference", ["chosen"], {"role": "assistant", "content": "not in a list"}),
        ("axolotl", ["messages", 0, "train"], ...),
        ("axolotl", ["messages", -1, "reasoning_content"], None),
        ("llamafactory", ["conversations", 0, "from"], "user"),
        ("llamafactory", ["system"], None),
        ("nemo-sft", ["input"], [{"role": "user", "content": "x"}]),
        ("nemo-preference", ["completions", 0, "rank"], "0"),
        ("nemo-preference", ["completions", 1], ...),
        ("openai-sft", ["origin"], {}),  # fields that are not documented are refused
        ("openai-sft", ["messages", -1, "reasoning_content"], "x"),
        ("openai-preference", ["preferred_output", 0, "content"], None),
        ("openai-preference", ["input"], []),
    ],
)
def test_the_schemas_notice_what_the_libraries_fail_on(name, path, value):
    row = made(name, step_with()).rows[0]
    assert valid(name, row)
    assert not valid(name, changed(row, path, value))


def test_axolotl_learns_the_answer_alone():
    (row,) = made("axolotl", step_with()).rows
    assert [(turn["role"], turn["train"]) for turn in row["messages"]] == [
        ("system", False),
        ("user", False),
        ("assistant", True),
    ]
    assert row["messages"][-1]["reasoning_content"] == "I think."
    text = find_format("axolotl").files((Split.TRAIN, Split.VALIDATION))["axolotl.yaml"]
    said = yaml.safe_load(text)
    assert said["datasets"][0]["path"] == "train.jsonl"
    assert said["test_datasets"][0]["path"] == "validation.jsonl"
    assert said["datasets"][0]["message_field_training"] == "train"
    assert said["datasets"][0]["roles_to_train"] == []


def test_llamafactory_alternates_and_is_told_what_is_where():
    (row,) = made("llamafactory", step_with()).rows
    assert row["system"] == "Improve it."
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"]
    for messages in ([("user", "a"), ("user", "b")], [("system", "a")], [("user", "a"), ("assistant", "b")]):
        found = made("llamafactory", step_with(messages=messages))
        assert (found.rows, found.left_out) == ((), {NOT_ALTERNATING: 1})
    text = find_format("llamafactory").files((Split.TRAIN,))["dataset_info.json"]
    assert yaml.safe_load(text) == {
        "discovery_train": {
            "file_name": "train.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "system": "system"},
        }
    }


def test_nemo_gets_one_text_and_ranks_from_the_best():
    (row,) = made("nemo-sft", step_with()).rows
    assert (row["input"], row["output"]) == ("Improve it.\n\nHere it is.", "best")
    found = made("nemo-sft", step_with(messages=[("user", "a"), ("assistant", "b"), ("user", "c")]))
    assert (found.rows, found.left_out) == ((), {NOT_ONE_QUESTION: 1})
    for row, worse in zip(made("nemo-preference", step_with()).rows, ("crash", "worse"), strict=True):
        assert [(each["rank"], each["completion"][0]["content"]) for each in row["completions"]] == [
            (0, "best"),
            (1, worse),
        ]


def test_openai_takes_its_own_roles_only():
    for name in ("openai-sft", "openai-preference"):
        found = made(name, step_with(messages=[("critic", "x")]))
        assert (found.rows, found.left_out) == ((), {UNKNOWN_ROLE: 1})


def test_reasoning_goes_inline_where_it_has_no_key_and_is_asked_for():
    told = "<think>\nI think.\n</think>\n\nbest"
    inline = {
        name: made(name, step_with(), reasoning=Reasoning.INLINE).rows[0]
        for name in SCHEMAS
        if name != "verl"
    }
    assert inline["verl-sft"]["messages"][-1]["content"] == told
    assert inline["nemo-sft"]["output"] == told
    assert inline["llamafactory"]["conversations"][-1]["value"] == told
    assert inline["openai-preference"]["preferred_output"][0]["content"] == told
    for name, row in inline.items():
        assert valid(name, row)
        assert "I think." not in str(made(name, step_with(), reasoning=Reasoning.OMIT).rows[0])
