"""The managed server's files, processes and health, with a small stand-in instead of Prefect's server."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from discovery.errors import MissingComponent, UsageError
from discovery.orchestration import detached, health, server
from discovery.orchestration.detached import Process
from discovery.orchestration.server import ServerState

STAND_IN = """
import sys, subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()

subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    # Another worker's server may be at the usual port.
    monkeypatch.setattr(server, "DEFAULT_PORT", 0)
    return tmp_path


@pytest.fixture
def uvicorn(tmp_path, monkeypatch):
    """Put a stand-in in uvicorn's place; returns how to set its program."""
    folder = tmp_path / "stand-in"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def program(text: str) -> None:
        (folder / "uvicorn.py").write_text(text)

    program(STAND_IN)
    yield program
    server.stop(timeout_s=1)


def test_home_is_the_named_folder_else_the_state_folder(monkeypatch, tmp_path):
    assert server.home() == tmp_path / "prefect"
    monkeypatch.delenv("DISCOVERY_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert server.home() == Path("/state/discovery/prefect")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/somebody")
    assert server.home() == Path("/somebody/.local/state/discovery/prefect")


def test_nothing_runs_at_first():
    status = server.status()
    assert (status.state, status.healthy) == (None, False)
    assert server.api_url() is None
    assert server.stop() is False


def test_start_twice_is_one_server_and_stop_ends_its_whole_group(uvicorn):
    waits: list[float] = []
    state = server.start(progress=waits.append)
    assert waits == sorted(waits)
    assert server.start() == state
    assert server.status().healthy
    assert server.api_url() == state.url
    assert len(detached.group(state.pid)) == 2
    assert server.stop(timeout_s=2) is True
    assert detached.group(state.pid) == []
    assert server.status().state is None


def test_it_has_its_own_session_and_survives_its_starter(uvicorn):
    code = "from discovery.orchestration import server; print(server.start().pid)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    state = server.status().state
    assert state is not None
    assert state.pid == int(done.stdout)
    assert os.getsid(state.pid) == state.pid


def test_an_id_that_is_used_again_is_not_the_server(uvicorn):
    state = server.start()
    path = server.home() / "server.json"
    recorded = path.read_text()
    path.write_text(json.dumps({**json.loads(recorded), "started": state.started - 1}))
    assert server.status().state is None
    assert server.stop() is False
    assert state.process.is_alive, "a process that is not known to be ours is left alone"
    path.write_text(recorded)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "started": 2, "port": 3}'])
def test_a_spoilt_state_file_means_no_server(text):
    server.home().mkdir(parents=True)
    (server.home() / "server.json").write_text(text)
    assert server.status().state is None


def test_a_server_that_dies_shows_the_end_of_its_log(uvicorn):
    uvicorn("import sys; print(*range(100), sep='\\n'); sys.exit('the reason')")
    with pytest.raises(MissingComponent, match="ended while it started") as caught:
        server.start()
    assert "the reason" in str(caught.value)
    assert "    50\n" not in str(caught.value)
    assert server.status().state is None


def test_the_fastapi_that_does_not_fit_is_told_with_its_fix(uvicorn):
    uvicorn("raise SystemExit(\"TypeError: got an unexpected keyword argument 'min_items'\")")
    with pytest.raises(MissingComponent, match=r"pip install 'fastapi>=0\.139,<0\.151'"):
        server.start()


def test_another_server_at_the_port_is_not_taken_for_ours(uvicorn, monkeypatch):
    uvicorn(f"import time; time.sleep(0.5)\n{STAND_IN}")  # which ends where the port is taken
    other = HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    ports = iter([other.server_port, server._free_port(None)])
    monkeypatch.setattr(server, "_free_port", lambda _: next(ports))
    try:
        state = server.start()
        assert state.port != other.server_port
        assert detached.listens(state.pid, state.port)
    finally:
        other.shutdown()
        other.server_close()


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        """Be quiet."""


def test_a_server_that_never_answers_is_stopped(uvicorn):
    uvicorn("import time; time.sleep(600)")
    states: list[ServerState | None] = []
    with pytest.raises(MissingComponent, match=r"within 0\.3 s"):
        server.start(timeout_s=0.3, progress=lambda _: states.append(server.status().state))
    assert states[0] is not None
    assert not states[0].process.is_alive
    assert server.status().state is None


@pytest.fixture
def api():
    """An API elsewhere: its URL and the headers it was asked with."""
    seen: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(dict(self.headers))
            self.send_response(200 if self.path == "/api/health" else 500)
            self.end_headers()

        def log_message(self, *args):
            """Be quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}/api", seen
        listening.shutdown()


def test_the_users_api_wins_when_it_answers(uvicorn, api, monkeypatch):
    url, seen = api
    state = server.start()
    monkeypatch.setenv("PREFECT_API_URL", url)
    monkeypatch.setenv("PREFECT_API_KEY", "secret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert server.api_url() == url
    assert seen[-1]["Authorization"] == "Bearer secret"
    monkeypatch.setenv("PREFECT_API_URL", f"{url}/nowhere")
    assert server.api_url() == state.url


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api", "nonsense", "http://[::1", "ftp://x"])
def test_what_does_not_answer(url):
    assert health.answers(url, timeout_s=0.5) is False


def test_clients_of_the_managed_server_get_a_home_of_their_own(uvicorn):
    state = server.start()
    variables = server.client_environment(state.url)
    assert variables["PREFECT_API_URL"] == state.url
    assert variables["PREFECT_HOME"] == str(server.home() / "client")
    assert variables["DO_NOT_TRACK"] == "1"
    elsewhere = server.client_environment("https://prefect.example/api")
    assert "PREFECT_HOME" not in elsewhere


def test_the_users_prefect_settings_do_not_reach_the_server(monkeypatch):
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "postgresql://theirs")
    monkeypatch.setenv("PREFECT_PROFILE", "theirs")
    environment = server._server_environment(Path("/home"), 4200)
    assert "theirs" not in "".join(v for k, v in environment.items() if k.startswith("PREFECT"))
    assert environment["PREFECT_SERVER_API_HOST"] == "127.0.0.1"


def test_taken_and_impossible_ports(uvicorn, api):
    taken = int(api[0].split(":")[2].split("/")[0])
    for port in (taken, 99_999):
        with pytest.raises(UsageError, match=f"port {port} cannot be used"):
            server.start(port=port)
    state = server.start()
    with pytest.raises(UsageError, match=f"already runs on port {state.port}"):
        server.start(port=taken)


def test_a_home_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="DISCOVERY_HOME"):
        server.start()


def test_a_group_that_ignores_the_request_to_end_is_killed(tmp_path):
    code = "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print(1, flush=True); time.sleep(600)"
    log = tmp_path / "log"
    process = detached.launch([sys.executable, "-c", code], log, tmp_path, dict(os.environ))
    assert isinstance(process, Process)
    deadline = time.monotonic() + 20
    while not log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert detached.end_group(process, timeout_s=0.2)
    assert not process.is_alive


def test_addresses():
    state = ServerState(pid=1, started=1, port=4321)
    assert (state.url, state.dashboard) == ("http://127.0.0.1:4321/api", "http://127.0.0.1:4321")
