"""``discovery runs``, ``show``, ``best`` and ``problems``: reading only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from discovery.agreement import shown
from discovery.cli.app import again, app, out, print_json, print_table, program
from discovery.cli.report import RESULTS, as_json, cost_of, save_results, with_interval
from discovery.cli.watch import duration, number, plain, printable
from discovery.config import SandboxConfig
from discovery.errors import UnknownRun, UsageError
from discovery.plugins import list_problems, load_problem
from discovery.problem import Problem
from discovery.records import CandidateKey, Json, Purpose, RunStatus, SandboxRecord
from discovery.run import config_of
from discovery.storage import open_existing
from discovery.storage.base import Storage
from discovery.summary import BestAudit, RunSummary, summarize

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
def show(
    run: str,
    candidate: str | None = None,
    *,
    storage: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show where a run stands, or one of its candidates.

    Args:
        run: Its id, or a unique beginning of it.
        candidate: CHAIN.STEP.INDEX or "initial": show that candidate with its evaluation.
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        json: Print one JSON object on standard output, nothing else.
    """
    with_storage = open_existing(storage)
    try:
        if candidate is not None:
            return _show_candidate(with_storage, run, candidate, json)
        summary = summarize(with_storage, run)
        record = with_storage.get_run(summary.run)
        verified = with_storage.sandbox(str(record.facts.get("isolation")))
    finally:
        with_storage.close()
    if json:
        print_json(as_json(summary))
        return 0
    config = config_of(record)
    facts = Table.grid(padding=(0, 2))
    search, generator = config.search, config.generator
    failures = ", ".join(f"{kind} {count}" for kind, count in sorted(summary.failures.items()))
    rows = (
        ("problem", f"{summary.problem} ({record.direction})"),
        ("status", f"{summary.status}{f': {summary.message}' if summary.message else ''}"),
        ("search", f"C={search.chains} L={search.steps} K={search.candidates}, {search.selector}"),
        (
            "generator",
            generator.kind + (f" {record.facts.get('model')}" if record.facts.get("model") else ""),
        ),
        ("sandbox", _sandbox_line(record.facts, config.sandbox, verified)),
        ("seed", str(config.seed)),
        ("started", f"{record.created_at:%Y-%m-%d %H:%M:%S} UTC, {duration(summary.wall_s)} of work"),
        ("evaluations", f"{summary.evaluations} of {config.planned_evaluations}"),
        ("programs", f"{summary.distinct_candidates} different ones"),
        ("failed", f"{sum(summary.failures.values())}{f' ({failures})' if failures else ''}"),
        ("quarantined", str(summary.quarantine) if summary.quarantine.total else ""),
        ("disagreed", _few(summary.refuted)),
        ("initial", number(summary.initial_score)),
        (
            "best",
            with_interval(summary.best_score, summary.best_interval)
            + (f" (candidate {summary.best})" if summary.best else ""),
        ),
        ("cost", ", ".join(filter(None, cost_of(summary)))),
        ("audited", _audited(summary.audit) if summary.audit else ""),
    )
    for label, value in rows:
        if not value:
            continue
        facts.add_row(Text(label, style="dim"), Text(value))
    out.print(Text(summary.run, style="bold"))
    print_table(facts)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("chain", "steps", "evaluations", "best", "candidate"):
        table.add_column(column, justify="right")
    for chain in summary.chains:
        table.add_row(
            str(chain.chain),
            str(chain.steps),
            str(chain.evaluations),
            number(chain.best_score),
            str(chain.best) if chain.best else "-",
        )
    print_table(table)
    out.print("\nNext:")
    for command in _next(summary):
        out.print(f"  {program()} {command}{again(storage)}", markup=False)
    return 0


def _sandbox_line(facts: Mapping[str, Json], asked: SandboxConfig, verified: SandboxRecord | None) -> str:
    """The backend, how many properties were verified to hold, and which were not."""
    name = str(facts.get("sandbox") or asked.backend)
    if verified is None:
        return name
    missing = [prop for prop, holds in verified.properties.items() if not holds]
    held = len(verified.properties) - len(missing)
    found = f"{name}, {held} of {len(verified.properties)} properties verified"
    return f"{found}; not {', '.join(missing)}" if missing else found


