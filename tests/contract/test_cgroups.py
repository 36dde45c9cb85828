"""Control groups of this machine's kernel."""

import subprocess
import sys

import pytest

from discovery.sandbox import cgroups
from discovery.sandbox.hierarchies import Absent


@pytest.fixture
def group():
    place = cgroups.available()
    if isinstance(place, Absent):
        pytest.skip(place.why)
    made = cgroups.make(place, "test")
    yield made
    assert made.remove()
    assert not any(folder.exists() for folder in made.folders)


def started(group, script):
    return subprocess.Popen(
        cgroups.joining(group, [sys.executable, "-c", script]), stdout=subprocess.PIPE, text=True
    )


def test_what_joins_is_counted_and_ended_with_the_group(group):
    child = started(group, "import os, time; os.fork() and print('x', flush=True); time.sleep(60)")
    with child:
        assert child.stdout.readline() == "x\n"
        used = group.usage()
        assert used.processes == 2
        assert used.cpu_s > 0
        assert cgroups.of_process(child.pid).memory == group.memory
        assert group.remove()
        child.wait()
        assert child.returncode == -9


def test_memory_of_all_together_is_bounded_and_the_kill_counted(group):
    group.limit(96 << 20, 50)
    script = """
import os
if os.fork() == 0:
    x = bytearray(b"x") * (70 << 20)
    os._exit(0)
_, first = os.wait()
x = bytearray(b"x") * (40 << 20)
if os.fork() == 0:
    open("/proc/self/oom_score_adj", "w").write("1000")
    y = bytearray(b"x") * (70 << 20)
    os._exit(0)
_, second = os.wait()
print(first, second)
"""
    with started(group, script) as child:
        assert child.stdout.read() == "0 9\n", "alone it fits, both do not"
    assert group.kills() == 1


def test_processes_are_bounded(group):
    group.limit(1 << 28, 5)
    script = """
import os, signal
count = 0
try:
    while count < 20:
        if os.fork() == 0:
            signal.pause()
        count += 1
except BlockingIOError:
    print(count, flush=True)
"""
    with started(group, script) as child:
        assert child.stdout.readline() == "4\n"
        group.remove()


def test_limits_can_be_narrowed_and_widened(group):
    for size in (1 << 30, 1 << 26, 1 << 31, 1 << 26):
        group.limit(size, 10)
        name = "memory.max" if group.version == 2 else "memory.limit_in_bytes"
        assert int((group.memory / name).read_text()) == size
