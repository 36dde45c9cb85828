"""Runs move between machines while they go on, and their archives load where data are loaded."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import closing

import pytest

from discovery.cli import main
from discovery.records import Candidate, Evaluation, RunStatus, Step, StepState
from discovery.storage import open_existing, open_storage
from discovery.trajectories import tables
from discovery.trajectories.archive import read_archive, write_archive

pytest.importorskip("pyarrow")

SHAPE = ["--chains", "2", "--candidates", "2", "--sandbox", "process", "--scheduler", "local"]
STEPS = 25


def found(storage, run):
    """What a run has found, whoever ran it and when."""
    with storage.snapshot(run) as snapshot:
        steps = [(s.chain, s.step, s.parents, s.committed, s.best_after) for s in snapshot.records(Step)]
        sources = [(c.key, c.source) for c in snapshot.records(Candidate)]
        scores = [(e.key, e.purpose, e.score and e.score.value) for e in snapshot.records(Evaluation)]
    return steps, sources, scores


def archived(url, folder):
    """The run's id once it was archived with a step that was open; None before."""
    if not os.path.exists(url):  # noqa: PTH110
        return None
    with closing(open_existing(url)) as far:
        records = far.list_runs()
        if not records or far.counts(records[0].id).evaluations < 8:
            return None
        write_archive(folder, far, [records[0].id])
    rows = [step.step for _, step in read_archive(folder).records(tables.STEPS)]
    if not any(step.state is StepState.PLANNED for step in rows):
        shutil.rmtree(folder)
        return None
    return records[0].id


def test_a_copy_of_a_run_that_goes_on_is_resumed_and_ends_like_it(tmp_path, capsys, monkeypatch):
    """With steps that were open and evaluations that ran when it was archived."""
    monkeypatch.chdir(tmp_path)
    url = str(tmp_path / "far.db")
    program = [sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())"]
    command = [*program, "run", "constants-10", *SHAPE, "--steps", str(STEPS), "--storage", url]
    going = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    run = None
    while run is None and time.monotonic() < deadline and going.poll() is None:
        time.sleep(0.02)
        run = archived(url, tmp_path / "out")
    assert run is not None
    assert main(["import", "out", "--storage", "here.db"]) == 0
    assert f"{run} has come: running" in capsys.readouterr().out
    with closing(open_existing("here.db")) as here:
        assert 8 <= here.counts(run).evaluations < 4 * STEPS
    assert main(["resume", run, "--storage", "here.db", "--scheduler", "local"]) == 0
    assert going.wait(timeout=60) == 0
    with closing(open_existing(url)) as far, closing(open_existing("here.db")) as here:
        assert here.get_run(run).status is RunStatus.FINISHED
        assert here.counts(run).evaluations == far.counts(run).evaluations == 4 * STEPS
        assert found(here, run)[:2] == found(far, run)[:2]
    assert main(["audit", run, "--storage", "here.db", "--sandbox", "process"]) == 0
    assert main(["show", run, "--storage", "here.db"]) == 0


@pytest.mark.train
@pytest.mark.filterwarnings("default")  # theirs
def test_datasets_loads_every_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    datasets = pytest.importorskip("datasets", reason="pip install 'discovery-loop[train]'")
    assert main(["run", "constants-10", *SHAPE, "--steps", "2", "--storage", "far.db"]) == 0
    with closing(open_storage("far.db")) as far:
        (record,) = far.list_runs()
        inventory = write_archive("out", far, [record.id])
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| {record.id} | constants-10 |" in card
    assert "config_name: steps" in card
    assert "config_name: consultations" not in card, "an empty table is no split that could be loaded"
    for name, fact in inventory.files.items():
        if not fact.rows:
            continue
        table = name.partition(".")[0]
        loaded = datasets.load_dataset("out", table, split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded.num_rows == fact.rows, name
        if name == "steps.parquet":
            message = loaded[0]["messages"][0]
            assert message.keys() == {"role", "content"}
            assert None not in message.values()
        if name == "completions.parquet":
            assert loaded[0]["token_ids"] is None
            assert loaded[0]["text"]
        if name == "evaluations.parquet":
            with closing(open_existing("far.db")) as far, far.snapshot(record.id) as snapshot:
                first = next(snapshot.records(Evaluation))
            assert loaded[0]["score"] == first.score.value
