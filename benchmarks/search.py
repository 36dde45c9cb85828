"""How well the embedded generator searches: constants-10, by default settings and each selector; circle-packing-26.

As many runs go on at once as there are CPUs, each in a process of its own, the longest first: what a run finds depends
on its seed and not on its neighbours. The figures that are goals are of all seeds, what they are compared with is of
the first few: the benchmark takes some minutes on two cores.
"""

import asyncio
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from benchmarks.report import Figure, Report
from discovery.bench import measure_run

SEEDS = range(10)
COMPARED_SEEDS = range(3)
EVALUATIONS = 1000
DEFAULT = "default (rpucg, C=4 K=4)"
SETTINGS = {
    DEFAULT: {"selector": "rpucg", "chains": 4, "candidates": 4},
    "rpucg, C=1 K=4": {"selector": "rpucg", "chains": 1, "candidates": 4},
    "rpucg, C=4 K=1": {"selector": "rpucg", "chains": 4, "candidates": 1},
    "balance, C=1 K=4": {"selector": "balance", "chains": 1, "candidates": 4},
    "greedy balance, C=1 K=4": {
        "selector": "balance",
        "chains": 1,
        "candidates": 4,
        "selector_params": {"exploitation": 1.0, "exploration": 0.0, "elite": 0.0},
    },
    "best-of-n, C=1 K=4": {"selector": "best-of-n", "chains": 1, "candidates": 4},
}
PACKING_SEEDS = range(5)
PACKING_EVALUATIONS = 5000


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run."""

    problem: str
    name: str
    seed: int
    evaluations: int
    setting: dict[str, Any] = field(default_factory=dict)


def run() -> Report:
    began = time.monotonic()
    packing = [
        Job(
            problem="circle-packing-26",
            name="packing",
            seed=seed,
            evaluations=PACKING_EVALUATIONS,
            setting={"chains": 4, "candidates": 4},
        )
        for seed in PACKING_SEEDS
    ]
    constants = [
        Job(
            problem="constants-10",
            name=name,
            seed=seed,
            evaluations=EVALUATIONS,
            setting={**setting, "slots": 4},
        )
        for name, setting in SETTINGS.items()
        for seed in (SEEDS if name == DEFAULT else COMPARED_SEEDS)
    ]
    jobs = [*packing, *constants]
    # A process of its own each, from the start: one that is forked would share what asyncio and storage have open.
    workers = ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn"))
    with workers:
        scores = list(workers.map(_score, jobs))
    errors: dict[str, list[float]] = {}
    for job, score in zip(jobs[len(packing) :], scores[len(packing) :], strict=True):
        errors.setdefault(job.name, []).append(1 / score - 1)
    radii = scores[: len(packing)]
    figures = [
        Figure(
            name=f"{name}: median squared error of {len(found)}",
            value=statistics.median(found),
            unit="",
            at_most=1e-4 if name == DEFAULT else None,
        )
        for name, found in errors.items()
    ]
    figures += [
        Figure(
            name=f"circle-packing-26, default settings, {PACKING_EVALUATIONS:,} evaluations: median of {len(radii)}",
            value=statistics.median(radii),
            unit="",
            at_least=2.5,
        ),
        Figure(name="the same: best", value=max(radii), unit=""),
    ]
    return Report(
        title=f"Search (mutation; constants-10: {EVALUATIONS:,} evaluations), {time.monotonic() - began:.0f} s",
        figures=figures,
        raw={"squared_errors": errors, "sums_of_radii": radii},
    )


def _score(job: Job) -> float:
    """The best score of a run."""
    result = asyncio.run(measure_run(job.problem, evaluations=job.evaluations, seed=job.seed, **job.setting))
    assert result.best_score is not None
    return result.best_score
