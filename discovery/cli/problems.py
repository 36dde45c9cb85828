"""``discovery problems``: what there is to work on, by domain, and one problem in full."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from discovery.cli.app import app, out, print_json, print_table, program
from discovery.cli.watch import number
from discovery.direct import reference_solutions, score_directly
from discovery.errors import ProblemError, UsageError, boundary
from discovery.listing import ListedProblem, list_problems
from discovery.plots import best_known, plot_solution
from discovery.plugins import load_problem
from discovery.problem import Problem
from discovery.records import Direction
from discovery.referee import has_verifier
from discovery.starts import named

_NO_DOMAIN = "other"


@app.command
def problems(
    name: str | None = None,
    *,
    picture: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """List the problems that are at hand by domain, or show one.

    Args:
        name: A problem to show: bundled or installed name, or a path.
        picture: With a name: PNG file to draw the problem's reference solution into.
        json: Print JSON on standard output, nothing else.
    """
    if name is not None:
        problem = load_problem(name)
        if picture is not None:
            draw_reference(problem, picture)
        if json:
            print_json({**_described(problem), "picture": str(picture) if picture else None})
        else:
            _print_problem(problem, picture)
        return 0
    if picture is not None:
        raise UsageError(
            "--picture draws one problem's reference; name the problem: problems NAME --picture FILE"
        )
    listed = sorted(list_problems(), key=lambda each: _domain(each) == _NO_DOMAIN)
    listed.sort(key=lambda each: (_domain(each) == _NO_DOMAIN, _domain(each)))
    if json:
        print_json([_listed(each) for each in listed])
        return 0
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("problem", "best is", "language", "evaluation", "best known"):
        table.add_column(column, justify="right" if column in ("evaluation", "best known") else "left")
    for domain, each_of in groupby(listed, key=_domain):
        table.add_row(Text(domain, style="bold"))
        for family, members in groupby(each_of, key=lambda each: each.family or each.name):
            shown = list(members)
            for each in shown:
                table.add_row(*_row(each))
            if shown[0].variants is not None:
                table.add_row(Text(f"  {family}-N: {shown[0].variants}", style="dim"))
    print_table(table)
    out.print(
        f"\n{program()} problems NAME shows one, run NAME searches, new NAME makes one of your own",
        markup=False,
    )
    return 0


def draw_reference(problem: Problem, file: Path) -> None:
    """Draw a problem's first reference solution that is data.

    Args:
        problem: The problem.
        file: PNG file to write.

    Raises:
        UsageError: There is nothing to draw, or the file cannot be written.
        ProblemError: The reference does not score, or the picture function failed.
    """
    references = reference_solutions(problem)
    if not references or problem.settings.picture is None:
        lacks = "picture" if problem.settings.picture is None else "reference solution that is data"
        raise UsageError(f"problem {problem.name!r} has no {lacks}, so there is nothing to draw")
    name, solution, _ = references[0]
    with boundary(f"scoring {name} of problem {problem.name!r}", ProblemError):
        score = score_directly(problem, solution)
    try:
        plot_solution(file, problem, score.artifact, f"{problem.name}: {number(score.value)}, the reference")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be written: {error}; name a PNG file in a folder that is there"
        ) from error


def _domain(listed: ListedProblem) -> str:
    domain = listed.problem.settings.domain if listed.problem is not None else None
    return domain or _NO_DOMAIN


def _row(listed: ListedProblem) -> tuple[Text, ...]:
    problem = listed.problem
    if problem is None:
        return (Text(f"  {listed.name}"), Text("does not load", style="red"))
    known = best_known(problem.settings.known_best, problem.direction)
    return (
        Text(f"  {listed.name}"),
        Text("high" if problem.direction is Direction.MAXIMIZE else "low"),
        Text(problem.settings.language),
        Text(_seconds(problem.settings.cost_s)),
        Text(number(known.value) if known else "-"),
    )


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _listed(listed: ListedProblem) -> dict[str, Any]:
    about = {"problem": listed.name} if listed.problem is None else _described(listed.problem)
    return {
        **about,
        "origin": listed.origin,
        "family": listed.family,
        "variants": listed.variants,
        "error": listed.error,
    }


def _described(problem: Problem) -> dict[str, Any]:
    settings = problem.settings
    return {
        "problem": problem.name,
        "direction": str(problem.direction),
        "language": settings.language,
        "entry": settings.entry,
        "bounds": list(settings.bounds),
        "domain": settings.domain,
        "cost_s": settings.cost_s,
        "deterministic": settings.deterministic,
        "packages": list(settings.packages),
        "parameters": dict(settings.parameters),
        "has_exact_score": has_verifier(problem),
        "known_best": [{"value": k.value, "source": k.source, "exact": k.exact} for k in settings.known_best],
        "references": [
            {
                "file": str(problem.path.with_name(r.file)),
                "source": r.source,
                "exact": r.exact,
                "value": r.value,
            }
            for r in settings.references
        ],
        "summary": _summary(problem.statement),
        "path": str(problem.path),
        "version": problem.version,
    }


def _print_problem(problem: Problem, picture: Path | None) -> None:
    from rich.syntax import Syntax

    settings = problem.settings
    # As the model reads it: rendered, long items would be cut, and a formula's stars would be taken for emphasis.
    out.print(Text(problem.statement.rstrip() + "\n"))
    for which, source in enumerate(problem.initials):
        out.print(Text(f"initial candidate{f' {named(which)}' if which else ''}", style="bold"))
        out.print(Syntax(source, settings.language, theme="ansi_dark", background_color="default"))
    facts = Table.grid(padding=(0, 2))
    for label, value in _facts(problem, picture):
        facts.add_row(Text(label, style="dim"), Text(value))
    print_table(facts)


def _facts(problem: Problem, picture: Path | None) -> list[tuple[str, str]]:
    settings = problem.settings
    exact = ", with an exact score" if has_verifier(problem) else ""
    rows = [
        ("score", f"{problem.direction}{exact}"),
        ("language", settings.language),
        (
            "evaluation",
            f"about {_seconds(settings.cost_s)}" if settings.cost_s is not None else "not measured",
        ),
    ]
    for known in settings.known_best:
        recomputed = ", recomputed" if known.exact else ""
        rows.append(("best known", f"{known.value!r}: {known.source}{recomputed}"))
    for reference in settings.references:
        value = reference.exact or ("" if reference.value is None else repr(reference.value))
        rows.append(("reference", f"{value or 'no score told'}: {reference.source} ({reference.file})"))
    if picture is not None:
        rows.append(("picture", str(picture)))
    elif settings.picture is not None and any(r.file.endswith(".json") for r in settings.references):
        rows.append(
            ("picture", f"{program()} problems {problem.name} --picture FILE.png draws the reference")
        )
    rows.append(("declared in", str(problem.path)))
    return rows


def _summary(statement: str) -> str:
    lines = [line.strip() for line in statement.splitlines()]
    for line in lines:
        if line and not line.startswith("#"):
            return line
    return next((line.lstrip("# ") for line in lines if line), "")
