"""Which chains go on: a function of committed steps, whoever tells them when."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.budget import allot
from discovery.config import AdaptConfig, RunConfig, SearchConfig
from discovery.errors import ConfigError
from discovery.records import Direction
from discovery.rungs import Rungs, settled, survivors


@st.composite
def games(draw):
    """Rungs; each chain's score per evaluation, None for a failure; where it ends by itself, if it does."""
    chains = draw(st.integers(1, 6))
    at = sorted(draw(st.sets(st.integers(1, 12), max_size=3)))
    scores = [
        draw(st.lists(st.one_of(st.none(), st.integers(0, 3).map(float)), min_size=12, max_size=12))
        for _ in range(chains)
    ]
    ends = [draw(st.one_of(st.none(), st.integers(1, 14))) for _ in range(chains)]
    total = chains * (at[-1] if at else 0) + draw(st.integers(0, 40))
    keep, direction = draw(st.sampled_from([0.2, 0.5, 0.7])), draw(st.sampled_from(list(Direction)))
    return tuple(at), keep, direction, scores, ends, total


def best_of(direction, scores):
    valid = [score for score in scores if score is not None]
    return None if not valid else max(valid, key=direction.key)


def expected(at, keep, direction, scores, ends, total):
    """What each chain may spend in the end, and where it was pruned: rung by rung, from whole histories."""
    going, spent, pruned = list(range(len(scores))), {}, {}
    for number, place in enumerate(at, 1):
        ended = [c for c in going if ends[c] is not None and ends[c] <= place]
        spent |= {c: ends[c] for c in ended}
        going = [c for c in going if c not in ended]
        bests = {c: best_of(direction, scores[c][:place]) for c in going}
        valid = sorted(
            (c for c in going if bests[c] is not None), key=lambda c: (-direction.key(bests[c]), c)
        )
        ranked = valid + [c for c in going if bests[c] is None]
        losers = ranked[survivors(len(ranked), keep) :]
        pruned |= dict.fromkeys(losers, number)
        spent |= dict.fromkeys(losers, place)
        going = [c for c in going if c not in losers]
    left = total - sum(spent.values())
    final = spent | (dict(zip(going, allot(left, len(going)), strict=True)) if going else {})
    return [final[c] for c in range(len(scores))], pruned


class Line:
    """A chain that commits one evaluation after the other, as far as it may."""

    def __init__(self, number, direction, scores, end):
        self.number, self.done = number, 0
        self._direction, self._scores, self._end = direction, scores, end

    def tell(self, rungs, upto):
        best = best_of(self._direction, self._scores[:upto])
        rungs.observe(self.number, upto, best, has_ended=upto == self._end)

    def can_go(self, rungs):
        return self.done < rungs.share(self.number) and self.done != self._end


@given(game=games(), order=st.integers(0, 10**6), cuts=st.sets(st.integers(0, 60), max_size=4))
def test_neither_order_nor_the_end_of_processes_changes_who_goes_on(game, order, cuts):
    at, keep, direction, scores, ends, total = game
    rng, told = random.Random(order), 0
    lines = [Line(c, direction, scores[c], ends[c]) for c in range(len(scores))]

    def begun():
        rungs = Rungs(at, keep, direction, total=total, spent=[line.done for line in lines])
        for line in rng.sample(lines, len(lines)):
            for upto in range(1, line.done + 1):
                line.tell(rungs, upto)
        return rungs

    rungs = begun()
    while going := [line for line in lines if line.can_go(rungs)]:
        assert sum(max(rungs.share(line.number), line.done) for line in lines) <= total
        line = rng.choice(going)
        line.done += 1
        line.tell(rungs, line.done)
        told += 1
        if told in cuts:
            rungs = begun()
    shares, pruned = expected(*game)
    assert [rungs.share(c) for c in range(len(lines))] == shares
    assert rungs.pruned == pruned
    assert rungs.passed == len(at)
    if any(c not in pruned and ends[c] is None for c in range(len(lines))):
        assert sum(shares) == total, "evaluations are lost"


def test_ties_are_broken_by_number_and_a_chain_without_a_score_is_the_worst():
    rungs = Rungs((2,), 0.5, Direction.MINIMIZE, total=100, spent=[0] * 4)
    for chain, best in ((3, 1.0), (2, 1.0), (0, None)):
        rungs.observe(chain, 2, best)
        assert rungs.stands(chain)
        assert rungs.share(chain) == 2
    assert rungs.missing == (1,)
    rungs.observe(1, 2, 1.0)
    assert rungs.pruned == {0: 1, 3: 1}
    assert [rungs.share(c) for c in range(4)] == [2, 48, 48, 2]


def test_each_stage_spends_an_equal_part_of_the_budget():
    at = settled(960, 8, 3, 0.5, candidates=4)
    assert at == (28, 88, 208)
    parts = [8 * at[0], 4 * (at[1] - at[0]), 2 * (at[2] - at[1])]
    assert parts == [224, 240, 240]


@pytest.mark.parametrize(
    ("chains", "rungs", "total", "says"),
    [
        (1, 1, 100, "1 would be left after 0: take at most 0 rungs"),
        (4, 3, 1000, "1 would be left after 2: take at most 2 rungs"),
        (8, 2, 60, "less than one step of 4; take fewer rungs"),
    ],
)
def test_more_rungs_than_there_is_room_for_are_refused(chains, rungs, total, says):
    with pytest.raises(ConfigError, match=says):
        settled(total, chains, rungs, 0.5, candidates=4)


def test_a_configuration_says_where_its_rungs_stand():
    search = SearchConfig(chains=8, steps=30, candidates=4)
    assert RunConfig(problem="p", search=search, adapt=AdaptConfig(rungs=3)).rungs_at == (28, 88, 208)
    assert RunConfig(problem="p", search=search).rungs_at == ()
    given_places = AdaptConfig(rungs=2, at=(5, 9))
    assert RunConfig(problem="p", search=search, adapt=given_places).rungs_at == (5, 9)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rungs": 17}, "rungs is 17; it must be from 0 to 16"),
        ({"keep": 1.0}, "keep is 1.0; it must be from 0.01 to 0.99"),
        ({"patience": 0}, "patience is 0; it must be from 1"),
        ({"patience": 3, "on_stall": "wait"}, "on_stall is 'wait'; it must be one of restart, stop"),
        ({"on_stall": "stop"}, "no patience is given"),
        ({"rungs": 2, "at": (5, 5)}, "one ascending number of evaluations for each"),
        ({"rungs": 2, "at": (5,)}, "one ascending number of evaluations for each"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        AdaptConfig(**settings)
