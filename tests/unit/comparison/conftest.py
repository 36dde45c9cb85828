"""Comparisons whose truth is known, without any run."""

import numpy as np
import pytest

from discovery.comparison.curves import RunCurve, SettingCurves
from discovery.comparison.plan import Asked, Axis, planned
from discovery.comparison.report import About, report_of
from discovery.config import RunConfig
from discovery.plugins import load_problem
from discovery.records import Direction

PROBLEM = load_problem("constants-10")


def _plan(names, *, budget=64, seeds=6, baseline=None, chains=1, candidates=1):
    base = RunConfig(problem="constants-10")
    named = {name: {"search": {"parents": n}} for n, name in enumerate(names, start=1)}
    axes = (
        Axis(path="search.chains", values=(chains,)),
        Axis(path="search.candidates", values=(candidates,)),
    )
    asked = Asked(base=base, axes=axes, named=named, budgets=(budget,), baseline=baseline)
    return planned(asked, PROBLEM, tuple(range(seeds)))


def _curves(setting, finals, *, initial=0.0):
    """Runs that rise to their final scores along the square root."""
    length = setting.budget
    rise = np.sqrt(np.arange(length + 1) / length)
    return SettingCurves(
        setting=setting,
        runs=tuple(
            RunCurve(
                run=f"run-{setting.name}-{seed}",
                seed=seed,
                best=initial + (final - initial) * rise,
                tokens=0,
                failed=0.0,
                wall_s=1.0,
            )
            for seed, final in enumerate(finals)
        ),
    )


def _report(scores, *, baseline=None, direction=Direction.MAXIMIZE, known=None, **options):
    """A report on settings with these final scores, by name."""
    seeds = len(next(iter(scores.values())))
    comparison = _plan(list(scores), seeds=seeds, baseline=baseline, **options)
    made = [_curves(setting, scores[setting.name]) for setting in comparison.settings]
    about = About(direction=direction, is_noisy=False, known=known)
    return report_of(comparison, made, about, finished=len(comparison.runs))


@pytest.fixture
def plan():
    """Makes a plan of settings with these names."""
    return _plan


@pytest.fixture
def curves():
    """Makes the runs of a setting from their final scores."""
    return _curves


@pytest.fixture
def report():
    """Makes a report on settings with these final scores, by name."""
    return _report
