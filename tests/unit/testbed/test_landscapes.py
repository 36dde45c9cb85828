"""What the landscapes' docstrings say is true: optimum, structure, noise."""

import itertools
import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.errors import ConfigError
from discovery.records import INITIAL, CandidateKey, Direction
from discovery.selection import Selection
from discovery.testbed import Ability, Shape, SimulatedGenerator, landscape_names, make_landscape, play
from discovery.testbed.found import Found, enclosed
from discovery.testbed.landscapes import _NEEDLE, _TARGET, _contributions
from discovery.testbed.spaces import Box, Grid


def all_solutions(landscape):
    space = landscape.space
    return itertools.product(range(space.top + 1), repeat=space.size)


def steps_from(landscape, solution, longest=1):
    """All solutions that differ in one coordinate by up to so many steps."""
    for place, here in enumerate(solution):
        for x in range(max(0, here - longest), min(landscape.space.top, here + longest) + 1):
            if x != here:
                yield (*solution[:place], x, *solution[place + 1 :])


@pytest.mark.parametrize(
    ("name", "best"), [("deceptive", (24, 24, 24)), ("trap", (8, 8, 8)), ("needle", _NEEDLE)]
)
def test_the_optimum_of_a_grid_is_the_only_best_of_all(name, best):
    landscape = make_landscape(name)
    worths = {solution: landscape.worth(solution) for solution in all_solutions(landscape)}
    assert [s for s, worth in worths.items() if worth >= landscape.best - 1e-12] == [best]
    assert max(worths.values()) == pytest.approx(landscape.best)


def test_the_rugged_optimum_is_the_best_of_a_million():
    landscape = make_landscape("rugged")
    size, links, tables = landscape.space.size, 4, _contributions()
    numbers = np.arange(2**size, dtype=np.int32)
    worths = np.zeros(2**size)
    for place, table in enumerate(tables):
        index = sum(((numbers >> (place + j) % size) & 1) << (links - j) for j in range(links + 1))
        worths += np.array(table)[index]
    worths /= size
    assert worths.max() == pytest.approx(landscape.best, abs=1e-12)
    assert (worths >= landscape.best - landscape.near).sum() == 7
    is_local = np.ones(2**size, dtype=bool)
    for place in range(size):
        is_local &= worths >= worths[numbers ^ (1 << place)]
    assert is_local.sum() == 1468
    for number in (0, 1, 123456, int(worths.argmax())):
        assert landscape.worth(tuple(number >> i & 1 for i in range(size))) == pytest.approx(
            worths[number], abs=1e-12
        )


@pytest.mark.parametrize("name", ["unimodal", "noisy"])
def test_the_hill_has_one_top_where_its_gradient_vanishes(name):
    landscape = make_landscape(name)
    assert landscape.worth(_TARGET) == landscape.best == 0
    for place in range(10):
        up, down = (
            landscape.worth(tuple(x + (i == place) * h for i, x in enumerate(_TARGET))) for h in (1e-4, -1e-4)
        )
        assert up == pytest.approx(down)
        assert up < 0


@given(st.lists(st.floats(-5, 5), min_size=10, max_size=10), st.floats(0.01, 0.99))
def test_every_point_of_the_hill_is_worse_than_those_towards_the_top(point, share):
    landscape = make_landscape("unimodal")
    nearer = tuple(x + share * (y - x) for x, y in zip(point, _TARGET, strict=True))
    assert landscape.worth(nearer) >= landscape.worth(tuple(point))


def test_the_front_of_the_tradeoff_encloses_what_it_says_and_nothing_lies_beyond_it():
    landscape = make_landscape("tradeoff")
    side = math.sqrt(3)
    front = [landscape.metrics((t / side,) * 3) for t in np.linspace(-1, 1, 4001)]
    points = sorted((m["loss_a"], m["loss_b"]) for m in front)
    assert enclosed(points) == pytest.approx(landscape.area, abs=2e-4)
    assert enclosed(points) < landscape.area
    rng = random.Random(1)
    for _ in range(300):
        solution = tuple(rng.uniform(-1.5, 1.5) for _ in range(3))
        a, b = landscape.metrics(solution).values()
        t = 1 - math.sqrt(
            max(0.0, -math.log1p(-a))
        )  # the front's point of the same first loss, if there is one
        assert b >= (-math.expm1(-((max(t, -1) + 1) ** 2))) - 1e-9
        assert landscape.worth(solution) <= landscape.best + 1e-12


def test_the_front_is_found_bit_by_bit_and_its_middle_has_the_worst_scores():
    landscape = make_landscape("tradeoff")
    found, side = Found(landscape), math.sqrt(3)
    regrets = []
    for t in (1, 1, -1, 0, 0.5, -0.5):
        solution = (t / side,) * 3
        found.add(solution, landscape.worth(solution))
        regrets.append(found.regret)
    assert regrets[0] == regrets[1]
    assert regrets[1:] == sorted(regrets[1:], reverse=True)
    assert regrets[1] > 0.9 > 0.35 > regrets[-1] > 0
    assert landscape.worth((0, 0, 0)) < landscape.worth((1 / side,) * 3)
    scores = [landscape.worth((t / side,) * 3) for t in np.linspace(-1, 1, 20_001)]
    assert max(scores) == pytest.approx(landscape.best, abs=1e-9)
    assert max(scores) <= landscape.best + 1e-10


