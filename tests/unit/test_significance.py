"""Tests for few seeds: published values, what they must be invariant to, and how often they err."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.errors import DataError
from discovery.records import Direction
from discovery.significance import (
    holm,
    paired_test,
    pairs_needed,
    smallest_p,
    superiority,
    unpaired_test,
)

MAX, MIN = Direction.MAXIMIZE, Direction.MINIMIZE
MAIZE = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)
"""Darwin's crossed less self-fertilised plants in eighths of an inch, as Fisher (1935, section 17) has them."""
SCORES = st.lists(st.integers(-5, 5), min_size=1, max_size=7)


def against_zero(gains: tuple[float, ...] | list[float], **options: str) -> float:
    return paired_test(gains, [0.0] * len(gains), MAX, **options)  # type: ignore[arg-type]


def ranked(count: int, sum_of_minus: int) -> list[float]:
    """Differences 1 to count, those negative whose ranks sum to the given number."""
    for size in range(count + 1):
        for minus in combinations(range(1, count + 1), size):
            if sum(minus) == sum_of_minus:
                return [-float(rank) if rank in minus else float(rank) for rank in range(1, count + 1)]
    raise AssertionError


def test_flipping_the_signs_of_darwins_maize_gives_what_fisher_counted() -> None:
    # Fisher (1935, section 21): 863 of 32,768 ways have a sum of at least 314, as many of at most -314.
    assert against_zero(MAIZE, statistic="mean", alternative="better") == 863 / 32768
    assert against_zero(MAIZE, statistic="mean") == 2 * 863 / 32768


@pytest.mark.parametrize(
    ("pairs", "critical"),
    [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (12, 13), (15, 25), (20, 52)],
)
def test_signed_ranks_have_the_critical_values_of_the_tables(pairs: int, critical: int) -> None:
    # Wilcoxon, Katti and Wilcox (1970), two-sided 0.05: T at most so much.
    assert against_zero(ranked(pairs, critical)) <= 0.05
    assert against_zero(ranked(pairs, critical + 1)) > 0.05


@pytest.mark.parametrize(("size", "critical"), [(4, 0), (5, 2), (6, 5), (8, 13), (10, 23)])
def test_unpaired_ranks_have_the_critical_values_of_the_tables(size: int, critical: int) -> None:
    # Mann-Whitney U, two-sided 0.05: U at most so much, for two sets of one size.
    def sets(u: int) -> tuple[list[float], list[float]]:
        """Two sets of which u pairs lie the other way."""
        b = [10.0 * n for n in range(1, size + 1)]
        each = [min(size, max(0, u - size * n)) for n in range(size)]
        return [10.0 * n + 5 + n0 / 100 for n0, n in enumerate(each)], b

    for u, is_found in ((critical, True), (critical + 1, False)):
        a, b = sets(u)
        assert sum(x > y for x in a for y in b) == u
        assert (unpaired_test(a, b, MAX) <= 0.05) is is_found


def test_five_seeds_that_all_agree_give_a_sixteenth_and_nothing_less() -> None:
    assert paired_test([2, 3, 4, 5, 6], [0, 0, 0, 0, 0], MAX) == 0.0625 == smallest_p(5)
    assert paired_test([2, 3, 4, 5, 6e9], [0] * 5, MAX, statistic="mean") == 0.0625
    assert pairs_needed(0.05) == 6
    assert pairs_needed(0.05, tests=26) == 11
    assert smallest_p(11, tests=26) < 0.05 < smallest_p(10, tests=26)
    assert smallest_p(2, tests=100) == 1.0


def test_better_depends_on_the_direction() -> None:
    assert paired_test([2, 3, 4], [1, 1, 1], MAX, alternative="better") == 0.125
    assert paired_test([2, 3, 4], [1, 1, 1], MIN, alternative="better") == 1.0
    assert unpaired_test([2, 3, 4], [1, 1, 1], MAX, alternative="better") == pytest.approx(0.05)
    assert unpaired_test([2, 3, 4], [1, 1, 1], MIN, alternative="better") == 1.0


@given(SCORES)
def test_signed_ranks_count_all_ways_ties_and_zeros_included(gains: list[int]) -> None:
    sizes = sorted(abs(g) for g in gains)
    rank = {s: np.mean([n for n, size in enumerate(sizes, 1) if size == s]) for s in sizes}
    ranks = [rank[abs(g)] for g in gains if g]
    found = sum(rank[abs(g)] for g in gains if g > 0)
    ways = [sum(w) for n in range(len(ranks) + 1) for w in combinations(ranks, n)]
    above, below = (np.mean([w >= found for w in ways]), np.mean([w <= found for w in ways]))
    expected = min(1.0, 2 * min(above, below)) if ranks else 1.0
    assert against_zero([float(g) for g in gains]) == pytest.approx(expected)


