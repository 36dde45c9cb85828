"""What is said, written and drawn at the end of a run, and on later request."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from discovery import beginnings
from discovery.best import announced_evaluation, best_announced
from discovery.bundle import unbundled, write_folder
from discovery.cli.app import print_table, program
from discovery.cli.watch import duration, money, number
from discovery.errors import DiscoveryError, UsageError
from discovery.plots import Panel, best_known, plot_progress, plot_series, plot_solution
from discovery.plugins import load_problem
from discovery.problem import Problem
from discovery.pulse import Quantity, overall
from discovery.records import Announcement, CandidateKey, RunStatus
from discovery.run import config_of
from discovery.storage.base import RunRecord, Storage
from discovery.summary import RunSummary
from discovery.warm import NAME, stored_artifact

PICTURES = "DISCOVERY_PICTURES"
"""Environment variable: ``off`` leaves out the pictures of runs, which take about a second."""
RESULTS = Path("discovery-runs")
_LABEL = len("quarantined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Where a run's results were written.

    Args:
        program: The best program.
        progress: Plot of scores against evaluations.
        picture: The problem's picture of the best solution, when it draws one.
        utilisation: Plot of how busy the run was, where that was measured.
        problems: What could not be written, in one line each.
        warm_start: The construction that the best program was given; None where it was given none.
    """

    program: Path | None
    progress: Path | None
    picture: Path | None
    utilisation: Path | None = None
    problems: tuple[str, ...] = ()
    warm_start: Path | None = None


def as_json(summary: RunSummary) -> dict[str, Any]:
    """A summary as ``discovery run --json`` prints it."""
    return {
        "run": summary.run,
        "problem": summary.problem,
        "status": str(summary.status),
        "evaluations": summary.evaluations,
        "distinct_candidates": summary.distinct_candidates,
        "duplicates": summary.duplicates,
        "repeats": summary.repeats,
        "best_score": summary.best_score,
        "best_exact": summary.best_exact,
        "best_interval": list(summary.best_interval) if summary.best_interval else None,
        "best": str(summary.best) if summary.best else None,
        "initial_score": summary.initial_score,
        "failures": dict(summary.failures),
        "quarantined": {
            "total": summary.quarantine.total,
            "agreed": summary.quarantine.agreed,
            "disagreed": summary.quarantine.disagreed,
        },
        "disagreements": [str(key) for key in summary.refuted],
        "audit": {
            "at": summary.audit.at.isoformat(),
            "agrees": summary.audit.agrees,
            "message": summary.audit.message,
            "problem_changed": summary.audit.is_changed,
        }
        if summary.audit
        else None,
        "wall_s": round(summary.wall_s, 3),
        "tokens": {"prompt": summary.tokens.prompt, "completion": summary.tokens.completion},
        "consultations": {
            "asked": summary.consultations,
            "in_vain": summary.consultations_in_vain,
            "tokens": summary.consultation_tokens,
        },
        "cost": {
            "total": summary.cost,
            "per_evaluation": summary.cost_per_evaluation,
            "currency": summary.currency,
        }
        if summary.cost is not None
        else None,
        "generator_utilisation": summary.generator_utilisation,
        "message": summary.message,
        "chains": [
            {
                "chain": chain.chain,
                "steps": chain.steps,
                "evaluations": chain.evaluations,
                "best_score": chain.best_score,
                "best": str(chain.best) if chain.best else None,
            }
            for chain in summary.chains
        ],
    }


def cost_of(summary: RunSummary) -> tuple[str, str]:
    """What a run cost, and what that is for each evaluation; both empty where no price is known."""
    if summary.cost is None:
        return "", ""
    each = summary.cost_per_evaluation
    return money(summary.cost, summary.currency), (
        f"{money(each, summary.currency)} per evaluation" if each is not None else ""
    )


def tokens_of(summary: RunSummary) -> tuple[str, str]:
    """Tokens of a run in all, and those of prompts and completions."""
    tokens = summary.tokens
    return f"{tokens.total:,}", f"{tokens.prompt:,} of prompts, {tokens.completion:,} of completions"


def fates(record: RunRecord) -> Mapping[int, str]:
    """Why chains took no more steps though the run went on, by their numbers."""
    ended = record.facts.get("ended_chains") or {}
    return {number: reason for reason, numbers in ended.items() for number in numbers}


def advice_of(summary: RunSummary) -> tuple[str, str]:
    """How often a model was asked what is no candidate, and the tokens of that; both empty where it never was."""
    if not summary.consultations:
        return "", ""
    vain = summary.consultations_in_vain
    return (
        f"{summary.consultations:,}",
        f"questions beside candidates, {summary.consultation_tokens:,} of the tokens"
        + (f"; {vain:,} without an answer of use" if vain else ""),
    )


