"""The host's side of a zygote, whose other side is played here."""

import asyncio
import socket
import time

import pytest

from discovery import data
from discovery.declared import Limits
from discovery.sandbox import client
from discovery.sandbox.base import FunctionCall, SandboxSpec
from discovery.sandbox.client import Launched, ZygoteSandbox
from discovery.sandbox.frames import frame

ONE = FunctionCall(
    source="def solve():\n    return 1\n",
    function="solve",
    arguments=data.encode([[], {}]),
    limits=Limits(wall_s=60),
)


class Zygote:
    """Says that it is ready, if at all, and nothing more; its end takes time.

    Args:
        is_ready: Whether it says so.
    """

    def __init__(self, is_ready=True):
        self.ours, self.theirs = socket.socketpair()
        if is_ready:
            self.theirs.send(frame(b"I", {"resident_bytes": 1, "failed": {}}))
        self.ending = asyncio.Event()
        self.is_gone = False
        self._loop = asyncio.get_running_loop()

    def launch(self, spec):
        return Launched(channel=self.ours, confinement="bare", box="/", end=self.end, log=str)

    def end(self):
        self._loop.call_soon_threadsafe(self.ending.set)
        time.sleep(0.1)
        self.theirs.close()
        self.is_gone = True


@pytest.mark.parametrize("is_ready", [True, False])
async def test_the_end_of_one_that_does_not_answer_holds_nobody_up(monkeypatch, is_ready):
    monkeypatch.setattr(client, "_GRACE_S", 0.02)
    zygote = Zygote(is_ready)
    sandbox = ZygoteSandbox(SandboxSpec(), zygote.launch)

    async def use():
        await sandbox.start()
        await sandbox.run(ONE)

    task = asyncio.create_task(use())
    await asyncio.sleep(0.05)
    task.cancel()
    async with asyncio.timeout(5):
        await zygote.ending.wait()
    assert not zygote.is_gone, "the event loop was blocked until the end"
    with pytest.raises(asyncio.CancelledError):
        await task
    assert zygote.is_gone
    assert sandbox.suspicion is not None
