"""The autocorrelation inequalities: definitions, invariances, agreement of the two scorers, the rules' edges."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.direct import reference_solutions, score_directly
from discovery.errors import Invalid, ProblemError
from discovery.plugins import load_problem
from discovery.referee import agrees, exact_score

VARIANTS = ("1", "2", "3")
above = st.floats(0, 1e15, allow_subnormal=False).filter(lambda a: a == 0 or a > 1e-80)
positive = st.lists(above, min_size=1, max_size=9).filter(any)
small = st.lists(st.integers(-9, 9), min_size=1, max_size=9).filter(sum)


@pytest.fixture(scope="module")
def problems():
    return {variant: load_problem(f"autocorrelation-{variant}") for variant in VARIANTS}


def by_definition(variant, heights):
    """The score from f * f written out: linear between its values at multiples of the steps' width."""
    row = [Fraction(height) for height in heights]
    count, width = len(row), Fraction(1, 2 * len(row))
    square = sum(row) ** 2 * width**2  # of the integral of f
    nodes = [
        width * sum(row[i] * row[k - 1 - i] for i in range(count) if 0 <= k - 1 - i < count)
        for k in range(2 * count + 1)
    ]
    if variant != "2":
        return max(map(abs, nodes)) / square
    # The integral of a squared line over a piece, by Simpson's rule, which is exact for it.
    pieces = pairwise(nodes)
    squared = width * sum((p * p + 4 * ((p + q) / 2) ** 2 + q * q) / 6 for p, q in pieces)
    return squared / (square * max(nodes))


@settings(max_examples=12, deadline=None)
@given(heights=positive)
@pytest.mark.parametrize("variant", ["1", "2"])
def test_both_scorers_are_the_definition(problems, variant, heights):
    check(problems[variant], variant, heights)


@settings(max_examples=20, deadline=None)
@given(heights=small)
def test_so_they_are_with_both_signs(problems, heights):
    check(problems["3"], "3", heights)


def check(problem, variant, heights):
    score, wanted = score_directly(problem, heights), by_definition(variant, heights)
    assert exact_score(problem, score.artifact).middle == wanted
    assert agrees(score.value, exact_score(problem, heights))
    assert score.value == pytest.approx(float(wanted), rel=1e-12)
    for same in (heights[::-1], [4 * h for h in heights if abs(h) < 2e14] or heights):
        if len(same) == len(heights):
            assert exact_score(problem, same).middle == wanted
    # The same function on finer steps.
    assert exact_score(problem, [h for h in heights for _ in range(3)]).middle == wanted


@pytest.mark.parametrize("variant", VARIANTS)
def test_long_ones_agree(problems, variant):
    chance = np.random.default_rng(int(variant))
    heights = chance.random(1200) ** 20 + (chance.normal(size=1200) if variant == "3" else 0)
    score = score_directly(problems[variant], heights * 1e-30)
    assert score.value == pytest.approx(float(exact_score(problems[variant], heights * 1e-30)), rel=1e-12)


def test_constants_score_what_is_known(problems):
    for heights in ([1], [7.5] * 3, np.ones(50), [5e-324] * 2):
        assert [score_directly(problems[v], heights).value for v in VARIANTS] == pytest.approx([2, 2 / 3, 2])
    # All in one of many steps: the worst that there is.
    assert score_directly(problems["1"], [0] * 99_999 + [3.0]).value == pytest.approx(2e5)
    # With zeros on both sides: half the width, so twice the score.
    assert score_directly(problems["1"], [0, 1, 1, 0]).value == pytest.approx(4)
    assert score_directly(problems["2"], [0, 1, 1, 0]).value == pytest.approx(2 / 3)


@pytest.mark.parametrize("variant", ["1", "2"])
def test_nothing_below_zero_is_clipped(problems, variant):
    for heights in ([1.0, -0.0, 1.0], [1.0, 1e-99, 1.0]):
        exact_score(problems[variant], score_directly(problems[variant], heights).artifact)
    for refuses in (score_directly, exact_score):
        with pytest.raises(Invalid, match="expected 0 to"):
            refuses(problems[variant], [1.0, -1e-99, 1.0])


@settings(max_examples=20, deadline=None)
@given(by=st.integers(-3, 3))
def test_signed_heights_must_not_cancel(problems, by):
    # The sum by that of the sizes is 2**-20 but for the last bits.
    first = float(2**20 + 1 + by)
    heights = [first, -float(2**20 - 1)]
    if (2 + by) * 2**20 >= 2**21 + by:
        assert agrees(score_directly(problems["3"], heights).value, exact_score(problems["3"], heights))
        return
    for refuses in (score_directly, exact_score):
        with pytest.raises(Invalid, match="as good as zero"):
            refuses(problems["3"], heights)


def test_there_are_three():
    with pytest.raises(ProblemError, match="the inequalities are 1, 2 and 3"):
        load_problem("autocorrelation-4")


def test_the_reference_of_the_first_is_below_matolcsi_and_vinuesa(problems):
    _, heights, told = reference_solutions(problems["1"])[0]
    assert exact_score(problems["1"], heights).decimal() == told == "1.5067424231503876385"
    published = [k.value for k in problems["1"].settings.known_best if "Matolcsi" in k.source]
    assert score_directly(problems["1"], heights).value < min(published)
