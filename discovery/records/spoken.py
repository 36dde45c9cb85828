"""What models are sent and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from discovery.records.places import CandidateKey, Json
from discovery.records.states import AdvicePurpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a prompt, as sent."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The messages of one step, stored before they are sent.

    Args:
        chain: Chain number.
        step: Step number, from 1.
        messages: Exactly what the generator gets.
        parents: The candidates shown, best first as the selector picked them.
    """

    chain: int
    step: int
    messages: tuple[Message, ...]
    parents: tuple[CandidateKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model spoke, as far as its server tells.

    Args:
        generator: Name of the generator: ``mutation``, ``openai``.
        model: Name of the model as requested and served.
        revision: Revision or weights path.
        adapter: Adapter (LoRA) name.
        server: Server software and version.
    """

    generator: str
    model: str | None = None
    revision: str | None = None
    adapter: str | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one completion, as its server counts them; None where it does not say.

    The prompt's tokens are counted with one choice of each request and with no other, so that sums over
    completions hold. Which choice, the order of arrival decides.
    """

    prompt: int | None = None
    completion: int | None = None
    reasoning: int | None = None
    cached: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """One choice of one request, stored raw before it is parsed.

    Args:
        key: Place in the run.
        text: Final text; None when the model gave none.
        reasoning: Reasoning text, apart from the final one.
        finish_reason: ``stop``, ``length``, ``abort``, ... as served.
        model: Who spoke.
        sampling: Temperature, top_p, limits and whatever else was asked.
        seed: The seed that was sent for this choice.
        tokens: What it cost.
        token_ids: Ids of the completion's tokens, where served.
        logprobs: Log-probability of each of them, where served: of the model's own distribution, before temperature
            and top_p; None for a token that it did not draw.
        prompt_token_ids: Ids of the tokens that the server made of the prompt, where served.
        forced: First and past-the-last position, among the completion's tokens, of those that we put in to make the
            model stop reasoning and answer; None where it answered by itself.
        latency_s: From sending the request to the end of this choice, in seconds.
        created_at: When it was complete.
    """

    key: CandidateKey
    text: str | None
    reasoning: str | None = None
    finish_reason: str | None = None
    model: ModelIdentity
    sampling: Mapping[str, Json] = field(default_factory=dict)
    seed: int | None = None
    tokens: TokenUsage | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[float | None, ...] | None = None
    prompt_token_ids: tuple[int, ...] | None = None
    forced: tuple[int, int] | None = None
    latency_s: float | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Consultation:
    """What a model was asked that is no candidate, and its answer; stored before it is used.

    A chain has at most one of each purpose for each step. One that was never sent, or was refused for good, has a
    failure and no text: the search went on without it.

    Args:
        chain: Chain number.
        step: The step that was planned with it; for a reflection the step whose candidate it is about.
        purpose: Why it was asked.
        subject: The candidate that it is about; None where it is about several.
        messages: Exactly what was asked.
        text: The answer; None when there is none.
        reasoning: Reasoning text, apart from the answer.
        finish_reason: ``stop``, ``length``, ... as served.
        model: Who spoke; None when nobody was asked.
        sampling: Temperature, limits and whatever else was asked.
        seed: The seed that was sent.
        tokens: What it cost, the prompt included.
        latency_s: From sending the request to its end, in seconds.
        failure: Why there is no answer, or why the one there is is of no use, in one line.
        created_at: When it was complete, or given up.
    """

    chain: int
    step: int
    purpose: AdvicePurpose
    subject: CandidateKey | None = None
    messages: tuple[Message, ...]
    text: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    model: ModelIdentity | None = None
    sampling: Mapping[str, Json] = field(default_factory=dict)
    seed: int | None = None
    tokens: TokenUsage | None = None
    latency_s: float | None = None
    failure: str | None = None
    created_at: datetime

    @property
    def answer(self) -> Answer:
        """What is folded of it."""
        usage = self.tokens or TokenUsage()
        tokens = (usage.prompt or 0) + (usage.completion or 0)
        return Answer(step=self.step, purpose=self.purpose, text=self.text, tokens=tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a chain's state is folded from of one consultation.

    Args:
        step: The step that it belongs to.
        purpose: Why it was asked.
        text: What was said; None when nothing was.
        tokens: What it cost; 0 where nobody counted.
    """

    step: int
    purpose: AdvicePurpose
    text: str | None
    tokens: int
