import random

import pytest

from discovery.generation.base import ParentView
from discovery.generation.family import Parsed, family_of
from discovery.generation.sketch import sketch
from discovery.generation.stepsizes import successes
from discovery.records import CandidateKey, Direction


def parse(source):
    return Parsed((sketch(source, "python"),))


def read(*steps, direction=Direction.MAXIMIZE):
    """What succeeded in a chain of programs with their scores; the last one is the parent."""
    views = tuple(
        ParentView(key=CandidateKey(0, step, 0), source=f"x = {values!r}", score=score, metrics={})
        for step, (values, score) in enumerate(steps)
    )
    return successes(family_of(views[-1:], views, direction, parse))


def test_reads_length_breadth_and_gain_of_each_success():
    found = read(([0.0, 0.0], 1.0), ([0.5, 0.0], 3.0), ([9.0, 9.0], 2.0), ([0.8, 0.4], 4.0))
    assert found.lengths == pytest.approx((0.5, ((0.3**2 + 0.4**2) / 2) ** 0.5))
    assert found.moved == (1, 2)
    assert found.gains == (2.0, 1.0)


def test_a_step_was_made_from_what_differs_in_the_fewest_numbers():
    found = read(([0.0, 0.0, 0.0], 1.0), ([1.0, 1.0, 1.0], 2.0), ([0.0, 0.0, 0.25], 3.0))
    assert found.moved == (3, 1)
    assert found.lengths[1] == 0.25


def test_lower_is_better_when_minimising():
    steps = ([0.0], 3.0), ([1.0], 4.0), ([2.0], 2.0)
    assert read(*steps, direction=Direction.MINIMIZE).gains == (1.0,)


def test_tells_which_breadth_paid():
    wide = [float(i) for i in range(20)]
    assert read(([0.0] * 20, 0.0), ([1.0] + [0.0] * 19, 1.0)).narrow_share() == 1.0
    assert read(([0.0] * 20, 0.0), (wide, 1.0)).narrow_share() == 0.0
    assert read(([0.0] * 20, 0.0)).narrow_share() == 0.5


def test_nothing_known():
    found = read(([0.0], 1.0))
    assert found.length(random.Random(0)) is None
