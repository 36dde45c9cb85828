import logging
import traceback

import pytest

from discovery.config import GeneratorConfig, SamplingConfig
from discovery.errors import ConfigError, GeneratorRefused, GeneratorUnavailable
from discovery.generation.endpoint import Endpoint
from discovery.generation.openai import OpenAIGenerator
from discovery.generation.stream import AnswerReader, StreamBroken
from discovery.testing.generator import collect, request_for
from discovery.testing.refusing import Refused
from discovery.testing.server import FakeConfig, FakeServer, Reply, Trouble
from discovery.testing.streaming import logprob
from discovery.testing.vocabulary import Vocabulary

KEY = "sk-top-secret-1234"


# Starting


async def test_start_takes_the_only_model(asked):
    async with asked() as (_, generator, _):
        identity = await generator.start()
    assert (identity.model, identity.revision, identity.server) == (
        "fake",
        "/models/fake",
        "vllm 0.32.0+fake",
    )
    assert identity.adapter is None


async def test_start_wants_a_name_where_there_are_several(asked):
    async with asked(server={"models": ("a", "b")}, start=False) as (_, generator, _):
        with pytest.raises(GeneratorRefused, match=r"serves 2 models \('a', 'b'\); name one with --model"):
            await generator.start()


async def test_start_refuses_an_unknown_model(asked):
    async with asked(model="c", server={"models": ("a", "b")}, start=False) as (_, generator, _):
        with pytest.raises(GeneratorRefused, match="does not serve 'c'; it serves 'a', 'b'"):
            await generator.start()


@pytest.mark.parametrize("key", [None, "sk-wrong-key"])
async def test_start_with_a_wrong_key(asked, key):
    async with asked(server={"api_key": KEY}, api_key=key, start=False) as (_, generator, _):
        with pytest.raises(GeneratorRefused, match="OPENAI_API_KEY"):
            await generator.start()


async def test_start_where_nothing_listens(unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}/v1"
    generator = OpenAIGenerator(GeneratorConfig(base_url=(url,)))
    with pytest.raises(GeneratorUnavailable, match=url):
        await generator.start()
    assert await generator.ready() is False
    await generator.close()


async def test_start_at_a_wrong_path():
    async with FakeServer() as server:
        generator = OpenAIGenerator(GeneratorConfig(base_url=(server.url.removesuffix("/v1"),)))
        with pytest.raises(GeneratorRefused, match="most end in /v1"):
            await generator.start()
        await generator.close()


def test_no_url(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ConfigError, match="--base-url"):
        OpenAIGenerator(GeneratorConfig())


async def test_the_url_of_the_environment(monkeypatch):
    async with FakeServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        generator = OpenAIGenerator(GeneratorConfig())
        assert (await generator.start()).model == "fake"
        await generator.close()


# Requests


async def test_one_request_for_a_step(asked):
    async with asked(temperature=0.7, max_tokens=99, extra={"top_k": 5, "top_p": None}) as (
        server,
        generator,
        _,
    ):
        completions = await collect(generator, request_for(seed=40))
        (body,) = server.requests
    assert {
        name: body.get(name) for name in ("n", "seed", "temperature", "max_tokens", "top_k", "stream")
    } == {
        "n": 4,
        "seed": 40,
        "temperature": 0.7,
        "max_tokens": 99,
        "top_k": 5,
        "stream": True,
    }
    assert "top_p" not in body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert completions[3].seed == 43
    assert completions[3].sampling == {"temperature": 0.7, "top_p": None, "max_tokens": 99, "top_k": 5}


async def test_gaps_are_asked_for_run_by_run(asked):
    async with asked() as (server, generator, _):
        completions = await collect(generator, request_for(indices=(0, 1, 3, 6, 7), seed=100))
        asked_for = sorted((body["seed"], body["n"]) for body in server.requests)
    assert asked_for == [(100, 2), (103, 1), (106, 2)]
    assert {i: c.seed for i, c in completions.items()} == {i: 100 + i for i in (0, 1, 3, 6, 7)}


async def test_temperature_zero_asks_one_by_one(asked):
    async with asked(temperature=0.0) as (server, generator, _):
        assert len(await collect(generator, request_for())) == 4
        assert [body["n"] for body in server.requests] == [1] * 4


async def test_a_server_that_ignores_n_is_asked_again_and_remembered(asked):
    async with asked(server={"most_choices": 1}) as (server, generator, sleeps):
        assert sorted(await collect(generator, request_for())) == [0, 1, 2, 3]
        assert [(b["seed"], b["n"]) for b in server.requests] == [(7, 4), (8, 1), (9, 1), (10, 1)]
        server.requests.clear()
        await collect(generator, request_for())
        assert [body["n"] for body in server.requests] == [1] * 4
        assert sleeps == []


