"""A run scheduled by a real Prefect server: a flow run that is named after it, a task run per step."""

import json
import os
import subprocess
import sys

import pytest

from discovery.orchestration import server
from discovery.plugins import share_dir
from discovery.storage import open_storage

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]

COUNT = """
import json, sys, time
from prefect.client.orchestration import get_client

deadline = time.monotonic() + 60
with get_client(sync_client=True) as client:
    while True:
        flows = {run.name: run.state.name for run in client.read_flow_runs()}
        tasks = sorted(run.name for run in client.read_task_runs() if run.state.is_completed())
        if (len(tasks) >= int(sys.argv[1]) and "Running" not in flows.values()) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
print(json.dumps([flows, tasks]))
"""

RETRIED = """
import json, time
from prefect.client.orchestration import get_client

deadline = time.monotonic() + 60
with get_client(sync_client=True) as client:
    while True:
        runs = [run for run in client.read_task_runs() if run.run_count > 1]
        if runs and all(run.state.is_completed() for run in runs) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
print(json.dumps([[run.name, run.run_count, run.state.name] for run in runs]))
"""

DEPLOYED = """
import asyncio, json, runpy, sys
from discovery.errors import SandboxError
from discovery.evaluator import Evaluator

evaluate, failures = Evaluator.evaluate, [SandboxError("gone")]

async def flaky(self, candidate, keep=None):
    if (candidate.key.step, candidate.key.index) == (2, 1) and failures:
        raise failures.pop()
    return await evaluate(self, candidate, keep)

Evaluator.evaluate = flaky
flow = runpy.run_path(sys.argv[1])["discover"]
settings = json.loads(sys.argv[2])
print(asyncio.run(flow("constants-10", settings, sys.argv[3])))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISCOVERY_HOME", str(home / "state"))
        patch.setenv("HOME", str(home / "user"))
        for name in [name for name in os.environ if name.startswith("PREFECT_")]:
            patch.delenv(name)
        state = server.start()
        yield {**os.environ, **server.client_environment(state.url)}
        server.stop()


def python(*arguments, cwd, environment):
    done = subprocess.run(
        [sys.executable, "-c", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_run_is_a_flow_and_a_step_is_a_task(tmp_path, environment):
    main = "import sys; from discovery.cli import main; sys.exit(main())"
    arguments = ["run", "constants-10", "--chains", "2", "--steps", "3", "--candidates", "2"]
    summary = json.loads(
        python(
            main,
            *arguments,
            "--sandbox",
            "process",
            "--scheduler",
            "prefect",
            "--json",
            cwd=tmp_path,
            environment=environment,
        )
    )
    assert (summary["status"], summary["evaluations"]) == ("finished", 12)
    flows, tasks = json.loads(python(COUNT, "6", cwd=tmp_path, environment=environment))
    assert flows[summary["run"]] == "Completed"
    assert tasks == [f"chain {chain} step {step}" for chain in range(2) for step in (1, 2, 3)]


def test_the_flow_file_runs_as_a_deployment_would_run_it_with_steps_that_overlap_and_one_retried(
    tmp_path, environment
):
    settings = {
        "search": {"chains": 1, "steps": 3, "candidates": 2, "overlap": 1},
        "sandbox": {"backend": "process"},
    }
    database = str(tmp_path / "deployed.db")
    flow_file = str(share_dir("flows") / "discover.py")
    run = python(DEPLOYED, flow_file, json.dumps(settings), database, cwd=tmp_path, environment=environment)
    storage = open_storage(database)
    assert storage.counts(run).evaluations == storage.counts(run).completions == 6
    assert [step.step for step in storage.committed_steps(run, 0)] == [1, 2, 3]
    # Planned beside step 1, from the same past.
    assert storage.step(run, 0, 2).step.parents == storage.step(run, 0, 1).step.parents
    storage.close()
    retried = json.loads(python(RETRIED, cwd=tmp_path, environment=environment))
    assert retried == [["chain 0 step 2", 2, "Completed"]]
