"""Appending records: the hot path.

Everything that can be done without the database is done before the transaction: records become rows, contents
are compressed. In it, one statement fences the leases, then each table gets at most two: rows that never
change are inserted unless their place is taken; finished ones also replace an unfinished one. When fewer rows
were written than given, and only then, the places are read back and compared.

What happens at a taken place, given the stored record and the new one:

- equal: nothing;
- an unfinished one and a finished one that grew from it: replaced (a committed step must keep what its plan
  said: parents, selector, selection and ``planned_at``);
- a finished one and the unfinished one that it grew from (the same plan; the same ``started_at``): nothing,
  so that a batch whose answer was lost can be appended again;
- a sandbox record of equal backend and properties: nothing, the first details stay;
- another measurement of the same microsecond: nothing, the first one stays;
- anything else: ``StorageError``, and the whole batch is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect

from discovery.errors import StorageError
from discovery.records import (
    SHARED_CHAIN,
    Announcement,
    Candidate,
    Completion,
    Consultation,
    Evaluation,
    Measurement,
    Prompt,
    Purpose,
    Record,
    SandboxRecord,
    Step,
)
from discovery.storage import advice_rows, candidate_rows, contents, leases, models, rows
from discovery.storage.base import Lease, Write
from discovery.storage.codec import Packer, Unpacker
from discovery.storage.prepared import Prepared
from discovery.storage.rows import Row

Place = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """How records of one type are stored.

    Attributes:
        table: Where.
        read: A row as its record.
        grows: Whether an unfinished record may be followed by the finished one.
        key: Columns of the primary key, in order.
    """

    table: sa.Table
    read: Callable[[Row, Unpacker], Record]
    grows: bool = False
    key: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", tuple(c.name for c in self.table.primary_key))


# In the order of writing: what a record refers to comes before it.
KINDS: dict[type, Kind] = {
    SandboxRecord: Kind(models.sandboxes, lambda row, _: rows.read_sandbox(row)),
    Step: Kind(models.steps, rows.read_step, grows=True),
    Prompt: Kind(models.prompts, rows.read_prompt),
    Completion: Kind(models.completions, candidate_rows.read_completion),
    Candidate: Kind(models.candidates, candidate_rows.read_candidate),
    Evaluation: Kind(models.evaluations, candidate_rows.read_evaluation, grows=True),
    Consultation: Kind(models.consultations, advice_rows.read_consultation),
    Announcement: Kind(models.announcements, lambda row, _: rows.read_announcement(row)),
    Measurement: Kind(models.measurements, lambda row, _: rows.read_measurement(row)),
}


@dataclass(slots=True)
class _Item:
    """One record on its way."""

    record: Record
    row: Row


@dataclass(slots=True)
class Encoded:
    """One write, ready for the database.

    Attributes:
        write: What was asked for.
        run: The run's integer key.
        items: Its records with their rows.
        blobs: Rows of contents, compressed.
    """

    write: Write
    run: int
    items: list[_Item]
    blobs: list[contents.BlobRow]


def encode(write: Write, run: int, known: contents.Known) -> Encoded:
    """Turn a write into rows.

    Raises:
        StorageError: A record does not belong to the lease's chain, or cannot be stored.
    """
    packer = Packer()
    items = []
    for record in write.records:
        _check_chain(record, write.lease)
        items.append(_Item(record, _row(run, record, packer)))
    return Encoded(write, run, items, contents.compressed(packer, known))


def _row(run: int, record: Record, packer: Packer) -> Row:
    if isinstance(record, Evaluation):
        return candidate_rows.write_evaluation(run, record, packer)
    if isinstance(record, Completion):
        return candidate_rows.write_completion(run, record, packer)
    if isinstance(record, Candidate):
        return candidate_rows.write_candidate(run, record, packer)
    if isinstance(record, Consultation):
        return advice_rows.write_consultation(run, record, packer)
    if isinstance(record, Step):
        return rows.write_step(run, record, packer)
    if isinstance(record, Prompt):
        return rows.write_prompt(run, record, packer)
    if isinstance(record, SandboxRecord):
        return rows.write_sandbox(record)
    if isinstance(record, Measurement):
        return rows.write_measurement(run, record)
    return rows.write_announcement(run, record)


def _check_chain(record: Record, lease: Lease) -> None:
    if isinstance(record, SandboxRecord):
        return
    chain = _chain(record)
    if chain == lease.chain:
        return
    # Scoring again and announcing a run-best is the supervisor's work as well.
    supervises = isinstance(record, Announcement) or (
        isinstance(record, Evaluation) and record.purpose is not Purpose.SEARCH
    )
    if lease.chain != SHARED_CHAIN or not supervises:
        raise StorageError(
            f"a {type(record).__name__} of chain {chain} was appended under the lease of chain "
            f"{lease.chain}; write it under its own chain's"
        )


def _chain(
    record: Step | Prompt | Completion | Candidate | Evaluation | Consultation | Announcement | Measurement,
) -> int:
    if isinstance(record, Measurement):
        return SHARED_CHAIN
    return record.chain if isinstance(record, (Step, Prompt, Consultation)) else record.key.chain


class Appender:
    """Appends to one database.

    Args:
        dialect: SQLite's or PostgreSQL's.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._guard = leases.Guard(dialect)
        self._statements: dict[type, tuple[Prepared, Prepared]] = {}
        for record_type, kind in KINDS.items():
            self._statements[record_type] = (
                _insert(dialect, kind.table),
                _insert(dialect, kind.table, kind) if kind.grows else _insert(dialect, kind.table),
            )
        self._blobs = _insert(dialect, models.blobs)

    def append(self, connection: Connection, writes: Sequence[Encoded]) -> list[Encoded]:
        """Write all whose leases are held, in the connection's transaction.

        Returns:
            Those that were written.

        Raises:
            StorageError: A stored record would change.
        """
        accepted = self._fence(connection, writes)
        blobs = {row["hash"]: row for encoded in accepted for row in encoded.blobs}
        if blobs:
            self._blobs.many(connection, [blobs[name] for name in sorted(blobs)])
        batch: dict[type, dict[Place, _Item]] = {}
        for encoded in accepted:
            for item in encoded.items:
                record_type = type(item.record)
                kind = KINDS[record_type]
                places = batch.setdefault(record_type, {})
                place = tuple(item.row[name] for name in kind.key)
                earlier = places.get(place)
                if earlier is None or _grows(earlier.record, item.record):
                    places[place] = item
        for record_type, kind in KINDS.items():
            if record_type in batch:
                self._write(connection, record_type, kind, batch[record_type])
        return accepted

    def _write(
        self, connection: Connection, record_type: type, kind: Kind, places: dict[Place, _Item]
    ) -> None:
        insert, upsert = self._statements[record_type]
        items = [places[place] for place in sorted(places)]
        if not kind.grows:
            groups = [(insert, items)]
        else:
            groups = [
                (insert, [item for item in items if not item.row["state"]]),
                (upsert, [item for item in items if item.row["state"]]),
            ]
        for statement, group in groups:
            if group:
                written = statement.many(connection, [item.row for item in group])
                if written != len(group):
                    _reconcile(connection, kind, group)

    def _fence(self, connection: Connection, writes: Sequence[Encoded]) -> list[Encoded]:
        by_run: dict[int, set[Lease]] = {}
        for encoded in writes:
            by_run.setdefault(encoded.run, set()).add(encoded.write.lease)
        held: set[Lease] = set()
        for run in sorted(by_run):
            held |= self._guard.held(connection, run, by_run[run])
        return [encoded for encoded in writes if encoded.write.lease in held]


