import random
import statistics

import pytest

from discovery.generation import operators
from discovery.generation.base import ParentView
from discovery.generation.family import Parsed, family_of
from discovery.generation.sketch import sketch
from discovery.generation.stepsizes import successes
from discovery.records import CandidateKey, Direction


def family(*shown):
    """Of programs with their scores; the last one is the parent."""
    views = tuple(
        ParentView(key=CandidateKey(0, step, 0), source=f"x = {values!r}", score=score, metrics={})
        for step, (values, score) in enumerate(shown)
    )
    return family_of(
        views[-1:], views, Direction.MAXIMIZE, lambda source: Parsed((sketch(source, "python"),))
    )


def moves(operator, found, seeds=200):
    drawn = [operator(found, successes(found), random.Random(seed)) for seed in range(seeds)]
    return [move for move in drawn if move is not None]


def test_opposed_goes_away_from_what_else_is_shown():
    found = family(([0.0, 1.0, 5.0], 1.0), ([1.0, 3.0, 5.0], 2.0))
    factors = [move.changes[0] for move in moves(operators.opposed, found) if len(move.changes) == 2]
    assert len(factors) > 50
    assert 0.25 <= min(factors) < 0.5
    assert 1.0 < max(factors) <= 2.0
    for move in moves(operators.opposed, found):
        assert set(move.changes) <= {0, 1}
        if len(move.changes) == 2:
            assert move.changes[1] == pytest.approx(2.0 * move.changes[0])


def test_opposed_needs_something_else():
    assert not moves(operators.opposed, family(([0.0, 1.0], 1.0)))


def test_adapted_moves_few_numbers_as_far_as_the_whole_way():
    """Otherwise, the more numbers there are, the less single ones explore."""
    old, new = [0.0] * 64, [1.0] * 64
    views = [
        ParentView(key=CandidateKey(0, step, 0), source=f"x = {values!r}", score=float(step), metrics={})
        for step, values in enumerate((old, new))
    ]
    found = family_of(
        (views[1], views[0]), (), Direction.MAXIMIZE, lambda source: Parsed((sketch(source, "python"),))
    )
    drawn = moves(operators.adapted, found, 600)
    single = [abs(change) for move in drawn if len(move.changes) == 1 for change in move.changes.values()]
    every = [abs(change) for move in drawn if len(move.changes) == 64 for change in move.changes.values()]
    assert statistics.mean(single) > 3.0 * statistics.mean(every)
