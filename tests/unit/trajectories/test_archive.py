"""An archive holds what is stored, as what reads Parquet expects it, or is not there at all."""

import dataclasses
import json
import math
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from discovery.errors import ArchiveError, DataError, MissingComponent, UnknownRun, UsageError
from discovery.records import (
    INITIAL,
    Announcement,
    CandidateKey,
    Completion,
    Evaluation,
    EvaluationState,
    ModelIdentity,
    Purpose,
    RunStatus,
    SandboxRecord,
)
from discovery.storage import open_storage
from discovery.testing.storage import (
    START,
    WEIRD,
    append,
    full_consultation,
    full_step,
    make_candidate,
    make_committed,
    make_completion,
    make_measurement,
    make_run,
    make_scored,
    make_step,
    start,
)
from discovery.trajectories import archive, archiving
from discovery.trajectories.advice_table import CONSULTATIONS
from discovery.trajectories.archive import read_archive, write_archive
from discovery.trajectories.attempt_tables import EVALUATIONS
from discovery.trajectories.tables import OF_RUNS, SCHEMA, TABLES

pq = pytest.importorskip("pyarrow.parquet")

KEY = CandidateKey(0, 1, 0)
LOGPROBS = (None, -0.1, 0.0, -1e-300)


def fitting(record):
    """The fullest record, but for what no model says: ids of 33 bits, and a probability of zero for what was drawn."""
    if isinstance(record, Completion) and record.token_ids:
        return dataclasses.replace(
            record, token_ids=(0, 151643, 2**31 - 1, 7), logprobs=LOGPROBS, prompt_token_ids=(1, 2)
        )
    return record


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    leases = start(opened)
    append(opened, leases[0], *map(fitting, full_step()), full_consultation(), make_step(0, 2))
    running = Evaluation(key=CandidateKey(0, 2, 0), state=EvaluationState.RUNNING, started_at=START)
    append(opened, leases[0], make_candidate(running.key, "open"), running)
    scored = make_scored(KEY, 2.0)
    append(
        opened,
        leases[-1],
        make_candidate(INITIAL, "x"),
        make_scored(INITIAL, 0.0),
        dataclasses.replace(scored, purpose=Purpose.VERIFY),
        dataclasses.replace(scored, purpose=Purpose.AUDIT, attempt=1),
        Announcement(key=KEY, score=2.0, evaluations=3, announced_at=START),
        make_measurement(1, evaluations=3, busy=0.5),
        SandboxRecord(
            id="bubblewrap-1", backend="bubblewrap", properties={"network": True}, details={"v": "1"}
        ),
        SandboxRecord(id="elsewhere", backend="docker", properties={}),
    )
    yield opened
    opened.close()


def column(folder, table, name):
    return pq.read_table(folder / f"{table}.parquet").column(name).to_pylist()


def test_everything_is_read_back(storage, tmp_path):
    write_archive(tmp_path / "out", storage, ["run-1"])
    archive = read_archive(tmp_path / "out")
    assert archive.runs() == [storage.get_run("run-1")]
    with storage.snapshot("run-1") as snapshot:
        for table in OF_RUNS:
            stored = list(table.stored(snapshot))
            assert stored, table.name
            assert list(archive.records(table)) == [("run-1", record) for record in stored]
    assert archive.sandboxes() == [storage.sandbox("bubblewrap-1")]


OLD = Path(__file__).parents[2] / "data" / "archive"


@pytest.mark.parametrize("schema", sorted(path.name for path in OLD.iterdir() if path.is_dir()))
def test_an_archive_of_an_older_schema_is_read(schema):
    archive = read_archive(OLD / schema)
    assert archive.inventory.schema == int(schema)
    found = {record.key: record for _, record in archive.records(EVALUATIONS)}
    _, _, _, _, _, scored, _ = full_step()
    if int(schema) < 2:
        scored = dataclasses.replace(scored, score=dataclasses.replace(scored.score, exact=None))
    if int(schema) < 4:
        scored = dataclasses.replace(scored, solution=None, source_read=False)
    assert found[KEY] == scored
    asked = [record for _, record in archive.records(CONSULTATIONS)]
    assert asked == ([full_consultation()] if int(schema) >= 3 else [])
    there = {table.name for table in OF_RUNS if list(archive.records(table))}
    assert there >= {"steps", "candidates", "evaluations", "announcements"}