@given(SCORES, SCORES)
def test_unpaired_ranks_count_all_ways_ties_included(a: list[int], b: list[int]) -> None:
    a, b = a[:4], b[:4]
    both = a + b
    values = sorted(both)
    rank = {v: np.mean([n for n, value in enumerate(values, 1) if value == v]) for v in values}
    ways = [sum(rank[both[i]] for i in w) for w in combinations(range(len(both)), len(a))]
    found = sum(rank[v] for v in a)
    above, below = (np.mean([w >= found for w in ways]), np.mean([w <= found for w in ways]))
    assert unpaired_test(a, b, MAX) == pytest.approx(min(1.0, 2 * min(above, below)))


@given(SCORES, SCORES)
def test_what_is_compared_with_what_does_not_matter(a: list[int], b: list[int]) -> None:
    assert unpaired_test(a, b, MAX) == pytest.approx(unpaired_test(b, a, MIN))
    assert superiority(a, b, MAX) == pytest.approx(1 - superiority(b, a, MAX))
    assert superiority(a, b, MAX) == pytest.approx(superiority(b, a, MIN))
    count = min(len(a), len(b))
    for statistic in ("ranks", "mean"):
        p = paired_test(a[:count], b[:count], MAX, statistic=statistic)  # type: ignore[arg-type]
        assert p == pytest.approx(paired_test(b[:count], a[:count], MAX, statistic=statistic))  # type: ignore[arg-type]
        assert smallest_p(count) <= p + 1e-12 <= 1 + 1e-9


def test_drawn_ways_agree_with_counted_ones_and_never_give_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    gains = list(np.random.default_rng(1).normal(0.4, 1, 12))

    def ps() -> list[float]:
        return [
            against_zero(gains, statistic="mean"),
            against_zero(gains, statistic="mean", alternative="better"),
            unpaired_test(gains[:6], gains[6:], MAX),
            unpaired_test(gains[:6], gains[6:], MAX, alternative="better"),
        ]

    counted = ps()
    monkeypatch.setattr("discovery.significance._MOST_FLIPS", 0)
    monkeypatch.setattr("discovery.significance._MOST_RANKED", 0)
    drawn = ps()
    assert drawn == ps()  # the same again
    assert drawn != counted
    assert drawn == pytest.approx(counted, abs=0.015)
    assert 0 < against_zero([1.0] * 40, statistic="mean") < 0.001


@pytest.mark.parametrize("statistic", ["ranks", "mean"])
@pytest.mark.parametrize("pairs", [6, 10])
def test_of_experiments_without_a_difference_at_most_one_in_twenty_shows_one(
    statistic: str, pairs: int
) -> None:
    rng = np.random.default_rng(pairs)
    heavy = rng.standard_t(2, (1000, pairs))
    wrong = sum(against_zero(list(gains), statistic=statistic) <= 0.05 for gains in heavy)
    assert 5 <= wrong <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)


def test_of_unpaired_experiments_without_a_difference_at_most_one_in_twenty_shows_one() -> None:
    rng = np.random.default_rng(3)
    sets = rng.standard_t(2, (1000, 12))
    wrong = sum(unpaired_test(list(both[:6]), list(both[6:]), MAX) <= 0.05 for both in sets)
    assert 10 <= wrong <= 50 + 3 * np.sqrt(1000 * 0.05 * 0.95)


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(4)
    found = sum(against_zero(list(gains)) <= 0.05 for gains in rng.normal(1, 1, (300, 10)))
    assert found >= 0.75 * 300


def test_holm_corrects_as_in_his_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_of_many_tests_without_a_difference_holm_lets_few_experiments_show_any() -> None:
    rng = np.random.default_rng(5)
    wrong = sum(min(holm(list(ps))) <= 0.05 for ps in rng.uniform(size=(2000, 9)))
    assert wrong <= 100 + 3 * np.sqrt(2000 * 0.05 * 0.95)


def test_superiority_counts_ties_half() -> None:
    assert superiority([1, 2], [1, 0], MAX) == pytest.approx(3.5 / 4)
    assert superiority([1, 1], [1, 1], MIN) == 0.5


@pytest.mark.parametrize(
    ("a", "b"), [([], []), ([1.0], []), ([1.0, float("nan")], [1.0, 2.0]), ([1.0], [1.0, 2.0])]
)
def test_what_cannot_be_compared_is_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(DataError):
        paired_test(a, b, MAX)


def test_an_alpha_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="alpha is 0"):
        pairs_needed(0)
