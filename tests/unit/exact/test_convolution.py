"""Convolutions of whole numbers, floats as whole numbers, and what heights may be."""

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from discovery.errors import Invalid
from discovery.exact.convolution import MOST_DIGITS, SPREAD_BITS, convolution, on_one_scale, step_heights

sizes = st.sampled_from([1, 9, 10, 10**18, 2**64, 10**40])
rows = sizes.flatmap(lambda size: st.lists(st.integers(-size, size), min_size=1, max_size=12))


def by_definition(first, second):
    return [
        sum(first[i] * second[k - i] for i in range(len(first)) if 0 <= k - i < len(second))
        for k in range(len(first) + len(second) - 1)
    ]


@settings(max_examples=30)
@given(first=rows, second=rows)
@example(first=[0], second=[-1000001])
@example(first=[-1000000, 1], second=[0, 0])
def test_it_is_what_the_definition_says(first, second):
    assert convolution(first, second) == by_definition(first, second)
    assert convolution(first, first) == by_definition(first, first)
    sizes = [abs(value) for value in first]
    assert convolution(sizes, second[::-1]) == by_definition(sizes, second[::-1])


def test_long_ones_agree_with_integers_of_a_machine():
    chance = random.Random(5)
    first, second = ([chance.randrange(-1000, 1000) for _ in range(count)] for count in (700, 301))
    assert convolution(first, second) == np.convolve(first, second).tolist()


@pytest.mark.parametrize("value", [0, 1, -1, 9, 10**9, -(10**9)])
def test_sums_as_large_as_they_can_be_do_not_run_into_each_other(value):
    assert convolution([value] * 11, [value] * 11) == by_definition([value] * 11, [value] * 11)
    mixed = [value, -value] * 5
    assert convolution(mixed, [value] * 10) == by_definition(mixed, [value] * 10)


def test_what_cannot_be_convolved_is_refused():
    with pytest.raises(ValueError, match="empty"):
        convolution([], [1])
    with pytest.raises(ValueError, match=f"at most {MOST_DIGITS}"):
        convolution([10**2001], [10**2001])
    assert convolution([10**1990], [10**1990]) == [10**3980]


@settings(max_examples=30)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**15), 10**15), min_size=1)
)
def test_one_scale_loses_nothing(values):
    whole, power = on_one_scale(values)
    assert [Fraction(value, 2**power) for value in whole] == [Fraction(value) for value in values]


def test_heights_are_zero_or_not_too_small_beside_the_largest():
    edge = 2.0**-SPREAD_BITS
    assert step_heights([1.0, edge, 0, -edge], most=4) == [1.0, edge, 0, -edge]
    assert step_heights([5e-324, 0.0], most=2) == [5e-324, 0.0]
    assert step_heights(np.array([10**15, 1]), most=2) == [10**15, 1]
    with pytest.raises(Invalid, match=r"height 1 is 5\.7.*e-101, below 2\*\*-333 .* make it zero"):
        step_heights([1.0, edge * (1 - 2.0**-53)], most=2)
    with pytest.raises(Invalid, match="height: all are zero"):
        step_heights([0.0, -0.0], most=2)
    with pytest.raises(Invalid, match="expected 0 to 1"):
        step_heights([-1e-300], most=2, low=0, high=1)
