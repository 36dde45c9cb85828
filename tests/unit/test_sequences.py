"""Zigzags of digits: what counts, and what is refused."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.errors import Invalid
from discovery.sequences import TOP, Zigzag, digits, zigzag


@given(st.lists(st.integers(0, TOP), min_size=2, max_size=30))
def test_a_row_counts_as_much_as_its_mirror_and_no_more_than_everything(row):
    found = zigzag(row)
    assert 0 <= found.value <= 1
    assert 0 <= found.turns < len(row)
    assert zigzag([TOP - digit for digit in row]) == found
    # A step that counts is at least 1 and at most 81.
    assert found.turns / 81 <= found.value * (len(row) - 1) * (1 + 1e-12) <= found.turns * (1 + 1e-12)


def test_the_best_rows_are_known():
    for count in range(2, 6):
        best = [row for row in product((0, 4, 9), repeat=count) if zigzag(row).value == 1.0]
        assert best == [tuple(TOP * ((place + first) % 2) for place in range(count)) for first in (0, 1)]


@pytest.mark.parametrize(
    ("row", "squares", "turns"),
    [
        ([5, 5, 5, 5], 0, 0),
        ([0, 1, 2, 3], 1, 1),
        ([0, 9, 9, 0], 81, 1),
        ([0, 9, 0, 9], 243, 3),
        ([9, 0, 5, 4], 81 + 25 + 1, 3),
        ([4, 4, 0, 9], 81, 1),
    ],
)
def test_a_step_counts_where_it_turns(row, squares, turns):
    assert zigzag(row) == Zigzag(value=squares / 243, turns=turns)


def test_digits_come_as_a_list_or_an_array():
    assert digits([0, 9, 3], 3) == (0, 9, 3)
    assert digits(np.array([0, 9, 3], dtype=np.int8), 3) == (0, 9, 3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "returned a NoneType; expected a list of 3 digits"),
        ("012", "returned a str"),
        ([0, 1], "returned 2 values; expected 3 digits"),
        ([0, 1, 2, 3], "returned 4 values"),
        ([0, 1, "2"], "value 2 is a str; expected an integer, 0 to 9"),
        ([0, True, 2], "value 1 is a bool"),
        ([0.0, 1, 2], "value 0 is a float"),
        ([0, 1, 10], "value 2 is not between 0 and 9"),
        ([-1, 1, 2], "value 0 is not between"),
        ([10**400, 1, 2], "value 0 is not between"),
        ([[0], 1, 2], "value 0 is a list"),
        (np.array([math.nan, 0, 0]), "value 0 is a float"),
        (np.zeros((3, 2), dtype=int), "value 0 is a list"),
        (np.array(3), "returned a int"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_row_of_digits_is_refused(data, reason):
    with pytest.raises(Invalid, match=reason):
        digits(data, 3)
