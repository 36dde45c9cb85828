from pathlib import Path

import pytest

from discovery.config import GeneratorConfig
from discovery.generation.mutation import Mutation
from discovery.generation.openai import OpenAIGenerator
from discovery.problem import Problem, ProblemSettings
from discovery.records import Direction
from discovery.testing.generator import PROGRAM, GeneratorContract
from discovery.testing.server import FakeConfig, FakeServer


class TestMutation(GeneratorContract):
    @pytest.fixture
    def generator(self):
        problem = Problem(
            name="contract",
            statement="",
            initial=PROGRAM,
            scorer=lambda program: 0.0,
            direction=Direction.MAXIMIZE,
            settings=ProblemSettings(),
            path=Path("problem.py"),
            version="0",
        )
        return Mutation(problem)


class TestOpenAI(GeneratorContract):
    @pytest.fixture
    async def generator(self):
        async with FakeServer() as server:
            generator = OpenAIGenerator(GeneratorConfig(kind="openai", base_url=(server.url,)))
            yield generator
            await generator.close()


class TestOpenAIWithAServerThatIgnoresN(GeneratorContract):
    @pytest.fixture
    async def generator(self):
        async with FakeServer(FakeConfig(most_choices=2)) as server:
            generator = OpenAIGenerator(GeneratorConfig(kind="openai", base_url=(server.url,)))
            yield generator
            await generator.close()
