"""Exact circle packing: what is valid, what is shrunk and by how much, what is rejected."""

import math
from fractions import Fraction
from itertools import combinations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from discovery.errors import Invalid
from discovery.exact import round_down
from discovery.geometry import TOLERANCE, circle_packing, draw_circles

GRID = Fraction(1, 2**80)


def is_valid(rows):
    """The rules once more, with nothing but fractions."""
    exact = [[Fraction(v) for v in row] for row in rows]
    return all(r >= 0 and r <= x <= 1 - r and r <= y <= 1 - r for x, y, r in exact) and all(
        (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 >= (a[2] + b[2]) ** 2 for a, b in combinations(exact, 2)
    )


def reduced(rows, amount):
    return [[Fraction(x), Fraction(y), max(Fraction(0), Fraction(r) - amount)] for x, y, r in rows]


def test_touching_is_allowed_and_nothing_is_shrunk():
    packing = circle_packing([[0.25, 0.25, 0.25], [0.75, 0.25, 0.25], [0.5, 0.75, 0.25]], 3)
    assert packing.shrunk_by == 0.0
    assert packing.sum_of_radii == 0.75
    assert packing.smallest_gap == 0.0


def test_the_smallest_float_of_overlap_is_seen_and_taken_back():
    wide = math.nextafter(0.25, 1)
    packing = circle_packing([[0.25, 0.5, 0.25], [0.75, 0.5, wide]], 2)
    assert packing.shrunk_by > 0
    assert is_valid(packing.rows)
    assert packing.sum_of_radii < 0.5


@pytest.mark.parametrize("overlap", [1e-16, 1e-13, 1e-9, 9.9e-7])
def test_a_near_miss_scores_no_more_than_its_valid_part(overlap):
    rows = [[0.25, 0.5, 0.25], [0.75, 0.5, 0.25 + overlap]]
    packing = circle_packing(rows, 2)
    assert is_valid(packing.rows)
    # The wall and the other circle leave the second 0.25 at most, the first loses as much as it.
    assert 0.5 - overlap * 1.01 - 1e-15 <= packing.sum_of_radii <= 0.5


def test_a_larger_overlap_is_rejected_with_the_pair_and_the_amount():
    with pytest.raises(Invalid, match=r"circles 0 and 2 overlap by 1\.000e-03"):
        circle_packing([[0.3, 0.5, 0.1], [0.9, 0.9, 0.01], [0.5, 0.5, 0.101]], 3)
    with pytest.raises(Invalid, match=r"circle 1 crosses the upper wall by 2\.000e-06"):
        circle_packing([[0.3, 0.5, 0.1], [0.5, 0.9, 0.100002]], 2)


def test_the_tolerance_itself_is_exact():
    # A gap of one half, and two radii that sum to just below or above it plus the tolerance.
    below = round_down(Fraction(1, 4) + TOLERANCE)
    rows = [[0.25, 0.5, 0.25], [0.75, 0.5, below]]
    assert is_valid(circle_packing(rows, 2).rows)
    with pytest.raises(Invalid):
        circle_packing([[0.25, 0.5, 0.25], [0.75, 0.5, math.nextafter(below, 1)]], 2)


def test_a_circle_smaller_than_the_shrink_becomes_a_point():
    rows = [[0.5, 0.5, 1e-7], [0.5, 0.5, 0.0], [0.25, 0.25, 0.2]]
    packing = circle_packing(rows, 3)
    assert is_valid(packing.rows)
    # Two circles around one point fit only when both are points.
    assert packing.rows[0][2] == 0.0
    assert packing.sum_of_radii == pytest.approx(0.2 - 1e-7, abs=1e-15)


coordinates = st.floats(0.0, 1.0)
nudges = st.sampled_from([0.0, 1e-18, 1e-16, 1e-13, 1e-10, 1e-7, 5e-7, 1e-6, 1.1e-6, 1e-4]) | st.floats(
    -2e-6, 2e-6
)


@st.composite
def almost_packings(draw):
    """Circles that touch the walls and each other, give or take a nudge across the boundary."""
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        x, y = draw(coordinates), draw(coordinates)
        room = [x, 1 - x, y, 1 - y] + [math.hypot(x - u, y - v) - r for u, v, r in rows]
        r = max(0.0, min(room)) * draw(st.sampled_from([1.0, 1.0, 0.5, 0.0])) + draw(nudges)
        rows.append([x, y, max(0.0, r)])
    return rows


@given(almost_packings())
@settings(max_examples=5 * settings.default.max_examples)
@example([[0.5, 0.5, 0.5], [0.5, 0.5, 0.0]])
@example([[5e-324, 0.5, 5e-324], [0.0, 0.5, 0.0]])
def test_what_is_scored_is_valid_and_the_least_shrink(rows):
    try:
        packing = circle_packing(rows, len(rows))
    except Invalid:
        # Whatever is rejected breaks the rules even after losing the tolerance's half everywhere.
        assert not is_valid(reduced(rows, TOLERANCE / 2 - GRID))
        return
    assert is_valid(packing.rows)
    exact = sum(Fraction(r) for _, _, r in packing.rows)
    assert Fraction(packing.sum_of_radii) <= exact < Fraction(math.nextafter(packing.sum_of_radii, 9))
    assert exact <= sum(Fraction(r) for _, _, r in rows)
    if is_valid(rows):
        assert packing.rows == rows
        assert packing.shrunk_by == 0.0
    else:
        # One grid step less than the amount would not have been enough.
        amount = Fraction(packing.shrunk_by)
        assert 0 < amount <= TOLERANCE + GRID
        assert not is_valid(reduced(rows, amount * (1 - Fraction(1, 2**50)) - GRID))
    again = circle_packing(packing.rows, len(rows))
    assert again.rows == packing.rows
    assert again.sum_of_radii == packing.sum_of_radii


GOOD = [[0.3, 0.3, 0.1], [0.7, 0.7, 0.1]]

WRONG = {
    "nothing": (None, "found nothing; expected a list of 2"),
    "a number": (2.5, "found a float"),
    "a text": ("[[0,0,0],[0,0,0]]", "found a text"),
    "a dictionary": ({"circles": GOOD}, "found a dictionary"),
    "empty": ([], "a list of 0"),
    "one too many": ([*GOOD, [0.5, 0.1, 0.0]], "a list of 3; expected 2"),
    "one too few": (GOOD[:1], "a list of 1"),
    "pairs": ([[0.3, 0.3], [0.7, 0.7]], "circle 0, value: found a list of 2"),
    "four values": ([GOOD[0], [0.7, 0.7, 0.1, 9.0]], "circle 1, value: found a list of 4"),
    "flat": ([0.3, 0.3], "circle 0, value: found a float"),
    "nested": ([[[0.3], [0.3], [0.1]], GOOD[1]], "circle 0, value 0 is a list"),
    "digits as text": ([["0.3", 0.3, 0.1], GOOD[1]], "circle 0, value 0 is a text"),
    "a boolean radius": ([GOOD[0], [0.7, 0.7, True]], "circle 1, value 2 is a boolean"),
    "a missing value": ([GOOD[0], [0.7, None, 0.1]], "circle 1, value 1 is nothing"),
    "a negative radius": ([GOOD[0], [0.7, 0.7, -1e-9]], "circle 1, value 2 is -1e-09; expected 0 to 1"),
    "a centre outside": ([[-1e-17, 0.3, 0.0], GOOD[1]], "circle 0, value 0 is -1e-17; expected 0 to 1"),
    "a huge integer": ([[10**5000, 0.3, 0.1], GOOD[1]], "circle 0, value 0 is a whole number of 16610 bits"),
    "NaN": ([[math.nan, 0.3, 0.1], GOOD[1]], "circle 0, value 0 is nan"),
    "infinity": ([[0.3, 0.3, math.inf], GOOD[1]], "circle 0, value 2 is inf"),
    "a boolean array": (np.zeros((2, 3), dtype=bool), "circle 0, value 0 is a boolean"),
    "an array of another shape": (np.zeros((3, 2)), "a list of 3"),
    "an array too deep": (np.zeros((2, 3, 1)), "circle 0, value 0 is a list"),
    "an array of one number": (np.array(0.5), "found a float"),
}


@pytest.mark.parametrize(("data", "reason"), WRONG.values(), ids=WRONG.keys())
def test_wrong_data_is_rejected_with_the_reason(data, reason):
    with pytest.raises(Invalid) as caught:
        circle_packing(data, 2)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    "data",
    [GOOD, np.array(GOOD), np.array(GOOD, dtype="f4"), [np.array(r) for r in GOOD], [tuple(r) for r in GOOD]],
)
def test_lists_and_arrays_are_equal(data):
    assert circle_packing(data, 2).sum_of_radii == pytest.approx(0.2, abs=1e-7)


def test_whole_numbers_are_numbers():
    assert circle_packing([[0, 1, 0], [0.5, 0.5, 0.5]], 2).sum_of_radii == 0.5


def test_the_tightest_place_is_named():
    packing = circle_packing([[0.3, 0.3, 0.2], [0.7, 0.7, 0.25]], 2)
    assert packing.tightest == "circle 1 and the right wall"
    assert packing.smallest_gap == pytest.approx(0.05)
    assert circle_packing([[0.3, 0.5, 0.15], [0.7, 0.5, 0.24]], 2).tightest == "circles 0 and 1"


def test_a_packing_draws_itself():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axes = figure.add_subplot()
    draw_circles(GOOD, axes)
    assert len(axes.patches) == 3
    assert "0.2" in axes.get_title()
