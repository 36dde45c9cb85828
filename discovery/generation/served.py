"""One model at one server: what it is, and one request to it at a time.

A request is one streamed chat completion with ``n`` choices, so that the server computes the prompt once; each
choice is yielded as soon as it is complete. vLLM seeds choice ``i`` of a request with ``seed + i``, so a run of
contiguous indices is one request whose seed is the step's plus the first index.

Nothing is tried again here: whatever fails is a :class:`~discovery.generation.endpoint.Fault` (worth trying again,
here or at another server) or one of this package's errors. Closing the iterator closes the connection, on which
servers abort their generation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from discovery.config import GeneratorConfig
from discovery.errors import GeneratorError, GeneratorRefused, GeneratorUnavailable
from discovery.generation.base import GenerationRequest
from discovery.generation.endpoint import BUSY, Endpoint, Fault
from discovery.generation.stream import AnswerReader, Choice, StreamBroken
from discovery.records import CandidateKey, Completion, Json, ModelIdentity

NAME = "openai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to bear with a server.

    Args:
        attempts: Requests in a row that may fail without a single choice before giving up.
        pause_s: The first pause between them, in seconds; it doubles each time.
        first_byte_s: Longest wait for the beginning of an answer, queueing included, in seconds; None: the
            larger of ``stall_s`` and half of the deadline.
        stall_s: Longest silence within an answer, in seconds.
        probe_s: Deadline of the small requests that learn what is served, in seconds.
    """

    attempts: int = 4
    pause_s: float = 0.5
    first_byte_s: float | None = None
    stall_s: float = 120.0
    probe_s: float = 10.0


class ServedModel:
    """A model at a server.

    Args:
        url: The server's base URL.
        api_key: Its key, if it wants one.
        config: Model, sampling, what is kept. Fields of ``sampling.extra`` go into the request as they are and win
            over ours; one that is None leaves ours out.
        patience: How long to bear with it.
    """

    def __init__(self, url: str, api_key: str | None, config: GeneratorConfig, patience: Patience) -> None:
        self.endpoint = Endpoint(url, api_key, probe_s=patience.probe_s)
        self.identity = ModelIdentity(generator=NAME, model=config.model)
        self._config = config
        self._patience = patience
        self.sampling = _sampling(config)

    @property
    def url(self) -> str:
        """The server's URL, without credentials."""
        return self.endpoint.shown_url

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
        url, model = self.url, self._config.model or expected
        try:
            cards = await self.endpoint.models()
        except GeneratorError:
            if model is None or self.endpoint.lists_models:
                raise
            cards = [{"id": model}]
        names = [str(card.get("id")) for card in cards]
        listed = ", ".join(repr(name) for name in names[:20]) or "none"
        if model is None:
            if len(names) != 1:
                raise GeneratorRefused(f"{url} serves {len(names)} models ({listed}); name one with --model")
            model = names[0]
        if model not in names:
            raise GeneratorRefused(f"{url} does not serve {model!r}; it serves {listed}")
        card = cards[names.index(model)]
        software = (card.get("owned_by"), await self.endpoint.version())
        self.identity = ModelIdentity(
            generator=NAME,
            model=model,
            revision=str(card["root"]) if card.get("root") else None,
            adapter=model if card.get("parent") else None,
            server=" ".join(str(part) for part in software if part) or None,
        )
        return self.identity

    async def ready(self) -> bool:
        """Whether the server answers; a refusal counts, for the next request to report it. Never raises."""
        try:
            await self.endpoint.models()
        except GeneratorUnavailable:
            return not self.endpoint.lists_models
        except GeneratorRefused:
            return True
        return True

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        await self.endpoint.close()

    async def ask(self, request: GenerationRequest, run: Sequence[int]) -> AsyncGenerator[Completion, None]:
        """One request for a run of contiguous indices; each completion as it is complete.

        An aborted choice is not a completion.

        Raises:
            Fault: Worth trying again; what was yielded stands.
            GeneratorUnavailable: A stall.
            GeneratorRefused: Not worth it.
        """
        seed = request.seed + run[0]
        started = time.monotonic()
        reader = AnswerReader(len(run))
        aborted = 0
        try:
            async with aclosing(self._choices(request, len(run), seed, reader)) as choices:
                async for choice in choices:
                    if choice.finish_reason == "abort":
                        aborted += 1
                        continue
                    key = CandidateKey(request.prompt.chain, request.prompt.step, run[choice.index])
                    latency_s = time.monotonic() - started
                    yield self._completion(choice, key, seed + choice.index, latency_s)
        except StreamBroken as error:
            message = self.endpoint.clear(error)
            if error.status is not None and 400 <= error.status < 500 and error.status not in BUSY:
                raise GeneratorRefused(f"{self.url}: {message}") from error
            raise Fault(message) from error
        if aborted:
            raise Fault(f"it aborted {aborted} of {len(run)} choices")
        if not reader.ended:
            raise Fault("the answer broke off")

    async def _choices(
        self, request: GenerationRequest, count: int, seed: int, reader: AnswerReader
    ) -> AsyncGenerator[Choice, None]:
        patience = self._patience
        first_byte_s = patience.first_byte_s or max(patience.stall_s, self._config.timeout_s / 2)
        clock = asyncio.get_running_loop().time
        body = b""
        try:
            async with (
                asyncio.timeout(first_byte_s) as limit,
                self.endpoint.chat(
                    self.identity.model or "", request.prompt.messages, self._body(count, seed)
                ) as answer,
            ):
                async for data in answer.data:
                    limit.reschedule(clock() + patience.stall_s)
                    if answer.streamed:
                        for choice in reader.feed(data):
                            yield choice
                    else:
                        body += data
                for choice in reader.end() if answer.streamed else reader.whole(body):
                    yield choice
        except TimeoutError as error:
            raise GeneratorUnavailable(
                f"{self.url} stalls: it took the request, then sent nothing for too long"
            ) from error

    def _body(self, count: int, seed: int) -> dict[str, Json]:
        own: dict[str, Json] = {"n": count, "seed": seed, "stream_options": {"include_usage": True}}
        return {name: value for name, value in {**own, **self.sampling}.items() if value is not None}

    def _completion(self, choice: Choice, key: CandidateKey, seed: int, latency_s: float) -> Completion:
        return Completion(
            key=key,
            text=choice.text,
            reasoning=choice.reasoning,
            finish_reason=choice.finish_reason,
            model=self.identity,
            sampling=self.sampling,
            seed=seed,
            tokens=choice.tokens,
            token_ids=choice.token_ids,
            logprobs=choice.logprobs,
            latency_s=latency_s,
            created_at=datetime.now(UTC),
        )


def _sampling(config: GeneratorConfig) -> dict[str, Json]:
    """What every request asks for; None stands for a field that is left out on purpose."""
    sampling = config.sampling
    own: dict[str, Json] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
    if "max_completion_tokens" not in sampling.extra:
        own["max_tokens"] = sampling.max_tokens
    return {**own, **sampling.extra}
