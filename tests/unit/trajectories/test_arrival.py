"""What comes from another machine is whole and equal, or changes nothing."""

import asyncio
import dataclasses
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from discovery.cli import main
from discovery.config import RunConfig, to_dict
from discovery.errors import ArchiveError, ProblemError, RunBusy, StorageError, UsageError
from discovery.launch import reopened
from discovery.plugins import load_problem
from discovery.records import (
    INITIAL,
    Announcement,
    CandidateKey,
    EvaluationState,
    ModelIdentity,
    Purpose,
    RunStatus,
    SandboxRecord,
)
from discovery.run import config_of
from discovery.storage import open_storage
from discovery.storage.base import ARRIVED_AT
from discovery.summary import summarize
from discovery.testing.storage import (
    START,
    append,
    make_candidate,
    make_committed,
    make_completion,
    make_consultation,
    make_measurement,
    make_run,
    make_scored,
    make_step,
)
from discovery.trajectories.archive import read_archive, write_archive
from discovery.trajectories.arrival import arrive
from discovery.trajectories.assemble import outlines
from discovery.trajectories.attempt_tables import EVALUATIONS
from discovery.trajectories.inventory import id_of, read_inventory
from discovery.trajectories.manifest import fact_of
from discovery.trajectories.tables import OF_RUNS, SCHEMA

pq = pytest.importorskip("pyarrow.parquet")
pa = pytest.importorskip("pyarrow")

KEY = CandidateKey(0, 1, 0)
CONFIG = to_dict(RunConfig(problem="packing"))
SPEAKER = ModelIdentity(generator="openai", model="m", revision="\x1b]0;owned\x07")
SANDBOX = SandboxRecord(id="box-1", backend="box", properties={"network": True}, details={"v": "1"})


def fill(storage, run="run-1", count=3, **changes):
    """A stored run of one chain, its last step open."""
    storage.create_run(
        dataclasses.replace(
            make_run(run),
            **{
                "config": CONFIG,
                "status": RunStatus.STOPPED,
                "facts": {"host": "far"},
                "wall_s": 2.5,
                **changes,
            },
        )
    )
    shared, lease = storage.acquire(run, [-1, 0], "owner", 60.0)
    append(
        storage,
        shared,
        make_candidate(INITIAL, "x"),
        make_scored(INITIAL, 0.0),
        SANDBOX,
        make_measurement(1, a=1),
    )
    records = []
    for number in range(1, count + 1):
        key = CandidateKey(0, number, 0)
        step = make_step(0, number)
        records += [step if number == count else make_committed(step, key), make_completion(key)]
        records += [make_candidate(key, f"source {number}")]
        records += [dataclasses.replace(make_scored(key, float(number)), sandbox="box-1")]
    append(storage, lease, *records)
    storage.release([shared, lease])


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A storage with one run, and that one's archive."""
    home = tmp_path_factory.mktemp("far")
    opened = open_storage(str(home / "far.db"))
    fill(opened)
    write_archive(home / "out", opened, ["run-1"])
    opened.close()
    return home


@pytest.fixture
def far(kept, tmp_path):
    """Another machine's storage."""
    opened = open_storage(str(shutil.copy(kept / "far.db", tmp_path / "far.db")))
    yield opened
    opened.close()


@pytest.fixture
def here(tmp_path):
    opened = open_storage(str(tmp_path / "here.db"))
    yield opened
    opened.close()


@pytest.fixture
def folder(kept, tmp_path):
    return shutil.copytree(kept / "out", tmp_path / "out")


def everything(storage, run="run-1"):
    """All that is stored, but when it came."""
    with storage.snapshot(run) as snapshot:
        facts = {name: fact for name, fact in snapshot.run.facts.items() if name != ARRIVED_AT}
        record = dataclasses.replace(snapshot.run, facts=facts)
        return [record, *([*table.stored(snapshot)] for table in OF_RUNS)]


def sealed(folder):
    """Make the manifest fit its files again, as whoever forges one would."""
    path = folder / "manifest.json"
    said = json.loads(path.read_text())
    facts = {n: fact_of(folder / n, pq.ParquetFile(folder / n).metadata.num_rows) for n in said["files"]}
    said |= {"id": id_of(facts), "files": {n: dataclasses.asdict(fact) for n, fact in facts.items()}}
    path.write_text(json.dumps(said))


def forge(folder, table, change):
    """Change the rows of a table, keep its schema."""
    path = folder / f"{table}.parquet"
    read = pq.read_table(path)
    rows = read.to_pylist()
    rows = change(rows) or rows
    pq.write_table(pa.Table.from_pylist(rows, read.schema), path)
    sealed(folder)


