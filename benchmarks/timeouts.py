"""How long after its limit a program that ignores all signals and double-forks is gone, every process of it."""

import asyncio
import os
import secrets
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks import hostile
from benchmarks.report import Figure, Report
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import Candidate, CandidateKey, FailureKind
from discovery.sandbox import make_backend
from discovery.sandbox.backends import NAMES

EVALUATIONS = 1000
SLOTS = 2
WALL_S = 0.2
MOST_S = 0.5
_PATIENCE_S = 5.0

PROBLEM = f"""
from discovery import Limits, problem

@problem(name="timeouts", statement="Return a number.", initial="def solve():\\n    return 0.0\\n",
         limits=Limits(wall_s={WALL_S}, cpu_s=60.0, processes=16), deterministic=False)
def score(program):
    return float(program.call("solve"))
"""


@dataclass(kw_only=True)
class Found:
    """Of one backend: seconds from each limit until nothing was left, what the evaluations came to, and what stayed."""

    overshoots: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    left: int = 0


def run(evaluations: int = EVALUATIONS, sandbox: str | None = None) -> Report:
    names = [sandbox] if sandbox else [name for name in NAMES if not make_backend(name).missing()]
    figures, raw = [], {}
    for name in names:
        found = asyncio.run(_measure(name, evaluations))
        figures += [
            Figure(name=f"{name}: median", value=1000 * float(np.median(found.overshoots)), unit="ms"),
            Figure(name=f"{name}: 99 %", value=1000 * float(np.quantile(found.overshoots, 0.99)), unit="ms"),
            Figure(
                name=f"{name}: most", value=1000 * max(found.overshoots), unit="ms", at_most=1000 * MOST_S
            ),
            Figure(name=f"{name}: still there {_PATIENCE_S:g} s later", value=found.left, unit="", at_most=0),
            Figure(
                name=f"{name}: other than a timeout",
                value=evaluations - found.outcomes[FailureKind.TIMEOUT],
                unit="",
                at_most=0,
            ),
            Figure(name=f"{name}: in another sandbox than the first", value=found.repeated, unit=""),
        ]
        raw[name] = {"overshoot_s": found.overshoots, "outcomes": dict(found.outcomes)}
    return Report(
        title=f"Gone after the limit ({evaluations:,} evaluations, all signals ignored, double fork, {SLOTS} slots)",
        figures=figures,
        raw=raw,
    )


async def _measure(sandbox: str, evaluations: int) -> Found:
    label = f"timeouts-{os.getpid()}-{secrets.token_hex(3)}"
    with tempfile.TemporaryDirectory(prefix="discovery-bench-") as folder:
        plugin = Path(folder) / "timeouts.py"
        plugin.write_text(PROBLEM)
        evaluator = Evaluator(load_problem(str(plugin)), make_backend(sandbox), slots=SLOTS, label=label)
        found = Found()
        waiting = iter(range(evaluations))
        try:
            await evaluator.start()
            await asyncio.gather(*(_work(evaluator, waiting, found) for _ in range(SLOTS)))
        finally:
            await evaluator.close()
    return found


async def _work(evaluator: Evaluator, waiting, found: Found) -> None:
    for number in waiting:
        mark = f"t{secrets.token_hex(3)}{number:05}"
        key = CandidateKey(0, number, 0)
        source = hostile.program(hostile.STUBBORN, mark, number)
        candidate = Candidate(key=key, source=source, parents=(), created_at=datetime.now(UTC))
        evaluation = await evaluator.evaluate(candidate)
        answered = time.monotonic()
        later = 0.0
        # A look takes a while: what it does not find was gone when the answer came.
        while hostile.processes(mark) and later < _PATIENCE_S:
            await asyncio.sleep(0.005)
            later = time.monotonic() - answered
        assert evaluation.durations is not None
        found.overshoots.append(evaluation.durations.wall_s + later - WALL_S)
        found.outcomes[evaluation.failure.kind if evaluation.failure else "scored"] += 1
        found.repeated += evaluation.attempt > 0
        found.left += later >= _PATIENCE_S
