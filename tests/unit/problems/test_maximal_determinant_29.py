"""Matrices of signs: two ways to a determinant that agree, and the rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.direct import reference_solutions, score_directly
from discovery.errors import Invalid
from discovery.plugins import load_problem, sibling
from discovery.referee import exact_score

FULL = 342 * 7**12 * 2**28


@pytest.fixture(scope="module")
def problem():
    return load_problem("maximal-determinant-29")


def signs(seed, order=29):
    return np.random.default_rng(seed).choice([-1, 1], size=(order, order))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**9), order=st.integers(1, 12))
def test_both_ways_give_the_determinant_of_small_matrices(problem, seed, order):
    rows = signs(seed, order)
    want = round(float(np.linalg.det(rows)))
    by_elimination = problem.scorer.__globals__["determinant"](rows.tolist())
    by_remainders = sibling(problem, "verify.py").determinant_of_signs(rows.tolist())
    assert by_elimination == by_remainders == want


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_both_scorers_agree_to_the_last_bit_and_symmetries_change_nothing(problem, seed):
    rows = signs(seed)
    score = score_directly(problem, rows)
    exact = exact_score(problem, rows)
    assert score.value == float(exact)
    assert exact.is_rational
    assert exact.middle * FULL % 2**28 == 0  # 2^(n-1) divides the determinant of n rows of signs
    turned = rows[::-1].T.copy()
    turned[3] *= -1
    assert score_directly(problem, turned).value == score.value


@settings(max_examples=20, deadline=None)
@given(place=st.tuples(st.integers(0, 28), st.integers(0, 28)), value=st.sampled_from([0, 2, -2, 1.0, True]))
def test_any_entry_but_a_sign_is_refused(problem, place, value):
    _, rows, _ = reference_solutions(problem)[0]
    rows[place[0]][place[1]] = value
    for scored in (score_directly, exact_score):
        with pytest.raises(Invalid):
            scored(problem, rows)


def test_a_singular_matrix_scores_exactly_zero(problem):
    rows = signs(1)
    rows[7] = -rows[20]
    assert score_directly(problem, rows).value == 0.0
    assert exact_score(problem, rows).middle == 0
    assert score_directly(problem, np.ones((29, 29), dtype=int)).value == 0.0


def test_the_reference_is_the_record_with_the_products_that_led_to_it(problem):
    _, rows, told = reference_solutions(problem)[0]
    assert abs(problem.scorer.__globals__["determinant"](rows)) == 320 * 7**12 * 2**28
    assert exact_score(problem, rows).decimal() == told == "0.93567251461988304094"
    products = np.array(rows) @ np.array(rows).T
    parts = np.split(np.arange(29), np.cumsum((18, 4, 3, 3)))
    want = np.ones((29, 29), dtype=int)
    for first, second, product in ((1, 4, -3), (2, 3, 5)):
        want[np.ix_(parts[first], parts[second])] = product
        want[np.ix_(parts[second], parts[first])] = product
    np.fill_diagonal(want, 29)
    assert np.array_equal(products, want)
