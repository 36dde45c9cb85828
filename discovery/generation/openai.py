"""Completions from any OpenAI-compatible server: vLLM first of all.

One request per step with ``n`` choices (:mod:`discovery.generation.served` makes it); after a resume with gaps there
is one request per run of contiguous indices. A server that answers fewer choices than asked for gets one request for
each so many from then on, as does one at temperature 0, where vLLM refuses ``n`` above 1.

Each request goes to the least loaded of the servers that live (:mod:`discovery.generation.fleet`).

Who retries what: the client library never does. Here, failed connections, broken streams, 429 and 5xx leave a
server out for a while, and what has not come is asked for at another at once. Where no other lives, the same one is
asked again, a few times with growing random pauses (its ``Retry-After`` if that is longer); then
``GeneratorUnavailable`` hands over to the run, which waits for a server. A stall or the deadline leaves a server out
at once. Whatever else a server refuses is ``GeneratorRefused``, unless it turns out that it serves our model no more,
or the prompt does not fit its context and there is a server with a longer one.

A server that answers again and again that it has too much to do may have a queue that is too short for one whole
request: the next ones have half as many choices, and more again when they pass.

A request has one deadline at each server that it is asked of, pauses and repetitions there included.

Requests are read by tasks of their own that hand over through a queue: a deadline inside an asynchronous
generator would cancel whatever its consumer is doing at that time. Closing the generator cancels them, which
closes the connections, on which servers abort their generation.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

from discovery.budget import NO_TOKENS, Tokens
from discovery.config import GeneratorConfig
from discovery.errors import ConfigError, GeneratorError, GeneratorRefused, GeneratorUnavailable
from discovery.generation.base import GenerationRequest, ServerLoad
from discovery.generation.endpoint import Fault, load_client
from discovery.generation.fleet import Fleet, Member
from discovery.generation.refusals import room
from discovery.generation.served import NAME, Patience, ServedModel
from discovery.records import Completion, Json, Message, ModelIdentity

_LONGEST_PAUSE_S = 60.0


class OpenAIGenerator:
    """Asks a server. See the module docstring.

    Args:
        config: URLs, model, sampling parameters and deadline.
        api_key: The server's key, if it wants one.
        patience: How long to bear with it.
        sleep: For the pauses.
        rng: For the pauses' jitter, never for sampling.
        schema: JSON Schema that answers must fit; None for free text.

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
        schema: Mapping[str, Json] | None = None,
    ) -> None:
        urls = config.base_url or tuple(filter(None, [os.environ.get("OPENAI_BASE_URL")]))
        if not urls:
            raise ConfigError(
                "the openai generator needs a server: --base-url http://HOST:PORT/v1, or OPENAI_BASE_URL"
            )
        for url in urls:
            if not url.startswith(("http://", "https://")):
                shown = url.rpartition("@")[2]
                raise ConfigError(
                    f"base URL {shown!r}: it must begin with http:// or https://, as http://{shown}"
                )
        self.max_tokens: int | None = config.sampling.max_tokens + config.reasoning.answer_tokens
        self._config = config
        self._patience = patience or Patience()
        sampling = config.sampling
        served = [ServedModel(url, api_key, config, self._patience, schema) for url in dict.fromkeys(urls)]
        self._fleet = Fleet(served, self._patience)
        self._sleep = sleep
        self._rng = rng or random.Random()
        temperature = sampling.extra.get("temperature", sampling.temperature)
        self._most_choices = 1 if temperature == 0 else sys.maxsize
        self._room = sys.maxsize

    def __repr__(self) -> str:
        urls = ", ".join(repr(member.url) for member in self._fleet.members)
        return f"OpenAIGenerator({urls}, model={self._fleet.members[0].served.identity.model!r})"

    async def start(self) -> ModelIdentity:
        """Learn what the servers are and serve.

        Returns:
            The model: the one named, or the only one that is served.

        Raises:
            GeneratorUnavailable: Nothing answers at any of the URLs.
            GeneratorRefused: A key is wrong, or the model is not served, or none is named and several are.
        """
        await asyncio.to_thread(load_client)
        return await self._fleet.start()

    async def ready(self) -> bool:
        """Whether a server answers; a refusal of all counts, for the next request to report it."""
        return await self._fleet.ready()

    @property
    def spoiled(self) -> Tokens:
        """Tokens, as far as is known, of choices that were aborted or broke off, at all servers."""
        return sum((member.served.spoiled for member in self._fleet.members), NO_TOKENS)

    @property
    def context_tokens(self) -> int | None:
        """Tokens of prompt and answer together that each of the servers takes, as far as they say."""
        known = (member.served.capabilities.context_tokens for member in self._fleet.members)
        return min((tokens for tokens in known if tokens is not None), default=None)

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        """What a prompt takes, by the tokenizer of the first server that tells; None where none does."""
        for attempt in range(self._patience.attempts):
            faults = 0
            for member in self._fleet.members:
                try:
                    tokens = await member.served.prompt_tokens(messages)
                except Fault:
                    faults += 1
                    continue
                if tokens is not None:
                    return tokens
            if not faults:
                return None
            await self._sleep(self._patience.pause_s * 2.0**attempt)
        return None

    async def loads(self) -> tuple[ServerLoad, ...]:
        """What the servers that live say of themselves, at most a second old."""
        return await self._fleet.loads()

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        await self._fleet.close()

    async def sample(self, request: GenerationRequest) -> AsyncGenerator[Completion, None]:
        """Completions as they arrive.

        How tokens are counted: :mod:`discovery.generation.stream`. An aborted choice is not a completion and
        is asked for again.

        Raises:
            GeneratorUnavailable: No server is left that has not gone, stalled, or missed the deadline.
            GeneratorRefused: One refuses the request, or none serves the model any more.
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
                failed = failed or item
                if isinstance(item, GeneratorRefused):
                    failed = item
                    break
            while not arrived.empty():  # what came while the consumer was busy is paid for
                item = arrived.get_nowait()
                if isinstance(item, Completion):
                    yield item
            if not left:
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
        try:
            await self._ask_all(request, indices, arrived.put_nowait)
        except GeneratorError as error:
            end = error
        finally:
            # After a fault of this program, too: the consumer must not wait for ever.
            arrived.put_nowait(end)

    async def _ask_all(
        self, request: GenerationRequest, indices: Sequence[int], put: Callable[[Completion], None]
    ) -> None:
        fleet, clock = self._fleet, asyncio.get_running_loop().time
        missing, failed = list(indices), Counter[Member]()
        before: Member | None = None
        error: GeneratorError | None = None
        deadline = pause_s = 0.0
        while missing:
            server = await fleet.least_loaded(failed)
            if server is None:
                raise fleet.all_gone(error)
            if server is not before:
                before, deadline, pause_s = server, clock() + self._config.timeout_s, 0.0
            left = len(missing)
            problem = await self._problem(server, request, missing, put, deadline, pause_s)
            if len(missing) < left:
                failed.clear()
            pause_s = 0.0
            if problem is None:
                continue
            if isinstance(problem, GeneratorRefused):
                fits_elsewhere = room(str(problem)) is not None and fleet.has_roomier(server)
                if missing and not fits_elsewhere and await fleet.still_serves(server):
                    raise problem
                error = problem
                failed[server] = self._patience.attempts
            elif isinstance(problem, Fault):
                failed[server] += 1
                server.overloads += problem.is_overload
                if problem.is_overload and failed[server] > 1:
                    self._room = max(1, min(self._room, left) // 2)
                error = GeneratorUnavailable(
                    f"{server.url} failed {failed[server]} times in a row; the last time {problem}",
                    is_overload=problem.is_overload,
                )
                pause_s = self._pause_s(failed[server], problem)
                if failed[server] >= self._patience.attempts or fleet.has_other(server):
                    fleet.leave_out(server, problem, problem.pause_s)
            else:
                error = problem
                failed[server] = self._patience.attempts
                fleet.leave_out(server, problem)

    async def _problem(
        self,
        server: Member,
        request: GenerationRequest,
        missing: list[int],
        put: Callable[[Completion], None],
        deadline: float,
        pause_s: float,
    ) -> Fault | GeneratorError | None:
        """Ask a server once, after a pause, and say what went wrong, if anything did."""
        try:
            async with asyncio.timeout_at(deadline):
                if pause_s:
                    await self._sleep(pause_s)
                    await self._fleet.look_again(server)
                await self._ask(server, request, missing, put, deadline)
        except TimeoutError:
            return GeneratorUnavailable(
                f"{server.url} had not answered in full after {self._config.timeout_s:g} s (timeout_s); "
                "a longer deadline, fewer --candidates or a smaller max_tokens would help"
            )
        except (Fault, GeneratorError) as problem:
            return problem
        return None

    async def _ask(
        self,
        server: Member,
        request: GenerationRequest,
        missing: list[int],
        put: Callable[[Completion], None],
        deadline: float,
    ) -> None:
        """One request to one server for the first run of what is missing.

        Raises:
            Fault: Nothing came, or it broke off.
            GeneratorError: It stalls or refuses.
        """
        run = _runs(missing, min(self._most_choices, self._room))[0]
        left = len(missing)
        with server.busy(len(run)) as came:
            async with aclosing(server.served.ask(request, run, until=deadline)) as completions:
                async for completion in completions:
                    came()
                    missing.remove(completion.key.index)
                    put(completion)
        arrived = left - len(missing)
        if not arrived:
            raise Fault("its answer holds no choice at all")
        if arrived < len(run):
            self._most_choices = min(self._most_choices, arrived)
        elif arrived == self._room:
            self._room *= 2

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
