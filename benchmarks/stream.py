"""What a token costs the client: by what is kept of it, and by how many of them come in one event.

The server is a process of its own and its work is not counted. Two figures each: the reader alone, and the whole client
with HTTP.
"""

import asyncio
import json
import subprocess
import sys
import time

from benchmarks.report import Figure, Report
from discovery.config import GeneratorConfig, ReasoningConfig, SamplingConfig
from discovery.generation.openai import OpenAIGenerator
from discovery.generation.stream import AnswerReader
from discovery.testing.generator import collect, request_for

KEEPS = ("text", "tokens", "logprobs")
INTERVALS = (1, 16, 64)
TOKENS = 2000
CHOICES = 8
REPEATS = 3


def run() -> Report:
    figures = []
    raw: dict[str, dict[str, float]] = {}
    command = [
        sys.executable,
        "-m",
        "discovery.testing.server",
        "--tokens",
        str(TOKENS),
        "--stream-interval",
        "1",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        for keep in KEEPS:
            for interval in INTERVALS:
                reader = 1e6 * min(_reader_s(keep, interval) for _ in range(REPEATS)) / TOKENS
                client = 1e6 * min(asyncio.run(_client_s(url, keep, interval)) for _ in range(REPEATS))
                client /= TOKENS * CHOICES
                raw[f"{keep} {interval}"] = {"reader_us": reader, "client_us": client}
                name = f"{keep}, {interval} a time"
                goal = 10.0 if interval == 16 else None
                figures += [
                    Figure(name=f"{name}: reader", value=reader, unit="us CPU per token"),
                    Figure(name=f"{name}: client", value=client, unit="us CPU per token", at_most=goal),
                ]
    finally:
        server.terminate()
        server.communicate()
    return Report(
        title=f"Client CPU of a streamed token ({CHOICES} choices of {TOKENS} tokens)",
        figures=figures,
        raw=raw,
    )


def _reader_s(keep: str, interval: int) -> float:
    events = [_event(keep, start, min(interval, TOKENS - start)) for start in range(0, TOKENS, interval)]
    end = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    events += [b"data: " + json.dumps({"choices": [end]}).encode() + b"\n\n", b"data: [DONE]\n\n"]
    reader = AnswerReader(1)
    before = time.process_time()
    for event in events:
        for _ in reader.feed(event):
            raise AssertionError("a choice is held until the usage or the end")
    (choice,) = reader.end()
    used = time.process_time() - before
    assert keep == "text" or (choice.token_ids is not None and len(choice.token_ids) == TOKENS)
    return used


def _event(keep: str, start: int, count: int) -> bytes:
    """As vLLM 0.32 writes it."""
    choice = {"index": 0, "delta": {"content": " word" * count}, "logprobs": None, "finish_reason": None}
    if keep == "logprobs":
        token = {
            "token": " word",
            "logprob": -0.0035539816599339247,
            "bytes": [*b" word"],
            "top_logprobs": [],
        }
        choice["logprobs"] = {"content": [token] * count}
    if keep != "text":
        choice["token_ids"] = [10_000 + start + i for i in range(count)]
    head = {"id": "chatcmpl-8db51318dd1abe46", "object": "chat.completion.chunk", "created": 1795273795}
    return (
        b"data: "
        + json.dumps({**head, "model": "openai/gpt-oss-120b", "choices": [choice]}).encode()
        + b"\n\n"
    )


async def _client_s(url: str, keep: str, interval: int) -> float:
    config = GeneratorConfig(
        kind="openai",
        base_url=(url,),
        keep=keep,
        sampling=SamplingConfig(extra={"stream_interval": interval}),
        reasoning=ReasoningConfig(answer_tokens=0),
    )
    generator = OpenAIGenerator(config)
    try:
        await generator.start()
        await collect(generator, request_for(indices=(0,)))
        before = time.process_time()
        found = await collect(generator, request_for(indices=tuple(range(CHOICES))))
        used = time.process_time() - before
        assert all((c.logprobs is not None) == (keep == "logprobs") for c in found.values())
        return used
    finally:
        await generator.close()