def each(**values):
    def change(rows):
        for row in rows:
            row.update(values)

    return change


def test_a_run_comes_whole(far, here, folder):
    (arrived,) = arrive(here, folder)
    assert arrived.is_new
    assert arrived.is_changed is None
    assert arrived.rows == {
        "steps": 3,
        "completions": 3,
        "candidates": 4,
        "evaluations": 4,
        "measurements": 1,
    }
    assert everything(here) == everything(far)
    assert here.sandbox("box-1") == SANDBOX
    assert here.holder("run-1") is None
    assert [stored.step.step for stored in here.open_steps("run-1", 0)] == [3]


def test_what_is_here_already_stays(here, folder):
    arrive(here, folder)
    before = everything(here), here.get_run("run-1")
    (again,) = arrive(here, folder)
    assert not again.is_new
    assert (everything(here), here.get_run("run-1")) == before


def test_when_it_came_is_remembered_here_and_no_archive_tells(far, here, folder, tmp_path):
    before = datetime.now(UTC)
    arrive(here, folder)
    assert before <= here.get_run("run-1").arrived_at <= datetime.now(UTC)
    assert far.get_run("run-1").arrived_at is None
    write_archive(tmp_path / "again", here, ["run-1"])
    for file in sorted(folder.iterdir()):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_nothing_of_it_is_later_than_its_arrival(here, folder):
    ahead = datetime(2999, 1, 1, tzinfo=UTC)
    forge(folder, "evaluations", each(finished_at=ahead))
    arrive(here, folder)
    assert here.get_run("run-1").arrived_at == ahead


def test_audits_made_here_are_no_difference(here, folder):
    arrive(here, folder)
    (lease,) = here.acquire("run-1", [-1], "me", 60.0)
    audits = [
        dataclasses.replace(make_scored(key, 1.0), purpose=Purpose.AUDIT)
        for key in (KEY, CandidateKey(0, 3, 0))
    ]
    append(here, lease, *audits)
    assert not arrive(here, folder)[0].is_new


@pytest.mark.parametrize(
    "differing",
    [
        lambda here, leases: append(here, leases[1], make_step(0, 4)),
        lambda here, leases: append(here, leases[1], make_committed(make_step(0, 3), None)),
        lambda here, leases: append(here, leases[1], dataclasses.replace(make_scored(KEY, 9.0), attempt=1)),
        lambda here, leases: append(here, leases[0], make_measurement(2, a=1)),
        lambda here, leases: here.update_run(leases[0], status=RunStatus.FINISHED),
    ],
)
def test_a_run_that_differs_is_refused_and_nothing_is_changed(far, here, tmp_path, differing):
    fill(far, "run-0")
    write_archive(tmp_path / "both", far, ["run-0", "run-1"])
    fill(here)
    differing(here, here.acquire("run-1", [-1, 0], "me", 60.0))
    before = everything(here)
    with pytest.raises(ArchiveError, match="run run-1 is stored already and differs"):
        arrive(here, tmp_path / "both")
    assert everything(here) == before
    assert [record.id for record in here.list_runs()] == ["run-1"]


class Interrupted:
    """A storage whose disk is full after some writes."""

    def __init__(self, storage, writes):
        self.storage, self.left = storage, writes

    def __getattr__(self, name):
        return getattr(self.storage, name)

    def append(self, writes):
        self.left -= 1
        if self.left < 0:
            raise StorageError("no room left")
        return self.storage.append(writes)


@pytest.fixture
def long_folder(far, tmp_path):
    fill(far, "run-2", count=150)
    write_archive(tmp_path / "long", far, ["run-2"])
    return tmp_path / "long"


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_an_interrupted_import_looks_like_nothing_else_and_is_repeated(
    far, here, long_folder, writes, tmp_path
):
    with pytest.raises(StorageError, match="no room left"):
        arrive(Interrupted(here, writes), long_folder)
    half = here.get_run("run-2")
    assert (half.status, half.finished_at) == (RunStatus.ARRIVING, None)
    assert half.arrived_at is not None
    with pytest.raises(UsageError, match="not arrived whole; repeat"):
        outlines(here, ["run-2"])
    assert "repeat the `discovery import`" in half.message

    async def resume():
        async with reopened(half, config_of(half), here, None):
            pass

    with pytest.raises(UsageError, match="cannot go on: only part of it is here"):
        asyncio.run(resume())
    with pytest.raises(UsageError, match="not arrived whole"):
        write_archive(tmp_path / "no", here, ["run-2"])
    assert arrive(here, long_folder)[0].is_new
    assert everything(here, "run-2") == everything(far, "run-2")


