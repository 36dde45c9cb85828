import asyncio
import time
from contextlib import aclosing

import pytest

from discovery.generation import forcing
from discovery.generation.forcing import (
    HARMONY,
    HARMONY_IDS,
    answer_seed,
    forced,
    harmony_opening,
    think_opening,
)
from discovery.generation.served import Patience
from discovery.generation.stream import Choice
from discovery.records import TokenUsage
from discovery.testing.generator import collect, request_for
from discovery.testing.server import Reply, Trouble
from discovery.testing.streaming import logprob
from discovery.testing.vocabulary import Vocabulary
from discovery.testing.wire import send

END, START, ASSISTANT, CHANNEL, FINAL, MESSAGE = HARMONY_IDS
ANALYSIS, RETURN = 35644, 200002
PROMPT = (START, 7, MESSAGE, 8, END, START, ASSISTANT)
THOUGHT = "Thinking about it at great length, and longer still, until no token is left. " * 3


def choice_of(ids, *, text=None, reasoning="hm", finish="length", stop=None):
    return Choice(
        index=0,
        text=text,
        reasoning=reasoning,
        finish_reason=finish,
        stop_string=stop,
        tokens=TokenUsage(completion=len(ids)),
        token_ids=tuple(ids),
        logprobs=tuple(-i / 1000 for i in range(len(ids))),
    )


def thinker(messages, seed):
    return Reply(text=f"the answer of {seed}", reasoning=THOUGHT)


# With which tokens


@pytest.mark.parametrize(
    ("ids", "inserted"),
    [
        ([CHANNEL, ANALYSIS, MESSAGE, 1, 2], HARMONY_IDS),
        ([CHANNEL, ANALYSIS, MESSAGE, 1, 2, END], HARMONY_IDS[1:]),
        ([CHANNEL, ANALYSIS, MESSAGE, 1, END, START, ASSISTANT], HARMONY_IDS[3:]),
        ([CHANNEL, ANALYSIS, MESSAGE, 1, END, START, ASSISTANT, CHANNEL, FINAL], HARMONY_IDS[5:]),
        ([CHANNEL, ANALYSIS, MESSAGE, 1, *HARMONY_IDS], ()),
        ([CHANNEL], HARMONY_IDS[4:]),
    ],
)
def test_what_is_there_of_the_opening_is_not_put_in_twice(ids, inserted):
    found = forced(choice_of(ids), PROMPT, harmony_opening())
    assert found.inserted == inserted
    assert found.kept == tuple(ids)
    assert found.request == (*PROMPT, *ids, *inserted)
    assert found.span == (len(ids), len(ids) + len(inserted))


@pytest.mark.parametrize(
    "choice",
    [
        choice_of([CHANNEL, ANALYSIS, MESSAGE, 1, *HARMONY_IDS, 2], text="an answer"),
        choice_of([CHANNEL, ANALYSIS, MESSAGE, 1, *HARMONY_IDS, 2, RETURN], text="an answer", finish="stop"),
        choice_of([CHANNEL, FINAL, 5, 6, MESSAGE, 2], text="{}"),
        choice_of([CHANNEL, ANALYSIS, MESSAGE, 1, *HARMONY_IDS, RETURN], finish="stop"),
        choice_of([1, 2, 3], reasoning=None),
        choice_of([CHANNEL, ANALYSIS, MESSAGE, 1], finish="abort"),
    ],
)
def test_an_answer_that_is_there_or_was_never_reasoned_for_is_not_forced(choice):
    assert forced(choice, PROMPT, harmony_opening()) is None


def test_without_the_ids_nothing_can_be_forced():
    choice = choice_of([CHANNEL, ANALYSIS, MESSAGE, 1])
    assert forced(choice, None, harmony_opening()) is None


def test_a_header_that_was_streamed_as_content_is_no_answer():
    """As vLLM does with what was cut off inside a header."""
    choice = choice_of([CHANNEL, ANALYSIS, MESSAGE, 1, END, START], text="<|start|>")
    found = forced(choice, PROMPT, harmony_opening())
    assert found.inserted == HARMONY_IDS[2:]
    answer = choice_of([9], text="real", reasoning=None, finish="stop")
    assert found.with_answer(answer).text == "real"


def test_the_token_that_ended_the_reasoning_is_taken_out_but_not_a_stop_string():
    ids = [CHANNEL, ANALYSIS, MESSAGE, 1, RETURN]
    assert forced(choice_of(ids, finish="stop"), PROMPT, harmony_opening()).kept == tuple(ids[:-1])
    stopped = choice_of(ids[:-1], finish="stop", stop="need")
    assert forced(stopped, PROMPT, harmony_opening()).kept == tuple(ids[:-1])


