"""RPUCG against a naive reference of the same definition, and its promises one by one."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from discovery.errors import ConfigError
from discovery.records import INITIAL, CandidateKey, Direction
from discovery.selection.rpucg import NEGLIGIBLE, Rpucg
from discovery.selection.scale import LOW_QUANTILE
from discovery.testing.selector import committed_step, play

RNG = np.random.default_rng(0)


def reference(steps, direction, count, *, c, gamma, restart, pool):
    """Parents by the definition in the module's docstring, with full passes and no incremental state."""
    keys, quality, parents, visits = [], [], [], []
    low = high = renew_at = None
    for step in steps:
        known = [keys.index(p) for p in dict.fromkeys(step.parents) if p in keys]
        for p in known:
            visits[p] += 1
        if step.committed is None:
            continue
        keys.append(step.committed)
        quality.append(direction.key(step.outcome(step.committed).score))
        parents.append(known)
        visits.append(0)
        n = len(keys)
        if renew_at is None or n >= renew_at or quality[-1] / 2 > high - low / 2:
            ascending = sorted(quality)
            low, high, renew_at = ascending[math.floor(LOW_QUANTILE * (n - 1))], ascending[-1], 2 * n

    def normalised(q):
        if high / 2 <= low / 2:
            return 1.0 if q >= high else 0.0
        return max(0.0, (q / 2 - low / 2) / (high / 2 - low / 2))

    n = len(keys)
    values = [normalised(q) for q in quality]
    for _ in range(n):  # to the fixed point, in no clever order
        before = list(values)
        for child in range(n):
            if gamma * values[child] >= NEGLIGIBLE:
                for p in parents[child]:
                    values[p] = max(values[p], gamma * values[child])
        if values == before:
            break
    expansions = steps[-1].step
    priority = {}
    for i in sorted(range(n), key=lambda i: (-values[i], -quality[i], i))[:pool]:
        value_rank = 1.0 - sum(v > values[i] for v in values) / max(1, n - 1)
        score_rank = 1.0 - sum(q > quality[i] for q in quality) / max(1, n - 1)
        priority[i] = value_rank + c * score_rank * math.sqrt(1 + expansions) / (1.0 + visits[i])
    order = sorted(priority, key=lambda i: (-priority[i], i))
    if restart and expansions and expansions % restart == 0:
        best = min(range(n), key=lambda i: (-quality[i], i))
        order = [best, *(i for i in order if i != best)]
    picked = []
    for i in order:
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
    max_size=45,
)
parameters = st.fixed_dictionaries(
    {
        "c": st.sampled_from([0.0, 0.1, 1.0, 30.0]),
        "gamma": st.sampled_from([0.0, 0.5, 0.8, 0.99]),
        "restart": st.sampled_from([0, 1, 3, 50]),
        "pool": st.sampled_from([1, 4, 256]),
    }
)


@given(st.sampled_from(Direction), scores, moves, parameters, st.integers(1, 5))
@settings(max_examples=3 * settings.default.max_examples)
def test_choices_equal_the_naive_reference(direction, first, history, params, count):
    selector = Rpucg(direction, **params)
    steps = [committed_step(0, 0, (), [first], direction)]
    selector.observe(steps[0])
    held = [INITIAL]
    for number, (score, picks, follow) in enumerate(history, start=1):
        # Parents of any kind of graph, and the selector's own.
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
        expected = reference(steps, direction, count, **params)
        assert selector.choose(0, count, RNG).parents == expected


@pytest.mark.parametrize("params", [{}, {"c": 0.0}, {"pool": 20, "restart": 7}], ids=str)
def test_a_long_chain_equals_the_naive_reference(params):
    full = {"c": 1.0, "gamma": 0.8, "restart": 50, "pool": 256} | params
    selector = Rpucg(Direction.MAXIMIZE, **params)
    steps = []
    for _, step in play(selector, lambda rng: float(rng.normal()), seed=11, steps=400):
        steps.append(step)
        if step.step % 57 == 0 or step.step == 400:
            expected = reference(steps, Direction.MAXIMIZE, 4, **full)
            assert selector.choose(0, 4, RNG).parents == expected


def observed(direction, rows, **params):
    """A selector after ``rows`` of (score, parents by row); row 0 is the initial candidate."""
    selector = Rpucg(direction, **params)
    keys = [INITIAL]
    for number, (score, parents) in enumerate(rows):
        selector.observe(committed_step(0, number, [keys[p] for p in parents], [score], direction))
        if number:
            keys.append(CandidateKey(0, number, 0))
    return selector, keys


