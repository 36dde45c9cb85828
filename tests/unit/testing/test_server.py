import asyncio
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from discovery.testing.generator import PROGRAM
from discovery.testing.server import FakeConfig, FakeServer, Trouble, perturbed

MESSAGES = [{"role": "user", "content": f"Old:\n```python\nx = 1.0\n```\nNew:\n\n```python\n{PROGRAM}```\n"}]


def get(url, body=None, key=None):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to be")


def events(text):
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


def test_the_default_answer_changes_one_number_of_the_last_program():
    replies = [perturbed(MESSAGES, seed).text for seed in range(20)]
    assert len(set(replies)) > 15
    assert replies[0] == perturbed(MESSAGES, 0).text
    for reply in replies:
        (program,) = re.findall(r"```python\n(.*?)```", reply, re.DOTALL)
        changed = [a for a, b in zip(program.splitlines(), PROGRAM.splitlines(), strict=True) if a != b]
        assert len(changed) == 1
    assert perturbed([{"role": "user", "content": "Hello"}], 0).text == "There is no program here."


async def test_streams_choices_with_usage_at_the_end():
    async with FakeServer() as server:
        body = {"model": "fake", "messages": MESSAGES, "n": 3, "seed": 5, "stream": True}
        body["stream_options"] = {"include_usage": True}
        status, text = await asyncio.to_thread(get, server.url + "/chat/completions", body)
    assert status == 200
    assert text.rstrip().endswith("data: [DONE]")
    *chunks, last = events(text)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == server.tokens
    texts = ["", "", ""]
    for chunk in chunks:
        for choice in chunk["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
    assert texts == [perturbed(MESSAGES, 5 + i).text for i in range(3)]


@pytest.mark.parametrize(
    ("path", "body", "key", "status", "words"),
    [
        ("/v1/models", None, "k", 200, '"id": "fake"'),
        ("/v1/models", None, None, 401, "Unauthorized"),
        ("/version", None, None, 200, "0.32.0"),
        ("/health", None, None, 200, ""),
        ("/metrics", None, None, 200, 'vllm:num_requests_running{engine="0",model_name="fake"} 0'),
        ("/stats", None, None, 200, "busy_s"),
        ("/nothing", None, None, 404, "Not Found"),
        ("/v1/chat/completions", {"model": "x", "messages": MESSAGES}, "k", 404, "`x` does not exist"),
        (
            "/v1/chat/completions",
            {"model": "fake", "messages": MESSAGES, "n": 2, "temperature": 0},
            "k",
            400,
            "n must be 1 when using greedy sampling",
        ),
    ],
)
async def test_endpoints(path, body, key, status, words):
    async with FakeServer(FakeConfig(api_key="k")) as server:
        url = server.url.removesuffix("/v1") + path
        found = await asyncio.to_thread(get, url, body, key)
    assert found[0] == status
    assert words in found[1]


async def test_slots_bound_what_runs_and_time_is_counted():
    async with FakeServer(FakeConfig(slots=2, latency_s=0.1, sigma=0.0)) as server:
        body = {"model": "fake", "messages": MESSAGES, "n": 6, "stream": True}
        before = server.stats()
        work = asyncio.create_task(asyncio.to_thread(get, server.url + "/chat/completions", body))
        await until(lambda: server.stats()["running"] == 2)
        assert server.stats()["waiting"] == 4
        await work
        after = server.stats()
    window = after["now_s"] - before["now_s"]
    busy = after["busy_s"] - before["busy_s"]
    assert 0.6 <= busy < 1.2
    assert window >= 0.3
    assert after["choices"] == 6


def test_times_are_lognormal_and_repeat():
    config = FakeConfig(latency_s=2.0, sigma=0.5)
    times = sorted(config.time_of(seed) for seed in range(2000))
    assert times == sorted(config.time_of(seed) for seed in range(2000))
    assert 1.9 < times[1000] < 2.1
    assert 1.1 < times[317] < 1.35  # one sigma below: 2 exp(-0.5)


async def test_a_client_that_leaves_frees_the_slots():
    async with FakeServer(FakeConfig(latency_s=60)) as server:
        host, port = server.url[7:].removesuffix("/v1").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps({"model": "fake", "messages": MESSAGES, "n": 4, "stream": True}).encode()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await until(lambda: server.stats()["running"] == 4)
        writer.close()
        await until(lambda: server.stats()["running"] == 0)
        assert server.aborted == 1


async def test_closing_while_a_client_waits():
    server = await FakeServer(troubles=[Trouble.STALLED]).start()
    body = {"model": "fake", "messages": MESSAGES, "stream": True}
    work = asyncio.create_task(asyncio.to_thread(get, server.url + "/chat/completions", body))
    await until(lambda: server.requests)
    await asyncio.wait_for(server.close(), 5)
    await asyncio.gather(work, return_exceptions=True)
    await server.close()


def test_on_its_own():
    process = subprocess.Popen(
        [sys.executable, "-m", "discovery.testing.server", "--slots", "3", "--model", "m"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = process.stdout.readline().strip()
        assert get(url + "/models")[0] == 200
        assert json.loads(get(url.removesuffix("/v1") + "/stats")[1])["slots"] == 3
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0
