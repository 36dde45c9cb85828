"""A closed loop with a small model, its engine, real runs and a real training: killed at each, and gone on with."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from discovery.storage import open_existing

pytestmark = [pytest.mark.train, pytest.mark.timeout(300)]

PROGRAM = [sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())", "loop"]
SHAPE = [
    "--rounds",
    "1",
    "--seeds",
    "1",
    "--chains",
    "2",
    "--steps",
    "3",
    "--candidates",
    "4",
    "--top",
    "100",
]
EVALUATIONS = 2 * 3 * 4
SETTINGS = """
epochs = 3
batch_rows = 2
save_every = 1
learning_rate = 1e-3
checkpoint_activations = false
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in ("torch", "transformers", "peft", "trl", "datasets"):
        pytest.importorskip(name)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    (tmp_path / "train.toml").write_text(SETTINGS)
    return tmp_path


def killed_after(words, arguments, place, pause_s=0.0):
    """Start it, and `kill -9` it when it has said something; what it had said by then."""
    process = subprocess.Popen(
        [*PROGRAM, *arguments, "--scheduler", "local"], cwd=place, stderr=subprocess.PIPE, text=True
    )
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            time.sleep(pause_s)
            break
    process.kill()
    process.communicate()
    assert words in said[-1], "".join(said)
    return "".join(said)


def state(place):
    """Every run with its evaluations, and each stage's record with when it was written."""
    storage = open_existing(str(place / "runs.db"))
    try:
        runs = {run.id: storage.counts(run.id).evaluations for run in storage.list_runs()}
    finally:
        storage.close()
    records = (place / "loop" / "rounds").glob("*/*.json")
    return runs, {f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns for path in records}


def left_behind(place):
    """Processes that work in the loop's folder."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_text()
            if f"{place}/loop/" in words or f"serve\0{place}" in words:
                yield words


@pytest.mark.parametrize("in_the_first_run", [False, pytest.param(True, marks=pytest.mark.weekly)])
def test_it_goes_on_after_a_kill_in_a_run_in_a_training_and_in_a_run_on_new_weights(
    place, taught_model, in_the_first_run
):
    """Killed in its first run, it does what it does when it is killed in a run on new weights."""
    start = [
        str(taught_model),
        "--problem",
        "zigzag-8",
        "--held-out",
        "zigzag-12",
        *SHAPE,
        "--validation",
        "0",
    ]
    start += ["--engine", "torch", "--train", "train.toml", "--sandbox", "process"]
    start += ["--storage", "runs.db", "--out", "loop"]
    again = ["--resume", "loop"]
    if in_the_first_run:
        killed_after("revision 0, run 2 of 2", start, place, 0.3)
        runs, records = state(place)
        (first,) = [run for run, evaluations in runs.items() if evaluations == EVALUATIONS]
        assert first.startswith("zigzag-8-")
        assert records == {}
    said = killed_after("training: step 2/", again if in_the_first_run else start, place)
    done = ", 1 of them done" if in_the_first_run else ""
    assert f"measuring revision 0 by 2 runs{done}\n" in said
    runs, records = state(place)
    assert sorted(records) == ["0/measured.json", "1/exported.json"]
    assert sorted(runs.values()) == [EVALUATIONS] * 2
    said = killed_after("revision 1, run 1 of 2", again, place, 0.3)
    assert "measuring revision 0" not in said
    assert "training: step 1/" not in said, "the training began anew"
    before, stamps = state(place)
    assert {name: stamps[name] for name in records} == records, "a stage was done again"
    done = subprocess.run(
        [*PROGRAM, *again, "--scheduler", "local", "--json"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    runs, records = state(place)
    assert set(before) <= set(runs)
    assert sorted(runs.values()) == [EVALUATIONS] * 4, "a run was made twice, or not whole"
    assert {name: records[name] for name in stamps} == stamps
    revision = place / "loop" / "revisions" / "1" / "weights"
    assert {problem["problem"]: len(problem["figures"]) for problem in report["problems"]} == {
        "zigzag-8": 2,
        "zigzag-12": 2,
    }
    assert report["rounds"][0]["trained"]["lineage"]["base"] == str(taught_model)
    spoke = [json.loads((place / "loop" / "rounds" / str(n) / "measured.json").read_text()) for n in (0, 1)]
    assert [{key for run in one["runs"] for key in run["spoke"]} for one in spoke] == [
        {str(taught_model)},
        {str(revision)},
    ]
    deadline = time.monotonic() + 20
    while (left := list(left_behind(place))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert (place / "loop" / "report.png").stat().st_size > 1000
