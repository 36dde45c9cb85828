"""Asking a model something that is no candidate: its slots, its share of the budget, and what is stored of it.

An answer is stored, under the lease of the chain that asked, before it is used. What is stored is never asked again,
so a resumed run goes on with the very answers that an undisturbed one had. A question that is refused for good, that
nobody answers, or that the budget has no room for, is stored with the reason and no answer; an answer that says nothing
of what was asked is stored as it came, with that reason. The search goes on without either.

The adviser takes neither a place of the generation gate nor an evaluation slot. Nothing here knows what is asked.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from discovery.budget import CHARACTERS_PER_TOKEN, Ledger, Tokens
from discovery.config import AdviserConfig
from discovery.errors import GeneratorError, GeneratorUnavailable
from discovery.generation.base import CountsTokens, GenerationRequest, Generator
from discovery.generation.failures import one_line
from discovery.generation.fitting import CAUTIOUS, room
from discovery.progress import BusyMeter, Progress
from discovery.records import (
    AdvicePurpose,
    CandidateKey,
    Completion,
    Consultation,
    Message,
    Prompt,
    TokenUsage,
)
from discovery.storage.base import Lease, Storage
from discovery.storage.journal import Journal

TRIES = 6
"""How often servers that are gone are asked before a question is given up."""
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 30.0
_FAILURE_LENGTH = 300
_SEED_PLACES = {AdvicePurpose.RERANK: 2, AdvicePurpose.ELITE: 3, AdvicePurpose.REFLECT: 4}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be asked.

    Args:
        step: The step that it belongs to; with the chain and the purpose, its place.
        purpose: Why it is asked.
        subject: The candidate that it is about; None where it is about several.
        messages: Makes exactly what is sent; not called where the answer is stored already.
        flaw: Why an answer is of no use; None where something can be made of it.
    """

    step: int
    purpose: AdvicePurpose
    subject: CandidateKey | None = None
    messages: Callable[[], tuple[Message, ...]]
    flaw: Callable[[str], str | None] = lambda _: None


