"""Problems, completions and servers for the tests of this folder."""

import asyncio
import dataclasses
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from discovery.config import GeneratorConfig, ReasoningConfig, SamplingConfig
from discovery.generation.openai import OpenAIGenerator
from discovery.generation.served import Patience
from discovery.problem import Problem, ProblemSettings
from discovery.records import CandidateKey, Completion, Direction, ModelIdentity
from discovery.testing.server import FakeConfig, FakeServer

FRAMED = """\
import math

# EVOLVE-BLOCK-START
def solve():
    return [0.0, 1.5, -2.25]
# EVOLVE-BLOCK-END


def main():
    return solve()
"""
FREE = "def solve():\n    return 0.5\n"


def _problem_of(initial=FRAMED, *, statement="Find the numbers.", direction=Direction.MAXIMIZE, **settings):
    return Problem(
        name="numbers",
        statement=statement,
        initial=initial,
        scorer=lambda program: 0.0,
        direction=direction,
        settings=ProblemSettings(**settings),
        path=Path("problem.py"),
        version="0",
    )


def _completion_of(text, *, finish_reason="stop", generator="openai", reasoning=None):
    return Completion(
        key=CandidateKey(0, 1, 0),
        text=text,
        reasoning=reasoning,
        finish_reason=finish_reason,
        model=ModelIdentity(generator=generator),
        created_at=datetime.now(UTC),
    )


class Sleeps(list):
    async def __call__(self, seconds):
        self.append(seconds)


async def _until(condition):
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to be")


@asynccontextmanager
async def _asked(
    troubles=(),
    *,
    server=None,
    answer=None,
    api_key=None,
    patience=None,
    start=True,
    schema=None,
    **config,
):
    """A server, a generator that speaks to it, and the pauses it made.

    What is given by name goes into the configuration, whatever part of it has that name.
    """
    more = {} if answer is None else {"answer": answer}
    sampling, reasoning = (
        kind(**{f.name: config.pop(f.name) for f in dataclasses.fields(kind) if f.name in config})
        for kind in (SamplingConfig, ReasoningConfig)
    )
    async with FakeServer(FakeConfig(**(server or {})), troubles=troubles, **more) as fake:
        sleeps = Sleeps()
        generator = OpenAIGenerator(
            GeneratorConfig(
                kind="openai", base_url=(fake.url,), sampling=sampling, reasoning=reasoning, **config
            ),
            api_key,
            patience=patience or Patience(stall_s=20.0, probe_s=5.0, pause_s=0.01),
            sleep=sleeps,
            rng=random.Random(0),
            schema=schema,
        )
        try:
            if start:
                await generator.start()
            yield fake, generator, sleeps
        finally:
            await generator.close()


@pytest.fixture(scope="session")
def problem_of():
    return _problem_of


@pytest.fixture(scope="session")
def completion_of():
    return _completion_of


@pytest.fixture(scope="session")
def framed():
    return FRAMED


@pytest.fixture(scope="session")
def asked():
    return _asked


@pytest.fixture(scope="session")
def until():
    return _until
