"""The schema of our own Parquet: consultations. See :mod:`discovery.trajectories.tables`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from discovery.records import AdvicePurpose, Consultation, ModelIdentity, TokenUsage
from discovery.trajectories.cells import Cell
from discovery.trajectories.columns import Column, Row, Table, mapping

_OF_MODEL = ("generator", "model", "revision", "adapter", "server")
_AS_THEY_ARE = (
    *("chain", "step", "subject", "messages", "text", "reasoning", "finish_reason"),
    *("latency_s", "failure", "created_at"),
)


def _consultation(row: Row) -> Consultation:
    if row["chain"] < 0 or row["step"] < 1:
        raise ValueError(f"there is no step {row['chain']}.{row['step']}")
    usage = TokenUsage(
        prompt=row["prompt_tokens"],
        completion=row["completion_tokens"],
        reasoning=row["reasoning_tokens"],
        cached=row["cached_tokens"],
    )
    if not row["is_counted"] and usage != TokenUsage():
        raise ValueError("it has tokens that nobody counted")
    speaker = {name: row[name] for name in _OF_MODEL}
    if speaker["generator"] is None and any(part is not None for part in speaker.values()):
        raise ValueError("it has a model of no generator")
    return Consultation(
        purpose=AdvicePurpose(row["purpose"]),
        model=None if speaker["generator"] is None else ModelIdentity(**speaker),
        seed=None if row["seed"] is None else int(row["seed"]),
        tokens=usage if row["is_counted"] else None,
        sampling=mapping(row, "sampling"),
        **{name: row[name] for name in _AS_THEY_ARE},
    )


def _of_model(name: str) -> Callable[[Consultation], Any]:
    return lambda c: None if c.model is None else getattr(c.model, name)


_PURPOSES = tuple(AdvicePurpose)

CONSULTATIONS = Table(
    name="consultations",
    columns=(
        Column("chain", Cell.CHAIN, lambda c: c.chain),
        Column("step", Cell.PLACE, lambda c: c.step),
        Column("purpose", Cell.NAME, lambda c: c.purpose.value),
        Column("subject", Cell.KEY, lambda c: c.subject, optional=True),
        Column("messages", Cell.MESSAGES, lambda c: c.messages),
        Column("text", Cell.TEXT, lambda c: c.text, optional=True),
        Column("reasoning", Cell.TEXT, lambda c: c.reasoning, optional=True),
        Column("finish_reason", Cell.TEXT, lambda c: c.finish_reason, optional=True),
        *(Column(name, Cell.TEXT, _of_model(name), optional=True) for name in _OF_MODEL),
        Column("sampling", Cell.JSON, lambda c: dict(c.sampling)),
        Column("seed", Cell.NAME, lambda c: None if c.seed is None else str(c.seed), optional=True),
        Column("is_counted", Cell.FLAG, lambda c: c.tokens is not None),
        Column("prompt_tokens", Cell.INTEGER, lambda c: c.tokens and c.tokens.prompt, optional=True),
        Column("completion_tokens", Cell.INTEGER, lambda c: c.tokens and c.tokens.completion, optional=True),
        Column("reasoning_tokens", Cell.INTEGER, lambda c: c.tokens and c.tokens.reasoning, optional=True),
        Column("cached_tokens", Cell.INTEGER, lambda c: c.tokens and c.tokens.cached, optional=True),
        Column("latency_s", Cell.NUMBER, lambda c: c.latency_s, optional=True),
        Column("failure", Cell.TEXT, lambda c: c.failure, optional=True),
        Column("created_at", Cell.INSTANT, lambda c: c.created_at),
    ),
    build=_consultation,
    place=lambda c: (c.chain, c.step, _PURPOSES.index(c.purpose)),
    stored=lambda snapshot: snapshot.records(Consultation),
    since=3,
)
