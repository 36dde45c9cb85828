"""A host that is killed leaves nothing: no process, no folder."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from discovery.sandbox import cgroups, make_backend
from discovery.sandbox.hierarchies import Absent
from discovery.testing.sandbox import World

HOST = """
import asyncio, sys
from discovery import data
from discovery.declared import Limits
from discovery.sandbox import make_backend
from discovery.sandbox.base import FunctionCall, SandboxSpec

SOURCE = '''
import os, signal, time
def solve():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if os.fork() == 0:
        os.setsid()
    time.sleep(60)
'''

async def main():
    sandboxes = [make_backend(sys.argv[1]).create(SandboxSpec(label=sys.argv[2])) for _ in range(2)]
    for sandbox in sandboxes:
        await sandbox.start()
    request = FunctionCall(
        source=SOURCE, function="solve", arguments=data.encode([[], {}]), limits=Limits(wall_s=60)
    )
    task = asyncio.create_task(sandboxes[0].run(request))  # the other one is idle
    await asyncio.sleep(0.3)
    print("running", flush=True)
    await task

asyncio.run(main())
"""


def groups_of(world):
    """The names of that world's control groups; none where groups cannot be made."""
    place = cgroups.available()
    folders = () if isinstance(place, Absent) else place.folders.values()
    return {each.name for folder in folders for each in folder.iterdir() if world.label in each.name}


@pytest.mark.parametrize(
    "name", [pytest.param("bubblewrap", marks=pytest.mark.sandbox), pytest.param("process")]
)
def test_killed_host_leaves_nothing_but_a_control_group_that_is_swept(name, tmp_path):
    missing = make_backend(name).missing()
    if missing:
        pytest.skip("; ".join(missing))
    world = World()
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, name, world.label],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        assert host.stdout.readline() == "running\n"
        assert len(world.processes() - {host.pid}) >= 4
        assert len(groups_of(world)) == (0 if isinstance(cgroups.available(), Absent) else 2)
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
        deadline = time.monotonic() + 10.0
        while world.processes() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not [world.describe(pid) for pid in world.processes()]
    finally:
        host.kill()
        host.wait()
        host.stdout.close()
    assert not list(tmp_path.iterdir())
    make_backend(name).sweep()
    assert not groups_of(world)


STARTING = """
import asyncio, sys
from discovery.sandbox import make_backend
from discovery.sandbox.base import SandboxSpec

async def main():
    while True:
        sandbox = make_backend(sys.argv[1]).create(SandboxSpec(label=sys.argv[2]))
        await sandbox.start()
        await sandbox.close()
        print("started", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "name", [pytest.param("bubblewrap", marks=pytest.mark.sandbox), pytest.param("process")]
)
def test_a_host_that_is_killed_while_a_sandbox_starts_leaves_nothing(name, tmp_path):
    missing = make_backend(name).missing()
    if missing:
        pytest.skip("; ".join(missing))
    rng = random.Random(1)
    for _ in range(6):
        world = World()
        host = subprocess.Popen(
            [sys.executable, "-c", STARTING, name, world.label],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        try:
            assert host.stdout.readline() == "started\n"
            time.sleep(rng.uniform(0, 0.12))
            host.kill()
            host.wait()
            deadline = time.monotonic() + 15.0  # what is to end may not even get a processor for seconds
            while world.processes() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not [world.describe(pid) for pid in world.processes()]
        finally:
            host.kill()
            host.wait()
            host.stdout.close()
        assert len(groups_of(world)) <= 1
        make_backend(name).sweep()
        assert not groups_of(world)


GONE = """
import asyncio, os, signal, sys
from discovery.sandbox import bubblewrap, make_backend
from discovery.sandbox.base import SandboxSpec

def gone(process, info, block, outer):
    # Once it has told its news, bubblewrap has a child, which waits for it; it waits for us.
    news = b""
    while sys.argv[2] == "waiting" and b"}" not in news:
        news += os.read(info, 4096)
    os.kill(os.getpid(), signal.SIGKILL)

bubblewrap._release = gone
asyncio.run(make_backend("bubblewrap").create(SandboxSpec(label=sys.argv[1])).start())
"""


@pytest.mark.sandbox
@pytest.mark.parametrize("moment", ["at once", "waiting"])
def test_bubblewrap_that_is_setting_up_ends_with_its_host(moment):
    """Its child would wait for it for ever if it were killed now."""
    missing = make_backend("bubblewrap").missing()
    if missing:
        pytest.skip("; ".join(missing))
    for _ in range(3):
        world = World()
        host = subprocess.run([sys.executable, "-c", GONE, world.label, moment], check=False)
        assert host.returncode == -signal.SIGKILL
        deadline = time.monotonic() + 3.0
        while world.processes() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not [world.describe(pid) for pid in world.processes()]
        make_backend("bubblewrap").sweep()
        assert not groups_of(world)
