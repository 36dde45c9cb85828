"""Fits of laws that are known, and what is not claimed of curves that follow none."""

import numpy as np
import pytest

from discovery.comparison.scaling import fitted, fitted_at
from discovery.comparison.verdict import scaling_said
from discovery.records import Direction

N = np.arange(1, 401)


def rows(missing, best=3.0, seeds=5, direction=Direction.MAXIMIZE, rng=None):
    """Curves that miss so much of the best after 1, 2, ... evaluations, by a factor of its own for each seed."""
    rng = rng or np.random.default_rng(0)
    lacks = [missing * np.exp(rng.normal(0, 0.05)) for _ in range(seeds)]
    keys = np.array([np.concatenate([[best - lack[0] - 1], best - lack]) for lack in lacks])
    return keys if direction is Direction.MAXIMIZE else -keys


@pytest.mark.parametrize("exponent", [0.3, 0.7, 1.5])
@pytest.mark.parametrize("direction", list(Direction))
def test_a_known_law_is_found_from_scores_alone(exponent, direction):
    one = fitted(rows(0.2 + 2 * N**-exponent, direction=direction), direction)
    assert one.is_supported
    assert one.law.exponent == pytest.approx(exponent, rel=0.02)
    truth = 3 - 0.2 - 2 * 800**-exponent
    assert one.doubled.estimate == pytest.approx(
        truth if direction is Direction.MAXIMIZE else -truth, abs=0.05
    )
    assert one.doubled.low <= one.doubled.estimate <= one.doubled.high
    assert one.score_at(np.array([400.0]), direction)[0] == pytest.approx(
        np.median(rows(0.2 + 2 * N**-exponent, direction=direction)[:, -1]), abs=1e-3
    )


def test_where_a_best_is_known_distances_over_decades_count_alike():
    one = fitted(rows(5 * N**-2.0), Direction.MAXIMIZE, known=3.0)
    assert one.known == 3.0
    assert one.law.exponent == pytest.approx(2, rel=0.02)
    assert one.law.floor == pytest.approx(0, abs=1e-6)


def test_a_best_that_is_reached_is_left_aside():
    assert fitted(rows(0.2 + 2 * N**-0.5), Direction.MAXIMIZE, known=1.0).known is None


def test_the_interval_of_the_exponent_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(25):
        draws = np.minimum.accumulate(rng.uniform(size=(5, 400)) ** 0.5, axis=1)
        best = np.concatenate([np.full((5, 1), -2.0), -draws - 0.1], axis=1)
        exponent = fitted(best, Direction.MAXIMIZE, known=0.0).exponent
        held += exponent is not None and exponent.low <= 0.5 <= exponent.high
    assert held >= 20


@pytest.mark.parametrize(
    ("best", "says"),
    [
        (np.zeros((5, 401)), "does not improve"),
        (rows(2 * N**-0.5, seeds=2), "2 seeds tell nothing"),
        (rows(2 * N[:6] ** -0.5), "6 evaluations are too short a curve; run 8 or more"),
        (rows(5 - 0.3 * np.log(N)), "logarithm of N"),
        (rows(np.where(N < 10, 2.0, np.where(N < 100, 1.0, 0.6))), "of how the median curve varies"),
    ],
)
def test_no_law_is_claimed_of_what_follows_none(best, says):
    one = fitted(best, Direction.MAXIMIZE)
    assert not one.is_supported
    assert says in one.why_not
    assert says in scaling_said("this", one, 400)


def test_a_law_through_several_budgets():
    budgets = np.array([50.0, 100, 200, 400, 800])
    best = rows(0.5 + 3 * budgets**-0.8)[:, 1:]
    one = fitted_at(budgets, best, Direction.MAXIMIZE)
    assert one.law.exponent == pytest.approx(0.8, rel=0.02)
    assert "falls like N^-0.8" in scaling_said("The best of each budget", one, 800)
