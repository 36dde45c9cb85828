"""What a run costs on this machine: CPU over the whole process tree, memory, and storage.

CPU is read from ``/proc`` for this process and all its descendants, ended ones included, so that sandboxes, scorers and
storage count. It is the figure to compare between machines that are not quiet; wall time is not.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from discovery.config import GeneratorConfig, RunConfig, SandboxConfig, SearchConfig, SlotsConfig
from discovery.launch import started
from discovery.sandbox.choice import choose_backend
from discovery.step import OpenStep
from discovery.storage import open_storage

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MEMORY_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state at some number of evaluations.

    Args:
        evaluations: Finished by then.
        cpu_s: CPU seconds of the whole tree since the first evaluation.
        wall_s: Wall seconds since then.
    """

    evaluations: int
    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run cost.

    Args:
        problem: Its problem.
        selector: Its selector.
        sandbox: Its sandbox.
        evaluations: Evaluations made.
        best_score: Best verified score.
        initial_score: The initial candidate's.
        start_s: Wall seconds from nothing to the first step.
        wall_s: Wall seconds of all steps.
        cpu_ms: CPU milliseconds per evaluation, whole tree.
        peak_pss_mb: Most memory of the whole tree, shared pages divided among their users, in MB.
        storage_bytes: Bytes of storage per evaluation.
        checkpoints: On the way.
    """

    problem: str
    selector: str
    sandbox: str
    evaluations: int
    best_score: float | None
    initial_score: float | None
    start_s: float
    wall_s: float
    cpu_ms: float
    peak_pss_mb: float
    storage_bytes: float
    checkpoints: tuple[Checkpoint, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        return asdict(self)

    def cpu_ms_between(self, first: int, last: int) -> float:
        """CPU milliseconds per evaluation between two checkpoints.

        Raises:
            KeyError: One of them is not there.
        """
        by_number = {point.evaluations: point for point in self.checkpoints}
        return 1000 * (by_number[last].cpu_s - by_number[first].cpu_s) / (last - first)

    def rows(self) -> list[tuple[str, str]]:
        """As labelled lines for people."""
        return [
            ("run", f"{self.problem}, {self.selector}, sandbox {self.sandbox}"),
            (
                "evaluations",
                f"{self.evaluations} in {self.wall_s:.1f} s ({self.evaluations / self.wall_s:.0f}/s)",
            ),
            ("to first step", f"{self.start_s:.2f} s"),
            ("CPU per evaluation", f"{self.cpu_ms:.2f} ms, whole process tree"),
            ("peak memory", f"{self.peak_pss_mb:.0f} MB, whole process tree"),
            ("storage", f"{self.storage_bytes:.0f} bytes per evaluation"),
            ("best score", f"{self.best_score!r} (initial {self.initial_score!r})"),
        ]


async def measure_run(
    problem: str,
    *,
    evaluations: int,
    chains: int = 4,
    candidates: int = 1,
    selector: str = "rpucg",
    selector_params: dict[str, float] | None = None,
    parents: int = 3,
    sandbox: str = "auto",
    seed: int = 0,
    slots: int | None = None,
    checkpoints: Iterable[int] = (),
) -> Measured:
    """Run the embedded generator on a problem in a storage of its own, and measure.

    Args:
        problem: Name or path.
        evaluations: How many; divided among the chains.
        chains: C.
        candidates: K.
        selector: Name of the selector.
        selector_params: Its parameters.
        parents: Parents shown.
        sandbox: Backend.
        seed: Run seed.
        slots: Evaluation slots; None is one per CPU.
        checkpoints: Numbers of evaluations at which to note CPU and wall time.

    Returns:
        The measurements.
    """
    config = RunConfig(
        problem=problem,
        seed=seed,
        search=SearchConfig(
            chains=chains,
            steps=-(-evaluations // (chains * candidates)),
            candidates=candidates,
            parents=parents,
            selector=selector,
            selector_params=selector_params or {},
        ),
        generator=GeneratorConfig(kind="mutation"),
        slots=SlotsConfig(evaluation=slots),
        sandbox=SandboxConfig(backend=sandbox),
    )
    backend = choose_backend(config.sandbox, "mutation").backend
    wanted = sorted(checkpoints)
    reached: list[Checkpoint] = []
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="discovery-bench-") as folder:
        storage = open_storage(str(Path(folder) / "bench.db"))
        try:
            async with started(config, storage, backend) as run:
                first: tuple[float, float] | None = None
                peak, looked = 0.0, 0.0

                async def step(opened: OpenStep) -> None:
                    nonlocal first, peak, looked
                    if first is None:
                        first = (tree_cpu_s(), time.monotonic())
                    await opened.complete()
                    now = time.monotonic()
                    while wanted and run.progress.evaluations >= wanted[0]:
                        reached.append(
                            Checkpoint(
                                evaluations=wanted.pop(0),
                                cpu_s=tree_cpu_s() - first[0],
                                wall_s=now - first[1],
                            )
                        )
                    if now - looked > _MEMORY_EVERY_S:
                        looked, peak = now, max(peak, tree_pss_bytes())

                summary = await run.execute(step)
                assert first is not None
                cpu_s, wall_s = tree_cpu_s() - first[0], time.monotonic() - first[1]
        finally:
            storage.close()
        stored = _size_bytes(folder)
    return Measured(
        problem=problem,
        selector=selector,
        sandbox=backend.name,
        evaluations=summary.evaluations,
        best_score=summary.best_score,
        initial_score=summary.initial_score,
        start_s=first[1] - begun,
        wall_s=wall_s,
        cpu_ms=1000 * cpu_s / summary.evaluations,
        peak_pss_mb=peak / 1e6,
        storage_bytes=stored / summary.evaluations,
        checkpoints=tuple(reached),
    )


def _size_bytes(folder: str) -> int:
    return sum(file.stat().st_size for file in Path(folder).iterdir())


def tree_cpu_s() -> float:
    """CPU seconds of this process and all its descendants, ended and collected ones included."""
    return sum(_cpu_ticks(pid) for pid in _tree()) / _TICKS_PER_S


def tree_pss_bytes() -> float:
    """Memory of this process and all its descendants, shared pages divided among their users."""
    return sum(_pss_bytes(pid) for pid in _tree())


def _tree() -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_ticks(pid: int) -> int:
    return sum(int(ticks) for ticks in _stat(pid)[11:15])


def _pss_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0
    return 0
