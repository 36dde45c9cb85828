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

DEPLOYED = """
import asyncio, json, runpy, sys
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


def test_the_flow_file_runs_as_a_deployment_would_run_it(tmp_path, environment):
    settings = {
        "search": {"chains": 1, "steps": 2, "candidates": 2},
        "sandbox": {"backend": "process"},
    }
    database = str(tmp_path / "deployed.db")
    flow_file = str(share_dir("flows") / "discover.py")
    run = python(DEPLOYED, flow_file, json.dumps(settings), database, cwd=tmp_path, environment=environment)
    storage = open_storage(database)
    assert storage.counts(run).evaluations == 4
    storage.close()