async def test_each_choice_comes_when_it_is_complete(asked):
    async with asked(server={"latency_s": 0.15, "sigma": 1.0}) as (server, generator, _):
        arrivals, written = [], []
        async for completion in generator.sample(request_for(indices=tuple(range(8)))):
            arrivals.append(completion.latency_s)
            written.append(server.choices)
    assert arrivals == sorted(arrivals)
    assert written[0] < 8, "the first came when all were there"


async def test_tokens_add_up_and_are_counted_once(asked):
    async with asked(server={"owner": "somebody"}, keep="text") as (server, generator, _):
        plain = await collect(generator, request_for())
        total = server.tokens
    usages = [c.tokens for c in plain.values() if c.tokens is not None]
    assert len(usages) == 1
    assert usages[0].completion == total
    assert usages[0].prompt > 0


@pytest.mark.parametrize("interval", [None, 1, 16])
async def test_everything_is_kept_and_aligned(asked, interval):
    def reasoned(messages, seed):
        return Reply(text=f"answer {seed}", reasoning=f"thought about {seed}")

    async with asked(server={"stream_interval": interval}, answer=reasoned) as (server, generator, _):
        completions = (await collect(generator, request_for())).values()
        (body,) = server.requests
        vocabulary = Vocabulary()
        prompt = vocabulary.encode(vocabulary.prompt(body["messages"]))
        total = server.tokens
    for completion in completions:
        assert vocabulary.decode(completion.token_ids) == (
            f"<|channel|>analysis<|message|>thought about {completion.seed}"
            f"<|end|><|start|>assistant<|channel|>final<|message|>answer {completion.seed}<|return|>"
        )
        assert completion.logprobs == tuple(map(logprob, completion.token_ids))
        assert completion.prompt_token_ids == prompt
        assert completion.forced is None
    assert sum(c.tokens.completion for c in completions) == total
    assert [c.tokens.prompt for c in completions if c.tokens.prompt is not None] == [len(prompt)]


@pytest.mark.parametrize(
    ("keep", "owner", "asked_for"),
    [
        ("text", "vllm", {"stream_interval": 512}),
        ("tokens", "vllm", {"stream_interval": 512, "return_token_ids": True}),
        ("logprobs", "vllm", {"stream_interval": 512, "return_token_ids": True, "logprobs": True}),
        ("text", "somebody", {}),
        ("tokens", "somebody", {}),
        ("logprobs", "somebody", {"logprobs": True}),
    ],
)
async def test_what_is_asked_for_is_what_is_kept_and_what_the_server_knows(asked, keep, owner, asked_for):
    async with asked(server={"owner": owner}, keep=keep, answer_tokens=0) as (server, generator, _):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        (body,) = server.requests
    fields = ("stream_interval", "return_token_ids", "logprobs")
    assert {name: body[name] for name in fields if name in body} == asked_for
    assert (completion.token_ids is not None) == (completion.prompt_token_ids is not None)
    assert (completion.token_ids is not None) == ("return_token_ids" in asked_for)
    assert (completion.logprobs is not None) == ("logprobs" in asked_for)


async def test_ids_that_only_a_forced_answer_needs_are_not_kept(asked):
    async with asked(keep="text") as (server, generator, _):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        assert server.requests[0]["return_token_ids"] is True
    assert completion.token_ids is completion.logprobs is completion.prompt_token_ids is None
    assert completion.tokens.completion > 0


async def test_extra_fields_win_over_what_is_kept(asked):
    extra = {"logprobs": None, "return_token_ids": None, "stream_interval": 3}
    async with asked(extra=extra) as (server, generator, _):
        await collect(generator, request_for())
        (body,) = server.requests
    assert body["stream_interval"] == 3
    assert not {"logprobs", "return_token_ids"} & body.keys()


@pytest.mark.parametrize("field", ["model", "messages", "n", "seed", "stream"])
def test_what_tells_requests_apart_is_no_extra_field(field):
    with pytest.raises(ConfigError, match=f"extra holds {field}"):
        SamplingConfig(extra={field: 1})


async def test_a_seed_that_is_left_out_is_not_recorded(asked):
    async with asked(extra={"seed": None}) as (server, generator, _):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        assert "seed" not in server.requests[0]
    assert completion.seed is None


@pytest.mark.parametrize("field", ["logprobs", "return_token_ids", "stream_interval"])
async def test_a_field_that_is_refused_is_left_out_from_then_on(asked, caplog, field):
    async with asked(server={"unwanted": (field,)}) as (server, generator, sleeps):
        assert len(await collect(generator, request_for())) == 4
        assert len(await collect(generator, request_for(step=6))) == 4
        assert [field in body for body in server.requests] == [True, False, False]
    assert sleeps == []
    assert len([r for r in caplog.records if f"refuses {field}" in r.message]) == 1


