"""Each missing thing is named with the command that gets it; nothing secret is shown."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from discovery import doctor, sandbox
from discovery.generation.control import enrolled
from discovery.generation.vllm import ServeOptions
from discovery.sandbox import hierarchies
from discovery.testing.vllm import program


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path))
    for name in ("DISCOVERY_STORAGE", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


class Backend:
    def __init__(self, *missing: str) -> None:
        self._missing = missing

    def missing(self):
        return self._missing


@pytest.fixture
def backend(monkeypatch):
    """Set what the sandbox's backend says is missing."""

    def use(*missing: str) -> None:
        monkeypatch.setattr(sandbox, "make_backend", lambda name: Backend(*missing), raising=False)

    return use


def test_everything_is_looked_at_and_what_is_wrong_has_a_fix(backend, monkeypatch):
    backend("bwrap: is not installed; apt-get install -y bubblewrap")
    monkeypatch.setattr(doctor.prefect_server, "import_error", lambda: "TypeError: min_items; pip x")
    found = doctor.diagnose()
    assert len({d.name for d in found}) == len(found) == len(doctor.CHECKS)
    for d in found:
        assert d.detail
        assert "\n" not in d.detail + (d.fix or "")
        assert d.ok or d.fix, d
    assert {d.name for d in found if d.needed} == {"python", "bubblewrap", "storage"}


def test_control_groups_that_cannot_be_had_come_with_the_command_that_gets_them(monkeypatch):
    monkeypatch.setattr(hierarchies, "find", lambda: hierarchies.Absent(why="not this user's: systemd-run x"))
    found = doctor.check_control_groups()
    assert (found.ok, found.detail, found.fix, found.needed) == (
        False,
        "not this user's",
        "systemd-run x",
        False,
    )


def test_old_python(monkeypatch):
    assert doctor.check_python().ok
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 9))
    assert not doctor.check_python().ok


@pytest.mark.parametrize(
    ("missing", "detail", "fix"),
    [
        ("bwrap is not installed; apt-get install bubblewrap", "bwrap is not installed", "apt-get install"),
        ("namespaces; are off; sysctl -w x=1", "namespaces; are off", "sysctl -w x=1"),
        ("bwrap is not installed", "bwrap is not installed", "bubblewrap"),
    ],
)
def test_sandbox_that_is_missing(backend, missing, detail, fix):
    backend(missing)
    found = doctor.check_bubblewrap()
    assert (found.ok, found.needed, found.detail) == (False, True, detail)
    assert fix in found.fix


def test_sandbox_that_works(backend):
    backend()
    assert doctor.check_bubblewrap().ok


@pytest.mark.parametrize(
    ("manager", "command"),
    [("apt-get", "apt-get install -y"), ("dnf", "dnf install"), ("apk", "apk add"), (None, "install x with")],
)
@pytest.mark.parametrize("uid", [0, 1000])
def test_system_packages(monkeypatch, manager, command, uid):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: name if name == manager else None)
    monkeypatch.setattr(doctor.os, "geteuid", lambda: uid)
    found = doctor.system_install("x")
    assert command in found
    assert found.startswith("sudo ") == (uid != 0 and manager is not None)


class TestStorage:
    def test_default_is_writable_and_nothing_is_made(self, tmp_path):
        found = doctor.check_storage()
        assert (found.ok, found.detail) == (True, str(tmp_path / ".discovery" / "discovery.db"))
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_cannot_be_written(self, tmp_path, monkeypatch):
        monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
        found = doctor.check_storage()
        assert not found.ok
        assert "DISCOVERY_STORAGE" in found.fix

    def test_a_password_in_the_url_is_not_shown(self, monkeypatch):
        monkeypatch.setenv("DISCOVERY_STORAGE", "postgresql://me:hunter2@db.example/runs")
        found = doctor.check_storage()
        assert found.ok
        assert "db.example" in found.detail
        assert "hunter2" not in found.detail

    def test_little_room(self, monkeypatch):
        assert doctor.check_disk().ok
        monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 1 << 80)
        assert not doctor.check_disk().ok


class TestPrefect:
    def test_the_fix_is_the_command(self, monkeypatch):
        error = doctor.prefect_server._with_fix("TypeError: no 'min_items'", "min_items")
        monkeypatch.setattr(doctor.prefect_server, "import_error", lambda: error)
        found = doctor.check_prefect()
        assert not found.ok
        assert not found.needed
        assert found.fix == f"{sys.executable} -m pip install 'fastapi>=0.139,<0.151'"
        assert "min_items" in found.detail

    def test_import_error_is_its_last_line(self, monkeypatch):
        monkeypatch.setattr(doctor.prefect_server, "_IMPORT", "raise TypeError('no min_items')")
        assert doctor.prefect_server.import_error().startswith("TypeError: no min_items; ")

    def test_that_it_works(self, monkeypatch):
        monkeypatch.setattr(doctor.prefect_server, "import_error", lambda: None)
        found = doctor.check_prefect()
        assert (found.ok, found.fix) == (True, None)


