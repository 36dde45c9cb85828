"""What the client of a model server costs: a process that asks, and does nothing else.

``python -m benchmarks.client URL KEEP REQUESTS CHOICES TOKENS ROUNDS`` prints milliseconds of CPU per completion, one
number for each round of so many requests at once. :mod:`benchmarks.busy` calls it.
"""

import asyncio
import json
import sys
import time

from discovery.config import GeneratorConfig
from discovery.generation.base import GenerationRequest
from discovery.generation.openai import OpenAIGenerator
from discovery.records import Message, Prompt

PROMPT = "# A line of the kind that prompts with three parents have, some 100 of each of them.\n" * 300


async def measure(url: str, keep: str, requests: int, choices: int, tokens: int, rounds: int) -> list[float]:
    generator = OpenAIGenerator(GeneratorConfig(kind="openai", base_url=(url,), keep=keep), "none")
    await generator.start()
    try:
        await asyncio.gather(*(_ask(generator, chain, 1, 1, tokens) for chain in range(requests)))  # connects
        spent = []
        for step in range(2, 2 + rounds):
            began = time.process_time()
            await asyncio.gather(
                *(_ask(generator, chain, step, choices, tokens) for chain in range(requests))
            )
            spent.append(1000 * (time.process_time() - began) / (requests * choices))
        return spent
    finally:
        await generator.close()


async def _ask(generator: OpenAIGenerator, chain: int, step: int, choices: int, tokens: int) -> None:
    prompt = Prompt(chain=chain, step=step, messages=(Message(role="user", content=PROMPT),), parents=())
    request = GenerationRequest(
        prompt=prompt, parents=(), indices=tuple(range(choices)), seed=1000 * chain + step
    )
    came = [completion async for completion in generator.sample(request)]
    assert len(came) == choices
    assert sum(c.tokens.completion or 0 for c in came if c.tokens is not None) >= choices * tokens


if __name__ == "__main__":
    url, keep, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(url, keep, *map(int, numbers)))))
