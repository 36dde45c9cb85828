"""Our own full Parquet: everything that is stored of runs, in a folder of files. The home of pyarrow.

Written a row at a time into row groups of bounded size, so memory stays flat. Equal runs give equal bytes, as long as
this package and pyarrow are of the same versions: rows are sorted, and nothing of the time or the machine is added. A
run that is still going on is archived as a process that died at that moment would have left it, with planned steps and
running evaluations, so a copy resumes as after a crash.

Reading trusts nothing: hashes, schemas, types, the order of rows, and every value are checked, and no row group larger
than any of ours is loaded. Nothing of an archive is ever executed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from discovery import __version__
from discovery.errors import ArchiveError, DataError, MissingComponent, UsageError, boundary
from discovery.records import RunStatus, SandboxRecord
from discovery.storage.base import RunRecord, Snapshot, Storage
from discovery.trajectories.attempt_tables import EVALUATIONS
from discovery.trajectories.card import CARD, archive_card
from discovery.trajectories.cells import Cell
from discovery.trajectories.columns import Column, Table
from discovery.trajectories.inventory import Inventory, file_name, id_of, read_inventory, write_inventory
from discovery.trajectories.manifest import FileFact, fact_of
from discovery.trajectories.tables import OF_RUNS, RUNS, SANDBOXES, SCHEMA, TABLES, tables_of

_BATCH_ROWS = 128
_BATCH_BYTES = 4 << 20
_GROUP_BYTES = 16 << 20
"""About as much as is in memory of one file, before compression."""
_MOST_GROUP_BYTES = 512 << 20  # of a row group that is read
_SCHEMA_KEY = b"discovery.schema"
_SCALARS = (int, float, bool)
_WORDS = (Cell.NAME, Cell.TEXT, Cell.JSON, Cell.KEY)


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
    _pyarrow()
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


def read_archive(folder: Path | str) -> Archive:
    """Open an archive: its files are compared with their hashes, and their schemas with ours.

    Raises:
        ArchiveError: It is not whole, or none of ours.
        MissingComponent: pyarrow is not installed.
    """
    _pyarrow()
    return Archive(Path(folder).expanduser())


class Archive:
    """An archive on disk, read a row at a time.

    Args:
        folder: Where it lies.

    Attributes:
        inventory: What it holds.

    Raises:
        ArchiveError: It is not whole, or none of ours.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.inventory = read_inventory(folder)
        for table in tables_of(self.inventory.schema):
            with boundary(f"{self._path(table)} is no Parquet file of ours", ArchiveError):
                self._check(table)

    def runs(self) -> list[RunRecord]:
        """Its runs, by id.

        Raises:
            ArchiveError: A row holds what it may not.
        """
        runs = [record for _, record in self._rows(RUNS)]
        ids = tuple(record.id for record in runs)
        if ids != self.inventory.runs:
            raise ArchiveError(
                f"{self._folder} holds other runs than its manifest says; get the archive again"
            )
        for record in runs:
            if record.status is RunStatus.ARRIVING:
                raise ArchiveError(f"{self._folder}: run {record.id} had not arrived whole itself")
        return runs

    def sandboxes(self) -> list[SandboxRecord]:
        """The sandboxes that its evaluations name, by id.

        Raises:
            ArchiveError: A row holds what it may not.
        """
        return [record for _, record in self._rows(SANDBOXES)]

    def records(self, table: Table) -> Iterator[tuple[str, Any]]:
        """All records of a table, with the ids of their runs, by run and place; none of one that came later.

        Raises:
            ArchiveError: A row holds what it may not; names it.
        """
        if table.since > self.inventory.schema:
            return
        known = set(self.inventory.runs)
        for run, record in self._rows(table):
            if run not in known:
                raise ArchiveError(f"{self._path(table)} has rows of {run!r}, which is none of its runs")
            yield run, record

    def _path(self, table: Table) -> Path:
        return self._folder / file_name(table.name)

    def _check(self, table: Table) -> None:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._path(table)) as file:
            schema = self.inventory.schema
            found, expected = file.schema_arrow, _schema(table, schema)
            if not found.equals(expected):
                odd = [f.name for f in expected if f.name not in found.names or found.field(f.name) != f]
                raise ArchiveError(
                    f"{self._path(table)} has other columns than schema {schema} ({', '.join(odd) or 'more of them'}); "
                    "get the archive again"
                )
            if (found.metadata or {}).get(_SCHEMA_KEY) != str(schema).encode():
                raise ArchiveError(f"{self._path(table)} does not say that its schema is {schema}")
            meta = file.metadata
            if meta.num_rows != self.inventory.files[file_name(table.name)].rows:
                raise ArchiveError(
                    f"{self._path(table)} has {meta.num_rows:,} rows; the manifest says otherwise"
                )
            for group in range(meta.num_row_groups):
                size = meta.row_group(group).total_byte_size
                if size > _MOST_GROUP_BYTES:
                    most = f"at most {_MOST_GROUP_BYTES:,} are read"
                    raise ArchiveError(f"{self._path(table)} has a row group of {size:,} bytes; {most}")

    def _rows(self, table: Table) -> Iterator[tuple[str, Any]]:
        last: tuple[str, Any] | None = None
        for number, cells in enumerate(self._cells(table), start=1):
            try:
                run, record = table.record(cells)
            except (ValueError, TypeError, KeyError) as error:
                where = f"{self._path(table)}, row {number}"
                raise ArchiveError(f"{where}: {error}; get the archive again") from error
            here = (run, table.place(record))
            if last is not None and not last < here:
                raise ArchiveError(f"{self._path(table)}, row {number}: it is there twice, or not in order")
            last = here
            yield run, record

    def _cells(self, table: Table) -> Iterator[dict[str, Any]]:
        import pyarrow.parquet as pq

        columns_there = table.columns_of(self.inventory.schema)
        names = [column.name for column in columns_there]
        # As in the file, each text once: a few bytes may say one of megabytes again and again.
        words = [column.name for column in columns_there if column.cell in _WORDS]
        with ExitStack() as open_file:
            with boundary(f"{self._path(table)} cannot be read", ArchiveError):
                file = open_file.enter_context(pq.ParquetFile(self._path(table), read_dictionary=words))
                batches = file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
            while True:
                with boundary(f"{self._path(table)} cannot be read", ArchiveError):
                    batch = next(batches, None)
                    columns = [_plain(batch.column(name)) for name in names] if batch is not None else None
                if columns is None:
                    return
                for values in zip(*columns, strict=True):
                    yield dict(zip(names, values, strict=True))


