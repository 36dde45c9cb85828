"""Completions from any OpenAI-compatible server: vLLM first of all.

One streamed request per step with ``n`` choices, so that the server computes the prompt once; each choice is
yielded as soon as it is complete. vLLM seeds choice ``i`` of a request with ``seed + i``, so a run of
contiguous indices is one request whose seed is the step's plus the first index; after a resume with gaps
there is one request per run. A server that answers fewer choices than asked for gets one request for each so
many from then on, as does one at temperature 0, where vLLM refuses ``n`` above 1.

Who retries what: the client library never does. Here, failed connections, broken streams, 429 and 5xx are
tried again, a few times with growing random pauses (the server's ``Retry-After`` if that is longer), and only
for the choices that have not come; then ``GeneratorUnavailable`` hands over to the run, which waits for the
server. A stall or the deadline is ``GeneratorUnavailable`` at once. Whatever else a server refuses is
``GeneratorRefused``.

Requests are read by tasks of their own that hand over through a queue: a deadline inside an asynchronous
generator would cancel whatever its consumer is doing at that time. Closing the generator cancels them, which
closes the connections, on which servers abort their generation.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from discovery.config import GeneratorConfig
from discovery.errors import ConfigError, GeneratorError, GeneratorRefused, GeneratorUnavailable
from discovery.generation.base import GenerationRequest
from discovery.generation.endpoint import BUSY, Endpoint, Fault
from discovery.generation.stream import AnswerReader, Choice, StreamBroken
from discovery.records import CandidateKey, Completion, Json, ModelIdentity

_LONGEST_PAUSE_S = 60.0


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


class OpenAIGenerator:
    """Asks a server. See the module docstring.

    Args:
        config: URL, model, sampling parameters and deadline. Fields of ``extra`` go into the request as they
            are and win over ours; one that is None leaves ours out.
        api_key: The server's key, if it wants one.
        patience: How long to bear with it.
        sleep: For the pauses.
        rng: For the pauses' jitter, never for sampling.

    Raises:
        ConfigError: There is no base URL.
    """

    name = "openai"

    def __init__(
        self,
        config: GeneratorConfig,
        api_key: str | None = None,
        *,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        url = config.base_url or os.environ.get("OPENAI_BASE_URL")
        if not url:
            raise ConfigError(
                "the openai generator needs a server: --base-url http://HOST:PORT/v1, or OPENAI_BASE_URL"
            )
        self.max_tokens: int | None = config.max_tokens
        self._config = config
        self._patience = patience or Patience()
        self._endpoint = Endpoint(url, api_key, probe_s=self._patience.probe_s)
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._identity = ModelIdentity(generator=self.name, model=config.model)
        self._sampling = _sampling(config)
        self._most_choices = 1 if self._sampling.get("temperature") == 0 else sys.maxsize

    def __repr__(self) -> str:
        return f"OpenAIGenerator({self._endpoint.shown_url!r}, model={self._identity.model!r})"

    async def start(self) -> ModelIdentity:
        """Learn what the server is and serves.

        Returns:
            The model: the one named, or the only one that is served.

        Raises:
            GeneratorUnavailable: Nothing answers at the URL.
            GeneratorRefused: The key is wrong, or the model is not served, or none is named and several are.
        """
        url, model = self._endpoint.shown_url, self._config.model
        try:
            cards = await self._endpoint.models()
        except GeneratorError:
            if model is None or self._endpoint.lists_models:
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
        software = (card.get("owned_by"), await self._endpoint.version())
        self._identity = ModelIdentity(
            generator=self.name,
            model=model,
            revision=str(card["root"]) if card.get("root") else None,
            adapter=model if card.get("parent") else None,
            server=" ".join(str(part) for part in software if part) or None,
        )
        return self._identity

    async def ready(self) -> bool:
        """Whether the server answers; a refusal counts, for the next request to report it."""
        try:
            await self._endpoint.models()
        except GeneratorUnavailable:
            return not self._endpoint.lists_models
        except GeneratorRefused:
            return True
        return True

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        await self._endpoint.close()

    async def sample(self, request: GenerationRequest) -> AsyncGenerator[Completion, None]:
        """Completions as they arrive.

        How tokens are counted: :mod:`discovery.generation.stream`. An aborted choice is not a completion and
        is asked for again.

        Raises:
            GeneratorUnavailable: The server is gone, stalls, or has not answered in full by the deadline.
            GeneratorRefused: It refuses the request.
        """
        arrived: asyncio.Queue[Completion | GeneratorError | None] = asyncio.Queue()
        readers = [
            asyncio.create_task(self._read(request, run, arrived))
            for run in _runs(request.indices, self._most_choices)
        ]
        failed: GeneratorError | None = None
        left = len(readers)
        try:
            while left:
                item = await arrived.get()
                if isinstance(item, Completion):
                    yield item
                    continue
                left -= 1
                if isinstance(item, GeneratorRefused):
                    raise item
                failed = failed or item
            await asyncio.gather(*readers)
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
        if failed is not None:
            raise failed

    async def _read(
        self,
        request: GenerationRequest,
        indices: Sequence[int],
        arrived: asyncio.Queue[Completion | GeneratorError | None],
    ) -> None:
        """Ask until all of some indices have come, and say in the end that it is over, and why."""
        end: GeneratorError | None = None
        timeout_s = self._config.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._ask_all(request, indices, arrived.put_nowait)
        except TimeoutError:
            end = GeneratorUnavailable(
                f"{self._endpoint.shown_url} had not answered in full after {timeout_s:g} s (timeout_s); "
                "a longer deadline, fewer --candidates or a smaller max_tokens would help"
            )
        except GeneratorError as error:
            end = error
        finally:
            # After a fault of this program, too: the consumer must not wait for ever.
            arrived.put_nowait(end)

    async def _ask_all(
        self, request: GenerationRequest, indices: Sequence[int], put: Callable[[Completion], None]
    ) -> None:
        missing = list(indices)
        failures = 0
        while missing:
            run = _runs(missing, self._most_choices)[0]
            came = 0
            fault: Fault | None = None
            try:
                async with aclosing(self._ask(request, run)) as completions:
                    async for completion in completions:
                        came += 1
                        missing.remove(completion.key.index)
                        put(completion)
            except Fault as found:
                fault = found
            if came and fault is None:
                failures = 0
                if came < len(run):
                    self._most_choices = min(self._most_choices, came)
                continue
            failures = 1 if came else failures + 1
            fault = fault or Fault("its answer holds no choice at all")
            if failures >= self._patience.attempts:
                raise GeneratorUnavailable(
                    f"{self._endpoint.shown_url} failed {failures} times in a row; the last time {fault}"
                )
            await self._sleep(self._pause_s(failures, fault))

    def _pause_s(self, failures: int, fault: Fault) -> float:
        own = self._patience.pause_s * 2.0 ** (failures - 1) * self._rng.uniform(0.5, 1.5)
        return min(_LONGEST_PAUSE_S, max(own, fault.pause_s or 0.0))

    async def _ask(self, request: GenerationRequest, run: Sequence[int]) -> AsyncGenerator[Completion, None]:
        """One request for a run of contiguous indices.

        Raises:
            Fault: Worth trying again.
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
            message = self._endpoint.clear(error)
            if error.status is not None and 400 <= error.status < 500 and error.status not in BUSY:
                raise GeneratorRefused(f"{self._endpoint.shown_url}: {message}") from error
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
                self._endpoint.chat(
                    self._identity.model or "", request.prompt.messages, self._body(count, seed)
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
                f"{self._endpoint.shown_url} stalls: it took the request, then sent nothing for too long"
            ) from error

    def _body(self, count: int, seed: int) -> dict[str, Json]:
        own: dict[str, Json] = {"n": count, "seed": seed, "stream_options": {"include_usage": True}}
        return {name: value for name, value in {**own, **self._sampling}.items() if value is not None}

    def _completion(self, choice: Choice, key: CandidateKey, seed: int, latency_s: float) -> Completion:
        return Completion(
            key=key,
            text=choice.text,
            reasoning=choice.reasoning,
            finish_reason=choice.finish_reason,
            model=self._identity,
            sampling=self._sampling,
            seed=seed,
            tokens=choice.tokens,
            token_ids=choice.token_ids,
            logprobs=choice.logprobs,
            latency_s=latency_s,
            created_at=datetime.now(UTC),
        )


def _sampling(config: GeneratorConfig) -> dict[str, Json]:
    """What every request asks for; None stands for a field that is left out on purpose."""
    own: dict[str, Json] = {"temperature": config.temperature, "top_p": config.top_p}
    if "max_completion_tokens" not in config.extra:
        own["max_tokens"] = config.max_tokens
    return {**own, **config.extra}


def _runs(indices: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Runs of contiguous indices, none longer than ``most``."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and runs[-1][-1] == index - 1 and len(runs[-1]) < most:
            runs[-1].append(index)
        else:
            runs.append([index])
    return [tuple(run) for run in runs]
