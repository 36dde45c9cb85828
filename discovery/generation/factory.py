"""The configured generator, its module loaded only when it is asked for."""

from __future__ import annotations

from discovery.config import GeneratorConfig
from discovery.errors import ConfigError
from discovery.generation.base import Generator
from discovery.problem import Problem

KINDS = ("mutation", "openai")


def make_generator(config: GeneratorConfig, problem: Problem, *, api_key: str | None = None) -> Generator:
    """Make a generator; nothing is reached before its ``start``.

    Args:
        config: Which one, and its settings.
        problem: What candidates are for.
        api_key: For servers that want one; kept in memory only.

    Raises:
        ConfigError: There is no such kind, or a setting that it needs is missing.
    """
    if config.kind == "mutation":
        from discovery.generation.mutation import Mutation

        return Mutation(problem)
    if config.kind == "openai":
        from discovery.generation.openai import OpenAIGenerator

        return OpenAIGenerator(config, api_key, schema=problem.settings.schema)
    raise ConfigError(f"unknown generator {config.kind!r}; known: {', '.join(KINDS)}")
