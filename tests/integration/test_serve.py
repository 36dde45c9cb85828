"""Whole runs with ``--serve``: a server of the run's own, one that runs already, and how an interrupted run goes on."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

from discovery.cli import main, serving
from discovery.plugins import share_dir
from discovery.storage import open_existing
from discovery.testing.vllm import program, write_checkpoint

PROGRAM = [sys.executable, "-c", "from discovery.cli import main; raise SystemExit(main())"]
SHAPE = ["--chains", "1", "--steps", "1", "--candidates", "2", "--sandbox", "process", "--scheduler", "local"]


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch):
    """A home, a program, and a default port that are this test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DISCOVERY_VLLM", str(program(tmp_path)))
    monkeypatch.setenv("DISCOVERY_STORAGE", str(tmp_path / "runs.db"))
    monkeypatch.setattr(serving, "DEFAULT_PORT", free_port())
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "VLLM_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def model(tmp_path):
    initial = (share_dir("problems") / "constants-10" / "initial.py").read_text()
    return write_checkpoint(tmp_path / "tiny", says=f"```python\n{initial}```")


@pytest.fixture
def serve():
    """Start ``discovery serve`` and wait until it serves; gives what it printed and its process."""
    started = []

    def start(*arguments):
        command = [*PROGRAM, "serve", *map(str, arguments), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        line = process.stdout.readline()
        assert line, process.stderr.read()
        return json.loads(line), process

    yield start
    for process in started:
        process.kill()
        process.communicate()


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
