"""What a server is and can, read off what it says of itself: nothing of it is configured twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discovery.errors import GeneratorRefused
from discovery.records import ModelIdentity

NAME = "openai"
LIKE_VLLM = ("vllm", "discovery")
"""Owners of models, by their cards, whose servers speak as vLLM does: itself, and this package's small engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """A model at a server; None where the server does not say.

    Args:
        identity: Which model.
        is_vllm: Whether the server speaks as vLLM does: token ids, plain completions of token ids, fields of its own.
        version: The server's version.
        context_tokens: Tokens of prompt and completion together.
    """

    identity: ModelIdentity
    is_vllm: bool = False
    version: str | None = None
    context_tokens: int | None = None


def described(
    cards: Sequence[Mapping[str, Any]], model: str | None, *, version: str | None, url: str
) -> Capabilities:
    """What a server's model cards say.

    An adapter's card does not name the context length; its base model's does.

    Args:
        cards: As listed.
        model: The one wanted; None for the only one.
        version: The server's, if it says.
        url: For messages.

    Raises:
        GeneratorRefused: The model is not among them, or none is named and several are.
    """
    names = [str(card.get("id")) for card in cards]
    listed = ", ".join(repr(name) for name in names[:20]) or "none"
    if model is None:
        if len(names) != 1:
            raise GeneratorRefused(f"{url} serves {len(names)} models ({listed}); name one with --model")
        model = names[0]
    if model not in names:
        raise GeneratorRefused(f"{url} does not serve {model!r}; it serves {listed}")
    card = cards[names.index(model)]
    owner = card.get("owned_by")
    parent = str(card["parent"]) if card.get("parent") else None
    base = cards[names.index(parent)] if parent in names else {}
    context = card.get("max_model_len") or base.get("max_model_len")
    identity = ModelIdentity(
        generator=NAME,
        model=model,
        revision=str(card["root"]) if card.get("root") else None,
        adapter=model if parent else None,
        server=" ".join(str(part) for part in (owner, version) if part) or None,
    )
    return Capabilities(
        identity=identity,
        is_vllm=owner in LIKE_VLLM,
        version=version,
        context_tokens=context if type(context) is int and context > 0 else None,
    )
