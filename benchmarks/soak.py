"""A long run with one candidate in ten hostile: what it leaves, what it grows by, and whether it scores right."""

import asyncio
import gc
import os
import random
import secrets
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import hostile
from benchmarks.report import Figure, Report
from discovery.bench import tree_pss_bytes
from discovery.budget import Budget
from discovery.config import GeneratorConfig, RunConfig, SandboxConfig, SearchConfig, SlotsConfig
from discovery.errors import SandboxError
from discovery.evaluator import Evaluator
from discovery.plugins import load_problem
from discovery.records import CandidateKey, RunStatus
from discovery.run import Run, new_run
from discovery.sandbox.choice import choose_backend
from discovery.selection import make_selector
from discovery.storage import open_storage
from discovery.storage.base import Storage
from discovery.testing.fakes import ScriptedGenerator

EVALUATIONS = 20_000
CHAINS, CANDIDATES = 8, 5
ONE_IN = 10
WALL_S = 0.5
RECYCLE_AFTER = 500
_LOOK_S = 0.5

PROBLEM = f"""
from discovery import Limits, problem

INITIAL = '''
def solve():
    return 0.0
'''

@problem(name="soak", statement="Return a number.", initial=INITIAL, deterministic=False, bounds=(-10.0, 10.0),
         limits=Limits(wall_s={WALL_S}, memory_bytes=192 << 20, processes=16, file_bytes=8 << 20,
                       result_bytes=1 << 16, output_bytes=1 << 14))
def score(program):
    return float(program.call("solve"))
"""


@dataclass(frozen=True, kw_only=True)
class Script:
    """What each candidate is: drawn from its place alone."""

    mark: str

    def kind(self, key: CandidateKey) -> str | None:
        """The name of a hostile program, None for an honest one."""
        rng = random.Random(f"{key.chain}.{key.step}.{key.index}")
        return rng.choice(list(hostile.PROGRAMS)) if rng.randrange(ONE_IN) == 0 else None

    def value(self, key: CandidateKey) -> float:
        """What an honest one returns: at most 1, and only a few of them better than all before."""
        return random.Random(f"value {key.chain}.{key.step}.{key.index}").random()

    def source(self, key: CandidateKey) -> str:
        kind = self.kind(key)
        number = (key.chain * 1_000_000 + key.step) * 100 + key.index
        if kind is not None:
            return hostile.program(hostile.PROGRAMS[kind], self.mark, number)
        return f"# {number}\ndef solve():\n    print({number})\n    return {self.value(key)!r}\n"


def run(evaluations: int = EVALUATIONS, sandbox: str = "bubblewrap") -> Report:
    mark = f"soak{secrets.token_hex(5)}"  # at most 15 letters: it is the name of processes, too
    outside = {name: look(mark) for name, look in _OUTSIDE.items()}
    folder = Path(tempfile.mkdtemp(prefix=f"{mark}-"))
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    private = folder / "tmp"
    private.mkdir(mode=0o755)
    folder.chmod(0o755)
    os.environ["TMPDIR"] = tempfile.tempdir = str(private)
    try:
        found = asyncio.run(_soak(folder, mark, evaluations, sandbox))
        left = sorted(path.name for path in private.iterdir())
    finally:
        tempfile.tempdir = before[1]
        os.environ.pop("TMPDIR")
        if before[0] is not None:
            os.environ["TMPDIR"] = before[0]
        subfolder = sorted(folder.rglob("*"), reverse=True)
        for path in subfolder:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        folder.rmdir()
    marks = (mark, found.run)
    remains = {name: sorted(look(*marks) - outside[name]) for name, look in _OUTSIDE.items()}
    remains["temporary files"] = left
    return _report(found, remains, evaluations, sandbox)


