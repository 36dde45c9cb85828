"""Completions from any OpenAI-compatible server: vLLM first of all.

One request per step with ``n`` choices (:mod:`discovery.generation.served` makes it); after a resume with gaps there
is one request per run of contiguous indices. A server that answers fewer choices than asked for gets one request for
each so many from then on, as does one at temperature 0, where vLLM refuses ``n`` above 1.

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
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from discovery.config import GeneratorConfig
from discovery.errors import ConfigError, GeneratorError, GeneratorRefused, GeneratorUnavailable
from discovery.generation.base import GenerationRequest, ServerLoad
from discovery.generation.endpoint import Fault
from discovery.generation.served import NAME, Patience, ServedModel
from discovery.records import Completion, ModelIdentity

_LONGEST_PAUSE_S = 60.0


class OpenAIGenerator:
    """Asks a server. See the module docstring.

    Args:
        config: URLs, model, sampling parameters and deadline.
        api_key: The server's key, if it wants one.
        patience: How long to bear with it.
        sleep: For the pauses.
        rng: For the pauses' jitter, never for sampling.

    Raises:
        ConfigError: There is no base URL.
    """

    name = NAME

    def __init__(
        self,
        config: GeneratorConfig,
        api_key: str | None = None,
        *,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        urls = config.base_url or tuple(filter(None, [os.environ.get("OPENAI_BASE_URL")]))
        if not urls:
            raise ConfigError(
                "the openai generator needs a server: --base-url http://HOST:PORT/v1, or OPENAI_BASE_URL"
            )
        self.max_tokens: int | None = config.sampling.max_tokens
        self._config = config
        self._patience = patience or Patience()
        self._served = ServedModel(urls[0], api_key, config, self._patience)
        self._sleep = sleep
        self._rng = rng or random.Random()
        self._most_choices = 1 if self._served.sampling.get("temperature") == 0 else sys.maxsize

    def __repr__(self) -> str:
        return f"OpenAIGenerator({self._served.url!r}, model={self._served.identity.model!r})"

    async def start(self) -> ModelIdentity:
        """Learn what the server is and serves.

        Returns:
            The model: the one named, or the only one that is served.

        Raises:
            GeneratorUnavailable: Nothing answers at the URL.
            GeneratorRefused: The key is wrong, or the model is not served, or none is named and several are.
        """
        return await self._served.learn()

    async def ready(self) -> bool:
        """Whether the server answers; a refusal counts, for the next request to report it."""
        return await self._served.ready()

    async def loads(self) -> tuple[ServerLoad, ...]:
        """What its servers say of themselves now."""
        return ()

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        await self._served.close()

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
                f"{self._served.url} had not answered in full after {timeout_s:g} s (timeout_s); "
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
                async with aclosing(self._served.ask(request, run)) as completions:
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
                    f"{self._served.url} failed {failures} times in a row; the last time {fault}"
                )
            await self._sleep(self._pause_s(failures, fault))

    def _pause_s(self, failures: int, fault: Fault) -> float:
        own = self._patience.pause_s * 2.0 ** (failures - 1) * self._rng.uniform(0.5, 1.5)
        return min(_LONGEST_PAUSE_S, max(own, fault.pause_s or 0.0))


def _runs(indices: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Runs of contiguous indices, none longer than ``most``."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and runs[-1][-1] == index - 1 and len(runs[-1]) < most:
            runs[-1].append(index)
        else:
            runs.append([index])
    return [tuple(run) for run in runs]
