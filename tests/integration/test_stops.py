"""Runs that are told to stop, and runs that two processes want at once."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing

import pytest

from discovery.records import RunStatus
from discovery.storage import open_storage
from discovery.summary import summarize

# Its scorer waits, so that there is time to stop a run of few evaluations, which cost nothing while it waits.
SLOW = """
import time
from discovery import problem

@problem(name="slow", statement="Return a number.", initial="def solve():\\n    return 0.5\\n")
def score(program):
    time.sleep(0.06)
    return -abs(float(program.call("solve")) - 3.0)
"""
OPTIONS = ["--storage", "runs.db", "--json"]
SHAPE = [
    "--chains",
    "2",
    "--steps",
    "8",
    "--candidates",
    "4",
    "--sandbox",
    "process",
    "--evaluation-slots",
    "2",
]
EVALUATIONS = 64


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


def discovery(*arguments, cwd, environment=None):
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def at_work(folder, process, evaluations=16, timeout_s=120.0):
    """Wait until a run has so many evaluations; its id."""
    deadline = time.monotonic() + timeout_s
    with ExitStack() as stack:
        storage = None
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            if storage is None and (folder / "runs.db").exists():
                storage = stack.enter_context(closing(open_storage(str(folder / "runs.db"))))
            runs = storage.list_runs() if storage else []
            if runs and storage.counts(runs[0].id).evaluations >= evaluations:
                return runs[0].id
            time.sleep(0.05)
    raise AssertionError("the run does not get to work")


def status(folder, run):
    storage = open_storage(str(folder / "runs.db"))
    try:
        return summarize(storage, run).status, storage.holder(run)
    finally:
        storage.close()


def complete(folder, run):
    """Every evaluation of the budget is stored exactly once, each with its completion."""
    storage = open_storage(str(folder / "runs.db"))
    try:
        counts = storage.counts(run)
        return counts.evaluations == counts.completions == EVALUATIONS
    finally:
        storage.close()


@pytest.mark.parametrize("scheduler", ["local", pytest.param("prefect", marks=pytest.mark.prefect)])
@pytest.mark.timeout(400)
def test_sigterm_stops_a_run_cleanly(folder, scheduler, request):
    if scheduler == "prefect":
        request.getfixturevalue("prefect")
    process = discovery("run", "./slow.py", *SHAPE, *OPTIONS, "--scheduler", scheduler, cwd=folder)
    run = at_work(folder, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert f"discovery resume {run}" in err
    assert json.loads(out.splitlines()[-1])["status"] == "stopped"
    assert status(folder, run) == (RunStatus.STOPPED, None)
    again = discovery("resume", run, *OPTIONS, "--scheduler", "local", cwd=folder)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert complete(folder, run)


@pytest.mark.timeout(300)
def test_of_two_resumes_at_once_one_runs_and_the_other_says_who(folder):
    process = discovery("run", "./slow.py", *SHAPE, *OPTIONS, "--scheduler", "local", cwd=folder)
    run = at_work(folder, process)
    process.kill()
    process.communicate()
    both = [discovery("resume", run, *OPTIONS, "--scheduler", "local", cwd=folder) for _ in range(3)]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in both]
    assert sorted(code for _, _, code in ended) == [0, 2, 2], ended
    for _, err, code in ended:
        if code == 2:
            assert "is being run by process" in err
            assert "Traceback" not in err
    assert complete(folder, run)
    assert status(folder, run) == (RunStatus.FINISHED, None)


@pytest.mark.prefect
@pytest.mark.timeout(600)
def test_a_run_outlives_the_prefect_server(folder, prefect):
    process = discovery("run", "./slow.py", *SHAPE, *OPTIONS, "--scheduler", "prefect", cwd=folder)
    run = at_work(folder, process)
    os.killpg(prefect.state.pid, signal.SIGKILL)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert "Prefect failed around the run" in err
    assert "EventsWorker" not in err, "one line, not one for each event"
    assert json.loads(out.splitlines()[-1])["status"] == "finished"
    assert complete(folder, run)
