"""Settings of what makes candidates: one model, the embedded mutations, or a mixture of several."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from discovery.budget import Prices
from discovery.errors import ConfigError
from discovery.tables import in_range

EMBEDDED = "mutation"
"""The generator whose candidates are our own."""
MIXTURE = "mixture"
"""The kind of generator that has members."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_NEVER_EXTRA = ("model", "messages", "n", "seed", "stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How a model samples.

    Args:
        temperature: Sampling temperature, 0 to 2.
        top_p: Nucleus mass, above 0 to 1.
        max_tokens: Most tokens of one completion, reasoning included.
        extra: Further request fields, passed as they are; they win over ours, and one that is null leaves ours out.
            Not what tells requests apart: model, messages, n, seed and stream.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 8192
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        in_range("temperature", self.temperature, 0, 2)
        in_range("top_p", self.top_p, 1e-6, 1)
        in_range("max_tokens", self.max_tokens, 1, 10_000_000)
        given = [name for name in _NEVER_EXTRA if self.extra.get(name) is not None]
        if given:
            raise ConfigError(
                f"extra holds {', '.join(given)}, which each request has of its own (n and seed from the step); "
                "leave it out"
            )


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Reasoning efforts that vLLM knows; a model may know fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasoningConfig:
    """How a reasoning model reasons.

    Args:
        effort: Reasoning effort, one of :data:`EFFORTS`; None leaves it to the server.
        answer_tokens: Most tokens of the final answer that is forced when ``max_tokens`` were spent in reasoning,
            on top of them; 0 forces none, and such a completion is a failure.
    """

    effort: str | None = None
    answer_tokens: int = 4096

    def __post_init__(self) -> None:
        if self.effort is not None and self.effort not in EFFORTS:
            raise ConfigError(f"effort is {self.effort!r}; it must be one of {', '.join(EFFORTS)}")
        in_range("answer_tokens", self.answer_tokens, 0, 10_000_000)


KEEP = ("text", "tokens", "logprobs")
"""What is kept of a completion: its texts; token ids as well; log-probabilities as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberConfig:
    """One generator of a mixture. What is not said of it is as in ``[generator]``.

    Args:
        name: What it is called in this run: letters, digits, ``_``, ``-`` and ``.``.
        weight: Its share of the completions, over the sum of all weights, above 0. The bandit ignores it.
        kind: ``openai`` or ``mutation``.
        base_url: URLs of its own servers.
        model: Model name there; None takes the only one that they list.
        sampling: How it samples.
        reasoning: How it reasons.
        prices: What it costs; None until the run starts, and where it is not known or the same for all.
    """

    name: str
    weight: float = 1.0
    kind: str = "openai"
    base_url: tuple[str, ...] = ()
    model: str | None = None
    sampling: SamplingConfig | None = None
    reasoning: ReasoningConfig | None = None
    prices: Prices | None = None

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ConfigError(
                f"member {self.name!r}: a name has letters, digits, _, - and ., at most 64, such as big"
            )
        in_range(f"weight of {self.name}", self.weight, 1e-6, 1e6)
        if self.kind == EMBEDDED and (self.base_url or self.model is not None):
            raise ConfigError(f"member {self.name} is of kind {EMBEDDED!r}, which has no server and no model")
        if self.kind == "openai" and not self.base_url:
            raise ConfigError(
                f"member {self.name} has no server; give base_url, such as http://HOST:PORT/v1, or kind "
                f"{EMBEDDED!r} for one that needs none"
            )
        if self.kind not in ("openai", EMBEDDED):
            raise ConfigError(f"member {self.name} is of kind {self.kind!r}; it must be openai or {EMBEDDED}")

    @property
    def key_variable(self) -> str:
        """The environment variable that may hold an API key for its servers alone."""
        return f"OPENAI_API_KEY_{re.sub('[^A-Z0-9]', '_', self.name.upper())}"


CHOICES = ("weights", "ucb")
"""How a mixture is shared: by given weights, or by a bandit that learns what each member brings for its tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmsConfig:
    """Which member of a mixture makes which completion.

    Args:
        choice: One of :data:`CHOICES`.
        explore: How much the bandit tries what it knows little of, 0 to 10.
        half_life: Steps of a chain after which what was seen counts half, at least 1.
        floor: The least that a completion is taken to cost, as a share of the dearest member's, 0.001 to 1: what is
            free still takes an evaluation.
    """

    choice: str = "weights"
    explore: float = 0.1
    half_life: float = 50.0
    floor: float = 0.1

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ConfigError(f"choice is {self.choice!r}; it must be one of {', '.join(CHOICES)}")
        in_range("explore", self.explore, 0, 10)
        in_range("half_life", self.half_life, 1, 1_000_000)
        in_range("floor", self.floor, 0.001, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorConfig:
    """What makes candidates.

    Args:
        kind: ``mutation`` (embedded), ``openai`` (any compatible server), or ``mixture`` (of ``members``).
        base_url: URLs of the servers, each ending in ``/v1``; one may be given as plain text.
        model: Model name; None takes the only one that the servers list.
        sampling: How it samples.
        reasoning: How it reasons, where it does.
        keep: One of :data:`KEEP`, as far as the server gives it.
        timeout_s: Deadline of one whole request, in seconds.
        members: Of a mixture; two at least, and no two names that differ in nothing but case and punctuation.
    """

    kind: str = "mutation"
    base_url: tuple[str, ...] = ()
    model: str | None = None
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    reasoning: ReasoningConfig = field(default_factory=ReasoningConfig)
    keep: str = "logprobs"
    timeout_s: float = 600.0
    members: tuple[MemberConfig, ...] = ()

    def __post_init__(self) -> None:
        self._check_members()
        if self.keep not in KEEP:
            raise ConfigError(f"keep is {self.keep!r}; it must be one of {', '.join(KEEP)}")
        in_range("timeout_s", self.timeout_s, 1, 86_400)

    def _check_members(self) -> None:
        if (self.kind == MIXTURE) != bool(self.members):
            raise ConfigError(
                f"kind is {self.kind!r}, and there are {len(self.members)} members; kind {MIXTURE!r} and tables "
                "[[generator.members]] go together"
            )
        if self.members and (self.base_url or self.model is not None):
            raise ConfigError(
                f"a {MIXTURE} has no base_url and no model of its own; give them to its members, under "
                "[[generator.members]]"
            )
        if len(self.members) == 1:
            raise ConfigError(f"a {MIXTURE} has two members at least; {self.members[0].name} is alone")
        names = [member.key_variable for member in self.members]
        alike = [member.name for member in self.members if names.count(member.key_variable) > 1]
        if alike:
            raise ConfigError(f"members {', '.join(alike)} have names too much alike; give each its own")

    def of(self, member: MemberConfig) -> GeneratorConfig:
        """The settings of a member as a generator of its own."""
        return GeneratorConfig(
            kind=member.kind,
            base_url=member.base_url,
            model=member.model,
            sampling=member.sampling or self.sampling,
            reasoning=member.reasoning or self.reasoning,
            keep=self.keep,
            timeout_s=self.timeout_s,
        )

    @property
    def first_model(self) -> MemberConfig | None:
        """The first member that is a model; None where there is none."""
        return next((member for member in self.members if member.kind != EMBEDDED), None)

    @property
    def is_embedded(self) -> bool:
        """Whether no model has part in it."""
        return self.kind == EMBEDDED or (self.kind == MIXTURE and self.first_model is None)
