"""Real runs whose machine fails them in the middle: nothing lost or charged, and the same run as without the fault."""

import asyncio
import contextlib
import dataclasses
import errno
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from discovery.config import RunConfig, SandboxConfig, SearchConfig, SlotsConfig
from discovery.launch import started
from discovery.records import RunStatus
from discovery.sandbox import make_backend
from discovery.storage import open_storage

SHAPE = SearchConfig(chains=3, steps=8, candidates=4)
BUDGET = 96
BACKENDS = [pytest.param("bubblewrap", marks=pytest.mark.sandbox), pytest.param("process")]


def config_of(sandbox):
    return RunConfig(
        problem="constants-10",
        seed=11,
        search=SHAPE,
        slots=SlotsConfig(evaluation=2),
        sandbox=SandboxConfig(backend=sandbox),
    )


def trajectory(storage, run):
    """All that a fault must not change: every outcome and every committed step."""
    return [
        dataclasses.replace(
            step, outcomes=tuple(dataclasses.replace(outcome, duplicate_of=None) for outcome in step.outcomes)
        )
        for chain in range(SHAPE.chains)
        for step in storage.committed_steps(run, chain)
    ]


@pytest.fixture(params=BACKENDS)
def sandbox(request):
    if missing := make_backend(request.param).missing():
        pytest.skip("; ".join(missing))
    return request.param


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The trajectory without faults; the same in every sandbox."""
    storage = open_storage(str(tmp_path_factory.mktemp("undisturbed") / "runs.db"))

    async def whole():
        async with started(config_of("process"), storage, make_backend("process")) as run:
            return trajectory(storage, (await run.execute()).run)

    found = asyncio.run(whole())
    storage.close()
    assert len(found) == SHAPE.chains * SHAPE.steps
    return found


@asynccontextmanager
async def disturbed(tmp_path, sandbox, expected, *, evaluations=24):
    """Gives a run that has made so many evaluations; in the end it must have become the same as without a fault."""
    storage = open_storage(str(tmp_path / "runs.db"))
    try:
        async with started(config_of(sandbox), storage, make_backend(sandbox)) as run:
            executing = asyncio.create_task(run.execute())
            await until(lambda: run.progress.evaluations >= evaluations or executing.done())
            yield run
            summary = await asyncio.wait_for(executing, 120)
        assert (summary.status, summary.evaluations) == (RunStatus.FINISHED, BUDGET)
        assert trajectory(storage, summary.run) == expected
    finally:
        storage.close()


async def until(holds, timeout_s=30):
    async with asyncio.timeout(timeout_s):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def processes_of(label):
    """Processes of this host whose command line has a run's id: what is in its sandboxes."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and label.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def sandboxes_of(label):
    """Those of them that are no candidate's: whoever kills a candidate makes it look like one that kills itself."""
    return [pid for pid in processes_of(label) if parent_of(pid) in ("bwrap", "this process")]


def parent_of(pid):
    with contextlib.suppress(OSError):
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return (
            "this process" if int(parent) == os.getpid() else Path(f"/proc/{parent}/comm").read_text().strip()
        )
    return None


async def test_sandboxes_killed_at_random_many_times(tmp_path, sandbox, undisturbed):
    rng = random.Random(3)
    kills = 0
    async with disturbed(tmp_path, sandbox, undisturbed, evaluations=8) as run:
        while (before := run.progress.evaluations) < BUDGET - 20:
            if victims := sandboxes_of(run.record.id):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(victims), signal.SIGKILL)
                    kills += 1
            await until(lambda: run.progress.evaluations >= before + 6)
            await asyncio.sleep(rng.uniform(0, 0.03))
    assert kills >= 8
    assert not processes_of(run.record.id)


async def test_the_scorers_host_killed_many_times(tmp_path, undisturbed):
    async with disturbed(tmp_path, "process", undisturbed) as run:
        for _ in range(5):
            process = run._evaluator._host._process
            if process is not None:  # else it is just being started again
                process.kill()
            await another(run)


async def another(run):
    before = run.progress.evaluations
    await until(lambda: run.progress.evaluations > before or before == BUDGET)


