"""What a comparison came to, put together from storage: the same for the terminal, the page and other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from discovery.comparison.curves import SettingCurves, read_curves
from discovery.comparison.finals import BudgetFinals, Contrast, Final, compared
from discovery.comparison.plan import Comparison
from discovery.comparison.running import standing
from discovery.comparison.scaling import Scaling, fitted, fitted_at
from discovery.comparison.verdict import against_baseline, recommendation, scaling_said, too_few
from discovery.intervals import Interval
from discovery.records import Direction
from discovery.storage.base import Storage

_FEWEST_BUDGETS = 4
"""Budgets from which on a law is fitted through the best of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is known of the problem of a comparison.

    Args:
        direction: Which scores are better.
        is_noisy: Whether two scorings of a candidate may differ.
        known: The best value known, if one is.
    """

    direction: Direction
    is_noisy: bool
    known: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a comparison came to.

    Args:
        comparison: The plan.
        about: Its problem.
        initial: The initial candidate's score.
        finished: Runs that have finished.
        seeds: Seeds of which all runs have: those that count.
        budgets: What the settings of each budget came to, the smallest budget first.
        scaling: How each setting scales, by name.
        across: How the best of each budget scales from one to the next; None with fewer than 4 budgets.
    """

    comparison: Comparison
    about: About
    initial: float
    finished: int
    seeds: tuple[int, ...]
    budgets: tuple[BudgetFinals, ...]
    scaling: Mapping[str, Scaling]
    across: Scaling | None

    @property
    def contested(self) -> tuple[BudgetFinals, ...]:
        """The budgets at which there is something to compare, the smallest first."""
        return tuple(of for of in self.budgets if len(of.finals) > 1)

    @property
    def evaluations(self) -> int:
        """Evaluations of all runs that count."""
        return sum(of.budget * len(of.finals) * of.seeds for of in self.budgets)

    def verdict(self) -> list[str]:
        """What it says, in sentences: the largest budget first."""
        said = []
        for of in reversed(self.contested):
            said += [recommendation(of), *against_baseline(of)]
        fewest = max(self.contested, key=lambda of: of.smallest_p, default=None)
        few = too_few(fewest) if fewest is not None else None
        return [*said, *([few] if few else [])]

    def scaling_said(self) -> list[str]:
        """What is known of how the best settings scale, in sentences."""
        said = [
            scaling_said(of.leader.name, self.scaling[of.leader.name], of.budget)
            for of in self.contested[-1:]
        ]
        if self.across is not None:
            said.append(scaling_said("The best of each budget", self.across, self.budgets[-1].budget))
        return said


def make_report(comparison: Comparison, storage: Storage, about: About) -> Report:
    """Put the report together.

    Args:
        comparison: The plan.
        storage: Where its runs live.
        about: Its problem.

    Raises:
        UsageError: There is no seed of which all runs have finished.
    """
    state = standing(comparison, storage)
    curves = read_curves(comparison, state, storage, about.direction, is_noisy=about.is_noisy)
    return report_of(comparison, curves, about, finished=len(state.finished))


def report_of(
    comparison: Comparison, curves: Sequence[SettingCurves], about: About, *, finished: int
) -> Report:
    """The report on curves that were read; arguments as for :class:`Report`."""
    by_name = {one.setting.name: one for one in curves}
    budgets = tuple(
        compared([by_name[setting.name] for setting in settings], about.direction)
        for settings in comparison.budgets.values()
    )
    return Report(
        comparison=comparison,
        about=about,
        initial=float(curves[0].runs[0].best[0]),
        finished=finished,
        seeds=tuple(run.seed for run in curves[0].runs),
        budgets=budgets,
        scaling={
            name: fitted(
                one.best,
                about.direction,
                first=one.setting.config.search.chains * one.setting.config.search.candidates,
                known=about.known,
            )
            for name, one in by_name.items()
        },
        across=_across(budgets, about),
    )


