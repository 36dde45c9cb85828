"""Pareto: the front is what nothing dominates, bounded, and never without the best by score."""

import math
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from discovery.declared import Objective
from discovery.errors import ConfigError
from discovery.records import INITIAL, CandidateKey, Direction
from discovery.selection.pareto import Pareto, crowding
from discovery.testing.selector import committed_step, play

OBJECTIVES = [Objective("cost", "minimize"), Objective("speed")]


def made(direction=Direction.MAXIMIZE, **params):
    return Pareto(direction, **{"objectives": OBJECTIVES, **params})


def members(selector):
    return set(selector.choose(0, 10_000, np.random.default_rng(0)).parents)


def vector(outcome, direction, objectives):
    """Qualities that grow with what is better, worst where unknown."""
    found = [direction.key(outcome.score)]
    for objective in objectives:
        value = outcome.metrics.get(objective.metric)
        found.append(-math.inf if value is None else Direction(objective.direction).key(value))
    return found


def dominates(a, b):
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b


@given(
    seed=st.integers(0, 10_000),
    direction=st.sampled_from(Direction),
    objectives=st.sampled_from([OBJECTIVES, OBJECTIVES[:1]]),
    levels=st.sampled_from([3, 1000]),
)
@settings(max_examples=12, deadline=None)
def test_the_front_is_what_no_candidate_dominates(seed, direction, objectives, levels):
    selector = made(direction, objectives=objectives, size=1000)
    found = {}
    for _, step in play(
        selector, lambda rng: float(rng.integers(levels)), seed=seed, steps=40, direction=direction
    ):
        for outcome in step.outcomes:
            if outcome.score is not None:
                found[outcome.key] = vector(outcome, direction, objectives)
        firsts = {}
        for key, qualities in found.items():
            firsts.setdefault(tuple(qualities), key)
        front = {
            key
            for qualities, key in firsts.items()
            if not any(dominates(other, qualities) for other in firsts)
        }
        assert members(selector) == front


@given(seed=st.integers(0, 10_000), size=st.integers(2, 6), direction=st.sampled_from(Direction))
@settings(max_examples=10, deadline=None)
def test_a_bounded_front_keeps_the_best_by_score_and_nothing_dominated(seed, size, direction):
    selector = made(direction, size=size, exploitation=1.0)
    found, best = {}, None
    for _, step in play(selector, lambda rng: float(rng.normal()), seed=seed, steps=80, direction=direction):
        for outcome in step.outcomes:
            if outcome.score is not None:
                found[outcome.key] = vector(outcome, direction, OBJECTIVES)
                best = outcome if best is None or direction.better(outcome.score, best.score) else best
        held = members(selector)
        assert 1 <= len(held) <= size
        assert not any(dominates(found[a], found[b]) for a in held for b in held)
        assert selector.choose(0, 1, np.random.default_rng(0)).parents == (best.key,)


def test_the_densest_place_is_thinned_first():
    selector = made(objectives=OBJECTIVES[:1], size=4)
    rows = [(0.0, 0.0), (10.0, 10.0), (4.0, 4.0), (5.0, 5.0), (8.0, 8.0)]
    for number, (value, cost) in enumerate(rows):
        parents = [INITIAL] if number else []
        selector.observe(committed_step(0, number, parents, [value], metrics=[{"cost": cost}]))
    # Neighbours of 4 are 0 and 5, of 5 they are 4 and 8, of 8 they are 5 and 10.
    assert members(selector) == {INITIAL, *(CandidateKey(0, number, 0) for number in (1, 2, 4))}


def test_crowding_distances_are_those_of_nsga_ii():
    assert crowding(np.array([[0.0, 4.0], [1.0, 3.0], [3.0, 2.0], [4.0, 0.0]])).tolist() == [
        math.inf,
        3 / 4 + 2 / 4,
        3 / 4 + 3 / 4,
        math.inf,
    ]
    assert crowding(np.array([[1.0, 1.0], [1.0, 1.0]])).tolist() == [0.0, 0.0]
    wide = crowding(np.array([[-1e308, -np.inf], [0.0, 1.0], [1e308, -np.inf], [5.0, -1e308]]))
    assert not np.isnan(wide).any()
    assert wide[0] == wide[2] == math.inf


@pytest.mark.parametrize("draw", ["crowding", "uniform"])
def test_every_member_of_the_front_may_be_drawn_and_the_best_by_score_most(draw):
    selector = made(objectives=OBJECTIVES[:1], draw=draw, exploitation=0.25)
    for number in range(10):
        step = committed_step(0, number, [INITIAL], [float(number)], metrics=[{"cost": float(number)}])
        selector.observe(step)
    rng = np.random.default_rng(0)
    drawn = Counter(selector.choose(0, 1, rng).parents[0] for _ in range(3000))
    assert len(drawn) == 10
    assert drawn.most_common(1)[0][0] == CandidateKey(0, 9, 0)
    assert min(drawn.values()) >= (10 if draw == "crowding" else 150)
    assert len(set(selector.choose(0, 10, rng).parents)) == 10


def test_it_needs_objectives():
    with pytest.raises(ConfigError, match=r"declares no objectives .* choose another selector"):
        Pareto(Direction.MAXIMIZE)


@pytest.mark.parametrize(
    "params", [{"exploitation": -0.1}, {"exploitation": math.nan}, {"draw": "best"}, {"size": 1}], ids=str
)
def test_parameters_out_of_range_are_refused_by_name(params):
    with pytest.raises(ConfigError, match=next(iter(params))):
        made(**params)
