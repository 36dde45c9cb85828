"""Answers for choices that reasoned and have none: the second request of :mod:`discovery.generation.forcing`.

If it fails, the choice stays as it came: it is paid for, and what a server cannot do now is not worth paying for it
twice. For the same reason it is tried a few times, since much was paid for the first, and given up before the deadline
of the whole, which would cut both off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass

from discovery.config import GeneratorConfig
from discovery.errors import GeneratorError
from discovery.generation import forcing
from discovery.generation.asking import Patience, choices
from discovery.generation.capabilities import Capabilities
from discovery.generation.endpoint import Answer, Endpoint, Fault
from discovery.generation.fields import RequestFields
from discovery.generation.stream import AnswerReader, Choice

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A choice after its answer was seen to.

    Args:
        choice: With an answer, where one could be had.
        span: First and past-the-last position of our tokens among its own; None where it is as it came.
    """

    choice: Choice
    span: tuple[int, int] | None = None


class ForcedAnswers:
    """Makes one server's model answer.

    Args:
        endpoint: The server.
        config: How many tokens an answer may have; the deadline.
        patience: How long to bear with it.
        fields: Makes the request.
        warn: Takes what cannot be done, under a name by which it is said once.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        config: GeneratorConfig,
        patience: Patience,
        fields: RequestFields,
        warn: Callable[[str, str], None],
    ) -> None:
        self._endpoint = endpoint
        self._most = config.reasoning.answer_tokens
        self._first_byte_s = patience.begins_within(config.timeout_s)
        self._patience = patience
        self._fields = fields
        self._warn = warn
        self._learning = asyncio.Lock()
        self._is_learned = False
        self._opening: forcing.Opening | None = None

    async def seen_to(
        self,
        choice: Choice,
        prompt: tuple[int, ...] | None,
        *,
        seed: int,
        until: float,
        server: Capabilities,
        without: Collection[str],
    ) -> Answered:
        """A choice with its answer, or as it is if it needs none or none can be had. Never raises.

        Args:
            choice: One that may lack an answer.
            prompt: Ids of the prompt's tokens, where known.
            seed: The choice's.
            until: When to give up, by the event loop's clock.
            server: What it is and can.
            without: Optional fields that it refuses.
        """
        model = server.identity.model or ""
        url, reasoned = self._endpoint.shown_url, choice.reasoning is not None
        try:
            async with asyncio.timeout_at(until):
                opening = await self._learned(model)
        except (Fault, TimeoutError) as error:
            return self._unanswered(choice, error)
        if opening is None or choice.token_ids is None or prompt is None:
            what = "has no known way to end reasoning" if opening is None else "gives no token ids"
            if reasoned:
                self._warn("forcing", f"{url} {what}, so answers that reasoning left no room for are missing")
            return Answered(choice=choice)
        forced = forcing.forced(choice, prompt, opening)
        if forced is None:
            return Answered(choice=choice)
        context = server.context_tokens
        most = self._most if context is None else min(self._most, context - len(forced.request))
        body = self._fields.answer(
            forcing.answer_seed(seed), max_tokens=most, ends=opening.ends, without=without
        )
        try:
            if most <= 0:
                raise Fault(f"{len(forced.request)} tokens leave no room in a context of {context}")
            async with asyncio.timeout_at(until):
                answer = await self._asked(lambda: self._endpoint.completions(model, forced.request, body))
        except (Fault, GeneratorError, TimeoutError) as error:
            return self._unanswered(choice, error)
        return Answered(choice=forced.with_answer(answer), span=forced.span)

    def _unanswered(self, choice: Choice, error: Exception) -> Answered:
        url, why = self._endpoint.shown_url, str(error) or "the time is up"
        _log.warning("%s: an answer could not be forced, so a completion has none: %s", url, why)
        return Answered(choice=choice)

    async def _learned(self, model: str) -> forcing.Opening | None:
        async with self._learning:
            if not self._is_learned:
                if await self._endpoint.detokenize(model, forcing.HARMONY_IDS) == forcing.HARMONY:
                    self._opening = forcing.harmony_opening()
                else:
                    ids = await self._endpoint.tokenize(model, forcing.THINK)
                    if ids is not None and len(ids) == 1:
                        self._opening = forcing.think_opening(ids[0])
                self._is_learned = True
        return self._opening

    async def _asked(self, request: Callable[[], AbstractAsyncContextManager[Answer]]) -> Choice:
        fault = Fault("it was not asked")
        for attempt in range(self._patience.attempts):
            if attempt:
                await asyncio.sleep(self._patience.pause_s * 2.0 ** (attempt - 1))
            reader = AnswerReader(1)
            answer = choices(
                self._endpoint,
                request(),
                reader,
                first_byte_s=self._first_byte_s,
                stall_s=self._patience.stall_s,
            )
            try:
                async with aclosing(answer) as found:
                    async for choice in found:
                        if choice.finish_reason != "abort":
                            return choice
                fault = Fault("the answer was aborted" if reader.ended else "the answer broke off")
            except Fault as again:
                fault = again
        raise fault
