"""The selector contract on every bundled selector, with defaults and at the edges of its parameters."""

from functools import partial

import numpy as np
import pytest

from discovery.declared import Feature, Objective
from discovery.records import Direction
from discovery.selection import make_selector, selector_names
from discovery.testing.selector import SelectorContract, committed_step

FEATURES = [Feature("size", -2, 2, bins=4), Feature("depth", 0, 1)]
OBJECTIVES = [Objective("size", "minimize"), Objective("depth")]
CASES = [
    ("best-of-n", {}),
    ("balance", {}),
    ("balance", {"exploitation": 1, "elite": 0, "exploration": 0}),
    ("balance", {"exploitation": 0, "elite": 0, "exploration": 1}),
    ("balance", {"exploitation": 0, "elite": 1, "exploration": 0, "elites": 2}),
    ("greedy", {}),
    ("islands", {}),
    ("islands", {"islands": 1, "exploitation": 1, "population": 1}),
    ("islands", {"islands": 3, "exploitation": 0, "migration": 5, "features": True}),
    ("pareto", {}),
    ("pareto", {"draw": "uniform", "exploitation": 0, "size": 3}),
    ("puct", {}),
    ("puct", {"backup": "mean", "horizon": 1, "pool": 3}),
    ("puct", {"c": 30, "gamma": 0.99, "horizon": 64}),
    ("rpucg", {}),
    ("rpucg", {"c": 0, "restart": 0}),
    ("rpucg", {"c": 100.0, "gamma": 0.99, "restart": 3, "pool": 5}),
    ("rpucg", {"gamma": 0, "pool": 1}),
]


@pytest.fixture(params=CASES, ids=str)
def selector_factory(request):
    name, params = request.param
    params = dict(params)
    features = FEATURES if params.pop("features", False) else ()
    return partial(make_selector, name, params=params, features=features, objectives=OBJECTIVES)


class TestBundledSelectors(SelectorContract):
    pass


def test_no_bundled_selector_is_left_out():
    asking = {"llm-elite", "llm-rerank"}  # tests/unit/selection/test_advised.py
    assert {name for name, _ in CASES} | asking == set(selector_names())


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(("scale", "shift"), [(4.0, 0.0), (1.0, -1000.0), (0.5, 3.0)])
def test_only_the_order_and_ratios_of_differences_of_scores_count(selector_factory, direction, scale, shift):
    """Choices stay when all scores are shifted or stretched: what decays is never a raw score, negative or not."""

    def chosen(scale, shift):
        selector, rng = selector_factory(direction), np.random.default_rng(3)
        parents = []
        for number in range(50):
            rows = [scale * float(score) + shift for score in rng.integers(0, 64, 2)]
            metrics = [{"size": float(size), "depth": 0.5} for size in rng.normal(size=2)]
            shown = selector.choose(0, 3, np.random.default_rng(number)).parents if number else ()
            selector.observe(committed_step(0, number, shown, rows[: 2 if number else 1], direction, metrics))
            parents.append(shown)
        return parents

    assert chosen(scale, shift) == chosen(1.0, 0.0)