def test_an_interrupted_import_is_not_ended_by_another_archive(far, here, long_folder, tmp_path):
    with pytest.raises(StorageError, match="no room left"):
        arrive(Interrupted(here, 2), long_folder)
    other = open_storage(str(tmp_path / "other.db"))
    fill(other, "run-2", count=2)
    write_archive(tmp_path / "other", other, ["run-2"])
    other.close()
    with pytest.raises(ArchiveError, match="came in part from another archive"):
        arrive(here, tmp_path / "other")
    assert here.get_run("run-2").status is RunStatus.ARRIVING


def test_two_do_not_bring_one_run(here, long_folder):
    with pytest.raises(StorageError, match="no room left"):
        arrive(Interrupted(here, 1), long_folder)
    here.acquire("run-2", [-1], "far|1|1|ff", 60.0)
    with pytest.raises(RunBusy, match="process 1 on far"):
        arrive(here, long_folder)


def test_leases_are_renewed_while_it_takes_long(here, long_folder):
    renewed = []

    class Watched(Interrupted):
        def renew(self, leases, ttl_s):
            renewed.append(len(leases))
            return self.storage.renew(leases, ttl_s)

    times = iter(range(0, 100_000, 20))
    arrive(Watched(here, 10_000), long_folder, clock=lambda: next(times))
    assert renewed
    assert set(renewed) == {2}


def test_a_text_that_a_few_bytes_repeat_is_in_memory_once(folder):
    path, size = folder / "evaluations.parquet", 1 << 20
    table = pq.read_table(path)
    rows = [{**row, "metrics": json.dumps({"a": "x" * size})} for row in table.to_pylist()]
    again = [{**row, "attempt": attempt} for row in rows for attempt in range(25)]
    forged = pa.Table.from_pylist(again, table.schema)
    pq.write_table(forged, path, dictionary_pagesize_limit=1 << 30, compression="zstd")
    del forged, table
    sealed(folder)
    assert path.stat().st_size < size / 100
    read = read_archive(folder).records(EVALUATIONS)
    before = pa.total_allocated_bytes()
    next(read)
    assert pa.total_allocated_bytes() - before < 10 * size, f"100 rows of {size:,} bytes each"
    read.close()


