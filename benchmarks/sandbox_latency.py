"""What one evaluation costs in each sandbox, beside a fresh interpreter and a bare fork.

Prints a table; ``--json`` prints one JSON object instead, ``--json PATH`` writes it. Wall times are medians and
95th percentiles; CPU is of the whole process tree, host included, per evaluation. Run it on a quiet machine::

    python benchmarks/sandbox_latency.py [--count 300] [--json [PATH]]
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from discovery import data
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
LABEL = f"sandbox-latency-{os.getpid()}"


def tree_cpu_s():
    """CPU seconds of this process, of what it has waited for, and of the live sandboxes."""
    total = sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if LABEL.encode() not in (entry / "cmdline").read_bytes():
                    continue
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            # Own time and that of waited-for children; live processes only, so nothing is counted twice.
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="evaluations of each row")
    parser.add_argument("--json", nargs="?", const="-", metavar="PATH")
    options = parser.parse_args()
    rows = [bare_fork(options.count)]
    rows += [fresh(program, max(5, options.count // 20)) for program in PROGRAMS]
    for name in NAMES:
        missing = make_backend(name).missing()
        if missing:
            print(f"{name} is left out: {'; '.join(missing)}", file=sys.stderr)
            continue
        rows += [asyncio.run(sandboxed(name, program, options.count)) for program in PROGRAMS]
    if options.json == "-":
        print(json.dumps({"rows": rows}))
        return
    print(
        f"{'sandbox':14} {'program':8} {'median ms':>9} {'p95 ms':>8} {'CPU ms':>7} {'of host':>8} {'start ms':>9}"
    )
    for r in rows:
        host = f"{r['host_cpu_ms']:8.2f}" if r["host_cpu_ms"] is not None else " " * 8
        start = f"{r['start_ms']:9.0f}" if r["start_ms"] is not None else ""
        print(
            f"{r['sandbox']:14} {r['program']:8} {r['median_ms']:9.2f} {r['p95_ms']:8.2f} {r['cpu_ms']:7.2f} "
            f"{host} {start}"
        )
    if options.json:
        Path(options.json).write_text(json.dumps({"rows": rows}) + "\n")


if __name__ == "__main__":
    main()
