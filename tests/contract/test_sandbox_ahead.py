"""The child that waits for the next request, and what makes a sandbox suspect."""

import asyncio
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from discovery import data
from discovery.declared import Limits
from discovery.errors import MissingComponent
from discovery.sandbox import make_backend
from discovery.sandbox.base import FunctionCall, SandboxSpec
from discovery.sandbox.python import zygote_files


async def value(sandbox, source, *args, limits=None, cores=()):
    result = await sandbox.run(
        FunctionCall(
            source=source,
            function="solve",
            arguments=data.encode([list(args), {}]),
            limits=limits or Limits(),
            cores=cores,
        )
    )
    assert result.failure is None, result.failure
    return data.decode(result.data)


def children(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def waiting(zygote):
    """The one child that there is when all is quiet."""
    while len(found := children(zygote)) != 1:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    return found[0]


class Live:
    """A live sandbox of the kind whose processes this one can see, and its zygote."""

    def __init__(self, **spec):
        self.sandbox = make_backend("process").create(SandboxSpec(**spec))

    async def __aenter__(self):
        await self.sandbox.start()
        self.zygote = self.sandbox._launched.end.__self__.process.pid
        return self

    async def __aexit__(self, *error):
        await self.sandbox.close()


PID = "import os\ndef solve():\n    return os.getpid()"


async def test_a_child_waits_and_takes_the_next_request():
    async with Live() as live:
        for _ in range(3):
            first = await waiting(live.zygote)
            assert await value(live.sandbox, PID) == first
        assert live.sandbox.suspicion is None


async def test_a_child_that_does_not_fit_is_replaced():
    async with Live() as live:
        first = await waiting(live.zygote)
        assert await value(live.sandbox, PID, limits=Limits(file_bytes=1 << 20)) != first
        second = await waiting(live.zygote)
        assert await value(live.sandbox, PID, limits=Limits(file_bytes=1 << 20)) == second
        third = await waiting(live.zygote)
        core = min(os.sched_getaffinity(0))
        assert await value(live.sandbox, PID, limits=Limits(file_bytes=1 << 20), cores=(core,)) != third
        assert live.sandbox.suspicion is None


async def test_the_clocks_start_with_the_request():
    async with Live() as live:
        await waiting(live.zygote)
        await asyncio.sleep(0.5)
        assert await value(live.sandbox, "def solve():\n    return 1", limits=Limits(wall_s=0.4)) == 1


async def test_a_child_that_was_ended_is_replaced_and_makes_the_sandbox_suspect():
    async with Live() as live:
        first = await waiting(live.zygote)
        os.kill(first, signal.SIGKILL)
        while _alive(first):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert await value(live.sandbox, PID) != first
        assert "waiting" in live.sandbox.suspicion
        await value(live.sandbox, PID)
        assert "waiting" in live.sandbox.suspicion


async def test_a_zygote_without_a_host_ends_with_its_child():
    async with Live() as live:
        child = await waiting(live.zygote)
        live.sandbox._launched.channel.shutdown(2)
        deadline = time.monotonic() + 2
        while any(_alive(pid) for pid in (live.zygote, child)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_child_ends_with_a_zygote_that_is_killed():
    async with Live() as live:
        child = await waiting(live.zygote)
        os.kill(live.zygote, signal.SIGKILL)
        deadline = time.monotonic() + 2
        while _alive(child):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)


async def test_files_that_resist_make_the_sandbox_suspect():
    resist = "import os\ndef solve():\n    os.makedirs('a/b')\n    os.chmod('a', 0)\n    return 1"
    deep = """
import os
def solve():
    for _ in range(20):  # past the longest path
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    return 1
"""
    plain = "import os\ndef solve():\n    os.makedirs('a/b/c')\n    open('a/f', 'w').close()\n    return 1"
    async with Live() as live:
        await value(live.sandbox, plain)
        assert live.sandbox.suspicion is None
        # Rights do not hold root back.
        await value(live.sandbox, deep if os.geteuid() == 0 else resist)
        assert "by force" in live.sandbox.suspicion
        assert await value(live.sandbox, "import os\ndef solve():\n    return os.listdir()") == [
            "candidate.py"
        ]


async def test_modules_are_imported_before_the_first_request():
    source = "import sys\ndef solve(names):\n    return [n in sys.modules for n in names]"
    names = ["xml.dom.minidom", "numpy.random", "numpy.polynomial", "confine", "request"]
    async with Live() as live:
        assert await value(live.sandbox, source, names) == [False] * 5
    async with Live(packages=("numpy",), preload=("xml.dom.minidom", "numpy.none", "nonesuch")) as live:
        assert await value(live.sandbox, source, names) == [True, True, False, False, False]
    async with Live(packages=("numpy",), preload=("numpy.polynomial",)) as live:
        assert await value(live.sandbox, source, names) == [False, True, True, False, False]


async def test_a_package_that_cannot_be_imported_is_named(tmp_path, monkeypatch):
    (tmp_path / "brittle_package.py").write_text("raise ValueError('no')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sandbox = make_backend("process").create(
        SandboxSpec(packages=("brittle_package",), preload=("brittle_package.sub",))
    )
    with pytest.raises(MissingComponent, match=r"'brittle_package' cannot be imported.*ValueError: no"):
        await sandbox.start()


def test_slow_ends_are_odd(monkeypatch):
    path = Path(zygote_files()[0]).with_name("confine.py")
    monkeypatch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location("confine_under_test", path)
    confine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(confine)
    for name in ("leftovers", "seccomp"):
        sys.modules.pop(name)

    class Slow(confine.Confinement):
        def __init__(self):
            self.oddity = None

        def _end(self):
            time.sleep(0.02)
            return 0, 0.0

    guard = Slow()
    assert guard.end() == (0, 0.0)
    assert guard.oddity is None
    monkeypatch.setattr(confine, "_ODD_S", 0.01)
    guard.end()
    assert "took 0.0 s" in guard.oddity
