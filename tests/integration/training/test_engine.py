"""The engine with a taught model, asked by the client that runs use."""

import asyncio
import random
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest

from discovery.config import GeneratorConfig, SamplingConfig
from discovery.errors import GeneratorRefused, UsageError
from discovery.generation.base import GenerationRequest
from discovery.generation.load import parse_load
from discovery.generation.openai import OpenAIGenerator
from discovery.records import Message, Prompt
from discovery.training.lessons import Teacher

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch")

from aiohttp import web  # noqa: E402

from discovery.training.engine.decoding import Decoder  # noqa: E402
from discovery.training.engine.serving import Engine  # noqa: E402


@pytest.fixture(scope="module")
def decoder(taught_model):
    return Decoder(taught_model)


@pytest.fixture(scope="module")
def messages():
    return Teacher("zigzag-8").lesson(random.Random(0), 2).messages


@asynccontextmanager
async def serving(decoder, **given):
    engine = Engine(decoder, name="tiny", root="/models/tiny", **given)
    runner = web.AppRunner(engine.application(), handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    try:
        await site.start()
        yield engine, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client(root, **sampling):
    config = GeneratorConfig(
        kind="openai", base_url=(f"{root}/v1",), sampling=SamplingConfig(**{"max_tokens": 200, **sampling})
    )
    generator = OpenAIGenerator(config)
    await generator.start()
    try:
        yield generator
    finally:
        await generator.close()


def request(messages, count, seed=7, first=0):
    prompt = Prompt(chain=0, step=1, messages=tuple(messages), parents=())
    return GenerationRequest(prompt=prompt, parents=(), indices=tuple(range(first, first + count)), seed=seed)


async def completions(generator, messages, count, **given):
    found = {}
    async for completion in generator.sample(request(messages, count, **given)):
        found[completion.key.index] = completion
    return [found[index] for index in sorted(found)]


async def post(root, **body):
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{root}/v1/chat/completions", json={"model": "tiny", **body}) as answer,
    ):
        return answer.status, await answer.json()


async def until(holds):
    async with asyncio.timeout(30):
        for _ in range(10_000):
            if holds():
                return
            await asyncio.sleep(0.005)


def plain(messages):
    return [{"role": message.role, "content": message.content} for message in messages]


async def test_a_request_has_distinct_choices_and_the_same_ones_again(decoder, messages):
    async with serving(decoder) as (_, root), client(root) as generator:
        first = await completions(generator, messages, 6)
        # Beside others that are asked at the same time.
        again, other, rest = await asyncio.gather(
            completions(generator, messages, 6),
            completions(generator, messages, 6, seed=1000),
            completions(generator, messages, 2, first=4),
        )
    texts = [each.text for each in first]
    assert len(set(texts)) > 3
    assert [each.text for each in again] == texts
    assert [each.logprobs for each in again] == [each.logprobs for each in first]
    assert [each.text for each in other] != texts
    assert [each.text for each in rest] == texts[4:], "choice i has the seed of the step plus i"
    assert all(text.startswith("```python\ndef solve():") for text in texts)
    assert {each.finish_reason for each in first} == {"stop"}


async def test_a_completion_tells_what_storage_keeps(decoder, messages):
    async with serving(decoder) as (_, root), client(root) as generator:
        found = await completions(generator, messages, 3)
        loads = await generator.loads()
    prompt = found[0].prompt_token_ids
    assert prompt == decoder.prompt(plain(messages))
    for each in found:
        assert len(each.token_ids) == len(each.logprobs)
        assert (each.model.model, each.model.revision) == ("tiny", "/models/tiny")
        assert each.model.server.startswith("discovery ")
    assert sum(each.tokens.completion for each in found) == sum(len(each.token_ids) for each in found)
    assert loads[0].running == loads[0].waiting == 0
    assert loads[0].completion_tokens == sum(len(each.token_ids) for each in found)
    assert loads[0].prompt_tokens == 3 * len(prompt)


async def test_log_probabilities_are_those_of_another_pass(decoder, messages, taught_model):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(taught_model, dtype=torch.float32)
    async with serving(decoder) as (_, root), client(root, temperature=1.3, top_p=0.95) as generator:
        found = await completions(generator, messages, 4)
    for each in found:
        ids = torch.tensor([[*each.prompt_token_ids, *each.token_ids]])
        with torch.no_grad():
            all_ = torch.log_softmax(model(input_ids=ids).logits[0, :-1], dim=-1)
        told = all_.gather(1, ids[0, 1:, None]).squeeze(1)[-len(each.token_ids) :]
        assert torch.allclose(told, torch.tensor(each.logprobs), atol=1e-4)


async def test_a_stream_in_any_pieces_says_what_a_document_says(decoder, messages):
    body = {"messages": plain(messages), "n": 2, "seed": 3, "max_tokens": 200, "return_token_ids": True}
    async with serving(decoder) as (_, root):
        _, whole = await post(root, **body)
        for interval in (1, 5, 1000):
            async with client(root, extra={"stream_interval": interval}) as generator:
                streamed = await completions(generator, messages, 2, seed=3)
            assert [each.text for each in streamed] == [c["message"]["content"] for c in whole["choices"]]
            assert [list(each.token_ids) for each in streamed] == [c["token_ids"] for c in whole["choices"]]
    assert whole["usage"]["completion_tokens"] == sum(len(c["token_ids"]) for c in whole["choices"])


