"""What a Docker engine, its containers and their hosts may do in the middle of things: end, vanish, be killed."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from discovery import data
from discovery.declared import Limits
from discovery.errors import SandboxError
from discovery.records import RunStatus
from discovery.sandbox import docker, images, make_backend
from discovery.sandbox.base import FunctionCall, SandboxSpec
from discovery.sandbox.container import RUN_LABEL
from discovery.sandbox.engine import Engine
from discovery.storage import open_storage
from discovery.summary import summarize
from discovery.testing.dockerd import PrivateEngine, have_image
from discovery.testing.sandbox import World
from tests.conftest import IN_MEMORY, keeps_in_memory

pytestmark = pytest.mark.docker

CLI = "import sys; from discovery.cli import main; sys.exit(main())"
HOST = """
import asyncio, sys
from discovery import data
from discovery.declared import Limits
from discovery.sandbox import make_backend
from discovery.sandbox.base import FunctionCall, SandboxSpec

SOURCE = '''
import os, time
def solve():
    if os.fork() == 0:
        os.setsid()
    time.sleep(60)
'''

async def main():
    while True:
        sandbox = make_backend("docker").create(SandboxSpec(label=sys.argv[2]))
        await sandbox.start()
        print("started", flush=True)
        if sys.argv[1] == "running":
            arguments, limits = data.encode([[], {}]), Limits(wall_s=60)
            await sandbox.run(FunctionCall(source=SOURCE, function="solve", arguments=arguments, limits=limits))
        if sys.argv[1] == "leaving":
            return
        await sandbox.close()

