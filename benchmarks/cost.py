"""What one evaluation costs: 1,000 of a trivial scorer, no model latency, storage included."""

import asyncio

from benchmarks.report import Figure, Report
from discovery.bench import measure_run
from discovery.sandbox import make_backend


def run() -> Report:
    sandboxes = [name for name in ("bubblewrap", "process") if not make_backend(name).missing()]
    measured = {
        name: asyncio.run(measure_run("constants-10", evaluations=1000, sandbox=name)) for name in sandboxes
    }
    figures = []
    for name, result in measured.items():
        goal = 10.0 if name == "bubblewrap" else None
        figures += [
            Figure(name=f"{name}: CPU per evaluation", value=result.cpu_ms, unit="ms", at_most=goal),
            Figure(name=f"{name}: from start to first step", value=result.start_s, unit="s"),
            Figure(
                name=f"{name}: evaluations per second", value=result.evaluations / result.wall_s, unit="1/s"
            ),
        ]
    return Report(
        title="Cost of an evaluation (constants-10, 1,000 evaluations, whole process tree)",
        figures=figures,
        raw={name: result.as_dict() for name, result in measured.items()},
    )
