"""The loop without processes: exact budget, equal seeds, the lag, and what it counts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.records import INITIAL, Direction
from discovery.selection import make_selector
from discovery.testbed import Ability, Shape, landscape_names, make_landscape, play

SHAPES = st.builds(
    Shape,
    chains=st.integers(1, 3),
    steps=st.integers(1, 12),
    candidates=st.integers(1, 4),
    parents=st.integers(1, 4),
    overlap=st.integers(0, 3),
)


def game(name, selector="rpucg", *, shape=None, ability=None, seed=0, direction=None, params=None):
    """A game, and the steps that were committed."""
    landscape, steps = make_landscape(name, direction), []
    result = play(
        landscape,
        make_selector(selector, landscape.direction, params),
        shape=shape or Shape(chains=2, steps=30),
        ability=ability or Ability(),
        seed=seed,
        watch=steps.append,
    )
    return result, steps


@given(
    st.sampled_from(landscape_names()), st.sampled_from(["rpucg", "balance"]), SHAPES, st.integers(0, 10**6)
)
def test_every_game_is_repeatable_spends_its_budget_exactly_and_never_gets_worse(name, selector, shape, seed):
    result, steps = game(name, selector, shape=shape, seed=seed)
    assert (result, steps) == game(name, selector, shape=shape, seed=seed)
    assert len(result.regrets) == shape.evaluations
    assert all(a >= b >= 0 for a, b in itertools.pairwise(result.regrets))
    made = [o for step in steps if step.step for o in step.outcomes]
    assert len(made) == shape.evaluations
    assert result.failures == sum(o.score is None for o in made)
    assert result.duplicates == sum(o.duplicate_of is not None for o in made)


@given(st.sampled_from(landscape_names()), SHAPES, st.integers(0, 10**6))
def test_what_is_committed_and_shown_is_as_in_a_run(name, shape, seed):
    """Each chain from step 0 in order; parents scored, distinct, and committed before the lag; the best committed."""
    _, steps = game(name, shape=shape, seed=seed)
    for chain in range(shape.chains):
        own = [step for step in steps if step.chain == chain]
        assert [step.step for step in own] == list(range(shape.steps + 1))
        assert own[0].committed == INITIAL
        known = {INITIAL: 0}
        for step in own[1:]:
            assert 1 <= len(set(step.parents)) == len(step.parents) <= shape.parents
            assert all(known[parent] <= max(0, step.step - 1 - shape.overlap) for parent in step.parents)
            scores = [o.score for o in step.outcomes if o.score is not None]
            direction = make_landscape(name).direction
            if step.committed is None:
                assert not scores
            else:
                assert step.outcome(step.committed).score == direction.key(max(map(direction.key, scores)))
            known |= {o.key: step.step for o in step.outcomes if o.score is not None}


@pytest.mark.parametrize("name", landscape_names())
def test_going_down_mirrors_going_up(name):
    up, first = game(name, direction=Direction.MAXIMIZE, seed=4)
    down, second = game(name, direction=Direction.MINIMIZE, seed=4)
    assert (up.regrets, up.handed_out, up.score) == (down.regrets, down.handed_out, -down.score)
    assert [step.parents for step in first] == [step.parents for step in second]


def test_other_seeds_are_other_games_and_chains_differ():
    (first, steps), (second, _) = game("unimodal"), game("unimodal", seed=1)
    assert first.regrets != second.regrets
    ends = [[s.outcomes[0].score for s in steps if s.chain == c and s.step == 30] for c in (0, 1)]
    assert ends[0] != ends[1]


def test_an_equal_solution_takes_over_its_result():
    _, steps = game("deceptive", "best-of-n")
    outcomes = {o.key: o for step in steps for o in step.outcomes}
    doubles = [o for o in outcomes.values() if o.duplicate_of is not None]
    assert len(doubles) > 20
    for double in doubles:
        first = outcomes[double.duplicate_of]
        assert first.duplicate_of is None
        assert (first.program_hash, first.score) == (double.program_hash, double.score)


def test_with_noise_what_is_handed_out_is_the_luckiest_and_not_the_best():
    result, steps = game("noisy", shape=Shape(chains=2, steps=60))
    assert result.score == min(o.score for step in steps for o in step.outcomes if o.score is not None)
    assert result.handed_out > result.regrets[-1]
    without, _ = game("unimodal", shape=Shape(chains=2, steps=60))
    assert without.handed_out == without.regrets[-1]


def test_seconds_are_those_of_the_slowest_of_each_step_and_less_with_an_overlap():
    fixed = Ability(latency_s=10)
    one, _ = game("unimodal", shape=Shape(chains=1, steps=20, candidates=1), ability=fixed)
    wide, _ = game("unimodal", shape=Shape(chains=1, steps=20, candidates=8), ability=fixed)
    lagged, _ = game("unimodal", shape=Shape(chains=1, steps=20, candidates=8, overlap=1), ability=fixed)
    # A token takes a hundredth of a second here, whatever the draw.
    assert one.seconds == pytest.approx(one.tokens / 100)
    assert one.seconds < wide.seconds < wide.tokens / 100
    assert 0.4 * wide.seconds < lagged.seconds < 0.75 * wide.seconds
    assert lagged.tokens == wide.tokens


def test_only_metrics_that_a_selector_asks_for_are_in_outcomes():
    landscape, seen = make_landscape("tradeoff"), []
    selector = make_selector("rpucg", landscape.direction)
    play(landscape, selector, shape=Shape(chains=1, steps=2), ability=Ability(), seed=0, watch=seen.append)
    assert not any(o.metrics for step in seen for o in step.outcomes)
    selector = make_selector("rpucg", landscape.direction)
    selector.metrics = ("loss_b", "nothing")
    seen.clear()
    play(landscape, selector, shape=Shape(chains=1, steps=2), ability=Ability(), seed=0, watch=seen.append)
    scored = [o for step in seen for o in step.outcomes if o.score is not None]
    assert scored
    assert all(set(o.metrics) == {"loss_b"} for o in scored)
