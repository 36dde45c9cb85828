import random

import numpy as np
import pytest

from discovery.generation.surrogate import identifiable, way

OPTIMUM = np.array([0.3, -0.2, 0.5, 0.1])


def asked(score, points=16, seed=0, spread=1.0):
    """The step from the best of some random points, and where it leads."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0.0, spread, (points, len(OPTIMUM)))
    scores = np.array([score(row) for row in rows])
    best = int(np.argmax(scores))
    others = np.arange(points) != best
    step = way(rows[others] - rows[best], scores[others] - scores[best], random.Random(seed))
    return rows[best], None if step is None else rows[best] + step


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e9])
def test_finds_the_bottom_of_a_round_bowl_whatever_the_score_counts(factor):
    for seed in range(10):
        _, reached = asked(lambda x: -factor * float(np.sum((x - OPTIMUM) ** 2)), seed=seed)
        assert reached is not None
        assert np.linalg.norm(reached - OPTIMUM) < 1e-2


def test_gets_closer_where_the_score_is_no_quadratic():
    closer = []
    for seed in range(20):
        start, reached = asked(
            lambda x: 1.0 / (1.0 + float(np.sum((x - OPTIMUM) ** 2))), seed=seed, spread=0.2
        )
        if reached is not None:
            closer.append(np.linalg.norm(reached - OPTIMUM) < np.linalg.norm(start - OPTIMUM))
    assert len(closer) > 10
    assert np.mean(closer) > 0.8


def test_makes_mostly_no_step_where_scores_are_noise():
    noise = np.random.default_rng(1)
    steps = [asked(lambda x: float(noise.normal()), seed=seed)[1] for seed in range(100)]
    assert sum(step is not None for step in steps) < 30


@pytest.mark.parametrize("differences", [[0.0] * 8, [float("inf")] * 8])
def test_scores_that_say_nothing(differences):
    offsets = np.random.default_rng(0).normal(size=(8, 2))
    assert way(offsets, np.array(differences), random.Random(0)) is None


def test_equal_points_say_nothing():
    assert way(np.zeros((8, 2)), np.arange(8.0), random.Random(0)) is None


def test_needs_more_points_than_dimensions():
    assert identifiable(16, 10)
    assert not identifiable(16, 14)
    assert not identifiable(2, 2)
