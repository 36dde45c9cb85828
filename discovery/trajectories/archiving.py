"""Writing an archive: everything that is stored of runs, into a folder of Parquet files. See ``archive``."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from discovery import __version__
from discovery.errors import DataError, UsageError
from discovery.records import RunStatus
from discovery.storage.base import Snapshot, Storage
from discovery.trajectories.attempt_tables import EVALUATIONS
from discovery.trajectories.card import CARD, archive_card
from discovery.trajectories.cells import Cell
from discovery.trajectories.columns import Column, Table
from discovery.trajectories.inventory import Inventory, file_name, id_of, write_inventory
from discovery.trajectories.manifest import FileFact, fact_of
from discovery.trajectories.parquet import BATCH_ROWS, WORDS, arrow_schema, require_pyarrow
from discovery.trajectories.tables import OF_RUNS, RUNS, SANDBOXES, SCHEMA, TABLES

_BATCH_BYTES = 4 << 20
_GROUP_BYTES = 16 << 20
"""About as much as is in memory of one file, before compression."""
_SCALARS = (int, float, bool)


def write_archive(folder: Path | str, storage: Storage, runs: Sequence[str]) -> Inventory:
    """Write everything that is stored of runs.

    Args:
        folder: Where; it must not be there, or be empty. It appears when it is whole.
        storage: Where the runs live.
        runs: Their ids or unique prefixes, in any order.

    Raises:
        UnknownRun: One is not stored.
        UsageError: No run was named, one has not arrived whole itself, or the folder holds something or cannot be
            written.
        DataError: A record cannot be archived: a number is not finite, or does not fit.
        MissingComponent: pyarrow is not installed.
    """
    require_pyarrow()
    folder = Path(folder).expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there and not an empty folder; give another one")
    records = sorted((storage.get_run(run) for run in dict.fromkeys(runs)), key=lambda record: record.id)
    if not records:
        raise UsageError("no run was named; `discovery runs` lists what there is")
    with ExitStack() as undo:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
            draft.mkdir()
            undo.callback(shutil.rmtree, draft, ignore_errors=True)
            inventory = _written(draft, storage, list(dict.fromkeys(record.id for record in records)))
            os.replace(draft, folder)  # noqa: PTH105 - onto an empty folder, too
        except OSError as error:
            why = error.strerror or error
            raise UsageError(f"{folder} cannot be written: {why}; give another folder") from error
        undo.pop_all()
    return inventory


def _written(draft: Path, storage: Storage, runs: Sequence[str]) -> Inventory:
    with ExitStack() as stack:
        files = {table.name: stack.enter_context(_File(draft, table)) for table in TABLES}
        sandboxes: set[str] = set()
        for run in runs:
            with storage.snapshot(run) as snapshot:
                _write_run(files, snapshot, sandboxes)
        for record_id in sorted(sandboxes):
            record = storage.sandbox(record_id)
            if record is not None:
                files[SANDBOXES.name].write("", record)
    facts = {file_name(name): _synced(draft / file_name(name), files[name].rows) for name in sorted(files)}
    said = Inventory(id=id_of(facts), schema=SCHEMA, package_version=__version__, runs=(*runs,), files=facts)
    write_inventory(draft, said)
    (draft / CARD).write_text(archive_card(said, [storage.get_run(run) for run in runs]), encoding="utf-8")
    return said


def _write_run(files: dict[str, _File], snapshot: Snapshot, sandboxes: set[str]) -> None:
    run = snapshot.run
    if run.status is RunStatus.ARRIVING:
        raise UsageError(f"run {run.id} has not arrived whole; repeat its `discovery import`, then export it")
    files[RUNS.name].write("", run)
    for table in OF_RUNS:
        assert table.stored is not None
        for record in table.stored(snapshot):
            files[table.name].write(run.id, record)
            if table is EVALUATIONS and record.sandbox is not None:
                sandboxes.add(record.sandbox)


def _synced(path: Path, rows: int) -> FileFact:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return fact_of(path, rows)


class _File:
    """One file that is being written.

    Args:
        folder: Where.
        table: What it holds.

    Attributes:
        rows: How many rows it has got.
    """

    def __init__(self, folder: Path, table: Table) -> None:
        import pyarrow.parquet as pq

        self._table = table
        self._columns = table.columns_of(SCHEMA)
        self._schema = arrow_schema(table, SCHEMA)
        self._cells: list[list[Any]] = [[] for _ in self._columns]
        self._bytes = 0
        self._batches: list[Any] = []
        self._group_bytes = 0
        self._writer = pq.ParquetWriter(
            folder / file_name(table.name),
            self._schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=[c.name for c in self._columns if c.cell in WORDS] + _repeated(self._columns),
            column_encoding={
                f"{c.name}.list.element": "BYTE_STREAM_SPLIT"
                for c in self._columns
                if c.cell in (Cell.LOGPROBS, Cell.NUMBERS)
            },
        )
        self.rows = 0

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *failure: object) -> None:
        if failure[0] is None:
            self._batch()
            self._group()
        self._writer.close()

    def write(self, run: str, record: Any) -> None:
        """Add a record's row.

        Raises:
            DataError: It cannot be archived.
        """
        try:
            row = self._table.row(run, record)
        except ValueError as error:
            place = self._table.place(record)
            raise DataError(
                f"{self._table.name} of run {run} at {place} cannot be archived: {error}"
            ) from error
        for cells, value in zip(self._cells, row.values(), strict=True):
            cells.append(value)
            if type(value) is str:
                self._bytes += len(value)
            elif value is not None and type(value) not in _SCALARS:
                self._bytes += 8 * len(value)
        self.rows += 1
        if len(self._cells[0]) == BATCH_ROWS or self._bytes >= _BATCH_BYTES:
            self._batch()

    def _batch(self) -> None:
        """Turn what was gathered from Python's objects, of which each number takes 32 bytes, into Arrow's."""
        import pyarrow as pa

        if not self._cells[0]:
            return
        arrays = [pa.array(cells, of.type) for cells, of in zip(self._cells, self._schema, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._batches.append(batch)
        self._group_bytes += batch.nbytes
        self._cells = [[] for _ in self._columns]
        self._bytes = 0
        if self._group_bytes >= _GROUP_BYTES:
            self._group()

    def _group(self) -> None:
        import pyarrow as pa

        if self._batches:
            table = pa.Table.from_batches(self._batches, self._schema)
            self._writer.write_table(table, row_group_size=len(table))
            self._batches, self._group_bytes = [], 0


def _repeated(columns: Sequence[Column]) -> list[str]:
    """Texts within lists that come again and again: system messages, parents."""
    leaves = {
        Cell.MESSAGES: ("list.element.role", "list.element.content"),
        Cell.KEYS: ("list.element",),
    }
    return [f"{column.name}.{leaf}" for column in columns for leaf in leaves.get(column.cell, ())]
