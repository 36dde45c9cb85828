"""Statements that are compiled once and sent as they are.

A commit of one small record takes SQLite a tenth of a millisecond; the compiler's bookkeeping for each
execution would take twice that. Rows hold bytes, numbers and text only, which both drivers take without
conversion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult, Dialect


class Prepared:
    """A statement with named parameters, for one dialect.

    Args:
        statement: All parameters of it are given at each execution.
        dialect: The database's.
    """

    __slots__ = ("_convert", "_sql")

    def __init__(self, statement: sa.Executable, dialect: Dialect) -> None:
        assert isinstance(statement, sa.ClauseElement)
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        self._convert: Callable[[Mapping[str, Any]], Any] = lambda row: row
        positions: Sequence[str] | None = getattr(compiled, "positiontup", None)
        if positions is not None:
            take = itemgetter(*positions)
            self._convert = take if len(positions) > 1 else lambda row: (take(row),)

    def one(self, connection: Connection, row: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute it once."""
        return connection.exec_driver_sql(self._sql, self._convert(row))

    def many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute it for each row.

        Returns:
            How many rows of the table were written.
        """
        return connection.exec_driver_sql(self._sql, list(map(self._convert, rows))).rowcount
