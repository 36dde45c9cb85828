import contextlib
import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.generation import stream
from discovery.generation.stream import AnswerReader, StreamBroken
from discovery.records import TokenUsage


def event(*choices, usage=None, **fields):
    return b"data: " + json.dumps({"choices": list(choices), "usage": usage, **fields}).encode() + b"\n\n"


def piece(index, text=None, *, reasoning=None, finish=None, **fields):
    delta = {"content": text, "reasoning": reasoning}
    return {"index": index, "delta": delta, "finish_reason": finish, **fields}


USAGE = event(
    usage={
        "prompt_tokens": 100,
        "completion_tokens": 30,
        "prompt_tokens_details": {"cached_tokens": 96},
        "completion_tokens_details": {"reasoning_tokens": 12},
    }
)
DONE = b"data: [DONE]\n\n"


def read(data, count=4, sizes=(1 << 20,)):
    reader = AnswerReader(count)
    found, place, turn = [], 0, 0
    while place < len(data):
        size = sizes[turn % len(sizes)]
        found += reader.feed(data[place : place + size])
        place, turn = place + size, turn + 1
    return [*found, *reader.end()], reader


WHOLE = (
    b": comment\n\n"
    + event(piece(0, ""), piece(1, ""))
    + event(piece(1, "b1 "), piece(0, "ä0 "))
    + event(piece(1, "b2", finish="stop"))
    + event(piece(0, "a1", reasoning="why"))
    + event(piece(0, finish="length"))
    + USAGE
    + DONE
)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_however_the_bytes_are_cut(sizes):
    choices, reader = read(WHOLE, sizes=sizes)
    assert [(c.index, c.text, c.reasoning, c.finish_reason) for c in choices] == [
        (1, "b1 b2", None, "stop"),
        (0, "ä0 a1", "why", "length"),
    ]
    assert reader.ended
    assert choices[0].tokens is None
    assert choices[1].tokens == TokenUsage(prompt=100, completion=30, reasoning=12, cached=96)


def test_a_long_line_in_many_pieces_costs_no_more_than_its_length():
    data = event(piece(0, "x" * 16_000_000, finish="stop")) + DONE
    started = time.process_time()
    ((choice,), _) = read(data, count=1, sizes=(4096,))
    assert time.process_time() - started < 2  # 0.05 when nothing else runs; joined at each piece it takes 10
    assert len(choice.text) == 16_000_000


def test_a_choice_comes_as_soon_as_it_is_complete_while_others_are_open():
    reader = AnswerReader(2)
    assert list(reader.feed(event(piece(0, "a"), piece(1, "b")))) == []
    (first,) = reader.feed(event(piece(1, finish="stop")))
    assert first.index == 1
    assert list(reader.feed(event(piece(0, finish="stop")))) == []  # held until the usage
    (second,) = reader.feed(USAGE)
    assert second.tokens is not None


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.booleans(),
    st.integers(0, 50),
)
def test_counts_always_sum_to_the_usage(lengths, served, extra):
    total = sum(lengths) + extra
    data = event(*(piece(i, "") for i in range(len(lengths))))
    for index, length in enumerate(lengths):
        ids = {"token_ids": list(range(length))} if served else {}
        data += event(piece(index, "x" * length, **ids)) + event(piece(index, finish="stop"))
    data += event(usage={"prompt_tokens": 7, "completion_tokens": total}) + DONE
    choices, _ = read(data, count=len(lengths))
    counts = [choice.tokens for choice in choices]
    assert sum(t.completion or 0 for t in counts if t) == total
    assert sum(t.prompt or 0 for t in counts if t) == 7


def test_token_ids_and_logprobs():
    logprobs = {
        "content": [{"token": "token_id:5", "logprob": -0.5}, {"token": "token_id:6", "logprob": None}]
    }
    data = event(piece(0, "a", logprobs=logprobs)) + event(piece(0, finish="stop")) + DONE
    (choice,), _ = read(data)
    assert choice.token_ids == (5, 6)
    assert choice.logprobs == (-0.5, None)
    assert choice.tokens == TokenUsage(completion=2)


def test_reasoning_under_its_older_name():
    data = event({"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": "length"}) + DONE
    (choice,), _ = read(data)
    assert (choice.reasoning, choice.text, choice.finish_reason) == ("hm", None, "length")


def test_without_finish_reasons_only_a_whole_answer_counts():
    data = event(piece(0, "a")) + event(piece(1, ""))
    choices, reader = read(data)
    assert choices == []
    assert not reader.ended
    choices, _ = read(data + DONE)
    assert [(c.index, c.text, c.finish_reason) for c in choices] == [(0, "a", None)]


def test_what_is_complete_stands_when_the_stream_breaks():
    choices, reader = read(event(piece(0, "a", finish="stop"), piece(1, "b")))
    assert [c.text for c in choices] == ["a"]
    assert not reader.ended


def test_a_choice_never_comes_twice():
    again = event(piece(0, "a", finish="stop")) + event(piece(0, "b", finish="stop"))
    choices, _ = read(again + DONE)
    assert [c.text for c in choices] == ["a"]


