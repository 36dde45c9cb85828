"""Erdos' minimum overlap: the definition, published values, and what happens at the rules' edges."""

from fractions import Fraction
from math import nextafter, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discovery.direct import reference_solutions, score_directly
from discovery.errors import Invalid
from discovery.plugins import load_problem
from discovery.referee import agrees, exact_score

lists = st.lists(
    st.floats(0, 1, allow_subnormal=False).filter(lambda h: h == 0 or h > 1e-90), min_size=1, max_size=9
)


@pytest.fixture(scope="module")
def problem():
    return load_problem("erdos-minimum-overlap")


def balanced(heights):
    """Heights from 0 to 1 with a mean of 1/2 but for rounding."""
    mean = sum(heights) / len(heights)
    if mean > 0.5:
        return [height * 0.5 / mean for height in heights]
    return [1 - (1 - height) * 0.5 / (1 - mean) for height in heights]


def by_definition(heights):
    """The largest overlap of the scaled heights, all sums written out."""
    count = len(heights)
    scale = Fraction(count, 2) / sum(map(Fraction, heights))
    scaled = [Fraction(height) * scale for height in heights]
    assert all(0 <= height <= 1 for height in scaled)
    return Fraction(2, count) * max(
        sum(scaled[i + m] * (1 - scaled[i]) for i in range(count) if 0 <= i + m < count)
        for m in range(1 - count, count)
    )


@settings(max_examples=20, deadline=None)
@given(heights=lists)
def test_both_scorers_are_the_definition_of_what_is_stored(problem, heights):
    score = score_directly(problem, balanced(heights))
    exact = exact_score(problem, score.artifact)
    assert exact.middle == by_definition(score.artifact)
    assert agrees(score.value, exact)
    assert score_directly(problem, score.artifact).artifact == score.artifact
    mirrored = score_directly(problem, score.artifact[::-1])
    assert exact_score(problem, mirrored.artifact).middle == exact.middle


@settings(max_examples=15, deadline=None)
@given(heights=lists, each=st.integers(2, 4))
def test_finer_steps_of_the_same_function_change_nothing(problem, heights, each):
    stored = score_directly(problem, balanced(heights)).artifact
    finer = [height for height in stored for _ in range(each)]
    assert exact_score(problem, finer).middle == exact_score(problem, stored).middle


def test_no_overlap_is_above_one(problem):
    for heights in ([0, 0, 1, 1], [1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [0, 1], [1.0] * 50 + [0.0] * 50):
        assert score_directly(problem, heights).value == pytest.approx(1.0, rel=1e-14)
        assert exact_score(problem, heights).middle == 1


def test_many_steps_agree(problem):
    chance = np.random.default_rng(3)
    heights = np.array(balanced(chance.random(1500).tolist()))
    score = score_directly(problem, heights)
    exact = exact_score(problem, score.artifact)
    assert abs(score.value - float(exact)) < 1e-13
    plain = np.correlate(heights, 1 - heights, "full") * 2 / len(heights)
    assert score.value == pytest.approx(plain.max(), rel=1e-12)
    assert score.metrics["worst_shift"] == plain.argmax() - len(heights) + 1


@pytest.mark.parametrize(
    ("heights", "value"),
    [
        ([0.5], 1 / 2),
        ([1 / 3, 2 / 3], 4 / 9),
        ([0.5 - 1 / sqrt(40), 0.5 + 1 / sqrt(10), 0.5 - 1 / sqrt(40)], 2 / 5),
    ],
)
def test_the_best_functions_of_one_two_and_three_steps_as_published(problem, heights, value):
    """J. K. Haugland, The minimum overlap problem, neutreeko.net/mop.htm."""
    assert score_directly(problem, heights).value == pytest.approx(value, rel=1e-15)
    assert float(exact_score(problem, heights)) == pytest.approx(value, rel=1e-15)


def test_the_best_51_steps_have_haugland_s_value_to_the_digits_known_of_it(problem):
    """The reference of 51 steps is symmetric and sums to 51/2 exactly: nothing is scaled or moved."""
    _, heights, told = reference_solutions(problem)[1]
    assert len(heights) == 51
    assert heights == heights[::-1]
    assert sum(map(Fraction, heights)) == Fraction(51, 2)
    score = score_directly(problem, heights)
    assert score.metrics["contracted"] == 0
    assert score.artifact == heights
    assert exact_score(problem, heights).middle == by_definition(heights)
    assert exact_score(problem, heights).decimal() == told == "0.38092685343308730309"
    haugland = next(known for known in problem.settings.known_best if "Haugland" in known.source)
    assert round(score.value, 10) == haugland.value


def test_the_sum_is_held_to_its_room_and_scaled_away_within_it(problem):
    base = [0.2, 0.9, 0.8, 0.1]
    wanted = exact_score(problem, base).middle
    for off in (1e-9, -1e-9):
        inside = [height * (1 + 1.9 * off) for height in base]
        assert abs(exact_score(problem, inside).middle - wanted) < 1e-15
        assert agrees(score_directly(problem, inside).value, exact_score(problem, inside))
        outside = [height * (1 + 2.1 * off) for height in base]
        for refuses in (score_directly, exact_score):
            with pytest.raises(Invalid, match="sum to"):
                refuses(problem, outside)


def test_one_is_kept_exactly_where_the_sum_leaves_no_room(problem):
    whole = [1.0, 0.0, 0.5, 0.5]
    assert score_directly(problem, whole).metrics["contracted"] == 0
    assert exact_score(problem, whole).middle == by_definition(whole)
    short = [1.0, 0.0, nextafter(0.5, 0), 0.5]
    with pytest.raises(Invalid, match=r"height 0 is 2\.78e-17 above 1 once"):
        exact_score(problem, short)
    score = score_directly(problem, short)
    assert 0 < score.metrics["contracted"] < 1e-14
    assert exact_score(problem, score.artifact).middle == by_definition(score.artifact)
    over = [1.0, 0.0, nextafter(0.5, 1), 0.5]
    assert score_directly(problem, over).metrics["contracted"] == 0
    assert exact_score(problem, over).middle == by_definition(over)


def test_the_reference_is_the_second_one_refined_and_below_alphaevolve(problem):
    _, heights, told = reference_solutions(problem)[0]
    assert len(heights) == 4 * 51
    assert heights == heights[::-1]
    assert sum(map(Fraction, heights)) == len(heights) // 2
    assert exact_score(problem, heights).decimal() == told == "0.38088974876985052213"
    values = [known.value for known in problem.settings.known_best if "AlphaEvolve" in known.source]
    assert score_directly(problem, heights).value < min(values)
