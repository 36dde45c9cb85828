"""What the tests of all folders here share."""

import functools
import gc
import ssl

import pytest
import sqlalchemy as sa

from discovery.storage import writing
from discovery.storage.engine import Database
from discovery.testing.hosts import forked_hosts


@pytest.fixture(scope="session", autouse=True)
def _forked():
    """Scorers' hosts are forked, where hundreds of interpreters would start. ``test_scoring.py`` starts some."""
    with forked_hosts():
        yield


@pytest.fixture(scope="session", autouse=True)
def _compiled_once():
    """Storages share what was compiled: each would compile the same statements, of which a process needs them once.

    Contract and integration tests compile for each storage.
    """
    shared = sa.create_engine("sqlite://")
    with shared.connect():
        pass  # its dialect learns of the driver what it has to know
    create_engine = Database._create_engine

    def created(database):
        engine = create_engine(database)
        if database.is_sqlite:
            engine.dialect, engine._compiled_cache = shared.dialect, shared._compiled_cache
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "_create_engine", created)
        patch.setattr(writing, "Appender", functools.cache(writing.Appender))
        yield
    shared.dispose()


@pytest.fixture(scope="session", autouse=True)
def _authorities_read_once():
    """Each client of a model server reads all certificate authorities; those of the tests ask without encryption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _seldom_cleaned():
    """Garbage is looked for less often than for every 700 objects that are new, as in a program that keeps few."""
    usual = gc.get_threshold()
    gc.set_threshold(20_000, *usual[1:])
    yield
    gc.set_threshold(*usual)
