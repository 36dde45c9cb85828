"""What the embedded generator reaches on each bundled problem from its initial candidate, beside the best known.

    python -m benchmarks suite --minutes 1 10 60 [--problems circle-packing-26 zigzag-8] [--page FILE.md]
    python -m benchmarks suite --evaluations 200

Of several minutes, one run gives all: it goes on for the longest, and what it had announced by each is read from its
records. It holds where each problem improves on its initial candidate, or its declaration says why it cannot
(``out_of_reach``). What was measured is kept beside the results, by problem, its version, the generator's and the
budget, and not measured again; ``--page`` writes all that is kept of minutes as a page of the documentation. A problem
that needs what is not here is left out, and that is said; under CI it counts as missed.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from discovery.best import best_announced, confirming_evaluation
from discovery.bundled import bundled_problems
from discovery.generation.mutation import MODEL
from discovery.inspection import can_be_tried, needs_missing
from discovery.plots import best_known
from discovery.plugins import load_problem
from discovery.problem import Problem
from discovery.records import Direction, Evaluation, Purpose
from discovery.storage import open_storage
from discovery.storage.base import Storage

CHAINS, CANDIDATES = 4, 5
MANY_STEPS = 100_000
MINUTES = " min"
LONGEST_S = 7200.0
"""Of one problem whose evaluations are counted, not its minutes."""
PAGE = """# What the embedded generator reaches

From the initial candidate of each bundled problem, with `{model}`, {chains} chains of {candidates} candidates a
step and all else as it is by default, on {cpus} CPUs with nothing beside it: one run of one seed each, which
says little of a generator and much of a problem. The gap lies between the last score reached and the best that
is known, which the problem's README names with its source; `-` is what nobody has published, or what was not
measured yet. A problem is to be maximised, but where (min) follows its name. Evaluations are those of the
longest run.

Made by `python -m benchmarks suite --minutes 1 10 60 --page {page}`, which takes {hours} hours and, stopped, goes on
with the problems that are left.

"""
COMMAND = (sys.executable, "-c", "import sys; from discovery.cli import main; sys.exit(main())")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one problem; a score is None where there is none."""

    problem: str
    version: str
    generator: str = MODEL
    budget: str
    direction: str
    evaluations: int = 0
    wall_s: float = 0.0
    initial: float | None = None
    reached: float | None = None
    exact: str | None = None
    known: float | None = None
    left_out: str | None = None
    failed: str | None = None
    out_of_reach: str | None = None

    @property
    def is_measured(self) -> bool:
        return self.left_out is None and self.failed is None

    @property
    def improves(self) -> bool:
        if self.initial is None or self.reached is None:
            return False
        return Direction(self.direction).better(self.reached, self.initial)

    @property
    def gap(self) -> float | None:
        """How far what was reached is from the best known; negative where it is better."""
        if self.known is None or self.reached is None:
            return None
        key = Direction(self.direction).key
        return key(self.known) - key(self.reached)

    @property
    def holds(self) -> bool:
        if self.left_out is not None:
            return not os.environ.get("CI")
        return self.failed is None and (self.improves or self.out_of_reach is not None)

    @property
    def said(self) -> str:
        if self.left_out is not None:
            return f"left out: {self.left_out}"
        if self.failed is not None:
            return f"failed: {self.failed}"
        if self.improves:
            return ""
        return f"does not improve: {self.out_of_reach or 'and nothing says why it cannot'}"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """All rows, those of a problem together, the shortest budget first; a report as the other benchmarks give it."""

    title: str
    rows: list[Row]
    machine: dict[str, Any]
    details: tuple[Table, ...] = ()

    @property
    def holds(self) -> bool:
        return all(rows[-1].holds for rows in self._problems())

    def table(self) -> Table:
        table = Table(title=self.title, title_justify="left", box=None, header_style="dim", pad_edge=False)
        budgets = list(dict.fromkeys(row.budget for row in self.rows))
        reached = [f"in {budget}" for budget in budgets] if len(budgets) > 1 else ["reached"]
        for column in ("problem", "evaluations", "initial", *reached, "best known", "gap", ""):
            justify = "left" if column in ("problem", "") else "right"
            table.add_column(column, justify=justify, no_wrap=column != "")
        for rows in self._problems():
            last, by_budget = rows[-1], {row.budget: row.reached for row in rows}
            numbers = (last.initial, *map(by_budget.get, budgets), last.known, last.gap)
            shown = list(map(_shown, numbers))
            counted = str(last.evaluations) if last.is_measured else "-"
            style = "" if last.holds else "bold red"
            table.add_row(last.problem, counted, *shown, Text(last.said, style=style))
        return table

    def as_dict(self) -> dict[str, Any]:
        rows = [{**asdict(r), "improves": r.improves, "gap": r.gap, "holds": r.holds} for r in self.rows]
        return {"title": self.title, "holds": self.holds, "machine": self.machine, "rows": rows}

    def _problems(self) -> list[list[Row]]:
        return [list(rows) for _, rows in groupby(self.rows, key=lambda row: row.problem)]


