from pathlib import Path

import pytest

from discovery.errors import UsageError
from discovery.training.dataset import NO_KEY, TOO_LONG, _texts, collate, encode_rows

pytestmark = pytest.mark.train


@pytest.fixture
def tokenizer(tiny_model):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def encoded(tokenizer, *rows, max_tokens=1000):
    return encode_rows(tokenizer, rows, max_tokens=max_tokens)


def test_the_prompt_is_what_the_model_is_asked_with_and_only_the_rest_is_learned(tokenizer, export):
    [row] = encoded(tokenizer, export.row(7, weight=2.5, answer="yes")).rows
    assert tokenizer.decode(row.ids[: row.learned]).replace(" ", "") == "<user>number7</s><assistant>"
    assert tokenizer.decode(row.ids[row.learned :]).replace(" ", "") == "yes</s>"
    assert (row.weight, row.learned_tokens) == (2.5, 4)


@pytest.mark.parametrize("key", ["thinking", "reasoning_content"])
def test_reasoning_goes_where_the_template_reads_it(tokenizer, export, key):
    row = export.row(7, answer="yes", **{key: "hm"})
    [found] = encoded(tokenizer, row).rows
    assert tokenizer.decode(found.ids[found.learned :]).replace(" ", "") == "(hm)yes</s>"
    tokenizer.chat_template = tokenizer.chat_template.replace("message.thinking", "message.reasoning_content")
    assert encoded(tokenizer, row).rows == (found,)


def test_reasoning_that_the_template_cannot_hold_is_counted(tokenizer, export):
    tokenizer.chat_template = tokenizer.chat_template.replace("message.thinking", "message.nothing")
    made = encoded(tokenizer, export.row(7, thinking="hm"), export.row(8, thinking=""))
    assert len(made.rows) == 2
    assert made.left_out == {NO_KEY: 1}


def test_no_reasoning_reaches_the_template_as_no_key(tokenizer, export):
    """gpt-oss's template fails on null, and writes an empty analysis for some others."""
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{% if message.thinking %}", "{% if 'thinking' in message %}"
    )
    [row] = encoded(tokenizer, export.row(7, answer="yes", thinking="")).rows
    assert tokenizer.decode(row.ids[row.learned :]).replace(" ", "") == "yes</s>"


@pytest.mark.parametrize(
    ("name", "learned"),
    [
        (
            "gptoss",
            "<|channel|>analysis<|message|>hm hm<|end|><|start|>assistant<|channel|>final<|message|>yes<|return|>",
        ),
        ("qwen3", "<think>\nhm hm\n</think>\n\nyes<|im_end|>\n"),
        ("qwen3_6", "hm hm\n</think>\n\nyes<|im_end|>\n"),  # whose prompt opens the thinking
        ("qwen2_5", "yes<|im_end|>\n"),
    ],
)
def test_templates_of_real_models_get_the_reasoning_where_they_read_it(tokenizer, export, name, learned):
    """As TRL ships them; a token is a character here."""
    import trl

    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text()
    prompt, rest, is_dropped = _texts(tokenizer, export.row(7, answer="yes", thinking="hm hm"), "row 1")
    assert rest == learned
    assert is_dropped == (name == "qwen2_5")
    assert prompt.rstrip("\n").endswith(("assistant", "<think>"))


def test_a_template_that_drops_the_answer_is_refused(tokenizer, export):
    tokenizer.chat_template = tokenizer.chat_template.replace("{{ message.content }}", "")
    with pytest.raises(
        UsageError, match=r"row 1 .*: the chat template drops the answer; it makes '</s>' of it"
    ):
        encoded(tokenizer, export.row(7))


def test_a_template_that_fails_is_told_with_its_row(tokenizer, export):
    tokenizer.chat_template = "{{ raise_exception('no such effort') }}"
    with pytest.raises(UsageError, match=r"row 1 .* in the chat template of .*no such effort"):
        encoded(tokenizer, export.row(7))


def test_rows_that_are_too_long_are_left_out_and_never_cut(tokenizer, export):
    [row] = encoded(tokenizer, export.row(7)).rows
    at_most = len(row.ids)
    assert encoded(tokenizer, export.row(7), max_tokens=at_most).rows == (row,)
    made = encoded(tokenizer, export.row(7), max_tokens=at_most - 1)
    assert made.rows == ()
    assert made.left_out == {TOO_LONG: 1}


def test_arguments_of_the_template_are_given_to_it(tokenizer, export):
    tokenizer.chat_template = "{{ effort }}" + tokenizer.chat_template
    row = {**export.row(7), "chat_template_kwargs": {"effort": "high"}}
    [found] = encoded(tokenizer, row).rows
    assert tokenizer.decode(found.ids).replace(" ", "").startswith("high<user>")


def test_an_end_is_learned_even_where_the_template_writes_none(tokenizer, export):
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{{ message.content }}</s>", "{{ message.content }}"
    )
    [row] = encoded(tokenizer, export.row(7, answer="yes")).rows
    assert row.ids[-1] == tokenizer.eos_token_id
    assert row.learned_tokens == 4


@pytest.mark.parametrize("weight", [0, -1.0, float("nan"), float("inf"), None, True, "1"])
def test_a_weight_that_is_none_is_refused(tokenizer, export, weight):
    with pytest.raises(UsageError, match=r"row 1 .*chain.* has weight"):
        encoded(tokenizer, export.row(7, weight=weight))


def test_a_row_without_anything_to_learn_is_refused(tokenizer, export):
    with pytest.raises(UsageError, match=r"row 2 .* has no completion to learn"):
        encoded(tokenizer, export.row(6), export.row(7, answer=""))
    with pytest.raises(UsageError, match="has no messages under `completion`"):
        encoded(tokenizer, {"prompt": [], "weight": 1.0})


def test_a_template_that_changes_the_prompt_is_refused(tokenizer, export):
    tokenizer.chat_template = "{{ messages | length }}" + tokenizer.chat_template
    with pytest.raises(UsageError, match="does not begin the whole with the prompt"):
        encoded(tokenizer, export.row(7))


def test_a_tokenizer_without_a_template_is_refused(tokenizer, export):
    tokenizer.chat_template = None
    with pytest.raises(UsageError, match="has no chat template"):
        encoded(tokenizer, export.row(7))


def test_batches_are_padded_and_masked_at_their_ends(tokenizer, export):
    rows = encoded(tokenizer, export.row(7, answer="yes"), export.row(8, weight=3.0, answer="no")).rows
    batch = collate(rows, padding=tokenizer.pad_token_id)
    assert batch["input_ids"].shape == batch["labels"].shape == (2, len(rows[0].ids))
    assert batch["attention_mask"].sum(1).tolist() == [len(row.ids) for row in rows]
    assert (batch["labels"] != -100).sum(1).tolist() == [4, 3]
    assert batch["labels"][1].tolist() == [-100] * rows[1].learned + list(rows[1].ids[rows[1].learned :]) + [
        -100
    ]
    assert batch["weights"].tolist() == [1.0, 3.0]