def test_extras():
    missing = doctor._module("no_such_module", "postgres", "for x")
    assert not missing.ok
    assert missing.fix == f"{sys.executable} -m pip install 'discovery-loop[postgres]'"
    assert doctor._module("pytest", "dev", "for x").detail == pytest.__version__


class TestDocker:
    def test_works(self, backend):
        backend()
        found = doctor.check_docker()
        assert (found.ok, found.fix, found.needed) == (True, None, False)

    @pytest.mark.parametrize(
        ("missing", "detail", "fix"),
        [
            ("no image: discovery image build", "no image", "discovery image build"),
            (
                "no engine at unix:///x: gone: sudo systemctl y",
                "no engine at unix:///x: gone",
                "sudo systemctl y",
            ),
        ],
    )
    def test_what_is_missing_is_named_with_the_fix(self, backend, missing, detail, fix):
        backend(missing)
        found = doctor.check_docker()
        assert (found.ok, found.detail, found.fix, found.needed) == (False, detail, fix, False)


class TestModelServer:
    @pytest.fixture
    def serve(self, monkeypatch):
        """Serve one answer; returns the headers that were received."""
        servers: list[HTTPServer] = []

        def answer(status: int, body: object) -> list[dict]:
            seen: list[dict] = []

            class Handler(BaseHTTPRequestHandler):
                def do_GET(self):
                    seen.append(dict(self.headers))
                    self.send_response(status if self.path == "/v1/models" else 404)
                    self.end_headers()
                    self.wfile.write(json.dumps(body).encode())

                def log_message(self, *args):
                    """Be quiet."""

            listening = HTTPServer(("127.0.0.1", 0), Handler)
            servers.append(listening)
            threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
            monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{listening.server_port}/v1")
            return seen

        yield answer
        for listening in servers:
            listening.shutdown()
            listening.server_close()

    def test_not_set(self):
        found = doctor.check_model_server()
        assert not found.ok
        assert "OPENAI_BASE_URL" in found.fix

    def test_one_of_ours_needs_no_address(self):
        with enrolled(ServeOptions(model="org/tiny", name="tiny", port=8123)):
            found = doctor.check_model_server()
        assert (found.ok, found.detail) == (True, "tiny at http://127.0.0.1:8123/v1 (discovery serve)")

    def test_serves(self, serve, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
        seen = serve(200, {"data": [{"id": "small-model"}]})
        found = doctor.check_model_server()
        assert found.ok
        assert "small-model" in found.detail
        assert "hunter2" not in found.detail
        assert seen[0]["Authorization"] == "Bearer hunter2"

    def test_wrong_key(self, serve):
        serve(401, {})
        found = doctor.check_model_server()
        assert (found.ok, found.fix) == (False, "export OPENAI_API_KEY=...")

    @pytest.mark.parametrize("body", [[], {}, {"data": 3}, {"data": [{}]}, "text"])
    def test_answers_something_else(self, serve, body):
        serve(200, body)
        assert "no list of models" in doctor.check_model_server().detail

    @pytest.mark.parametrize("url", ["http://me:hunter2@127.0.0.1:9/v1", "nonsense", "http://[::1"])
    def test_nothing_answers(self, monkeypatch, url):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        found = doctor.check_model_server()
        assert not found.ok
        assert "hunter2" not in found.detail


def test_nothing_heavy_is_loaded_to_look():
    code = "import sys, discovery.doctor; assert not {'prefect', 'sqlalchemy', 'openai'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_vllm_where_it_is_and_where_it_is_not(tmp_path, monkeypatch):
    monkeypatch.setenv("DISCOVERY_VLLM", str(tmp_path / "bin" / "vllm"))
    found = doctor.check_vllm()
    assert (found.ok, found.detail.partition(" ")[0]) == (False, "DISCOVERY_VLLM")
    assert "discovery-loop[vllm]" in found.fix
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin")
    (tmp_path / "lib" / "python3.11" / "site-packages" / "vllm-0.32.0+cpu.dist-info").mkdir(parents=True)
    found = doctor.check_vllm()
    assert found.ok
    assert found.detail == f"0.32.0+cpu, for processors only, at {tmp_path / 'bin' / 'vllm'}"
