"""Verdicts: against the right baseline, corrected together, and the same whoever is asked."""

import pytest

from discovery.errors import ConfigError
from discovery.records import Direction
from discovery.significance import holm, paired_test
from discovery.testbed import Ability, Shape, make_landscape
from discovery.testbed.tournament import Entrant, compete, entrants


def tournament(name, labels, seeds=10, shape=None):
    playing = [Entrant.parse(label) for label in labels]
    return compete(
        make_landscape(name), playing, shape=shape or Shape(steps=40), ability=Ability(), seeds=seeds
    )


def test_verdicts_are_the_paired_test_corrected_for_all_tests():
    greedy, best_of_n, rpucg = tournament("unimodal", ["greedy", "best-of-n", "rpucg"])
    raw = [
        paired_test(best_of_n.regrets, greedy.regrets, Direction.MINIMIZE),
        paired_test(rpucg.regrets, greedy.regrets, Direction.MINIMIZE),
        paired_test(rpucg.regrets, best_of_n.regrets, Direction.MINIMIZE),
    ]
    corrected = holm(raw)
    told = [best_of_n.against("greedy"), rpucg.against("greedy"), rpucg.against("best-of-n")]
    assert [verdict.p for verdict in told] == corrected
    assert greedy.against("best-of-n").p == corrected[0]
    assert greedy.against("greedy") is None
    assert greedy.against("best-of-n").word == "better"
    assert best_of_n.against("greedy").word == "worse"
    assert (greedy.against("best-of-n").won, greedy.against("best-of-n").lost) == (10, 0)


def test_equals_are_not_told_apart():
    greedy, twin = tournament("unimodal", ["greedy", "balance:exploitation=1,elite=0,exploration=0"], seeds=4)
    assert greedy.regrets == twin.regrets
    assert (twin.against("greedy").p, twin.against("greedy").word) == (1.0, "same")


def test_on_the_deceptive_landscape_greed_and_best_of_n_are_beaten():
    """At equal budget, over paired seeds; docs/LOG.md has all selectors and landscapes."""
    *_, rpucg = tournament("deceptive", ["greedy", "best-of-n", "rpucg"], seeds=12, shape=Shape())
    for baseline in ("greedy", "best-of-n"):
        assert rpucg.against(baseline).word == "better"
        assert rpucg.against(baseline).p < 0.01
    assert rpucg.near > 0.5


def test_on_the_one_hill_greed_is_not_beaten():
    greedy, *others = tournament("unimodal", ["greedy", "rpucg", "puct", "balance"], seeds=8)
    assert all(other.against("greedy").word != "better" for other in others)
    assert greedy.regret <= min(other.regret for other in others)


def test_the_baselines_come_first_and_who_cannot_play_has_a_reason():
    playing, out = entrants(make_landscape("unimodal"))
    assert [entrant.label for entrant in playing][:2] == ["greedy", "best-of-n"]
    assert "objectives" in out["pareto"]
    assert not entrants(make_landscape("tradeoff"))[1].keys() & {"pareto", "islands"}


@pytest.mark.parametrize(
    ("text", "name", "params"),
    [
        ("rpucg", "rpucg", {}),
        ("rpucg:c=2", "rpucg", {"c": 2}),
        ("puct: backup = mean, pool=9", "puct", {"backup": "mean", "pool": 9}),
    ],
)
def test_an_entrant_is_read_from_its_text(text, name, params):
    entrant = Entrant.parse(text)
    assert (entrant.label, entrant.name, dict(entrant.params)) == (text, name, params)


@pytest.mark.parametrize("text", ["rpucg:", "rpucg:c", ":c=1", "rpucg:c=", "rpucg:c=1,,", ""])
def test_a_text_that_is_none_is_refused(text):
    with pytest.raises(ConfigError):
        Entrant.parse(text).selector(make_landscape("needle"), 0)


def test_nobody_and_twins_by_name_are_refused():
    for labels in ([], ["greedy", "greedy"]):
        with pytest.raises(ConfigError, match="each once"):
            tournament("needle", labels)
