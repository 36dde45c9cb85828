import pytest

from discovery.generation.refusals import Room, known_efforts, objected, room


@pytest.mark.parametrize(
    ("words", "context", "prompt", "left"),
    [
        (
            "max_tokens=5000 cannot be greater than max_model_len=1024. Please request fewer.",
            1024,
            None,
            1024,
        ),
        ("Input length (3068) exceeds model's maximum context length (1024).", 1024, 3068, None),
        (
            "This model's maximum context length is 1024 tokens. However, your prompt contains at least 1025 input "
            "tokens, which exceeds this limit",
            1024,
            1025,
            None,
        ),
        (
            "This model's maximum context length is 1024 tokens. However, your prompt contains 90000 characters (more "
            "than 61440 characters, which is the upper bound for 1024 input tokens).",
            1024,
            1024,
            None,
        ),
        ("max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)", None, None, None),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 1024 "
            "tokens and your request has 808 input tokens (8192 > 1024 - 808).",
            1024,
            808,
            216,
        ),
        (
            "This model's maximum context length is 16,385 tokens. However, you requested 17000 tokens (8808 in the "
            "messages, 8192 in the completion).",
            16385,
            8808,
            7577,
        ),
    ],
)
def test_what_is_said_of_the_context(words, context, prompt, left):
    found = room(words)
    assert found == Room(context=context, prompt=prompt)
    assert found.left_of(8192) == left


def test_what_is_not_about_the_context():
    assert room("n must be 1 when using greedy sampling, got 4.") is None
    assert room("max_tokens must be a number") is None


def test_a_request_that_fits_by_what_is_said_is_not_made_again():
    assert Room(context=1024, prompt=100).left_of(900) is None


@pytest.mark.parametrize(
    ("words", "efforts"),
    [
        (
            "Harmony does not support reasoning_effort='none' (parameter=reasoning_effort)",
            "low, medium, high",
        ),
        (
            "reasoning_effort='max' is not supported by Harmony. Supported values are: high, medium, low. (parame",
            "low, medium, high",
        ),
        (
            "reasoning_effort: Input should be 'none', 'minimal'",
            "none, minimal, low, medium, high, xhigh, max",
        ),
        ("temperature must be non-negative", None),
    ],
)
def test_which_efforts_exist(words, efforts):
    assert known_efforts(words) == efforts


def test_a_field_is_named_as_a_word_of_its_own():
    assert objected("logprobs: not supported", ["logprobs", "stream_interval"]) == "logprobs"
    assert objected("top_logprobs is too large", ["logprobs"]) is None
