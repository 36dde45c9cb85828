"""Opening: defaults, schemas of other versions, and everything that can be wrong with a database."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from discovery.budget import Budget, Prices
from discovery.config import GeneratorConfig, RunConfig, SamplingConfig, SearchConfig, from_dict
from discovery.errors import MissingComponent, SchemaMismatch, StorageError, StorageFull
from discovery.recorded import config_of
from discovery.records import AdvicePurpose, CandidateKey, RunStatus
from discovery.storage import open_storage, schema
from discovery.storage.base import Write
from discovery.storage.engine import Database, parse_url
from discovery.storage.models import HEAD, REVISIONS, metadata
from discovery.storage.rdb import RdbStorage
from discovery.testing.storage import (
    append,
    full_consultation,
    full_step,
    make_candidate,
    make_committed,
    make_consultation,
    make_measurement,
    make_run,
    make_step,
    start,
)

DATA = Path(__file__).parents[2] / "data" / "storage"


def test_default_is_a_file_under_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("DISCOVERY_STORAGE", raising=False)
    monkeypatch.chdir(tmp_path)
    open_storage().close()
    assert (tmp_path / ".discovery" / "discovery.db").is_file()


def test_environment_overrides_the_default_and_an_argument_both(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCOVERY_STORAGE", str(tmp_path / "env.db"))
    open_storage().close()
    open_storage(f"sqlite:///{tmp_path / 'url.db'}").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["env.db", "url.db"]


def test_opening_is_quick_and_loads_no_alembic(tmp_path):
    """CPU time of making a new database and opening it again, imports and a slow machine included."""
    script = (
        "import sys, time\n"
        "import discovery.storage\n"
        "assert 'sqlalchemy' not in sys.modules\n"
        "begun = time.process_time()\n"
        "for _ in range(2):\n"
        "    discovery.storage.open_storage(sys.argv[1]).close()\n"
        "assert 'alembic' not in sys.modules\n"
        "print(time.process_time() - begun)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.db")]
    times = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(2)
    ]
    assert min(times) < 1.0


def _schema(path):
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()
    connection.close()
    return [(kind, name, "".join(sql.split()) if sql else None) for kind, name, sql in rows]


def _columns(text):
    """Clauses of a CREATE TABLE in any order: the two ways write keys at different places."""
    return sorted(text.replace(")WITHOUT", ",)WITHOUT").split(",")) if text else None


def test_tables_and_migrations_give_one_schema(tmp_path):
    made, migrated = tmp_path / "made.db", tmp_path / "migrated.db"
    RdbStorage(str(made)).close()
    database = Database(parse_url(str(migrated)))
    database.write(schema.upgrade)
    with database.engine.connect() as connection:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert [d for d in compare_metadata(context, metadata) if "alembic_version" not in str(d)] == []
    database.close()
    one, two = _schema(made), _schema(migrated)
    assert [row[:2] for row in one] == [row[:2] for row in two]
    for (_, name, left), (_, _, right) in zip(one, two, strict=True):
        if name != "alembic_version":
            assert _columns(left) == _columns(right)
    assert RdbStorage(str(migrated)).list_runs() == []


def test_revisions_are_those_of_the_migrations():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    script = ScriptDirectory.from_config(config)
    assert tuple(reversed([revision.revision for revision in script.walk_revisions()])) == REVISIONS


@pytest.mark.parametrize("revision", REVISIONS)
def test_stored_databases_open_and_read(tmp_path, revision):
    path = tmp_path / "old.db"
    shutil.copy(DATA / f"{revision}.db", path)
    storage = RdbStorage(str(path))
    run = storage.get_run("run-1")
    if revision > "0001":  # whose configuration is made up
        assert config_of(run).search.duplicates == ("source" if revision < "0004" else "solution")
    assert (run.status, run.facts) == (RunStatus.STOPPED, {"version": "0.1.0"})
    stored = storage.step("run-1", 0, 1)
    step, prompt, completion, _, candidate, evaluation, failed = full_step()
    measured = [make_measurement(2, running=4.0, tokens_per_s=123.5)]
    if revision < "0003":  # exact scores came without a new revision, after those databases
        evaluation = replace(evaluation, score=replace(evaluation.score, exact=None))
    if revision == "0001":
        # Repeats and doubts came without a new revision, after this database.
        score = replace(evaluation.score, samples=(), interval=None)
        evaluation = replace(evaluation, score=score, suspicion=None)
        completion = replace(completion, prompt_token_ids=None, forced=None)
        measured = []
    if revision < "0004":
        candidate = replace(candidate, form=None)
        evaluation = replace(evaluation, solution=None, source_read=False)
    best = CandidateKey(0, 1, 0)
    assert stored.step == make_committed(step, best)
    assert (stored.prompt, stored.completions[0]) == (prompt, completion)
    assert (stored.candidates[0], stored.evaluations) == (candidate, {0: evaluation, 1: failed})
    assert storage.open_steps("run-1", 0)[0].step == make_step(0, 2)
    assert storage.counts("run-1").evaluations == 2
    assert storage.announcements("run-1")[0].key == best
    assert storage.measurements("run-1") == measured
    is_advised = revision >= "0003"
    asked = storage.consultation("run-1", 0, 1, AdvicePurpose.REFLECT)
    assert asked == (full_consultation() if is_advised else None)
    warm = storage.candidate("run-1", CandidateKey(0, 2, 0))
    assert (warm is not None and warm.warm_start == best) is is_advised
    (lease,) = storage.acquire("run-1", [0], "next", 60.0)
    append(storage, lease, make_committed(make_step(0, 2), None), make_consultation(2))
    assert len(list(storage.committed_steps("run-1", 0))) == 2
    storage.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [(HEAD,)]


def _set_configuration(path, config):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE runs SET config = ?", [json.dumps(config).encode()])


def test_configurations_of_the_first_schema_are_rewritten(tmp_path):
    """They were written by that version; a run of it can be resumed."""
    model, embedded = json.loads((DATA / "0001-configurations.json").read_text())
    read = []
    for config in (model, embedded):
        path = tmp_path / "old.db"
        shutil.copy(DATA / "0001.db", path)
        _set_configuration(path, config)
        storage = RdbStorage(str(path))
        read.append(from_dict(RunConfig, storage.get_run("run-1").config))
        storage.close()
    sampling = SamplingConfig(temperature=0.7, top_p=0.95, max_tokens=4096, extra={"top_k": 20})
    assert read[0] == RunConfig(
        problem="packing",
        seed=7,
        search=SearchConfig(chains=2),
        generator=GeneratorConfig(
            kind="openai",
            base_url=("http://127.0.0.1:8000/v1",),
            model="m",
            sampling=sampling,
            timeout_s=90.0,
        ),
        budget=Budget(max_evaluations=100),
        prices=Prices(prompt=1.0, completion=0.0),
    )
    assert read[1] == RunConfig(problem="packing")


def test_configuration_of_a_stored_run_still_loads(tmp_path):
    path = tmp_path / "old.db"
    shutil.copy(DATA / "0002.db", path)
    storage = RdbStorage(str(path))
    config = from_dict(RunConfig, storage.get_run("run-1").config)
    assert config.generator.base_url == ("http://one/v1", "http://two/v1")
    storage.close()


def test_newer_schema_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "new.db"
    RdbStorage(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SchemaMismatch, match=rf"9999.*{HEAD}.*pip install -U"):
        RdbStorage(str(path))
    assert path.read_bytes() == before


def test_other_data_is_refused(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE cats (name)")
    connection.close()
    with pytest.raises(StorageError, match="cats"):
        RdbStorage(str(path))


def test_not_a_database_is_refused(tmp_path):
    path = tmp_path / "text.db"
    path.write_text("these are notes, not a database\n" * 100)
    with pytest.raises(StorageError, match=r"text\.db is not an SQLite database"):
        RdbStorage(str(path))


def test_folder_is_refused(tmp_path):
    with pytest.raises(StorageError, match="is a folder"):
        RdbStorage(str(tmp_path))


def test_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot be made.*--storage"):
        RdbStorage(str(tmp_path / "file" / "deeper" / "a.db"))


@pytest.fixture
def locked_folder():
    """A folder that others may read; pytest's own let no other user through."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    yield folder
    shutil.rmtree(folder)