def test_usage_beside_the_only_choice():
    data = event(piece(0, "a", finish="stop"), usage={"prompt_tokens": 3, "completion_tokens": 1}) + DONE
    (choice,), _ = read(data, count=1)
    assert choice.tokens == TokenUsage(prompt=3, completion=1)


def test_an_answer_that_is_not_streamed():
    body = {
        "choices": [
            {"index": i, "message": {"content": f"text {i}", "reasoning": "r"}, "finish_reason": "stop"}
            for i in (0, 1)
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 9},
    }
    reader = AnswerReader(2)
    choices = list(reader.whole(json.dumps(body).encode()))
    assert [(c.index, c.text, c.reasoning) for c in choices] == [(0, "text 0", "r"), (1, "text 1", "r")]
    assert sum(c.tokens.completion for c in choices if c.tokens) == 9


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"data: {not json\n\n", "not JSON"),
        (b"data: [1]\n\n", "unknown form"),
        (b"data: {}\n\n", "unknown form"),
        (event({"index": 9, "delta": {}}), "numbers a choice 9"),
        (event({"index": "0", "delta": {}}), "numbers a choice '0'"),
        (event({"index": 0, "delta": 5}), "unknown form"),
        (event({"delta": {}}), "unknown form"),
        (event(None), "unknown form"),
        (event(piece(0, "a", token_ids=["x"])), "unknown form"),
        (event(piece(0, "a", logprobs=[1])), "unknown form"),
        (b'data: {"error": {"message": "died", "code": 500}}\n\n', "died"),
        (b'data: {"error": "died"}\n\n', "died"),
    ],
)
def test_garbage_is_told(data, words):
    with pytest.raises(StreamBroken, match=words):
        read(data)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "index", "delta", "content", "usage", "error", "token_ids", "logprobs"]
                ),
                x,
            )
        ),
    ).map(lambda x: b"data: " + json.dumps(x).encode() + b"\n\n")
)
def test_nothing_but_stream_broken_escapes(data):
    with contextlib.suppress(StreamBroken):
        read(data)
    with contextlib.suppress(StreamBroken):
        list(AnswerReader(2).whole(data))


ODD = [
    float("inf"),
    float("nan"),
    10**400,
    -(10**400),
    1 << 63,
    -1,
    1.5,
    True,
    None,
    "7",
    "x",
    "",
    "\ud800",
    [],
    [7],
    {},
    {"a": 1},
]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"index": st.just(0) | st.sampled_from(ODD)},
            optional={
                "token_ids": st.lists(st.sampled_from(ODD)) | st.sampled_from(ODD),
                "prompt_token_ids": st.lists(st.sampled_from(ODD)),
                "logprobs": st.fixed_dictionaries(
                    {},
                    optional={
                        "token_logprobs": st.lists(st.sampled_from(ODD)),
                        "content": st.lists(
                            st.fixed_dictionaries(
                                {
                                    "logprob": st.sampled_from(ODD),
                                    "token": st.sampled_from([*ODD, "token_id:x"]),
                                }
                            )
                        ),
                    },
                ),
                "delta": st.fixed_dictionaries({"content": st.sampled_from(ODD)}) | st.sampled_from(ODD),
                "finish_reason": st.sampled_from(ODD),
            },
        ),
        max_size=4,
    ),
    st.sampled_from(ODD),
)
def test_odd_values_break_the_stream_or_are_storable(pieces, odd):
    found = []
    with contextlib.suppress(StreamBroken):
        usage = {"prompt_tokens": odd, "completion_tokens": odd}
        found, _ = read(b"".join(map(event, pieces)) + event(usage=usage) + DONE)
    for choice in found:
        ids, logprobs, tokens = choice.token_ids or (), choice.logprobs or (), choice.tokens or TokenUsage()
        assert all(type(i) is int and 0 <= i < 1 << 31 for i in ids)
        assert all(value is None or math.isfinite(value) for value in logprobs)
        assert all(count is None or 0 <= count < 1 << 31 for count in (tokens.prompt, tokens.completion))


def test_token_ids_in_digits_and_log_probabilities_that_are_not_finite():
    odd = piece(0, "x", token_ids=["7", 8], logprobs={"token_logprobs": [-math.inf, -1.5]}, finish="stop")
    ((choice,), _) = read(event(odd) + USAGE + DONE, count=1)
    assert (choice.token_ids, choice.logprobs, choice.misaligned) == ((7, 8), (None, -1.5), False)


def test_an_error_inside_the_stream_has_its_status():
    with pytest.raises(StreamBroken) as caught:
        read(b'data: {"error": {"message": "too long", "code": 400}}\n\n')
    assert caught.value.status == 400


# As vLLM 0.32 was seen to send it, a tiny gpt-oss answering.

PROMPT = [200006, 17360, 200008, 200007, 200006, 173781]


def said(*tokens):
    content = [
        {"token": text, "logprob": p, "bytes": [*text.encode()], "top_logprobs": []} for text, p in tokens
    ]
    return {"content": content}


