"""Whether a forecast holds: predicted against measured wall time and utilisation, on the stub server.

For each shape a pilot is run, smaller and of another shape and seed, and from its records the run is foretold; then the
run itself is made. Latencies are the stub's sleeps and evaluations are sleeps in sandboxes, so that most of the time is
waiting; what a crowded machine adds is told by its load.

What is drawn differs between pilot and run, so errors of some percent are chance: the 192 completions of most pilots
know their mean to 2 %, and so do those of the run.
"""

import asyncio
import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.busy import serving
from benchmarks.report import Figure, Report
from discovery.config import (
    AdaptConfig,
    AdviserConfig,
    GeneratorConfig,
    MemberConfig,
    RunConfig,
    SandboxConfig,
    SearchConfig,
    SlotsConfig,
)
from discovery.forecast.forecast import forecast
from discovery.forecast.reading import read_pilot
from discovery.forecast.shape import Machine
from discovery.launch import started
from discovery.sandbox.choice import choose_backend
from discovery.storage import open_storage
from discovery.storage.base import RunRecord, Storage

GOAL = 10.0
PROBLEM = """
import math
from discovery import problem

INITIAL = '''import time

# EVOLVE-BLOCK-START
VALUE = 0.5
# EVOLVE-BLOCK-END


def solve():
    time.sleep({seconds} * (0.5 + abs(VALUE) * 1000 % 1.0))
    return VALUE
'''

@problem(name="sleepy", statement="Return a number.", initial=INITIAL, deterministic=False)
def score(program):
    return -abs(program.call("solve"))
"""


@dataclass(frozen=True, kw_only=True)
class Stub:
    """How the server behaves: choices at once, median latency, spread, and how many are so many times slower."""

    slots: int
    latency_s: float = 0.8
    sigma: float = 0.25
    stragglers: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A run: C, L, K; places, evaluation slots, overlap, rungs, whether a model reflects, a second model."""

    chains: int
    steps: int
    candidates: int
    places: int | None
    evaluators: int = 8
    overlap: int = 0
    rungs: int = 0
    reflects: bool = False
    weight: float | None = None
    """Of a second model, beside the first one's 1; None for no mixture."""

    def __str__(self) -> str:
        places = "auto" if self.places is None else self.places
        return f"{self.chains} x {self.steps} x {self.candidates}, {places} places, overlap {self.overlap}"


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    stub: Stub
    evaluation_s: float
    pilot: Shape
    run: Shape
    server_slots: int | None = None


SMALL = Shape(chains=8, steps=12, candidates=2, places=12)
CASES = (
    Case(
        name="C x K >> places",
        stub=Stub(slots=64),
        evaluation_s=0.05,
        pilot=SMALL,
        run=Shape(chains=16, steps=5, candidates=4, places=16),
    ),
    Case(
        name="C x K = places",
        stub=Stub(slots=64),
        evaluation_s=0.1,
        pilot=SMALL,
        run=Shape(chains=4, steps=15, candidates=4, places=16),
    ),
    Case(
        name="C x K = places, overlap 1",
        stub=Stub(slots=64),
        evaluation_s=0.1,
        pilot=SMALL,
        run=Shape(chains=4, steps=18, candidates=4, places=16, overlap=1),
    ),
    Case(
        name="evaluation-bound",
        stub=Stub(slots=64),
        evaluation_s=0.3,
        pilot=SMALL,
        run=Shape(chains=8, steps=6, candidates=4, places=32, evaluators=4),
    ),
    Case(
        name="stragglers",
        stub=Stub(slots=64, latency_s=0.6, sigma=0.2, stragglers=0.1),
        evaluation_s=0.05,
        pilot=Shape(chains=6, steps=12, candidates=4, places=24),
        run=Shape(chains=16, steps=5, candidates=4, places=16),
    ),
    Case(
        name="K large: over the gate",
        stub=Stub(slots=64),
        evaluation_s=0.05,
        pilot=SMALL,
        run=Shape(chains=3, steps=7, candidates=16, places=10),
    ),
    Case(
        name="a gate that follows servers of 12 slots",
        stub=Stub(slots=12),
        evaluation_s=0.05,
        pilot=SMALL,
        run=Shape(chains=12, steps=5, candidates=4, places=None),
        server_slots=12,
    ),
    Case(
        name="two rungs",
        stub=Stub(slots=64),
        evaluation_s=0.1,
        pilot=SMALL,
        run=Shape(chains=8, steps=12, candidates=2, places=16, rungs=2),
    ),
    Case(
        name="an adviser that reflects",
        stub=Stub(slots=64),
        evaluation_s=0.1,
        pilot=replace(SMALL, reflects=True),
        run=Shape(chains=6, steps=10, candidates=4, places=16, reflects=True),
    ),
    Case(
        name="a mixture of a fast and a slow model",
        stub=Stub(slots=64),
        evaluation_s=0.1,
        pilot=replace(SMALL, weight=0.5),
        run=Shape(chains=6, steps=10, candidates=4, places=24, weight=0.5),
    ),
)
STRAGGLE = 4.0
SLOWER = 2.5
"""So many times the time of the first model takes the second one of a mixture."""


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    shape: str
    load: float
    predicted_s: float
    low_s: float
    high_s: float
    measured_s: float
    predicted_busy: float
    measured_busy: float
    predicted_evaluators: float
    measured_evaluators: float
    waits_for: str

    @property
    def errors(self) -> tuple[float, float, float]:
        """In percent of what was measured: wall time, generator, evaluators."""
        return (
            100 * abs(self.predicted_s / self.measured_s - 1),
            100 * abs(self.predicted_busy / self.measured_busy - 1),
            100 * abs(self.predicted_evaluators / self.measured_evaluators - 1),
        )


