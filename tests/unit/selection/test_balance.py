"""Balance: what its ratios mean."""

from collections import Counter

import numpy as np
import pytest

from discovery.errors import ConfigError
from discovery.records import INITIAL, CandidateKey, Direction
from discovery.selection.balance import Balance
from discovery.testing.selector import committed_step


def filled(count=50, direction=Direction.MAXIMIZE, **params):
    """A chain whose step n scores n in quality."""
    selector = Balance(direction, **params)
    selector.observe(committed_step(0, 0, (), [0.0], direction))
    for n in range(1, count):
        selector.observe(committed_step(0, n, [INITIAL], [direction.key(float(n))], direction))
    return selector


@pytest.mark.parametrize("direction", Direction)
def test_exploitation_alone_is_greedy(direction):
    selector = filled(direction=direction, exploitation=1.0, elite=0.0, exploration=0.0)
    chosen = selector.choose(0, 4, np.random.default_rng(0))
    assert chosen.parents == tuple(CandidateKey(0, n, 0) for n in (49, 48, 47, 46))


def test_exploitation_takes_the_earlier_of_equals():
    selector = Balance(Direction.MAXIMIZE, exploitation=1.0, elite=0.0, exploration=0.0)
    for n in range(4):
        selector.observe(committed_step(0, n, [INITIAL] if n else [], [1.0]))
    chosen = selector.choose(0, 2, np.random.default_rng(0))
    assert chosen.parents == (INITIAL, CandidateKey(0, 1, 0))


def test_elite_draws_uniformly_from_the_best_few():
    selector = filled(exploitation=0.0, elite=1.0, exploration=0.0, elites=5)
    rng = np.random.default_rng(0)
    drawn = Counter(selector.choose(0, 1, rng).parents[0].step for _ in range(2000))
    assert set(drawn) == {45, 46, 47, 48, 49}
    assert min(drawn.values()) > 320


def test_more_elites_than_there_are_fall_back_to_the_next_best():
    selector = filled(exploitation=0.0, elite=1.0, exploration=0.0, elites=2)
    chosen = selector.choose(0, 4, np.random.default_rng(1)).parents
    assert {key.step for key in chosen[:2]} == {48, 49}
    assert [key.step for key in chosen[2:]] == [47, 46]


def test_exploration_draws_uniformly_from_all_without_repeats():
    selector = filled(count=10, exploitation=0.0, elite=0.0, exploration=1.0)
    rng = np.random.default_rng(0)
    drawn = Counter()
    for _ in range(2000):
        parents = selector.choose(0, 3, rng).parents
        assert len(set(parents)) == 3
        drawn.update(parents)
    assert len(drawn) == 10
    # Each is drawn 600 times on average, with a standard deviation of 20.
    assert min(drawn.values()) > 500
    assert max(drawn.values()) < 700


def test_kinds_are_drawn_in_their_ratios():
    selector = filled(exploitation=3, elite=1, exploration=0)
    rng = np.random.default_rng(0)
    kinds = Counter(selector.choose(0, 1, rng).values["parents"][0]["drawn_by"] for _ in range(2000))
    assert kinds["exploitation"] == pytest.approx(1500, abs=80)
    assert set(kinds) == {"exploitation", "elite"}


def test_all_candidates_when_more_are_asked_for():
    selector = filled(count=3)
    assert len(selector.choose(0, 9, np.random.default_rng(0)).parents) == 3


@pytest.mark.parametrize(
    "params",
    [{"elite": -0.1}, {"exploration": float("nan")}, {"exploitation": float("inf")}, {"elites": 0}],
    ids=str,
)
def test_parameters_out_of_range_are_refused_by_name(params):
    with pytest.raises(ConfigError, match=next(iter(params))):
        Balance(Direction.MAXIMIZE, **params)


def test_ratios_that_are_all_zero_are_refused():
    with pytest.raises(ConfigError, match="give one a weight"):
        Balance(Direction.MAXIMIZE, exploitation=0.0, elite=0.0, exploration=0.0)
