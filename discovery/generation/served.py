"""One model at one server: what it is, and one request to it at a time.

A request is one streamed chat completion with ``n`` choices, so that the server computes the prompt once; each choice
is yielded as soon as it is complete. vLLM seeds choice ``i`` of a request with ``seed + i``, so a run of contiguous
indices is one request whose seed is the step's plus the first index, and a choice has the same seed however it is
asked for.

A choice that spent its tokens in reasoning gets its answer by a second request (:mod:`discovery.generation.answers`),
beside the stream of its siblings, and is yielded once, when that is over.

Otherwise nothing is tried again here: whatever fails is a :class:`~discovery.generation.endpoint.Fault` (worth trying
again, here or at another server) or one of this package's errors. A refusal is not a failure where it teaches what the
server does not want or how much it takes: the request is then made again at once, once for each such lesson, and the
lesson kept. Nothing is learned by requests of its own after the start, but for the tokens that open an answer, when
the first answer is to be forced.

Servers ignore fields that they do not know. So what was asked for is looked for in what comes, and one warning tells
what does not.

Closing the iterator closes the connections, on which servers abort their generation.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from discovery.budget import NO_TOKENS, Tokens
from discovery.config import GeneratorConfig
from discovery.errors import GeneratorError, GeneratorRefused
from discovery.generation import forcing, refusals
from discovery.generation.answers import Answered, ForcedAnswers
from discovery.generation.asking import Patience, choices
from discovery.generation.base import GenerationRequest
from discovery.generation.capabilities import NAME, Capabilities, described
from discovery.generation.endpoint import Endpoint, Fault, Refusal
from discovery.generation.fields import OPTIONAL, RequestFields
from discovery.generation.stream import AnswerReader, Choice
from discovery.records import CandidateKey, Completion, Json, Message, ModelIdentity, TokenUsage

__all__ = ["NAME", "Patience", "ServedModel"]

_SPARE_S = 2.0
"""How long before the deadline a forced answer is given up, in seconds."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request under way.

    Args:
        request: The step's.
        run: The indices that it asks for.
        seed: Of the first of them.
        started: When, by the event loop's clock.
        until: When a forced answer is given up, by the same clock.
        put: Takes each completion.
    """

    request: GenerationRequest
    run: Sequence[int]
    seed: int
    started: float
    until: float
    put: Callable[[Completion], None]


class ServedModel:
    """A model at a server.

    Args:
        url: The server's base URL.
        api_key: Its key, if it wants one.
        config: Model, sampling, what is kept.
        patience: How long to bear with it.
        schema: JSON Schema that answers must fit; None for free text.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        config: GeneratorConfig,
        patience: Patience,
        schema: Mapping[str, Json] | None = None,
    ) -> None:
        self.endpoint = Endpoint(url, api_key, probe_s=patience.probe_s)
        self.capabilities = Capabilities(identity=ModelIdentity(generator=NAME, model=config.model))
        self._config = config
        self._patience = patience
        self._fields = RequestFields(config, schema)
        self._refused: set[str] = set()
        self._warned: set[str] = set()
        self.spoiled = NO_TOKENS
        """Tokens, as far as is known, of choices that were aborted or broke off."""
        self._answers = ForcedAnswers(self.endpoint, config, patience, self._fields, self._warn)

    @property
    def url(self) -> str:
        """The server's URL, without credentials."""
        return self.endpoint.shown_url

    @property
    def identity(self) -> ModelIdentity:
        """Which model, as far as is known."""
        return self.capabilities.identity

    @property
    def sampling(self) -> dict[str, Json]:
        """What completions record as their sampling."""
        return self._fields.recorded(self.capabilities)

    async def learn(self, expected: str | None = None) -> ModelIdentity:
        """Learn what the server is and serves.

        Args:
            expected: The model where the configuration names none; None for the only one that is served.

        Returns:
            The model: the one named, or the only one that is served.

        Raises:
            GeneratorUnavailable: Nothing answers at the URL.
            GeneratorRefused: The key is wrong, or the model is not served, or none is named and several are.
        """
        model = self._config.model or expected
        try:
            cards = await self.endpoint.models()
        except GeneratorError:
            if model is None or self.endpoint.lists_models:
                raise
            cards = [{"id": model}]
        version = await self.endpoint.version()
        self.capabilities = described(cards, model, version=version, url=self.url)
        return self.identity

    async def prompt_tokens(self, messages: Sequence[Message]) -> int | None:
        """How many tokens a prompt is; None where the server does not say.

        Raises:
            Fault: It does not answer now.
        """
        extra = self._config.sampling.extra
        fields = {name: extra[name] for name in ("chat_template", "chat_template_kwargs") if extra.get(name)}
        return await self.endpoint.prompt_tokens(self.identity.model or "", messages, fields)

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        await self.endpoint.close()

    async def ask(
        self, request: GenerationRequest, run: Sequence[int], *, until: float = math.inf
    ) -> AsyncGenerator[Completion, None]:
        """One request for a run of contiguous indices; each completion as it is complete.

        An aborted choice is not a completion.

        Args:
            request: The step's.
            run: The indices wanted.
            until: When the caller gives up, by the event loop's clock; forced answers are given up before.

        Raises:
            Fault: Worth trying again; what was yielded stands.
            GeneratorUnavailable: A stall.
            GeneratorRefused: Not worth it.
        """
        arrived: asyncio.Queue[Completion | None] = asyncio.Queue()
        now, timeout_s = asyncio.get_running_loop().time(), self._config.timeout_s
        until = min(until, now + timeout_s) - min(_SPARE_S, timeout_s / 10)
        asked = _Asked(request, run, request.seed + run[0], now, until, arrived.put_nowait)
        work = asyncio.create_task(self._answered(asked))
        work.add_done_callback(lambda _: arrived.put_nowait(None))
        try:
            while (completion := await arrived.get()) is not None:
                yield completion
            await work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _answered(self, asked: _Asked) -> None:
        """The request, again after each lesson, and the forced answers that it needs."""
        max_tokens: int | None = None
        forced: list[asyncio.Task[None]] = []
        failed: Fault | GeneratorError | None = None
        try:
            while True:
                try:
                    await self._streamed(asked, max_tokens, forced)
                except Refusal as refusal:
                    lesson = self._lesson(refusal, max_tokens)
                    max_tokens = lesson if lesson is not None else max_tokens
                    continue
                except (Fault, GeneratorError) as error:
                    failed = error
                break
            await asyncio.gather(*forced)
        finally:
            for task in forced:
                task.cancel()
            await asyncio.gather(*forced, return_exceptions=True)
        if failed is not None:
            raise failed

    def _lesson(self, refusal: Refusal, max_tokens: int | None) -> int | None:
        """What a refusal teaches, for the request to be made again.

        Returns:
            The most tokens that a choice may have, if that is the lesson.

        Raises:
            GeneratorRefused: Nothing that could be done differently.
        """
        words, sampling, effort = refusal.words, self._config.sampling, self._config.reasoning.effort
        room = refusals.room(words)
        if room is not None:
            wanted = max_tokens or int(self.sampling.get("max_tokens") or sampling.max_tokens)
            left = room.left_of(wanted)
            if left is None:
                context = room.context or self.capabilities.context_tokens
                raise GeneratorRefused(
                    refusals.full(self.url, refusal.said, room.prompt, context)
                ) from refusal
            return left
        if effort is not None and (known := refusals.known_efforts(words)):
            raise GeneratorRefused(
                f"{self.url} refuses the reasoning effort {effort!r} for {self.identity.model!r} ({refusal.said}); "
                f"use one of {known}, or leave it out"
            ) from refusal
        ours = set(OPTIONAL) - self._refused - sampling.extra.keys()
        field = refusals.objected(words, sorted(ours)) if "top_logprobs" not in sampling.extra else None
        if field is None:
            raise refusal
        self._refused.add(field)
        self._warn(field, f"{self.url} refuses {field}, so completions are kept without: {refusal.said}")
        return None

    async def _streamed(
        self, asked: _Asked, max_tokens: int | None, forced: list[asyncio.Task[None]]
    ) -> None:
        """Make the request once; give each choice that is complete on, or to a task that gets its answer."""
        count = len(asked.run)
        body = self._fields.chat(
            self.capabilities, count, asked.seed, without=self._refused, max_tokens=max_tokens
        )
        chat = self.endpoint.chat(self.identity.model or "", asked.request.prompt.messages, body)
        reader = AnswerReader(count)
        aborted = 0
        first_byte_s = self._patience.begins_within(self._config.timeout_s)
        stall_s = self._patience.stall_s
        answer = choices(self.endpoint, chat, reader, first_byte_s=first_byte_s, stall_s=stall_s)
        came = counted = False
        try:
            async with aclosing(answer) as found:
                async for choice in found:
                    came, counted = True, counted or choice.tokens is not None
                    if choice.finish_reason == "abort":
                        aborted += 1
                        self.spoiled += _cost(choice)
                        continue
                    self._look_for_effects(choice, body, reader.prompt_token_ids)
                    server = self.capabilities
                    complete = partial(self._completion, asked, reader, max_tokens, server)
                    if self._fields.forces and forcing.may_lack_answer(choice):
                        forcing_it = self._force(asked, choice, reader, server, complete)
                        forced.append(asyncio.create_task(forcing_it))
                    else:
                        asked.put(complete(choice))
        except Refusal as refusal:
            if came:  # To make it again would be to pay for what came twice.
                raise GeneratorRefused(str(refusal)) from refusal
            raise
        finally:
            if not reader.ended:
                self.spoiled += reader.spoiled
        if aborted:
            raise Fault(f"it aborted {aborted} of {count} choices")
        if not reader.ended:
            raise Fault("the answer broke off")
        if came and not counted:
            self._warn(
                "usage", f"{self.url} does not count tokens, so budgets of tokens or money cannot end a run"
            )

    async def _force(
        self,
        asked: _Asked,
        choice: Choice,
        reader: AnswerReader,
        server: Capabilities,
        complete: Callable[..., Completion],
    ) -> None:
        try:
            answered = await self._answers.seen_to(
                choice,
                reader.prompt_token_ids,
                seed=asked.seed + choice.index,
                until=asked.until,
                server=server,
                without=self._refused,
            )
        except asyncio.CancelledError:
            self.spoiled += _cost(choice)
            raise
        if answered.span is not None and self.identity != server.identity:
            # Two models would have written it: what was sent to one may have reached the next.
            _log.warning("%s serves something else since; a forced answer is dropped", self.url)
            self.spoiled += _cost(answered.choice) - _cost(choice)
            answered = Answered(choice=choice)
        asked.put(complete(answered.choice, answered.span))

    def _look_for_effects(
        self, choice: Choice, body: Mapping[str, Json], prompt: Sequence[int] | None
    ) -> None:
        """Say what was asked for and does not come, or comes and is of no use; each once."""
        if choice.misaligned:
            self._warn(
                "misaligned", f"{self.url} gives not as many log-probabilities as tokens; both are dropped"
            )
        elif choice.text or choice.reasoning:
            for field, found in (("return_token_ids", choice.token_ids), ("logprobs", choice.logprobs)):
                if body.get(field) and found is None:
                    self._warn(field, f"{self.url} was asked for {field} and gives none; none are kept")
        context, most = self.capabilities.context_tokens, self._config.sampling.max_tokens
        if prompt is not None and context is not None and context - len(prompt) < min(most, context):
            left = context - len(prompt)
            self._warn(
                "room",
                f"a prompt of {len(prompt)} tokens leaves {left} of max_tokens={most} in the context of {self.url} "
                f"({context}); fewer --parents, a smaller max_tokens or a longer --max-model-len would fit",
            )

    def _warn(self, what: str, message: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            _log.warning("%s", message)

    def _completion(
        self,
        asked: _Asked,
        reader: AnswerReader,
        max_tokens: int | None,
        server: Capabilities,
        choice: Choice,
        span: tuple[int, int] | None = None,
    ) -> Completion:
        """A choice as it is kept, with what the server was when it wrote it: learned anew, it may be another by now."""
        index = asked.run[choice.index]
        keeps_ids, keeps_logprobs = self._fields.keeps_ids, self._fields.keeps_logprobs
        sampling = self._fields.recorded(server)
        return Completion(
            key=CandidateKey(asked.request.prompt.chain, asked.request.prompt.step, index),
            text=choice.text,
            reasoning=choice.reasoning,
            finish_reason=choice.finish_reason,
            model=server.identity,
            sampling=sampling if max_tokens is None else {**sampling, "max_tokens": max_tokens},
            seed=asked.seed + choice.index if "seed" not in self._config.sampling.extra else None,
            tokens=choice.tokens,
            token_ids=choice.token_ids if keeps_ids else None,
            logprobs=choice.logprobs if keeps_logprobs else None,
            prompt_token_ids=reader.prompt_token_ids if keeps_ids else None,
            forced=span,
            latency_s=asyncio.get_running_loop().time() - asked.started,
            created_at=datetime.now(UTC),
        )


def _cost(choice: Choice) -> Tokens:
    """What a choice is known to have cost."""
    tokens = choice.tokens or TokenUsage()
    return Tokens(prompt=tokens.prompt or 0, completion=tokens.completion or 0)
