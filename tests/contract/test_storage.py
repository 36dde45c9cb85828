"""The storage contract on SQLite and on a real PostgreSQL, and what several processes do to it."""

import dataclasses
import json as json_module
import shutil
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings

from discovery import records as r
from discovery.config import RunConfig, from_dict
from discovery.errors import SchemaMismatch, StorageError
from discovery.storage import schema
from discovery.storage.engine import Database, parse_url
from discovery.storage.models import metadata
from discovery.storage.rdb import RdbStorage
from discovery.testing import drawn
from discovery.testing.storage import WEIRD, StorageContract, append, full_step, make_run, start


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    if request.param == "postgres":
        return request.getfixturevalue("postgres")()
    return f"sqlite:///{tmp_path / 'discovery.db'}"


@pytest.fixture
def storage_factory(url):
    opened = []

    def make(*, clock=None):
        opened.append(RdbStorage(url, clock=clock))
        return opened[-1]

    yield make
    for storage in opened:
        storage.close()


class TestRdbStorage(StorageContract):
    pass


def test_migrations_give_the_tables(url, storage_factory):
    database = Database(parse_url(url))
    database.write(schema.upgrade)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert [d for d in compare_metadata(context, metadata) if "alembic_version" not in str(d)] == []
    database.close()
    storage = storage_factory()
    append(storage, start(storage)[0], *full_step())


@pytest.mark.postgres
def test_missing_database_is_told(postgres):
    socket = postgres().split("?")[1]
    with pytest.raises(StorageError, match="createdb nowhere"):
        RdbStorage(f"postgresql://tester@/nowhere?{socket}")


def test_a_database_of_an_older_version_reads_with_defaults(tmp_path):
    """It was written before repeats and suspicions were stored."""
    storage = RdbStorage(str(shutil.copy(OLD / "0001.db", tmp_path / "old.db")))
    (evaluation,) = (record for record in full_step() if isinstance(record, r.Evaluation) and record.score)
    score = dataclasses.replace(evaluation.score, samples=(), interval=None, exact=None)
    expected = dataclasses.replace(evaluation, score=score, suspicion=None, solution=None, source_read=False)
    (completion, *_) = (record for record in full_step() if isinstance(record, r.Completion))
    assert storage.step("run-1", 0, 1).completions[0] == dataclasses.replace(
        completion, prompt_token_ids=None, forced=None
    )
    assert storage.evaluations("run-1", evaluation.key) == [expected]
    assert storage.verifications("run-1") == []
    lease = storage.acquire("run-1", [-1], "me", 60.0)[0]
    audited = dataclasses.replace(evaluation, purpose=r.Purpose.AUDIT)
    append(storage, lease, audited)
    assert storage.evaluations("run-1", evaluation.key) == [expected, audited]
    storage.close()


@pytest.mark.postgres
def test_other_data_in_postgres_is_refused(postgres):
    url = postgres()
    database = Database(parse_url(url))
    database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE cats (name text)"))
    database.close()
    with pytest.raises(StorageError, match="cats"):
        RdbStorage(url)


# Databases of the version before, and processes of it that are still at work.

OLD = Path(__file__).parents[1] / "data" / "storage"


def _old_tables(connection):
    tables = sa.MetaData()
    tables.reflect(connection)
    return tables.tables


def _fill_old(database):
    """Bring a database to the first schema and copy into it what the stored one holds."""
    database.write(lambda connection: schema.upgrade(connection, "0001"))
    source = sa.create_engine(f"sqlite:///file:{OLD / '0001.db'}?mode=ro&immutable=1&uri=true")
    configuration = json_module.dumps(json_module.loads((OLD / "0001-configurations.json").read_text())[0])

    def copy(connection):
        with source.connect() as reading:
            for name, table in _old_tables(reading).items():
                rows = [
                    row for row in reading.execute(table.select()).mappings() if name != "alembic_version"
                ]
                if rows:
                    connection.execute(_old_tables(connection)[name].insert(), [dict(row) for row in rows])
        runs = _old_tables(connection)["runs"]
        connection.execute(runs.update().values(config=configuration.encode()))

    database.write(copy)
    source.dispose()