async def test_a_request_that_has_borne_fruit_is_not_made_again_whatever_is_refused_then(asked):
    async with asked([Trouble.LATE_REFUSAL]) as (server, generator, _):
        seen = []

        async def consume():
            async for completion in generator.sample(request_for()):
                seen.append(completion.key.index)

        with pytest.raises(GeneratorRefused, match="logprobs: not supported"):
            await consume()
        assert (seen, len(server.requests)) == ([0], 1)


async def test_a_refusal_that_names_nothing_of_ours_stands(asked):
    async with asked(server={"unwanted": ("top_p",)}) as (server, generator, _):
        with pytest.raises(GeneratorRefused, match="top_p"):
            await collect(generator, request_for())
        assert len(server.requests) == 1


async def test_a_refused_logprob_count_of_the_user_stands(asked):
    async with asked(extra={"top_logprobs": 25}) as (server, generator, _):
        with pytest.raises(GeneratorRefused, match="greater than max allowed: 20"):
            await collect(generator, request_for())
        assert len(server.requests) == 1


@pytest.mark.parametrize("field", ["logprobs", "return_token_ids"])
async def test_what_is_asked_for_and_never_comes_is_said_once(asked, caplog, field):
    async with asked(server={"ignored": (field,)}) as (_, generator, _):
        completions = await collect(generator, request_for())
        await collect(generator, request_for(step=6))
    assert len([r for r in caplog.records if f"was asked for {field} and gives none" in r.message]) == 1
    assert all(c.text for c in completions.values())


@pytest.mark.parametrize(("owner", "warnings"), [("somebody", 1), ("vllm", 0)])
async def test_a_server_that_counts_no_tokens_is_told_of_once(asked, caplog, owner, warnings):
    """vLLM's token ids count as well."""
    troubles = [Trouble.NO_USAGE] * 2
    async with asked(troubles, server={"owner": owner}, keep="text") as (_, generator, _):
        completions = await collect(generator, request_for())
        await collect(generator, request_for(step=6))
    assert {c.tokens is None for c in completions.values()} == {owner != "vllm"}
    assert len([r for r in caplog.records if "does not count tokens" in r.message]) == warnings


# Context


async def test_max_tokens_is_no_more_than_the_context(asked):
    async with asked(server={"context": 300}) as (server, generator, _):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
        (body,) = server.requests
    assert body["max_tokens"] == completion.sampling["max_tokens"] == 300
    assert completion.text


async def test_a_prompt_that_leaves_less_than_max_tokens_is_said(asked, caplog):
    async with asked(server={"context": 80}, max_tokens=60) as (_, generator, _):
        await collect(generator, request_for())
        await collect(generator, request_for(step=6))
    (said,) = [r.message for r in caplog.records if "leaves" in r.message]
    assert "leaves 28 of max_tokens=60" in said


@pytest.mark.parametrize("context", [20, 52])
async def test_a_prompt_that_does_not_fit_is_refused_with_numbers_and_fix(asked, context):
    async with asked(server={"context": context}, max_tokens=10) as (server, generator, _):
        with pytest.raises(GeneratorRefused, match=f"takes {context} with the answer.*fewer --parents"):
            await collect(generator, request_for())
        assert len(server.requests) == 1


async def test_a_context_that_the_server_names_only_in_its_refusal_is_kept_to(asked):
    async with asked(server={"context": 300}, start=False, model="fake") as (server, generator, _):
        completions = await collect(generator, request_for())
        assert [body["max_tokens"] for body in server.requests] == [8192, 300]
    assert {c.sampling["max_tokens"] for c in completions.values()} == {300}


async def test_an_adapter_has_the_context_of_its_base(asked, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    async with asked(server={"context": 4000}, model="gen-1", start=False) as (server, generator, _):
        server.adapters["gen-1"] = str(tmp_path)
        identity = await generator.start()
        await collect(generator, request_for())
        assert server.requests[0]["max_tokens"] == 4000
    assert (identity.adapter, identity.revision) == ("gen-1", str(tmp_path))


# Reasoning


async def test_the_effort_is_sent_and_recorded(asked):
    async with asked(effort="high") as (server, generator, _):
        completions = await collect(generator, request_for())
        assert server.requests[0]["reasoning_effort"] == "high"
    assert completions[0].sampling["reasoning_effort"] == "high"


@pytest.mark.parametrize("effort", ["none", "minimal", "max"])
async def test_an_effort_that_the_model_does_not_know_is_refused_with_those_it_knows(asked, effort):
    async with asked(effort=effort) as (server, generator, _):
        with pytest.raises(GeneratorRefused, match=f"'{effort}' for 'fake'.*use one of low, medium, high"):
            await collect(generator, request_for())
        assert len(server.requests) == 1


# Structured output

SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}


