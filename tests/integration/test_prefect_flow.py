"""Runs and loops scheduled by a real Prefect server: a flow run named after it, a task run per step or stage."""

import json
import os
import subprocess
import sys
from pathlib import Path

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


ROOT = Path(__file__).parents[2]

LOOP = """
import asyncio, json, os, sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from dataclasses import replace
from discovery.loop.plan import RoundsConfig, make_plan
from discovery.config import RunConfig
from discovery.orchestration.loop import execute_as_flow
from discovery.testing.vllm import write_checkpoint
from tests.unit.loop.conftest import Looping, PLUGIN, World

place, kill_at = Path(sys.argv[2]), json.loads(sys.argv[3])
for name in ("seen", "unseen"):
    (place / f"{name}.py").write_text(PLUGIN.format(name=name, direction="maximize"))
plan = make_plan(
    write_checkpoint(place / "tiny"), (str(place / "seen.py"),), (str(place / "unseen.py"),), RunConfig(problem=""),
    rounds=RoundsConfig(rounds=2, seeds=1),
)
world = World(place, (0.0, 1.0, 2.0))
act = world.act

def act_or_die(what):
    if len(world.acts) == kill_at:
        os._exit(9)
    act(what)

world.act = act_or_die
looping = Looping(place, world, replace(plan, id="loopfixed"))
asyncio.run(execute_as_flow(looping.loop()))
print(json.dumps(world.acts))
"""

LOOP_COUNT = """
import json, sys, time
from prefect.client.orchestration import get_client

deadline = time.monotonic() + 60
with get_client(sync_client=True) as client:
    while True:
        flows = {run.id for run in client.read_flow_runs() if run.name == sys.argv[1] and run.state.is_completed()}
        tasks = [run for run in client.read_task_runs() if run.flow_run_id in flows and run.state.is_completed()]
        if len(tasks) >= int(sys.argv[2]) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
print(json.dumps(sorted(run.name for run in tasks)))
"""

LOADED = """
import asyncio, json, runpy, sys
from discovery.errors import UsageError

flow = runpy.run_path(sys.argv[1])[sys.argv[2]]
try:
    asyncio.run(flow(**json.loads(sys.argv[3])))
except UsageError as error:
    print(json.dumps(str(error)))
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


def python(*arguments, cwd, environment, code=0):
    done = subprocess.run(
        [sys.executable, "-c", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stderr
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else None


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


def test_each_piece_of_work_of_a_loop_is_a_task_and_a_killed_flow_is_gone_on_with(tmp_path, environment):
    python(LOOP, str(ROOT), str(tmp_path), "15", cwd=tmp_path, environment=environment, code=9)
    acts = json.loads(python(LOOP, str(ROOT), str(tmp_path), "null", cwd=tmp_path, environment=environment))
    assert acts[0].startswith("checkpoints/1 "), "the training went on from its checkpoint"
    assert not any("-r0-" in act for act in acts), "no run was made again"
    tasks = json.loads(python(LOOP_COUNT, "loopfixed", "7", cwd=tmp_path, environment=environment))
    runs = [f"{name}-loopfixed-r{revision}-s0" for name in ("seen", "unseen") for revision in (1, 2)]
    assert tasks == sorted([*runs, "export for round 2", "train revision 1", "train revision 2"])


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("closed_loop", {"model": "nowhere", "problems": ["zigzag-8"], "held_out": ["zigzag-12"]}, "nowhere"),
        ("closed_loop", {"settings": {"round": {}}}, "unknown setting 'round'"),
        ("post_train", {"runs": ["a"], "model": "nowhere"}, "nowhere"),
    ],
)
def test_the_flow_files_load_as_a_deployment_would_load_them(tmp_path, environment, name, parameters, said):
    file = share_dir("flows") / f"{name}.py"
    given = json.dumps({"out": str(tmp_path / "out"), "storage": str(tmp_path / "runs.db"), **parameters})
    error = python(LOADED, str(file), name, given, cwd=tmp_path, environment=environment)
    assert said in error
    assert not (tmp_path / "out" / "plan.json").exists()
