"""Pictures of a comparison, in the style of :mod:`discovery.plots`, each for a wide and for a narrow page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from discovery.comparison.finals import BudgetFinals, Final, band
from discovery.comparison.report import Report
from discovery.comparison.scaling import Scaling
from discovery.plots import DOTS, INK, KNOWN, LINE, shortened
from discovery.records import Direction

_COLORS = (LINE, "#e67700", "#862e9c", "#2b8a3e", "#c92a2a")
_BASELINE = "#495057"
_DPI = 180
_WIDE, _NARROW = (8.6, 4.6), (4.4, 4.2)
_BANDS = 2
"""Bands of so many settings are drawn beside the baseline's: of more, none could be read."""
_WIDE_RANGE = 3.0
"""Distances from a best value that differ by more than this factor are drawn on a logarithmic axis."""
_DECADES = 50.0
"""Where scores, all above 0, differ by more than this factor, they are drawn on a logarithmic axis."""


def draw_curves(of: BudgetFinals, report: Report, *, narrow: bool) -> bytes:
    """Best score against evaluations: medians over seeds with their bands, the best settings and the baseline in
    colour.

    Args:
        of: The settings of one budget.
        report: What it is of.
        narrow: Whether for a narrow page.

    Returns:
        A PNG.
    """
    figure, axes = _figure(_NARROW if narrow else _WIDE)
    coloured = _coloured(of)
    bands = {final.name: band(final.curves) for final in of.finals}
    for final in of.finals:
        if final.name not in coloured:
            one = bands[final.name]
            axes.step(
                one.evaluations, one.median, where="post", color=DOTS, linewidth=0.8, alpha=0.7, zorder=1
            )
    for place, (name, color) in enumerate(coloured.items()):
        one, is_baseline = bands[name], name == of.baseline
        if place < _BANDS or is_baseline:
            axes.fill_between(
                one.evaluations, one.low, one.high, step="post", color=color, alpha=0.13, linewidth=0
            )
        axes.step(
            one.evaluations,
            one.median,
            where="post",
            color=color,
            linewidth=2.2 if place == 0 else 1.5,
            linestyle="--" if is_baseline else "-",
            zorder=6 - place,
            label=shortened(name, 34) + (" (baseline)" if is_baseline else ""),
        )
    if len(coloured) < len(of.finals):
        axes.plot([], [], color=DOTS, linewidth=0.8, label=f"{len(of.finals) - len(coloured)} others")
    _score_axis(axes, [value for one in bands.values() for value in (*one.low, *one.high)], report)
    axes.set_xlim(0, of.budget)
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("evaluations")
    _finish(figure, axes, legend=2 if narrow else 3)
    return _png(figure)


def draw_finals(of: BudgetFinals, report: Report, *, narrow: bool) -> bytes:
    """Final scores: a row for each setting with a dot for each seed, the median and the interval of the mean.

    Args:
        of: The settings of one budget.
        report: What it is of.
        narrow: Whether for a narrow page.

    Returns:
        A PNG.
    """
    width = (_NARROW if narrow else _WIDE)[0]
    figure, axes = _figure((width, 1.1 + 0.3 * len(of.finals)))
    coloured = _coloured(of)
    for row, final in enumerate(of.finals):
        color = coloured.get(final.name, _BASELINE)
        if final.mean.low is not None and final.mean.high is not None:
            axes.plot(
                [final.mean.low, final.mean.high], [row, row], color=color, linewidth=5, alpha=0.18, zorder=1
            )
        axes.plot(final.curves.finals, [row] * of.seeds, "o", color=color, markersize=4, alpha=0.55, zorder=2)
        axes.plot([final.median], [row], "|", color=color, markersize=15, markeredgewidth=2.4, zorder=3)
    axes.set_yticks(
        range(len(of.finals)), [shortened(_marked(f, of), 22 if narrow else 38) for f in of.finals]
    )
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(len(of.finals) - 0.4, -0.6)
    scores = [score for final in of.finals for score in final.curves.finals]
    if min(scores) > 0 and max(scores) > _DECADES * min(scores):
        axes.set_xscale("log")
    else:
        axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel(f"best score of a run ({_better(report)})")
    _finish(figure, axes, legend=0)
    return _png(figure)