def test_models_with_one_token_that_ends_reasoning():
    opening = think_opening(99)
    assert forced(choice_of([5, 6]), PROMPT, opening).inserted == (99,)
    begun = forced(choice_of([5, 99, 7], text="\n"), PROMPT, opening)
    assert (begun.inserted, begun.kept) == ((), (5, 99, 7))
    assert begun.with_answer(choice_of([8], text="42")).text == "\n42"
    assert forced(choice_of([5, 99, 7], text="42"), PROMPT, opening) is None


def test_one_choice_is_made_of_two():
    first = choice_of([CHANNEL, ANALYSIS, MESSAGE, 1])
    found = forced(first, PROMPT, harmony_opening())
    answer = Choice(
        index=0,
        text="42",
        reasoning=None,
        finish_reason="stop",
        tokens=TokenUsage(prompt=17, completion=2, cached=16),
        token_ids=(42, RETURN),
        logprobs=(-0.5, -0.25),
    )
    whole = found.with_answer(answer)
    assert (whole.text, whole.reasoning, whole.finish_reason) == ("42", "hm", "stop")
    assert whole.token_ids == (CHANNEL, ANALYSIS, MESSAGE, 1, *HARMONY_IDS, 42, RETURN)
    assert whole.logprobs == (*first.logprobs, *[None] * 6, -0.5, -0.25)
    assert whole.tokens == TokenUsage(prompt=17, completion=6, cached=16)


def test_seeds_of_answers_differ_and_repeat():
    seeds = [answer_seed(seed) for seed in range(1000)]
    assert len({*seeds, *range(1000)}) == 2000
    assert seeds == [answer_seed(seed) for seed in range(1000)]
    assert all(0 <= seed < 1 << 48 for seed in seeds)


# At a server


@pytest.mark.parametrize(
    ("style", "opening"),
    [("harmony", HARMONY), ("think", "</think>")],
)
@pytest.mark.parametrize("keep", ["logprobs", "tokens", "text"])
async def test_reasoning_without_an_answer_gets_one(asked, style, opening, keep):
    options = {"server": {"style": style}, "keep": keep, "max_tokens": 20, "answer_tokens": 50}
    async with asked(answer=thinker, **options) as (server, generator, _):
        completions = await collect(generator, request_for(seed=100))
        assert len(server.requests) == 1
        bodies = {body["seed"]: body for body in server.plain_requests}
        generated = server.tokens
    assert len(bodies) == 4
    vocabulary = Vocabulary(style)
    inserted = vocabulary.encode(opening)
    for index, completion in completions.items():
        seed = answer_seed(100 + index)
        body = bodies[seed]
        assert completion.text == f"the answer of {seed}"
        assert completion.reasoning
        assert THOUGHT.startswith(completion.reasoning)
        assert completion.finish_reason == "stop"
        assert completion.seed == 100 + index
        assert completion.forced == (20, 20 + len(inserted))
        assert (body["n"], body["max_tokens"]) == (1, 50)
        if keep == "text":
            assert completion.token_ids is completion.logprobs is None
            continue
        start, end = completion.forced
        ids = completion.token_ids
        assert ids[start:end] == inserted
        assert (*completion.prompt_token_ids, *ids[:end]) == tuple(body["prompt"])
        assert vocabulary.decode(ids[end:]) == completion.text + vocabulary.end
        if keep == "logprobs":
            drawn = [None if start <= i < end else logprob(token) for i, token in enumerate(ids)]
            assert completion.logprobs == tuple(drawn)
    usages = [completion.tokens for completion in completions.values()]
    assert sum(usage.completion for usage in usages) == generated
    first = len(vocabulary.encode(vocabulary.prompt(server.requests[0]["messages"])))
    second = sum(len(body["prompt"]) for body in bodies.values())
    assert sum(usage.prompt for usage in usages) == first + second


async def test_the_answer_is_sampled_like_the_reasoning(asked):
    extra = {"top_k": 5, "logprobs": True, "top_logprobs": 3, "min_tokens": 9, "stop_token_ids": [77]}
    options = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 20, "extra": extra, "effort": "high"}
    async with asked(answer=thinker, **options) as (server, generator, _):
        await collect(generator, request_for(indices=(0,)))
        (body,) = server.plain_requests
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.7, 0.9, 5)
    assert body["logprobs"] == 0
    assert body["stop_token_ids"] == [77, END, START]
    assert not {"top_logprobs", "min_tokens", "reasoning_effort", "messages"} & body.keys()


async def test_equal_seeds_give_equal_answers(asked):
    async with asked(answer=thinker, max_tokens=20) as (_, generator, _):
        first = await collect(generator, request_for())
        second = await collect(generator, request_for(indices=(2,)))
    assert first[2].text == second[2].text
    assert first[2].token_ids == second[2].token_ids


