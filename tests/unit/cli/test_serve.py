"""``discovery serve``, ``publish`` and ``run --serve`` as a user and a script meet them, with a stand-in for vLLM."""

import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from discovery.cli import main, serving
from discovery.cli.app import MISUSE
from discovery.generation.control import enrolled
from discovery.generation.probe import Card
from discovery.generation.vllm import ServeOptions
from discovery.testing.vllm import Behaviour, write_adapter, write_checkpoint

PROGRAM = [sys.executable, "-c", "from discovery.cli import main; raise SystemExit(main())"]
SHAPE = ["--chains", "1", "--steps", "1", "--candidates", "2", "--sandbox", "process", "--scheduler", "local"]


pytestmark = pytest.mark.usefixtures("own_place")


@pytest.fixture
def model(stand_in_model):
    return stand_in_model


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def gone(pid):
    return not Path(f"/proc/{pid}").exists()


def error_of(capsys):
    """The one line of standard error."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("server: ")]
    return line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_interrupted_and_leaves_nothing(serve, model, number):
    port = free_port()
    ready, process = serve(model, "--port", port, "--max-model-len", "512")
    assert ready["url"] == f"http://127.0.0.1:{port}/v1"
    assert (ready["model"], ready["root"], ready["context_tokens"]) == ("tiny", str(model), 1024)
    assert (ready["takes_adapters"], ready["already"]) == (False, False)
    assert Path(ready["log"]).is_file()
    process.send_signal(number)
    rest, told = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "")
    assert "stopped" in told
    assert gone(ready["pid"])
    assert not (Path(ready["log"]).parent / "server.json").exists()


def test_its_words_say_how_to_use_it(model, capsys, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("discovery.cli.serve.time", SimpleNamespace(sleep=interrupt))
    port = free_port()
    assert main(["serve", str(model), "--port", str(port), "--lora", "--max-lora-rank", "12"]) == 0
    told = capsys.readouterr()
    assert f"run PROBLEM --base-url http://127.0.0.1:{port}/v1 --model tiny" in told.out
    assert "up to rank 16" in told.out
    assert "1,024 tokens" in told.out
    assert "server: loading the weights" in told.err
    assert "Ctrl-C" in told.err


def test_arguments_after_two_dashes_are_vllms(model, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        "discovery.cli.serve.started_server", lambda options, **_: seen.append(options) or 1 / 0
    )
    assert main(["serve", str(model), "--port", str(free_port()), "--", "--dtype", "half", "--lora"]) == 70
    assert seen[0].extra == ("--dtype", "half", "--lora")
    assert seen[0].adapters is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["./gone"], "'./gone' is no folder"),
        (["no such/"], "is no folder"),
        (["vllm"], "vllm is a file"),
        (["."], "holds neither config.json"),
        (["tiny", "--port", "0"], "--port 0"),
        (["tiny", "--gpu-memory", "2"], "--gpu-memory 2"),
        (["tiny", "--max-loras", "0"], "--max-loras 0"),
        (["tiny", "--max-lora-rank", "1000"], "--max-lora-rank 1000"),
        (["tiny", "junk"], "'junk'"),
        (["tiny", "--start-timeout", "0"], "--start-timeout 0"),
        (["adapter"], "/tiny --lora, and discovery publish"),
        (["tiny", "--vllm", "/no/vllm"], "--vllm /no/vllm is no program"),
        (["tiny", "--engine", "onnx"], "--engine onnx: it must be one of vllm, torch"),
        (["tiny", "--engine", "torch", "--vllm", "/x"], "--engine torch takes none"),
        pytest.param(["tiny", "--engine", "torch", "--lora"], "--lora is for vLLM", marks=pytest.mark.train),
        pytest.param(
            ["tiny", "--engine", "torch", "--gpu-memory", "0.5"], "--gpu-memory is", marks=pytest.mark.train
        ),
        pytest.param(["org/tiny", "--engine", "torch"], "serves folders only", marks=pytest.mark.train),
    ],
)
def test_misuse_is_one_line_and_starts_nothing(model, arguments, said, capsys, tmp_path):
    write_adapter(tmp_path / "adapter", model)
    if "--port" not in arguments:
        arguments = [*arguments, "--port", str(free_port())]
    assert main(["serve", *arguments]) == MISUSE
    assert said in error_of(capsys)
    assert not (tmp_path / "home").exists()


def test_a_model_that_does_not_start_is_told_with_its_reason(model, capsys):
    write_checkpoint(model, fake=Behaviour.EXITS)
    assert main(["serve", str(model), "--port", str(free_port())]) == MISUSE
    told = capsys.readouterr().err
    assert "server: | ValueError: the weights cannot be loaded" in told
    assert "error: the model server ended while it started" in told


def test_a_port_where_the_model_is_served_already_is_no_error(serve, model, capsys):
    ready, _ = serve(model, "--port", free_port())
    port = ready["url"].split(":")[2].removesuffix("/v1")
    assert main(["serve", str(model), "--port", port]) == 0
    assert f"--base-url {ready['url']} --model tiny" in capsys.readouterr().out
    assert main(["serve", str(model), "--port", port, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["already"] is True
    other = write_checkpoint(model.parent / "other")
    assert main(["serve", str(other), "--port", port]) == MISUSE
    assert f"port {port} is taken by a server of tiny; name another: --port" in error_of(capsys)


def test_a_port_that_something_else_has(model, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        assert main(["serve", str(model), "--port", port]) == MISUSE
    assert f"port {port} is taken by something that is no model server" in error_of(capsys)


@pytest.mark.parametrize("is_left", [False, True], ids=["no socket", "one of a server that was killed"])
def test_a_server_that_starts_takes_no_weights_yet(model, capsys, monkeypatch, is_left):
    with enrolled(ServeOptions(model=str(model), name="tiny", port=8123)) as home:
        if is_left:
            monkeypatch.chdir(home)
            with socket.socket(socket.AF_UNIX) as left:
                left.bind("control")
        assert main(["publish", str(model)]) == MISUSE
    assert "tiny at http://127.0.0.1:8123/v1 does not take weights yet" in error_of(capsys)


def test_publish_asks_the_server_that_runs(serve, model, tmp_path, capsys):
    assert main(["publish", str(model)]) == MISUSE
    assert "no server runs here; start one: discovery serve MODEL" in error_of(capsys)
    ready, _ = serve(model, "--port", free_port(), "--lora")
    adapter = write_adapter(tmp_path / "round", model)
    assert main(["publish", str(adapter), "--json"]) == 0
    published = json.loads(capsys.readouterr().out)
    assert (published["kind"], published["url"]) == ("adapter", ready["url"])
    assert published["model"].startswith("round-")
    for name in ("tiny", ready["url"], ready["url"].replace("127.0.0.1", "localhost").removesuffix("/v1")):
        assert main(["publish", str(adapter), "--server", name]) == 0
        assert f"--model {published['model']}" in capsys.readouterr().out
    os.truncate(adapter / "adapter_model.safetensors", 50)
    assert main(["publish", str(adapter)]) == MISUSE
    assert "is not whole" in error_of(capsys)
    assert main(["publish", str(adapter), "--server", "other"]) == MISUSE
    assert "--server other: tiny at" in error_of(capsys)


class TestRun:
    def test_one_that_is_still_starting_is_waited_for(self, serve, model, capsys, monkeypatch):
        ready, _ = serve(model, "--port", free_port())
        healthy = serving.Probe.healthy
        answers = iter([False, False])
        monkeypatch.setattr(
            serving.Probe, "healthy", lambda probe: next(answers, None) is None and healthy(probe)
        )
        monkeypatch.setattr(serving, "_LOOK_S", 0.01)
        assert serving.find_served(str(model)) == serving.Found(url=ready["url"], name="tiny")
        assert capsys.readouterr().err.count("waiting for tiny") == 1

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["no-such-problem", "--serve", "tiny"], "no-such-problem"),
            (["constants-10", "--serve", "./gone"], "'./gone' is no folder"),
            (["constants-10", "--serve", "tiny", "--chains", "0"], "chains"),
            (["constants-10", "--serve", "tiny", "--base-url", "http://x/v1"], "--base-url http://x/v1"),
            (["constants-10", "--serve", "tiny", "--generator", "mutation"], "--generator mutation"),
            (["constants-10", "--serve", "tiny", "--selector", "odd"], "odd"),
            (["constants-10", "--serve", "tiny", "--require-isolation", "untrusted"], "process"),
        ],
    )
    def test_whatever_else_is_wrong_is_told_before_a_server_starts(
        self, model, arguments, said, capsys, tmp_path
    ):
        assert main(["run", *arguments, "--sandbox", "process"]) == MISUSE
        assert said in error_of(capsys)
        assert not (tmp_path / "home" / "serve").exists()

    def test_without_vllm_the_fix_is_told(self, model, monkeypatch, capsys):
        monkeypatch.setenv("DISCOVERY_VLLM", "/no/vllm")
        assert main(["run", "constants-10", "--serve", str(model), *SHAPE]) == MISUSE
        assert "DISCOVERY_VLLM /no/vllm is no program" in error_of(capsys)


class TestMatch:
    @pytest.mark.parametrize(
        ("model", "name", "found"),
        [
            ("tiny", None, "tiny"),
            ("org/tiny", None, "tiny"),
            ("org/tiny", "tiny", "tiny"),
            ("org/tiny", "other", None),
            ("adapted", None, "adapted"),
            ("unknown", None, None),
        ],
    )
    def test_by_name_or_by_where_its_weights_came_from(self, model, name, found):
        cards = [Card(name="tiny", root="org/tiny"), Card(name="adapted", root="/a", parent="tiny")]
        card = serving.match(cards, model, name)
        assert (card.name if card else None) == found

    def test_by_folder(self, tmp_path):
        (tmp_path / "m").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "m")
        assert serving.match([Card(name="x", root=str(tmp_path / "link"))], str(tmp_path / "m")) is not None

    def test_at_the_url_of_the_environment(self, monkeypatch):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = json.dumps({"data": [{"id": "far", "root": "org/far"}]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/v1"
            monkeypatch.setenv("OPENAI_BASE_URL", url)
            assert serving.find_served("org/far") == serving.Found(url=url, name="far", root="org/far")
            assert serving.find_served("org/near") is None
            server.shutdown()
