"""The prompts of one chain's steps: what is known of its past, put together and fitted to the model's context.

A prompt depends on committed steps and on nothing else of this process: tokens are counted by the server's tokenizer,
or estimated from what the newest step that the prompt may see was counted as.

A main parent that is too long to be shown, with room for an answer, is passed over: the next parent of the selector's
own choice that is not becomes the main one, else whom the selector would choose after those, else the chain's initial
candidate. It is never cut: a model that is to rewrite a program, or to quote lines of it, needs all of it. What
was passed over is stored with the step (``selection["too_long"]``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from discovery.config import PromptConfig
from discovery.errors import ConfigError
from discovery.generation.base import CountsTokens, Elite, Generator, ParentView
from discovery.generation.fitting import (
    CAUTIOUS,
    LEAST_ANSWER,
    Fitted,
    Rate,
    ceiling,
    characters,
    details,
    fitted,
    least_detail,
    room,
    room_at_last,
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
_MOST_CHOSEN = 64
"""Candidates that a selector is asked for where none of those that it chose can be shown."""
_MOST_COUNTED = 1024
"""Candidates of which it is kept how many tokens they take."""
TOO_LONG = "too_long"
"""The name of the candidates that were passed over, in a step's ``selection``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """The prompt of a step.

    Args:
        messages: What is sent.
        parents: Whom it shows, the main one first.
        too_long: Chosen candidates that are not among those, since the context has no room for them.
    """

    messages: tuple[Message, ...]
    parents: tuple[CandidateKey, ...]
    too_long: tuple[CandidateKey, ...] = ()


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
        self._counted: dict[CandidateKey, int] = {}

    async def brief(
        self,
        number: int,
        past: Past,
        keys: Sequence[CandidateKey],
        insights: Sequence[Insight] = (),
        given: Leader | None = None,
        *,
        initial: CandidateKey,
        more: Callable[[int], Sequence[CandidateKey]],
    ) -> Brief:
        """The prompt of a step.

        Args:
            number: The step's.
            past: What it may see.
            keys: The parents that were chosen, the main one first.
            insights: What was learned from earlier candidates, oldest first.
            given: Whose artifact the programs of the step will be given; None where they are given none.
            initial: The candidate that the chain starts from.
            more: Whom the selector would choose if it were asked for so many.
        """
        ports = self._ports
        said = partial(
            compose,
            ports.problem,
            best=past.best,
            failures=past.failures,
            insights=insights,
            given=given.score if given is not None else None,
            form=self._form,
        )
        context = context_of(ports.prompt, ports.generator)
        if context is None:
            views = [self._parents.get(key) for key in keys]
            return Brief(messages=said(parents=views, elites=self._elites(past, keys)), parents=tuple(keys))
        most = room(context, ports.generator.max_tokens)

        async def prompt(keys: Sequence[CandidateKey]) -> Fitted:
            elites = self._elites(past, keys)
            make = partial(said, parents=[self._parents.get(key) for key in keys], elites=elites)
            shorter = details(elites=len(elites), others=len(keys) - 1, failures=self._form.failures)
            count = partial(self._tokens, number)
            return await fitted(lambda detail: make(detail=detail), shorter, most, count)

        found = await prompt(keys)
        if found.fits:
            return Brief(messages=found.messages, parents=tuple(keys))
        most = room_at_last(context, ports.generator.max_tokens, await self._least(number, initial))
        if found.tokens > most:
            shown = await self._showable(number, keys, initial, more, most)
            if shown != tuple(keys):
                found = await prompt(shown)
            if found.tokens > most and len(shown) > 1:
                shown = shown[:1]
                found = await prompt(shown)
            left_out = [key for key in keys if key not in shown and await self._least(number, key) > most]
            return Brief(messages=found.messages, parents=shown, too_long=tuple(left_out))
        # It leaves less of an answer than was asked for, but as much as the problem itself allows.
        return Brief(messages=found.messages, parents=tuple(keys))

    async def can_show(self, number: int, key: CandidateKey, initial: CandidateKey) -> bool:
        """Whether a candidate can be a main parent: the prompt has room for it, and for an answer.

        Args:
            number: The step that it is of.
            key: A candidate that has a score.
            initial: The candidate that the chain starts from.
        """
        context = context_of(self._ports.prompt, self._ports.generator)
        if context is None:
            return True
        answer = self._ports.generator.max_tokens
        if ceiling(self._shortest(key)) <= room_at_last(context, answer, 0):
            return True
        least = await self._least(number, initial)
        return await self._least(number, key) <= room_at_last(context, answer, least)

    async def _showable(
        self,
        number: int,
        keys: Sequence[CandidateKey],
        initial: CandidateKey,
        more: Callable[[int], Sequence[CandidateKey]],
        most: int,
    ) -> tuple[CandidateKey, ...]:
        """The chosen candidates that can be a main parent; else as many that are chosen next; else the initial one."""
        shown = [key for key in keys if await self._least(number, key) <= most]
        if shown:
            return tuple(shown)
        for key in more(_MOST_CHOSEN):
            if key not in keys and await self._least(number, key) <= most:
                shown.append(key)
                if len(shown) == len(keys):
                    break
        return tuple(shown) or (initial,)

    async def _least(self, number: int, key: CandidateKey) -> int:
        """Tokens of a prompt that shows one candidate and says as little as it can."""
        kept = self._counted.get(key)
        if kept is not None:
            return kept
        messages = self._shortest(key)
        counted = await _counted(self._ports.generator, messages)
        if counted is None:
            return self._rate(number).tokens_of(messages)
        if len(self._counted) >= _MOST_COUNTED:
            self._counted.clear()
        self._counted[key] = counted
        return counted

    def _shortest(self, key: CandidateKey) -> tuple[Message, ...]:
        """The prompt that shows one candidate and says as little as it can."""
        view = self._parents.get(key)
        return compose(self._ports.problem, parents=[view], form=self._form, detail=least_detail())

    async def _tokens(self, number: int, messages: Sequence[Message]) -> int:
        counted = await _counted(self._ports.generator, messages)
        return counted if counted is not None else self._rate(number).tokens_of(messages)

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
    messages = compose(problem, parents=[initial], form=form, detail=least_detail())
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