def test_the_cliff_hides_what_lies_behind_it_from_whoever_looks_at_the_best_only():
    """From the local optimum, no move that reaches a quarter of the width is among the three best solutions."""
    landscape = make_landscape("deceptive")
    local = (16, 16, 16)
    around = sorted((landscape.worth(s) for s in steps_from(landscape, local)), reverse=True)
    leaps = [s for s in steps_from(landscape, local, longest=6) if max(s) > 16]
    assert len(leaps) == 18
    assert all(landscape.worth(s) < around[1] < landscape.worth(local) for s in leaps)
    # Behind it each step is rewarded, up to a score that is the best so far.
    walk = [landscape.worth((x, 16, 16)) for x in range(17, 25)]
    assert walk == sorted(walk)
    assert walk[-2] < landscape.worth(local) < walk[-1]


@pytest.mark.parametrize("name", ["deceptive", "trap"])
def test_a_hill_climber_ends_in_the_local_optimum(name):
    """It goes to the best of eight candidates where that is better; wide moves take a few past one coordinate's."""
    landscape = make_landscape(name)
    local = {"deceptive": (16, 16, 16), "trap": (0, 0, 0)}[name]
    ability = Ability(failures=0.0, skill=0.0)
    ends = []
    for seed in range(40):
        generator, here = SimulatedGenerator(landscape, ability, seed), landscape.initial
        for step in range(1, 101):
            proposals = [generator.propose(CandidateKey(0, step, index), [here]) for index in range(8)]
            here = max([here, *(p.solution for p in proposals)], key=landscape.worth)
        ends.append(here)
    assert 32 <= sum(end == local for end in ends) < 40
    assert all(sum(x == y for x, y in zip(end, local, strict=True)) >= 2 for end in ends)
    assert landscape.initial != local
    assert all(landscape.worth(end) < landscape.best - 0.01 for end in ends)


def test_the_noise_has_the_size_that_it_says_and_is_drawn_anew_for_each_candidate():
    landscape = make_landscape("noisy")
    errors = []

    class Still:
        name, params = "still", {}

        def observe(self, step):
            for outcome in step.outcomes:
                assert outcome.duplicate_of is None

        def choose(self, chain, count, rng):
            return Selection(parents=(INITIAL,))

    # Moves that are too small to tell, so that every true score is the initial one's.
    ability = Ability(failures=0.0, reach=1e-9)
    true = -landscape.worth(landscape.initial)
    play(
        landscape,
        Still(),
        shape=Shape(chains=1, steps=400),
        ability=ability,
        seed=3,
        watch=lambda step: errors.extend(o.score - true for o in step.outcomes if step.step),
    )
    assert len(errors) == 1600
    assert abs(statistics.mean(errors)) < 0.1
    assert statistics.stdev(errors) == pytest.approx(landscape.noise, rel=0.06)


@pytest.mark.parametrize("name", landscape_names())
@given(data=st.data())
def test_worths_and_metrics_are_finite_and_moves_stay_in_the_space(name, data):
    landscape, rng = make_landscape(name), random.Random(data.draw(st.integers(0, 10**6)))
    solution, other = landscape.initial, landscape.initial
    for _ in range(30):
        solution, other = landscape.space.moved(solution, rng.choice([0.05, 0.25, 1.0]), rng), solution
        crossed = landscape.space.crossed(solution, other, rng)
        for each in (solution, crossed):
            assert math.isfinite(landscape.worth(each))
            assert all(math.isfinite(value) for value in landscape.metrics(each).values())
            metrics = landscape.metrics(each)
            assert all(f.low <= metrics[f.name] <= f.high for f in landscape.features)
            assert all(0 <= metrics[objective.metric] <= 1 for objective in landscape.objectives)
            assert Found(landscape).regret >= 0
            low, high = (
                (landscape.space.low, landscape.space.high)
                if isinstance(landscape.space, Box)
                else (0, landscape.space.top)
            )
            assert all(low <= x <= high for x in each)
            assert len(each) == landscape.space.size
        assert all(x in pair for x, pair in zip(crossed, zip(solution, other, strict=True), strict=True))


@given(st.integers(0, 24), st.integers(0, 10**6))
def test_a_step_on_a_grid_is_never_none_and_never_too_long(start, seed):
    moved = Grid(3, 24).moved((start,) * 3, 0.25, random.Random(seed))
    assert moved != (start,) * 3
    assert all(abs(x - start) <= 6 for x in moved)


@pytest.mark.parametrize("name", landscape_names())
def test_every_landscape_is_the_same_in_both_directions(name):
    up, down = (make_landscape(name, direction) for direction in Direction)
    assert up.worth(up.initial) == down.worth(down.initial) < up.best
    assert (up.direction, down.direction) == tuple(Direction)
    assert make_landscape(name).direction in Direction
    for part in ("Structure", "Optimum", "Greed"):
        assert f"**{part}**" in type(up).__doc__
    assert "Source:" in type(up).__doc__


def test_an_unknown_landscape_is_refused_with_what_there_is():
    with pytest.raises(ConfigError, match="no landscape 'deceptiv'; did you mean deceptive"):
        make_landscape("deceptiv")