def run(
    evaluations: int | None = None,
    minutes: list[float] | None = None,
    problems: list[str] | None = None,
    sandbox: str = "auto",
    results: Path = Path("benchmarks") / "results",
    page: Path | None = None,
) -> Suite:
    if evaluations is not None and minutes is not None:
        raise SystemExit("give --evaluations or --minutes, not both")
    marks = sorted(set(minutes or [1.0])) if evaluations is None else []
    budgets = [f"{mark:g}{MINUTES}" for mark in marks] or [f"{evaluations} evaluations"]
    kept = results / "suite"
    kept.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    rows = []
    for name in problems or bundled_problems():
        of_problem = _rows(load_problem(name), budgets, evaluations, marks, sandbox, kept)
        for row in of_problem:
            print(
                f"{name}: {row.evaluations} evaluations, {row.budget}, {row.initial} -> {row.reached} {row.said}",
                file=sys.stderr,
            )
        rows += of_problem
    if page is not None:
        page.write_text(_page(kept, page))
    cpus = len(os.sched_getaffinity(0))
    return Suite(
        title=f"The suite with the embedded generator {MODEL} ({', '.join(budgets)} each, {cpus} CPUs)",
        rows=rows,
        machine={
            "cpus": cpus,
            "load_before": load,
            "load_after": os.getloadavg()[0],
            "python": platform.python_version(),
        },
    )


def _page(kept: Path, page: Path) -> str:
    """All that was reached within minutes and is kept and not out of date, as Markdown; a column for each budget."""
    measured = [rows for name in bundled_problems() if (rows := _kept_of_minutes(load_problem(name), kept))]
    budgets = list(dict.fromkeys(row.budget for row in sorted(chain.from_iterable(measured), key=_minutes)))
    columns = ("problem", "evaluations", "initial", *budgets, "best known", "gap")
    lines = [_line(*columns), "|" + "---|" * len(columns)]
    for rows in measured:
        last, by_budget = rows[-1], {row.budget: row.reached for row in rows}
        minimised = " (min)" if Direction(last.direction) is Direction.MINIMIZE else ""
        numbers = (last.initial, *map(by_budget.get, budgets), last.known, last.gap)
        lines.append(_line(last.problem + minimised, f"{last.evaluations:,}", *map(_shown, numbers)))
    cpus, hours = len(os.sched_getaffinity(0)), len(bundled_problems())
    about = PAGE.format(model=MODEL, chains=CHAINS, candidates=CANDIDATES, cpus=cpus, hours=hours, page=page)
    return about + "\n".join(lines) + "\n"


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(number: float | None) -> str:
    return "-" if number is None else f"{number:.7g}"


def _kept_of_minutes(problem: Problem, kept: Path) -> list[Row]:
    """The shortest budget first."""
    files = kept.glob(f"{problem.name} *{MINUTES}.json")
    return sorted((row for file in files if (row := _kept(problem, file))), key=_minutes)


def _minutes(row: Row) -> float:
    return float(row.budget.removesuffix(MINUTES))


def _kept(problem: Problem, file: Path) -> Row | None:
    """What was measured before; None where that was nothing, or of another version of problem or generator."""
    if not file.is_file():
        return None
    row = json.loads(file.read_text())
    is_current = (row["version"], row.get("generator")) == (problem.version, MODEL)
    return Row(**{**row, **_about(problem)}) if is_current else None


