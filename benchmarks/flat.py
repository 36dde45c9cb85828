"""Whether the ten-thousandth evaluation costs what the thousandth did, in CPU, memory and storage."""

import asyncio

from benchmarks.report import Figure, Report
from discovery.bench import measure_run

EVALUATIONS = 10_000
POINTS = (1000, 2000, 9000, 10_000)


def run() -> Report:
    figures, raw = [], {}
    for selector in ("rpucg", "balance", "best-of-n"):
        result = asyncio.run(
            measure_run("constants-10", evaluations=EVALUATIONS, selector=selector, checkpoints=POINTS)
        )
        early, late = result.cpu_ms_between(1000, 2000), result.cpu_ms_between(9000, 10_000)
        figures += [
            Figure(name=f"{selector}: CPU late / early", value=late / early, unit="ratio", at_most=1.15),
            Figure(name=f"{selector}: CPU at 1,000 to 2,000", value=early, unit="ms"),
            Figure(name=f"{selector}: peak memory", value=result.peak_pss_mb, unit="MB", at_most=250),
            Figure(name=f"{selector}: storage", value=result.storage_bytes, unit="bytes", at_most=4096),
        ]
        raw[selector] = result.as_dict()
    return Report(
        title=f"Flat cost (constants-10, {EVALUATIONS:,} evaluations, 4 chains, whole process tree)",
        figures=figures,
        raw=raw,
    )
