"""PUCT against a naive reference of the same definition, and its promises one by one."""

import math
from collections import Counter

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from discovery.errors import ConfigError
from discovery.records import INITIAL, CandidateKey, Direction
from discovery.selection.puct import Puct
from discovery.selection.scale import LOW_QUANTILE
from discovery.testing.selector import committed_step, play

RNG = np.random.default_rng(0)


def reference(steps, direction, count, *, c, backup, gamma, horizon, pool):
    """Parents by the definition in the module's docstring, with full passes and no incremental state."""
    keys, quality, parents, told, visits = [], [], [], [], Counter()
    low = high = renew_at = None
    for step in steps:
        known = [keys.index(p) for p in dict.fromkeys(step.parents) if p in keys]
        visits.update(known)
        child = None
        if step.committed is not None:
            child = len(keys)
            keys.append(step.committed)
            quality.append(direction.key(step.outcome(step.committed).score))
            parents.append(known)
            n = len(keys)
            if renew_at is None or n >= renew_at or quality[-1] / 2 > high - low / 2:
                ascending = sorted(quality)
                low, high, renew_at = ascending[math.floor(LOW_QUANTILE * (n - 1))], ascending[-1], 2 * n
        told.append((known, child))

    def normalised(q):
        if high / 2 <= low / 2:
            return 1.0 if q >= high else 0.0
        return max(0.0, (q / 2 - low / 2) / (high / 2 - low / 2))

    n = len(keys)
    heard = [[] for _ in range(n)]
    for known, child in told:
        generations, line = dict.fromkeys(known, 1), known[:1]
        for generation in range(2, horizon + 1):
            line = parents[line[0]][:1] if line else []
            if line:
                generations.setdefault(line[0], generation)
        for ancestor, generation in generations.items():
            heard[ancestor].append((gamma**generation, 0.0 if child is None else normalised(quality[child])))
    values = []
    for i in range(n):
        own = normalised(quality[i])
        if backup == "max":
            values.append(max([own, *(weight * value for weight, value in heard[i])]))
        else:
            total, weights = own, 1.0
            for weight, value in heard[i]:
                total, weights = total + weight * value, weights + weight
            values.append(total / weights)
    competing = sorted(range(n), key=lambda i: (-values[i], -quality[i], i))[:pool]
    by_score = sorted(competing, key=lambda i: (-quality[i], i))
    m = len(competing)
    root = math.sqrt(1 + steps[-1].step)
    priority = {
        i: values[i] + c * ((m - rank) / (m * (m + 1) / 2)) * root / (1.0 + visits[i])
        for rank, i in enumerate(by_score)
    }
    picked = []
    for i in sorted(by_score, key=lambda i: -priority[i]):
        if len(picked) < count and not any(i in parents[j] or j in parents[i] for j in picked):
            picked.append(i)
    return tuple(keys[i] for i in picked)


scores = st.one_of(
    st.sampled_from([-10.0, -1.0, 0.0, 1.0, 2.0]),
    st.floats(-100, 100, allow_nan=False),
    st.floats(allow_nan=False, allow_infinity=False),
)
moves = st.lists(
    st.tuples(st.none() | scores, st.lists(st.integers(0, 60), min_size=1, max_size=4), st.booleans()),
    max_size=40,
)
parameters = st.fixed_dictionaries(
    {
        "c": st.sampled_from([0.0, 0.3, 1.0, 30.0]),
        "backup": st.sampled_from(["max", "mean"]),
        "gamma": st.sampled_from([0.0, 0.8, 0.99]),
        "horizon": st.sampled_from([1, 2, 8]),
        "pool": st.sampled_from([1, 4, 256]),
    }
)


@given(st.sampled_from(Direction), scores, moves, parameters, st.integers(1, 5))
@settings(max_examples=2 * settings.default.max_examples)
def test_choices_equal_the_naive_reference(direction, first, history, params, count):
    selector = Puct(direction, **params)
    steps = [committed_step(0, 0, (), [first], direction)]
    selector.observe(steps[0])
    held = [INITIAL]
    for number, (score, picks, follow) in enumerate(history, start=1):
        parents = (
            selector.choose(0, count, RNG).parents
            if follow
            else tuple(dict.fromkeys(held[pick % len(held)] for pick in picks))
        )
        step = committed_step(0, number, parents, [score], direction)
        steps.append(step)
        selector.observe(step)
        if step.committed:
            held.append(step.committed)
        assert selector.choose(0, count, RNG).parents == reference(steps, direction, count, **params)


@pytest.mark.parametrize("backup", ["max", "mean"])
@pytest.mark.parametrize("direction", Direction)
def test_a_good_child_lifts_its_ancestors_also_where_scores_are_negative(direction, backup):
    # Decaying raw scores would value the initial candidate at 0.64 x -10, above the best one's -10.
    rows = [(-20.0, ()), (-15.0, (0,)), (-14.0, (0,)), (-10.0, (1,))]
    selector, keys = Puct(direction, c=0.0, backup=backup), [INITIAL]
    for number, (quality, parents) in enumerate(rows):
        step = committed_step(0, number, [keys[p] for p in parents], [direction.key(quality)], direction)
        selector.observe(step)
        keys = [*keys, step.committed] if number else keys
    best, other, *more = selector.choose(0, 3, RNG).values["parents"]
    assert (best["score"], best["value"]) == (direction.key(-10.0), 1.0)
    if backup == "max":  # 0.8^2 x 1 of the grandchild, against 0.6 of its own for the third
        assert (other["score"], other["value"], other["visits"]) == (direction.key(-20.0), 0.64, 2)
    else:  # (0 + 0.8 x 0.5 + 0.8 x 0.6 + 0.64 x 1) / (1 + 0.8 + 0.8 + 0.64), which is less than 0.6
        assert other["score"] == direction.key(-14.0)
        assert more == []  # the initial candidate is its parent, the second one that of the best


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0]), st.sampled_from(["max", "mean"]))
@settings(max_examples=15, deadline=None)
def test_no_parent_is_a_neighbour_of_another(seed, c, backup):
    selector = Puct(Direction.MAXIMIZE, c=c, backup=backup)
    made_from = {}
    for selection, step in play(selector, lambda rng: float(rng.normal()), seed=seed, steps=80):
        for outcome in step.outcomes:
            made_from[outcome.key] = set(step.parents)
        if selection is not None:
            for a in selection.parents:
                assert not made_from[a] & set(selection.parents)


@pytest.mark.parametrize("backup", ["max", "mean"])
def test_every_candidate_of_the_pool_has_its_turn(backup):
    # Ten children of the initial candidate, then nothing ever scores again.
    selector = Puct(Direction.MAXIMIZE, c=5.0, backup=backup)
    selector.observe(committed_step(0, 0, (), [0.0]))
    for number in range(1, 11):
        selector.observe(committed_step(0, number, [INITIAL], [float(number % 5)]))
    waiting = {INITIAL, *(CandidateKey(0, number, 0) for number in range(1, 11))}
    for number in range(11, 1000):
        (parent,) = selector.choose(0, 1, RNG).parents
        waiting.discard(parent)
        selector.observe(committed_step(0, number, [parent], [None]))
        if not waiting:
            break
    assert not waiting


@pytest.mark.parametrize(
    "params",
    [
        {"c": -1.0},
        {"c": math.nan},
        {"gamma": 1.0},
        {"backup": "best"},
        {"horizon": 0},
        {"horizon": 65},
        {"pool": 0},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused_by_name(params):
    with pytest.raises(ConfigError, match=next(iter(params))):
        Puct(Direction.MAXIMIZE, **params)
