"""Greedy: the best ones, in order, and no more memory than that takes."""

import numpy as np
import pytest

from discovery.records import INITIAL, CandidateKey, Direction
from discovery.selection import greedy
from discovery.selection.greedy import Greedy
from discovery.testing.selector import committed_step, play

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("most", [5, 1024])
def test_the_best_come_first_and_of_equals_the_earlier(direction, most, monkeypatch):
    monkeypatch.setattr(greedy, "MOST", most)
    selector, found = Greedy(direction), []
    for _, step in play(selector, lambda rng: float(rng.integers(6)), seed=1, steps=80, direction=direction):
        if step.committed is not None:
            found.append((-direction.key(step.outcome(step.committed).score), step.step, step.committed))
        for count in (1, 3, most + 1):
            expected = [key for *_, key in sorted(found)][: min(count, most)]
            assert list(selector.choose(0, count, RNG).parents) == expected


def test_it_never_leaves_the_hill_that_it_climbs():
    selector = Greedy(Direction.MAXIMIZE)
    selector.observe(committed_step(0, 0, (), [0.0]))
    selector.observe(committed_step(0, 1, [INITIAL], [2.0]))
    for number in range(2, 50):
        selector.observe(committed_step(0, number, [CandidateKey(0, 1, 0)], [1.0]))
        assert selector.choose(0, 1, RNG).parents == (CandidateKey(0, 1, 0),)
