"""The fake server gives what vLLM 0.32 was seen to give."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from discovery.testing.server import FakeConfig, FakeServer, Reply
from discovery.testing.vocabulary import Vocabulary

MESSAGES = [
    {"role": "system", "content": "You improve."},
    {"role": "user", "content": "Write f, please, now."},
]
OPENING = [200007, 200006, 173781, 200005, 17196, 200008]


async def post(server, path, body):
    def sent():
        url = server.url.removesuffix("/v1") + path
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(sent)


def events(text):
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def thinker(messages, seed):
    return Reply(text="the answer", reasoning="some thought")


CHAT = {"model": "fake", "messages": MESSAGES, "stream": True, "return_token_ids": True, "logprobs": True}


async def test_harmony_in_tokens_and_in_parts():
    async with FakeServer(FakeConfig(stream_interval=1), answer=thinker) as server:
        _, text = await post(server, "/v1/chat/completions", {**CHAT, "n": 2, "stream_interval": 8})
    found = events(text)
    vocabulary = Vocabulary()
    prompt = list(vocabulary.encode(vocabulary.prompt(MESSAGES)))
    assert [e["prompt_token_ids"] for e in found[:2]] == [prompt, prompt]
    mine = [e["choices"][0] for e in found[2:] if e["choices"][0]["index"] == 0]
    sizes = [len(c["token_ids"]) for c in mine]
    assert (sizes[0], {*sizes[1:-1]}) == (1, {8})
    ids = [i for c in mine for i in c["token_ids"]]
    assert ids[:3] == [200005, 35644, 200008]
    assert ids[-1] == 200002
    assert vocabulary.decode(ids).endswith("<|channel|>final<|message|>the answer<|return|>")
    assert "".join(c["delta"].get("reasoning", "") for c in mine) == "some thought"
    assert "".join(c["delta"].get("content", "") for c in mine) == "the answer"
    assert sum(len(c["logprobs"]["content"]) for c in mine) == len(ids)
    assert (mine[-1]["finish_reason"], mine[-1]["stop_reason"]) == ("stop", None)


async def test_a_header_that_is_cut_off_comes_as_content():
    async with FakeServer(answer=thinker) as server:
        _, text = await post(server, "/v1/chat/completions", {**CHAT, "max_tokens": 1})
    last = events(text)[-1]["choices"][0]
    assert (last["delta"], last["finish_reason"]) == ({"content": "<|channel|>"}, "length")


async def test_tokens_to_text_and_back():
    async with FakeServer() as server:
        _, ids = await post(server, "/tokenize", {"model": "fake", "prompt": "abcdefgh<|end|>"})
        assert json.loads(ids)["tokens"][-1] == 200007
        _, text = await post(server, "/detokenize", {"model": "fake", "tokens": json.loads(ids)["tokens"]})
        assert json.loads(text)["prompt"] == "abcdefgh<|end|>"
        _, text = await post(server, "/detokenize", {"model": "fake", "tokens": OPENING})
        assert json.loads(text)["prompt"] == "<|end|><|start|>assistant<|channel|>final<|message|>"


async def test_plain_completions_go_on_from_token_ids():
    vocabulary = Vocabulary()
    prompt = [*vocabulary.encode(vocabulary.prompt(MESSAGES)), 200005, 35644, 200008, *OPENING]
    body = {"model": "fake", "prompt": prompt, "stream": True, "return_token_ids": True, "logprobs": 0}
    async with FakeServer(FakeConfig(stream_interval=1), answer=thinker) as server:
        _, text = await post(server, "/v1/completions", body)
        assert server.plain_requests == [body]
    choices = [c for e in events(text) for c in e["choices"]]
    assert "".join(c["text"] for c in choices) == "the answer"
    assert choices[0]["prompt_token_ids"] == prompt
    assert {c["prompt_token_ids"] is None for c in choices[1:]} == {True}
    assert [len(c["logprobs"]["token_logprobs"]) for c in choices] == [len(c["token_ids"]) for c in choices]
    assert vocabulary.decode([i for c in choices for i in c["token_ids"]]) == "the answer<|return|>"


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"max_tokens": 5000}, 400, "max_tokens=5000 cannot be greater than max_model_len=1000"),
        (
            {"messages": [{"role": "user", "content": "long" * 2000}]},
            400,
            "maximum context length is 1000 tokens",
        ),
        ({"reasoning_effort": "none"}, 400, "Harmony does not support reasoning_effort='none'"),
        ({"reasoning_effort": "max"}, 400, "Supported values are: high, medium, low"),
        ({"reasoning_effort": "low"}, 200, "data: [DONE]"),
        ({"top_logprobs": 21}, 200, "greater than max allowed: 20"),
        ({"n": 0}, 400, "n must be at least 1"),
        ({"temperature": 2.5}, 400, "temperature must be in [0, 2], got 2.5"),
        ({"priority": 3, "guided_json": {}, "best_of": 7}, 200, "data: [DONE]"),
        ({"stop": "answ"}, 200, '"stop_reason":"answ"'),
    ],
)
async def test_what_is_refused_and_what_is_not(more, status, words):
    async with FakeServer(FakeConfig(context=1000), answer=thinker) as server:
        found = await post(server, "/v1/chat/completions", {**CHAT, **more})
    assert found[0] == status
    assert words in found[1]


async def test_adapters_come_and_go(tmp_path):
    body = {"lora_name": "gen-1", "lora_path": str(tmp_path)}
    async with FakeServer() as server:
        assert (await post(server, "/v1/load_lora_adapter", body))[0] == 404
        (tmp_path / "adapter_config.json").write_text("{}")
        assert (await post(server, "/v1/load_lora_adapter", body))[0] == 200
        assert (await post(server, "/v1/load_lora_adapter", body))[0] == 400
        cards = json.loads((await post(server, "/v1/models", None))[1])["data"]
        assert [(c["id"], c["parent"], c["max_model_len"]) for c in cards] == [
            ("fake", None, 131072),
            ("gen-1", "fake", None),
        ]
        assert (await post(server, "/v1/chat/completions", {**CHAT, "model": "gen-1"}))[0] == 200
        assert (await post(server, "/v1/unload_lora_adapter", {"lora_name": "gen-1"}))[0] == 200
        assert (await post(server, "/v1/chat/completions", {**CHAT, "model": "gen-1"}))[0] == 404
        assert (await post(server, "/v1/unload_lora_adapter", {"lora_name": "gen-1"}))[0] == 404


async def test_metrics_count_every_choice_and_what_siblings_share():
    messages = [{"role": "user", "content": "abcd" * 40}]
    async with FakeServer(answer=thinker) as server:
        await post(server, "/v1/chat/completions", {**CHAT, "messages": messages, "n": 4})
        page = (await post(server, "/metrics", None))[1]
        values = {line.split("{")[0].removeprefix("vllm:"): line.split()[-1] for line in page.splitlines()}
        size = len(Vocabulary().encode(Vocabulary().prompt(messages)))
        assert int(values["prompt_tokens_total"]) == int(values["prefix_cache_queries_total"]) == 4 * size
        assert int(values["prefix_cache_hits_total"]) == 3 * (size // 16) * 16
        assert int(values["generation_tokens_total"]) == server.tokens
        assert 'request_success_total{engine="0",finished_reason="stop",model_name="fake"} 4' in page
        server.counters.preemptions = 3
        labels = 'engine="0",model_name="fake"'
        page = (await post(server, "/metrics", None))[1]
        assert f"vllm:num_preemptions_total{{{labels}}} 3\n" in page


async def test_a_server_that_is_not_vllm_has_only_what_the_api_has():
    async with FakeServer(FakeConfig(owner="somebody")) as server:
        for path, body in (
            ("/tokenize", {"prompt": "a"}),
            ("/v1/completions", {"prompt": [1]}),
            ("/metrics", None),
        ):
            assert (await post(server, path, body))[0] == 404
        _, text = await post(server, "/v1/chat/completions", CHAT)
    assert "token_ids" not in text.replace("prompt_token_ids", "")


def test_on_its_own_with_long_answers():
    command = [sys.executable, "-m", "discovery.testing.server", "--tokens", "50", "--stream-interval", "10"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        body = json.dumps(CHAT).encode()
        with urllib.request.urlopen(f"{url}/chat/completions", body, timeout=10) as answer:
            found = [e["choices"][0] for e in events(answer.read().decode())]
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert [len(c["token_ids"]) for c in found[1:]] == [1, 10, 10, 10, 10, 9]