class Adviser:
    """A run's adviser, shared by its chains.

    Args:
        run: Run id.
        config: What is asked for, slots and share.
        seed: Run seed.
        chains: How many share it.
        generator: Who is asked; started and closed by the caller.
        storage: Where answers may be already.
        journal: For writing.
        ledger: What may be spent.
        progress: For whoever watches.
        is_shared: Whether who is asked is on the generator's own servers: while those are gone the search waits for
            them anyway, and no question is given up.
        sleep: Waits so many seconds.

    Attributes:
        meter: How busy its slots are.
        reflects: Whether each committed candidate is to be reflected on.
    """

    def __init__(
        self,
        run: str,
        config: AdviserConfig,
        seed: int,
        chains: int,
        *,
        generator: Generator,
        storage: Storage,
        journal: Journal,
        ledger: Ledger,
        progress: Progress,
        is_shared: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._run = run
        self._seed = seed
        self._generator = generator
        self._storage = storage
        self._journal = journal
        self._ledger = ledger
        self._progress = progress
        self._is_shared = is_shared
        self._sleep = sleep
        self._slots = asyncio.Semaphore(config.slots)
        self.meter = BusyMeter(config.slots)
        self.reflects = config.reflect
        cap = ledger.budget.max_tokens
        self._allowance = None if cap is None else config.share * cap / chains

    @property
    def room(self) -> int | None:
        """Characters that a question may have, so that it and an answer fit into one context; None: any number."""
        generator = self._generator
        context = generator.context_tokens if isinstance(generator, CountsTokens) else None
        if context is None:
            return None
        return room(context, generator.max_tokens) * CAUTIOUS.characters // CAUTIOUS.tokens

    async def ask(self, lease: Lease, question: Question, spent: int) -> Consultation:
        """The answer to a question: the stored one, or one that is stored now.

        Args:
            lease: Of the chain that asks.
            question: What it asks.
            spent: Tokens that the chain's questions have cost, as far as it knows when this one is planned: never a
                matter of timing, since it decides whether there is an answer.

        Raises:
            StorageError: It could not be stored; LeaseLost when another process has the chain.
        """
        stored = self._storage.consultation(self._run, lease.chain, question.step, question.purpose)
        if stored is not None:
            return stored
        messages = question.messages()
        if self._allowance is not None and spent >= self._allowance:
            share = (
                f"this chain's share of the token budget is {self._allowance:.0f}, and it has spent {spent}"
            )
            asked = self._unanswered(lease.chain, question, messages, share)
        else:
            async with self._slots:
                self.meter.change(1)
                try:
                    asked = await self._answered(lease.chain, question, messages)
                finally:
                    self.meter.change(-1)
        await self._journal.append(lease, asked)
        usage = asked.tokens or TokenUsage()
        model = asked.model.model if asked.model is not None else None
        self._ledger.add_advice(usage.prompt or 0, usage.completion or 0, usage.cached or 0, model=model)
        self._progress.advised(usage.prompt or 0, usage.completion or 0)
        return asked

    async def _answered(self, chain: int, question: Question, messages: tuple[Message, ...]) -> Consultation:
        characters = sum(len(message.content) for message in messages)
        ahead = Tokens(
            prompt=math.ceil(characters / CHARACTERS_PER_TOKEN), completion=self._generator.max_tokens or 0
        )
        reason = self._ledger.stop_reason(ahead, in_flight=False, evaluates=False)
        if reason is not None:
            return self._unanswered(chain, question, messages, reason)
        prompt = Prompt(chain=chain, step=question.step, messages=messages, parents=())
        seed = self._seed_of(chain, question)
        request = GenerationRequest(prompt=prompt, parents=(), indices=(0,), seed=seed)
        self._ledger.reserve(ahead)
        try:
            said = await self._said(request)
        except GeneratorError as error:
            _log.warning("%s of step %d.%d: %s", question.purpose, chain, question.step, error)
            return self._unanswered(chain, question, messages, one_line(str(error), _FAILURE_LENGTH))
        finally:
            self._ledger.settle(ahead)
        text = said.text if (said.text or "").strip() else None
        flaw = "has no text" if text is None else question.flaw(text)
        failure = f"the answer {flaw} (it ended with {said.finish_reason!r})" if flaw else None
        return Consultation(
            chain=chain,
            step=question.step,
            purpose=question.purpose,
            subject=question.subject,
            messages=messages,
            text=text,
            reasoning=said.reasoning,
            finish_reason=said.finish_reason,
            model=said.model,
            sampling=said.sampling,
            seed=said.seed,
            tokens=said.tokens,
            latency_s=said.latency_s,
            failure=failure,
            created_at=said.created_at,
        )

    async def _said(self, request: GenerationRequest) -> Completion:
        """The only choice of a request, asked for again after a pause while the servers are gone.

        Raises:
            GeneratorError: It is refused, or they stay away.
        """
        pause_s, tries = _FIRST_PAUSE_S, 0
        while True:
            try:
                async with aclosing(self._generator.sample(request)) as completions:
                    async for completion in completions:
                        return completion
                error = GeneratorUnavailable("it yielded nothing")
            except GeneratorUnavailable as gone:
                error = gone
            is_awaited = self._is_shared and not await self._generator.ready()
            tries += not is_awaited
            if tries >= TRIES or self._ledger.stop_reason(in_flight=False, evaluates=False) is not None:
                raise error
            await self._sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _seed_of(self, chain: int, question: Question) -> int:
        place = (self._seed, chain, question.step, _SEED_PLACES[question.purpose])
        return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0]) & ((1 << 48) - 1)

    @staticmethod
    def _unanswered(
        chain: int, question: Question, messages: tuple[Message, ...], failure: str
    ) -> Consultation:
        return Consultation(
            chain=chain,
            step=question.step,
            purpose=question.purpose,
            subject=question.subject,
            messages=messages,
            failure=failure,
            created_at=datetime.now(UTC),
        )
