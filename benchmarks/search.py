"""How well the embedded generator searches: constants-10, by default settings and each selector; circle-packing-26."""

import asyncio
import statistics

from benchmarks.report import Figure, Report
from discovery.bench import measure_run

SEEDS = range(10)
EVALUATIONS = 1000
SETTINGS = {
    "default (rpucg, C=4 K=4)": {"selector": "rpucg", "chains": 4, "candidates": 4},
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


def run() -> Report:
    errors = {name: [_squared_error(seed, **setting) for seed in SEEDS] for name, setting in SETTINGS.items()}
    medians = {name: statistics.median(found) for name, found in errors.items()}
    figures = [
        Figure(
            name=f"{name}: median squared error",
            value=median,
            unit="",
            at_most=1e-4 if name.startswith("default") else None,
        )
        for name, median in medians.items()
    ]
    radii = [_sum_of_radii(seed) for seed in PACKING_SEEDS]
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
        title=f"Search (mutation; constants-10: {EVALUATIONS:,} evaluations, {len(SEEDS)} seeds)",
        figures=figures,
        raw={"squared_errors": errors, "sums_of_radii": radii},
    )


def _squared_error(seed: int, **setting: object) -> float:
    result = asyncio.run(measure_run("constants-10", evaluations=EVALUATIONS, seed=seed, slots=4, **setting))
    assert result.best_score is not None
    return 1 / result.best_score - 1


def _sum_of_radii(seed: int) -> float:
    result = asyncio.run(
        measure_run("circle-packing-26", evaluations=PACKING_EVALUATIONS, seed=seed, chains=4, candidates=4)
    )
    assert result.best_score is not None
    return result.best_score
