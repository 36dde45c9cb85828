"""Whole runs on a real vLLM server."""

import asyncio
import json
import os
import subprocess
import sys

import pytest

from discovery.config import GeneratorConfig, RunConfig, SamplingConfig, SearchConfig
from discovery.launch import started
from discovery.records import RunStatus
from discovery.sandbox import make_backend
from discovery.storage import open_existing, open_storage
from discovery.summary import summarize

pytestmark = pytest.mark.vllm


def test_a_run_on_the_command_line_keeps_everything(vllm_server, tmp_path):
    storage = str(tmp_path / "runs.db")
    command = [sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())"]
    command += [
        "run",
        "constants-10",
        "--base-url",
        vllm_server.url,
        "--model",
        "tiny",
        "--sandbox",
        "process",
    ]
    command += ["--chains", "2", "--steps", "3", "--candidates", "4", "--max-tokens", "300", "--seed", "3"]
    command += ["--scheduler", "local", "--storage", storage, "--json"]
    environment = {**os.environ, "DISCOVERY_HOME": str(tmp_path)}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert ran.returncode == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert (result["status"], result["evaluations"]) == ("finished", 24)
    assert result["best_score"] is not None
    opened = open_existing(storage)
    try:
        steps = [opened.step(result["run"], chain, number) for chain in range(2) for number in (1, 2, 3)]
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
    assert len({step.completions[0].seed for step in steps}) == 6, (
        "one seed for all would make all samples alike"
    )


async def test_a_server_that_is_killed_pauses_the_run_which_goes_on_when_it_is_back(vllm_server, tmp_path):
    config = RunConfig(
        problem="constants-10",
        search=SearchConfig(chains=2, steps=12, candidates=4),
        generator=GeneratorConfig(
            kind="openai", base_url=(vllm_server.url,), model="tiny", sampling=SamplingConfig(max_tokens=300)
        ),
    )
    storage = open_storage(str(tmp_path / "runs.db"))
    try:
        async with started(config, storage, make_backend("process")) as run, asyncio.timeout(200):
            task = asyncio.create_task(run.execute())
            while run.progress.evaluations < 16:  # noqa: ASYNC110  what is watched has no event
                await asyncio.sleep(0.005)
            vllm_server.kill()
            while summarize(storage, run.record.id).status is not RunStatus.PAUSED:
                assert not task.done()
                await asyncio.sleep(0.1)
            assert run.progress.evaluations < 96
            vllm_server.start()
            await asyncio.to_thread(vllm_server.wait)
            summary = await task
        assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, 96)
        assert storage.counts(summary.run).completions == 96
    finally:
        storage.close()
