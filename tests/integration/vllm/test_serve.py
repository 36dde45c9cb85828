"""`discovery serve`, `publish` and `run --serve` with a real vLLM: one server, published to twice, and stopped."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from discovery.cli import main
from discovery.generation.control import running_servers
from discovery.generation.probe import Probe
from discovery.storage import open_existing

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

PROGRAM = [sys.executable, "-c", "from discovery.cli import main; raise SystemExit(main())"]
SHAPE = [
    "--chains",
    "1",
    "--candidates",
    "4",
    "--max-tokens",
    "200",
    "--sandbox",
    "process",
    "--scheduler",
    "local",
]

UNHURRIED = """
import time
from discovery import problem

@problem(name="unhurried", statement="Ten numbers.", initial='''
# EVOLVE-BLOCK-START
def solve():
    return [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
# EVOLVE-BLOCK-END
''')
def score(program):
    time.sleep(0.5)
    return -sum((float(value) - 1.0) ** 2 for value in program.call("solve"))
"""
"""A run of it takes its time, and leaves the processors to the server that starts beside it."""


@pytest.fixture(scope="module")
def place(vllm_program, tmp_path_factory):
    """A state folder of this module's own, and the environment that names it."""
    folder = tmp_path_factory.mktemp("serve")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DISCOVERY_HOME", str(folder / "home"))
        patch.setenv("DISCOVERY_STORAGE", str(folder / "runs.db"))
        patch.setenv("DISCOVERY_VLLM", str(vllm_program))
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("OPENAI_BASE_URL", raising=False)
        yield folder


@pytest.fixture(scope="module")
def served(place, tiny_models):
    """A server of `tiny` that takes adapters: what it said when it was ready, and its process."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    command = [*PROGRAM, "serve", str(tiny_models / "tiny"), "--port", str(port), "--lora", "--json"]
    with (place / "told").open("w") as told:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told, text=True)
    try:
        line = process.stdout.readline()
        assert line, (place / "told").read_text()
        yield json.loads(line), process
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, ""), (place / "told").read_text()
    assert not [folder for folder in Path("/proc").glob("[0-9]*") if _serves(folder, port)]


def _serves(process, port):
    try:
        return f"--port\0{port}\0" in (process / "cmdline").read_text()
    except OSError:
        return False


@pytest.fixture(scope="module")
def says(tiny_models):
    """What the models were taught to say."""
    return json.loads((tiny_models / "models.json").read_text())


def answer(url, model, tokens=200):
    probe = Probe(url, answer_s=120)
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Go on."}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    return probe._ask("POST", "/v1/chat/completions", body, 120)["choices"][0]["message"]["content"]


def published(capsys, folder):
    code = main(["publish", str(folder), "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out) if code == 0 else told.err


def test_it_says_what_it_serves_as_the_server_tells_it(served, tiny_models, place):
    ready, _ = served
    assert (ready["model"], ready["root"]) == ("tiny", str(tiny_models / "tiny"))
    assert (ready["takes_adapters"], ready["adapters"], ready["reasons"]) == (True, [], False)
    assert ready["context_tokens"] > 1000
    assert ready["version"].startswith("0.32")
    told = (place / "told").read_text()
    assert re.search(r"server: preparing a LlamaForCausalLM \(\d+ s\)", told)
    assert "loading the weights" in told
    assert [record.url for record in running_servers()] == [ready["url"]]


def test_tokens_that_are_streamed_in_batches_are_all_there(served):
    ready, _ = served
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Go on."}],
        "n": 3,
        "seed": 1,
        "max_tokens": 150,
        "ignore_eos": True,
        "logprobs": True,
        "return_token_ids": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    events = Probe(ready["url"])._ask("POST", "/v1/chat/completions", body, 120)
    data = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: {")]
    choices = [choice for event in data for choice in event["choices"]]
    ids = sum(len(choice.get("token_ids") or ()) for choice in choices)
    logprobs = sum(len((choice.get("logprobs") or {}).get("content") or ()) for choice in choices)
    assert ids == logprobs == data[-1]["usage"]["completion_tokens"] == 450
    assert len(choices) < 50, "one event per token"


def test_a_run_uses_the_server_that_serves_its_model(served, tiny_models, capsys):
    ready, process = served
    begun = time.monotonic()
    assert (
        main(["run", "constants-10", "--serve", str(tiny_models / "tiny"), "--steps", "2", *SHAPE, "--json"])
        == 0
    )
    told = capsys.readouterr()
    assert json.loads(told.out)["evaluations"] == 8
    assert f"tiny is served at {ready['url']}" in told.err
    assert process.poll() is None
    assert time.monotonic() - begun < 60


def test_an_adapter_answers_after_publish_and_its_base_as_before(served, tiny_models, says, capsys):
    ready, _ = served
    before = answer(ready["url"], "tiny")
    code, found = published(capsys, tiny_models / "marker-adapter")
    assert code == 0, found
    assert found["kind"] == "adapter"
    assert answer(ready["url"], found["model"]) == says["marker-adapter"] != before
    assert answer(ready["url"], "tiny") == before


def test_a_broken_folder_is_refused_and_the_old_model_still_answers(served, tiny_models, tmp_path, capsys):
    ready, _ = served
    before = answer(ready["url"], "tiny")
    for source, file in (("marker", "model.safetensors"), ("marker-adapter", "adapter_model.safetensors")):
        broken = shutil.copytree(tiny_models / source, tmp_path / source)
        os.truncate(broken / file, (broken / file).stat().st_size - 100)
        code, told = published(capsys, broken)
        assert (code, f"{file} is not whole" in told) == (2, True), told
    assert answer(ready["url"], "tiny") == before


@pytest.mark.weekly
def test_a_checkpoint_takes_the_models_place_while_a_run_goes_on(served, tiny_models, says, capsys, place):
    ready, _ = served
    (place / "unhurried.py").write_text(UNHURRIED)
    command = [*PROGRAM, "run", "unhurried.py", "--base-url", ready["url"], "--model", "tiny"]
    command += ["--steps", "100000", *SHAPE]
    with (place / "run").open("w") as out:
        run = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _until(lambda: _spoken(place), run)
        code, found = published(capsys, tiny_models / "marker")
        assert code == 0, found
        assert (found["model"], found["kind"]) == ("tiny", "checkpoint")
        assert answer(ready["url"], "tiny") == says["marker"]
        _until(lambda: found["revision"] in _spoken(place), run)
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(60)
    assert run.returncode == 130, (place / "run").read_text()
    assert str(tiny_models / "tiny") in _spoken(place)


def _spoken(place):
    """The revisions that wrote completions of the last run."""
    if not (place / "runs.db").exists():
        return set()
    storage = open_existing(str(place / "runs.db"))
    try:
        runs = [run.id for run in storage.list_runs() if run.config["search"]["steps"] == 100_000]
        return {model.revision for run in runs for model in storage.speakers(run)}
    finally:
        storage.close()


def _until(holds, process, timeout_s=240.0):
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert process.poll() is None, "the run ended"
        assert time.monotonic() < deadline
        time.sleep(0.5)
