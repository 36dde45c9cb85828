"""How well the embedded generator searches constants-10 with each selector, 4 evaluations in flight."""

import asyncio
import statistics

from benchmarks.report import Figure, Report
from discovery.bench import measure_run

SEEDS = range(5)
EVALUATIONS = 1000
SETTINGS = {
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


def run() -> Report:
    errors = {name: [_squared_error(seed, **setting) for seed in SEEDS] for name, setting in SETTINGS.items()}
    medians = {name: statistics.median(found) for name, found in errors.items()}
    best = min(medians.values())
    figures = [
        Figure(name=f"{name}: median squared error", value=median, unit="")
        for name, median in medians.items()
    ]
    baseline = medians["best-of-n, C=1 K=4"]
    figures += [
        Figure(name="best setting: median squared error", value=best, unit="", at_most=0.0005),
        Figure(name="best-of-n over best setting", value=baseline / best, unit="ratio", at_least=1000),
    ]
    return Report(
        title=f"Search (constants-10, mutation, {EVALUATIONS:,} evaluations, {len(SEEDS)} seeds)",
        figures=figures,
        raw={"squared_errors": errors},
    )


def _squared_error(seed: int, **setting: object) -> float:
    result = asyncio.run(measure_run("constants-10", evaluations=EVALUATIONS, seed=seed, slots=4, **setting))
    assert result.best_score is not None
    return 1 / result.best_score - 1