def test_a_chat_of_vllm():
    opening = {
        "index": 0,
        "delta": {"role": "assistant", "content": ""},
        "logprobs": None,
        "finish_reason": None,
    }
    first = {
        "index": 0,
        "delta": {},
        "logprobs": said(("<|channel|>", -0.5)),
        "finish_reason": None,
        "token_ids": [200005],
    }
    last = {
        "index": 0,
        "delta": {"content": "x", "reasoning": "We"},
        "logprobs": said(("analysis", -0.25), ("We", -0.125)),
        "finish_reason": "length",
        "stop_reason": None,
        "token_ids": [35644, 2167],
    }
    usage = {"prompt_tokens": 6, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}}
    data = event(opening, prompt_token_ids=PROMPT, prompt_text=None) + event(first) + event(last)
    (choice,), reader = read(data + event(usage=usage) + DONE, count=1)
    assert reader.prompt_token_ids == tuple(PROMPT)
    assert (choice.text, choice.reasoning, choice.finish_reason) == ("x", "We", "length")
    assert choice.token_ids == (200005, 35644, 2167)
    assert choice.logprobs == (-0.5, -0.25, -0.125)
    assert choice.tokens == TokenUsage(prompt=6, completion=3, reasoning=1)
    assert not choice.misaligned


def test_a_plain_completion_of_vllm():
    def plain(text, ids, logprobs, **more):
        told = {
            "text_offset": [0],
            "token_logprobs": logprobs,
            "tokens": ["?"] * len(ids),
            "top_logprobs": [],
        }
        return {"index": 0, "text": text, "logprobs": told, "finish_reason": None, "token_ids": ids, **more}

    data = event(plain("def", [1314], [-0.5], stop_reason=None, prompt_token_ids=PROMPT))
    data += event(plain(" f", [285, 200002], [None, -0.25], finish_reason="stop", prompt_token_ids=None))
    (choice,), reader = read(data + event(usage={"prompt_tokens": 6, "completion_tokens": 3}) + DONE, count=1)
    assert (choice.text, choice.finish_reason) == ("def f", "stop")
    assert choice.token_ids == (1314, 285, 200002)
    assert choice.logprobs == (-0.5, None, -0.25)
    assert choice.tokens == TokenUsage(prompt=6, completion=3)
    assert reader.prompt_token_ids == tuple(PROMPT)


@pytest.mark.parametrize("reason", ["need", None, 200012])
def test_a_stop_string_is_told_from_a_stop_token(reason):
    (choice,), _ = read(event(piece(0, "a", finish="stop", stop_reason=reason)) + DONE)
    assert choice.stop_string == (reason if reason == "need" else None)


def test_lists_of_unequal_length_are_both_dropped():
    data = event(piece(0, "ab", token_ids=[1, 2], logprobs=said(("a", -0.5)), finish="stop"))
    (choice,), _ = read(data + event(usage={"prompt_tokens": 1, "completion_tokens": 2}) + DONE, count=1)
    assert choice.token_ids is choice.logprobs is None
    assert choice.misaligned
    assert choice.text == "ab"
    assert choice.tokens == TokenUsage(prompt=1, completion=2)


def test_ids_that_come_twice_are_taken_once():
    data = event(piece(0, "a", token_ids=[5], logprobs=said(("token_id:5", -0.5)), finish="stop"))
    (choice,), _ = read(data + DONE)
    assert (choice.token_ids, choice.logprobs) == ((5,), (-0.5,))


@pytest.mark.parametrize("compact", [True, False])
def test_prompt_ids_that_come_with_every_choice_are_read_once_and_texts_that_look_like_them_stay(
    compact, monkeypatch
):
    def shaped(line):
        payload = json.loads(line.removeprefix(b"data: "))
        return b"data: " + json.dumps(payload, separators=(",", ":") if compact else None).encode() + b"\n\n"

    tempting = '{"prompt_token_ids":[7,8]} and "prompt_token_ids": [9]'
    first = shaped(event(piece(0, ""), prompt_token_ids=[1, 2, 3]))
    again = shaped(event(piece(1, tempting, finish="stop"), prompt_token_ids=[4, 5, 6]))
    parsed = []
    monkeypatch.setattr(
        stream, "_parsed", lambda data, real=stream._parsed: parsed.append(real(data)) or parsed[-1]
    )
    choices, reader = read(first + again + shaped(event(piece(0, "x", finish="stop"))) + DONE)
    assert {c.index: c.text for c in choices} == {0: "x", 1: tempting}
    assert reader.prompt_token_ids == (1, 2, 3)
    assert parsed[1]["prompt_token_ids"] == []


@pytest.mark.parametrize("number", ["NaN", "1" * 40])
def test_numbers_that_a_strict_parser_refuses_do_not_end_a_stream(number):
    odd = b'data: {"choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}], "odd": %b}\n\n'
    (choice,), _ = read(odd % number.encode() + DONE)
    assert choice.text == "x"


def test_a_lone_surrogate_is_kept():
    odd = b'data: {"choices": [{"index": 0, "delta": {"content": "a\\ud800"}, "finish_reason": "stop"}]}\n\n'
    (choice,), _ = read(odd + DONE)
    assert choice.text == "a\ud800"