def draw_budgets(report: Report, *, narrow: bool) -> bytes:
    """Median final scores against the budget, the best of each budget joined, with the law through them if there is
    one.

    Args:
        report: With several budgets.
        narrow: Whether for a narrow page.

    Returns:
        A PNG.
    """
    figure, axes = _figure(_NARROW if narrow else _WIDE)
    for of in report.budgets:
        axes.plot(
            [of.budget] * len(of.finals),
            [f.median for f in of.finals],
            "o",
            color=DOTS,
            markersize=5,
            zorder=1,
        )
    points = [of.budget for of in report.budgets]
    best = [of.leader.median for of in report.budgets]
    axes.plot(
        points,
        best,
        "o-",
        color=LINE,
        linewidth=2,
        markersize=6,
        zorder=3,
        label="best setting of each budget",
    )
    axes.plot([], [], "o", color=DOTS, markersize=5, label="the other settings")
    baseline = [(of.budget, f.median) for of in report.budgets for f in of.finals if f.name == of.baseline]
    if baseline:
        axes.plot(
            *zip(*baseline, strict=True), "s--", color=_BASELINE, markersize=4, label="baseline", zorder=2
        )
    if report.across is not None and report.across.is_supported:
        _law(axes, report.across, report, points[0], 2 * points[-1], KNOWN)
    _score_axis(axes, [f.median for of in report.budgets for f in of.finals], report)
    axes.set_xscale("log")
    axes.set_xticks(points, [f"{point:,}" for point in points])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("N, evaluations of a run")
    _finish(figure, axes, legend=2)
    return _png(figure)


def draw_scaling(finals: Sequence[Final], report: Report, *, narrow: bool) -> bytes:
    """Medians against the logarithm of the evaluations, with the fitted laws up to twice the budget.

    Args:
        finals: The settings to show: the best one, and the baseline if that is another.
        report: What they are of.
        narrow: Whether for a narrow page.

    Returns:
        A PNG.
    """
    figure, axes = _figure(_NARROW if narrow else _WIDE)
    known = all(report.scaling[final.name].known is not None for final in finals)
    drawn = []
    for final, color in zip(finals, (LINE, _BASELINE), strict=False):
        scaling, best = report.scaling[final.name], final.curves.best
        places = np.unique(np.geomspace(1, best.shape[1] - 1, 40).round().astype(np.int64))
        median = np.median(best[:, places], axis=0)
        shown = np.abs((report.about.known or 0.0) - median) if known else median
        drawn += list(shown)
        axes.plot(places, shown, "o", color=color, markersize=3, alpha=0.6)
        if scaling.law is not None:
            law = f"N^-{scaling.law.exponent:.2f}" + ("" if scaling.is_supported else ", not supported")
            label = f"{shortened(final.name, 26)}: {law}"
            first = final.curves.setting.config.search.chains * final.curves.setting.config.search.candidates
            _law(axes, scaling, report, first, 2 * (best.shape[1] - 1), color, label=label, missing=known)
        else:
            axes.plot([], [], color=color, label=f"{shortened(final.name, 26)}: no fit")
    axes.set_xscale("log")
    axes.set_xlabel("evaluations")
    if known:
        if max(drawn) > _WIDE_RANGE * min(drawn):
            axes.set_yscale("log")
        axes.set_ylabel(f"distance from {report.about.known:.6g}")
    else:
        _score_axis(axes, drawn, report)
    _finish(figure, axes, legend=1 if narrow else 2)
    return _png(figure)


def _law(
    axes: Any,
    scaling: Scaling,
    report: Report,
    first: float,
    last: float,
    color: str,
    *,
    label: str = "fitted law",
    missing: bool = False,
) -> None:
    assert scaling.law is not None
    points = np.geomspace(max(1.0, first), last, 80)
    values = scaling.law.at(points) if missing else scaling.score_at(points, report.about.direction)
    style = "-" if scaling.is_supported else ":"
    axes.plot(points, values, style, color=color, linewidth=1.4, label=label, zorder=2)


def _coloured(of: BudgetFinals) -> dict[str, str]:
    """The best settings and the baseline, by name, with the colour of each."""
    best = [final.name for final in of.finals if final.name != of.baseline][: len(_COLORS)]
    chosen = dict(zip(best, _COLORS, strict=False))
    if of.baseline is not None:
        chosen[of.baseline] = _BASELINE
    return chosen


def _marked(final: Final, of: BudgetFinals) -> str:
    return f"{final.name} (baseline)" if final.name == of.baseline else final.name


def _better(report: Report) -> str:
    return "higher is better" if report.about.direction is Direction.MAXIMIZE else "lower is better"


def _figure(size: tuple[float, float]) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _score_axis(axes: Any, scores: Sequence[float], report: Report) -> None:
    low, high = min(scores), max(scores)
    if low > 0 and high > _DECADES * low:
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(axis="y", useOffset=False)
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel(f"best score ({_better(report)})")


def _finish(figure: Any, axes: Any, *, legend: int) -> None:
    axes.grid(alpha=0.25)
    axes.tick_params(colors=INK, labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if legend:
        shown = figure.legend(loc="outside lower center", ncols=legend, frameon=False, fontsize=9)
        for text in shown.get_texts():
            text.set_parse_math(False)


def _png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
