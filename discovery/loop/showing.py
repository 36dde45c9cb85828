"""A loop's report as people get it: rows of a table, Markdown, a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from discovery.intervals import CONFIDENCE, Interval
from discovery.loop.folder import LoopFolder, write_text_whole, write_whole
from discovery.loop.report import LoopReport, ProblemReport, RoundReport, Spent, make_report
from discovery.plots import Estimates, plot_estimates

HEADS = ("problem", "", "revision", "mean chain-best", "change since revision 0", "evaluations")
"""What the columns of :func:`rows` hold."""


def save_report(folder: LoopFolder) -> LoopReport:
    """Read what a loop has shown so far, and write it into its folder: ``report.md``, ``report.json``, ``report.png``.

    Args:
        folder: The loop's.

    Raises:
        UsageError: There is no loop, or the files cannot be written.
    """
    report = make_report(folder)
    write_whole(folder.path / "report.json", report.as_dict())
    write_text_whole(folder.path / "report.md", as_markdown(report))
    if report.problems:
        panels = [_panel(problem) for problem in report.problems]
        plot_estimates(
            folder.path / "report.png",
            panels,
            title=f"Mean chain-best with intervals of {100 * CONFIDENCE:g} %: {report.name}, {report.id}",
        )
    return report


def rows(report: LoopReport) -> Iterator[tuple[str, ...]]:
    """The table of a report: one row for each problem and revision, under :data:`HEADS`."""
    for problem in report.problems:
        for figures in problem.figures:
            first = figures.revision == 0
            counts = sorted(set(figures.evaluations))
            yield (
                problem.label if first else "",
                ("unseen" if problem.is_held_out else "seen") if first else "",
                f"{figures.revision}{' (result)' if figures.revision == report.result else ''}",
                shown(figures.mean),
                ""
                if figures.change is None
                else f"{shown(figures.change, sign=True)}  {problem.said(figures)}",
                f"{len(figures.evaluations)} x {' or '.join(map(str, counts))}",
            )


def shown(interval: Interval, *, sign: bool = False) -> str:
    """An estimate with its interval, for people."""
    number = "+.4g" if sign else ".4g"
    if interval.low is None or interval.high is None:
        return f"{interval.estimate:{number}} [unknown]"
    return f"{interval.estimate:{number}} [{interval.low:{number}}, {interval.high:{number}}]"


def as_markdown(report: LoopReport) -> str:
    """A report as a page."""
    lines = [f"# {report.name}: {report.id}", ""]
    lines += [f"Result: revision {report.result}, {report.weights}", ""]
    lines += [report.ended if report.ended is not None else "The loop has not ended.", ""]
    lines += _table(HEADS, list(rows(report)))
    lines += [
        "",
        f"Mean chain-best: the mean over the chains of the best score of each; in brackets the interval of "
        f"{100 * CONFIDENCE:g} % by resampling seeds and chains, changes paired by seed. A change whose "
        "interval holds 0 is not shown to be one.",
        "",
        *(f"- {note}" for note in report.notes),
        *([""] if report.notes else []),
        "## Rounds",
        "",
    ]
    for made in report.rounds:
        lines += _round_lines(made)
    lines += ["## What it took", ""]
    heads = ("stage", "seconds", "evaluations", "prompt tokens", "completion tokens", "cost")
    lines += _table(heads, [_spent_row(spent) for spent in report.spent])
    return "\n".join(lines) + "\n"


def _round_lines(made: RoundReport) -> list[str]:
    exported, trained = made.exported, made.trained
    lines = [f"### Round {exported.round}", ""]
    lines.append(
        f"- learnt from export `{exported.id}`: {exported.rows.get('train', 0)} steps to train on, "
        f"{exported.rows.get('validation', 0)} to validate, of {exported.trajectories} trajectories of "
        f"{len(exported.runs)} runs"
    )
    out = ", ".join(f"{count} {reason}" for reason, count in exported.left_out.items())
    lines.append(f"- left out: {out or 'nothing'}")
    lines += [f"- refuted: {line}" for line in exported.refuted] or ["- refuted: nothing"]
    if trained is not None:
        lines.append(f"- trained on {trained.base}: {trained.weights}, in {trained.seconds:.0f} s")
    if made.verdict is not None:
        lines.append(f"- {made.verdict}")
    return [*lines, ""]


def _table(heads: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *body]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def _spent_row(spent: Spent) -> tuple[str, ...]:
    return (
        spent.stage,
        f"{spent.seconds:.0f}",
        *(
            f"{count:,}" if count else ""
            for count in (spent.evaluations, spent.prompt_tokens, spent.completion_tokens)
        ),
        ", ".join(f"{amount:.4g} {currency}" for currency, amount in spent.cost.items()),
    )


def _panel(problem: ProblemReport) -> Estimates:
    means = [figures.mean for figures in problem.figures]
    return Estimates(
        label=f"{problem.label} ({'unseen' if problem.is_held_out else 'seen'})",
        values=[mean.estimate for mean in means],
        ends=[None if mean.low is None or mean.high is None else (mean.low, mean.high) for mean in means],
    )
