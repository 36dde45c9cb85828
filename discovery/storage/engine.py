"""One database: its connections, its transactions, and its errors in our words.

SQLite runs in WAL mode with ``synchronous=NORMAL``: a killed process loses nothing that was committed, a
power cut may lose the last moments. A writer takes the write lock at once (``BEGIN IMMEDIATE``), since a read
transaction that turns into a writing one cannot wait for the lock. Reads see one snapshot on both databases.

No message holds a password, and none holds the values of a statement, which are prompts and programs.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from discovery.errors import MissingComponent, SchemaMismatch, StorageError, StorageFull

T = TypeVar("T")

BUSY_S = 30.0
"""How long a writer waits for another process's transaction, in seconds."""

_CONNECT_S = 10
_LOW_BYTES = 1 << 20
_RETRIES = 5
_WRITES = "discovery_writes"
_MISSING = re.compile(r"no such (table|column)|has no column named")


def parse_url(text: str) -> URL:
    """A database URL, or a plain path of an SQLite file, as a URL with a driver that we support.

    Args:
        text: ``sqlite:///path``, ``postgresql://user:password@host/name``, or a path.

    Raises:
        StorageError: It is none of those.
    """
    if "://" not in text and not text.startswith(("sqlite:", "postgres")):
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        # The parser's own message quotes the URL, password and all.
        raise StorageError(
            "the storage URL cannot be read; give sqlite:///path/to/file.db, "
            "postgresql://user@host/name, or a path"
        ) from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:" or url.query:
            raise StorageError(
                f"the storage URL {shown(url)} names no plain file; give sqlite:///path/to/file.db"
            )
        return url.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise StorageError(
        f"the storage URL {shown(url)} is for {backend!r}; sqlite and postgresql are supported"
    )


def shown(url: URL) -> str:
    """A URL for messages: passwords, in the query as well, are replaced."""
    secrets = {name: "***" for name in url.query if "pass" in name.lower()}
    hidden = url.update_query_dict(secrets) if secrets else url
    return hidden.render_as_string(hide_password=True)


