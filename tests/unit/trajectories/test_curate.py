"""Which steps a filter keeps."""

import dataclasses
import math
import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from discovery.errors import ConfigError
from discovery.records import CandidateKey, Direction
from discovery.trajectories.curate import curated, replayed, split_of
from discovery.trajectories.records import Filter, Keep, Split, StepOutline, TrajectoryOutline


def outline(
    scores, *, run="run-1", chain=0, problem="toy", version="v1", direction=Direction.MAXIMIZE, initial=0.0
):
    """An outline with one step for each score; None for a step that committed nothing."""
    steps, best, after = [], None, initial
    for number, score in enumerate(scores, start=1):
        if score is not None and direction.better(score, after):
            after = score
        key = None if score is None else CandidateKey(chain, number, 0)
        steps.append(StepOutline(step=number, committed=key, score=score, best_after=after))
        if score is not None and direction.better(score, best and best.score):
            best = steps[-1]
    return TrajectoryOutline(
        run=run,
        chain=chain,
        problem=problem,
        problem_version=version,
        direction=direction,
        model="m",
        initial_score=initial,
        steps=tuple(steps),
        best=best and best.committed,
        best_score=best and best.score,
        best_step=best and best.step,
    )


def chosen(selection):
    return {each.trajectory.place: each.steps for each in selection.selected}


scores = st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(allow_nan=False, allow_infinity=False))
directions = st.sampled_from(list(Direction))


@st.composite
def some_outlines(draw):
    """Trajectories of a few runs and problems."""
    found = []
    for run in range(draw(st.integers(1, 4))):
        problem = draw(st.sampled_from(["toy", "other"]))
        direction = Direction.MINIMIZE if problem == "toy" else Direction.MAXIMIZE
        version, initial = draw(st.sampled_from(["v1", "v2"])), draw(scores)
        for chain in range(draw(st.integers(1, 6))):
            steps = draw(st.lists(scores, max_size=5))
            place = {"run": f"run-{run}", "chain": chain, "problem": problem, "version": version}
            found.append(outline(steps, **place, direction=direction, initial=initial))
    return found


