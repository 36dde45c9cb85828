"""`discovery serve`, `publish` and `run --serve` with a real vLLM. How it ends, :func:`looked_after` asserts."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from discovery.cli import main
from discovery.generation.control import running_servers
from discovery.generation.probe import Probe
from discovery.storage import open_existing
from tests.integration.vllm.conftest import PROGRAM, looked_after

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

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


@pytest.fixture(autouse=True)
def place(vllm_program, tmp_path, monkeypatch):
    """A folder of this test's own, and the environment that names it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DISCOVERY_STORAGE", str(tmp_path / "runs.db"))
    monkeypatch.setenv("DISCOVERY_VLLM", str(vllm_program))
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    return tmp_path


@pytest.fixture
def served(vllm_server, place, monkeypatch):
    """The server of all tests, found by commands that are run here; what it said when it was ready."""
    monkeypatch.setenv("DISCOVERY_HOME", str(vllm_server.home))
    return vllm_server.ready


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


def test_it_says_what_it_serves_as_the_server_tells_it(served, vllm_server, tiny_models):
    ready = served
    assert (ready["model"], ready["root"]) == ("tiny", str(tiny_models / "tiny"))
    assert (ready["takes_adapters"], ready["adapters"], ready["reasons"]) == (True, [], False)
    assert ready["context_tokens"] == 8192
    assert ready["version"].startswith("0.32")
    told = (vllm_server.home / "told").read_text()
    assert re.search(r"server: preparing a LlamaForCausalLM \(\d+ s\)", told)
    assert "loading the weights" in told
    assert [record.url for record in running_servers()] == [ready["url"]]


def test_tokens_that_are_streamed_in_batches_are_all_there(vllm_server):
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
    events = Probe(vllm_server.url)._ask("POST", "/v1/chat/completions", body, 120)
    data = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: {")]
    choices = [choice for event in data for choice in event["choices"]]
    ids = sum(len(choice.get("token_ids") or ()) for choice in choices)
    logprobs = sum(len((choice.get("logprobs") or {}).get("content") or ()) for choice in choices)
    assert ids == logprobs == data[-1]["usage"]["completion_tokens"] == 450
    assert len(choices) < 50, "one event per token"


def test_a_run_uses_the_server_that_serves_its_model(served, vllm_server, tiny_models, capsys):
    begun = time.monotonic()
    assert (
        main(["run", "constants-10", "--serve", str(tiny_models / "tiny"), "--steps", "2", *SHAPE, "--json"])
        == 0
    )
    told = capsys.readouterr()
    assert json.loads(told.out)["evaluations"] == 8
    assert f"tiny is served at {served['url']}" in told.err
    assert vllm_server.process.poll() is None
    assert time.monotonic() - begun < 60


def test_an_adapter_answers_after_publish_and_its_base_as_before(served, tiny_models, says, capsys):
    before = answer(served["url"], "tiny")
    code, found = published(capsys, tiny_models / "marker-adapter")
    assert code == 0, found
    assert found["kind"] == "adapter"
    assert answer(served["url"], found["model"]) == says["marker-adapter"] != before
    assert answer(served["url"], "tiny") == before


def test_a_broken_folder_is_refused_and_the_old_model_still_answers(served, tiny_models, tmp_path, capsys):
    before = answer(served["url"], "tiny")
    for source, file in (("marker", "model.safetensors"), ("marker-adapter", "adapter_model.safetensors")):
        broken = shutil.copytree(tiny_models / source, tmp_path / source)
        os.truncate(broken / file, (broken / file).stat().st_size - 100)
        code, told = published(capsys, broken)
        assert (code, f"{file} is not whole" in told) == (2, True), told
    assert answer(served["url"], "tiny") == before


@pytest.mark.weekly
def test_a_checkpoint_takes_the_models_place_while_a_run_goes_on(
    vllm_program, tiny_models, says, capsys, place
):
    (place / "unhurried.py").write_text(UNHURRIED)
    with looked_after(vllm_program, place / "home", tiny_models / "tiny") as server:
        command = [*PROGRAM, "run", "unhurried.py", "--base-url", server.url, "--model", "tiny"]
        command += ["--steps", "100000", *SHAPE]
        with (place / "run").open("w") as out:
            run = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            _until(lambda: _spoken(place), run)
            code, found = published(capsys, tiny_models / "marker")
            assert code == 0, found
            assert (found["model"], found["kind"]) == ("tiny", "checkpoint")
            assert answer(server.url, "tiny") == says["marker"]
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