class Database:
    """Connections to one database; safe to use from several threads.

    Args:
        url: From :func:`parse_url`.
        clock: Seconds since 1970, for leases; None takes this machine's clock on SQLite, where all writers
            share it, and the server's on PostgreSQL.

    Raises:
        MissingComponent: The driver of PostgreSQL is not installed.
    """

    def __init__(self, url: URL, clock: Callable[[], float] | None = None) -> None:
        self.url = url
        self.name = shown(url)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._clock = clock or (time.time if self.is_sqlite else None)
        # Threads queue here rather than in SQLite's busy handler, which sleeps between tries.
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        try:
            self.engine = self._create_engine()
        except ModuleNotFoundError as error:
            raise MissingComponent(
                f"storage {self.name} needs psycopg; install it with pip install 'discovery-loop[postgres]'"
            ) from error
        self._reader = (
            self.engine
            if self.is_sqlite
            else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._writer = self.engine.execution_options(**{_WRITES: True})

    def _create_engine(self) -> Engine:
        if not self.is_sqlite:
            return sa.create_engine(
                self.url,
                hide_parameters=True,
                pool_pre_ping=True,
                connect_args={"connect_timeout": _CONNECT_S},
            )
        engine = sa.create_engine(
            self.url,
            hide_parameters=True,
            connect_args={"timeout": BUSY_S, "check_same_thread": False},
        )
        sa.event.listen(engine, "connect", _configure)
        sa.event.listen(engine, "begin", _begin)
        return engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one snapshot.

        Raises:
            StorageError: The database failed.
        """
        with self.errors(), self._reader.begin() as connection:
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run work in one writing transaction, again when PostgreSQL chose it as the victim of a deadlock.

        Args:
            work: Gets the connection; may run more than once.

        Raises:
            StorageFull: No room; nothing was written.
            StorageError: The database failed; nothing was written.
        """
        with self.errors(), self._turn:
            for tries_left in reversed(range(_RETRIES)):
                try:
                    with self._writer.begin() as connection:
                        return work(connection)
                except DBAPIError as error:
                    state = getattr(error.orig, "sqlstate", None) or ""
                    if not tries_left or not state.startswith("40"):
                        raise
        raise AssertionError("unreachable")

    def now(self, connection: Connection) -> int:
        """The time by the clock of leases, in microseconds since 1970."""
        if self._clock is not None:
            return int(self._clock() * 1e6)
        seconds = connection.exec_driver_sql(
            "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
        ).scalar_one()
        return int(seconds)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the database and its driver raise into our errors.

        Raises:
            StorageFull: No room left.
            StorageError: Anything else.
        """
        try:
            yield
        except DBAPIError as error:
            raise self._translate(error) from error
        except SQLAlchemyError as error:
            raise StorageError(f"storage {self.name}: {self._scrub(str(error))}") from error
        except OverflowError as error:
            raise StorageError(f"a number is too large to be stored: {error}") from error

    def _translate(self, error: DBAPIError) -> StorageError:
        original = error.orig
        text = self._scrub(" ".join(str(original).split()))
        if isinstance(original, sqlite3.Error):
            return self._translate_sqlite(getattr(original, "sqlite_errorname", ""), text)
        state = getattr(original, "sqlstate", None) or ""
        if state in ("42P01", "42703", "23502"):
            return self._mismatch(text)
        if state == "53100":
            return StorageFull(f"storage {self.name} is full, nothing was written; free space there: {text}")
        # What the server says while connecting comes without a code.
        if state == "3D000" or f'database "{self.url.database}" does not exist' in text:
            return StorageError(
                f"PostgreSQL has no database {self.url.database!r}; "
                f"make it with: createdb {self.url.database}"
            )
        lost = isinstance(error, OperationalError) and not state
        if lost or state.startswith(("08", "28", "57P")):
            return StorageError(
                f"cannot reach storage {self.name}; check that PostgreSQL runs there "
                f"and lets this user in: {text}"
            )
        return StorageError(f"storage {self.name}: {text}")

    def _translate_sqlite(self, code: str, text: str) -> StorageError:
        path = self.url.database
        if code == "SQLITE_FULL" or (code.startswith("SQLITE_IOERR") and self._is_disk_full()):
            return StorageFull(f"no room left for {path}, nothing was written; free space on its disk")
        if code == "SQLITE_NOTADB":
            return StorageError(f"{path} is not an SQLite database; give another file with --storage")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return StorageError(
                f"{path} was locked by another process for {BUSY_S:g} s; end the process that holds it"
            )
        if code.startswith("SQLITE_CORRUPT"):
            return StorageError(f"{path} is damaged ({text}); restore it from a copy")
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
            return StorageError(
                f"{path} cannot be opened for writing ({text}); check the folder and its permissions"
            )
        if code == "SQLITE_CONSTRAINT_NOTNULL" or _MISSING.search(text):
            return self._mismatch(text)
        return StorageError(f"{path}: {text}")

    def _mismatch(self, text: str) -> SchemaMismatch:
        """What was there when the database was opened is not as it was."""
        return SchemaMismatch(
            f"storage {self.name} has other tables than when it was opened ({text}): another version of this "
            "package upgraded it since; end this process, and go on with that version"
        )

    def _is_disk_full(self) -> bool:
        try:
            free = shutil.disk_usage(Path(str(self.url.database)).absolute().parent).free
        except OSError:
            return False
        return free < _LOW_BYTES

    def _scrub(self, text: str) -> str:
        passwords = [self.url.password or ""]
        passwords += [str(v) for name, v in self.url.query.items() if "pass" in name.lower()]
        for password in filter(None, passwords):
            for form in {password, quote(password, safe=""), quote_plus(password)}:
                text = text.replace(form, "***")
        return text

    def close(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()


def _configure(connection: Any, _record: object) -> None:
    # The driver's own transaction control begins too late and commits too early; _begin does it instead.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA cache_size=-8192")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