def with_interval(score: float | None, interval: tuple[float, float] | None) -> str:
    """A score for people, with its interval where it has one: ``1.5 [1.25, 2]``."""
    return number(score) + (f" [{number(interval[0])}, {number(interval[1])}]" if interval else "")


def problem_of(storage: Storage, run: str) -> Problem | None:
    """The problem of a run, or None when it cannot be loaded any more."""
    record = storage.get_run(run)
    try:
        return load_problem(f"{record.problem_path}:{record.problem}")
    except DiscoveryError:
        return None


def save_results(storage: Storage, run: str, folder: Path | None = None) -> Results:
    """Write a run's best program and pictures.

    Args:
        storage: Where the run lives.
        run: Its id.
        folder: Where to write; None is ``discovery-runs/<run>`` in the current folder.

    Returns:
        What was written. A picture that fails is said, not raised: the run is done and stored.

    Raises:
        UsageError: The folder cannot be written.
    """
    record = storage.get_run(run)
    folder = folder if folder is not None else RESULTS / record.id
    problem = problem_of(storage, record.id)
    best = best_announced(storage.announcements(record.id), record.direction)
    given: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        program = _save_program(storage, record.id, best.key, folder) if best else None
        given = _save_warm_start(storage, record.id, best.key, folder) if best else None
    except OSError as error:
        raise UsageError(f"cannot write results to {folder}: {error}; choose another folder") from error
    if os.environ.get(PICTURES) == "off":
        return Results(program=program, progress=None, picture=None, warm_start=given)
    return replace(_save_pictures(storage, record, problem, best, program, folder), warm_start=given)


def _save_pictures(
    storage: Storage,
    record: RunRecord,
    problem: Problem | None,
    best: Announcement | None,
    program: Path | None,
    folder: Path,
) -> Results:
    failed: list[str] = []
    starts = beginnings.scored(storage, record.id)
    progress: Path | None = folder / "progress.png"
    picture: Path | None = None
    try:
        plot_progress(
            folder / "progress.png",
            [score for _, score in storage.scores(record.id)],
            title=f"{record.problem}: {config_of(record).generator.kind}, {config_of(record).search.selector}",
            direction=record.direction,
            initial=beginnings.best_value(starts, record.direction),
            known_best=problem.settings.known_best if problem else (),
        )
    except OSError as error:
        progress = None
        failed.append(f"no plot: {error}")
    utilisation: Path | None = None
    try:
        utilisation = _save_utilisation(storage, record, folder)
    except OSError as error:
        failed.append(f"no plot of the utilisation: {error}")
    if problem is not None and best:
        try:
            picture = _save_picture(storage, record.id, best, problem, folder)
        except (OSError, DiscoveryError) as error:
            failed.append(f"no picture: {error}")
    return Results(
        program=program,
        progress=progress,
        picture=picture,
        utilisation=utilisation,
        problems=tuple(failed),
    )


_POINTS = 360
"""So many a plot of the utilisation has at most: of longer runs it shows means."""
_PANELS: Sequence[tuple[str, bool, Mapping[str, tuple[Quantity, ...]]]] = (
    (
        "tokens/s",
        False,
        {"generated": (Quantity.SERVER_COMPLETION_TOKENS_PER_S, Quantity.COMPLETION_TOKENS_PER_S)},
    ),
    (
        "completions",
        False,
        {
            "running": (Quantity.SERVER_RUNNING, Quantity.IN_FLIGHT),
            "waiting": (Quantity.SERVER_WAITING,),
            "to be evaluated": (Quantity.COMPLETIONS_WAITING,),
        },
    ),
    ("busy, %", True, {"generator": (Quantity.GENERATOR_BUSY,), "evaluators": (Quantity.EVALUATOR_BUSY,)}),
    ("cache, %", True, {"prefix hits": (Quantity.CACHE_HIT_RATE,), "KV usage": (Quantity.KV_USAGE,)}),
)
"""Label, whether they are shares, and lines: each the first of some quantities that was ever known."""


def _save_utilisation(storage: Storage, record: RunRecord, folder: Path) -> Path | None:
    measured = storage.measurements(record.id)
    if not measured:
        return None
    stride = math.ceil(len(measured) / _POINTS)
    points = [overall(measured[start : start + stride]) for start in range(0, len(measured), stride)]
    known = {name for point in points for name, value in point.items() if value}
    panels = []
    for label, is_share, wanted in _PANELS:
        chosen = {line: next((q for q in names if q in known), None) for line, names in wanted.items()}
        lines = {line: [p.get(q) for p in points] for line, q in chosen.items() if q is not None}
        if lines:
            panels.append(Panel(label=label, lines=lines, is_share=is_share))
    if not panels:
        return None
    path = folder / "utilisation.png"
    seconds = [point.get(Quantity.WINDOW_S, 0.0) for point in points]
    plot_series(path, seconds, panels, title=f"{record.problem}: {record.id}")
    return path


