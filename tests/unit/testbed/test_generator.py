"""The simulated generator does what its docstring states, and knows nothing else."""

import statistics
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.errors import ConfigError
from discovery.records import CandidateKey
from discovery.testbed import Ability, SimulatedGenerator, make_landscape

RUGGED = make_landscape("rugged")


def proposals(landscape, parents, ability, count=400, seed=0):
    generator = SimulatedGenerator(landscape, ability, seed)
    return [generator.propose(CandidateKey(0, 1, index), parents) for index in range(count)]


def mean_worth(landscape, parents, **ability):
    made = proposals(landscape, parents, Ability(failures=0.0, **ability))
    return statistics.mean(landscape.worth(p.solution) for p in made)


@given(st.integers(0, 10**9), st.integers(0, 9), st.integers(1, 999), st.integers(0, 99))
def test_a_proposal_depends_on_its_place_and_the_seed_only(seed, chain, step, index):
    key, parents = CandidateKey(chain, step, index), [RUGGED.initial, (1.0,) * 20]
    first = SimulatedGenerator(RUGGED, Ability(), seed)
    for other in range(3):
        first.propose(CandidateKey(chain, step + 1, other), parents)
    assert first.propose(key, parents) == SimulatedGenerator(RUGGED, Ability(), seed).propose(key, parents)


def test_another_place_is_another_draw():
    made = proposals(make_landscape("unimodal"), [make_landscape("unimodal").initial], Ability(failures=0.0))
    assert len({p.solution for p in made}) > 390
    assert len({p.tokens for p in made}) == 400


def test_more_skill_and_more_drafts_give_better_candidates():
    landscape = make_landscape("unimodal")
    blind, half, full = (mean_worth(landscape, [landscape.initial], skill=skill) for skill in (0, 0.5, 1))
    assert blind < half < full
    assert full < mean_worth(landscape, [landscape.initial], skill=1, drafts=16)


def test_better_parents_give_better_candidates():
    landscape = make_landscape("unimodal")
    better = tuple(x / 2 for x in landscape.initial)
    assert mean_worth(landscape, [better]) > mean_worth(landscape, [landscape.initial])
    assert mean_worth(landscape, [better, landscape.initial]) > mean_worth(
        landscape, [landscape.initial, better]
    )


def test_diverse_parents_give_what_no_near_copy_does():
    """Two that got across in different coordinates give, crossed, one that got across in both."""
    landscape = make_landscape("deceptive")
    first, second, near_copy = (24.0, 16.0, 0.0), (16.0, 24.0, 0.0), (24.0, 15.0, 0.0)
    diverse = proposals(landscape, [first, second], Ability(failures=0.0))
    alike = proposals(landscape, [first, near_copy], Ability(failures=0.0))
    assert sum(p.solution[:2] == (24.0, 24.0) for p in diverse) > 20
    assert not any(p.solution[:2] == (24.0, 24.0) for p in alike)


def test_nothing_but_a_move_of_a_parent_comes_of_one_parent():
    """It reaches no further than it says, however skilled: it does not know where the optimum is."""
    landscape = make_landscape("deceptive")
    made = proposals(landscape, [landscape.initial], Ability(failures=0.0, skill=1.0, drafts=64))
    assert max(max(p.solution) for p in made) == 6
    assert landscape.initial not in {p.solution for p in made}


def test_failures_come_as_often_as_asked_and_in_four_kinds():
    made = proposals(RUGGED, [RUGGED.initial], Ability(failures=0.3), count=2000)
    failed = Counter(p.failure for p in made if p.solution is None)
    assert sum(failed.values()) == pytest.approx(600, abs=75)
    assert len(failed) == 4
    assert min(failed.values()) > 20
    assert all(p.message for p in made if p.failure)
    assert all(p.solution is not None for p in proposals(RUGGED, [RUGGED.initial], Ability(failures=0.0)))


def test_latency_and_tokens_have_the_medians_that_were_asked_for():
    made = proposals(RUGGED, [RUGGED.initial], Ability(latency_s=20, tokens=500), count=2000)
    assert statistics.median(p.latency_s for p in made) == pytest.approx(20, rel=0.06)
    assert statistics.median(p.tokens for p in made) == pytest.approx(500, rel=0.06)


@pytest.mark.parametrize("wrong", [{"skill": 1.1}, {"drafts": 0}, {"reach": 0.0}, {"failures": -0.1}])
def test_an_ability_out_of_range_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Ability(**wrong)