@pytest.fixture
def small_tmp(tmp_path, monkeypatch):
    """A temporary directory of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=200", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system of its own size can be mounted: {mounted.stderr.strip()}")
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


async def test_a_full_temporary_directory(tmp_path, sandbox, undisturbed, small_tmp):
    async with disturbed(tmp_path, sandbox, undisturbed) as run:
        filling = asyncio.create_task(fill(small_tmp))
        await asyncio.sleep(0.05)
        end(processes_of(run.record.id))
        if sandbox == "process":
            # It cannot even make its folders, so the run waits; a bubblewrap sandbox needs no room on the host.
            await until(lambda: run.progress.notice is not None)
            assert "No space left on device" in run.progress.notice
        await asyncio.sleep(0.5)
        filling.cancel()
        for path in small_tmp.glob("filler*"):
            path.unlink()


async def fill(folder):
    """Take all room and all names, and what becomes free."""
    names = (folder / f"filler-{number}" for number in range(100_000))
    with (folder / "filler").open("ab", buffering=0) as file:
        while True:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1 << 12))
            with contextlib.suppress(OSError):
                while True:
                    next(names).touch()
            await asyncio.sleep(0.01)


def end(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def test_no_descriptors_left(tmp_path, sandbox, undisturbed):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with disturbed(tmp_path, sandbox, undisturbed) as run:
        there = processes_of(run.record.id)
        try:
            # No number is left to a new one, whatever is closed: those below are taken.
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            end(there)
            await until(lambda: run.progress.notice is not None)
            assert "Too many open files" in run.progress.notice
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_process_can_be_started(tmp_path, sandbox, undisturbed, monkeypatch):
    async with disturbed(tmp_path, sandbox, undisturbed) as run:
        with monkeypatch.context() as refused:
            refused.setattr(subprocess, "_fork_exec", no_process)
            refused.setattr(threading, "_start_new_thread", no_thread)
            end(processes_of(run.record.id))
            await until(lambda: run.progress.notice is not None)
            # Which of the two is refused first, the machine's load decides.
            said = run.progress.notice
            assert "Resource temporarily unavailable" in said or "can't start new thread" in said, said


def no_process(*_):
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def no_thread(*_):
    raise RuntimeError("can't start new thread")


HOG = """
import sys, time
from pathlib import Path
group, left = Path(sys.argv[1]), int(sys.argv[2])
(group / "cgroup.procs").write_text("0")
limit = int((group / "memory.limit_in_bytes").read_text())
kept, end = [], None  # two seconds of shortage, however long it takes to get there
while end is None or time.monotonic() < end:
    if int((group / "memory.usage_in_bytes").read_text()) < limit - left:
        kept.append(bytearray(b"x") * (1 << 19))
    else:
        end = end or time.monotonic() + 2
        time.sleep(0.001)
"""
JOIN = """
import os, sys
from pathlib import Path
(Path(sys.argv[1]) / "cgroup.procs").write_text("0")
from discovery.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def small_memory():
    """A control group of 400 MB."""
    own = Path("/proc/self/cgroup").read_text().splitlines()
    place = next((line.split(":", 2)[2] for line in own if line.split(":")[1] == "memory"), None)
    if place is None:
        pytest.skip("the memory of a whole run can be bounded here in version 1 only")
    group = Path(f"/sys/fs/cgroup/memory{place}") / f"pressure-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(400 << 20))
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    yield group
    group.rmdir()


@pytest.mark.sandbox
def test_no_memory_left(tmp_path, undisturbed, small_memory):
    database = tmp_path / "runs.db"
    arguments = ["run", "constants-10", "--chains", "3", "--steps", "8", "--candidates", "4", "--seed", "11"]
    arguments += ["--storage", str(database), "--scheduler", "local", "--sandbox", "bubblewrap"]
    arguments += ["--evaluation-slots", "2", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", JOIN, small_memory, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    process.stderr.readline()
    hog = subprocess.Popen([sys.executable, "-c", HOG, small_memory, str(1 << 20)])
    said = process.communicate(timeout=120)[1].decode()
    hog.wait()
    assert process.returncode == 0, said[-2000:]
    storage = open_storage(str(database))
    run = storage.list_runs()[0].id
    assert trajectory(storage, run) == undisturbed
    storage.close()
    assert int((small_memory / "memory.max_usage_in_bytes").read_text()) > 396 << 20
