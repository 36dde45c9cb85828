"""Whole runs against a model server that behaves, dies, and comes back."""

import asyncio
import dataclasses
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from discovery.config import GeneratorConfig, RunConfig, SearchConfig, SlotsConfig
from discovery.launch import started
from discovery.records import RunStatus
from discovery.sandbox import make_backend
from discovery.storage import open_storage
from discovery.summary import summarize
from discovery.testing.server import FakeConfig, FakeServer, Reply


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def config(url, **search):
    return RunConfig(
        problem="constants-10",
        search=SearchConfig(**{"chains": 2, "steps": 3, "candidates": 4, **search}),
        generator=GeneratorConfig(kind="openai", base_url=(url,), timeout_s=20),
    )


async def until(holds, timeout_s=30.0):
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110  what is watched has no event
            await asyncio.sleep(0.01)


@pytest.fixture
def storage(tmp_path):
    opened = open_storage(str(tmp_path / "runs.db"))
    yield opened
    opened.close()


async def test_one_request_a_step_and_everything_is_kept(storage):
    async with (
        FakeServer(FakeConfig(slots=8, latency_s=0.01)) as server,
        started(config(server.url), storage, make_backend("process")) as run,
    ):
        summary = await run.execute()
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 24)
    assert len(server.requests) == 6
    assert {request["n"] for request in server.requests} == {4}
    seeds = [request["seed"] for request in server.requests]
    assert len(set(seeds)) == 6, "one seed for all would make all samples alike"
    step = storage.step(summary.run, 0, 2)
    assert [m.content for m in step.prompt.messages] == [
        m["content"] for r in server.requests for m in r["messages"] if r["seed"] == step.completions[0].seed
    ]
    assert storage.counts(summary.run).completion_tokens == server.tokens
    assert all(c.finish_reason == "stop" and c.text for c in step.completions.values())
    assert step.completions[2].seed == step.completions[0].seed + 2


async def test_a_server_that_dies_pauses_the_run_which_goes_on_when_it_is_back(storage, monkeypatch):
    def slow_update(lease, **what):
        time.sleep(0.2)
        update(lease, **what)

    update = storage.update_run
    monkeypatch.setattr(storage, "update_run", slow_update)
    port = free_port()
    answers = FakeConfig(slots=8, latency_s=0.05)
    server = await FakeServer(answers).start(port=port)
    async with started(config(server.url, steps=8), storage, make_backend("process")) as run:
        task = asyncio.create_task(run.execute())
        await until(lambda: run.progress.evaluations >= 16)
        await server.close()
        await until(lambda: run.progress.notice is not None)
        assert str(port) in run.progress.notice
        assert summarize(storage, run.record.id).status is RunStatus.PAUSED
        spent = run.progress.evaluations
        await asyncio.sleep(1.0)
        assert run.progress.evaluations == spent
        second = await FakeServer(answers).start(port=port)
        summary = await asyncio.wait_for(task, 60)
        await second.close()
    assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 64)
    assert storage.counts(summary.run).completions == 64
    assert sum(summary.failures.values()) == 0


@pytest.mark.parametrize(("given", "limits"), [(None, (4, 5, 6)), (11, (11,))])
async def test_the_limit_of_completions_in_flight_follows_the_server_unless_it_is_given(
    storage, given, limits
):
    server = FakeServer(FakeConfig(slots=4, latency_s=0.2, sigma=0.1))
    async with server:
        wide = config(server.url, chains=8, steps=1000, candidates=2)
        wide = dataclasses.replace(wide, slots=SlotsConfig(generation=given, evaluation=2))
        async with started(wide, storage, make_backend("process")) as run:
            task = asyncio.create_task(run.execute())
            await until(lambda: run.progress.generation.slots in limits and server.choices >= 40, 90)
            await until(lambda: server.stats()["waiting"] <= max(limits), 90)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await until(lambda: server.stats()["running"] == 0)


def discovery(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


async def test_the_command_line_honours_the_usual_variables_and_keeps_the_key_secret(tmp_path):
    key = "sk-very-secret-0123456789"
    async with FakeServer(FakeConfig(api_key=key)) as server:
        arguments = ("run", "constants-10", "--chains", "1", "--steps", "2", "--sandbox", "process", "--json")
        variables = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": key}
        ran = await asyncio.to_thread(discovery, *arguments, cwd=tmp_path, **variables)
        assert ran.returncode == 0, ran.stderr
        (line,) = ran.stdout.splitlines()
        assert json.loads(line)["evaluations"] == 8
        wrong = await asyncio.to_thread(
            discovery, *arguments, cwd=tmp_path, **{**variables, "OPENAI_API_KEY": "sk-wrong"}
        )
        assert wrong.returncode == 2
        assert "OPENAI_API_KEY" in wrong.stderr
        assert len(wrong.stderr.strip().splitlines()) <= 2, wrong.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path
    for output in (ran.stdout, ran.stderr, wrong.stdout, wrong.stderr):
        assert key not in output
        assert "sk-wrong" not in output


async def test_a_model_without_a_sandbox_is_refused(tmp_path):
    async with FakeServer() as server:
        arguments = ("run", "constants-10", "--base-url", server.url, "--steps", "1")
        nothing = {"PATH": "/nonexistent", "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
        ran = await asyncio.to_thread(discovery, *arguments, cwd=tmp_path, **nothing)
    assert ran.returncode == 2
    assert "--sandbox process" in ran.stderr
    assert server.requests == []


WEIGHTS = """
from discovery import Invalid, problem

@problem(
    name="weights",
    statement="Choose two whole numbers whose sum is close to 10.",
    initial='{"weights": [1, 1]}',
    bounds=(None, 0.0),
    schema={"type": "object", "properties": {"weights": {"type": "array", "items": {"type": "integer"}}}},
)
def score(program):
    weights = program.data.get("weights") if isinstance(program.data, dict) else None
    if not isinstance(weights, list) or not all(type(w) is int for w in weights):
        raise Invalid("weights is not a list of whole numbers")
    return -abs(sum(weights) - 10)
"""


async def test_solutions_that_are_data_go_all_the_way(tmp_path):
    (tmp_path / "weights.py").write_text(WEIGHTS)
    answers = ['{"weights": [4, 4]}', '{"weights": "many"}', "I would rather not.", '{"weights": [9, 1]}']

    def answer(messages, seed):
        return Reply(text=answers.pop(0))

    async def ran(*arguments):
        done = await asyncio.to_thread(discovery, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async with FakeServer(answer=answer) as server:
        shape = ("--chains", "1", "--steps", "1", "--candidates", "4", "--keep", "text", "--effort", "low")
        where = ("--base-url", server.url, "--sandbox", "process", "--json")
        run = json.loads(await ran("run", "./weights.py", *shape, *where))
    (request,) = server.requests
    assert request["response_format"]["json_schema"]["schema"]["properties"]["weights"]["type"] == "array"
    assert (request["reasoning_effort"], request.get("logprobs")) == ("low", None)
    assert (run["best_score"], run["initial_score"]) == (0.0, -8.0)
    assert run["failures"] == {"invalid": 1, "no_program": 1}
    assert await ran("best", run["run"], "--out", "out", "--json")
    assert json.loads((tmp_path / "out" / "best.json").read_text()) == {"weights": [9, 1]}
    silent = await ran("show", run["run"], "0.1.2")
    assert "no program was found in this answer of the model:\nI would rather not." in silent
    assert f"{run['tokens']['prompt']:,} of prompts" in await ran("show", run["run"])
