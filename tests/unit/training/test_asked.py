"""What the engine makes of a request, and what it refuses in vLLM's words."""

import pytest

from discovery.generation.refusals import room as told_room
from discovery.training.engine.asked import Refused, Sampling, asked, room

MESSAGES = [{"role": "user", "content": "Improve it."}]


def of(**body):
    return asked({"model": "tiny", "messages": MESSAGES, **body}, model="tiny", interval=8)


def test_what_is_not_said_is_as_vllm_has_it():
    found = of()
    assert (found.count, found.sampling, found.max_tokens, found.interval) == (1, Sampling(), None, 8)
    assert not any((found.streamed, found.ids, found.logprobs, found.usage, found.ignore_end))
    assert found.stop == found.stop_ids == ()
    assert 0 <= found.seed < 2**63
    assert of().seed != of().seed, "without a seed, each answer is another"


def test_all_that_a_run_sends_is_understood():
    found = of(
        n=3,
        seed=2**63 + 5,
        temperature=0.7,
        top_p=0.9,
        top_k=-1,
        max_tokens=9,
        stop="x",
        stop_token_ids=[7],
        stream=True,
        stream_options={"include_usage": True},
        stream_interval=32,
        logprobs=True,
        return_token_ids=True,
        ignore_eos=True,
        chat_template_kwargs={"a": 1},
        frequency_penalty=0.0,
        response_format=None,
    )
    assert (found.count, found.seed, found.max_tokens) == (3, 5, 9)
    assert found.sampling == Sampling(temperature=0.7, top_p=0.9, top_k=0)
    assert (found.stop, found.stop_ids, found.interval) == (("x",), (7,), 32)
    assert found.streamed
    assert found.usage
    assert found.logprobs
    assert found.ids
    assert found.ignore_end
    assert found.template == {"a": 1}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "other"}, 404, "The model `other` does not exist. Valid aliases: tiny."),
        ({"n": 0}, 400, "n must be at least 1, got 0."),
        ({"n": 2, "temperature": 0}, 400, "n must be 1 when using greedy sampling, got 2."),
        ({"temperature": -1}, 400, "temperature must be non-negative"),
        ({"temperature": 3}, 400, r"temperature must be in \[0, 2\]"),
        ({"top_p": 0}, 400, r"top_p must be in \(0, 1\], got 0"),
        ({"max_tokens": 0}, 400, "max_tokens must be at least 1, got 0"),
        ({"messages": []}, 400, "messages must not be empty"),
        ({"messages": [{"role": "user", "content": [1]}]}, 400, "a content of text"),
        ({"n": "2"}, 400, "n must be of type int, got '2'."),
        ({"n": True}, 400, "n must be of type int, got True."),
        ({"seed": 1.5}, 400, "seed must be of type int"),
        ({"stop": 5}, 400, "stop must be text"),
        ({"stop_token_ids": ["a"]}, 400, "stop_token_ids must be a list of integers"),
        (
            {"response_format": {"type": "json_object"}},
            400,
            "response_format is not supported by this engine",
        ),
        ({"repetition_penalty": 1.1}, 400, "repetition_penalty=1.1 is not supported"),
        ({"top_logprobs": 5}, 400, "top_logprobs=5 is not supported"),
    ],
)
def test_what_cannot_be_done_is_refused(body, status, words):
    with pytest.raises(Refused, match=words) as refused:
        of(**body)
    assert refused.value.status == refused.value.payload()["error"]["code"] == status


def test_a_body_that_is_no_object_is_refused():
    with pytest.raises(Refused, match="JSON object"):
        asked([], model="tiny", interval=1)


def test_room_is_what_the_context_leaves():
    assert room(of(), prompt=60, context=100) == 40
    assert room(of(max_tokens=10), prompt=60, context=100) == 10
    assert room(of(max_tokens=90), prompt=60, context=100) == 40
    assert room(of(max_completion_tokens=5, max_tokens=90), prompt=60, context=100) == 5


@pytest.mark.parametrize(("prompt", "most"), [(60, 101), (101, 10), (101, None)])
def test_what_does_not_fit_is_refused_as_the_client_reads_it(prompt, most):
    with pytest.raises(Refused) as refused:
        room(of(max_tokens=most), prompt=prompt, context=100)
    assert told_room(str(refused.value)).context == 100


def test_a_prompt_that_fills_the_context_leaves_no_room():
    with pytest.raises(Refused, match="max_tokens must be at least 1, got 0") as refused:
        room(of(), prompt=100, context=100)
    assert told_room(str(refused.value)) is not None