@pytest.mark.parametrize("direction", Direction)
def test_a_good_child_lifts_its_parents_also_where_scores_are_negative(direction):
    # Decaying raw scores would value the initial candidate at 0.64 x -10, above the best one's -10.
    quality = [-20.0, -15.0, -14.0, -10.0]
    rows = [(direction.key(q), parents) for q, parents in zip(quality, [(), (0,), (0,), (1,)], strict=True)]
    selector, keys = observed(direction, rows, c=0.0, restart=0)
    assert selector.choose(0, 1, RNG).parents == (keys[3],)
    selection = selector.choose(0, 4, RNG)
    # Normalised: the best 1, its parent 0.8 (a neighbour), the initial one 0.64, row 2 only its own 0.6.
    assert selection.parents == (keys[3], INITIAL)
    best, initial = selection.values["parents"]
    assert (best["value_rank"], best["score"]) == (1.0, direction.key(-10.0))
    assert (initial["value"], initial["value_rank"]) == (0.64, pytest.approx(1 / 3, abs=1e-6))


@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0]))
@settings(max_examples=20, deadline=None)
def test_no_parent_is_a_neighbour_of_another(seed, c):
    selector = Rpucg(Direction.MAXIMIZE, c=c, restart=5)
    made_from = {}
    for selection, step in play(selector, lambda rng: float(rng.normal()), seed=seed, steps=80):
        for outcome in step.outcomes:
            made_from[outcome.key] = set(step.parents)
        if selection is not None:
            for a in selection.parents:
                assert not made_from[a] & set(selection.parents)


def test_a_restart_returns_to_the_best_and_forgets_nothing():
    selector = Rpucg(Direction.MAXIMIZE, c=100.0, restart=10)
    best = None
    restarts = 0
    for selection, step in play(selector, lambda rng: float(rng.normal()), seed=3, steps=200):
        if selection is not None and (step.step - 1) % 10 == 0 and step.step > 1:
            restarts += 1
            assert selection.parents[0] == best[1]
            assert selection.values["restart"] is True
        elif selection is not None:
            assert selection.values["restart"] is False
        if step.committed:
            score = step.outcome(step.committed).score
            if best is None or score > best[0]:
                best = (score, step.committed)
    assert restarts == 19


def test_a_step_without_a_valid_candidate_counts_as_a_visit():
    selector, keys = observed(Direction.MAXIMIZE, [(0.0, ()), (1.0, (0,))], c=1.0, restart=0)
    selector.observe(committed_step(0, 2, [keys[1]], [None, None]))
    explained = selector.choose(0, 1, RNG).values
    assert explained["expansions"] == 2
    # Both were a parent once; the better one is still first.
    assert explained["parents"][0]["visits"] == 1
    assert explained["parents"][0]["score"] == 1.0


def test_a_twin_of_a_known_source_is_not_shown_beside_it():
    selector = Rpucg(Direction.MAXIMIZE)
    first = committed_step(0, 0, (), [0.0])
    selector.observe(first)
    twin = committed_step(0, 1, [INITIAL], [0.0])
    outcome = twin.outcomes[0]
    same = type(outcome)(key=outcome.key, program_hash=first.outcomes[0].program_hash, score=0.0)
    selector.observe(type(twin)(chain=0, step=1, parents=(INITIAL,), outcomes=(same,), committed=same.key))
    assert selector.choose(0, 4, RNG).parents == (INITIAL,)


def test_steps_out_of_order_are_refused():
    selector = Rpucg(Direction.MAXIMIZE)
    with pytest.raises(ValueError, match="observe step 0 first"):
        selector.observe(committed_step(0, 1, (), [0.0]))
    selector = Rpucg(Direction.MAXIMIZE)
    selector.observe(committed_step(0, 0, (), [0.0]))
    selector.observe(committed_step(0, 1, [INITIAL], [0.0]))
    with pytest.raises(ValueError, match="once, in order"):
        selector.observe(committed_step(0, 1, [INITIAL], [0.0]))


@pytest.mark.parametrize(
    "params",
    [
        {"c": -1.0},
        {"c": math.inf},
        {"c": math.nan},
        {"gamma": 1.0},
        {"gamma": -0.1},
        {"restart": -1},
        {"pool": 0},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused_by_name(params):
    with pytest.raises(ConfigError, match=next(iter(params))):
        Rpucg(Direction.MAXIMIZE, **params)