def test_an_older_database_is_upgraded_in_place_beside_a_process_that_uses_it(url, storage_factory):
    old = Database(parse_url(url))
    if old.is_sqlite:
        schema._set_wal(old)
    _fill_old(old)
    (completion, *_) = (record for record in full_step() if isinstance(record, r.Completion))
    with old.engine.connect() as connection:
        completions = _old_tables(connection)["completions"]
    with old.reading() as connection:
        (row,) = connection.execute(completions.select().where(completions.c.idx == 0)).mappings()
        if old.is_sqlite:  # PostgreSQL waits for whoever reads
            storage = storage_factory()
            assert len(connection.execute(completions.select()).all()) == 2
    storage = storage_factory()
    # The other process goes on as it knows the tables.
    old.write(lambda connection: connection.execute(completions.insert().values({**row, "idx": 2})))
    with old.reading() as connection:
        assert len(connection.execute(completions.select()).all()) == 3
    old.close()
    without = dataclasses.replace(completion, prompt_token_ids=None, forced=None)
    stored = storage.step("run-1", 0, 1).completions
    assert stored[0] == without
    assert stored[2] == dataclasses.replace(without, key=r.CandidateKey(0, 1, 2))
    config = from_dict(RunConfig, storage.get_run("run-1").config)
    assert (config.generator.base_url, config.generator.sampling.temperature) == (
        ("http://127.0.0.1:8000/v1",),
        0.7,
    )
    (lease,) = storage.acquire("run-1", [0], "me", 60.0)
    again = dataclasses.replace(completion, key=r.CandidateKey(0, 1, 3))
    append(storage, lease, again)
    assert storage.step("run-1", 0, 1).completions[3] == again


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE completions RENAME COLUMN text TO words", "ALTER TABLE completions RENAME TO spoken"],
)
def test_a_process_that_a_later_version_overtakes_is_told_so(url, storage_factory, change):
    storage = storage_factory()
    lease = start(storage)[0]
    later = Database(parse_url(url))
    later.write(lambda connection: connection.exec_driver_sql(change))
    later.close()
    with pytest.raises(SchemaMismatch, match="another version of this package upgraded it since; end this"):
        append(storage, lease, *full_step())


def test_token_ids_that_no_column_holds_are_refused(storage_factory):
    storage = storage_factory()
    lease = start(storage)[0]
    (completion, *_) = (record for record in full_step() if isinstance(record, r.Completion))
    with pytest.raises(StorageError, match=f"token id {2**63} is too large"):
        append(storage, lease, dataclasses.replace(completion, token_ids=(1, 2**63)))


# Property: whatever a record holds comes back.

KEY = r.CandidateKey(0, 1, 0)
any_evaluation = st.tuples(st.sampled_from(r.Purpose), st.integers(0, 5)).flatmap(
    lambda place: drawn.evaluations(KEY, *place, sandboxes=("one", WEIRD))
)