def _about(problem: Problem) -> dict[str, Any]:
    known = best_known(problem.settings.known_best, problem.direction)
    return {
        "problem": problem.name,
        "version": problem.version,
        "direction": str(problem.direction),
        "known": known.value if known else None,
        "out_of_reach": problem.settings.out_of_reach,
    }


def _rows(
    problem: Problem,
    budgets: Sequence[str],
    evaluations: int | None,
    marks: Sequence[float],
    sandbox: str,
    kept: Path,
) -> list[Row]:
    """What became of one problem within each budget; one row where nothing became of it."""
    about = _about(problem)
    files = {budget: kept / f"{problem.name} {budget}.json" for budget in budgets}
    stored = [row for file in files.values() if (row := _kept(problem, file))]
    if len(stored) == len(files):
        return stored
    if not can_be_tried(problem):
        lacks = f"this machine lacks {', '.join(needs_missing(problem))}"
        return [Row(**about, budget=budgets[-1], left_out=lacks)]
    with tempfile.TemporaryDirectory(prefix="discovery-bench-") as folder:
        begun = time.monotonic()
        found = _searched(problem, evaluations, marks, sandbox, Path(folder))
        wall_s = round(time.monotonic() - begun, 1)
    if isinstance(found, str):
        return [Row(**about, budget=budgets[-1], failed=found)]
    rows = []
    for budget, reached in zip(budgets, found, strict=True):
        row = Row(**about, budget=budget, wall_s=wall_s, **reached)
        files[budget].write_text(json.dumps(asdict(row), indent=1) + "\n")
        rows.append(row)
    return rows


def _searched(
    problem: Problem, evaluations: int | None, marks: Sequence[float], sandbox: str, folder: Path
) -> list[dict[str, Any]] | str:
    """What a run of its own had reached at each mark, in minutes, or at its end; or why it failed."""
    if evaluations is not None:
        shape = ["--max-evaluations", evaluations, "--steps", -(-evaluations // (CHAINS * CANDIDATES))]
        seconds = LONGEST_S
    else:
        shape = ["--steps", MANY_STEPS, "--max-evaluations", MANY_STEPS * CHAINS * CANDIDATES]
        seconds = 60 * marks[-1]
    url = str(folder / "suite.db")
    command = [
        *(*COMMAND, "run", problem.name, "--scheduler", "local", "--generator", "mutation", "--json"),
        *("--chains", CHAINS, "--candidates", CANDIDATES, *shape, "--max-seconds", seconds),
        *("--sandbox", sandbox, "--storage", url),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=folder, env=environment
    )
    try:
        result = json.loads(done.stdout)
    except ValueError:
        return " ".join(done.stderr.split())[-300:] or f"exit code {done.returncode}"
    last = {
        "evaluations": result["evaluations"],
        "initial": result["initial_score"],
        "reached": result["best_score"],
        "exact": result["best_exact"],
    }
    if evaluations is not None:
        return [last]
    # A run ends when what it had begun is scored, which may be long after the last mark.
    with closing(open_storage(url)) as storage:
        found = [reached_by(storage, result["run"], problem.direction, 60 * mark) for mark in marks]
    # Where a mark knows of nothing, the initial candidate is the best there was.
    return [{**last, "reached": last["initial"], "exact": None, **reached} for reached in found]


def reached_by(storage: Storage, run: str, direction: Direction, seconds: float) -> dict[str, Any]:
    """What a run had come to so many seconds after it was created: evaluations, the best announced, its exact score.

    Where nothing was announced by then, there are evaluations only.
    """
    until = storage.get_run(run).created_at + timedelta(seconds=seconds)
    with storage.snapshot(run) as snapshot:
        finished = sum(
            evaluation.purpose is Purpose.SEARCH
            and evaluation.finished_at is not None
            and evaluation.finished_at <= until
            and not evaluation.key.is_initial
            for evaluation in snapshot.records(Evaluation)
        )
    best = best_announced((a for a in storage.announcements(run) if a.announced_at <= until), direction)
    if best is None:
        return {"evaluations": finished}
    confirming = confirming_evaluation(storage, run, best)
    exact = confirming.score.exact if confirming is not None and confirming.score is not None else None
    return {"evaluations": finished, "reached": best.score, "exact": exact}
