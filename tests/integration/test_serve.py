"""Whole runs with ``--serve``: a server of the run's own, one that runs already, and how an interrupted run goes on."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from discovery.cli import main
from discovery.storage import open_existing

PROGRAM = [sys.executable, "-c", "from discovery.cli import main; raise SystemExit(main())"]
SHAPE = ["--chains", "1", "--steps", "1", "--candidates", "2", "--sandbox", "process", "--scheduler", "local"]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


pytestmark = pytest.mark.usefixtures("own_place")


@pytest.fixture
def model(stand_in_model):
    return stand_in_model


def stored(run=None):
    with_storage = open_existing(None)
    try:
        (record,) = with_storage.list_runs()
        return record
    finally:
        with_storage.close()


def _evaluated(tmp_path):
    if not (tmp_path / "runs.db").exists():
        return False
    with_storage = open_existing(None)
    try:
        return any(with_storage.counts(run.id).evaluations > 2 for run in with_storage.list_runs())
    finally:
        with_storage.close()


def test_a_server_of_its_own_starts_serves_and_ends_with_the_run(model, capsys):
    assert main(["run", "constants-10", "--serve", str(model), *SHAPE, "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["evaluations"] == 2
    assert "server: loading the weights" in told.err
    assert "server: stopping the model server" in told.err
    port = int(told.err.partition("is served at http://127.0.0.1:")[2].partition("/")[0])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
        pytest.fail("it still listens")


def test_one_that_runs_already_is_used_and_left_alone(serve, model, capsys):
    ready, process = serve(model, "--port", free_port())
    assert main(["run", "constants-10", "--serve", str(model), *SHAPE, "--json"]) == 0
    told = capsys.readouterr()
    assert f"server: tiny is served at {ready['url']}" in told.err
    assert "starting vLLM" not in told.err
    assert process.poll() is None


def test_an_interrupted_run_says_how_it_goes_on_and_does(model, tmp_path):
    command = [
        *PROGRAM,
        "run",
        "constants-10",
        "--serve",
        str(model),
    ]
    shape = ["--chains", "1", "--steps", "5000", "--candidates", "1", "--sandbox", "process"]
    with subprocess.Popen(
        [*command, *shape, "--scheduler", "local"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while not _evaluated(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    (hint,) = [line.strip() for line in told.splitlines() if "resume" in line]
    assert hint.endswith(f"--serve {model}")
    assert "--base-url URL instead of --serve" in told
    words = hint.split()
    run = words[words.index("resume") + 1]
    assert main(["resume", run, "--serve", str(model), "--max-evaluations", "1", "--scheduler", "local"]) == 0
    assert stored().config["generator"]["model"] == "tiny"