async def test_answers_are_not_forced_where_none_are_wanted_or_none_is_missing(asked):
    async with asked(answer=thinker, max_tokens=20, answer_tokens=0) as (server, generator, _):
        completions = await collect(generator, request_for())
        assert server.plain_requests == []
        assert {(c.text, c.finish_reason, c.forced) for c in completions.values()} == {(None, "length", None)}
    async with asked(answer=thinker) as (server, generator, _):
        completions = await collect(generator, request_for())
        assert server.plain_requests == []
        assert {c.forced for c in completions.values()} == {None}


async def test_a_stop_string_inside_the_reasoning_is_gone_past(asked):
    async with asked(answer=thinker, extra={"stop": ["at great"]}) as (server, generator, _):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        assert len(server.plain_requests) == 1
    assert completion.reasoning == "Thinking about it "
    assert completion.text.startswith("the answer of")


async def test_reasoning_that_the_model_ended_without_an_answer_gets_one(asked):
    def ends(messages, seed):
        return Reply(text=None, reasoning="Enough.", finish_reason="stop")

    async with asked(answer=ends) as (server, generator, _):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        (body,) = server.plain_requests
    assert RETURN not in body["prompt"]
    assert RETURN not in completion.token_ids[: completion.forced[1]]


@pytest.mark.parametrize("cut", range(1, 14))
async def test_wherever_the_reasoning_is_cut(asked, cut):
    def short(messages, seed):
        return Reply(text="the whole answer", reasoning="Quick.")

    async with asked(answer=short, max_tokens=cut) as (server, generator, _):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
    ids = completion.token_ids
    text = Vocabulary().decode(ids)
    assert text.count("<|channel|>final<|message|>") == 1
    if not server.plain_requests:
        assert cut > 11
        return
    assert completion.text == "the whole answer"
    assert "<|end|><|end|>" not in text
    assert text.endswith("<|channel|>final<|message|>the whole answer<|return|>")


async def test_the_answer_fits_into_what_the_context_leaves(asked):
    options = {"server": {"context": 100}, "max_tokens": 30, "answer_tokens": 50}
    async with asked(answer=thinker, **options) as (server, generator, _):
        await collect(generator, request_for(indices=(0,)))
        (body,) = server.plain_requests
        assert body["max_tokens"] == 100 - len(body["prompt"]) < 50


async def test_where_the_context_leaves_nothing_the_completion_stays_as_it_came(asked, caplog):
    options = {"server": {"context": 80}, "max_tokens": 70}
    async with asked(answer=thinker, **options) as (server, generator, _):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        assert server.plain_requests == []
    assert (completion.text, completion.forced) == (None, None)
    assert "leave no room" in caplog.text


@pytest.mark.parametrize("trouble", [Trouble.UNAVAILABLE, Trouble.GARBAGE, Trouble.REFUSED, Trouble.ABORTED])
async def test_a_fault_on_the_way_to_the_answer_is_survived(asked, trouble):
    async with asked([Trouble.NONE, trouble], answer=thinker, max_tokens=20) as (server, generator, _):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        assert (len(server.requests), len(server.plain_requests)) == (1, 2)
    assert completion.text.startswith("the answer of")


@pytest.mark.parametrize("trouble", [Trouble.UNAVAILABLE, Trouble.BAD_REQUEST, Trouble.STALLED])
async def test_what_was_paid_for_is_not_lost_and_not_paid_twice(asked, caplog, trouble):
    patience = Patience(stall_s=20.0, first_byte_s=0.5, pause_s=0.01)
    options = {"max_tokens": 20, "patience": patience}
    async with asked([Trouble.NONE, *[trouble] * 50], answer=thinker, **options) as (server, generator, _):
        completions = await collect(generator, request_for())
        assert len(server.requests) == 1
    assert sorted(completions) == [0, 1, 2, 3]
    assert {(c.text, c.finish_reason, c.forced) for c in completions.values()} == {(None, "length", None)}
    assert "could not be forced" in caplog.text


async def test_the_deadline_leaves_the_reasoning_standing(asked):
    patience = Patience(stall_s=60)
    troubles = [Trouble.NONE, Trouble.STALLED]
    options = {"max_tokens": 20, "timeout_s": 2.0, "patience": patience}
    async with asked(troubles, answer=thinker, **options) as (server, generator, _):
        started = time.monotonic()
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        assert time.monotonic() - started < 30
        assert len(server.requests) == 1
    assert completion.text is None
    assert completion.reasoning


