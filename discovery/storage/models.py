"""The tables, and the revisions of their schema.

Rows are hot and many, so these are Core tables, not mapped classes, and they are compact:

- A run has a small integer key beside its id; everything below it is keyed by its place ``(run, chain, step,
  index)``, without a row id of its own on SQLite.
- Whatever may be long (messages, completions, sources, metrics, artifacts, token ids) goes to ``blobs``, once
  per content, compressed, under the first 16 bytes of its SHA-256. A *packed* column holds short content
  itself and a reference otherwise (see ``codec``). Nothing is ever deleted from ``blobs``, so a reference
  never dangles.
- Text that a model, a candidate or a server wrote is stored as bytes: PostgreSQL's text refuses NUL, and
  neither database takes lone surrogates. Only names of ours are text columns.
- Instants are whole microseconds since 1970 in UTC; keys of other candidates are ``chain.step.index``.
- Small integers stand for states: steps 0 planned, 1 committed; evaluations 0 running, 1 scored, 2 failed;
  purposes 0 search, 1 verify, 2 audit; of consultations 0 rerank, 1 elite, 2 reflect.

A change here needs a new file in ``migrations/versions``, its number at the end of ``REVISIONS``, and a
database of the old schema in ``tests/data/storage``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

REVISIONS = ("0001", "0002", "0003", "0004")
"""Every schema revision, oldest first; known here so that opening a current database needs no Alembic."""

HEAD = REVISIONS[-1]

PLANNED, COMMITTED = 0, 1
RUNNING, SCORED, FAILED = 0, 1, 2
SEARCH, VERIFY, AUDIT = 0, 1, 2
RERANK, ELITE, REFLECT = 0, 1, 2

metadata = MetaData()


def _place() -> list[Column[int]]:
    return [
        Column(name, Integer, primary_key=True, autoincrement=False)
        for name in ("run", "chain", "step", "idx")
    ]


runs = Table(
    "runs",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("problem", Text, nullable=False),
    Column("problem_path", LargeBinary, nullable=False),
    Column("problem_version", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("config", LargeBinary, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("wall_s", Double, nullable=False),
    Column("message", LargeBinary),
    Column("facts", LargeBinary, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("chain", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text),
    Column("epoch", Integer, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

blobs = Table(
    "blobs",
    metadata,
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("codec", SmallInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

steps = Table(
    "steps",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("chain", Integer, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, nullable=False),
    Column("parents", Text, nullable=False),
    Column("selector", Text, nullable=False),
    Column("selection", LargeBinary, nullable=False),
    Column("committed", Text),
    Column("reason", LargeBinary),
    Column("best_before", Double),
    Column("best_after", Double),
    Column("planned_at", BigInteger, nullable=False),
    Column("committed_at", BigInteger),
    sqlite_with_rowid=False,
)

prompts = Table(
    "prompts",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("chain", Integer, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("parents", Text, nullable=False),
    Column("messages", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

completions = Table(
    "completions",
    metadata,
    *_place(),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("has_tokens", Boolean, nullable=False),
    Column("text", LargeBinary),
    Column("reasoning", LargeBinary),
    Column("finish_reason", LargeBinary),
    Column("model", LargeBinary, nullable=False),
    Column("sampling", LargeBinary, nullable=False),
    Column("seed", Text),
    Column("token_ids", LargeBinary),
    Column("logprobs", LargeBinary),
    Column("latency_s", Double),
    Column("created_at", BigInteger, nullable=False),
    Column("prompt_token_ids", LargeBinary),
    Column("forced_from", Integer),
    Column("forced_to", Integer),
    sqlite_with_rowid=False,
)

candidates = Table(
    "candidates",
    metadata,
    *_place(),
    Column("source_hash", LargeBinary, nullable=False),
    Column("parents", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("warm_start", Text),
    Column("form", LargeBinary),
    # Reaches the place as well, so that finding a source and counting sources read nothing else.
    Index("candidates_by_source", "run", "source_hash", "chain", "step", "idx"),
    Index("candidates_by_form", "run", "form", "chain", "step", "idx"),
    sqlite_with_rowid=False,
)

evaluations = Table(
    "evaluations",
    metadata,
    *_place(),
    Column("purpose", SmallInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, nullable=False),
    Column("score", Double),
    Column("failure", Text),
    Column("duplicate_of", Text),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
    Column("wall_s", Double),
    Column("sandbox_s", Double),
    Column("sandbox_cpu_s", Double),
    Column("message", LargeBinary),
    Column("context", LargeBinary),
    Column("result", LargeBinary),
    Column("solution", LargeBinary),
    Column("source_read", Boolean),
    sqlite_with_rowid=False,
)

sandboxes = Table(
    "sandboxes",
    metadata,
    Column("id", Text, primary_key=True),
    Column("backend", Text, nullable=False),
    Column("properties", LargeBinary, nullable=False),
    Column("details", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

consultations = Table(
    "consultations",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("chain", Integer, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("purpose", SmallInteger, primary_key=True, autoincrement=False),
    Column("subject", Text),
    Column("messages", LargeBinary, nullable=False),
    Column("text", LargeBinary),
    Column("reasoning", LargeBinary),
    Column("finish_reason", LargeBinary),
    Column("model", LargeBinary),
    Column("sampling", LargeBinary, nullable=False),
    Column("seed", Text),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cached_tokens", BigInteger),
    Column("has_tokens", Boolean, nullable=False),
    Column("latency_s", Double),
    Column("failure", LargeBinary),
    Column("created_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

announcements = Table(
    "announcements",
    metadata,
    *_place(),
    Column("score", Double, nullable=False),
    Column("evaluations", Integer, nullable=False),
    Column("announced_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

measurements = Table(
    "measurements",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("points", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
