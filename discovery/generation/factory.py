"""The configured generator, its module loaded only when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from discovery.config import AdviserConfig, GeneratorConfig, ReasoningConfig, SamplingConfig
from discovery.errors import ConfigError
from discovery.generation.base import Generator
from discovery.generators import MIXTURE
from discovery.problem import Problem

KINDS = ("mutation", "openai", MIXTURE)


def make_generator(
    config: GeneratorConfig,
    problem: Problem,
    *,
    api_key: str | None = None,
    keys: Mapping[str, str] | None = None,
) -> Generator:
    """Make a generator; nothing is reached before its ``start``.

    Args:
        config: Which one, and its settings.
        problem: What candidates are for.
        api_key: For servers that want one; kept in memory only.
        keys: Those of a mixture's members that have one of their own, by name.

    Raises:
        ConfigError: There is no such kind, or a setting that it needs is missing.
    """
    if config.kind == "mutation":
        from discovery.generation.mutation import Mutation

        return Mutation(problem)
    if config.kind == "openai":
        from discovery.generation.openai import OpenAIGenerator

        return OpenAIGenerator(config, api_key, schema=problem.settings.schema)
    if config.kind == MIXTURE:
        from discovery.generation.mixture import Mixture

        own = keys or {}
        return Mixture(
            {
                member.name: make_generator(config.of(member), problem, api_key=own.get(member.name, api_key))
                for member in config.members
            }
        )
    raise ConfigError(f"unknown generator {config.kind!r}; known: {', '.join(KINDS)}")


def make_advising(
    adviser: AdviserConfig, generator: GeneratorConfig, *, api_key: str | None = None
) -> Generator:
    """Make what answers an adviser's questions: one choice to each, in its own sampling; nothing is reached yet.

    Args:
        adviser: What was asked for; without URLs it is the generator's servers, and their model.
        generator: The run's generator, or the member of a mixture that advises.
        api_key: For servers that want one; kept in memory only.

    Raises:
        ConfigError: There is no model to ask.
    """
    from discovery.generation.openai import OpenAIGenerator

    is_own = bool(adviser.base_url)
    config = GeneratorConfig(
        kind="openai",
        base_url=adviser.base_url or generator.base_url,
        model=adviser.model or (None if is_own else generator.model),
        sampling=SamplingConfig(
            temperature=adviser.temperature,
            max_tokens=adviser.max_tokens,
            extra=_template_of(generator) if not is_own else {},
        ),
        reasoning=ReasoningConfig(
            effort=adviser.effort or generator.reasoning.effort, answer_tokens=min(512, adviser.max_tokens)
        ),
        keep="text",
        timeout_s=generator.timeout_s,
    )
    return OpenAIGenerator(config, api_key)


def _template_of(generator: GeneratorConfig) -> dict[str, object]:
    """What one model's chat template is told, whatever it is asked; other extra fields are for candidates."""
    name = "chat_template_kwargs"
    return {name: generator.sampling.extra[name]} if name in generator.sampling.extra else {}
