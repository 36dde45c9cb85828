"""Lasso paths in C++: CPU time beside that of the reference solver, which runs in turn on the same inputs.

How fast a processor is varies by tens of per cent with what else the machine does, and slowly: two runs right after one
another meet nearly the same one. So the runs are short, in pairs, and the median pair counts; the quickest of several
runs does not mend that (docs/LOG.md).

Every answer of every timed run is held to the optimum by its duality gap, which is computed here from the answer alone.
Inputs are fresh in each repeat, so nothing that a program could remember of an earlier one would serve.
"""

import struct
from functools import lru_cache

from discovery import Invalid, Limits, Reference, Repeats, Score, problem

from . import instances

LEAST_S = 1e-4
"""CPU seconds below which nothing is believed: no process starts and reads its input in less."""


@lru_cache(maxsize=1)
def inputs(repeat):
    """The instances of one run and their kinds, the same for all candidates, and other ones in each repeat."""
    kinds = [(case, k) for case, kind in enumerate(instances.CASES) for k in range(kind.count)]
    found = [instances.instance(instances.CASES[case], repeat, case, k) for case, k in kinds]
    stdin = struct.pack("<i", len(found)) + b"".join(each.packed() for each in found)
    return found, [instances.CASES[case].name for case, _ in kinds], stdin


@problem(
    name="lasso-path",
    direction="minimize",
    # Of a ratio: the input alone takes more than a hundredth of the baseline's time to read.
    bounds=(1e-2, None),
    language="cpp",
    build=("g++", "-O3", "-march=native", "-std=c++17", "-o", "{binary}", "{program}"),
    # One process: it can hide no work in another, and its time is told as exactly as the kernel keeps it.
    limits=Limits(wall_s=60.0, cpu_s=10.0, memory_bytes=1 << 30, processes=1),
    isolation=("processes_bounded", "leftovers_wiped"),
    scorer_timeout_s=300.0,
    repeats=Repeats(count=75, cores=1, baseline="reference.cpp", comparison="ratio"),
    references=Reference(
        file="reference.cpp",
        source="strong rules, coordinate descent on the Gram matrix, Cholesky on the support",
    ),
    cost_s=18.0,
    domain="algorithm engineering",
)
def score(program):
    found, names, stdin = inputs(program.repeat)
    output = program.run(stdin=stdin)
    if output.exit_code != 0:
        raise Invalid(f"the program ended with exit code {output.exit_code}; expected 0")
    gap = instances.check(found, instances.read_paths(output.stdout_bytes, found), names)
    if output.cpu_s is None:
        raise RuntimeError("this sandbox does not tell the CPU time of a process")
    milliseconds = 1000 * max(output.cpu_s, LEAST_S)
    return Score(
        value=milliseconds,
        metrics={"milliseconds": milliseconds, "largest gap": gap},
        feedback=f"{milliseconds:.4g} ms of CPU time for {len(found)} problems; largest duality gap {gap:.3g}.",
    )
