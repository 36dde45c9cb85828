"""Our own full Parquet: everything that is stored of runs, in a folder of files; here it is read.

Written a row at a time into row groups of bounded size, so memory stays flat. Equal runs give equal bytes, as long as
this package and pyarrow are of the same versions: rows are sorted, and nothing of the time or the machine is added. A
run that is still going on is archived as a process that died at that moment would have left it, with planned steps and
running evaluations, so a copy resumes as after a crash.

Reading trusts nothing: hashes, schemas, types, the order of rows, and every value are checked, and no row group larger
than any of ours is loaded. Nothing of an archive is ever executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from discovery.errors import ArchiveError, boundary
from discovery.records import RunStatus, SandboxRecord
from discovery.storage.base import RunRecord
from discovery.trajectories.archiving import write_archive as write_archive
from discovery.trajectories.columns import Table
from discovery.trajectories.inventory import file_name, read_inventory
from discovery.trajectories.parquet import (
    BATCH_ROWS,
    SCHEMA_KEY,
    WORDS,
    arrow_schema,
    plain_values,
    require_pyarrow,
)
from discovery.trajectories.tables import RUNS, SANDBOXES, tables_of

_MOST_GROUP_BYTES = 512 << 20  # of a row group that is read


def read_archive(folder: Path | str) -> Archive:
    """Open an archive: its files are compared with their hashes, and their schemas with ours.

    Raises:
        ArchiveError: It is not whole, or none of ours.
        MissingComponent: pyarrow is not installed.
    """
    require_pyarrow()
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
            found, expected = file.schema_arrow, arrow_schema(table, schema)
            if not found.equals(expected):
                odd = [f.name for f in expected if f.name not in found.names or found.field(f.name) != f]
                raise ArchiveError(
                    f"{self._path(table)} has other columns than schema {schema} ({', '.join(odd) or 'more of them'}); "
                    "get the archive again"
                )
            if (found.metadata or {}).get(SCHEMA_KEY) != str(schema).encode():
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
        words = [column.name for column in columns_there if column.cell in WORDS]
        with ExitStack() as open_file:
            with boundary(f"{self._path(table)} cannot be read", ArchiveError):
                file = open_file.enter_context(pq.ParquetFile(self._path(table), read_dictionary=words))
                batches = file.iter_batches(batch_size=BATCH_ROWS, use_threads=False)
            while True:
                with boundary(f"{self._path(table)} cannot be read", ArchiveError):
                    batch = next(batches, None)
                    columns = (
                        [plain_values(batch.column(name)) for name in names] if batch is not None else None
                    )
                if columns is None:
                    return
                for values in zip(*columns, strict=True):
                    yield dict(zip(names, values, strict=True))