async def test_a_schema_is_sent_and_its_hash_recorded(asked):
    async with asked(schema=SCHEMA) as (server, generator, _):
        completions = await collect(generator, request_for())
        (body,) = server.requests
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "solution", "schema": SCHEMA},
    }
    assert completions[0].sampling["response_format"].startswith("json_schema ")


async def test_reasoning_stays_apart(asked):
    async with asked(answer=lambda messages, seed: Reply(text="answer", reasoning="thought")) as (
        _,
        generator,
        _,
    ):
        (completion,) = (await collect(generator, request_for(indices=(0,)))).values()
    assert (completion.text, completion.reasoning) == ("answer", "thought")


@pytest.mark.parametrize(("owner", "answer_tokens"), [("vllm", 0), ("somebody", 100)])
async def test_no_content_is_a_completion(asked, owner, answer_tokens):
    options = {"server": {"owner": owner}, "answer_tokens": answer_tokens}
    async with asked([Trouble.NO_CONTENT], **options) as (server, generator, _):
        completions = await collect(generator, request_for())
        assert (len(server.requests), server.plain_requests) == (1, [])
    assert {(c.text, c.finish_reason) for c in completions.values()} == {(None, "length")}
    assert all(c.reasoning for c in completions.values())


# Secrets


async def test_the_key_is_sent_and_shown_nowhere(asked, caplog):
    caplog.set_level(logging.DEBUG)

    def echo(messages, seed):
        return Reply(text="ok")

    async with asked(server={"api_key": KEY}, api_key=KEY, answer=echo) as (server, generator, _):
        completions = await collect(generator, request_for())
        identity = await generator.start()
        shown = [
            repr(generator),
            repr(vars(generator)),
            repr(completions),
            repr(identity),
            repr(server.requests),
        ]
        server.config = FakeConfig(models=("a", "b"), api_key=KEY)
        for attempt in (generator.start, lambda: collect(generator, request_for())):
            with pytest.raises(GeneratorRefused) as caught:
                await attempt()
            shown += [str(caught.value), "".join(traceback.format_exception(caught.value))]
    assert not any(KEY in text for text in [*shown, caplog.text])


async def test_a_server_that_repeats_the_key_is_cleared_of_it(asked):
    async with asked(api_key=KEY, server={"api_key": KEY}, start=False) as (server, generator, _):
        said = f"Incorrect API key provided: {KEY}."
        server._refusal = lambda *_: Refused(status=400, message=said)
        with pytest.raises(GeneratorRefused, match=r"provided: \*\*\*\."):
            await collect(generator, request_for())


async def test_no_part_of_the_key_is_left_where_words_are_cut(asked):
    async with asked(api_key=KEY, server={"api_key": KEY}, start=False) as (server, generator, _):
        for length in (490, 495):
            server._refusal = lambda *_, n=length: Refused(status=400, message=f"{'x' * n} {KEY}")
            with pytest.raises(GeneratorRefused) as caught:
                await collect(generator, request_for())
            assert "sk-" not in str(caught.value)


def test_garbage_with_the_key_in_it_shows_no_part_of_it():
    endpoint = Endpoint("http://127.0.0.1:1/v1", KEY, probe_s=1.0)
    for length in (90, 100, 110, 1000):
        with pytest.raises(StreamBroken) as caught:
            list(AnswerReader(1).feed(b"data: {" + b"!" * length + KEY.encode() + b"\n"))
        assert "sk-" not in endpoint.clear(caught.value)


async def test_a_key_with_the_line_break_of_its_file_works(asked):
    async with asked(api_key=f"{KEY}\n", server={"api_key": KEY}) as (_, generator, _):
        assert len(await collect(generator, request_for())) == 4


@pytest.mark.parametrize("key", ["sk-top\nsecret", "sk-top\0secret", "sk-tóp-secret"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key):
    with pytest.raises(ConfigError, match="OPENAI_API_KEY") as caught:
        OpenAIGenerator(GeneratorConfig(base_url=("http://127.0.0.1:1/v1",)), key)
    assert "secret" not in str(caught.value)


def test_credentials_in_the_url_are_not_shown():
    generator = OpenAIGenerator(GeneratorConfig(base_url=("http://user:pass@host:1/v1",)))
    assert "pass" not in repr(generator)
    assert "host:1/v1" in repr(generator)
