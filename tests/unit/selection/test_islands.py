"""Islands: they stay apart between migrations, and each holds the best of every kind."""

import math
from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from discovery.declared import Feature
from discovery.errors import ConfigError
from discovery.records import INITIAL, CandidateKey, Direction
from discovery.selection.islands import Islands
from discovery.testing.selector import committed_step, play

SIZE, DEPTH = Feature("size", -1, 1, bins=3), Feature("depth", 0, 10, bins=2)


def score(rng):
    return float(rng.normal())


def residents(selector, chain=0):
    """All candidates of the island whose turn it is, best first."""
    chosen = selector.choose(chain, 10_000, np.random.default_rng(0))
    places = [place["score"] for place in chosen.values["parents"]]
    keyed = zip(places, [key.step for key in chosen.parents], chosen.parents, strict=True)
    return [key for *_, key in sorted(keyed, key=lambda held: (-selector._direction.key(held[0]), held[1]))]


@given(
    seed=st.integers(0, 10_000),
    islands=st.integers(1, 6),
    migration=st.sampled_from([0, 1, 7, 20]),
    exploitation=st.sampled_from([0.0, 0.5, 1.0]),
    features=st.sampled_from([(), (SIZE,), (SIZE, DEPTH)]),
)
@settings(max_examples=40, deadline=None)
def test_a_candidate_is_shown_on_another_island_only_after_migrating_there(
    seed, islands, migration, exploitation, features
):
    selector = Islands(
        Direction.MAXIMIZE,
        islands=islands,
        migration=migration,
        exploitation=exploitation,
        features=features,
        population=5,
    )
    for selection, step in play(selector, score, seed=seed, steps=70):
        for key in selection.parents if selection else ():
            if key == INITIAL:
                continue
            # One migration is one hop along the ring.
            hops = (step.step - key.step) % islands
            seen = step.step - 1
            migrations = seen // migration - (key.step - 1) // migration if migration else 0
            assert hops <= migrations, f"{key} shown in step {step.step}"


def test_migration_carries_the_best_of_each_island_one_island_on():
    selector = Islands(Direction.MAXIMIZE, islands=3, migration=4, population=9)
    selector.observe(committed_step(0, 0, (), [0.0]))
    for number, value in enumerate((5.0, 3.0, 1.0), start=1):
        selector.observe(committed_step(0, number, [INITIAL], [value]))
    one, two, three = (CandidateKey(0, number, 0) for number in (1, 2, 3))
    assert residents(selector) == [one, INITIAL]  # step 4 is of island 1
    selector.observe(committed_step(0, 4, [one], [2.0]))
    # Island 2 got the best of island 1, and is next; what it held before went on to island 0, which sent its best to 1.
    assert residents(selector) == [one, two, INITIAL]
    selector.observe(committed_step(0, 5, [one], [None]))
    assert residents(selector) == [two, three, INITIAL]
    selector.observe(committed_step(0, 6, [two], [None]))
    assert residents(selector) == [one, CandidateKey(0, 4, 0), three, INITIAL]


def test_a_migration_that_falls_into_a_gap_of_step_numbers_takes_place():
    selector = Islands(Direction.MAXIMIZE, islands=2, migration=4)
    selector.observe(committed_step(0, 0, (), [0.0]))
    selector.observe(committed_step(0, 1, [INITIAL], [5.0]))
    selector.observe(committed_step(0, 7, [INITIAL], [1.0]))
    assert residents(selector) == [CandidateKey(0, 1, 0), INITIAL]


@given(st.integers(0, 10_000), st.sampled_from([(SIZE,), (SIZE, DEPTH)]), st.sampled_from(Direction))
@settings(max_examples=25, deadline=None)
def test_each_cell_holds_the_best_of_all_siblings_that_came_to_it(seed, features, direction):
    selector = Islands(direction, islands=2, migration=0, features=features)
    best = [{}, {}]
    for _, step in play(selector, score, seed=seed, steps=60, direction=direction):
        for outcome in step.outcomes:
            if outcome.score is None:
                continue
            cell = tuple(
                feature.bin(outcome.metrics[feature.name]) if feature.name in outcome.metrics else -1
                for feature in features
            )
            for number in (0, 1) if step.step == 0 else (step.step % 2,):
                held = best[number].get(cell)
                if held is None or direction.better(outcome.score, held[0]):
                    best[number][cell] = (outcome.score, outcome.key)
        turn = best[(step.step + 1) % 2].values()
        expected = sorted(turn, key=lambda held: -direction.key(held[0]))
        assert residents(selector) == [key for _, key in expected]


def test_without_features_an_island_holds_its_best_few_and_says_so():
    selector = Islands(Direction.MAXIMIZE, islands=1, population=4)
    found = []
    for _, step in play(selector, score, seed=3, steps=50):
        found += [(outcome.score, outcome.key) for outcome in step.outcomes if outcome.score is not None]
        assert residents(selector) == [key for _, key in sorted(found, reverse=True)[:4]]
    assert "declares no features" in selector.notice
    assert Islands(Direction.MAXIMIZE, features=[SIZE]).notice is None


def test_exploration_reaches_every_resident_and_exploitation_the_best():
    selector = Islands(Direction.MAXIMIZE, islands=1, exploitation=0.5, population=10)
    list(play(selector, score, seed=5, steps=40))
    rng, held = np.random.default_rng(0), residents(selector)
    drawn = Counter(selector.choose(0, 1, rng).parents[0] for _ in range(2000))
    assert set(drawn) == set(held)
    assert drawn[held[0]] == pytest.approx(1100, abs=90)
    assert min(drawn.values()) > 60  # 100 on average, with a standard deviation of 10
    assert len(set(selector.choose(0, 8, rng).parents)) == 8


def test_a_source_is_on_an_island_once():
    selector = Islands(Direction.MAXIMIZE, islands=1, features=[SIZE])
    selector.observe(committed_step(0, 0, (), [0.0]))
    twin = committed_step(0, 1, [INITIAL], [1.0], metrics=[{"size": 0.9}])
    source = "source of " + str(INITIAL)
    selector.observe(replace(twin, outcomes=(replace(twin.outcomes[0], program_hash=source),)))
    assert residents(selector) == [INITIAL]


@pytest.mark.parametrize(
    "params",
    [
        {"islands": 0},
        {"islands": 65},
        {"exploitation": math.nan},
        {"exploitation": 1.1},
        {"migration": -1},
        {"population": 0},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused_by_name(params):
    with pytest.raises(ConfigError, match=next(iter(params))):
        Islands(Direction.MAXIMIZE, **params)
