"""Rows of consultations, and finding them again. See ``rows``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from discovery.records import AdvicePurpose, Answer, Consultation
from discovery.storage import contents, models, rows
from discovery.storage.candidate_rows import model_in, read_model, tokens_in, tokens_out
from discovery.storage.codec import (
    Packer,
    Unpacker,
    json_in,
    json_out,
    key_in,
    number_in,
    optional_key_out,
    optional_text_in,
    optional_text_out,
    time_in,
    time_out,
)
from discovery.storage.models import consultations
from discovery.storage.rows import Row, messages_in, messages_out

_PURPOSES = {
    AdvicePurpose.RERANK: models.RERANK,
    AdvicePurpose.ELITE: models.ELITE,
    AdvicePurpose.REFLECT: models.REFLECT,
}
_PURPOSES_OUT = {number: purpose for purpose, number in _PURPOSES.items()}
_PAGE = 512
"""Answers whose contents are in memory at once."""


def write_consultation(run: int, asked: Consultation, packer: Packer) -> Row:
    """The row of a consultation."""
    what = f"consultation {asked.chain}.{asked.step} ({asked.purpose})"
    return {
        "run": run,
        "chain": asked.chain,
        "step": asked.step,
        "purpose": _PURPOSES[asked.purpose],
        "subject": None if asked.subject is None else key_in(asked.subject),
        "messages": messages_in(asked.messages, packer),
        "text": packer.pack_text(asked.text),
        "reasoning": packer.pack_text(asked.reasoning),
        "finish_reason": optional_text_in(asked.finish_reason),
        "model": None if asked.model is None else packer.pack(model_in(asked.model)),
        "sampling": packer.pack(
            json_in(dict(asked.sampling), f"{what}: sampling") if asked.sampling else b""
        ),
        "seed": None if asked.seed is None else str(asked.seed),
        **tokens_in(asked.tokens),
        "latency_s": number_in(asked.latency_s, f"{what}: latency_s"),
        "failure": optional_text_in(asked.failure),
        "created_at": time_in(asked.created_at, f"{what}: created_at"),
    }


def read_consultation(row: Mapping[str, Any], unpacker: Unpacker) -> Consultation:
    """The inverse of :func:`write_consultation`."""
    sampling = unpacker.unpack(row["sampling"])
    return Consultation(
        chain=row["chain"],
        step=row["step"],
        purpose=_PURPOSES_OUT[row["purpose"]],
        subject=optional_key_out(row["subject"]),
        messages=messages_out(row["messages"], unpacker),
        text=unpacker.unpack_text(row["text"]),
        reasoning=unpacker.unpack_text(row["reasoning"]),
        finish_reason=optional_text_out(row["finish_reason"]),
        model=None if row["model"] is None else read_model(row["model"], unpacker),
        sampling=json_out(sampling) if sampling else {},
        seed=None if row["seed"] is None else int(row["seed"]),
        tokens=tokens_out(row),
        latency_s=row["latency_s"],
        failure=optional_text_out(row["failure"]),
        created_at=time_out(row["created_at"]),
    )


def consultation(
    connection: Connection, run: int, chain: int, step: int, purpose: AdvicePurpose
) -> Consultation | None:
    """One consultation, or None."""
    found = sa.select(consultations).where(
        consultations.c.run == run,
        consultations.c.chain == chain,
        consultations.c.step == step,
        consultations.c.purpose == _PURPOSES[purpose],
    )
    row = connection.execute(found).mappings().first()
    if row is None:
        return None
    stored = dict(row)
    return read_consultation(stored, contents.load(connection, rows.references([stored])))


def page(connection: Connection, run: int, chain: int, after: tuple[int, int]) -> list[Answer]:
    """The next answers of a chain after a step and a purpose's number, at most a page; empty at the end."""
    table = consultations
    beyond = sa.tuple_(*map(sa.literal, after))
    found = (
        sa.select(
            table.c.step, table.c.purpose, table.c.text, table.c.prompt_tokens, table.c.completion_tokens
        )
        .where(table.c.run == run, table.c.chain == chain, sa.tuple_(table.c.step, table.c.purpose) > beyond)
        .order_by(table.c.step, table.c.purpose)
        .limit(_PAGE)
    )
    stored = [dict(row) for row in connection.execute(found).mappings()]
    unpacker = contents.load(connection, rows.references(stored))
    return [
        Answer(
            step=row["step"],
            purpose=_PURPOSES_OUT[row["purpose"]],
            text=unpacker.unpack_text(row["text"]),
            tokens=(row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0),
        )
        for row in stored
    ]


def place_of(answer: Answer) -> tuple[int, int]:
    """What answers of a chain are ordered by."""
    return answer.step, _PURPOSES[answer.purpose]
