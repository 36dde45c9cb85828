"""Opening a storage by its URL."""

from __future__ import annotations

import os
from pathlib import Path

from discovery.errors import UnknownRun
from discovery.storage.base import Storage

ENVIRONMENT = "DISCOVERY_STORAGE"


def default_url() -> str:
    """Where runs are kept unless said: ``DISCOVERY_STORAGE``, else a file under the current folder."""
    return os.environ.get(ENVIRONMENT) or str(Path.cwd() / ".discovery" / "discovery.db")


def open_storage(url: str | None = None) -> Storage:
    """Open a storage, making or upgrading its schema as needed.

    Args:
        url: ``sqlite:///path``, ``postgresql://user@host/name``, a plain path of an SQLite file, or None for
            :func:`default_url`.

    Returns:
        A storage that is ready; close it when done.

    Raises:
        SchemaMismatch: A newer version of this package wrote the database.
        MissingComponent: PostgreSQL is asked for and its driver is not installed.
        StorageError: The URL is wrong, or the database cannot be reached, read or written.
    """
    from discovery.storage.rdb import RdbStorage

    return RdbStorage(url if url is not None else default_url())


def open_existing(url: str | None = None) -> Storage:
    """Open a storage for looking at what is in it, without making one where there is none.

    Args:
        url: As for :func:`open_storage`.

    Raises:
        UnknownRun: The SQLite file is not there, so no run is either.
        StorageError: As for :func:`open_storage`.
    """
    from discovery.storage.engine import parse_url

    parsed = parse_url(url if url is not None else default_url())
    if parsed.get_backend_name() == "sqlite" and not os.path.isfile(parsed.database or ""):  # noqa: PTH113 - no error for a name too long
        raise UnknownRun(
            f"no run is stored in {parsed.database}, which is not there; runs are made by "
            "`discovery run PROBLEM`, and those of another folder are reached with --storage"
        )
    return open_storage(url)