# Writing


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
        self._schema = _schema(table, SCHEMA)
        self._cells: list[list[Any]] = [[] for _ in self._columns]
        self._bytes = 0
        self._batches: list[Any] = []
        self._group_bytes = 0
        self._writer = pq.ParquetWriter(
            folder / file_name(table.name),
            self._schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=[c.name for c in self._columns if c.cell in _WORDS] + _repeated(self._columns),
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
        if len(self._cells[0]) == _BATCH_ROWS or self._bytes >= _BATCH_BYTES:
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


# Types


def _pyarrow() -> None:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingComponent(
            "Parquet needs pyarrow; install it with pip install 'discovery-loop[export]'"
        ) from error


def _schema(table: Table, schema: int) -> Any:
    import pyarrow as pa

    def required(kind: Any) -> Any:
        return pa.field("element", kind, nullable=False)

    words = required(pa.string())
    message = pa.struct([pa.field(n, pa.string(), nullable=False) for n in ("role", "content")])
    types = {
        **dict.fromkeys(_WORDS, pa.string()),
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
    said = {_SCHEMA_KEY: str(schema), b"discovery.version": __version__, b"discovery.table": table.name}
    return pa.schema(fields, metadata=said)


def _plain(array: Any) -> list[Any]:
    """The cells of a column as plain values; instants as microseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(array.type):
        return list(array.cast(pa.int64()).to_pylist())
    if pa.types.is_dictionary(array.type):
        places = array.indices.to_pylist()
        texts = {place: array.dictionary[place].as_py() for place in set(places) if place is not None}
        return [texts.get(place) for place in places]
    return list(array.to_pylist())
