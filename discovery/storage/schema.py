"""Making, checking and upgrading the schema when a database is opened.

Two ways lead to a current schema, and a test holds them equal: a new database is made from the tables at once
and stamped, an old one goes through the Alembic revisions in ``migrations``. Alembic is loaded for the second
way only; it takes longer to import than everything else here takes to run.
"""

from __future__ import annotations

import sqlite3
import time
from importlib import resources
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from discovery.errors import SchemaMismatch, StorageError
from discovery.storage.engine import BUSY_S, Database
from discovery.storage.models import HEAD, REVISIONS, metadata

_VERSION = sa.Table(
    "alembic_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), primary_key=True),
)
# Any constant does; it names the lock that PostgreSQL openers take turns by.
_LOCK = 0x64697363


def prepare(database: Database) -> None:
    """Bring a database to the current schema: make it, upgrade it, or refuse it.

    Raises:
        SchemaMismatch: A newer version of this package wrote it.
        StorageError: It cannot be opened, or holds something else.
    """
    if database.is_sqlite:
        _make_folder(database)
    with database.errors():
        with database.engine.connect() as connection:
            current = _revision(connection, database) == HEAD
        if current:
            return
        if database.is_sqlite:
            _set_wal(database)
    database.write(lambda connection: _create_or_upgrade(connection, database))


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the revisions up to the given one, in the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files("discovery.storage") / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def create(connection: Connection) -> None:
    """Make the current schema in an empty database and stamp it."""
    metadata.create_all(connection, checkfirst=False)
    _VERSION.create(connection)
    connection.execute(_VERSION.insert().values(version_num=HEAD))


def _create_or_upgrade(connection: Connection, database: Database) -> None:
    if not database.is_sqlite:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    revision = _revision(connection, database)
    if revision is None:
        create(connection)
    elif revision != HEAD:
        upgrade(connection)


def _revision(connection: Connection, database: Database) -> str | None:
    """The revision of a database, None for an empty one."""
    tables = set(sa.inspect(connection).get_table_names())
    if not tables:
        return None
    ours = _VERSION.name in tables and "runs" in tables
    revision = connection.execute(sa.select(_VERSION.c.version_num)).scalar() if ours else None
    if revision is None:
        raise StorageError(
            f"storage {database.name} holds other data (tables {', '.join(sorted(tables)[:3])}); "
            "give an empty or a new one"
        )
    if revision not in REVISIONS:
        raise SchemaMismatch(
            f"storage {database.name} has schema {revision}, this version knows {HEAD} at most; "
            "upgrade with pip install -U discovery-loop, or give another storage"
        )
    return str(revision)


def _make_folder(database: Database) -> None:
    path = Path(str(database.url.database))
    try:
        if path.is_dir():
            raise StorageError(f"{path} is a folder; give a file in it, as {path / 'discovery.db'}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.exists()  # says here whether the name is one that a file can have
    except OSError as error:
        raise StorageError(
            f"{path} cannot be made ({error.strerror}); give another place with --storage"
        ) from error


def _set_wal(database: Database) -> None:
    # The change needs the file for itself and does not wait for it as a transaction does; another process may
    # be making the same new database right now.
    deadline = time.monotonic() + BUSY_S
    with database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        while True:
            try:
                driver.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
                if not busy or time.monotonic() > deadline:
                    raise DBAPIError("PRAGMA journal_mode", None, error) from error
            time.sleep(0.01)
