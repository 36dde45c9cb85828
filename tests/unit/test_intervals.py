"""Bootstrap intervals: properties for any numbers, and what a simulation says of how often they cover the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery import intervals
from discovery.errors import DataError
from discovery.intervals import Pair

numbers = st.floats(-1e6, 1e6)
groups = st.lists(st.lists(numbers, min_size=1, max_size=4), min_size=1, max_size=4)


@pytest.fixture(autouse=True)
def fewer(monkeypatch):
    """Fewer resamples than for a report: what is asserted does not hang on their number."""
    monkeypatch.setattr(intervals, "RESAMPLES", 300)


@given(groups)
def test_the_mean_of_the_seeds_means_lies_in_its_interval(values):
    found = intervals.mean(values)
    assert found.estimate == pytest.approx(np.mean([np.mean(group) for group in values]))
    if len(values) == len(values[0]) == 1:
        assert (found.low, found.high, found.holds_zero) == (None, None, True)
    else:
        assert found.low <= found.estimate <= found.high


@given(groups, st.floats(-1e3, 1e3), st.floats(0.01, 100))
def test_it_moves_and_grows_with_the_numbers(values, shift, scale):
    found = intervals.mean(values)
    moved = intervals.mean([[shift + scale * value for value in group] for group in values])
    for before, after in zip((found.estimate, found.low, found.high), _ends(moved), strict=True):
        if before is not None:
            assert after == pytest.approx(shift + scale * before, rel=1e-6, abs=1e-3)


def _ends(interval):
    return interval.estimate, interval.low, interval.high


@given(groups, st.data())
def test_a_difference_turns_with_its_sides_and_its_unit(values, data):
    after = [data.draw(st.lists(numbers, min_size=1, max_size=4)) for _ in values]
    found = intervals.difference(Pair(before=values, after=after))
    turned = intervals.difference(Pair(before=values, after=after, unit=-2.0))
    assert found.estimate == pytest.approx(
        intervals.mean(after).estimate - intervals.mean(values).estimate, rel=1e-6, abs=1e-6
    )
    if found.low is not None:
        assert turned.low == pytest.approx(-found.high / 2, rel=1e-6, abs=1e-4)
        assert turned.high == pytest.approx(-found.low / 2, rel=1e-6, abs=1e-4)


@given(groups)
def test_the_same_is_the_same_again_and_nothing_differs_from_itself_by_much(values):
    assert intervals.mean(values, seed=3) == intervals.mean(values, seed=3)
    same = intervals.difference(Pair(before=values, after=values))
    assert (same.estimate, same.holds_zero) == (0.0, True)


def test_numbers_that_are_all_equal_have_an_interval_of_a_point():
    found = intervals.mean([[2.0, 2.0], [2.0, 2.0], [2.0]])
    assert _ends(found) == (2.0, 2.0, 2.0)
    change = intervals.difference(Pair(before=[[1.0], [1.0]], after=[[3.0], [3.0]]))
    assert (_ends(change), change.holds_zero) == ((2.0, 2.0, 2.0), False)


def test_each_seed_counts_the_same_however_many_chains_it_has():
    assert intervals.mean([[0.0] * 9, [1.0]]).estimate == 0.5


def test_what_seeds_have_in_common_cancels_in_a_difference():
    hard = [[float(seed * 100 + chain) for chain in range(4)] for seed in range(3)]
    better = [[value + 5 for value in group] for group in hard]
    change = intervals.difference(Pair(before=hard, after=better))
    assert change.estimate == 5
    assert change.high - change.low < 5 < 100 < intervals.mean(hard).high - intervals.mean(hard).low


def test_several_differences_are_averaged_each_in_its_unit():
    one = Pair(before=[[0.0], [0.0]], after=[[2.0], [2.0]], unit=2.0)
    other = Pair(before=[[10.0], [10.0]], after=[[7.0], [7.0]], unit=-1.0)
    assert _ends(intervals.mean_difference([one, other])) == (2.0, 2.0, 2.0)


def test_spread_is_within_sets_and_zero_where_nothing_differs():
    assert intervals.spread([[[1.0, 1.0]], [[5.0, 5.0]]]) == 0
    assert intervals.spread([[[1.0, 3.0]], [[5.0], [7.0]]]) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(
    ("values", "said"),
    [([], "at least one"), ([[1.0], []], "at least one"), ([[math.nan]], "finite"), ([[math.inf]], "finite")],
)
def test_what_has_no_mean_is_refused(values, said):
    with pytest.raises(DataError, match=said):
        intervals.mean(values)


def test_unequal_seeds_and_no_pairs_and_a_wrong_confidence_are_refused():
    with pytest.raises(DataError, match="1 seeds before and 2 after"):
        intervals.difference(Pair(before=[[1.0]], after=[[1.0], [2.0]]))
    with pytest.raises(DataError, match="nothing to compare"):
        intervals.mean_difference([])
    with pytest.raises(DataError, match="confidence is 95"):
        intervals.mean([[1.0, 2.0]], confidence=95)


@pytest.mark.parametrize(
    ("between", "least", "most"), [(0.0, 0.955, 1.0), (0.5, 0.89, 0.97), (2.0, 0.76, 0.90)]
)
def test_an_interval_of_95_percent_covers_what_the_module_says(between, least, most):
    """Three seeds of eight chains; how much seeds differ is told in units of how much chains do."""
    rng, covered, trials = np.random.default_rng(1), 0, 400
    for trial in range(trials):
        values = rng.normal(0, between, (3, 1)) + rng.normal(0, 1, (3, 8))
        found = intervals.mean(values.tolist(), seed=trial)
        covered += found.low <= 0 <= found.high
    assert least <= covered / trials <= most


def test_a_difference_of_pairs_covers_the_truth_however_much_seeds_differ():
    rng, covered, trials = np.random.default_rng(2), 0, 400
    for trial in range(trials):
        seeds = rng.normal(0, 5, (3, 1))
        before, after = (seeds + rng.normal(mean, 1, (3, 8)) for mean in (0, 0.5))
        found = intervals.difference(Pair(before=before.tolist(), after=after.tolist()), seed=trial)
        covered += found.low <= 0.5 <= found.high
    assert covered / trials >= 0.955