BROKEN = {
    "score": ("evaluations", each(score=float("nan")), "not a finite number"),
    "no_score": ("evaluations", each(score=None), "no score"),
    "state": ("evaluations", each(state="won"), "'won'"),
    "running": ("evaluations", each(state="running"), "contradicts"),
    "purpose": ("evaluations", each(purpose="fun"), "fun"),
    "metrics": ("evaluations", each(metrics="[1e999]"), "not a finite number"),
    "metrics_nan": ("evaluations", each(metrics='{"a": NaN}'), "NaN"),
    "deep": ("evaluations", each(artifact="[" * 100_000), "nested too deeply"),
    "code": ("candidates", each(source="import os"), "not the one of its hash"),
    "key": ("candidates", each(parents=["../etc"]), "not a candidate's key"),
    "chain": ("completions", each(chain=-1), "no place"),
    "orphan": ("completions", each(chain=7), "no such step"),
    "twice": ("completions", lambda rows: rows + rows[-1:], "there twice"),
    "order": ("steps", lambda rows: rows[::-1], "not in order"),
    "stranger": ("measurements", each(run="run-7"), "none of its runs"),
    "values": ("measurements", each(values='{"a": "b"}'), "not a number"),
    "large": ("measurements", each(values=json.dumps({"a": 10**400})), "larger than a number"),
    "config": ("runs", each(config='{"x": 1}'), "unknown setting"),
    "config_list": ("runs", each(config="[]"), "not a JSON object"),
    "arriving": ("runs", each(status="arriving"), "not arrived whole"),
    "arrived": (
        "runs",
        each(facts='{"arrived_at": "1999-01-01T00:00:00+00:00"}'),
        "says itself when it came",
    ),
    "outside": ("runs", each(id="../../etc"), "no run of id"),
    "root": ("runs", each(id="/etc"), "no run of id"),
    "option": ("runs", each(id="--help"), "no run of id"),
    "markup": ("runs", each(problem="[/x]"), "no problem of name"),
    "name": ("runs", each(problem="\x1b[2J"), "is no name"),
    "no_runs": ("runs", lambda rows: [*rows, {**rows[0], "id": "run-2"}], "other runs"),
    "exact": ("completions", each(exact=b'{"source": "x"}'), "has none"),
    "exact_other": ("completions", each(exact=b'{"text": "x"}'), "is another one"),
    "sandbox": ("sandboxes", each(properties='{"a": 1}'), "neither holds"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_forged_archive_changes_nothing(here, folder, case):
    table, change, message = BROKEN[case]
    forge(folder, table, change)
    with pytest.raises(ArchiveError, match=message):
        arrive(here, folder)
    assert here.list_runs() == []


def _truncate(folder):
    path = folder / "completions.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def _garble(folder):
    path = folder / "completions.parquet"
    data = bytearray(path.read_bytes())
    data[40:400] = b"x" * 360
    path.write_bytes(data)
    sealed(folder)


def _retype(folder):
    path = folder / "evaluations.parquet"
    read = pq.read_table(path)
    place = read.schema.get_field_index("score")
    pq.write_table(read.set_column(place, "score", read["score"].cast(pa.string())), path)
    sealed(folder)


def _say(**values):
    def change(folder):
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


DAMAGED = {
    "truncated": (_truncate, "is not what was written"),
    "garbled": (_garble, "cannot be read"),
    "retyped": (_retype, rf"other columns than schema {SCHEMA} \(score\)"),
    "missing": (lambda folder: (folder / "steps.parquet").unlink(), "cannot be read"),
    "no_manifest": (lambda folder: (folder / "manifest.json").unlink(), "is no archive"),
    "no_json": (lambda folder: (folder / "manifest.json").write_text("{"), "is not JSON"),
    "other_format": (_say(format="trl-sft"), "is no archive of runs"),
    "later": (_say(schema=SCHEMA + 1, package_version="9.0"), "by version '9.0'"),
    "id": (_say(id="0" * 16), "was changed"),
    "outside": (_say(files={"../x": {"sha256": "", "rows": 0, "bytes": 0}}), "names other files"),
    "files": (_say(files=[]), "is no manifest"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_archive_is_told_in_one_line(folder, case, tmp_path, capsys):
    change, message = DAMAGED[case]
    change(folder)
    with pytest.raises(ArchiveError, match=message):
        list(read_archive(folder).records(OF_RUNS[1]))
    assert main(["import", str(folder), "--storage", str(tmp_path / "new.db")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1


def test_a_sandbox_that_contradicts_is_refused(here, folder):
    fill(here, "mine")
    forge(folder, "sandboxes", each(properties='{"network": false}'))
    with pytest.raises(ArchiveError, match="box-1 is stored here with other properties"):
        arrive(here, folder)


# Problems, which have other places here


@pytest.fixture
def problem(tmp_path):
    home = tmp_path / "problems"
    shutil.copytree(Path(load_problem("constants-10").path).parent, home)
    return load_problem(str(home))


def test_a_problem_is_where_the_user_says(far, here, tmp_path, problem):
    fill(far, "ours", problem=problem.name, problem_version=problem.version)
    fill(far, "older", problem=problem.name)
    write_archive(tmp_path / "three", far, ["ours", "older", "run-1"])
    arrived = {each.run.id: each for each in arrive(here, tmp_path / "three", problem=problem)}
    assert {run: each.is_changed for run, each in arrived.items()} == {
        "ours": False,
        "older": True,
        "run-1": None,
    }
    assert here.get_run("ours").problem_path == here.get_run("older").problem_path == str(problem.path)
    assert here.get_run("run-1").problem_path == "/problems/packing"
    # What is known to be elsewhere is still the same run.
    assert not any(each.is_new for each in arrive(here, tmp_path / "three"))


def test_another_problem_is_refused(here, folder, problem):
    with pytest.raises(ProblemError, match="runs are of packing"):
        arrive(here, folder, problem=problem)
    assert here.list_runs() == []


# The command


def test_the_command_says_what_came_and_what_to_know(far, tmp_path, capsys):
    generator = {"kind": "openai", "base_url": ["http://far.example/v1"], "model": "m"}
    fill(far, "asking", config={**CONFIG, "generator": {**CONFIG["generator"], **generator}})
    fill(far, "known", problem="zigzag-8", problem_version=load_problem("zigzag-8").version)
    write_archive(tmp_path / "two", far, ["asking", "known"])
    options = [str(tmp_path / "two"), "--storage", str(tmp_path / "new.db")]
    assert main(["import", *options]) == 0
    said = capsys.readouterr()
    assert "asking has come: stopped, 3 steps, 4 candidates, 4 evaluations" in said.out
    assert f"show asking --storage {tmp_path / 'new.db'}" in said.out
    assert "problem packing is not at /problems/packing" in said.err
    assert "zigzag" not in said.err
    assert "to http://far.example/v1" in said.err
    assert main(["import", *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["runs"]
    assert [(run["run"], run["new"], run["problem_here"]) for run in told] == [
        ("asking", False, False),
        ("known", False, True),
    ]
    assert main(["show", "known", "--storage", str(tmp_path / "new.db")]) == 0
    assert main(["import", str(tmp_path / "nowhere"), "--storage", str(tmp_path / "none.db")]) == 2
    assert not (tmp_path / "none.db").exists()


def test_code_at_the_place_that_an_archive_names_is_told_of(far, tmp_path, capsys):
    (tmp_path / "theirs.py").write_text("raise SystemExit('executed')")
    fill(far, "stranger", problem_path=str(tmp_path / "theirs.py"))
    bundled = load_problem("zigzag-8")
    fill(far, "ours", problem="zigzag-8", problem_version=bundled.version, problem_path=str(bundled.path))
    write_archive(tmp_path / "two", far, ["stranger", "ours"])
    options = [str(tmp_path / "two"), "--storage", str(tmp_path / "new.db")]
    assert main(["import", *options]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "will execute it" in line]
    assert f"stranger says that its problem is {tmp_path / 'theirs.py'}, and that is on this machine" in line
    assert main(["import", *options]) == 0
    assert "will execute it" not in capsys.readouterr().err, "it was told when they came"


ESCAPE = "\x1b]0;owned\x07[/x]"


def test_words_of_an_archive_cannot_act_on_the_terminal(far, tmp_path, capsys):
    failed = {"status": RunStatus.FAILED, "message": ESCAPE, "problem_path": ESCAPE}
    fill(far, "odd", facts={"model": ESCAPE, "isolation": "box-1"}, **failed)
    (lease,) = far.acquire("odd", [0], "owner", 60.0)
    append(far, lease, dataclasses.replace(make_completion(CandidateKey(0, 3, 1)), text=None, model=SPEAKER))
    far.release([lease])
    write_archive(tmp_path / "odd", far, ["odd"])
    new = ["--storage", str(tmp_path / "new.db")]
    assert main(["import", str(tmp_path / "odd"), *new]) == 0
    assert main(["show", "odd", *new]) == 0
    assert main(["runs", *new]) == 0
    assert main(["export", "odd", *new, "--out", str(tmp_path / "x")]) == 2
    said = capsys.readouterr()
    assert "owned" in said.out
    assert "owned" in said.err
    assert "\x1b" not in said.out + said.err


def test_an_audit_that_came_along_is_not_shown_as_one(far, tmp_path, capsys):
    fill(far, "praised", status=RunStatus.FINISHED)
    leases = far.acquire("praised", [-1], "owner", 60.0)
    praise = dataclasses.replace(make_scored(KEY, 1.0), purpose=Purpose.AUDIT, finished_at=START)
    append(far, leases[0], praise, Announcement(key=KEY, score=1.0, evaluations=1, announced_at=START))
    far.release(leases)
    assert summarize(far, "praised").audit.agrees, "or this shows nothing"
    write_archive(tmp_path / "out", far, ["praised"])
    here = open_storage(str(tmp_path / "here.db"))
    arrive(here, tmp_path / "out")
    assert summarize(here, "praised").audit is None
    here.close()


def test_inventory_of_nothing_stored(tmp_path, here):
    """A run without any record is archived and comes, too."""
    here.create_run(
        dataclasses.replace(make_run("bare"), config=CONFIG, finished_at=START, status=RunStatus.FAILED)
    )
    write_archive(tmp_path / "bare", here, ["bare"])
    assert read_inventory(tmp_path / "bare").files["steps.parquet"].rows == 0
    there = open_storage(str(tmp_path / "there.db"))
    arrive(there, tmp_path / "bare")
    assert everything(there, "bare") == everything(here, "bare")
    assert all(e.state is EvaluationState.SCORED for e in there.evaluations("bare", INITIAL))
    there.close()


def test_a_chain_arrives_of_which_only_a_consultation_is_there(tmp_path):
    """Its process ended between the answer and the step that was to be planned with it."""
    far, near = (open_storage(str(tmp_path / f"{name}.db")) for name in ("far", "near"))
    fill(far)
    (lease,) = far.acquire("run-1", [1], "owner", 60.0)
    asked = make_consultation(chain=1)
    append(far, lease, asked)
    far.release([lease])
    write_archive(tmp_path / "out", far, ["run-1"])
    (arrived,) = arrive(near, tmp_path / "out")
    assert arrived.rows["consultations"] == 1
    assert near.consultation("run-1", 1, 1, asked.purpose) == asked
    assert near.counts("run-1").consultations == 1
    far.close()
    near.close()
