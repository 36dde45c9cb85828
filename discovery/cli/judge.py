"""``discovery score``, ``check`` and ``new``: one candidate, one problem, no search."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from discovery import data
from discovery.agreement import shown
from discovery.cli.app import app, notice, out, print_json, program, properties
from discovery.cli.watch import plain
from discovery.config import SandboxConfig
from discovery.errors import DataError, UsageError
from discovery.findings import Finding, Level
from discovery.form import form_of
from discovery.launch import evaluator_for
from discovery.plots import best_known
from discovery.plugins import load_problem
from discovery.problem import Problem
from discovery.records import INITIAL, Candidate, Direction, Evaluation, FailureKind, Score
from discovery.sandbox.base import SandboxBackend
from discovery.sandbox.choice import choose_backend
from discovery.solutions import is_data, read_program, read_solution, read_text
from discovery.warm import encoded

if TYPE_CHECKING:
    from discovery.evaluator import Evaluator

MODEL = "a program from outside"
"""Stands for the generator when one is judged that anyone may have written: the sandbox must hold."""


@app.command
def score(
    problem: str,
    solution: Path,
    *,
    warm_start: Path | None = None,
    sandbox: str = "auto",
    require_isolation: Annotated[list[str] | None, Parameter(negative=())] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Score one solution: a program, or a file of what the entry function would return.

    Where the problem has an exact scorer, that one decides: what it does not confirm is invalid.

    Args:
        problem: Name of a bundled or installed problem, or a path.
        solution: A program file, or a folder of its files; or data: a .json file, or an array in a .npy file.
        warm_start: JSON file of the construction that the program is given, such as `discovery best` writes beside it.
        sandbox: auto, bubblewrap, docker or process.
        require_isolation: Refuse to start unless this was verified to hold here: untrusted, full, none, or properties.
        json: Print one JSON object on standard output, nothing else.

    Exit code 0 when it is valid, 1 when it is not.
    """
    loaded = load_problem(problem)
    given = _given(loaded, warm_start) if warm_start is not None else None
    evaluation = asyncio.run(score_file(loaded, solution, sandbox, properties(require_isolation), given))
    found, failure = evaluation.score, evaluation.failure
    if json:
        print_json(
            {
                "problem": loaded.name,
                "valid": found is not None,
                "score": found.value if found else None,
                "exact": found.exact if found else None,
                "best_known": _compared(loaded, found),
                "interval": list(found.interval) if found and found.interval else None,
                "samples": list(found.samples) if found else [],
                "metrics": {**found.metrics, **found.private} if found else {},
                "feedback": found.feedback if found else None,
                "failure": {"kind": str(failure.kind), "message": failure.message} if failure else None,
                "sandbox": evaluation.sandbox,
            }
        )
    elif found is not None:
        out.print(f"[bold green]valid[/]  {plain(shown(found))}{_repeats(loaded, found)}")
        if found.exact is not None:
            out.print(f"exact  {plain(found.exact)}")
        if (compared := _compared(loaded, found)) is not None:
            known = f"  best known {compared['value']!r} ({compared['source']}): {_gap(compared['ahead'])}"
            out.print(known, markup=False)
        for name, value in {**found.metrics, **found.private}.items():
            out.print(f"  {plain(str(name))} = {plain(repr(value))}")
        if found.feedback:
            for line in found.feedback.splitlines():
                out.print(f"  {plain(line)}")
    elif failure is not None:
        kind = "" if failure.kind is FailureKind.INVALID else f"{failure.kind}: "
        out.print(f"[bold red]invalid[/]  {kind}{plain(failure.message)}")
        if failure.detail:
            out.print(plain(failure.detail))
    return 0 if found is not None else 1


def _compared(problem: Problem, score: Score | None) -> dict[str, Any] | None:
    """A score beside the best that is known; ``ahead`` is positive where it is better than that.

    A best value is declared as a float: an exact score that rounds to it is equal to it.
    """
    known = best_known(problem.settings.known_best, problem.direction)
    if known is None or score is None:
        return None
    value = Decimal(score.exact) if score.exact is not None else Decimal(score.value)
    ahead = Decimal(0) if float(value) == known.value else value - Decimal(repr(known.value))
    return {
        "value": known.value,
        "source": known.source,
        "exact": known.exact,
        "ahead": float(ahead if problem.direction is Direction.MAXIMIZE else -ahead),
    }


def _gap(ahead: float) -> str:
    return f"this is {abs(ahead):.3g} {'better' if ahead > 0 else 'worse'}" if ahead else "this is equal"


def _repeats(problem: Problem, score: Score) -> str:
    """How a score of repeats came about."""
    repeats = problem.settings.repeats
    if repeats is None or not score.samples:
        return ""
    confidence = f", {100 * repeats.confidence:g} % confidence" if score.interval else ""
    return f"  ({repeats.statistic} of {len(score.samples)} repeats{confidence})"


