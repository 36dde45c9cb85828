"""Several generators as one: each completion is made by the member that its step says.

All members are asked at once, and completions come as they arrive from any of them. A member that is gone is waited
for: who is away is a matter of timing, and equal seeds must give equal runs, so nobody else gets its completions. What
the others yield stands, and only then ``GeneratorUnavailable`` says who is missing. ``ready`` asks only those that
failed last, so that a run that waits for one does not depend on another.

A member that refuses, at the start or later, refuses for all, under its own name: the run was asked for with it.

The context is the smallest of those that are known, an answer's length the longest, and a prompt as long as the member
says that counts most: what fits there fits everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from discovery.budget import NO_TOKENS, Tokens
from discovery.errors import GeneratorError, GeneratorRefused, GeneratorUnavailable
from discovery.generation.base import CountsTokens, GenerationRequest, Generator, ServerLoad
from discovery.generators import MIXTURE
from discovery.records import Completion, Message, ModelIdentity

_Arrival = Completion | tuple[str, GeneratorError | None]
"""A completion, or the end of a member's work and why it ended, None where it is done."""


class Mixture:
    """Asks several generators. See the module docstring.

    Args:
        members: By name, in the order of the configuration; at least one.
    """

    name = MIXTURE

    def __init__(self, members: Mapping[str, Generator]) -> None:
        self.members = dict(members)
        limits = [member.max_tokens for member in self.members.values() if member.max_tokens is not None]
        self.max_tokens: int | None = max(limits, default=None)
        self.identities: dict[str, ModelIdentity] = {}
        """Who each member was when it was started."""
        self._away: set[str] = set()

    async def start(self) -> ModelIdentity:
        """Start all members.

        Returns:
            All models in one name; who each is, ``identities`` tells.

        Raises:
            GeneratorRefused: A member refuses; names it.
            GeneratorUnavailable: A member does not answer; names it.
        """
        found = await asyncio.gather(
            *(member.start() for member in self.members.values()), return_exceptions=True
        )
        outcomes = dict(zip(self.members, found, strict=True))
        for kind in (GeneratorRefused, GeneratorUnavailable, BaseException):
            for name, outcome in outcomes.items():
                if isinstance(outcome, kind):
                    raise _named(name, outcome) if isinstance(outcome, GeneratorError) else outcome
        self.identities = {name: one for name, one in outcomes.items() if isinstance(one, ModelIdentity)}
        models = dict.fromkeys(one.model or one.generator for one in self.identities.values())
        return ModelIdentity(generator=self.name, model=" + ".join(models))

    async def ready(self) -> bool:
        """Whether the members that failed last would take a request now. Never raises."""
        away = [name for name in self.members if name in self._away]
        found = await asyncio.gather(*(self.members[name].ready() for name in away))
        return all(found)

    @property
    def spoiled(self) -> Tokens:
        """Tokens of choices that never became completions, at all members."""
        return sum((member.spoiled for member in self.members.values()), NO_TOKENS)

    @property
    def context_tokens(self) -> int | None:
        """The smallest context of the members, as far as they say."""
        known = (member.context_tokens for member in self._counting)
        return min((tokens for tokens in known if tokens is not None), default=None)

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        """What a prompt takes at the member where it takes most; None where none says. Never raises."""
        counts = await asyncio.gather(*(member.count_tokens(messages) for member in self._counting))
        return max((tokens for tokens in counts if tokens is not None), default=None)

    @property
    def _counting(self) -> list[CountsTokens]:
        return [member for member in self.members.values() if isinstance(member, CountsTokens)]

    async def loads(self) -> tuple[ServerLoad, ...]:
        """What the members' servers say of themselves, each server once."""
        found = await asyncio.gather(*(member.loads() for member in self.members.values()))
        return tuple({load.server: load for loads in found for load in loads}.values())

    async def close(self) -> None:
        """Close all members. May be called twice."""
        await asyncio.gather(*(member.close() for member in self.members.values()))

    async def sample(self, request: GenerationRequest) -> AsyncGenerator[Completion, None]:
        """Completions as they arrive, each from the member that the request names for it.

        Raises:
            GeneratorUnavailable: A member is gone; what the others were asked for has come.
            GeneratorRefused: A member refuses, or the request names one that is none of these.
        """
        arrived: asyncio.Queue[_Arrival] = asyncio.Queue()
        readers = [
            asyncio.create_task(self._read(name, replace(request, indices=indices), arrived))
            for name, indices in self._shares(request).items()
        ]
        gone: dict[str, GeneratorError] = {}
        refused: GeneratorError | None = None
        left = len(readers)
        try:
            while left and refused is None:
                item = await arrived.get()
                if isinstance(item, Completion):
                    yield item
                    continue
                left -= 1
                name, error = item
                if isinstance(error, GeneratorRefused):
                    refused = _named(name, error)
                elif error is not None:
                    gone[name] = error
            while not arrived.empty():  # what came beside a refusal is paid for
                item = arrived.get_nowait()
                if isinstance(item, Completion):
                    yield item
            if not left:
                await asyncio.gather(*readers)
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
        if refused is not None:
            raise refused
        if gone:
            raise GeneratorUnavailable(
                "; ".join(str(_named(name, error)) for name, error in gone.items()),
                is_overload=all(_is_overload(error) for error in gone.values()),
            )

    def _shares(self, request: GenerationRequest) -> dict[str, tuple[int, ...]]:
        """Which of the indices each member makes; those that nobody is named for are the first member's."""
        first = next(iter(self.members))
        shares: dict[str, tuple[int, ...]] = {}
        for index in request.indices:
            name = request.members.get(index, first)
            if name not in self.members:
                raise GeneratorRefused(
                    f"completion {index} of step {request.prompt.chain}.{request.prompt.step} is to come from "
                    f"{name!r}, which is none of this run's generators: {', '.join(self.members)}"
                )
            shares[name] = (*shares.get(name, ()), index)
        return shares

    async def _read(self, name: str, request: GenerationRequest, arrived: asyncio.Queue[_Arrival]) -> None:
        """Hand over all that a member makes, and say in the end that it is over, and why."""
        end: GeneratorError | None = None
        try:
            async with aclosing(self.members[name].sample(request)) as completions:
                async for completion in completions:
                    self._away.discard(name)
                    arrived.put_nowait(completion)
        except GeneratorError as error:
            end = error
            if isinstance(error, GeneratorUnavailable):
                self._away.add(name)
        finally:
            # After a fault of this program, too: the consumer must not wait for ever.
            arrived.put_nowait((name, end))


def _named(name: str, error: GeneratorError) -> GeneratorError:
    """The same error, with the name of the member that it is of."""
    text = f"member {name}: {error}"
    if isinstance(error, GeneratorUnavailable):
        return GeneratorUnavailable(text, is_overload=error.is_overload)
    return GeneratorRefused(text)


def _is_overload(error: GeneratorError) -> bool:
    return isinstance(error, GeneratorUnavailable) and error.is_overload