def _insert(dialect: Dialect, table: sa.Table, grows: Kind | None = None) -> Prepared:
    """An insert that leaves a taken place alone, unless an unfinished record has it and may grow."""
    from sqlalchemy.dialects import postgresql, sqlite

    insert = sqlite.insert(table) if dialect.name == "sqlite" else postgresql.insert(table)
    # All columns are named, so that one compiled statement serves every batch.
    insert = insert.values({c.name: sa.bindparam(c.name) for c in table.columns})
    if grows is None:
        return Prepared(insert.on_conflict_do_nothing(), dialect)
    condition = table.c.state == sa.literal_column("0")
    if table is models.steps:
        for name in ("parents", "selector", "selection", "planned_at"):
            condition &= table.c[name] == insert.excluded[name]
    values = {c.name: insert.excluded[c.name] for c in table.columns if c.name not in grows.key}
    return Prepared(
        insert.on_conflict_do_update(index_elements=list(grows.key), set_=values, where=condition),
        dialect,
    )


def _reconcile(connection: Connection, kind: Kind, items: Iterable[_Item]) -> None:
    """Compare each record with what is stored at its place; let it grow where it may."""
    table = kind.table
    for item in items:
        at_place = sa.and_(*(table.c[name] == item.row[name] for name in kind.key))
        stored = dict(connection.execute(sa.select(table).where(at_place)).mappings().one())
        if stored == item.row:
            continue
        record = kind.read(stored, contents.load(connection, rows.references([stored])))
        if _grows(record, item.record):
            values = {name: value for name, value in item.row.items() if name not in kind.key}
            connection.execute(table.update().where(at_place).values(values))


def _grows(old: Record, new: Record) -> bool:
    """Whether the new record replaces the old one at their common place; False when nothing is to be done.

    Raises:
        StorageError: They contradict each other.
    """
    if old == new or isinstance(new, Measurement):
        return False
    if isinstance(old, Step) and isinstance(new, Step) and _plan(old) == _plan(new):
        if old.state.is_finished != new.state.is_finished:
            return new.state.is_finished
    elif isinstance(old, Evaluation) and isinstance(new, Evaluation):
        if new.state.is_finished and not old.state.is_finished:
            return True
        if old.state.is_finished and not new.state.is_finished and old.started_at == new.started_at:
            return False
    elif (
        isinstance(old, SandboxRecord)
        and isinstance(new, SandboxRecord)
        and new == replace(old, details=new.details)
    ):
        return False
    raise StorageError(f"{_name(new)} is stored already and differs; stored records never change")


def _plan(step: Step) -> tuple[Any, ...]:
    return step.parents, step.selector, dict(step.selection), step.planned_at


def _name(record: Record) -> str:
    if isinstance(record, SandboxRecord):
        return f"the sandbox record {record.id}"
    if isinstance(record, (Step, Prompt)):
        return f"the {type(record).__name__.lower()} {record.chain}.{record.step}"
    if isinstance(record, Consultation):
        return f"the {record.purpose} consultation {record.chain}.{record.step}"
    if isinstance(record, Evaluation):
        return f"the {record.purpose} evaluation of {record.key} (attempt {record.attempt}, {record.state})"
    if isinstance(record, Measurement):
        return f"the measurement at {record.at.isoformat()}"
    return f"the {type(record).__name__.lower()} {record.key}"