def test_folder_without_permission_is_refused(locked_folder):
    path = locked_folder / "a.db"
    script = (
        "import os, sys\n"
        "from discovery.errors import StorageError\n"
        "from discovery.storage.rdb import RdbStorage\n"
        "import sqlalchemy.dialects.sqlite.pysqlite\n"
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        "try: RdbStorage(sys.argv[1])\n"
        "except StorageError as error: print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(path)], check=True, capture_output=True, text=True
    ).stdout
    assert "cannot be opened for writing" in told
    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://me:hunter2@host/x", "mysql"),
        ("sqlite://", "no plain file"),
        ("sqlite:///:memory:", "no plain file"),
        ("postgresql://me:hunter2@host:port/x", "cannot be read"),
        ("nonsense://me:hunter2@", "sqlite and postgresql"),
    ],
)
def test_bad_urls_are_refused_without_their_password(url, told):
    with pytest.raises(StorageError, match=told) as caught:
        open_storage(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?user=me&password=hunter2",
        "postgres://me:hunter2@127.0.0.1:1/x?connect_timeout=2",
    ],
)
def test_unreachable_server_is_told_without_the_password(url):
    with pytest.raises(StorageError, match="cannot reach storage") as caught:
        open_storage(url)
    assert "hunter2" not in str(caught.value)
    assert "check that PostgreSQL runs" in str(caught.value)


