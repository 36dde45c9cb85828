"""Pictures: best score against evaluations, series over time, and a problem's own view of a solution.

Matplotlib's home, with what is drawn for problems of geometry and for comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.declared import KnownBest
from discovery.errors import ProblemError, boundary
from discovery.problem import Problem
from discovery.records import Direction, Json

INK = "#1f2933"
LINE = "#0b7285"
DOTS = "#adb5bd"
KNOWN = "#c2255c"
_LONG_S = 120.0
"""From so much work on, time is shown in minutes."""
LINES = (LINE, "#e67700", "#862e9c")


def plot_progress(
    path: Path,
    scores: Sequence[float | None],
    *,
    title: str,
    direction: Direction,
    initial: float | None,
    known_best: Sequence[KnownBest] = (),
) -> None:
    """Save a plot of every score and the best so far against evaluations.

    Args:
        path: PNG file to write.
        scores: Finished evaluations in order, None for failures.
        title: Above the plot.
        direction: Which scores are better.
        initial: The initial candidate's score, drawn at 0.
        known_best: Values to compare with; the best of them is drawn.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    numbers = [n for n, score in enumerate(scores, start=1) if score is not None]
    values = [score for score in scores if score is not None]
    axes.plot(numbers, values, ".", color=DOTS, markersize=3, label="evaluations", zorder=1)
    xs, ys = _best_so_far(scores, direction, initial)
    axes.step(xs, ys, where="post", color=LINE, linewidth=2, label=_labelled("best so far", ys), zorder=3)
    best = best_known(known_best, direction)
    if best is not None:
        axes.axhline(
            best.value,
            color=KNOWN,
            linewidth=1,
            linestyle="--",
            label=f"best known {best.value:.10g}",
            zorder=2,
        )
    _focus(axes, ys, best)
    axes.set_xlim(0, 1.01 * max(len(scores), 1))
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("evaluations")
    axes.set_ylabel(f"score ({direction})")
    _name(axes, title, 95)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Some lines of a series that share a scale.

    Args:
        label: Of the vertical axis, with the unit.
        lines: Name to values, one for each point; None where it is not known. At most 3.
        is_share: Whether they go from 0 to 1, to be shown as per cent.
    """

    label: str
    lines: Mapping[str, Sequence[float | None]]
    is_share: bool = False


def plot_series(path: Path, seconds: Sequence[float], panels: Sequence[Panel], *, title: str) -> None:
    """Save a plot of a series, one panel below the other over one axis of time.

    Args:
        path: PNG file to write.
        seconds: How long each point's stretch of time is; they follow one another.
        panels: What to show; at least one.
        title: Above the plot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 1.8 * len(panels)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    unit, unit_s = ("minutes", 60) if sum(seconds) >= _LONG_S else ("seconds", 1)
    times = [0.0]
    for span in seconds:
        times.append(times[-1] + span / unit_s)
    for axes, panel in zip(all_axes, panels, strict=True):
        scale = 100 if panel.is_share else 1
        for (name, values), color in zip(panel.lines.items(), LINES, strict=False):
            known = [math.nan if value is None else scale * value for value in values]
            said = f"{name}, mean {_mean(known, seconds):,.0f}{' %' if panel.is_share else ''}"
            axes.step(times, [known[0], *known], where="pre", color=color, linewidth=1.3, label=said)
        if panel.is_share:
            axes.set_ylim(-3, 105)
        else:
            axes.set_ylim(bottom=0, top=None if any(axes.get_ylim()) else 1)
        axes.set_ylabel(panel.label)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.grid(alpha=0.25)
        place = {"loc": "lower left", "bbox_to_anchor": (-0.01, 0.97), "ncols": len(panel.lines)}
        axes.legend(**place, frameon=False, fontsize=9, borderpad=0.2)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.align_ylabels()
    all_axes[-1].set_xlim(0, max(times[-1], 1e-3))
    all_axes[-1].set_xlabel(f"{unit} of work")
    figure.suptitle(shortened(title, 95), x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    figure.savefig(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Estimates of one quantity, one after the other.

    Args:
        label: Above them.
        values: The estimates.
        ends: The interval of each; None where it is not known.
    """

    label: str
    values: Sequence[float]
    ends: Sequence[tuple[float, float] | None]


def plot_estimates(path: Path, panels: Sequence[Estimates], *, title: str, across: str = "revision") -> None:
    """Save a plot of estimates with their intervals, a panel each, numbered from 0.

    Args:
        path: PNG file to write.
        panels: What to show; at least one.
        title: Above the plot.
        across: What the numbers count.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(4, len(panels))
    height = -(-len(panels) // columns)
    figure = Figure(figsize=(1 + 2.4 * columns, 0.6 + 2.6 * height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(height, columns, squeeze=False).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        numbers = range(len(panel.values))
        for number, value, ends in zip(numbers, panel.values, panel.ends, strict=True):
            low, high = ends if ends is not None else (value, value)
            axes.plot(
                [number, number], [low, high], color=DOTS, linewidth=3, solid_capstyle="round", zorder=1
            )
        axes.plot(numbers, panel.values, "o-", color=LINE, linewidth=1.3, markersize=5, zorder=2)
        axes.set_title(shortened(panel.label, 32), loc="left", fontsize=10, color=INK, parse_math=False)
        axes.set_xticks(list(numbers))
        axes.set_xlim(-0.4, max(len(panel.values) - 0.6, 0.4))
        axes.set_xlabel(across)
        axes.grid(alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.suptitle(shortened(title, 95), x=0.01, ha="left", fontsize=11, color=INK, parse_math=False)
    figure.savefig(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What became of one quantity over evaluations, in several runs.

    Args:
        label: Whose it is.
        middle: Its median after each evaluation.
        low: Its lower quartile.
        high: Its upper quartile.
    """

    label: str
    middle: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


_MANY = (LINE, "#e67700", "#862e9c", "#c2255c", "#2b8a3e", "#1f2933", "#5c7cfa", "#a0522d", "#868e96")
_DASHES = ("-", "--", ":")
_WIDE = 100.0
"""From such a ratio of the largest to the smallest on, a logarithmic scale tells more."""


def plot_curves(path: Path, curves: Sequence[Curve], *, title: str, label: str) -> None:
    """Save a plot of curves with their quartiles against evaluations, the lowest end first in the legend.

    Args:
        path: PNG file to write.
        curves: What to show; at least one, of 1 evaluation or more. Values are 0 or more.
        title: Above the plot.
        label: Of the vertical axis. It is logarithmic where the medians say that it tells more.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    positive = [value for curve in curves for value in curve.middle if value > 0]
    if positive and max(positive) > _WIDE * min(positive):
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(min(positive) / 2, 2 * max(positive))
    for place, curve in enumerate(sorted(curves, key=lambda curve: curve.middle[-1])):
        color, dashes = _MANY[place % len(_MANY)], _DASHES[place // len(_MANY) % len(_DASHES)]
        xs = range(1, len(curve.middle) + 1)
        axes.fill_between(xs, curve.low, curve.high, color=color, alpha=0.12, linewidth=0, step="post")
        said = f"{shortened(curve.label, 40)}  {curve.middle[-1]:.4g}"
        axes.step(xs, curve.middle, where="post", color=color, linewidth=1.6, linestyle=dashes, label=said)
    axes.set_xlim(0, 1.01 * max(len(curve.middle) for curve in curves))
    axes.locator_params(axis="x", integer=True)
    axes.set_xlabel("evaluations")
    axes.set_ylabel(label)
    _name(axes, title, 95)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """The mean of those that are known."""
    known = [(v, w) for v, w in zip(values, weights, strict=True) if not math.isnan(v)]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total else 0.0


def plot_solution(path: Path, problem: Problem, artifact: Json, title: str) -> bool:
    """Save the problem's own picture of a solution.

    Args:
        path: PNG file to write.
        problem: The problem; its ``picture`` function draws.
        artifact: The solution as scored.
        title: Above the picture, where the problem gives it none.

    Returns:
        Whether there is a picture: the problem may draw none.

    Raises:
        ProblemError: The problem's picture function raised.
    """
    draw = problem.settings.picture
    if draw is None or artifact is None:
        return False
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6.3), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    with boundary(f"the picture function of problem {problem.name!r}", ProblemError):
        draw(artifact, axes)
        if not any(axes.get_title(loc=place) for place in ("left", "center", "right")):
            _name(axes, title, 65)
        figure.canvas.draw()  # here already: some faults of what was drawn show only now
    figure.savefig(path)
    return True


def _best_so_far(
    scores: Sequence[float | None], direction: Direction, initial: float | None
) -> tuple[list[float], list[float]]:
    xs: list[float] = [] if initial is None else [0]
    ys: list[float] = [] if initial is None else [initial]
    best = initial
    for number, score in enumerate(scores, start=1):
        if score is not None and direction.better(score, best):
            best = score
            xs.append(number)
            ys.append(score)
    if best is not None:
        xs.append(len(scores))
        ys.append(best)
    return xs, ys


def best_known(known: Sequence[KnownBest], direction: Direction) -> KnownBest | None:
    """The best of the values that a problem knows, or None when it knows none."""
    return max(known, key=lambda best: direction.key(best.value), default=None)


def _labelled(label: str, values: list[float]) -> str:
    return f"{label} {values[-1]:.10g}" if values else label


def _name(axes: Any, title: str, width: int) -> None:
    axes.set_title(shortened(title, width), loc="left", fontsize=11, color=INK, parse_math=False)


def shortened(text: str, width: int) -> str:
    """The beginning of a text that is longer than that many characters."""
    return text if len(text) <= width else text[: width - 3] + "..."


def _focus(axes: Any, ys: list[float], best: KnownBest | None) -> None:
    """Show the range from the initial to the best known; scores far outside would squash it."""
    values = ys + ([best.value] if best is not None else [])
    if len(set(values)) > 1:
        low, high = min(values), max(values)
        margin = 0.08 * (high - low)
        axes.set_ylim(low - margin, high + margin)
