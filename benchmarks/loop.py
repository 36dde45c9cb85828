"""What closing the loop brings on a processor: a small model, two rounds, equal budgets, and two controls.

Arms: untrained; trained on the best trajectories, whole; on the best single steps; on as many trajectories drawn at
random. All arms begin with the same measured runs, and are measured with the same seeds. Every arm makes both rounds,
whatever they bring, so that arms compare. Asserted is that training by trajectories helps on every size, seen or not;
how it compares with the controls is told, whatever comes out.

    python -m benchmarks loop --evaluations 512
"""

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.report import Figure, Report
from discovery import intervals
from discovery.config import GeneratorConfig, RunConfig, SamplingConfig, SandboxConfig, SearchConfig
from discovery.intervals import Pair
from discovery.loop.assembly import assembled
from discovery.loop.folder import LoopFolder, write_whole
from discovery.loop.plan import LoopPlan, RoundsConfig, make_plan, plan_to_dict
from discovery.loop.rounds import Work
from discovery.loop.stages import Measured
from discovery.storage import open_storage
from discovery.training.config import TrainConfig
from discovery.trajectories.records import Filter, Keep

SEEN = ("zigzag-12", "zigzag-20")
UNSEEN = ("zigzag-16", "zigzag-24")
ARMS = {"trajectory": Keep.TRAJECTORY, "step": Keep.STEP, "random": Keep.RANDOM}
ROUNDS, SEEDS = 2, 3
CHAINS, CANDIDATES = 8, 4
TRAIN = TrainConfig(
    epochs=3, learning_rate=1e-3, batch_rows=16, micro_rows=16, checkpoint_activations=False, patience=0
)


class _Measured(Exception):
    """Revision 0 is measured."""


def run(evaluations: int = 256, sandbox: str = "auto") -> Report:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="discovery-bench-") as folder:
        place = Path(folder)
        subprocess.run(
            [
                sys.executable,
                "-c",
                "from discovery.cli import main; main()",
                "model",
                "new-tiny",
                place / "tiny",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        made_s = time.monotonic() - begun
        valid = json.loads((place / "tiny" / "lineage.json").read_text())["metrics"]["valid"]
        plan = _plan(place / "tiny", evaluations, sandbox)
        _work(place / "untrained", plan, only_first=True)
        measured: dict[str, list[Measured]] = {}
        seconds: dict[str, float] = {}
        for arm, keep in ARMS.items():
            since = time.monotonic()
            shutil.copytree(place / "untrained" / "rounds", place / arm / "rounds")
            shutil.copy(place / "untrained.db", place / f"{arm}.db")
            measured[arm] = _work(place / arm, replace(plan, filter=replace(plan.filter, keep=keep)))
            seconds[arm] = time.monotonic() - since
    took_s = time.monotonic() - begun
    shape = f"{ROUNDS} rounds, {SEEDS} seeds, {CHAINS} chains, {evaluations} evaluations a run"
    return Report(
        title=f"Closed loop (tiny model, {shape})",
        figures=[
            Figure(
                name="untrained: least share of valid programs",
                value=min(valid.values()),
                unit="",
                at_least=0.9,
            ),
            *_figures(measured),
            Figure(name="all of it", value=took_s, unit="s", at_most=1200),
        ],
        raw={
            "made_s": made_s,
            "arms_s": seconds,
            "chain_bests": {
                arm: [{run.run: list(run.chain_bests) for run in one.runs} for one in found]
                for arm, found in measured.items()
            },
        },
    )


def _plan(model: Path, evaluations: int, sandbox: str) -> LoopPlan:
    return make_plan(
        model,
        SEEN,
        UNSEEN,
        RunConfig(
            problem="",
            search=SearchConfig(
                chains=CHAINS, steps=max(1, evaluations // (CHAINS * CANDIDATES)), candidates=CANDIDATES
            ),
            generator=GeneratorConfig(sampling=SamplingConfig(max_tokens=200), keep="text"),
            sandbox=SandboxConfig(backend=sandbox),
        ),
        rounds=RoundsConfig(rounds=ROUNDS, seeds=SEEDS, all_rounds=True),
        filter=Filter(top_percent=20, validation_percent=0),
        train=TRAIN,
        engine="torch",
    )


def _work(folder: Path, plan: LoopPlan, *, only_first: bool = False) -> list[Measured]:
    """Go on with a loop to its end, or to the end of the first measurement."""
    there = LoopFolder(folder)
    write_whole(folder / "plan.json", plan_to_dict(plan))
    storage = open_storage(str(folder.with_suffix(".db")))

    async def perform(work: Work) -> None:
        if only_first and work.name.startswith("export"):
            raise _Measured
        await work.complete()

    try:
        asyncio.run(assembled(there, storage, say=_say).execute(perform))
    except _Measured:
        pass
    finally:
        storage.close()
    return there.measured()


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _figures(measured: dict[str, list[Measured]]) -> list[Figure]:
    figures = []
    for problem in (*SEEN, *UNSEEN):
        kind = "seen" if problem in SEEN else "unseen"
        first = measured["trajectory"][0].chain_bests(problem)
        figures.append(_mean(f"{problem} ({kind}), untrained", first))
        after = {arm: found[-1].chain_bests(problem) for arm, found in measured.items()}
        figures += [_mean(f"{problem} ({kind}), {arm}", bests) for arm, bests in after.items()]
        for arm, other in (("trajectory", None), ("trajectory", "step"), ("trajectory", "random")):
            before = first if other is None else after[other]
            found = intervals.difference(Pair(before=before, after=after[arm]))
            name = (
                f"{problem} ({kind}), {arm} less {other or 'untrained'} [{found.low:+.3f}, {found.high:+.3f}]"
            )
            figures.append(
                Figure(name=name, value=found.estimate, unit="", at_least=0.0 if other is None else None)
            )
    return figures


def _mean(name: str, bests: list[tuple[float, ...]]) -> Figure:
    found = intervals.mean(bests)
    return Figure(
        name=f"{name}: mean chain-best [{found.low:.3f}, {found.high:.3f}]", value=found.estimate, unit=""
    )
