"""``discovery runs`` and ``best``: reading only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import JustifyMethod
from rich.table import Table

from discovery.cli.app import app, out, print_json, print_table, program
from discovery.cli.report import RESULTS, as_json, save_results
from discovery.cli.watch import duration, number, plain
from discovery.errors import UnknownRun, UsageError
from discovery.storage import open_existing
from discovery.summary import RunSummary, summarize

_SHOWN = 5
"""So many of a list of candidates are shown."""
_WIDE = 100
"""Terminal columns from which a list of runs shows all it has."""


@app.command
def runs(*, storage: str | None = None, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """List the stored runs, oldest first.

    Args:
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        json: Print one JSON list on standard output, nothing else.
    """
    summaries = _summaries(storage)
    if json:
        print_json([as_json(summary) for summary in summaries])
        return 0
    if not summaries:
        out.print(f"no runs yet; start one with: {program()} run circle-packing-26", markup=False)
        return 0
    # The run's id begins with its problem and is what every other command asks for: it is never cut off.
    columns = ["run", "status", "evaluations", "initial", "best", "time"]
    if out.is_terminal and out.width < _WIDE:
        columns.remove("initial")
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        width = max(len(summary.run) for summary in summaries) if column == "run" else None
        justify: JustifyMethod = "right" if column in ("evaluations", "initial", "best") else "left"
        table.add_column(column, justify=justify, no_wrap=True, min_width=width)
    for summary in summaries:
        cells = {
            "run": summary.run,
            "status": str(summary.status),
            "evaluations": str(summary.evaluations),
            "initial": number(summary.initial_score),
            "best": number(summary.best_score),
            "time": duration(summary.wall_s),
        }
        table.add_row(*(cells[column] for column in columns))
    print_table(table)
    return 0


def _summaries(url: str | None) -> list[RunSummary]:
    try:
        storage = open_existing(url)
    except UnknownRun:
        return []
    try:
        return [summarize(storage, record.id) for record in storage.list_runs()]
    finally:
        storage.close()


@app.command
def best(
    run: str,
    *,
    out_dir: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    storage: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write the best program of a run with its pictures, and print it; with what it was given, where it was.

    Args:
        run: Its id, or a unique beginning of it.
        out_dir: Folder to write to [discovery-runs/RUN].
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        json: Print one JSON object on standard output, nothing else.
    """
    with_storage = open_existing(storage)
    try:
        summary = summarize(with_storage, run)
        if summary.best is None:
            raise UsageError(
                f"run {summary.run} has no verified best yet; see `discovery show {summary.run}`"
            )
        results = save_results(with_storage, summary.run, out_dir or RESULTS / summary.run)
        candidate = with_storage.candidate(summary.run, summary.best)
        scores = [e.score for e in with_storage.evaluations(summary.run, summary.best) if e.score]
        scores.sort(key=lambda score: score.value != summary.best_score)  # the announced one first
    finally:
        with_storage.close()
    if json:
        print_json(
            {
                "run": summary.run,
                "candidate": str(summary.best),
                "score": summary.best_score,
                "exact": summary.best_exact,
                "interval": list(summary.best_interval) if summary.best_interval else None,
                "metrics": dict(scores[0].metrics) if scores else {},
                "artifact": scores[0].artifact if scores else None,
                "source": candidate.source if candidate else None,
                "program": str(results.program) if results.program else None,
                "warm_start": str(results.warm_start) if results.warm_start else None,
                "picture": str(results.picture) if results.picture else None,
                "progress": str(results.progress) if results.progress else None,
                "utilisation": str(results.utilisation) if results.utilisation else None,
            }
        )
        return 0
    if candidate is not None:
        out.print(plain(candidate.source))
    interval = summary.best_interval
    within = f" [{number(interval[0])}, {number(interval[1])}]" if interval else ""
    out.print(
        f"candidate {summary.best} scores {summary.best_score!r}{within} (initial {summary.initial_score!r})",
        markup=False,
    )
    if summary.best_exact is not None:
        out.print(f"exactly {plain(summary.best_exact)}")
    for path in (
        results.program,
        results.warm_start,
        results.picture,
        results.progress,
        results.utilisation,
    ):
        if path is not None:
            out.print(f"  {path}", markup=False)
    return 0