@pytest.fixture
def opened_once(storage_factory):
    return storage_factory()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn.steps(0, 1),
    drawn.prompts(0, 1),
    drawn.completions(KEY, id_bits=40, logprobs=st.floats(allow_nan=False)),
    drawn.candidates(KEY),
    drawn.consultations(0, 1, r.AdvicePurpose.RERANK),
    any_evaluation,
    drawn.announcements(),
    drawn.sandboxes,
    drawn.measurements,
)
def test_any_record_round_trips(
    opened_once, step, prompt, completion, candidate, asked, evaluation, announcement, sandbox, measured
):
    storage = opened_once
    run = f"run-{len(storage.list_runs())}"
    leases = start(storage, run)
    sandbox = dataclasses.replace(sandbox, id=f"{run} {sandbox.id}")
    append(storage, leases[-1], announcement, sandbox, *measured)
    append(storage, leases[-1], *measured)
    append(storage, leases[0], step, prompt, completion, candidate, asked, evaluation)
    # A second time, since an equal record must be recognised whatever it holds.
    append(storage, leases[0], step, prompt, completion, candidate, asked, evaluation)
    stored = storage.step(run, 0, 1)
    assert stored.step == step
    assert stored.prompt == prompt
    assert stored.completions == {0: completion}
    assert storage.candidate(run, candidate.key) == candidate
    assert storage.consultation(run, 0, 1, asked.purpose) == asked
    assert storage.evaluations(run, evaluation.key) == [evaluation]
    assert storage.announcements(run) == [announcement]
    assert storage.sandbox(sandbox.id) == sandbox
    assert storage.measurements(run) == sorted(measured, key=lambda m: m.at)
    storage.close()


# Several processes

_RACER = """
import random, sys, time
from discovery.storage.rdb import RdbStorage
from discovery.storage.base import Write
from discovery.testing.storage import make_scored
from discovery.records import CandidateKey
url, owner = sys.argv[1:]
storage = RdbStorage(url)
rng = random.Random(owner)
held, written = {}, []
print("ready", flush=True)
sys.stdin.readline()
deadline = time.time() + 30
turn = 0
while len(written) < 60 and time.time() < deadline:
    turn += 1
    for lease in storage.acquire("run-1", range(4), owner, 0.02):
        held[lease.chain] = lease
    for chain, lease in list(held.items()):
        # One place per turn and epoch, whoever writes it: two holders of one epoch would collide.
        key = CandidateKey(chain, lease.epoch, turn)
        if storage.append([Write(lease=lease, records=(make_scored(key, 1.0 if owner == "a" else 2.0),))]):
            del held[chain]
        else:
            written.append(str(key))
    # Sometimes long enough to lose what it holds.
    time.sleep(rng.choice([0.0, 0.002, 0.05]))
print(" ".join(written))
"""


def test_two_processes_never_hold_one_chain_in_one_epoch(url, storage_factory):
    """Each epoch of a chain has the writes of one process only, and all of them."""
    storage = storage_factory()
    storage.create_run(make_run())
    racers = {
        owner: subprocess.Popen(
            [sys.executable, "-c", _RACER, url, owner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for owner in "ab"
    }
    assert [racer.stdout.readline() for racer in racers.values()] == ["ready\n"] * 2
    for racer in racers.values():
        racer.stdin.write("go\n")
        racer.stdin.flush()
    written = {owner: set(racer.communicate(timeout=60)[0].split()) for owner, racer in racers.items()}
    assert all(racer.returncode == 0 for racer in racers.values())
    assert len(written["a"]) >= 60
    assert len(written["b"]) >= 60
    epochs = {owner: {key.rsplit(".", 1)[0] for key in keys} for owner, keys in written.items()}
    assert not epochs["a"] & epochs["b"]
    stored = dict(storage.scores("run-1"))
    assert {str(key) for key, score in stored.items() if score == 1.0} == written["a"]
    assert {str(key) for key, score in stored.items() if score == 2.0} == written["b"]


_OPENERS = """
import os, sys
# All is imported before the fork, so that what races is the making of the database.
from discovery.storage.rdb import RdbStorage
from discovery.testing.storage import make_run
waiting, go = os.pipe()
openers = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        os.close(go)
        os.read(waiting, 1)
        storage = RdbStorage(sys.argv[1])
        storage.create_run(make_run(f"run-{number}"))
        storage.close()
        os._exit(0)
    openers.append(pid)
os.close(go)
sys.exit(max(os.waitpid(pid, 0)[1] for pid in openers))
"""


def test_processes_may_make_one_database_at_once(url, storage_factory):
    done = subprocess.run([sys.executable, "-c", _OPENERS, url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert {run.id for run in storage_factory().list_runs()} == {f"run-{i}" for i in range(4)}