asyncio.run(main())
"""


def host(doing, world, folder):
    return subprocess.Popen(
        [sys.executable, "-c", HOST, doing, world.label],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def containers(world):
    with Engine() as engine:
        return [one.name for one in engine.labelled(f"{RUN_LABEL}={world.label}")]


def gone(find, timeout_s=10.0):
    """What is still found after a while."""
    deadline = time.monotonic() + timeout_s
    while (found := find()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def call(source):
    arguments = data.encode([[], {}])
    return FunctionCall(source=source, function="solve", arguments=arguments, limits=Limits(wall_s=5))


def test_a_host_that_is_killed_leaves_no_process_no_container_and_no_folder(docker_engine, tmp_path):
    world = World()
    process = host("running", world, tmp_path)
    try:
        assert process.stdout.readline() == "started\n"
        assert containers(world)
        time.sleep(0.3)
        process.kill()
        process.wait()
        assert not gone(world.processes)
        assert not gone(lambda: containers(world)), "the engine removes what has ended"
        assert not list(tmp_path.iterdir())
    finally:
        process.kill()
        process.communicate()


def test_what_a_host_leaves_that_is_killed_while_a_sandbox_starts_is_swept(
    docker_engine, tmp_path, monkeypatch
):
    rng = random.Random(1)
    monkeypatch.setattr(docker.tempfile, "tempdir", str(tmp_path))
    for _ in range(5):
        world = World()
        process = host("starting", world, tmp_path)
        try:
            assert process.stdout.readline() == "started\n"
            time.sleep(rng.uniform(0, 0.4))
        finally:
            process.kill()
            process.communicate()
        assert not gone(world.processes)
        make_backend("docker").sweep()
        assert not gone(lambda: containers(world))  # noqa: B023  called at once
        assert not list(tmp_path.iterdir())


def test_what_a_live_host_uses_is_not_swept(docker_engine):
    async def both():
        world = World()
        sandbox = make_backend("docker").create(SandboxSpec(label=world.label))
        await sandbox.start()
        try:
            make_backend("docker").sweep()
            assert containers(world)
            return await sandbox.run(call("def solve():\n    return 1"))
        finally:
            await sandbox.close()
            assert not gone(lambda: containers(world))

    assert asyncio.run(both()).failure is None


def test_an_interpreter_that_exits_ends_its_containers(docker_engine, tmp_path):
    world = World()
    process = host("leaving", world, tmp_path)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert not world.processes()
    assert not gone(lambda: containers(world))


def test_a_start_that_is_cancelled_leaves_nothing(docker_engine):
    world = World()

    async def cancelled(after_s):
        sandbox = make_backend("docker").create(SandboxSpec(label=world.label))
        task = asyncio.create_task(sandbox.start())
        await asyncio.sleep(after_s)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if outcome is None:  # it was quicker
            await sandbox.close()
        return isinstance(outcome, asyncio.CancelledError)

    assert asyncio.run(cancelled(0.01))
    for after_s in (0, 0.05, 0.1, 0.2):
        asyncio.run(cancelled(after_s))
        assert not world.processes()
        assert not gone(lambda: containers(world))


def test_a_container_that_is_ended_by_others_is_an_error_of_the_sandbox(docker_engine):
    async def ended():
        world = World()
        sandbox = make_backend("docker").create(SandboxSpec(label=world.label))
        await sandbox.start()
        try:
            task = asyncio.create_task(sandbox.run(call("import time\ndef solve():\n    time.sleep(5)")))
            await asyncio.sleep(0.2)
            with Engine() as engine:
                (one,) = engine.labelled(f"{RUN_LABEL}={world.label}")
                engine.remove(one.id)
            with pytest.raises(SandboxError, match="ended unexpectedly"):
                await task
            assert sandbox.suspicion is not None
        finally:
            await sandbox.close()

    asyncio.run(ended())


def test_another_process_cannot_answer_in_the_containers_place(docker_engine, monkeypatch):
    world = World()
    monkeypatch.setattr(docker, "_peer", lambda channel: os.getpid())
    sandbox = make_backend("docker").create(SandboxSpec(label=world.label))
    with pytest.raises(SandboxError, match="in place of the container's first process"):
        asyncio.run(sandbox.start())
    assert not gone(world.processes)
    assert not gone(lambda: containers(world))


def test_an_image_without_python_says_so(docker_engine):
    made = images.Contents(files={}, links={}, made={"/etc/x": b""}, folders=("/tmp",), environment={})
    with Engine() as engine:
        engine.import_image(made.tar(), "no-python:1", labels={}, environment={})
    try:
        with pytest.raises(SandboxError, match="python3"):
            asyncio.run(make_backend("docker").create(SandboxSpec(image="no-python:1")).start())
    finally:
        with Engine() as engine:
            engine.remove_image("no-python:1")


@pytest.fixture
def own_engine(monkeypatch):
    """An engine that a test may end."""
    reason = PrivateEngine.missing()
    if reason is not None:
        pytest.skip(reason)
    with PrivateEngine(IN_MEMORY if keeps_in_memory() else Path("/tmp")) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        have_image()
        yield engine


def test_a_run_outlives_its_engine(own_engine, tmp_path):
    """While there is none the run waits; then nothing is missing, twice there, or blamed on a candidate."""
    shape = ["--chains", "2", "--steps", "40", "--candidates", "4", "--evaluation-slots", "2"]
    shape += ["--scheduler", "local", "--sandbox", "docker", "--storage", "runs.db", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", CLI, "run", "constants-10", *shape],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        run = at_work(tmp_path, process, lambda storage, run: storage.counts(run).evaluations >= 40)
        own_engine.stop()
        at_work(tmp_path, process, lambda storage, run: storage.get_run(run).status is RunStatus.PAUSED)
        own_engine.start()
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert json.loads(out)["evaluations"] == 320
    storage = open_storage(str(tmp_path / "runs.db"))
    try:
        counts, summary = storage.counts(run), summarize(storage, run)
        assert counts.evaluations == counts.completions == 320
        assert summary.status is RunStatus.FINISHED
        assert not [kind for kind in summary.failures if kind == "sandbox"]
    finally:
        storage.close()


def at_work(folder, process, is_so, timeout_s=120.0):
    """Wait until something is so of the run; its id."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if (folder / "runs.db").exists():
            storage = open_storage(str(folder / "runs.db"))
            try:
                runs = storage.list_runs()
                if runs and is_so(storage, runs[0].id):
                    return runs[0].id
            finally:
                storage.close()
        time.sleep(0.05)
    raise AssertionError("the run does not get there")