def run(sandbox: str = "process", only: str = "") -> Report:
    """Foretell and make the runs.

    Args:
        sandbox: Where candidates run.
        only: Those whose name holds this.
    """
    os.environ.setdefault("OPENAI_API_KEY", "none")
    began = time.monotonic()
    rows = [asyncio.run(_case(case, sandbox)) for case in CASES if only in case.name]
    figures = []
    for row in rows:
        for what, error in zip(("wall time", "generator", "evaluators"), row.errors, strict=True):
            goal = None if what == "evaluators" else GOAL
            figures.append(Figure(name=f"{row.name}: {what}", value=error, unit="% off", at_most=goal))
    return Report(
        title=f"Forecasts of {len(rows)} runs, {time.monotonic() - began:.0f} s",
        figures=figures,
        raw={"rows": [asdict(row) for row in rows], "cpus": len(os.sched_getaffinity(0))},
    )


async def _case(case: Case, sandbox: str) -> Row:
    stub = case.stub
    more = ["--straggling", str(stub.stragglers), "--straggle", str(STRAGGLE)] if stub.stragglers else []
    with (
        tempfile.TemporaryDirectory(prefix="discovery-bench-") as folder,
        serving(stub.slots, stub.latency_s, *more, sigma=stub.sigma) as url,
        serving(stub.slots, SLOWER * stub.latency_s, *more, sigma=stub.sigma) as slow,
    ):
        urls = (url, slow)
        plugin = Path(folder) / "sleepy.py"
        plugin.write_text(PROBLEM.replace("{seconds}", str(case.evaluation_s)))
        storage = open_storage(str(Path(folder) / "bench.db"))
        pilot = await _run(_config(plugin, urls, case.pilot, sandbox, seed=1), storage)
        config = _config(plugin, urls, case.run, sandbox, seed=2)
        machine = Machine(
            cpus=len(os.sched_getaffinity(0)),
            evaluation_slots=case.run.evaluators,
            server_slots=case.server_slots,
        )
        told = forecast(read_pilot(storage, [pilot.id]), config, machine)
        measured = await _run(config, storage)
        storage.close()
    row = Row(
        name=case.name,
        shape=str(case.run),
        load=os.getloadavg()[0],
        predicted_s=told.wall_s.value,
        low_s=told.wall_s.low,
        high_s=told.wall_s.high,
        measured_s=measured.wall_s,
        predicted_busy=told.values["generator_busy"],
        measured_busy=float(measured.facts["generator_utilisation"]),
        predicted_evaluators=told.values["evaluator_busy"],
        measured_evaluators=float(measured.facts["evaluator_utilisation"]),
        waits_for=str(told.finding),
    )
    print(row, flush=True)
    return row


def _config(plugin: Path, urls: tuple[str, str], shape: Shape, sandbox: str, *, seed: int) -> RunConfig:
    generator = GeneratorConfig(kind="openai", base_url=urls[:1])
    if shape.weight is not None:
        members = (
            MemberConfig(name="fast", base_url=urls[:1]),
            MemberConfig(name="slow", base_url=urls[1:], weight=shape.weight),
        )
        generator = GeneratorConfig(kind="mixture", members=members)
    return RunConfig(
        problem=str(plugin),
        seed=seed,
        search=SearchConfig(
            chains=shape.chains, steps=shape.steps, candidates=shape.candidates, overlap=shape.overlap
        ),
        generator=generator,
        adapt=AdaptConfig(rungs=shape.rungs),
        adviser=AdviserConfig(reflect=shape.reflects),
        slots=SlotsConfig(generation=shape.places, evaluation=shape.evaluators),
        sandbox=SandboxConfig(backend=sandbox),
    )


async def _run(config: RunConfig, storage: Storage) -> RunRecord:
    backend = choose_backend(config.sandbox, "mutation").backend
    async with started(config, storage, backend) as made:
        await made.execute()
    return storage.get_run(made.record.id)