filters = st.builds(
    Filter,
    keep=st.sampled_from(list(Keep)),
    top_percent=st.floats(1e-6, 100),
    truncate=st.booleans(),
    improving_only=st.booleans(),
    validation_percent=st.floats(0, 50),
    split_by=st.sampled_from(["trajectory", "problem"]),
    seed=st.integers(0, 2**63 - 1),
)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"keep": "best"}, "keep is 'best'; it must be one of trajectory, step, random, all"),
        ({"split_by": "row"}, "split_by is 'row'; it must be one of trajectory, problem"),
        ({"top_percent": 0}, "top_percent is 0"),
        ({"top_percent": 100.5}, "top_percent is 100.5"),
        ({"top_percent": math.nan}, "top_percent is nan"),
        ({"validation_percent": 51.0}, "validation_percent is 51.0"),
        ({"validation_percent": -1.0}, "validation_percent is -1.0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_a_filter_out_of_range_is_refused(setting, told):
    with pytest.raises(ConfigError, match=told):
        Filter(**setting)


def test_a_filter_takes_its_rule_as_text():
    trajectory = outline([1.0])
    assert chosen(curated([trajectory], Filter(keep="all"))) == {("run-1", 0): (1,)}


def test_the_best_trajectories_are_kept_up_to_the_first_occurrence_of_their_best():
    trajectories = [
        outline([1.0, None, 5.0, 2.0, 5.0], chain=0),
        outline([2.0, 3.0], chain=1),
        outline([4.0], chain=2),
        outline([None, None], chain=3),
    ]
    best = curated(trajectories, Filter(top_percent=34))
    assert chosen(best) == {("run-1", 0): (1, 3), ("run-1", 2): (1,)}, "34 % of 3 are 2, rounded up"
    assert best.left_out == {"not among the top 34 %": 1, "nothing valid was committed": 1}
    assert [each.weight for each in best.selected] == [1.0, 1.0]
    whole = curated(trajectories, Filter(top_percent=1, truncate=False))
    assert chosen(whole) == {("run-1", 0): (1, 3, 4, 5)}


def test_of_a_problem_that_minimises_the_lowest_are_kept():
    trajectories = [
        outline([3.0, score], chain=i, direction=Direction.MINIMIZE, initial=9.0)
        for i, score in enumerate([2.0, 5.0])
    ]
    assert chosen(curated(trajectories, Filter(top_percent=50))) == {("run-1", 0): (1, 2)}


def test_a_percentage_that_comes_out_even_is_not_rounded_up():
    trajectories = [outline([float(i)], chain=i, initial=-1.0) for i in range(375)]
    assert 375 * 8.8 / 100 > 33, "as floats"
    assert len(curated(trajectories, Filter(top_percent=8.8)).selected) == 33
    assert len(curated(trajectories, Filter(top_percent=8.81)).selected) == 34


def test_what_does_not_beat_the_initial_candidate_is_no_example():
    trajectories = [outline([1.0, 2.0], chain=0, initial=2.0), outline([1.5], chain=1, initial=2.0)]
    for keep in (Keep.TRAJECTORY, Keep.RANDOM, Keep.STEP):
        none = curated(trajectories, Filter(keep=keep, top_percent=100))
        assert (none.selected, sum(none.left_out.values())) == ((), 3 if keep == "step" else 2)
        assert none.left_out.keys() == {"does not beat the initial candidate"}
        every = curated(trajectories, Filter(keep=keep, top_percent=100, improving_only=False))
        assert len(every.selected) == 2
    assert len(curated(trajectories, Filter(keep=Keep.ALL)).selected) == 2
    unknown = [dataclasses.replace(each, initial_score=None) for each in trajectories]
    assert len(curated(unknown, Filter(top_percent=100)).selected) == 2, "anything beats what has no score"


def test_steps_are_kept_by_their_own_scores():
    trajectories = [outline([1.0, 5.0, 4.0, None], chain=0), outline([2.0, 4.0], chain=1)]
    best = curated(trajectories, Filter(keep=Keep.STEP, top_percent=40))
    assert chosen(best) == {("run-1", 0): (2, 3), ("run-1", 1): (2,)}, "the tie is in, and nothing is cut off"
    assert best.left_out == {"not among the top 40 %": 2, "nothing valid was committed": 1}


def test_versions_of_a_problem_are_not_compared_with_each_other():
    trajectories = [
        outline([1.0], run="old", version="v1"),
        outline([9.0], run="new", version="v2"),
        outline([8.0], run="new", chain=1, version="v2"),
    ]
    assert chosen(curated(trajectories, Filter(top_percent=10))) == {("old", 0): (1,), ("new", 0): (1,)}


@given(some_outlines(), filters, st.randoms(use_true_random=False))
def test_the_order_of_what_is_given_and_giving_it_twice_change_nothing(trajectories, filter, order):
    again = [*trajectories, *trajectories[:2]]
    order.shuffle(again)
    assert curated(again, filter) == curated(trajectories, filter)


@given(some_outlines(), some_outlines(), filters)
def test_problems_are_independent_of_each_other(trajectories, others, filter):
    others = [dataclasses.replace(each, problem="third", run=f"third-{each.run}") for each in others]
    both = {**chosen(curated(trajectories, filter)), **chosen(curated(others, filter))}
    assert chosen(curated(trajectories + others, filter)) == both


@given(some_outlines(), filters)
def test_all_are_accounted_for(trajectories, filter):
    selection = curated(trajectories, filter)
    if filter.keep == Keep.STEP:
        total = sum(len(each.steps) for each in trajectories)
        kept = sum(len(each.steps) for each in selection.selected)
    else:
        total, kept = len(trajectories), len(selection.selected)
    assert kept + sum(selection.left_out.values()) == total
    assert all(selection.left_out.values())
    for each in selection.selected:
        assert each.steps
        assert list(each.steps) == sorted(set(each.steps))
        committed = {step.step for step in each.trajectory.steps if step.committed is not None}
        assert committed.issuperset(each.steps)
        if filter.keep in (Keep.TRAJECTORY, Keep.RANDOM) and filter.truncate:
            assert each.steps[-1] == each.trajectory.best_step


@given(st.lists(st.integers(0, 4).map(float), min_size=1, max_size=30), st.floats(1, 100), directions)
def test_ties_are_kept_and_nobody_is_kept_before_a_better_one(values, percent, direction):
    trajectories = [
        outline([value], chain=i, direction=direction, initial=None) for i, value in enumerate(values)
    ]
    kept = [each.trajectory for each in curated(trajectories, Filter(top_percent=percent)).selected]
    assert len(kept) >= math.ceil(len(values) * percent / 100 - 1e-9)
    worst = min(direction.key(each.best_score) for each in kept)
    assert {each.place for each in trajectories if direction.key(each.best_score) >= worst} == {
        each.place for each in kept
    }
    better = sum(direction.key(value) > worst for value in values)
    assert better < max(1, math.ceil(len(values) * percent / 100 - 1e-9))


@given(some_outlines(), filters)
def test_at_random_as_many_are_kept_as_by_outcome(trajectories, filter):
    by_outcome = curated(trajectories, dataclasses.replace(filter, keep=Keep.TRAJECTORY))
    at_random = curated(trajectories, dataclasses.replace(filter, keep=Keep.RANDOM))
    assert len(at_random.selected) == len(by_outcome.selected)


def test_at_random_is_not_by_outcome_and_changes_with_the_seed():
    trajectories = [outline([float(i)], chain=i, initial=-1.0) for i in range(40)]
    drawn = [
        frozenset(chosen(curated(trajectories, Filter(keep=Keep.RANDOM, top_percent=10, seed=seed))))
        for seed in range(20)
    ]
    assert len(set(drawn)) == 20
    assert len(frozenset.union(*drawn)) > 30


@given(some_outlines(), some_outlines(), filters)
def test_more_runs_move_nobody_to_another_side(trajectories, others, filter):
    def sides(selection):
        return {each.trajectory.place: each.split for each in selection.selected}

    others = [dataclasses.replace(each, run=f"more-{each.run}") for each in others]
    before, after = sides(curated(trajectories, filter)), sides(curated(trajectories + others, filter))
    assert all(before[place] is after[place] for place in before.keys() & after.keys())


@given(some_outlines(), filters)
def test_no_trajectory_or_problem_is_on_both_sides(trajectories, filter):
    sides = {}
    for each in curated(trajectories, filter).selected:
        name = each.trajectory.problem if filter.split_by == "problem" else each.trajectory.place
        assert sides.setdefault(name, each.split) is each.split
        assert split_of(each.trajectory, filter) is each.split
    if filter.validation_percent == 0:
        assert Split.VALIDATION not in sides.values()


@pytest.mark.parametrize("split_by", ["trajectory", "problem"])
def test_about_as_many_are_held_out_as_asked_for(split_by):
    many = [outline([1.0], run=f"run-{i}", problem=f"problem-{i}") for i in range(2000)]
    held = [
        split_of(each, Filter(validation_percent=20.0, split_by=split_by)) is Split.VALIDATION
        for each in many
    ]
    assert 330 < sum(held) < 470
    other = [
        split_of(each, Filter(validation_percent=20.0, split_by=split_by, seed=1)) is Split.VALIDATION
        for each in many
    ]
    assert held != other


def test_a_problem_is_on_one_side_with_all_of_its_versions():
    trajectories = [
        outline([1.0], run=f"run-{i}", version=f"v{i}", problem=problem)
        for i in range(40)
        for problem in "abcdef"
    ]
    chosen_ones = curated(trajectories, Filter(split_by="problem", validation_percent=50)).selected
    sides = {(each.trajectory.problem, each.split) for each in chosen_ones}
    assert len(sides) == 6
    assert {split for _, split in sides} == set(Split)


def test_earlier_rounds_come_again_at_less_weight():
    filter = Filter(top_percent=50)
    rounds = [
        curated([outline([n + 1.0], run=f"round-{n}"), outline([n + 0.5], run=f"round-{n}", chain=1)], filter)
        for n in range(3)
    ]
    every = replayed(rounds, decay=0.5)
    assert {each.trajectory.run: each.weight for each in every.selected} == {
        "round-0": 0.25,
        "round-1": 0.5,
        "round-2": 1.0,
    }
    assert every.left_out == {"not among the top 50 %": 3}
    assert every.filter == filter
    with pytest.raises(ConfigError, match="chain 0 of run round-2 is in two rounds"):
        replayed([*rounds, rounds[2]])
    with pytest.raises(ConfigError, match="decay is 0"):
        replayed(rounds, decay=0)
    with pytest.raises(ConfigError, match="no round"):
        replayed([])


def test_one_run_of_many_rounds_competes_with_the_others():
    rng = random.Random(0)
    older = [outline([rng.random()], run="round-0", chain=i) for i in range(10)]
    newer = [outline([1 + rng.random()], run="round-1", chain=i) for i in range(10)]
    assert {each.trajectory.run for each in curated(older + newer, Filter(top_percent=20)).selected} == {
        "round-1"
    }
