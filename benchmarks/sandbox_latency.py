"""What one request costs in each sandbox, beside a fresh interpreter and a bare fork."""

import asyncio
import os
import subprocess
import sys
import time

from benchmarks.report import Figure, Report
from discovery import data
from discovery.bench import tree_cpu_s
from discovery.problem import Limits
from discovery.sandbox import NAMES, make_backend
from discovery.sandbox.base import FunctionCall, SandboxSpec

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
LABEL = f"sandbox-latency-{os.getpid()}"


def row(name, program, walls, cpu_s, host_s=None, start_s=None):
    walls = sorted(walls)
    return {
        "sandbox": name,
        "program": program,
        "median_ms": 1e3 * walls[len(walls) // 2],
        "p95_ms": 1e3 * walls[int(len(walls) * 0.95)],
        "cpu_ms": 1e3 * cpu_s / len(walls),
        "host_cpu_ms": None if host_s is None else 1e3 * host_s / len(walls),
        "start_ms": None if start_s is None else 1e3 * start_s,
    }


async def sandboxed(name, program, count):
    sandbox = make_backend(name).create(SandboxSpec(packages=PACKAGES[program], label=LABEL))
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
        walls, cpu_s, host_s = [], tree_cpu_s(), time.process_time()
        for _ in range(count):
            began = time.perf_counter()
            await sandbox.run(request)
            walls.append(time.perf_counter() - began)
        host_s = time.process_time() - host_s
        return row(name, program, walls, tree_cpu_s() - cpu_s, host_s, start_s)
    finally:
        await sandbox.close()


def fresh(program, count):
    """A fresh, unisolated interpreter for each evaluation."""
    source = PROGRAMS[program] + "print(solve(1.0))\n"
    walls, cpu_s = [], tree_cpu_s()
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", source], check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
    return row("fresh python", program, walls, tree_cpu_s() - cpu_s)


def bare_fork(count):
    """The physical limit: fork this interpreter, wait for its end."""
    walls, cpu_s = [], tree_cpu_s()
    for _ in range(count):
        began = time.perf_counter()
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        walls.append(time.perf_counter() - began)
    return row("bare fork", "nothing", walls, tree_cpu_s() - cpu_s)


def run() -> Report:
    rows = [bare_fork(COUNT)]
    rows += [fresh(program, max(5, COUNT // 20)) for program in PROGRAMS]
    for name in NAMES:
        if not make_backend(name).missing():
            rows += [asyncio.run(sandboxed(name, program, COUNT)) for program in PROGRAMS]
    figures = []
    for row in rows:
        place = f"{row['sandbox']}, {row['program']}"
        figures += [
            Figure(name=f"{place}: median", value=row["median_ms"], unit="ms"),
            Figure(name=f"{place}: CPU", value=row["cpu_ms"], unit="ms"),
        ]
    return Report(
        title=f"Sandbox latency ({COUNT} requests each, CPU of the whole tree)",
        figures=figures,
        raw={"rows": rows},
    )
