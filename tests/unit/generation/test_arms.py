"""Who makes which completion: by weights, and by what members brought for their tokens."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.budget import Prices
from discovery.config import ArmsConfig, GeneratorConfig, MemberConfig
from discovery.errors import ConfigError
from discovery.generation.arms import INDICES, Arm, Arms, Bandit, Dealer
from discovery.records import Direction
from discovery.testing.selector import committed_step

UCB = ArmsConfig(choice="ucb")
BIG, SMALL, FREE = Arm(name="big"), Arm(name="small"), Arm(name="free", is_free=True)


def rng(step):
    return np.random.default_rng((7, step))


def step_of(number, made, direction=Direction.MAXIMIZE):
    """A committed step of (who, tokens, score) for each completion."""
    plain = committed_step(0, number, (), [score for _, _, score in made], direction)
    outcomes = (
        replace(outcome, generator=who, tokens=tokens)
        for outcome, (who, tokens, _) in zip(plain.outcomes, made, strict=True)
    )
    return replace(plain, outcomes=tuple(outcomes))


def played(
    skills, steps, *, arms=(BIG, SMALL), config=UCB, score=float, direction=Direction.MAXIMIZE, count=4
):
    """Who made what on a chain whose members improve by one with a chance of their own; (chance, tokens) by name."""
    bandit, draws = Bandit(config, arms, direction), random.Random(3)
    bandit.observe(step_of(0, [(None, None, score(0))], direction))
    best, dealt = 0, []
    for number in range(1, steps + 1):
        names = bandit.deal(count, rng(number)).names
        dealt.append(names)
        made = []
        for name in names:
            chance, tokens = skills(number)[name]
            made.append((name, tokens, score(best + 1 if draws.random() < chance else best - 1)))
        best += any(told == score(best + 1) for *_, told in made)
        bandit.observe(step_of(number, made, direction))
    return dealt


def shares(dealt):
    counts = Counter(name for names in dealt for name in names)
    return {name: count / counts.total() for name, count in counts.items()}


@given(
    weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=5),
    count=st.integers(1, 40),
    step=st.integers(0, 10**6),
)
def test_weights_give_each_its_share_rounded_up_or_down_side_by_side(weights, count, step):
    dealer = Dealer([Arm(name=str(place), weight=weight) for place, weight in enumerate(weights)])
    names = dealer.deal(count, rng(step)).names
    assert len(names) == count
    assert list(names) == sorted(names, key=int), "neighbours, so that each server is asked once"
    for place, weight in enumerate(weights):
        assert abs(names.count(str(place)) - count * weight / sum(weights)) < 1 + 1e-9


def test_over_many_steps_the_weights_are_kept_even_where_a_step_is_one_completion():
    dealer = Dealer([replace(BIG, weight=3.0), SMALL])
    found = shares(dealer.deal(1, rng(step)).names for step in range(2000))
    assert found["big"] == pytest.approx(0.75, abs=0.03)


@given(members=st.integers(1, 6), count=st.integers(1, 8), seed=st.integers(0, 1000))
def test_every_member_is_tried_before_any_is_preferred(members, count, seed):
    arms = [Arm(name=str(place), is_free=place == 0) for place in range(members)]
    draws, steps = random.Random(seed), -(-members // count)
    dealt = played(lambda _: {a.name: (draws.random(), 9) for a in arms}, steps, arms=arms, count=count)
    assert {name for names in dealt for name in names} == {arm.name for arm in arms}


DEARER_IS_BETTER_AND_NOT_WORTH_IT = {"big": (0.3, 4000), "small": (0.15, 500)}
DEARER_IS_WORTH_IT = {"big": (0.3, 1000), "small": (0.02, 700)}


@pytest.mark.parametrize(
    ("skills", "winner"), [(DEARER_IS_BETTER_AND_NOT_WORTH_IT, "small"), (DEARER_IS_WORTH_IT, "big")]
)
@pytest.mark.parametrize(
    ("score", "direction"),
    [
        (float, Direction.MAXIMIZE),
        (lambda value: value - 1e6, Direction.MAXIMIZE),
        (lambda value: -1e-9 * value, Direction.MINIMIZE),
        (lambda value: 1e300 * (value - 500), Direction.MAXIMIZE),
    ],
    ids=["positive", "negative", "minimised", "vast"],
)
def test_who_improves_more_per_token_makes_most(skills, winner, score, direction):
    dealt = played(lambda _: skills, 150, score=score, direction=direction)
    assert shares(dealt)[winner] > 0.6
    assert len(shares(dealt[-75:])) == 2, "the other is still tried"


@given(
    made=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["big", "small", "free", None]),
                st.one_of(st.none(), st.integers(0, 9000)),
                st.one_of(st.none(), st.integers(-1000, 1000)),
            ),
            min_size=1,
            max_size=4,
        ),
        max_size=12,
    ),
    power=st.integers(-40, 40),
)
def test_neither_the_scale_nor_the_sign_of_scores_matters(made, power):
    def dealt(factor, direction):
        bandit = Bandit(UCB, (BIG, SMALL, FREE), direction)
        found = []
        for number, step in enumerate(made):
            told = [(who, tokens, None if s is None else factor * s) for who, tokens, s in step]
            bandit.observe(step_of(number, told, direction))
            found.append(bandit.deal(4, rng(number)))
        return found

    usual = dealt(1.0, Direction.MAXIMIZE)
    assert dealt(2.0**power, Direction.MAXIMIZE) == usual
    assert dealt(-(2.0**power), Direction.MINIMIZE) == usual
    for each in usual:
        assert len(each.names) == 4
        assert all(value is None or value >= 0 for value in each.selection[INDICES].values())


def test_a_model_that_grows_better_is_found_out():
    early, late = {"big": (0.0, 500), "small": (0.3, 500)}, {"big": (0.3, 500), "small": (0.0, 500)}
    dealt = played(lambda step: early if step <= 100 else late, 300, config=replace(UCB, half_life=20.0))
    assert shares(dealt[50:100])["small"] > 0.6
    assert shares(dealt[-50:])["big"] > 0.6


def test_what_is_free_costs_the_floor_and_what_nobody_counts_as_much_as_the_dearest():
    arms = (BIG, FREE, SMALL)
    bandit = Bandit(replace(UCB, explore=0.0, floor=0.25), arms, Direction.MAXIMIZE)
    bandit.observe(step_of(0, [(None, None, 0.0)]))
    bandit.observe(step_of(1, [("big", 400, 1.0), ("free", None, 1.0), ("small", None, 1.0)]))
    assert bandit.deal(3, rng(1)).values == pytest.approx({"big": 0.5, "free": 2.0, "small": 0.5})


def test_after_a_restart_improvements_count_from_the_first_candidate():
    bandit = Bandit(replace(UCB, explore=0.0), (BIG, SMALL), Direction.MAXIMIZE)
    first = step_of(0, [(None, None, 0.0)])
    bandit.observe(first)
    bandit.observe(step_of(1, [("small", 10, 8.0)]))
    bandit.begin_anew(first)
    bandit.observe(step_of(2, [("big", 10, 4.0)]))
    values = bandit.deal(2, rng(2)).values
    assert values["big"] == pytest.approx(1 / 3), "half of the usual improvement"


def config(*members):
    return GeneratorConfig(kind="mixture", members=members)


def test_arms_are_the_members_with_their_prices_where_all_have_some():
    dear, cheap = (
        MemberConfig(name=name, base_url=("http://a/v1",), prices=Prices(prompt=1.0, completion=price))
        for name, price in (("dear", 8.0), ("cheap", 2.0))
    )
    free = MemberConfig(name="free", kind="mutation", weight=0.5)
    found = Arms.of(UCB, config(dear, free, cheap)).arms
    assert [(a.name, a.token_price, a.is_free, a.weight) for a in found] == [
        ("dear", 8.0, False, 1.0),
        ("free", 1.0, True, 0.5),
        ("cheap", 2.0, False, 1.0),
    ]
    unpriced = Arms.of(UCB, config(dear, replace(cheap, prices=None))).arms
    assert [a.token_price for a in unpriced] == [1.0, 1.0]
    assert Arms.of(UCB, GeneratorConfig()) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"choice": "luck"}, "choice is 'luck'; it must be one of weights, ucb"),
        ({"explore": -1.0}, "explore is -1.0; it must be from 0 to 10"),
        ({"half_life": 0.5}, "half_life is 0.5; it must be from 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, told):
    with pytest.raises(ConfigError, match=told):
        replace(UCB, **change)