def test_an_exact_score_is_a_decimal(storage, tmp_path):
    write_archive(tmp_path / "out", storage, ["run-1"])
    assert column(tmp_path / "out", "evaluations", "exact_score")[1] == "0.30000000000000004441"
    _, _, _, _, _, scored, _ = full_step()
    row = EVALUATIONS.row("run-1", scored)
    with pytest.raises(ValueError, match="no decimal"):
        EVALUATIONS.record({**row, "exact_score": "the best"})


def test_unknown_is_null_and_never_zero_or_empty(storage, tmp_path):
    write_archive(tmp_path / "out", storage, ["run-1"])
    out = tmp_path / "out"
    assert column(out, "completions", "text")[1] is None
    assert column(out, "completions", "logprobs") == [list(LOGPROBS), []]
    assert column(out, "completions", "cached_tokens") == [None, None]
    assert column(out, "completions", "reasoning_tokens") == [0, None]
    assert column(out, "completions", "is_counted") == [True, True]
    assert column(out, "completions", "forced_from") == [1, 0]
    assert column(out, "steps", "messages")[1] is None
    assert column(out, "steps", "messages")[0][0] == {"role": "system", "content": "Improve it."}
    assert column(out, "steps", "best_after") == [None, None]
    scores = dict(zip(column(out, "evaluations", "state"), column(out, "evaluations", "score"), strict=True))
    assert (scores["running"], scores["failed"]) == (None, None)
    assert json.loads(column(out, "evaluations", "metrics")[1]) == {"zulu": 1, "alpha": 2.5}
    assert column(out, "evaluations", "artifact")[0] is None
    assert column(out, "evaluations", "started_at")[1] == START


def test_odd_text_is_legible_and_kept(storage, tmp_path):
    write_archive(tmp_path / "out", storage, ["run-1"])
    shown = column(tmp_path / "out", "completions", "text")[0]
    assert (
        shown
        == WEIRD.replace("\ud800", "\ufffd").replace("\ud83d", "\ufffd").replace("\ude00", "\ufffd") * 10
    )
    assert column(tmp_path / "out", "completions", "exact")[1] is None


def test_schema_and_manifest(storage, tmp_path):
    inventory = write_archive(tmp_path / "out", storage, ["run-1"])
    said = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (said["format"], said["schema"], said["id"], said["runs"]) == (
        "parquet",
        SCHEMA,
        inventory.id,
        ["run-1"],
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "manifest.json",
        *(f"{table.name}.parquet" for table in TABLES),
    }
    file = pq.ParquetFile(tmp_path / "out" / "completions.parquet")
    assert file.schema_arrow.metadata[b"discovery.schema"] == str(SCHEMA).encode()
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert types["token_ids"] == "list<element: int32 not null>"
    assert types["logprobs"] == "list<element: double>"
    assert types["created_at"] == "timestamp[us, tz=UTC]"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_equal_runs_give_equal_bytes_wherever_rows_are_cut(storage, tmp_path, monkeypatch):
    append(storage, _lease(storage), *_many())
    first = write_archive(tmp_path / "a", storage, ["run-1"])
    assert write_archive(tmp_path / "b", storage, ["run-1", "run-"]) == first
    for path in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes()
    monkeypatch.setattr(archiving, "_GROUP_BYTES", 20_000)
    write_archive(tmp_path / "c", storage, ["run-1"])
    assert pq.ParquetFile(tmp_path / "c" / "completions.parquet").num_row_groups > 2
    assert pq.ParquetFile(tmp_path / "a" / "completions.parquet").num_row_groups == 1
    for table in OF_RUNS:
        assert list(read_archive(tmp_path / "c").records(table)) == list(
            read_archive(tmp_path / "a").records(table)
        )
    monkeypatch.setattr(archive, "_MOST_GROUP_BYTES", 20_000)
    with pytest.raises(ArchiveError, match="row group of"):
        read_archive(tmp_path / "a")


