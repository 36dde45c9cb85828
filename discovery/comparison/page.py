"""The report as one HTML page that needs nothing else: no other host, no script, pictures inside.

Names may come from a configuration file or a plugin: all of them are escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape

from discovery.comparison.finals import BudgetFinals, Contrast, Final
from discovery.comparison.pictures import draw_budgets, draw_curves, draw_finals, draw_scaling
from discovery.comparison.report import Report
from discovery.comparison.verdict import against_baseline, recommendation, too_few
from discovery.intervals import Interval
from discovery.records import Direction

_STYLE = """
:root { --ink: #1f2933; --soft: #5f6b76; --line: #e3e8ec; --accent: #0b7285; --paper: #fff; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7f8; color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.65rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 10px; }
h3 { font-size: 1rem; margin: 22px 0 4px; }
p { margin: 0 0 10px; }
.soft { color: var(--soft); font-size: .92rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 20px 22px;
  margin: 18px 0; }
.verdict { border-left: 5px solid var(--accent); }
.verdict .first { font-size: 1.12rem; font-weight: 600; }
.verdict ul { margin: 8px 0 12px; padding-left: 20px; }
.warn { background: #fff8e6; border: 1px solid #f3dfa8; border-radius: 8px; padding: 8px 12px; font-size: .94rem; }
.facts { display: flex; flex-wrap: wrap; gap: 6px 26px; margin: 14px 0 0; padding: 0; list-style: none; }
.facts b { display: block; font-size: 1.15rem; }
.facts span { color: var(--soft); font-size: .85rem; }
img { display: block; width: 100%; height: auto; margin: 6px 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--soft); border-bottom: 2px solid var(--line); padding: 5px 7px;
  vertical-align: bottom; min-width: 3.2em; }
td { text-align: right; border-bottom: 1px solid var(--line); padding: 5px 7px; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr.best td { background: #e8f5f7; font-weight: 600; }
tr.base td { color: var(--soft); font-style: italic; }
td.text { text-align: left; }
.ends { color: var(--soft); font-size: .82rem; font-weight: 400; }
td.heat { text-align: center; padding: 10px 12px; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: #eef1f3; border-radius: 4px;
  padding: 1px 5px; overflow-wrap: anywhere; }
details summary { cursor: pointer; color: var(--accent); }
@media (max-width: 600px) { main { padding: 16px 10px 40px; } section { padding: 14px 12px; }
  h1 { font-size: 1.3rem; } }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""

_HOW = (
    "Every setting has the same seeds and, at each N, the same number of evaluations; failures and duplicates count as "
    "evaluations. A run's curve counts them in the order of the search, step by step.",
    "Bands and bars are bootstrap intervals of 95 % over seeds. With few seeds they are rough: of fewer than 6, the "
    "band is from the worst seed to the best.",
    "p is two-sided and exact, of Wilcoxon's signed ranks of the differences seed by seed, and corrected by Holm for "
    "all comparisons at its N: against a baseline for the number of settings, otherwise for all pairs of them.",
    "The share beside a recommendation is how often the setting has the best median when the seeds are drawn again "
    "with replacement. It tells how much the choice hangs on the seeds that were run; it is no p.",
    "A law in N is fitted to the median curve, as a floor and a power of N; its interval comes from drawing the seeds "
    "again. Points of one run are no runs of their own: what a run of twice the budget comes to may differ.",
)


def page(report: Report, command: str) -> str:
    """The page.

    Args:
        report: What it shows.
        command: That makes the comparison again, or goes on with it.
    """
    plan = report.comparison
    title = f"{len(plan.settings)} settings on {plan.problem_name}"
    largest = report.contested[-1]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">Comparison <code>{escape(plan.id)}</code>, at equal numbers of evaluations. '
        f"The score is to be {'maximized' if _is_max(report) else 'minimized'}.</p>",
        _facts(report),
        _verdict(report, largest),
        *([_overview(report)] if len(report.contested) > 1 else []),
        _budget(report, largest),
        *(_folded(report, of) for of in reversed(report.contested[:-1])),
        _scaling(report, largest),
        _methods(report, command),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; style-src '
        "'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _is_max(report: Report) -> bool:
    return report.about.direction is Direction.MAXIMIZE


def _facts(report: Report) -> str:
    budgets = [of.budget for of in report.budgets]
    spent = f"{budgets[0]:,}" if len(budgets) == 1 else f"{budgets[0]:,} to {budgets[-1]:,}"
    known = report.about.known
    facts = [
        (f"{len(report.comparison.settings)}", "settings"),
        (f"{len(report.seeds)}", "seeds"),
        (spent, "evaluations per run"),
        (f"{report.evaluations:,}", "evaluations in all"),
        (f"{report.initial:.6g}", "initial score"),
        *([(f"{known:.6g}", "best known")] if known is not None else []),
    ]
    cells = "".join(f"<li><b>{escape(value)}</b><span>{escape(label)}</span></li>" for value, label in facts)
    return f'<ul class="facts">{cells}</ul>'


def _verdict(report: Report, of: BudgetFinals) -> str:
    lines = against_baseline(of)
    few = too_few(of)
    missing = len(report.comparison.runs) - report.finished
    notes = [few] if few else []
    if missing:
        notes.append(
            f"{missing} of {len(report.comparison.runs)} runs have not finished; what is shown is of the "
            f"{len(report.seeds)} seeds of which all have."
        )
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (
        f'<section class="verdict"><h2>What it says</h2><p class="first">{escape(recommendation(of))}</p>'
        + (f"<ul>{listed}</ul>" if listed else "")
        + "".join(f'<p class="warn">{escape(note)}</p>' for note in notes)
        + "</section>"
    )


def _overview(report: Report) -> str:
    """The best setting of each budget, where there are several."""
    rows = []
    for of in report.budgets:
        leader = of.leader
        rivals = len(of.rivals)
        cells = [
            f"{of.budget:,}",
            escape(leader.name),
            f"{len(of.finals)}",
            f"{leader.median:.6g}",
            f"{100 * leader.best_share:.0f} %" if len(of.finals) > 1 else "",
            f"{rivals}" if len(of.finals) > 1 else "",
        ]
        shown = [
            f'<td class="text">{cell}</td>' if place == 1 else f"<td>{cell}</td>"
            for place, cell in enumerate(cells)
        ]
        rows.append(f"<tr>{''.join(shown)}</tr>")
    head = ("N", "recommended", "settings", "median", "of resamples", "not told from")
    return (
        "<section><h2>The best split at each budget</h2>"
        '<p class="soft">Only settings that spend the same N are compared with each other.</p>'
        + _picture(
            "Median final scores against the budget", lambda narrow: draw_budgets(report, narrow=narrow)
        )
        + _table(head, rows)
        + "</section>"
    )


def _budget(report: Report, of: BudgetFinals) -> str:
    at = f"N = {of.budget:,}"
    said = f"<p>{escape(recommendation(of))}</p>" if len(report.contested) > 1 else ""
    return (
        f"<section><h2>{at}: best score against evaluations</h2>{said}"
        + _picture(
            f"Best score against evaluations at {at}: medians over seeds with bands",
            lambda narrow: draw_curves(of, report, narrow=narrow),
        )
        + '<p class="soft">Median over seeds. Bands, of the two best and the baseline: bootstrap intervals of 95 %.</p>'
        + _heat(report, of)
        + "<h3>Final scores</h3>"
        + _picture(f"Final scores at {at}", lambda narrow: draw_finals(of, report, narrow=narrow))
        + '<p class="soft">A dot for each seed, a bar at the median, the interval of the mean behind them.</p>'
        + _finals(of)
        + "</section>"
    )


def _folded(report: Report, of: BudgetFinals) -> str:
    """A smaller budget, to be opened by whoever wants it."""
    inside = _budget(report, of).removeprefix("<section>").removesuffix("</section>")
    return (
        f"<section><details><summary>N = {of.budget:,}: {escape(of.leader.name)} of {len(of.finals)} settings</summary>"
        f"{inside}</details></section>"
    )


def _finals(of: BudgetFinals) -> str:
    has_tokens = any(run.tokens for final in of.finals for run in final.curves.runs)
    head = ["setting", "C x L x K", "median", "mean", "best median", "seeds won", "gain", "p", "corrected"]
    head += ["tokens a run"] if has_tokens else []
    rows = []
    for final in of.finals:
        search = final.curves.setting.config.search
        contrast = final.against_baseline if of.baseline is not None else final.against_leader
        cells = [
            escape(final.name),
            f"{search.chains} x {search.steps} x {search.candidates}",
            f"{final.median:.6g}",
            _estimate(final.mean, "{:.5g}"),
            f"{100 * final.best_share:.0f} %",
            *_contrast(contrast, of.seeds),
        ]
        if has_tokens:
            cells.append(f"{sum(run.tokens for run in final.curves.runs) / of.seeds:,.0f}")
        kind = "base" if final.name == of.baseline else "best" if final is of.leader else ""
        rows.append(f'<tr class="{kind}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    other = escape(of.baseline or of.leader.name)
    return (
        _table(head, rows)
        + f'<p class="soft">Seeds won, gain and p are against {other}; best median: in how many of the resamples.</p>'
    )


def _contrast(contrast: Contrast | None, seeds: int) -> list[str]:
    if contrast is None:
        return ["", "", "", ""]
    return [
        f"{contrast.wins} of {seeds}",
        _estimate(contrast.gain, "{:+.3g}"),
        f"{contrast.p:.2g}",
        f"{contrast.corrected:.2g}",
    ]


def _estimate(interval: Interval, form: str) -> str:
    """An estimate with its interval below it."""
    said = form.format(interval.estimate)
    if interval.low is None or interval.high is None:
        return said
    return f'{said}<br><span class="ends">{interval.low:.4g} to {interval.high:.4g}</span>'


def _heat(report: Report, of: BudgetFinals) -> str:
    """Medians as a table of C by K, where the settings of a budget differ in nothing else."""
    cells: dict[tuple[int, int], Final] = {}
    for final in of.finals:
        if final.name == of.baseline and final is not of.leader:
            continue
        search = final.curves.setting.config.search
        if (search.chains, search.candidates) in cells:
            return ""
        cells[search.chains, search.candidates] = final
    rows = sorted({c for c, _ in cells})
    columns = sorted({k for _, k in cells})
    if len(rows) < 2 or len(columns) < 2:
        return ""
    keys = [report.about.direction.key(final.median) for final in cells.values()]
    low, span = min(keys), (max(keys) - min(keys)) or 1.0
    lines = []
    for c in rows:
        shown = [f"<td><b>C = {c}</b></td>"]
        for k in columns:
            one = cells.get((c, k))
            if one is None:
                shown.append("<td></td>")
                continue
            share = (report.about.direction.key(one.median) - low) / span
            color = f"rgba(11,114,133,{0.06 + 0.5 * share:.2f})"
            depth = one.curves.setting.config.search.steps
            shown.append(
                f'<td class="heat" style="background:{color}">{one.median:.5g}<br>'
                f'<span class="soft">L = {depth}</span></td>'
            )
        lines.append("<tr>" + "".join(shown) + "</tr>")
    head = ("", *(f"K = {k}" for k in columns))
    return f"<h3>Median final score by C and K</h3>{_table(head, lines)}"


def _scaling(report: Report, largest: BudgetFinals) -> str:
    shown = [
        largest.leader,
        *(f for f in largest.finals if f.name == largest.baseline and f is not largest.leader),
    ]
    said = "".join(f"<p>{escape(line)}</p>" for line in report.scaling_said())
    picture = ""
    if any(report.scaling[final.name].law is not None for final in shown):
        picture = _picture(
            "Median score against evaluations with the fitted law",
            lambda narrow: draw_scaling(shown, report, narrow=narrow),
        )
        said += (
            '<p class="soft">Dots are medians over seeds, lines the fits, drawn up to twice the budget.</p>'
        )
    return f"<section><h2>How the score grows with N</h2>{picture}{said}</section>"


def _methods(report: Report, command: str) -> str:
    how = "".join(f"<p>{escape(line)}</p>" for line in _HOW)
    runs = "".join(
        f"<tr><td>{escape(final.name)}</td><td>{of.budget:,}</td><td>{run.seed}</td><td>{run.final:.10g}</td>"
        f"<td><code>{escape(run.run)}</code></td></tr>"
        for of in report.budgets
        for final in of.finals
        for run in final.curves.runs
    )
    table = _table(("setting", "N", "seed", "best score", "run"), [runs])
    return (
        f"<section><h2>How it was done</h2>{how}<p>Again, or on with it: <code>{escape(command)}</code></p>"
        f"<details><summary>All runs</summary>{table}</details></section>"
    )


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _picture(alt: str, draw: Callable[[bool], bytes]) -> str:
    """A picture in two sizes: text stays readable on a narrow page."""
    wide, narrow = (base64.b64encode(draw(is_narrow)).decode() for is_narrow in (False, True))
    return (
        f'<picture><source media="(max-width: 600px)" srcset="data:image/png;base64,{narrow}">'
        f'<img alt="{escape(alt)}" src="data:image/png;base64,{wide}"></picture>'
    )
