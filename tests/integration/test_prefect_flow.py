"""Runs and loops scheduled by a real Prefect server: a flow run named after it, a task run per step or stage."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from discovery.plugins import share_dir
from discovery.storage import open_storage

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]

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
flow = runpy.run_path(sys.argv[1])["discover"].with_options(flow_run_name="deployed")
settings = json.loads(sys.argv[2])
print(json.dumps(asyncio.run(flow("constants-10", settings, sys.argv[3]))))
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

place, kill_at = Path(sys.argv[2]), int(sys.argv[3])
for name in ("seen", "unseen"):
    (place / f"{name}.py").write_text(PLUGIN.format(name=name, direction="maximize"))
plan = make_plan(
    write_checkpoint(place / "tiny"), (str(place / "seen.py"),), (str(place / "unseen.py"),), RunConfig(problem=""),
    rounds=RoundsConfig(rounds=2, seeds=1),
)
world = World(place, (0.0, 1.0, 2.0))
looping = Looping(place, world, replace(plan, id="loopfixed"))
killed = os.fork()
if killed == 0:
    act = world.act

    def act_or_die(what):
        if len(world.acts) == kill_at:
            os._exit(9)
        act(what)

    world.act = act_or_die
    try:
        asyncio.run(execute_as_flow(looping.loop()))
    finally:
        os._exit(1)
code = os.waitstatus_to_exitcode(os.waitpid(killed, 0)[1])
asyncio.run(execute_as_flow(looping.loop()))
print(json.dumps([code, world.acts]))
"""

LOADED = """
import asyncio, json, runpy, sys
from discovery.errors import UsageError

said = []
for path, name, parameters in json.loads(sys.argv[1]):
    flow = runpy.run_path(path)[name]
    try:
        asyncio.run(flow(**parameters))
    except UsageError as error:
        said.append(str(error))
    else:
        said.append(None)
print(json.dumps(said))
"""


def python(*arguments, cwd, prefect):
    done = subprocess.run(
        [sys.executable, "-c", *arguments],
        cwd=cwd,
        env=prefect.environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def recorded(prefect, name, tasks):
    """The task runs of the completed flow runs of a name, once the server has recorded so many as completed."""
    deadline = time.monotonic() + 60
    while True:
        flows = [run for run in prefect.flow_runs(name) if run["state"]["name"] == "Completed"]
        runs = prefect.task_runs(flows)
        if len(completed(runs)) >= tasks or time.monotonic() > deadline:
            return runs
        time.sleep(0.2)


def completed(runs):
    return sorted(run["name"] for run in runs if run["state"]["type"] == "COMPLETED")


def test_a_run_is_a_flow_and_a_step_is_a_task(tmp_path, prefect):
    main = "import sys; from discovery.cli import main; sys.exit(main())"
    shape = ["--chains", "2", "--steps", "3", "--candidates", "2", "--sandbox", "process"]
    arguments = ["run", "constants-10", *shape, "--scheduler", "prefect", "--json"]
    summary = python(main, *arguments, cwd=tmp_path, prefect=prefect)
    assert (summary["status"], summary["evaluations"]) == ("finished", 12)
    assert completed(recorded(prefect, summary["run"], 6)) == [
        f"chain {chain} step {step}" for chain in range(2) for step in (1, 2, 3)
    ]


def test_the_flow_file_runs_as_a_deployment_would_run_it_with_steps_that_overlap_and_one_retried(
    tmp_path, prefect
):
    settings = {
        "search": {"chains": 1, "steps": 3, "candidates": 2, "overlap": 1},
        "sandbox": {"backend": "process"},
    }
    database = str(tmp_path / "deployed.db")
    flow_file = str(share_dir("flows") / "discover.py")
    run = python(DEPLOYED, flow_file, json.dumps(settings), database, cwd=tmp_path, prefect=prefect)
    storage = open_storage(database)
    assert storage.counts(run).evaluations == storage.counts(run).completions == 6
    assert [step.step for step in storage.committed_steps(run, 0)] == [1, 2, 3]
    # Planned beside step 1, from the same past.
    assert storage.step(run, 0, 2).step.parents == storage.step(run, 0, 1).step.parents
    storage.close()
    retried = [task for task in recorded(prefect, "deployed", 3) if task["run_count"] > 1]
    assert [(task["name"], task["run_count"], task["state"]["name"]) for task in retried] == [
        ("chain 0 step 2", 2, "Completed")
    ]


def test_each_piece_of_work_of_a_loop_is_a_task_and_a_killed_flow_is_gone_on_with(tmp_path, prefect):
    code, acts = python(LOOP, str(ROOT), str(tmp_path), "15", cwd=tmp_path, prefect=prefect)
    assert code == 9, "the first was killed in mid-training"
    assert acts[0].startswith("checkpoints/1 "), "the training went on from its checkpoint"
    assert not any("-r0-" in act for act in acts), "no run was made again"
    runs = [f"{name}-loopfixed-r{revision}-s0" for name in ("seen", "unseen") for revision in (1, 2)]
    assert completed(recorded(prefect, "loopfixed", 7)) == sorted(
        [*runs, "export for round 2", "train revision 1", "train revision 2"]
    )


def test_the_flow_files_load_as_a_deployment_would_load_them(tmp_path, prefect):
    """All in one process: Prefect's import is most of what loading takes."""
    cases = (
        ("closed_loop", {"model": "nowhere", "problems": ["zigzag-8"], "held_out": ["zigzag-12"]}, "nowhere"),
        ("closed_loop", {"settings": {"round": {}}}, "unknown setting 'round'"),
        ("post_train", {"runs": ["a"], "model": "nowhere"}, "nowhere"),
    )
    given = []
    for place, (name, parameters, _) in enumerate(cases):
        where = {"out": str(tmp_path / str(place)), "storage": str(tmp_path / f"{place}.db")}
        given.append([str(share_dir("flows") / f"{name}.py"), name, {**where, **parameters}])
    errors = python(LOADED, json.dumps(given), cwd=tmp_path, prefect=prefect)
    for place, ((_, _, said), error) in enumerate(zip(cases, errors, strict=True)):
        assert error is not None
        assert said in error
        assert not (tmp_path / str(place) / "plan.json").exists()
