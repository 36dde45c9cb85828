"""What the tests of all folders here share, and no others: each module's end undoes it."""

import functools
import gc
import ssl

import pytest
import sqlalchemy as sa

from discovery.storage import writing
from discovery.storage.engine import Database


@pytest.fixture(scope="module", autouse=True)
def _forked(host_template):
    """Scorers' hosts are forked. ``test_scoring.py`` starts some as a run does."""
    with host_template.in_use():
        yield


@pytest.fixture(scope="session")
def _compiled():
    """An engine that has learnt of SQLite's driver what it has to know, and all statements that were compiled."""
    engine = sa.create_engine("sqlite://")
    engine.connect().close()
    yield engine, functools.cache(writing.Appender)
    engine.dispose()


@pytest.fixture(scope="module", autouse=True)
def _compiled_once(_compiled):
    """Storages share what was compiled: each would compile the same statements, of which a process needs them once."""
    shared, appender = _compiled
    create_engine = Database._create_engine

    def created(database):
        engine = create_engine(database)
        if database.is_sqlite:
            engine.dialect, engine._compiled_cache = shared.dialect, shared._compiled_cache
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Database, "_create_engine", created)
        patch.setattr(writing, "Appender", appender)
        yield


_read_once = functools.cache(ssl.create_default_context)


@pytest.fixture(scope="module", autouse=True)
def _authorities_read_once():
    """Each client of a model server reads all certificate authorities; those of the tests ask without encryption."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", _read_once)
        yield


@pytest.fixture(scope="module", autouse=True)
def _seldom_cleaned():
    """Garbage is looked for less often than for every 700 objects that are new, as in a program that keeps few."""
    usual = gc.get_threshold()
    gc.set_threshold(20_000, *usual[1:])
    yield
    gc.set_threshold(*usual)