def test_missing_driver_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingComponent, match=r"pip install 'discovery-loop\[postgres\]'"):
        open_storage("postgresql://me:hunter2@127.0.0.1:1/x")


def _fill(storage, lease):
    """Append until it fails; gives the steps that were acknowledged and the error."""
    done = []
    for number in range(1, 5000):
        key = CandidateKey(0, number, 0)
        source = os.urandom(3000).hex()
        write = Write(lease=lease, records=(make_step(0, number), make_candidate(key, source)))
        try:
            assert storage.append([write]) == []
        except StorageError as error:
            return done, error
        done.append((number, source))
    raise AssertionError("the disk never filled")


def _check_whole(path, done):
    """Exactly what was acknowledged is there, and the file is sound."""
    storage = RdbStorage(str(path))
    for number, source in done:
        assert storage.candidate("run-1", CandidateKey(0, number, 0)).source == source
    assert storage.step("run-1", 0, len(done) + 1) is None
    assert storage.candidate("run-1", CandidateKey(0, len(done) + 1, 0)) is None
    storage.close()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_full_database_is_told_and_left_whole(tmp_path):
    path = tmp_path / "a.db"
    storage = RdbStorage(str(path))

    @sa.event.listens_for(storage._db.engine, "connect")
    def limit(connection, _record):
        connection.execute("PRAGMA max_page_count=200")

    storage._db.close()
    done, error = _fill(storage, start(storage)[0])
    assert isinstance(error, StorageFull)
    assert "a.db" in str(error)
    assert "free space" in str(error)
    assert done
    storage.close()
    _check_whole(path, done)


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 2 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("this user may not mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_full_disk_is_told_and_left_whole(small_disk):
    path = small_disk / "a.db"
    storage = RdbStorage(str(path))
    done, error = _fill(storage, start(storage)[0])
    assert isinstance(error, StorageFull)
    assert len(done) > 20
    assert storage.candidate("run-1", CandidateKey(0, 1, 0)).source == done[0][1]
    storage.close()
    _check_whole(path, done)


def test_opening_on_a_full_disk_is_told(small_disk):
    (small_disk / "ballast").write_bytes(b"x" * (2 << 20))
    with pytest.raises(StorageFull):
        RdbStorage(str(small_disk / "a.db"))


def test_a_second_run_id_is_refused_across_processes(tmp_path):
    one, two = RdbStorage(str(tmp_path / "a.db")), RdbStorage(str(tmp_path / "a.db"))
    one.create_run(make_run())
    with pytest.raises(StorageError, match="stored already"):
        two.create_run(make_run())
    one.close()
    two.close()


def test_locked_database_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("discovery.storage.engine.BUSY_S", 0.05)
    path = tmp_path / "a.db"
    storage = RdbStorage(str(path))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked by another process"):
        storage.create_run(make_run())
    other.execute("ROLLBACK")
    other.close()
    storage.create_run(make_run())
    storage.close()
