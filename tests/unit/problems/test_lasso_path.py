"""The lasso path: its instances, and the gap that every answer is held to."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.errors import Invalid
from discovery.plugins import load_problem, sibling

seeds = st.integers(0, 10**6)


@pytest.fixture(scope="module")
def instances():
    return sibling(load_problem("lasso-path"), "instances.py")


def objective(instance, w, penalty):
    rest = instance.y - instance.x @ w
    return rest @ rest / (2 * len(rest)) + penalty * np.abs(w).sum()


def optimum(instance, penalty):
    """By trying all signs: for each the minimum where the objective is a polynomial, if it has those signs."""
    n, p = instance.x.shape
    found = [np.zeros(p)]
    for signs in itertools.product((-1, 0, 1), repeat=p):
        on = np.flatnonzero(signs)
        if len(on):
            x, w = instance.x[:, on], np.zeros(p)
            w[on] = np.linalg.solve(x.T @ x, x.T @ instance.y - n * penalty * np.asarray(signs)[on])
            if np.all(np.sign(w) == signs):
                found.append(w)
    return min(found, key=lambda w: objective(instance, w, penalty))


def small(instances, seed):
    made = instances.instance(instances.Case("gaussian", 9, 4, 2), seed)
    return instances.Instance(made.x, made.y, made.lambdas[::10])


@settings(max_examples=30)
@given(seed=seeds, which=st.integers(0, 4), size=st.sampled_from([1e-6, 1e-3, 1.0]))
def test_the_gap_is_zero_at_the_optimum_and_a_bound_elsewhere(instances, seed, which, size):
    found, penalty = small(instances, seed), small(instances, seed).lambdas[which]
    best = optimum(found, penalty)
    other = best + size * np.random.default_rng(seed).standard_normal(4)
    path = np.zeros((4, 5))
    path[:, which] = best
    assert abs(instances.gaps(found, path)[which]) < 1e-12
    path[:, which] = other
    above = objective(found, other, penalty) - objective(found, best, penalty)
    assert 0 <= above <= instances.gaps(found, path)[which] + 1e-12


@settings(max_examples=10)
@given(seed=seeds, which=st.integers(1, 4))
def test_an_answer_is_taken_just_inside_the_tolerance_and_refused_just_outside(instances, seed, which):
    found = small(instances, seed)
    path = np.stack([optimum(found, penalty) for penalty in found.lambdas], axis=1)
    assert instances.check([found], [path], ["small"]) < 1e-12
    step = np.zeros_like(path)
    step[:, which] = np.random.default_rng(seed).standard_normal(4)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        inside = instances.gaps(found, path + middle * step)[which] <= instances.TOLERANCE
        low, high = (middle, high) if inside else (low, middle)
    assert instances.check([found], [path + 0.999 * low * step], ["small"]) <= instances.TOLERANCE
    with pytest.raises(Invalid, match=rf"problem 0 \(small\), lambda {which} of 5: the duality gap"):
        instances.check([found], [path + 1.001 * high * step], ["small"])


def test_instances_are_what_the_statement_says(instances):
    for case in instances.CASES:
        found = instances.instance(case, 1, 2, 3)
        assert found.x.shape == (case.n, case.p)
        assert np.isclose(np.mean(found.y**2), 1.0)
        assert np.isclose(found.lambdas[0], np.abs(found.x.T @ found.y).max() / case.n)
        assert np.isclose(found.lambdas[-1], found.lambdas[0] / 100)
        assert np.all(np.diff(found.lambdas) < 0)
        assert np.allclose(instances.gaps(found, np.zeros((case.p, 50)))[0], 0, atol=1e-12)
        if case.design == "sparse":
            assert np.all(np.count_nonzero(found.x, axis=1) == instances.PER_ROW)
        if case.correlation:
            measured = np.corrcoef(found.x[:, :-1].ravel(), found.x[:, 1:].ravel())[0, 1]
            assert abs(measured - case.correlation) < 0.05
    kinds = {(case.design, case.correlation) for case in instances.CASES}
    assert {("gaussian", 0.0), ("sparse", 0.0), ("dense solution", 0.0), ("correlated", 0.9)} <= kinds


def test_inputs_are_fresh_in_each_repeat_and_equal_for_all_candidates():
    inputs = load_problem("lasso-path").scorer.__globals__["inputs"].__wrapped__
    found, names, stdin = inputs(0)
    assert stdin == inputs(0)[2]
    assert stdin != inputs(1)[2]
    assert len(found) == len(names) == 42
    assert len({each.y.tobytes() for each in found}) == len(found)
    assert struct.unpack("<iiii", stdin[:16]) == (len(found), 60, 200, 50)
    assert np.array_equal(np.frombuffer(stdin[16:], "<f8", 60 * 200).reshape(60, 200), found[0].x)
    assert len(stdin) == 4 + sum(12 + 8 * (each.x.size + len(each.y) + 50) for each in found)


def test_outputs_are_read_as_they_are_written(instances):
    found = [instances.instance(instances.Case("gaussian", 5, p, 1), p) for p in (3, 4)]
    paths = [np.arange(3 * 50.0).reshape(3, 50), -np.arange(4 * 50.0).reshape(4, 50)]
    output = b"".join(path.T.tobytes() for path in paths)
    for read, path in zip(instances.read_paths(output, found), paths, strict=True):
        assert np.array_equal(read, path)
    for wrong, says in (
        (output[:-1], "wrote 2799 bytes; expected 2800"),
        (output + bytes(8), "expected 2800"),
        (b"", "wrote 0 bytes"),
        (output[:-8] + struct.pack("<d", np.nan), "coefficient 349 of the output is not finite"),
        (struct.pack("<d", np.inf) + output[8:], "coefficient 0 of the output is not finite"),
        (struct.pack("<d", -1e10) + output[8:], "beyond 1e\\+09"),
    ):
        with pytest.raises(Invalid, match=says):
            instances.read_paths(wrong, found)
