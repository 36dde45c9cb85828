"""The client against a real vLLM server."""

import asyncio
import json

import pytest

from discovery.config import GeneratorConfig, SamplingConfig
from discovery.errors import GeneratorRefused
from discovery.generation.openai import OpenAIGenerator
from discovery.generation.served import Patience
from discovery.testing.generator import collect, request_for

pytestmark = pytest.mark.vllm


def generator(server, *, schema=None, model=None, attempts=4, **sampling):
    config = GeneratorConfig(
        kind="openai",
        base_url=(server.url,),
        model=model or server.name,
        sampling=SamplingConfig(**{"max_tokens": 300, **sampling}),
    )
    return OpenAIGenerator(config, schema=schema, patience=Patience(attempts=attempts))


async def asked(server, request=None, **options):
    """All completions of a request, by index."""
    asking = generator(server, **options)
    try:
        await asking.start()
        return await collect(asking, request or request_for())
    finally:
        await asking.close()


async def test_k_choices_by_one_request_are_distinct_seeded_and_repeatable(vllm_server):
    def chats():
        return vllm_server.metric("http_requests_total", 'handler="/v1/chat/completions"')

    earlier = chats()
    first = await asked(vllm_server, request_for(seed=11))
    assert chats() - earlier == 1
    texts = [first[index].text for index in range(4)]
    assert len(set(texts)) == 4, "choices of one step must differ"
    assert any(text.startswith("```python\n# EVOLVE-BLOCK-START\ndef solve()") for text in texts)
    assert [first[index].seed for index in range(4)] == [11, 12, 13, 14]
    assert {c.finish_reason for c in first.values()} == {"stop"}
    again = await asked(vllm_server, request_for(seed=11))
    assert [again[index].text for index in range(4)] == texts
    # Choice i has the seed of the step plus i, whatever else is asked for beside it.
    for index in (0, 3):
        (alone,) = (await asked(vllm_server, request_for(seed=11, indices=(index,)))).values()
        assert alone.text == texts[index]


async def test_token_ids_and_logprobs_are_those_of_a_second_request(vllm_server):
    found = await asked(vllm_server, request_for(seed=3))
    for completion in found.values():
        ids, prompt = completion.token_ids, completion.prompt_token_ids
        assert len(ids) == len(completion.logprobs) == completion.tokens.completion
        text = vllm_server.post("/detokenize", model="tiny", tokens=ids)["prompt"]
        assert text.removesuffix("<|end|>") == completion.text
        answer = vllm_server.post(
            "/v1/completions", model="tiny", prompt=[*prompt, *ids], max_tokens=1, prompt_logprobs=0
        )
        told = answer["choices"][0]["prompt_logprobs"][len(prompt) :]
        expected = [row[str(token)]["logprob"] for row, token in zip(told, ids, strict=True)]
        assert completion.logprobs == pytest.approx(expected, abs=1e-4)
    assert len({completion.prompt_token_ids for completion in found.values()}) == 1


async def test_the_server_and_its_weights_are_told(vllm_server):
    (completion,) = (await asked(vllm_server, request_for(indices=(0,)))).values()
    assert completion.model.model == "tiny"
    assert completion.model.revision == str(vllm_server.model)
    assert completion.model.server == "vllm 0.32.0"


async def test_temperature_0_takes_a_request_for_each(vllm_server):
    found = await asked(vllm_server, temperature=0.0)
    assert len({completion.text for completion in found.values()}) == 1
    assert len(found) == 4


async def test_closing_aborts_the_generation(vllm_server):
    asking = generator(vllm_server, max_tokens=7000, extra={"ignore_eos": True})
    await asking.start()

    async def running(wanted):
        async with asyncio.timeout(30):
            while vllm_server.metric("vllm:num_requests_running") != wanted:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.02)

    earlier = vllm_server.metric("vllm:generation_tokens_total")
    task = asyncio.create_task(collect(asking, request_for()))
    await running(4)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await running(0)
    made = vllm_server.metric("vllm:generation_tokens_total")
    assert made - earlier < 4 * 7000
    await asyncio.sleep(0.5)
    assert vllm_server.metric("vllm:generation_tokens_total") == made
    await asking.close()


async def test_what_an_overloaded_server_refuses_is_asked_again(vllm_server):
    refused = vllm_server.metric("vllm:admission_rejections_total")
    request = request_for(indices=tuple(range(8)))
    found = await asyncio.gather(
        *(
            asked(vllm_server, request, attempts=20, extra={"min_tokens": 80, "max_tokens": 80})
            for _ in range(4)
        )
    )
    assert [len(completions) for completions in found] == [8] * 4
    assert vllm_server.metric("vllm:admission_rejections_total") > refused


async def test_stop_strings(vllm_server):
    found = await asked(vllm_server, extra={"stop": ["solve"]})
    assert {c.finish_reason for c in found.values()} == {"stop"}
    assert not any("solve" in c.text for c in found.values())
    assert any(c.text.endswith("def ") for c in found.values())


async def test_answers_fit_a_schema(vllm_server):
    schema = {"type": "string", "enum": ["square", "circle"]}
    found = await asked(vllm_server, schema=schema)
    assert {json.loads(completion.text) for completion in found.values()} <= {"square", "circle"}


async def test_a_model_that_is_not_served(vllm_server):
    with pytest.raises(GeneratorRefused, match="does not serve 'nothing'; it serves 'tiny'"):
        await asked(vllm_server, model="nothing")


async def test_a_prompt_that_does_not_fit(vllm_server):
    with pytest.raises(GeneratorRefused, match=r"the prompt has [\d,]+ tokens .* 8,192 .*fewer --parents"):
        await asked(vllm_server, request_for("x = 0.123456789\n" * 3000))


async def test_a_completion_is_shortened_to_what_fits(vllm_server):
    found = await asked(vllm_server, request_for("x = 0.1\n" * 1000), max_tokens=8000)
    assert len(found) == 4


async def test_cached_tokens_are_told(vllm_server):
    request = request_for("y = 0.123456789\n" * 50)
    tokens = []
    for _ in range(2):
        (completion,) = (
            await asked(vllm_server, request_for(request.parents[0].source, indices=(0,)))
        ).values()
        tokens.append(completion.tokens)
    assert tokens[0].prompt == tokens[1].prompt > 256
    assert tokens[0].cached == 0
    assert tokens[1].cached >= 256