async def test_siblings_do_not_wait_for_a_forced_answer(asked):
    def one_reasons(messages, seed):
        return thinker(messages, seed) if seed == 7 else Reply(text="at once")

    troubles = [Trouble.NONE, Trouble.STALLED]
    options = {"max_tokens": 20, "patience": Patience(stall_s=20.0, first_byte_s=0.6)}
    async with asked(troubles, answer=one_reasons, **options) as (_, generator, _):
        order = [c.key.index async for c in generator.sample(request_for(seed=7))]
    assert order[-1] == 0
    assert sorted(order) == [0, 1, 2, 3]


async def test_what_is_forced_survives_the_end_of_its_siblings(asked):
    """The first choice is complete when the stream breaks; its answer comes all the same."""
    async with asked([Trouble.HALF], answer=thinker, max_tokens=20) as (server, generator, _):
        completions = await collect(generator, request_for(seed=0))
        assert [(body["seed"], body["n"]) for body in server.requests] == [(0, 4), (1, 3)]
    assert all(c.text for c in completions.values())


async def test_closing_the_iterator_aborts_the_forced_answer(asked, until):
    troubles = [Trouble.NONE, Trouble.STALLED]
    options = {"max_tokens": 20, "patience": Patience(stall_s=60)}
    async with asked(troubles, answer=thinker, **options) as (server, generator, _):
        async with aclosing(generator.sample(request_for(indices=(0,)))) as stream:
            pull = asyncio.create_task(anext(stream))
            await until(lambda: server.plain_requests)
            pull.cancel()
            await asyncio.gather(pull, return_exceptions=True)
        await until(lambda: server.aborted == 1)
        # The reasoning was paid for all the same.
        assert (generator.spoiled.completion, generator.spoiled.prompt > 0) == (20, True)


async def test_a_completion_is_never_the_work_of_two_models(asked, caplog, monkeypatch):
    def cards(*_):
        return [{"id": "fake", "owned_by": "vllm", "root": "/models/other"}]

    async with asked(answer=thinker, max_tokens=20) as (server, generator, _):
        posted = server._posted

        async def respond(path, *request):
            if path == "/v1/completions":  # restarted with other weights, which was noticed meanwhile
                monkeypatch.setattr("discovery.testing.server.cards", cards)
                await generator.start()
            return await posted(path, *request)

        server._posted = respond
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        (second,) = (await collect(generator, request_for(indices=(0,)))).values()
        spent = sum(c.tokens.completion for c in (completion, second)) + generator.spoiled.completion
        assert spent == server.tokens
    assert (completion.text, completion.forced, completion.model.revision) == (None, None, "/models/fake")
    assert (second.text is not None, second.model.revision) == (True, "/models/other")
    assert "serves something else since" in caplog.text


async def test_a_model_without_a_known_end_of_reasoning_is_left_alone(asked, caplog, monkeypatch):
    monkeypatch.setattr(forcing, "HARMONY", "something else")
    async with asked(answer=thinker, max_tokens=20) as (server, generator, _):
        completions = await collect(generator, request_for())
        assert server.plain_requests == []
    assert {c.text for c in completions.values()} == {None}
    assert len([r for r in caplog.records if "no known way to end reasoning" in r.message]) == 1


async def test_what_could_not_be_learned_once_is_asked_for_again(asked, caplog):
    async with asked(answer=thinker, max_tokens=20) as (server, generator, _):
        answer, server._posted = server._posted, refuses_detokenize(server._posted)
        first = await collect(generator, request_for(indices=(0,)))
        server._posted = answer
        second = await collect(generator, request_for(indices=(0,)))
    assert (first[0].text, first[0].forced) == (None, None)
    assert "could not be forced" in caplog.text
    assert second[0].text.startswith("the answer of")


async def test_the_deadline_leaves_the_reasoning_standing_while_the_opening_is_learned(asked):
    """Each choice may have to wait for those before it: the server takes the question and never answers."""
    options = {"max_tokens": 20, "timeout_s": 2.0, "patience": Patience(stall_s=60, probe_s=1.5)}
    async with asked(answer=thinker, **options) as (server, generator, _):
        posted = server._posted

        async def respond(path, *request):
            if path == "/detokenize":
                await asyncio.Event().wait()
            return await posted(path, *request)

        server._posted = respond
        completions = await collect(generator, request_for())
        assert len(server.requests) == 1
    assert sorted(completions) == [0, 1, 2, 3]
    assert all(c.reasoning and c.text is None for c in completions.values())


def refuses_detokenize(posted):
    async def respond(path, request, reader, writer):
        if path == "/detokenize":
            return await send(writer, 503, {"error": {"message": "busy"}})
        return await posted(path, request, reader, writer)

    return respond


async def test_the_answer_keeps_to_the_schema(asked):
    async with asked(answer=thinker, max_tokens=20, schema={"type": "object"}) as (server, generator, _):
        await collect(generator, request_for(indices=(0,)))
    assert server.plain_requests[0]["response_format"] == server.requests[0]["response_format"]
