"""Restarts of any selector: the contract holds, what is forgotten stays forgotten, the best is never lost."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from discovery.past import Course, Past
from discovery.records import INITIAL, CandidateKey, Direction
from discovery.selection import make_selector
from discovery.selection.base import AdvisedSelector
from discovery.selection.restarting import AdvisedRestarting, Patience
from discovery.selection.restarting import restarting as restarting_over
from discovery.testing.advised import AdvisedSelectorContract
from discovery.testing.selector import LANDSCAPES, SelectorContract, committed_step, play


def restarting(direction, name="rpucg", patience=3):
    return restarting_over(partial(make_selector, name, direction, {}), patience, direction)


@pytest.fixture(params=["best-of-n", "balance", "rpucg"])
def selector_factory(request):
    return partial(restarting, name=request.param)


class TestRestarting(SelectorContract):
    pass


class TestAdvisedRestarting(AdvisedSelectorContract):
    @pytest.fixture
    def selector_factory(self):
        return partial(restarting, name="llm-elite", patience=4)


def test_only_what_asks_a_model_is_asked_about_a_model():
    assert isinstance(restarting(Direction.MAXIMIZE, "llm-rerank"), AdvisedRestarting)
    assert isinstance(restarting(Direction.MAXIMIZE, "llm-rerank"), AdvisedSelector)
    assert not isinstance(restarting(Direction.MAXIMIZE, "rpucg"), AdvisedSelector)


@pytest.mark.parametrize("name", ["balance", "rpucg"])
@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("patience", [1, 4])
def test_parents_are_of_the_present_life_only(name, direction, patience):
    """A reference that keeps the keys of each life: nothing older is ever shown, and lives end when they should."""
    selector = restarting(direction, name, patience)
    alive, idle, lives, best, initial = set(), 0, 0, None, None
    for selection, step in play(selector, LANDSCAPES["continuous"], seed=5, steps=80, direction=direction):
        if selection is None:
            best = initial = step.outcomes[0].score
            alive = {INITIAL}
            continue
        assert set(selection.parents) <= alive
        assert selection.values.get("restarts", 0) == lives
        scores = {o.key: o.score for o in step.outcomes if o.score is not None}
        alive |= set(scores)
        better = [s for s in scores.values() if direction.better(s, best)]
        if better:
            best, idle = max(better, key=direction.key), 0
        else:
            idle += 1
        if idle == patience:
            alive, idle, best, lives = {INITIAL}, 0, initial, lives + 1
    assert lives > 3
    assert selector.restarts(0) == lives


def test_a_step_that_was_planned_before_a_restart_is_forgotten_with_it():
    """With an overlap it is committed after it; it neither counts nor is shown."""
    selector, old = restarting(Direction.MAXIMIZE, "balance", 1), CandidateKey(0, 1, 0)
    selector.observe(committed_step(0, 0, (), [0.0]))
    selector.observe(committed_step(0, 1, (INITIAL,), [5.0]))
    selector.observe(committed_step(0, 2, (old,), [1.0]))
    assert selector.restarts(0) == 1
    selector.observe(committed_step(0, 3, (old,), [9.0]))
    assert selector.choose(0, 4, np.random.default_rng(0)).parents == (INITIAL,)
    assert selector.restarts(0) == 1
    with pytest.raises(ValueError, match="step 3 after 3"):
        selector.observe(committed_step(0, 3, (INITIAL,), [9.0]))


@given(
    steps=st.lists(
        st.lists(st.one_of(st.none(), st.integers(0, 5).map(float)), min_size=1, max_size=3), max_size=30
    ),
    overlap=st.integers(0, 2),
    patience=st.integers(1, 4),
)
def test_the_best_never_gets_worse_and_replay_equals_live(steps, overlap, patience):
    """Of a chain: what prompts tell as its best, and what its course keeps."""
    committed = [committed_step(0, 0, (), [1.0])]
    committed += [committed_step(0, n, (INITIAL,), scores) for n, scores in enumerate(steps, 1)]
    live, bests = fold(committed[:1], overlap, patience), []
    for step in committed[1:]:
        live.take_in(step)
        bests.append(live.best)
        again = fold(committed[: step.step + 1], overlap, patience)
        assert (again.best, again.restarts) == (live.best, live.restarts)
    assert bests == sorted(bests)
    course = Course(Direction.MAXIMIZE, overlap, None)
    for step in committed:
        course.take_in(step)
    assert course.best == max([1.0, *(s for scores in steps for s in scores if s is not None)])


def test_the_trail_is_forgotten_with_the_rest_and_takes_in_nothing_of_before():
    old = CandidateKey(0, 1, 0)
    steps = [
        committed_step(0, 0, (), [0.0]),
        committed_step(0, 1, (INITIAL,), [5.0]),
        committed_step(0, 2, (old,), [1.0]),
        committed_step(0, 3, (old,), [9.0]),
        committed_step(0, 4, (INITIAL,), [2.0]),
    ]
    assert fold(steps[:2], 0, 1).trail.keys() == (INITIAL, old)
    assert fold(steps[:3], 0, 1).trail.keys() == fold(steps[:4], 0, 1).trail.keys() == (INITIAL,)
    assert fold(steps, 0, 1).trail.keys() == (INITIAL, CandidateKey(0, 4, 0))


def fold(steps, overlap, patience):
    past = Past(restarting(Direction.MAXIMIZE, "balance", patience), Direction.MAXIMIZE, overlap)
    for step in steps:
        past.take_in(step)
    return past


@pytest.mark.parametrize("overlap", [0, 2])
def test_a_chain_ends_after_its_patience_and_the_steps_that_are_open_by_then(overlap):
    course = Course(Direction.MINIMIZE, overlap, 2)
    scores = [5.0, 4.0, 6.0, None, *[7.0] * overlap]
    for number, score in enumerate(scores):
        course.take_in(committed_step(0, number, (), [score], Direction.MINIMIZE))
        assert course.has_ended == (number == len(scores) - 1)
    assert course.ends_before(len(scores))
    assert not course.ends_before(len(scores) - 1)


def test_no_patience_at_all_is_refused():
    with pytest.raises(ValueError, match="at least 1 step"):
        Patience(0, Direction.MAXIMIZE)


@given(lag=st.integers(0, 4), islands=st.integers(2, 5), patience=st.integers(1, 4), seed=st.integers(0, 99))
def test_islands_stay_apart_though_steps_of_an_earlier_life_come_late(lag, islands, patience, seed):
    params = {"islands": islands, "migration": 0}
    make = partial(make_selector, "islands", Direction.MAXIMIZE, params, overlap=lag)
    selector, scores = restarting_over(make, patience, Direction.MAXIMIZE), np.random.default_rng(seed)
    held = [committed_step(0, 0, (), [0.0])]
    for number in range(1, 36):
        while held and held[0].step <= max(0, number - 1 - lag):
            selector.observe(held.pop(0))
        parents = selector.choose(0, 1, np.random.default_rng([seed, number])).parents
        assert all(key == INITIAL or key.step % islands == number % islands for key in parents)
        held.append(committed_step(0, number, parents, [float(scores.integers(-3, 4))]))
