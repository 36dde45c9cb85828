"""Our tables as Parquet: which Arrow types their cells have, and plain values of those."""

from __future__ import annotations

from typing import Any

from discovery import __version__
from discovery.errors import MissingComponent
from discovery.trajectories.cells import Cell
from discovery.trajectories.columns import Table

BATCH_ROWS = 128
"""Rows that are turned from Python's objects into Arrow's at once, or back."""
SCHEMA_KEY = b"discovery.schema"
"""Under this name a file says the version of its schema."""
WORDS = (Cell.NAME, Cell.TEXT, Cell.JSON, Cell.KEY)
"""Cells that hold a text."""


def require_pyarrow() -> None:
    """Say what to install where pyarrow is missing.

    Raises:
        MissingComponent: It is.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingComponent(
            "Parquet needs pyarrow; install it with pip install 'discovery-loop[export]'"
        ) from error


def arrow_schema(table: Table, schema: int) -> Any:
    """The Arrow schema of a table's file in a version of ours."""
    import pyarrow as pa

    def required(kind: Any) -> Any:
        return pa.field("element", kind, nullable=False)

    words = required(pa.string())
    message = pa.struct([pa.field(n, pa.string(), nullable=False) for n in ("role", "content")])
    types = {
        **dict.fromkeys(WORDS, pa.string()),
        Cell.INTEGER: pa.int64(),
        Cell.CHAIN: pa.int32(),
        Cell.PLACE: pa.int32(),
        Cell.NUMBER: pa.float64(),
        Cell.FLAG: pa.bool_(),
        Cell.INSTANT: pa.timestamp("us", tz="UTC"),
        Cell.KEYS: pa.list_(words),
        Cell.NUMBERS: pa.list_(required(pa.float64())),
        Cell.IDS: pa.list_(required(pa.int32())),
        Cell.LOGPROBS: pa.list_(pa.field("element", pa.float64())),
        Cell.MESSAGES: pa.list_(required(message)),
        Cell.BYTES: pa.binary(),
    }
    fields = [pa.field(c.name, types[c.cell], nullable=c.optional) for c in table.columns_of(schema)]
    said = {SCHEMA_KEY: str(schema), b"discovery.version": __version__, b"discovery.table": table.name}
    return pa.schema(fields, metadata=said)


def plain_values(array: Any) -> list[Any]:
    """The cells of a column as plain values; instants as microseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(array.type):
        return list(array.cast(pa.int64()).to_pylist())
    if pa.types.is_dictionary(array.type):
        places = array.indices.to_pylist()
        texts = {place: array.dictionary[place].as_py() for place in set(places) if place is not None}
        return [texts.get(place) for place in places]
    return list(array.to_pylist())
