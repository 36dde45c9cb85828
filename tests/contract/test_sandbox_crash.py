"""A host that is killed leaves nothing: no process, no folder."""

import os
import signal
import subprocess
import sys
import time

import pytest

from discovery.sandbox import make_backend
from discovery.testing.sandbox import World

HOST = """
import asyncio, sys
from discovery import data
from discovery.problem import Limits
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


@pytest.mark.parametrize(
    "name", [pytest.param("bubblewrap", marks=pytest.mark.sandbox), pytest.param("process")]
)
def test_killed_host_leaves_nothing(name, tmp_path):
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
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
        deadline = time.monotonic() + 1.0
        while world.processes() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not world.processes()
    finally:
        host.kill()
        host.wait()
        host.stdout.close()
    assert not list(tmp_path.iterdir())
