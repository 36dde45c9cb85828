"""Whole runs on a real vLLM server."""

import asyncio
import json

import pytest

from discovery.cli import main
from discovery.config import GeneratorConfig, RunConfig, SamplingConfig, SearchConfig
from discovery.launch import started
from discovery.records import RunStatus
from discovery.sandbox import make_backend
from discovery.storage import open_existing, open_storage
from discovery.summary import summarize
from tests.integration.vllm.conftest import looked_after

pytestmark = pytest.mark.vllm


def test_a_run_on_the_command_line_keeps_everything(vllm_server, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISCOVERY_HOME", str(tmp_path / "home"))
    storage = str(tmp_path / "runs.db")
    command = [
        "run",
        "constants-10",
        "--base-url",
        vllm_server.url,
        "--model",
        "tiny",
        "--sandbox",
        "process",
    ]
    command += ["--chains", "2", "--steps", "2", "--candidates", "4", "--max-tokens", "300", "--seed", "3"]
    command += ["--scheduler", "local", "--storage", storage, "--json"]
    code = main(command)
    told = capsys.readouterr()
    assert code == 0, told.err
    result = json.loads(told.out)
    assert (result["status"], result["evaluations"]) == ("finished", 16)
    assert result["best_score"] is not None
    opened = open_existing(storage)
    try:
        steps = [opened.step(result["run"], chain, number) for chain in range(2) for number in (1, 2)]
    finally:
        opened.close()
    for step in steps:
        assert sorted(step.completions) == [0, 1, 2, 3]
        made = step.completions.values()
        assert len({completion.text for completion in made}) > 1
        assert len({completion.prompt_token_ids for completion in made}) == 1
        for index, completion in step.completions.items():
            assert completion.seed == step.completions[0].seed + index
            assert len(completion.prompt_token_ids) > 500
            assert len(completion.token_ids) == len(completion.logprobs) == completion.tokens.completion
            assert all(logprob <= 0 for logprob in completion.logprobs)
            assert completion.model.revision == str(vllm_server.model)
            assert completion.model.server == "vllm 0.32.0"
    assert len({step.completions[0].seed for step in steps}) == 4, (
        "one seed for all would make all samples alike"
    )


@pytest.mark.weekly
async def test_a_server_that_is_killed_pauses_the_run_which_goes_on_when_it_is_back(
    vllm_program, tiny_models, tmp_path
):
    """At each change: tests/integration/test_model_run.py, with a stub that dies and comes back."""
    with looked_after(vllm_program, tmp_path / "home", tiny_models / "tiny") as server:
        await goes_on(server, tmp_path / "runs.db")


async def goes_on(server, place):
    config = RunConfig(
        problem="constants-10",
        search=SearchConfig(chains=2, steps=12, candidates=4),
        generator=GeneratorConfig(
            kind="openai", base_url=(server.url,), model="tiny", sampling=SamplingConfig(max_tokens=300)
        ),
    )
    storage = open_storage(str(place))
    try:
        async with started(config, storage, make_backend("process")) as run, asyncio.timeout(200):
            task = asyncio.create_task(run.execute())
            while run.progress.evaluations < 16:  # noqa: ASYNC110  what is watched has no event
                await asyncio.sleep(0.005)
            server.kill()
            while summarize(storage, run.record.id).status is not RunStatus.PAUSED:
                assert not task.done()
                await asyncio.sleep(0.1)
            assert run.progress.evaluations < 96
            summary = await task
        assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 96)
        assert storage.counts(summary.run).completions == 96
    finally:
        storage.close()
    assert "starting it again (1 of 3)" in (server.home / "told").read_text()