_OUTSIDE: dict[str, Callable[..., set[Any]]] = {
    "processes": hostile.processes,
    "mounts": lambda *_: hostile.mounts(),
    "containers": hostile.containers,
    "control groups": hostile.control_groups,
    "files beyond the sandbox": hostile.files,
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the run came to."""

    run: str
    status: RunStatus
    evaluations: int
    wall_s: float
    honest: int
    changed: list[str]
    failures: dict[str, int]
    best: float | None
    best_expected: float
    sandboxes: int
    descriptors: int
    memory: list[tuple[int, float]]


async def _soak(folder: Path, mark: str, evaluations: int, sandbox: str) -> Found:
    plugin = folder / "soak.py"
    plugin.write_text(PROBLEM)
    problem = load_problem(str(plugin))
    config = RunConfig(
        problem=str(plugin),
        search=SearchConfig(
            chains=CHAINS,
            steps=-(-evaluations // (CHAINS * CANDIDATES)),
            candidates=CANDIDATES,
            selector="best-of-n",
        ),
        generator=GeneratorConfig(kind="mutation"),
        slots=SlotsConfig(),
        sandbox=SandboxConfig(backend=sandbox),
        budget=Budget(max_evaluations=evaluations),
    )
    script = Script(mark=mark)
    generator = ScriptedGenerator(lambda key, _: script.source(key))
    generator.requested = deque(maxlen=1)  # its log would be part of what is measured
    gc.collect()
    opened, begun = hostile.descriptors(), time.monotonic()
    storage = open_storage(str(folder / "soak.db"))
    record = new_run(problem, config)
    evaluator = Evaluator(
        problem,
        choose_backend(config.sandbox, "mutation").backend,
        slots=len(os.sched_getaffinity(0)),
        label=record.id,
        recycle_after=RECYCLE_AFTER,
    )
    try:
        await evaluator.start()
        run = Run(
            record,
            config,
            problem,
            storage,
            generator=generator,
            selector=make_selector("best-of-n", problem.direction, {}),
            evaluator=evaluator,
            is_new=True,
        )
        memory: list[tuple[int, float]] = []
        watching = asyncio.create_task(_watch(run, memory))
        try:
            status = (await run.execute()).status
        except SandboxError:
            status = RunStatus.FAILED
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    finally:
        await evaluator.close()
    wall_s = time.monotonic() - begun
    honest, changed, best_expected = _compared(storage, record.id, script)
    announced = storage.announcements(record.id)
    counts = storage.counts(record.id)
    storage.close()
    gc.collect()
    grown = hostile.descriptors() - opened
    return Found(
        run=record.id,
        status=status,
        evaluations=counts.evaluations,
        wall_s=wall_s,
        honest=honest,
        changed=changed,
        failures={str(kind): count for kind, count in run.progress.failures.most_common()},
        best=announced[-1].score if announced else None,
        best_expected=best_expected,
        sandboxes=evaluator.pool.made,
        descriptors=grown,
        memory=memory,
    )


async def _watch(run: Run, memory: list[tuple[int, float]]) -> None:
    while True:
        await asyncio.sleep(_LOOK_S)
        memory.append((run.progress.evaluations, tree_pss_bytes() / 1e6))


def _compared(storage: Storage, run: str, script: Script) -> tuple[int, list[str], float]:
    """How many were honest, which of those have another score than they returned, and the best there is."""
    honest, changed, best = 0, [], 0.0
    for chain in range(CHAINS):
        for step in storage.committed_steps(run, chain):
            for outcome in step.outcomes:
                if script.kind(outcome.key) is not None:
                    continue
                honest += 1
                value = script.value(outcome.key)
                best = max(best, value)
                if outcome.score != value:
                    changed.append(f"{outcome.key}: {outcome.score} ({outcome.failure}: {outcome.message})")
    return honest, changed, best


def _report(found: Found, remains: dict[str, list[Any]], evaluations: int, sandbox: str) -> Report:
    early, late = _typical(found.memory, evaluations // 10), _typical(found.memory, evaluations)
    figures = [
        Figure(name="ended normally", value=found.status is RunStatus.FINISHED, unit="", at_least=1),
        Figure(
            name="evaluations beyond or short of the budget",
            value=abs(found.evaluations - evaluations),
            unit="",
            at_most=0,
        ),
        Figure(name="honest candidates", value=found.honest, unit=""),
        Figure(name="honest scores changed", value=len(found.changed), unit="", at_most=0),
        Figure(
            name="best score other than the best honest one",
            value=found.best != found.best_expected,
            unit="",
            at_most=0,
        ),
        *(Figure(name=f"{name} left", value=len(left), unit="", at_most=0) for name, left in remains.items()),
        Figure(name="descriptors left", value=found.descriptors, unit="", at_most=0),
        Figure(name=f"memory at {evaluations // 10:,}, whole tree", value=early, unit="MB"),
        Figure(name=f"memory at {evaluations:,}, whole tree", value=late, unit="MB"),
        # Too short a run is still warming up at a tenth of it.
        Figure(
            name="memory late / early",
            value=late / early,
            unit="ratio",
            at_most=1.1 if evaluations >= 10_000 else None,
        ),
        Figure(name="sandboxes started", value=found.sandboxes, unit=""),
        Figure(name="wall time", value=found.wall_s, unit="s"),
    ]
    return Report(
        title=f"Soak ({sandbox}, {evaluations:,} evaluations, C={CHAINS}, one in {ONE_IN} hostile)",
        figures=figures,
        raw={
            "failures": found.failures,
            "changed": found.changed[:20],
            "left": remains,
            "memory": found.memory[:: 1 + len(found.memory) // 200],
        },
    )


def _typical(memory: list[tuple[int, float]], at: int) -> float:
    """The lower quartile about a number of evaluations: above it is what hostile candidates are just taking."""
    width = max(at, memory[-1][0] // 10) // 2 if at < memory[-1][0] // 2 else memory[-1][0] // 10
    near = [used for number, used in memory if abs(number - at) <= width]
    near = sorted(near or [min(memory, key=lambda each: abs(each[0] - at))[1]])
    return near[len(near) // 4]
