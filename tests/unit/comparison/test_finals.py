"""What is concluded where the truth is known: who is recommended, how sure, and what is never claimed."""

import numpy as np
import pytest

from discovery.comparison.finals import band, best_shares, compared
from discovery.comparison.verdict import against_baseline, recommendation, too_few
from discovery.records import Direction

RNG = np.random.default_rng(0)


def scores(mean, seeds, spread=0.1, rng=RNG):
    return list(rng.normal(mean, spread, seeds))


def test_a_clearly_better_setting_is_recommended_and_told_from_the_others(report):
    said = report({"poor": scores(1, 8), "good": scores(2, 8), "fair": scores(1.2, 8)})
    (of,) = said.budgets
    assert of.leader.name == "good"
    assert of.leader.best_share > 0.99
    assert of.rivals == ()
    assert "good is recommended (fairly sure)" in recommendation(of)
    assert "It is better than fair and poor" in recommendation(of)
    assert too_few(of) is None


def test_where_less_is_better_the_lowest_is_recommended(report):
    said = report({"poor": scores(2, 8), "good": scores(1, 8)}, direction=Direction.MINIMIZE, baseline="poor")
    (of,) = said.budgets
    assert of.leader.name == "good"
    contrast = of.leader.against_baseline
    assert contrast.gain.estimate == pytest.approx(1, abs=0.2)
    assert contrast.gain.low > 0
    assert contrast.wins == 8
    assert "good beats poor at 64 evaluations: better in 8 of 8 seeds" in against_baseline(of)[0]


def test_five_seeds_never_prove_anything_and_say_so(report):
    said = report({"new": scores(9, 5), "old": scores(1, 5)}, baseline="old")
    (of,) = said.budgets
    assert of.leader.against_baseline.p == 0.0625
    assert not of.leader.against_baseline.is_told
    assert "new is ahead of old" in against_baseline(of)[0]
    assert "not proof yet" in against_baseline(of)[0]
    assert "with 5 the smallest possible p is 0.0625." in too_few(of)
    assert "--seeds 6" in too_few(of)


def test_where_all_are_alike_differences_are_rarely_claimed(plan, curves):
    """Of experiments without any difference at most one in twenty may claim one, over all pairs together."""
    rng = np.random.default_rng(1)
    settings = plan("abcd", seeds=9).settings
    claims = 0
    for _ in range(30):
        of = compared([curves(setting, rng.normal(1, 0.1, 9)) for setting in settings], Direction.MAXIMIZE)
        claims += len(of.rivals) < 3
        assert of.leader.best_share < 0.999
    assert claims <= 30 * 0.05 + 3 * np.sqrt(30 * 0.05 * 0.95)


def test_settings_that_are_the_same_share_and_are_no_proof(report):
    (of,) = report({"a": [1.0] * 6, "b": [1.0] * 6}, baseline="b").budgets
    assert [final.best_share for final in of.finals] == [0.5, 0.5]
    contrast = next(f for f in of.finals if f.name == "a").against_baseline
    assert (contrast.p, contrast.wins, contrast.ties, contrast.superiority) == (1.0, 0, 6, 0.5)
    assert "cannot be told from b" in against_baseline(of)[0]


def test_one_that_loses_is_said_to(report):
    (of,) = report({"new": scores(1, 8), "old": scores(2, 8)}, baseline="old").budgets
    assert "new loses to old at 64 evaluations: worse in 8 of 8 seeds" in against_baseline(of)[0]
    assert of.leader.name == "old"


def test_against_a_baseline_p_is_corrected_for_the_settings_and_among_all_for_the_pairs(report):
    (of,) = report({name: scores(n, 7) for n, name in enumerate("abcd")}, baseline="a").budgets
    by_name = {final.name: final for final in of.finals}
    assert by_name["d"].against_baseline.corrected == pytest.approx(3 * 2 / 2**7)
    assert by_name["a"].against_leader.corrected == pytest.approx(6 * 2 / 2**7)


def test_a_baseline_that_is_beaten_is_none_that_the_best_cannot_be_told_from(report):
    names = {"new": scores(3, 7), "other": scores(2.9, 7), "third": scores(2.8, 7), "old": scores(1, 7)}
    for baseline in ("old", "new"):
        (of,) = report(names, baseline=baseline).budgets
        assert of.leader.name == "new"
        old = next(final for final in of.finals if final.name == "old")
        assert not old.against_leader.is_told  # among all six pairs seven seeds show nothing
        assert "old" not in [final.name for final in of.rivals]
        assert "It is better than" in recommendation(of)
    assert "old" in [final.name for final in report(names).budgets[0].rivals]


def test_a_single_seed_is_told_without_any_interval(report):
    (of,) = report({"a": [1.0], "b": [2.0]}).budgets
    assert of.leader.name == "b"
    assert of.leader.mean.low is None
    assert too_few(of) is not None


def test_shares_are_of_whole_seeds():
    # Where both rise and fall together, seeds decide nothing: the better one is better in every resample.
    assert best_shares([[1, 5, 9, 2], [1.1, 5.1, 9.1, 2.1]], Direction.MAXIMIZE) == [0.0, 1.0]


def test_a_band_holds_its_median_and_of_few_seeds_is_from_worst_to_best(plan, curves):
    setting = plan(["a", "b"], seeds=5).settings[0]
    one = band(curves(setting, [1, 2, 3, 4, 9]))
    assert (one.evaluations[0], one.evaluations[-1]) == (0, 64)
    assert (one.low[-1], one.median[-1], one.high[-1]) == (1, 3, 9)
    assert (one.low <= one.median).all()
    assert (one.median <= one.high).all()
