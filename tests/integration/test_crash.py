"""`kill -9` at random instants, each followed by a resume, until the run is done."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from discovery.sandbox import make_backend
from discovery.storage import open_storage

# Once a week more of them: see .ci/weekly.
DEEPER = int(os.environ.get("DISCOVERY_KILLS", "1"))
CHAINS, CANDIDATES = 3, 4


def command(*arguments):
    return [sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())", *arguments]


def descendants_of(group, label):
    """Processes that carry the run's label or belong to the killed session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
                session = (entry / "stat").read_text().rpartition(")")[2].split()[3]
            except OSError:
                continue
            if label.encode() in words or int(session) == group:
                found.append((entry.name, words[:80]))
    return found


def finished(storage, run):
    """Every finished evaluation and stored completion, by place, with all of its contents."""
    evaluations, completions = {}, {}
    for chain in range(CHAINS):
        number = 1
        while (step := storage.step(run, chain, number)) is not None:
            evaluations |= {(chain, number, i): e for i, e in step.evaluations.items()}
            completions |= {(chain, number, i): c for i, c in step.completions.items()}
            number += 1
    return evaluations, completions


def rows(database):
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute("SELECT count(*) FROM evaluations").fetchone()[0]


def until_more_is_stored(database, process):
    """Wait until a run is at work: until more evaluations are stored than there were; or it has ended."""
    process.stderr.readline()  # the run's name, printed when its first step is about to begin
    before = rows(database)
    while rows(database) < before + 3 and process.poll() is None:
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("sandbox", "overlap", "kills", "evaluations"),
    [pytest.param("bubblewrap", 0, 6, 360, marks=pytest.mark.sandbox), ("process", 1, 4, 240)],
)
@pytest.mark.timeout(280 * DEEPER)
def test_killed_at_random_instants_and_resumed(tmp_path, sandbox, overlap, kills, evaluations):
    if make_backend(sandbox).missing():
        if os.environ.get("CI"):
            pytest.fail(f"{sandbox} is missing: {make_backend(sandbox).missing()}")
        pytest.skip(f"{sandbox} does not work here: {make_backend(sandbox).missing()}")
    database = tmp_path / "runs.db"
    kills, evaluations = kills * DEEPER, evaluations * DEEPER
    rng = random.Random(5)
    options = ["--storage", str(database), "--scheduler", "local", "--json", "--evaluation-slots", "2"]
    depth = evaluations // (CHAINS * CANDIDATES)
    shape = ["--chains", str(CHAINS), "--steps", str(depth), "--candidates", str(CANDIDATES)]
    shape += ["--overlap", str(overlap), "--sandbox", sandbox, "--seed", "3"]
    start = command("run", "constants-10", *shape, *options)
    run, at_work, known = None, 0, ({}, {})
    for number in range(kills):
        arguments = start if run is None else command("resume", run, *options)
        process = subprocess.Popen(
            arguments, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        if number % 4:
            until_more_is_stored(database, process)
            time.sleep(rng.uniform(0, 0.3))
        else:
            time.sleep(rng.uniform(0, 1.2))
        alive = process.poll() is None
        process.kill()
        _, errors = process.communicate()
        assert alive or process.returncode == 0, errors
        if not database.exists():
            continue
        storage = open_storage(str(database))
        runs = storage.list_runs()
        if not runs:
            storage.close()
            continue
        run = runs[0].id
        assert len(runs) == 1
        deadline = time.monotonic() + 3
        while (orphans := descendants_of(process.pid, run)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert orphans == []
        now = finished(storage, run)
        for before, after in zip(known, now, strict=True):
            assert {place: after.get(place) for place in before} == before, (
                "a stored record was lost or changed"
            )
        at_work += alive and len(now[0]) > len(known[0])
        known = now
        storage.close()
    assert at_work >= kills // 2, "too few kills hit a run at work to show anything"
    done = subprocess.run(
        command("resume", run, *options), cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["status"] == "finished"
    assert summary["evaluations"] == evaluations
    storage = open_storage(str(database))
    scored, completions = finished(storage, run)
    assert {place: scored[place] for place in known[0]} == known[0]
    assert {place: completions[place] for place in known[1]} == known[1]
    assert len(scored) == len(completions) == evaluations
    straight = subprocess.run(
        start,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    other = json.loads(straight.stdout.splitlines()[-1])
    for chain in range(CHAINS):
        assert list(storage.committed_steps(run, chain)) == list(storage.committed_steps(other["run"], chain))
    storage.close()
