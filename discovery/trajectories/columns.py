"""What a file of an archive is: columns that take values out of records, and a way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from discovery.records import CandidateKey
from discovery.storage.base import Snapshot
from discovery.trajectories.cells import DECODE, ENCODE, EXACT, Cell, exact, legible

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Args:
        name: Its name.
        cell: What it holds.
        get: Its value in a record.
        optional: Whether that may be None.
        since: The first version of the schema that has it; an optional one is None in what older ones wrote.
    """

    name: str
    cell: Cell
    get: Callable[[Any], Any]
    optional: bool = False
    since: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One file.

    Args:
        name: Its name without the ending.
        columns: Without the run's id, which comes first where rows are of a run, and ``exact``, which comes last.
        build: A record of its decoded cells.
        place: What a record is ordered by within its run.
        stored: All of a run's records in that order; None where they are of no run, or the runs themselves.
        since: The first version of the schema that has it.
    """

    name: str
    columns: tuple[Column, ...]
    build: Callable[[Row], Any]
    place: Callable[[Any], Any]
    stored: Callable[[Snapshot], Iterator[Any]] | None
    since: int = 1

    def columns_of(self, schema: int) -> tuple[Column, ...]:
        """All columns of the file in a version of the schema, in order."""
        run = (Column("run", Cell.NAME, lambda _: None),) if self.stored is not None else ()
        own = (column for column in self.columns if column.since <= schema)
        return (*run, *own, Column(EXACT, Cell.BYTES, lambda _: None, optional=True))

    def row(self, run: str, record: Any) -> dict[str, Any]:
        """A record's cells by name, in the order of the columns.

        Raises:
            ValueError: A value cannot be archived.
        """
        cells: dict[str, Any] = {"run": run} if self.stored is not None else {}
        is_plain = True
        for column in self.columns:
            value = column.get(record)
            if value is None:
                if not column.optional:
                    raise ValueError(f"its {column.name} is not known")
            elif column.cell in ENCODE:
                try:
                    value = ENCODE[column.cell](value)
                except (ValueError, OverflowError) as error:
                    raise ValueError(f"its {column.name}: {error}") from error
            cells[column.name] = value
            is_plain = is_plain and (
                value.isascii() if type(value) is str else column.cell is not Cell.MESSAGES
            )
        cells[EXACT] = None if is_plain else legible(cells)
        return cells

    def record(self, cells: dict[str, Any]) -> tuple[str, Any]:
        """The inverse of :meth:`row`: the run's id (empty where it has none) and the record.

        Raises:
            ValueError: The row holds what it may not.
        """
        kept = cells.pop(EXACT)
        if kept is not None:
            texts = {c.name: c.cell for c in self.columns if c.cell in (Cell.TEXT, Cell.JSON, Cell.MESSAGES)}
            exact(cells, kept, texts)
        row: dict[str, Any] = {}
        for column in self.columns:
            value = cells.get(column.name)  # an older schema has fewer
            try:
                row[column.name] = None if value is None else DECODE.get(column.cell, _as_it_is)(value)
            except ValueError as error:
                raise ValueError(f"its {column.name}: {error}") from error
        run = DECODE[Cell.NAME](cells["run"]) if self.stored is not None else ""
        return run, self.build(row)


def _as_it_is(value: Any) -> Any:
    return value


def mapping(row: Row, name: str) -> dict[str, Any]:
    """A cell that must hold a JSON object.

    Raises:
        ValueError: It holds something else.
    """
    value = row[name]
    if not isinstance(value, dict):
        raise ValueError(f"its {name} is not a JSON object")
    return value


PLACE = (
    Column("chain", Cell.CHAIN, lambda r: r.key.chain),
    Column("step", Cell.PLACE, lambda r: r.key.step),
    Column("index", Cell.PLACE, lambda r: r.key.index),
)
"""Columns of a candidate's place."""


def key_of(row: Row) -> CandidateKey:
    """The candidate's key of those columns.

    Raises:
        ValueError: There is no such place.
    """
    key = CandidateKey(row["chain"], row["step"], row["index"])
    if (key.step == 0) != key.is_initial:
        raise ValueError(f"there is no place for chain {key.chain}, step {key.step}, index {key.index}")
    return key
