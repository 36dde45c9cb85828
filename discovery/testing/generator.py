"""The contract of ``Generator`` as tests, for any implementation.

Needs pytest with pytest-asyncio in automatic mode. Give a fixture ``generator``: one that works and is not
started yet. Then::

    class TestMyGenerator(GeneratorContract):
        deterministic = True
"""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from discovery.generation.base import GenerationRequest, Generator, ParentView
from discovery.records import INITIAL, CandidateKey, Completion, Message, Prompt

PROGRAM = """\
# EVOLVE-BLOCK-START
def solve():
    x = 1.25
    y = -3
    return [x * 2.0, y + 0.5]
# EVOLVE-BLOCK-END
"""
"""The program that the contract's requests show."""


def request_for(
    program: str = PROGRAM,
    *,
    indices: tuple[int, ...] = (0, 1, 2, 3),
    seed: int = 7,
    chain: int = 2,
    step: int = 5,
    others: tuple[str, ...] = (),
) -> GenerationRequest:
    """A request with a prompt that ends in the program, fenced.

    Args:
        program: The main parent's.
        indices: Which completions are wanted.
        seed: Of the step.
        chain: Chain number.
        step: Step number.
        others: Programs of further parents.
    """
    parents = tuple(
        ParentView(
            key=INITIAL if place == 0 else CandidateKey(chain, place, 0),
            source=source,
            score=0.5 / (1 + place),
            metrics={},
        )
        for place, source in enumerate((program, *others))
    )
    messages = (
        Message(role="system", content="You improve programs."),
        Message(role="user", content=f"Improve this one.\n\n```python\n{program}```\n"),
    )
    prompt = Prompt(chain=chain, step=step, messages=messages, parents=tuple(p.key for p in parents))
    return GenerationRequest(prompt=prompt, parents=parents, indices=indices, seed=seed)


async def collect(generator: Generator, request: GenerationRequest) -> dict[int, Completion]:
    """All completions of a request by index; fails when one comes twice."""
    found: dict[int, Completion] = {}
    async for completion in generator.sample(request):
        assert completion.key.index not in found, f"index {completion.key.index} came twice"
        found[completion.key.index] = completion
    return found


def _file_of(task: asyncio.Task[Any]) -> str | None:
    code = getattr(task.get_coro(), "cr_code", None)
    return code.co_filename if code is not None else None


class GeneratorContract:
    """Subclass it with a fixture ``generator``; see the module docstring."""

    deterministic: ClassVar[bool] = True
    """Whether equal seeds give equal texts."""

    async def test_start_names_the_model(self, generator: Generator) -> None:
        """The identity names the generator, and completions carry that identity."""
        identity = await generator.start()
        assert identity.generator == generator.name
        assert identity.model
        completions = await collect(generator, request_for())
        assert {completion.model for completion in completions.values()} == {identity}

    @pytest.mark.parametrize("indices", [(0,), (0, 1, 2, 3), (2,), (0, 2, 3), (1, 5, 9), tuple(range(32))])
    async def test_gives_exactly_what_was_asked_for(
        self, generator: Generator, indices: tuple[int, ...]
    ) -> None:
        """One completion per index, in the right place, and an end."""
        await generator.start()
        completions = await collect(generator, request_for(indices=indices, chain=3, step=11))
        assert sorted(completions) == sorted(indices)
        for index, completion in completions.items():
            assert completion.key == CandidateKey(3, 11, index)

    async def test_records_what_training_needs(self, generator: Generator) -> None:
        """Text, finish reason, seed, latency and an aware time."""
        await generator.start()
        request = request_for()
        for index, completion in (await collect(generator, request)).items():
            assert completion.text
            assert completion.finish_reason == "stop"
            assert completion.seed == request.seed + index
            assert completion.latency_s is not None
            assert completion.latency_s >= 0
            assert completion.created_at.utcoffset() == timedelta(0)

    async def test_samples_differ(self, generator: Generator) -> None:
        """Not one seed for all: the completions of a step are not alike, nor are those of two steps."""
        await generator.start()
        first = await collect(generator, request_for(indices=tuple(range(8)), seed=1))
        second = await collect(generator, request_for(indices=tuple(range(8)), seed=1001))
        texts = [completion.text for completion in (*first.values(), *second.values())]
        assert len(set(texts)) > len(texts) // 2

    async def test_equal_seeds_give_equal_texts_whatever_is_asked_together(
        self, generator: Generator
    ) -> None:
        """What a resumed step asks for again is what it would have got."""
        if not self.deterministic:
            pytest.skip("this generator promises no equal texts")
        await generator.start()
        whole = await collect(generator, request_for(indices=(0, 1, 2, 3)))
        part = await collect(generator, request_for(indices=(3, 1)))
        assert {i: c.text for i, c in part.items()} == {i: whole[i].text for i in (1, 3)}

    async def test_requests_at_once_do_not_mix(self, generator: Generator) -> None:
        """Chains share a generator."""
        await generator.start()
        requests = [request_for(chain=chain, step=1, seed=chain * 100) for chain in range(6)]
        found = await asyncio.gather(*(collect(generator, request) for request in requests))
        for chain, completions in enumerate(found):
            assert {completion.key.chain for completion in completions.values()} == {chain}
            assert sorted(completions) == [0, 1, 2, 3]

    async def test_closing_the_iterator_early_leaves_the_generator_usable(self, generator: Generator) -> None:
        """And leaves no task behind."""
        await generator.start()
        before = asyncio.all_tasks()
        stream: Any = generator.sample(request_for())
        async with aclosing(stream) as completions:
            async for _ in completions:
                break
        await asyncio.sleep(0)
        file = inspect.getfile(type(generator))
        ours = [task for task in asyncio.all_tasks() - before if _file_of(task) == file]
        assert not ours
        assert len(await collect(generator, request_for())) == 4

    async def test_ready_once_started(self, generator: Generator) -> None:
        """``ready`` tells so, and does not raise."""
        await generator.start()
        assert await generator.ready() is True

    async def test_close_twice(self, generator: Generator) -> None:
        """Closing is idempotent."""
        await generator.start()
        await collect(generator, request_for(indices=(0,)))
        await generator.close()
        await generator.close()