def _across(budgets: Sequence[BudgetFinals], about: About) -> Scaling | None:
    if len(budgets) < _FEWEST_BUDGETS:
        return None
    points = np.array([of.budget for of in budgets], dtype=np.float64)
    best = np.array([of.leader.curves.finals for of in budgets]).T
    return fitted_at(points, best, about.direction, known=about.known)


def as_dict(report: Report) -> dict[str, Any]:
    """The report as plain JSON data."""
    plan = report.comparison
    return {
        "comparison": plan.id,
        "problem": plan.problem_name,
        "problem_version": plan.version,
        "direction": str(report.about.direction),
        "initial_score": report.initial,
        "known_best": report.about.known,
        "runs": {"planned": len(plan.runs), "finished": report.finished},
        "seeds": list(report.seeds),
        "evaluations": report.evaluations,
        "verdict": report.verdict(),
        "scaling": report.scaling_said(),
        "budgets": [_budget(report, of) for of in report.budgets],
        "across_budgets": _scaling(report.across) if report.across is not None else None,
    }


def _budget(report: Report, of: BudgetFinals) -> dict[str, Any]:
    return {
        "evaluations": of.budget,
        "recommended": of.leader.name,
        "best_median_share": of.leader.best_share,
        "not_distinguishable": [final.name for final in of.rivals],
        "baseline": of.baseline,
        "smallest_possible_p": of.smallest_p,
        "seeds_needed": of.seeds_needed,
        "settings": [_setting(report, final) for final in of.finals],
    }


def _setting(report: Report, final: Final) -> dict[str, Any]:
    search = final.curves.setting.config.search
    return {
        "name": final.name,
        "chains": search.chains,
        "steps": search.steps,
        "candidates": search.candidates,
        "selector": search.selector,
        "generator": final.curves.setting.config.generator.kind,
        "runs": [run.run for run in final.curves.runs],
        "finals": final.curves.finals,
        "median": final.median,
        "mean": _interval(final.mean),
        "best_median_share": final.best_share,
        "tokens": sum(run.tokens for run in final.curves.runs),
        "failed_share": float(np.mean([run.failed for run in final.curves.runs])),
        "wall_s": round(sum(run.wall_s for run in final.curves.runs), 3),
        "against_baseline": _contrast(final.against_baseline),
        "against_best": _contrast(final.against_leader),
        "scaling": _scaling(report.scaling[final.name]),
    }


def _contrast(contrast: Contrast | None) -> dict[str, Any] | None:
    if contrast is None:
        return None
    return {
        "other": contrast.other,
        "gain": _interval(contrast.gain),
        "wins": contrast.wins,
        "ties": contrast.ties,
        "superiority": contrast.superiority,
        "p": contrast.p,
        "p_corrected": contrast.corrected,
    }


def _interval(interval: Interval | None) -> dict[str, float | None] | None:
    if interval is None:
        return None
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _scaling(scaling: Scaling) -> dict[str, Any]:
    law = scaling.law
    return {
        "floor": law.floor if law else None,
        "scale": law.scale if law else None,
        "exponent": _interval(scaling.exponent),
        "score_at_twice_the_budget": _interval(scaling.doubled),
        "known_best": scaling.known,
        "supported": scaling.is_supported,
        "why_not": scaling.why_not,
    }


def curves_csv(report: Report) -> str:
    """All curves as CSV: a line for each evaluation that improved on the best so far, the first and the last."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["setting", "budget", "run", "seed", "evaluations", "best"])
    for of in report.budgets:
        for final in of.finals:
            for run in final.curves.runs:
                last = len(run.best) - 1
                changed = {0, last, *(int(n) for n in np.flatnonzero(np.diff(run.best)) + 1)}
                for n in sorted(changed):
                    lines.writerow([final.name, of.budget, run.run, run.seed, n, repr(float(run.best[n]))])
    return text.getvalue()
