"""An evaluator over real sandboxes: what breaks is replaced, and nothing is left behind."""

import asyncio
import os
import random
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from discovery.errors import SandboxError
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import Candidate, CandidateKey
from discovery.sandbox import make_backend
from discovery.testing.sandbox import World

PLUGIN = """
from discovery import Limits, problem

@problem(name="toy", statement="Return a number.", initial="def solve():\\n    return 0.0\\n",
         limits=Limits(wall_s=20.0), deterministic=False)
def score(program):
    return program.call("solve")
"""
BACKENDS = [pytest.param("bubblewrap", marks=pytest.mark.sandbox), pytest.param("process")]
HANG = "import time\n\ndef solve():\n    time.sleep(60)\n"


def candidate(source, index=0):
    key = CandidateKey(0, 1, index)
    return Candidate(key=key, source=source, parents=(), created_at=datetime.now(UTC))


def open_descriptors():
    return sorted(str(p.readlink()) for p in Path("/proc/self/fd").iterdir() if p.is_symlink())


async def nothing_left(world):
    """What was killed may take a busy machine a moment to end."""
    deadline = time.monotonic() + 2
    while (left := world.processes()) and time.monotonic() < deadline:  # noqa: ASYNC110  they tell nobody
        await asyncio.sleep(0.02)
    assert not left, "\n".join(map(world.describe, left))


@pytest.fixture(params=BACKENDS)
async def setup(request, tmp_path):
    backend = make_backend(request.param)
    if missing := backend.missing():
        pytest.skip("; ".join(missing))
    (tmp_path / "toy.py").write_text(PLUGIN)
    world = World()
    evaluator = Evaluator(load_problem(str(tmp_path / "toy.py")), backend, slots=2, label=world.label)
    await evaluator.start()
    yield evaluator, world
    await evaluator.close()
    await nothing_left(world)


async def test_sandbox_killed_in_mid_request_is_replaced(setup, tmp_path):
    evaluator, world = setup
    once = tmp_path / "once"
    # bubblewrap's first process only waits for the second, whose end is the end of the sandbox.
    first = 1 if evaluator.record.backend == "bubblewrap" else 0
    for victims in (slice(first, first + 1), slice(99)):
        once.unlink(missing_ok=True)
        task = asyncio.create_task(evaluator.evaluate(candidate(HANG)))
        await asyncio.sleep(0.5)
        before = world.processes()
        for pid in sorted(before)[victims]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        await asyncio.sleep(0.5)
        assert not task.done(), "an evaluation whose sandbox was killed is repeated in a new one"
        again = world.processes() - before
        assert again, "no new sandbox"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        evaluation = await evaluator.evaluate(candidate("def solve():\n    return 1.5\n", 1))
        assert evaluation.score is not None
        assert evaluation.score.value == 1.5


async def test_sandboxes_killed_every_time_are_an_error_and_the_next_evaluation_works(setup):
    evaluator, world = setup

    async def kill_each():
        while True:
            for pid in world.processes():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            await asyncio.sleep(0.02)

    killer = asyncio.create_task(kill_each())
    try:
        with pytest.raises(SandboxError, match="tries"):
            await evaluator.evaluate(candidate(HANG))
    finally:
        killer.cancel()
    evaluation = await evaluator.evaluate(candidate("def solve():\n    return 1.5\n", 1))
    assert evaluation.score is not None


async def test_no_descriptor_or_process_is_left_by_cancellations(setup):
    evaluator, world = setup

    async def one(index):
        hangs = index % 3 == 0
        source = HANG if hangs else f"def solve():\n    print({index})\n    return {index}.0\n"
        task = asyncio.create_task(evaluator.evaluate(candidate(source, index)))
        if hangs or index % 5 == 0:
            await asyncio.sleep(random.Random(index).random() * 0.02)
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            return None

    await asyncio.gather(*(one(index) for index in range(1, 3)))
    first = open_descriptors()
    done = []
    for start in range(0, 60, 4):
        done += await asyncio.gather(*(one(index) for index in range(start, start + 4)))
    assert sum(e is not None and e.score is not None for e in done) > 12
    await asyncio.gather(
        *(evaluator.evaluate(candidate("def solve():\n    return 1.0\n", i)) for i in (1, 2))
    )
    assert len(open_descriptors()) <= len(first) + 8, "descriptors are left"
    await evaluator.close()
    await nothing_left(world)


async def test_memory_of_a_small_limit_beside_large_packages(tmp_path):
    """A command is not held to a limit that the packages of the zygote have used up before it starts."""
    backend = make_backend("process")
    (tmp_path / "toy.py").write_text(
        PLUGIN.replace('program.call("solve")', "float(program.run().stdout)")
        .replace("wall_s=20.0", "wall_s=20.0, memory_bytes=48 << 20")
        .replace("deterministic", "packages=('numpy', 'scipy'), deterministic")
    )
    evaluator = Evaluator(load_problem(str(tmp_path / "toy.py")), backend, slots=1)
    await evaluator.start()
    try:
        evaluation = await evaluator.evaluate(candidate(f"# {'x' * (1 << 20)}\nprint(1.5)\n"))
        assert evaluation.score is not None, evaluation.failure
    finally:
        await evaluator.close()