def _few(keys: Sequence[CandidateKey]) -> str:
    """The first candidates, and how many more there are."""
    more = len(keys) - _SHOWN
    return ", ".join(map(str, keys[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _audited(audit: BestAudit) -> str:
    """When the best was audited and with what result."""
    result = "it scored as announced" if audit.agrees else printable(" ".join((audit.message or "").split()))
    changed = ", of a problem that has changed since the run" if audit.is_changed else ""
    return f"{audit.at:%Y-%m-%d %H:%M:%S} UTC{changed}: {result}"


def _next(summary: RunSummary) -> list[str]:
    """The commands that make sense after a look at a run."""
    commands = []
    if summary.best is not None:
        commands += [f"show {summary.run} {summary.best}", f"best {summary.run}", f"audit {summary.run}"]
    if summary.status in (RunStatus.STOPPED, RunStatus.FAILED, RunStatus.PAUSED):
        commands.append(f"resume {summary.run}")
    return commands


def _show_candidate(storage: Storage, run: str, text: str, json: bool) -> int:
    record = storage.get_run(run)
    key = _key(text)
    candidate = storage.candidate(record.id, key)
    evaluations = storage.evaluations(record.id, key)
    if candidate is None and not evaluations:
        raise UsageError(
            f"run {record.id} has no candidate {text!r}; `discovery show {record.id}` names the best"
        )
    if json:
        print_json(
            {
                "run": record.id,
                "candidate": str(key),
                "parents": [str(parent) for parent in candidate.parents] if candidate else [],
                "source": candidate.source if candidate else None,
                "evaluations": [
                    {
                        "purpose": str(e.purpose),
                        "state": str(e.state),
                        "score": e.score.value if e.score else None,
                        "interval": list(e.score.interval) if e.score and e.score.interval else None,
                        "samples": list(e.score.samples) if e.score else None,
                        "metrics": dict(e.score.metrics) if e.score else None,
                        "failure": str(e.failure.kind) if e.failure else None,
                        "message": e.failure.message if e.failure else None,
                        "suspicion": e.suspicion,
                        "duplicate_of": str(e.duplicate_of) if e.duplicate_of else None,
                        "sandbox": e.sandbox,
                    }
                    for e in evaluations
                ],
            }
        )
        return 0
    if candidate is not None:
        out.print(plain(candidate.source))
        out.print(Text(f"parents: {', '.join(map(str, candidate.parents)) or 'none'}", style="dim"))
    for e in evaluations:
        said = shown(e.score) if e.score else f"{e.failure.kind}: {e.failure.message}" if e.failure else ""
        out.print(f"{e.purpose}: {plain(said)}")
        if e.score is not None and e.score.samples:
            out.print(
                f"  {len(e.score.samples)} repeats: {', '.join(map(number, e.score.samples))}", markup=False
            )
        if e.suspicion is not None and e.purpose is Purpose.SEARCH:
            out.print(f"  quarantined: {plain(e.suspicion)}")
        if e.score is not None and e.score.feedback:
            out.print(f"  {plain(e.score.feedback)}")
        if e.failure is not None and e.failure.detail:
            out.print(plain(e.failure.detail))
    return 0


@app.command
def best(
    run: str,
    *,
    out_dir: Annotated[Path | None, Parameter(name=("--out", "-o"))] = None,
    storage: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write the best program of a run with its pictures, and print it.

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
                "interval": list(summary.best_interval) if summary.best_interval else None,
                "metrics": dict(scores[0].metrics) if scores else {},
                "artifact": scores[0].artifact if scores else None,
                "source": candidate.source if candidate else None,
                "program": str(results.program) if results.program else None,
                "picture": str(results.picture) if results.picture else None,
                "progress": str(results.progress) if results.progress else None,
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
    for path in (results.program, results.picture, results.progress):
        if path is not None:
            out.print(f"  {path}", markup=False)
    return 0


@app.command
def problems(name: str | None = None, *, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """List the problems that are at hand, or show one.

    Args:
        name: A problem to show: bundled or installed name, or a path.
        json: Print JSON on standard output, nothing else.
    """
    if name is not None:
        problem = load_problem(name)
        if json:
            print_json(_described(problem))
        else:
            _print_problem(problem)
        return 0
    listed = list_problems()
    loaded: list[dict[str, Any]] = []
    for entry in listed:
        loaded.append({**_described(load_problem(entry.name)), "origin": str(entry.origin)})
    if json:
        print_json(loaded)
        return 0
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("problem", "direction", "language", "best known", "asks for"):
        table.add_column(column, justify="right" if column == "best known" else "left")
    for described in loaded:
        known = described["known_best"]
        table.add_row(
            described["problem"],
            described["direction"],
            described["language"],
            number(known[0]["value"]) if known else "-",
            Text(described["summary"], overflow="ellipsis", no_wrap=True),
        )
    print_table(table)
    out.print(
        f"\n{program()} problems NAME shows one, run NAME searches, new NAME makes one of your own",
        markup=False,
    )
    return 0


def _described(problem: Problem) -> dict[str, Any]:
    settings = problem.settings
    return {
        "problem": problem.name,
        "direction": str(problem.direction),
        "language": settings.language,
        "entry": settings.entry,
        "bounds": list(settings.bounds),
        "domain": settings.domain,
        "deterministic": settings.deterministic,
        "packages": list(settings.packages),
        "known_best": [{"value": k.value, "source": k.source, "exact": k.exact} for k in settings.known_best],
        "summary": _summary(problem.statement),
        "path": str(problem.path),
        "version": problem.version,
    }


def _print_problem(problem: Problem) -> None:
    from rich.markdown import Markdown
    from rich.syntax import Syntax

    out.print(Markdown(problem.statement))
    out.print()
    out.print(Text("initial candidate", style="bold"))
    out.print(
        Syntax(problem.initial, problem.settings.language, theme="ansi_dark", background_color="default")
    )
    for known in problem.settings.known_best:
        out.print(f"best known {known.value!r}: {known.source}", markup=False)
    out.print(f"{problem.direction}, declared in {problem.path}", markup=False)


def _summary(statement: str) -> str:
    lines = [line.strip() for line in statement.splitlines()]
    for line in lines:
        if line and not line.startswith("#"):
            return line
    return next((line.lstrip("# ") for line in lines if line), "")


def _key(text: str) -> CandidateKey:
    try:
        return CandidateKey.parse(text)
    except ValueError as error:
        raise UsageError(
            f"candidate {text!r}: expected CHAIN.STEP.INDEX, such as 0.3.1, or 'initial'"
        ) from error
