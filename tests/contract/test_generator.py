from dataclasses import replace
from pathlib import Path

import pytest

from discovery.config import GeneratorConfig
from discovery.generation.mixture import Mixture
from discovery.generation.mutation import Mutation
from discovery.generation.openai import OpenAIGenerator
from discovery.problem import Problem, ProblemSettings
from discovery.records import Direction
from discovery.testing.generator import PROGRAM, GeneratorContract, collect, request_for
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


class TestMixture(GeneratorContract):
    @pytest.fixture
    async def generator(self):
        async with FakeServer() as one, FakeServer(FakeConfig(models=("other",))) as two:
            members = {
                name: OpenAIGenerator(GeneratorConfig(kind="openai", base_url=(server.url,)))
                for name, server in (("one", one), ("two", two))
            }
            generator = Mixture(members)
            yield generator
            await generator.close()

    async def test_start_names_the_model(self, generator):
        """All of them; a completion names the one that made it."""
        assert (await generator.start()).model == "fake + other"
        completions = await collect(generator, replace(request_for(), members={0: "one", 1: "two"}))
        made_by = {index: generator.identities[name] for index, name in ((0, "one"), (1, "two"))}
        assert {index: completions[index].model for index in made_by} == made_by


class TestOpenAIWithAServerThatIgnoresN(GeneratorContract):
    @pytest.fixture
    async def generator(self):
        async with FakeServer(FakeConfig(most_choices=2)) as server:
            generator = OpenAIGenerator(GeneratorConfig(kind="openai", base_url=(server.url,)))
            yield generator
            await generator.close()
