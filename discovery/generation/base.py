"""The generator port: a prompt to K completions.

``sample`` yields each completion as soon as it is complete, in any order, and ends when all that were asked
for have come. It raises ``GeneratorUnavailable`` when the server is gone, stalls or is overloaded (what was
yielded stands, the rest may be asked for again) and ``GeneratorRefused`` when asking again cannot help. It
never yields the same index twice, and never sends a request again that it has had a completion of. Closing
the iterator aborts what is in flight.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from discovery.budget import Tokens
from discovery.records import CandidateKey, Completion, Message, ModelIdentity, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentView:
    """A parent as the generator and the prompt see it.

    Args:
        key: The candidate.
        source: Its program.
        score: Its score.
        metrics: Its public metrics.
        feedback: The scorer's words.
    """

    key: CandidateKey
    source: str
    score: float
    metrics: dict[str, object]
    feedback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elite:
    """A good candidate that is not a parent, as the prompt lists it: without its source.

    Args:
        key: The candidate.
        score: Its score.
        metrics: Its public metrics.
    """

    key: CandidateKey
    score: float
    metrics: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What a step asks for.

    Args:
        prompt: Stored before; sent as it is.
        parents: The prompt's parents with their programs, in the same order.
        indices: Which of the step's K completions are wanted: all of them, or after a resume the missing
            ones.
        trail: The chain's best candidates, oldest first, for generators that learn from them how to go on; see
            :mod:`discovery.trail`. A generator may ignore it.
        seed: Of the step, from (run seed, chain, step); choice ``index`` is seeded with ``seed + index``.
        members: Which member of a mixture makes which of the step's completions, by index; others ignore it.
    """

    prompt: Prompt
    parents: tuple[ParentView, ...]
    indices: tuple[int, ...]
    seed: int
    trail: tuple[ParentView, ...] = ()
    members: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLoad:
    """What one server says of itself at one moment; None where it does not say.

    Totals count since the server began, so two readings give a rate, and a smaller one means that it was restarted.

    Args:
        server: Its URL, without credentials.
        running: Choices being generated.
        waiting: Choices that wait for a place.
        kv_usage: Used share of its key-value cache, 0 to 1.
        preemptions: Total of choices put back because that cache was full.
        prompt_tokens: Total of prompt tokens.
        completion_tokens: Total of generated tokens.
        cache_queries: Total of prompt tokens looked up in the prefix cache.
        cache_hits: Total of those found there.
        overloads: Total of our requests that it refused because it had too much to do.
    """

    server: str
    running: float | None = None
    waiting: float | None = None
    kv_usage: float | None = None
    preemptions: float | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    cache_queries: float | None = None
    cache_hits: float | None = None
    overloads: int | None = None


class Generator(Protocol):
    """Makes completions. See the module docstring for the contract."""

    name: str
    max_tokens: int | None
    """Most completion tokens of one choice, for the ledger; None when it spends none."""

    @property
    def spoiled(self) -> Tokens:
        """Tokens, as far as is known, that were made for choices which never became completions: broken off, aborted.

        Servers that are paid by the token charge them.
        """
        ...

    async def start(self) -> ModelIdentity:
        """Reach the server and learn what it serves.

        Raises:
            GeneratorUnavailable: Nothing answers.
            GeneratorRefused: It answers, and refuses.
        """
        ...

    async def ready(self) -> bool:
        """Whether a request would be accepted now; never raises, for waiting after GeneratorUnavailable."""
        ...

    def sample(self, request: GenerationRequest) -> AsyncGenerator[Completion, None]:
        """Completions as they arrive. See the module docstring."""
        ...

    async def loads(self) -> tuple[ServerLoad, ...]:
        """What its servers say of themselves now, without those that say nothing. Never raises."""
        ...

    async def close(self) -> None:
        """Free connections. May be called twice."""
        ...


@runtime_checkable
class CountsTokens(Protocol):
    """What a generator may be beside: one whose context is known, and that counts tokens before they are sent."""

    @property
    def context_tokens(self) -> int | None:
        """Tokens of prompt and answer together that all of its servers take; None where they do not say."""
        ...

    async def count_tokens(self, messages: Sequence[Message]) -> int | None:
        """What a prompt takes, the same for equal prompts; None where no server says. Never raises.

        Args:
            messages: The prompt.
        """
        ...
