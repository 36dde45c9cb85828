"""The prompts of one chain's steps: what is known of its past, put together and fitted to the model's context.

A prompt depends on committed steps and on nothing else of this process: tokens are counted by the server's tokenizer,
or estimated from what the newest step that the prompt may see was counted as.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from discovery.config import PromptConfig
from discovery.errors import ConfigError
from discovery.generation.base import CountsTokens, Elite, Generator, ParentView
from discovery.generation.fitting import (
    CAUTIOUS,
    LEAST_ANSWER,
    Rate,
    ceiling,
    characters,
    details,
    fitted,
    room,
)
from discovery.generation.insights import Insight
from discovery.generation.prompt import Form, compose
from discovery.parents import ParentViews
from discovery.past import Past
from discovery.ports import Ports
from discovery.problem import Problem
from discovery.records import CandidateKey, Message
from discovery.storage.base import StoredStep
from discovery.warm import Leader

_LOOK_BACK = 8
"""Steps that are looked at for what a prompt was counted as."""


class Briefing:
    """Makes the prompts of one chain.

    Args:
        ports: What chains share.
        chain: Its number.
        parents: Its candidates as prompts show them.
    """

    def __init__(self, ports: Ports, chain: int, parents: ParentViews) -> None:
        self._ports = ports
        self._chain = chain
        self._parents = parents
        self._form = Form.of(ports.prompt, ports.problem)
        self._metrics: dict[CandidateKey, dict[str, object]] = {}

    async def messages(
        self,
        number: int,
        past: Past,
        keys: Sequence[CandidateKey],
        insights: Sequence[Insight] = (),
        given: Leader | None = None,
    ) -> tuple[Message, ...]:
        """The prompt of a step.

        Args:
            number: The step's.
            past: What it may see.
            keys: The parents, the main one first.
            insights: What was learned from earlier candidates, oldest first.
            given: Whose artifact the programs of the step will be given; None where they are given none.
        """
        ports = self._ports
        elites = self._elites(past, keys)
        make = partial(
            compose,
            ports.problem,
            parents=[self._parents.get(key) for key in keys],
            best=past.best,
            failures=past.failures,
            elites=elites,
            insights=insights,
            given=given.score if given is not None else None,
            form=self._form,
        )
        context = context_of(ports.prompt, ports.generator)
        if context is None:
            return make()
        shorter = details(elites=len(elites), others=len(keys) - 1, failures=self._form.failures)

        async def count(messages: Sequence[Message]) -> int:
            counted = await _counted(ports.generator, messages)
            return counted if counted is not None else self._rate(number).tokens_of(messages)

        most = room(context, ports.generator.max_tokens)
        prompt = await fitted(lambda detail: make(detail=detail), shorter, most, count)
        # One that does not fit is sent all the same: the answer gets what is left, or the server says what is wrong.
        return prompt.messages

    def _elites(self, past: Past, keys: Sequence[CandidateKey]) -> list[Elite]:
        found = past.elites.beside(keys, self._ports.prompt.elites)
        kept = self._metrics
        self._metrics = {key: kept.get(key) or self._parents.get(key).metrics for key, _ in found}
        return [Elite(key=key, score=score, metrics=self._metrics[key]) for key, score in found]

    def _rate(self, number: int) -> Rate:
        """Characters per token of the newest prompt that a step may know of."""
        last = number - 1 - self._ports.overlap
        for step in range(last, max(0, last - _LOOK_BACK), -1):
            stored = self._ports.storage.step(self._ports.run, self._chain, step)
            rate = measured(stored) if stored is not None else None
            if rate is not None:
                return rate
        return CAUTIOUS


def context_of(config: PromptConfig, generator: Generator) -> int | None:
    """Tokens of prompt and answer together: what is asked for, and what the servers take, whichever is less."""
    served = generator.context_tokens if isinstance(generator, CountsTokens) else None
    known = [tokens for tokens in (config.context_tokens, served) if tokens is not None]
    return min(known, default=None)


def measured(stored: StoredStep) -> Rate | None:
    """What the prompt of a stored step was counted as; None where no completion says.

    The second request of a forced answer has a longer prompt, so those do not count.
    """
    if stored.prompt is None:
        return None
    plain = [c for c in stored.completions.values() if c.forced is None]
    counts = [c.tokens.prompt for c in plain if c.tokens is not None and c.tokens.prompt]
    ids = [len(c.prompt_token_ids) for c in stored.completions.values() if c.prompt_token_ids]
    tokens = max(ids or counts, default=0)
    long = characters(stored.prompt.messages)
    return Rate(characters=long, tokens=tokens) if tokens and long else None


async def refuse_what_cannot_fit(
    config: PromptConfig, problem: Problem, generator: Generator, initial: ParentView
) -> None:
    """Refuse a run whose first prompt, cut as short as it may be, leaves no room for an answer.

    Args:
        config: What prompts show.
        problem: The problem.
        generator: Started.
        initial: The initial candidate.

    Raises:
        ConfigError: It does; says how many tokens there are and how many it takes.
    """
    form = Form.of(config, problem)
    context = context_of(config, generator)
    if context is None:
        return
    least = details(elites=0, others=0, failures=0)[-1]
    messages = compose(problem, parents=[initial], form=form, detail=least)
    most = context - LEAST_ANSWER
    if ceiling(messages) <= most:
        return
    tokens = await _counted(generator, messages)
    if tokens is None or tokens <= most:
        return
    raise ConfigError(
        f"the statement and the initial candidate of {problem.name!r} take {tokens:,} tokens, and the context has "
        f"{context:,}, of which an answer needs {LEAST_ANSWER} at least; serve a model with a longer one "
        "(--max-model-len), raise [prompt] context_tokens if it is that, or shorten the statement"
    )


async def _counted(generator: Generator, messages: Sequence[Message]) -> int | None:
    return await generator.count_tokens(messages) if isinstance(generator, CountsTokens) else None
