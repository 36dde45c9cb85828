"""What ``discovery compare`` prints: a line for each run that has finished, and what all of them came to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.status import Status
from rich.table import Table

from discovery.cli.app import err, notice, out, print_table
from discovery.cli.watch import duration, number
from discovery.comparison.finals import BudgetFinals, Final
from discovery.comparison.folder import ComparisonFolder
from discovery.comparison.plan import PlannedRun
from discovery.comparison.report import Report
from discovery.comparison.running import Watched
from discovery.summary import RunSummary

_LOOK_S = 0.5


class Lines:
    """A line for each run that has finished, and on a terminal one that tells what is at work."""

    def __init__(self) -> None:
        self.watched = Watched(total=0, done=0, at_work={})
        self._began = time.monotonic()
        self._here = 0
        self._status: Status | None = None

    def told(self, run: PlannedRun, summary: RunSummary) -> None:
        """Print a finished run's line."""
        watched, self._here = self.watched, self._here + 1
        left = (time.monotonic() - self._began) / self._here * (watched.total - watched.done)
        width = len(str(watched.total))
        err.print(
            f"[dim]{watched.done:{width}}/{watched.total}[/]  {escape(run.setting.name)}  seed {run.seed}  "
            f"best {number(summary.best_score)}  {summary.evaluations} evaluations in {duration(summary.wall_s)}"
            + (f"  [dim]{duration(left)} left[/]" if watched.done < watched.total else "")
        )

    @contextmanager
    def live(self) -> Iterator[None]:
        """Have the last line of a terminal."""
        if not err.is_terminal or err.is_dumb_terminal:
            yield
            return
        with err.status("", spinner="line") as self._status:
            yield

    async def watch(self) -> None:
        """Keep that line as it is."""
        while True:
            if self._status is not None:
                parts = [
                    f"{run.setting.name} seed {run.seed}"
                    + (f": {p.evaluations}/{p.planned}, best {number(p.best)}" if p is not None else "")
                    for run, p in self.watched.at_work.values()
                ]
                self._status.update(escape("   ".join(parts)))
            await asyncio.sleep(_LOOK_S)


def show(report: Report, folder: ComparisonFolder) -> None:
    """Print what a comparison came to.

    Args:
        report: What.
        folder: Where the page is.
    """
    for of in report.contested:
        if len(report.contested) > 1:
            out.print(f"N = {of.budget:,}", style="bold")
        _show_budget(of)
        out.print("")
    for line in report.verdict():
        out.print(line, markup=False)
    for line in report.scaling_said():
        out.print(line, markup=False)
    if report.finished < len(report.comparison.runs):
        missing = len(report.comparison.runs) - report.finished
        notice(f"{missing} of {len(report.comparison.runs)} runs have not finished; only whole seeds count")
    out.print(f"report   {folder.page}", markup=False)


def _show_budget(of: BudgetFinals) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    reference = of.baseline or of.leader.name
    table.add_column("setting", max_width=40)
    for head in ("median", "mean", "95 %", "best", f"better than {reference}", "gain", "p", "corrected"):
        table.add_column(head, justify="right")
    for final in of.finals:
        table.add_row(*_row(of, final), style="bold" if final is of.leader else None)
    print_table(table)


def _row(of: BudgetFinals, final: Final) -> list[str]:
    contrast = final.against_baseline if of.baseline is not None else final.against_leader
    mean = final.mean
    ends = f"{mean.low:.5g} to {mean.high:.5g}" if mean.low is not None and mean.high is not None else ""
    row = [
        escape(final.name),
        f"{final.median:.6g}",
        f"{mean.estimate:.6g}",
        ends,
        f"{100 * final.best_share:.0f} %",
    ]
    if contrast is None:
        return [*row, "baseline" if final.name == of.baseline else "", "", "", ""]
    return [
        *row,
        f"{contrast.wins} of {of.seeds}",
        f"{contrast.gain.estimate:+.3g}",
        f"{contrast.p:.2g}",
        f"{contrast.corrected:.2g}",
    ]