def _save_program(storage: Storage, run: str, key: CandidateKey, folder: Path) -> Path | None:
    candidate = storage.candidate(run, key)
    if candidate is None:
        return None
    suffix = ".py" if "def " in candidate.source else ".txt"
    problem = problem_of(storage, run)
    if problem is not None:
        from discovery.toolchain import suffix_of

        suffix = suffix_of(problem.settings)
        if problem.files:
            write_folder(folder / "best", unbundled(candidate.source))
            return folder / "best"
    path = folder / f"best{suffix}"
    path.write_text(candidate.source, encoding="utf-8", errors="surrogatepass")
    return path


def _save_warm_start(storage: Storage, run: str, key: CandidateKey, folder: Path) -> Path | None:
    """The construction that a program was given, for scoring it again as it was."""
    path = folder / f"{NAME}.json"
    candidate = storage.candidate(run, key)
    if candidate is None or candidate.warm_start is None:
        path.unlink(missing_ok=True)  # of an earlier best
        return None
    path.write_text(json.dumps(stored_artifact(storage, run, candidate.warm_start)) + "\n", encoding="utf-8")
    return path


def _save_picture(
    storage: Storage, run: str, best: Announcement, problem: Problem, folder: Path
) -> Path | None:
    evaluation = announced_evaluation(storage, run, best)
    score = evaluation.score if evaluation else None
    if score is None:
        return None
    path = folder / "best.png"
    title = f"{problem.name}: {score.value:.12g}"
    return path if plot_solution(path, problem, score.artifact, title) else None


def report(
    console: Console, storage: Storage, summary: RunSummary, results: Results, storage_option: str = ""
) -> None:
    """Print the end of a run: best beside initial and best known, files, and the commands that come next.

    Args:
        console: Where to.
        storage: Where the run lives.
        summary: Its summary.
        results: What was written.
        storage_option: What to add to commands so that they find the storage.
    """
    problem = problem_of(storage, summary.run)
    console.print()
    verb = "finished" if summary.status is RunStatus.FINISHED else str(summary.status)
    reason = f" ({summary.message})" if summary.message else ""
    console.print(
        f"{summary.problem}: {verb}{reason} after {summary.evaluations} evaluations in {duration(summary.wall_s)}",
        markup=False,
        style="bold",
    )
    known = best_known(problem.settings.known_best, problem.direction) if problem else None
    failures = ", ".join(f"{kind} {count}" for kind, count in sorted(summary.failures.items()))
    low_high = summary.best_interval
    interval = f", interval [{number(low_high[0])}, {number(low_high[1])}]" if low_high else ""
    rows = [
        ("initial", number(summary.initial_score), ""),
        (
            "best",
            number(summary.best_score),
            f"candidate {summary.best}{interval}" if summary.best is not None else "",
        ),
        ("exact", summary.best_exact or "", "") if summary.best_exact else ("", "", ""),
        ("best known", number(known.value), known.source) if known else ("", "", ""),
        ("failed", str(sum(summary.failures.values())), failures),
        ("quarantined", *str(summary.quarantine).split(": ")) if summary.quarantine.total else ("", "", ""),
        ("programs", str(summary.distinct_candidates), summary.programs),
        ("tokens", *tokens_of(summary)) if summary.tokens.total else ("", "", ""),
        ("advice", *advice_of(summary)) if summary.consultations else ("", "", ""),
        ("cost", *cost_of(summary)) if summary.cost is not None else ("", "", ""),
    ]
    table = Table.grid(padding=(0, 2))
    for label, value, note in rows:
        if label:
            style = "bold green" if label == "best" else ""
            table.add_row(f"  {label:{_LABEL}}", Text(value, style=style), Text(note))
    print_table(table)
    for label, path in (
        ("program", results.program),
        ("given", results.warm_start),
        ("picture", results.picture),
        ("plot", results.progress),
        ("utilisation", results.utilisation),
    ):
        if path is not None:
            console.print(f"  {label:{_LABEL}}  {path}", markup=False)
    for line in results.problems:
        console.print(f"  {line}", markup=False)
    console.print("\nNext:")
    commands = [f"show {summary.run}{storage_option}", f"best {summary.run}{storage_option}"]
    if results.program is not None and problem is not None:
        given = "" if results.warm_start is None else f" --warm-start {shlex.quote(str(results.warm_start))}"
        commands.append(f"score {shlex.quote(_ref(problem))} {shlex.quote(str(results.program))}{given}")
    if summary.best_exact:
        commands.append(f"certify {summary.run}{storage_option}")
    if summary.status is not RunStatus.FINISHED:
        commands.append(f"resume {summary.run}{storage_option}")
    for command in commands:
        console.print(f"  {program()} {command}", markup=False)


def _ref(problem: Problem) -> str:
    from discovery.bundled import is_bundled

    return problem.name if is_bundled(problem.name, problem.path) else str(problem.path)