async def test_a_choice_ends_where_it_is_told_to(decoder, messages):
    ask = {"messages": plain(messages), "seed": 3, "return_token_ids": True}
    async with serving(decoder) as (_, root):
        _, short = await post(root, max_tokens=4, **ask)
        _, stopped = await post(root, stop=["h[2]", "EVOLVE"], **ask)
        token = short["choices"][0]["token_ids"][2]
        _, by_id = await post(root, stop_token_ids=[token], **ask)
        _, on = await post(root, ignore_eos=True, max_tokens=80, **ask)
    choice = short["choices"][0]
    assert (choice["finish_reason"], len(choice["token_ids"])) == ("length", 4)
    choice = stopped["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "EVOLVE")
    assert choice["message"]["content"].endswith("    # ")
    choice = by_id["choices"][0]
    assert (choice["stop_reason"], len(choice["token_ids"])) == (token, 3)
    assert len(on["choices"][0]["token_ids"]) == 80


async def test_temperature_zero_and_a_small_nucleus_take_the_most_likely(decoder, messages):
    ask = {"messages": plain(messages), "max_tokens": 12}
    async with serving(decoder) as (_, root):
        texts = set()
        for more in ({"temperature": 0}, {"top_p": 1e-6, "seed": 5}, {"top_k": 1, "seed": 6}):
            _, answer = await post(root, **ask, **more)
            texts.add(answer["choices"][0]["message"]["content"])
    assert len(texts) == 1


async def test_the_nucleus_holds_only_so_much(decoder, messages):
    ask = {"messages": plain(messages), "n": 64, "seed": 1, "logprobs": True, "max_tokens": 8}
    async with serving(decoder) as (_, root):
        _, narrow = await post(root, top_p=0.9, **ask)
        _, wide = await post(root, **ask)

    def distinct(answer):
        return len({choice["message"]["content"] for choice in answer["choices"]})

    assert 1 < distinct(narrow) < distinct(wide)


async def test_a_prompt_that_is_too_long_is_refused_as_by_vllm(decoder, messages):
    long = Message(role="user", content="déjà " * 2000)
    async with serving(decoder) as (_, root), client(root) as generator:
        with pytest.raises(GeneratorRefused, match="fewer --parents, a shorter statement"):
            await completions(generator, [long], 1)
        status, said = await post(root, messages=[])
    assert (status, said["error"]["message"]) == (400, "messages must not be empty")


async def test_who_leaves_is_decoded_for_no_more(decoder, messages):
    ask = {"messages": plain(messages), "n": 4, "ignore_eos": True, "stream": True, "stream_interval": 1}
    async with serving(decoder) as (engine, root), aiohttp.ClientSession() as session:
        answer = await session.post(f"{root}/v1/chat/completions", json={"model": "tiny", **ask})
        await answer.content.readany()
        waiting = asyncio.create_task(post(root, messages=plain(messages), max_tokens=5))
        await until(lambda: engine.counted.waiting)
        assert (engine.counted.running, engine.counted.waiting) == (4, 1)
        answer.close()
        status, _ = await asyncio.wait_for(waiting, 20)
        assert status == 200
        page = await (await session.get(f"{root}/metrics")).text()
    load = parse_load(root, page)
    assert (load.running, load.waiting) == (0, 0)
    assert engine.counted.ended == {"stop": 0, "length": 1, "abort": 4}
    assert load.completion_tokens < 4000


async def test_who_leaves_the_line_is_never_decoded(decoder, messages):
    ask = {"messages": plain(messages), "ignore_eos": True, "max_tokens": 300}
    async with serving(decoder) as (engine, root):
        first = asyncio.create_task(post(root, **ask))
        await until(lambda: engine.counted.running)
        second = asyncio.create_task(post(root, n=5, **ask))
        await until(lambda: engine.counted.waiting)
        second.cancel()
        with suppress(asyncio.CancelledError):
            await second
        await first
        await until(lambda: engine.counted.ended["abort"])
    assert engine.counted.generated == 300
    assert (engine.counted.running, engine.counted.waiting, engine.counted.ended["abort"]) == (0, 0, 5)


async def test_it_asks_for_its_key(decoder):
    async with serving(decoder, api_key="secret") as (_, root), aiohttp.ClientSession() as session:
        assert (await session.get(f"{root}/v1/models")).status == 401
        assert (await session.get(f"{root}/health")).status == 200
        with_key = await session.get(f"{root}/v1/models", headers={"Authorization": "Bearer secret"})
        assert (await with_key.json())["data"][0]["max_model_len"] == 4096
        assert (await session.post(f"{root}/v1/load_lora_adapter", json={})).status == 401
        elsewhere = await session.get(f"{root}/nowhere")
        assert (elsewhere.status, await elsewhere.json()) == (404, {"detail": "Not Found"})


def test_a_folder_that_is_no_model_is_named(tmp_path, taught_model):
    with pytest.raises(UsageError, match=str(tmp_path)):
        Decoder(tmp_path)
    with pytest.raises(UsageError, match="--max-model-len 5000"):
        Decoder(taught_model, context=5000)