def _given(problem: Problem, file: Path) -> bytes:
    """What a program is to be given, from a file."""
    if not problem.settings.warm_start:
        raise UsageError(
            f"--warm-start {file}: problem {problem.name!r} gives its programs nothing; declare warm_start=True "
            "there, or leave the option out"
        )
    try:
        return encoded(data.loads_document(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, DataError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"--warm-start {file}: {why}; expected a JSON file of one construction") from error


async def score_file(
    problem: Problem,
    solution: Path,
    sandbox: str = "auto",
    require: tuple[str, ...] | None = None,
    warm_start: bytes | None = None,
) -> Evaluation:
    """Score a file, exactly where that can be.

    Args:
        problem: The problem.
        solution: A program, a folder of one of several files, or data.
        sandbox: Name of the backend that a program runs in.
        require: What must have been verified to hold of it.
        warm_start: What the program is given, encoded; None for nothing.

    Raises:
        UsageError: The file cannot be read, or holds no data.
    """
    if not is_data(solution):
        candidate = _candidate(problem, read_program(solution, problem))
        return await _evaluate(problem, candidate, _backend(sandbox), require, warm_start)
    value = read_solution(solution, problem)
    # What a scorer of documents reads is the text.
    candidate = _candidate(
        problem, read_text(solution) if solution.suffix.lower() == ".json" else dumps(value)
    )
    from discovery.evaluator import Evaluator

    evaluator = Evaluator(problem, slots=1)
    try:
        await evaluator.start()
        return await evaluator.evaluate_data(candidate, value, warm_start)
    finally:
        await evaluator.close()


def _candidate(problem: Problem, source: str) -> Candidate:
    """As a run would know it: what it draws is seeded as there."""
    now, form = datetime.now(UTC), form_of(problem, source)
    return Candidate(key=INITIAL, source=source, parents=(), created_at=now, form=form)


async def _evaluate(
    problem: Problem,
    candidate: Candidate,
    backend: SandboxBackend,
    require: tuple[str, ...] | None,
    warm_start: bytes | None,
) -> Evaluation:
    async with evaluator_for(problem, backend, require=require or ()) as evaluator:
        return await evaluator.rescore(candidate, warm_start)  # from nothing, and exactly where that can be


def _backend(sandbox: str) -> SandboxBackend:
    chosen = choose_backend(SandboxConfig(backend=sandbox), MODEL)
    if chosen.notice:
        notice(chosen.notice)
    return chosen.backend


@app.command
def check(
    path: str,
    *,
    sandbox: str = "auto",
    require_isolation: Annotated[list[str] | None, Parameter(negative=())] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Report everything that is wrong with a problem, each with its fix.

    Args:
        path: A problem's folder or file, or its name; a family's folder stands for all its shipped variants.
        sandbox: auto, bubblewrap, docker or process.
        require_isolation: As for `discovery run`.
        json: Print one JSON list on standard output, nothing else.

    Exit code 0 when nothing is wrong (warnings allowed), 1 when something is.
    """
    from discovery.check import check_problem, each_problem

    chosen = choose_backend(SandboxConfig(backend=sandbox), "mutation")
    if chosen.notice:
        notice(chosen.notice)

    required = properties(require_isolation)

    async def check_one(ref: str) -> list[Finding]:
        async with AsyncExitStack() as stack:
            # One for all, started when it is first needed: each scoring is by a sandbox and a process of its own.
            kept: list[Evaluator] = []

            async def score_source(
                problem: Problem, source: str, warm_start: bytes | None = None
            ) -> Evaluation:
                if not kept:
                    evaluator = evaluator_for(problem, chosen.backend, require=required or ())
                    kept.append(await stack.enter_async_context(evaluator))
                return await kept[0].rescore(_candidate(problem, source), warm_start)

            return await check_problem(ref, score_source)

    async def check_each() -> list[tuple[str, list[Finding]]]:
        return [(ref, await check_one(ref)) for ref in each_problem(path)]

    checked = asyncio.run(check_each())
    if json:
        print_json([_finding(ref, finding) for ref, findings in checked for finding in findings])
    for ref, findings in checked if not json else ():
        _print_findings(path if len(checked) == 1 else ref.rpartition(":")[2], findings)
    return 1 if any(f.level is Level.ERROR for _, findings in checked for f in findings) else 0


def _finding(ref: str, finding: Finding) -> dict[str, str]:
    return {
        "problem": ref,
        "level": str(finding.level),
        "where": finding.where,
        "message": finding.message,
        "fix": finding.fix,
    }


def _print_findings(name: str, findings: list[Finding]) -> None:
    for finding in findings:
        style = "bold red" if finding.level is Level.ERROR else "yellow"
        out.print(Text.assemble((f"{finding.level} ", style), f"{finding.where}: {finding.message}"))
        out.print(Text(f"    fix: {finding.fix}", style="dim"))
    if not findings:
        out.print(f"[bold green]nothing is wrong[/] with {plain(name)}")
        return
    errors = sum(finding.level is Level.ERROR for finding in findings)
    said = f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}"
    out.print(f"{plain(name)}: {said}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


@app.command
def new(
    name: str, *, language: str = "python", parent: Annotated[Path, Parameter(name="--in")] = Path()
) -> int:
    """Make a problem of your own that runs at once, to be changed.

    Args:
        name: Lower-case letters, digits and dashes; also the folder's name.
        language: What its candidates are written in: python, cpp or rust; or text, for prompts and the like.
        parent: Folder to make it in.
    """
    from discovery.scaffold import create_problem

    folder = create_problem(name, parent, language)
    ref = f"./{folder.name}" if parent == Path() else str(folder)
    out.print(f"made {ref}\n\nNext:", markup=False)
    for command in ("check", "run"):
        out.print(f"  {program()} {command} {shlex.quote(ref)}", markup=False)
    return 0
