"""A whole run, read in one transaction, a page of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from discovery.storage import contents, rows
from discovery.storage.base import OfRun, RunRecord
from discovery.storage.writing import KINDS

_PAGE = 128
"""Rows whose contents are in memory at once."""


class RdbSnapshot:
    """The ``Snapshot`` port on an open read transaction.

    Args:
        connection: Of the transaction; the caller ends it.
        key: The run's integer key.
        run: The run.
    """

    def __init__(self, connection: Connection, key: int, run: RunRecord) -> None:
        self._connection = connection
        self._key = key
        self._run = run

    @property
    def run(self) -> RunRecord:
        """The run itself."""
        return self._run

    def records(self, kind: type[OfRun]) -> Iterator[OfRun]:
        """All records of a kind, by place."""
        stored = KINDS[kind]
        found = (
            sa.select(stored.table)
            .where(stored.table.c.run == self._key)
            .order_by(*(stored.table.c[name] for name in stored.key))
            .execution_options(yield_per=_PAGE)
        )
        with self._connection.execute(found) as result:
            for page in result.mappings().partitions():
                read = [dict(row) for row in page]
                unpacker = contents.load(self._connection, rows.references(read))
                yield from (cast(OfRun, stored.read(row, unpacker)) for row in read)