def _lease(storage):
    return storage.acquire("run-1", [1], "owner", 60.0)[0]


def _many():
    keys = [CandidateKey(1, 1, index) for index in range(300)]
    return (make_step(1, 1), *(make_completion(key, f"said {key} " * 50) for key in keys))


def test_a_large_batch_is_cut_early(storage, tmp_path, monkeypatch):
    """A few records of megabytes each are not gathered until there are a hundred."""
    append(storage, _lease(storage), *_many())
    monkeypatch.setattr(archiving, "_BATCH_BYTES", 1000)
    monkeypatch.setattr(archiving, "_GROUP_BYTES", 1)
    write_archive(tmp_path / "out", storage, ["run-1"])
    assert pq.ParquetFile(tmp_path / "out" / "completions.parquet").num_row_groups > 100


def test_a_run_that_goes_on_is_as_a_crash_would_have_left_it(storage, tmp_path):
    """What is written while the archive is, is in it whole or not at all."""
    lease = storage.acquire("run-1", [0], "owner", 60.0)[0]
    snapshot_of = storage.snapshot

    class Meanwhile:
        def __getattr__(self, name):
            return getattr(storage, name)

        def snapshot(self, run):
            @contextmanager
            def taken():
                with snapshot_of(run) as snapshot:
                    step = make_step(0, 2)
                    append(storage, lease, make_committed(step, None), make_step(0, 3))
                    append(storage, lease, make_completion(CandidateKey(0, 3, 0)))
                    yield snapshot

            return taken()

    write_archive(tmp_path / "out", Meanwhile(), ["run-1"])
    assert column(tmp_path / "out", "steps", "step") == [1, 2]
    assert column(tmp_path / "out", "steps", "state") == ["planned", "planned"]
    assert set(column(tmp_path / "out", "completions", "step")) == {1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logprobs": (math.nan,)}, r"completions of run run-1 at 1\.1\.0 .*logprobs.*not finite"),
        ({"logprobs": (None, -math.inf)}, "logprobs.*not finite"),
        ({"token_ids": (2**31,)}, "token_ids.*2147483648"),
    ],
)
def test_what_cannot_be_archived_is_refused_by_its_place(storage, tmp_path, change, message):
    said = make_completion(CandidateKey(1, 1, 0))
    append(storage, _lease(storage), make_step(1, 1), dataclasses.replace(said, **change))
    with pytest.raises(DataError, match=message):
        write_archive(tmp_path / "out", storage, ["run-1"])
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("runs.db")] == []


def test_misuse_is_told_and_makes_nothing(storage, tmp_path, monkeypatch):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        write_archive(tmp_path / "full", storage, ["run-1"])
    with pytest.raises(UnknownRun, match="run-9"):
        write_archive(tmp_path / "out", storage, ["run-9"])
    with pytest.raises(UsageError, match="no run was named"):
        write_archive(tmp_path / "out", storage, [])
    with pytest.raises(UsageError, match="cannot be written"):
        write_archive("/proc/out", storage, ["run-1"])
    storage.create_run(dataclasses.replace(make_run("half"), status=RunStatus.ARRIVING))
    with pytest.raises(UsageError, match="half has not arrived whole"):
        write_archive(tmp_path / "out", storage, ["run-1", "half"])
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingComponent, match=r"discovery-loop\[export\]"):
        write_archive(tmp_path / "out", storage, ["run-1"])
    assert not (tmp_path / "out").exists()


def test_no_environment_gets_in(storage, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    said = dataclasses.replace(
        make_completion(CandidateKey(1, 1, 0)),
        model=ModelIdentity(generator="openai", model="m"),
        created_at=START + timedelta(seconds=1),
    )
    append(storage, _lease(storage), make_step(1, 1), said)
    write_archive(tmp_path / "out", storage, ["run-1"])
    for path in (tmp_path / "out").glob("*.parquet"):
        assert "very-secret" not in str(pq.read_table(path).to_pylist())
