"""A reasoning model, gpt-oss, on a real vLLM server."""

import json

import pytest

from discovery.config import GeneratorConfig, ReasoningConfig, SamplingConfig
from discovery.errors import GeneratorRefused
from discovery.generation.forcing import HARMONY_IDS
from discovery.generation.openai import OpenAIGenerator
from discovery.testing.generator import collect, request_for

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def reasoning(tiny_models):
    return json.loads((tiny_models / "models.json").read_text())["tiny-gpt-oss"]


async def asked(server, *, effort=None, answer_tokens=300, count=2, **sampling):
    config = GeneratorConfig(
        kind="openai",
        base_url=(server.url,),
        sampling=SamplingConfig(**{"max_tokens": 300, "temperature": 0.2, **sampling}),
        reasoning=ReasoningConfig(effort=effort, answer_tokens=answer_tokens),
    )
    generator = OpenAIGenerator(config)
    try:
        await generator.start()
        found = await collect(generator, request_for("x = 1\n", indices=tuple(range(count))))
    finally:
        await generator.close()
    return [found[index] for index in range(count)]


async def test_reasoning_and_answer_are_kept_apart(gptoss_server, reasoning):
    for completion in await asked(gptoss_server):
        assert completion.reasoning == reasoning
        assert completion.text.startswith("```python\n# EVOLVE-BLOCK-START\ndef solve():")
        assert completion.forced is None
        assert len(completion.token_ids) == len(completion.logprobs) == completion.tokens.completion


async def test_effort_reaches_the_model(gptoss_server):
    prompts = {}
    for effort in ("low", "high"):
        (completion,) = await asked(gptoss_server, effort=effort, count=1, max_tokens=1, answer_tokens=0)
        assert completion.sampling["reasoning_effort"] == effort
        ids = completion.prompt_token_ids
        prompts[effort] = gptoss_server.post("/detokenize", model=gptoss_server.name, tokens=ids)["prompt"]
    assert "Reasoning: low" in prompts["low"]
    assert "Reasoning: high" in prompts["high"]


async def test_an_effort_that_gpt_oss_does_not_know(gptoss_server):
    with pytest.raises(GeneratorRefused, match=r"none.*low, medium, high"):
        await asked(gptoss_server, effort="none")


def pieces(completion):
    """The ids before our tokens, ours, and after; checked to be one completion."""
    first, last = completion.forced
    ids, logprobs = completion.token_ids, completion.logprobs
    assert len(ids) == len(logprobs)
    ours = [first <= place < last for place in range(len(ids))]
    assert [logprob is None for logprob in logprobs] == ours, "what the model did not draw has no probability"
    return ids[:first], ids[first:last], ids[last:]


async def test_an_answer_is_forced_where_reasoning_took_all_tokens(gptoss_server, reasoning):
    for completion in await asked(gptoss_server, max_tokens=12):
        before, ours, after = pieces(completion)
        assert len(before) <= 12
        assert ours == HARMONY_IDS
        assert reasoning.startswith(completion.reasoning)
        assert completion.text.startswith("```python\n# EVOLVE-BLOCK-START\ndef solve():")
        text = gptoss_server.post("/detokenize", model=gptoss_server.name, tokens=after)["prompt"]
        assert text.removesuffix("<|return|>") == completion.text
        assert completion.finish_reason == "stop"


async def test_forced_tokens_have_the_logprobs_of_a_second_request(gptoss_server):
    (completion,) = await asked(gptoss_server, max_tokens=12, count=1, temperature=1.0)
    ids, prompt = completion.token_ids, completion.prompt_token_ids
    answer = gptoss_server.post(
        "/v1/completions", model=gptoss_server.name, prompt=[*prompt, *ids], max_tokens=1, prompt_logprobs=0
    )
    told = answer["choices"][0]["prompt_logprobs"][len(prompt) :]
    expected = [row[str(token)]["logprob"] for row, token in zip(told, ids, strict=True)]
    for mine, theirs in zip(completion.logprobs, expected, strict=True):
        # Half precision: batches of another shape round otherwise.
        assert mine is None or mine == pytest.approx(theirs, abs=0.1)


async def test_without_room_for_it_no_answer_is_forced(gptoss_server):
    for completion in await asked(gptoss_server, max_tokens=12, answer_tokens=0):
        assert completion.text is None
        assert completion.forced is None
        assert completion.finish_reason == "length"


async def test_a_stop_string_inside_the_reasoning_does_not_end_the_completion(gptoss_server):
    for completion in await asked(gptoss_server, extra={"stop": ["squares"]}):
        before, ours, _ = pieces(completion)
        assert before
        assert ours == HARMONY_IDS
        assert completion.text.startswith("```python\n# EVOLVE-BLOCK-START\ndef solve():")
