"""What one request costs in each sandbox, beside the bare function, a bare fork, fresh interpreters and containers.

A container's processes are not below this one: their CPU time is that of its zygote and what that has waited for.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.report import Figure, Report
from discovery import data
from discovery.bench import tree_cpu_s
from discovery.declared import Limits
from discovery.errors import MissingComponent
from discovery.sandbox import NAMES, make_backend
from discovery.sandbox.base import FunctionCall, SandboxSpec
from discovery.sandbox.client import FIXED_ENVIRONMENT
from discovery.sandbox.spec import preloaded
from discovery.testing.dockerd import have_image, some_engine

PROGRAMS = {
    "trivial": "def solve(x):\n    return x + 0.5\n",
    "numpy": "import numpy as np\ndef solve(x):\n    return float(np.arange(1000).sum() + x)\n",
    "scipy": (
        "from scipy.optimize import minimize\ndef solve(x):\n"
        "    return float(minimize(lambda v: (v[0] - x) ** 2, [0.0]).x[0])\n"
    ),
}
PACKAGES = {"trivial": (), "numpy": ("numpy",), "scipy": ("numpy", "scipy")}
COUNT = 300
GOALS = {("bubblewrap", "trivial"): (5.0, 7.0), ("docker", "trivial"): (8.0, None)}
"""Milliseconds on a quiet core: of the median above the bare function, and of CPU."""
LABEL = f"sandbox-latency-{os.getpid()}"


PAUSE_S = 0.01
FORKS = """
import gc, importlib, os, sys, time
for name in sys.argv[2:]:
    importlib.import_module(name)
gc.collect()
gc.freeze()
for _ in range(int(sys.argv[1])):
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    print(time.perf_counter() - began)
"""


def median_ms(walls):
    return 1e3 * sorted(walls)[len(walls) // 2]


def row(name, program, walls, cpu_s, host_s=None, start_s=None, paced=None):
    walls = sorted(walls)
    return {
        "sandbox": name,
        "program": program,
        "median_ms": median_ms(walls),
        "paced_ms": None if paced is None else median_ms(paced),
        "p95_ms": 1e3 * walls[int(len(walls) * 0.95)],
        "cpu_ms": None if cpu_s is None else 1e3 * cpu_s / len(walls),
        "host_cpu_ms": None if host_s is None else 1e3 * host_s / len(walls),
        "start_ms": None if start_s is None else 1e3 * start_s,
    }


async def sandboxed(name, program, count):
    packages = PACKAGES[program]
    modules = preloaded(PROGRAMS[program], packages)
    sandbox = make_backend(name).create(SandboxSpec(packages=packages, preload=modules, label=LABEL))
    started = time.perf_counter()
    await sandbox.start()
    start_s = time.perf_counter() - started
    request = FunctionCall(
        source=PROGRAMS[program],
        function="solve",
        arguments=data.encode([[1.0], {}]),
        limits=Limits(memory_bytes=2 << 30),
    )
    try:
        for _ in range(10):
            result = await sandbox.run(request)
            if result.failure is not None:
                raise SystemExit(f"{name} {program}: {result.failure}")
        walls, cpu_s, host_s = [], used_s(), time.process_time()
        for _ in range(count):
            began = time.perf_counter()
            await sandbox.run(request)
            walls.append(time.perf_counter() - began)
        host_s, cpu_s = time.process_time() - host_s, used_s() - cpu_s
        paced = []
        for _ in range(count // 3):  # as when something is scored in between
            await asyncio.sleep(PAUSE_S)
            began = time.perf_counter()
            await sandbox.run(request)
            paced.append(time.perf_counter() - began)
        return row(name, program, walls, cpu_s, host_s, start_s, paced)
    finally:
        await sandbox.close()


def used_s():
    """CPU seconds so far: of this process and all below it, and of containers of this benchmark."""
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    total_s = tree_cpu_s()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and LABEL.encode() in (entry / "cmdline").read_bytes():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if "docker" in (entry / "cgroup").read_text():
                    total_s += sum(map(int, fields[11:15])) * tick_s
        except OSError:
            continue  # ended meanwhile
    return total_s


def bare_function(count):
    """What the sandboxes are compared with: the function, called here."""
    names = {}
    exec(PROGRAMS["trivial"], names)
    walls, cpu_s = [], tree_cpu_s()
    for _ in range(count):
        began = time.perf_counter()
        names["solve"](1.0)
        walls.append(time.perf_counter() - began)
    return row("bare function", "trivial", walls, tree_cpu_s() - cpu_s)


def docker_run(program, count):
    """A fresh container for each evaluation, as the engine's own command makes it."""
    image = have_image(PACKAGES[program])
    command = ["docker", "run", "--rm", "--network", "none", image, "python3", "-c"]
    walls = []
    for _ in range(count):
        began = time.perf_counter()
        source = PROGRAMS[program] + "print(solve(1.0))\n"
        subprocess.run([*command, source], check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
    return row("docker run", program, walls, None)


def fresh(program, count):
    """A fresh, unisolated interpreter for each evaluation."""
    source = PROGRAMS[program] + "print(solve(1.0))\n"
    walls, cpu_s = [], tree_cpu_s()
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", source], check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
    return row("fresh python", program, walls, tree_cpu_s() - cpu_s)


def bare_fork(program, count):
    """The physical limit: fork an interpreter with the program's modules, wait for its end."""
    modules = preloaded(PROGRAMS[program], PACKAGES[program])
    cpu_s = tree_cpu_s()
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(count), *modules],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **FIXED_ENVIRONMENT},
    )
    total_s = tree_cpu_s() - cpu_s
    cpu_s = tree_cpu_s()
    subprocess.run(
        [sys.executable, "-c", FORKS, "0", *modules], check=True, env={**os.environ, **FIXED_ENVIRONMENT}
    )
    return row(
        "bare fork", program, [float(line) for line in done.stdout.split()], total_s - tree_cpu_s() + cpu_s
    )


def run() -> Report:
    rows = [bare_function(COUNT), *(bare_fork(program, COUNT) for program in PROGRAMS)]
    rows += [fresh(program, max(5, COUNT // 20)) for program in PROGRAMS]
    with ExitStack() as stack:
        try:
            stack.enter_context(some_engine())
        except MissingComponent as error:
            print(f"without Docker: {error}", file=sys.stderr)
        else:
            for packages in PACKAGES.values():
                have_image(packages)
            if shutil.which("docker"):
                rows += [docker_run(program, max(5, COUNT // 20)) for program in PROGRAMS]
        for name in NAMES:
            if not make_backend(name).missing():
                rows += [asyncio.run(sandboxed(name, program, COUNT)) for program in PROGRAMS]
    figures = []
    for row in rows:
        place = f"{row['sandbox']}, {row['program']}"
        median, cpu = GOALS.get((row["sandbox"], row["program"]), (None, None))
        if median is not None:
            median += rows[0]["median_ms"]  # above the bare function
        figures.append(Figure(name=f"{place}: median", value=row["median_ms"], unit="ms", at_most=median))
        if row["cpu_ms"] is not None:
            figures.append(Figure(name=f"{place}: CPU", value=row["cpu_ms"], unit="ms", at_most=cpu))
        if row["paced_ms"] is not None:
            figures.append(Figure(name=f"{place}: median after a pause", value=row["paced_ms"], unit="ms"))
    return Report(
        title=f"Sandbox latency ({COUNT} requests each, CPU of the whole tree)",
        figures=figures,
        raw={"rows": rows},
    )
