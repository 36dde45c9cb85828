"""Scores -> rewards and advantages."""

import itertools
import math
import sys
from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from discovery.errors import ConfigError
from discovery.records import INITIAL, CandidateKey, Direction, FailureKind, Prompt, Step, StepState
from discovery.trajectories import rewards
from discovery.trajectories.records import Attempt, Sample, Split, StepOutline, TrajectoryOutline
from discovery.trajectories.rewards import REWARDS, of_sample

UNJUDGED = "unjudged"
GROUP = ("rank", "max_at_k", "entropic", "group_relative")
ALONE = ("trajectory_best", "own_score", "improvement")


def sample(scores, *, direction=Direction.MAXIMIZE, initial=0.0, parents=(INITIAL,), best=None, earlier=()):
    """The step after some earlier ones, with one sibling per score: a number, None for a failure, or UNJUDGED."""
    number = len(earlier) + 1
    keys = [CandidateKey(0, number, index) for index in range(len(scores))]
    counting = [
        (direction.key(score), -index) for index, score in enumerate(scores) if isinstance(score, float)
    ]
    committed = keys[-max(counting)[1]] if counting else None
    attempts = tuple(
        Attempt(
            key=key,
            completion=None,
            candidate=None,
            evaluation=None,
            score=score if isinstance(score, float) else None,
            failure=FailureKind.CRASHED if score is None else None,
            is_committed=key == committed,
        )
        for key, score in zip(keys, scores, strict=True)
    )
    own = direction.key(max(counting)[0]) if counting else None
    every = [*earlier, own]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Sample(
        trajectory=TrajectoryOutline(
            run="run-1",
            chain=0,
            problem="toy",
            problem_version="v1",
            direction=direction,
            model=None,
            initial_score=initial,
            steps=tuple(
                StepOutline(
                    step=step,
                    committed=None if score is None else CandidateKey(0, step, 0),
                    score=score,
                    best_after=score,
                )
                for step, score in enumerate(every, start=1)
            ),
            best=committed,
            best_score=own if best is None else best,
            best_step=number,
        ),
        step=Step(
            chain=0,
            step=number,
            state=StepState.COMMITTED,
            parents=parents,
            selector="rpucg",
            committed=committed,
            planned_at=now,
        ),
        prompt=Prompt(chain=0, step=number, messages=(), parents=parents),
        attempts=attempts,
        weight=1.0,
        split=Split.TRAIN,
    )


def of(name, scores, **more):
    return of_sample(sample(scores, **more), [name])[name]


numbers = st.one_of(
    st.integers(-3, 3).map(float),
    st.floats(-1e6, 1e6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([sys.float_info.max, -sys.float_info.max, 5e-324, 0.0, -0.0, 1.0, 1.0 + 2**-52]),
)
siblings = st.lists(st.one_of(numbers, st.none(), st.just(UNJUDGED)), min_size=1, max_size=9)
directions = st.sampled_from(list(Direction))
counted = st.lists(st.one_of(st.integers(-20, 20).map(float), st.none()), min_size=1, max_size=9)


@given(siblings, directions, numbers)
def test_every_number_is_finite_and_none_is_made_up(scores, direction, initial):
    found = of_sample(sample(scores, direction=direction, initial=initial), list(REWARDS))
    nothing = not any(isinstance(score, float) for score in scores)
    for name, made in found.items():
        assert len(made) == len(scores)
        assert all(number is None or math.isfinite(number) for number in made)
        for score, number in zip(scores, made, strict=True):
            if score is UNJUDGED or nothing or (score is None and name in ALONE):
                assert number is None, f"{name} of {score}"


@given(siblings, directions)
def test_a_better_score_has_no_lower_reward_and_a_failure_no_higher_one(scores, direction):
    made = of_sample(sample(scores, direction=direction), [*GROUP, "own_score", "improvement"])
    for found in made.values():
        pairs = [
            (-math.inf if score is None else direction.key(score), number)
            for score, number in zip(scores, found, strict=True)
            if number is not None
        ]
        for (quality, number), (other, against) in itertools.product(pairs, pairs):
            if quality > other:
                slack = 1e-12 * max(abs(number), abs(against))
                assert number >= against - slack
            if quality == other:
                assert number == pytest.approx(against, rel=1e-9, abs=1e-300)


@given(siblings, numbers)
def test_of_a_problem_that_minimises_all_is_mirrored(scores, initial):
    mirrored = [-score if isinstance(score, float) else score for score in scores]
    maximised = of_sample(sample(scores, initial=initial), list(REWARDS))
    minimised = of_sample(sample(mirrored, initial=-initial, direction=Direction.MINIMIZE), list(REWARDS))
    assert maximised == minimised


@given(counted, st.integers(-1000, 1000), st.integers(-20, 20), directions)
def test_units_do_not_matter_where_siblings_are_compared(scores, shift, power, direction):
    changed = [None if score is None else (score + shift) * 2.0**power for score in scores]
    for name in ("rank", "entropic", "group_relative"):
        before, after = of(name, scores, direction=direction), of(name, changed, direction=direction)
        assert [each is None for each in before] == [each is None for each in after]
        for a, b in zip(before, after, strict=True):
            assert a is None or a == pytest.approx(b, rel=1e-6, abs=1e-9)
    before, after = of("max_at_k", scores), of("max_at_k", changed)
    share = rewards.MAX_AT / len(scores)  # of all subsets, those that hold one given sibling
    for a, b in zip(before, after, strict=True):
        assert a is None or b == pytest.approx((a + share * shift) * 2.0**power, rel=1e-6, abs=1e-6)


@given(counted, st.integers(-1000, 1000))
def test_an_improvement_is_the_same_wherever_zero_is(scores, shift):
    moved = [None if score is None else score + shift for score in scores]
    assert of("improvement", scores) == of("improvement", moved, initial=float(shift))


def test_the_committed_attempt_earns_what_its_trajectory_came_to():
    assert of("trajectory_best", [1.0, 3.0, None], best=9.0) == (None, 9.0, None)
    lower = of("trajectory_best", [1.0, 3.0], best=0.5, direction=Direction.MINIMIZE)
    assert lower == (-0.5, None)


def test_an_improvement_is_over_the_first_parent():
    assert of("improvement", [1.0, 4.0, None], initial=1.5) == (-0.5, 2.5, None)
    shown = (CandidateKey(0, 2, 0), CandidateKey(0, 1, 0), INITIAL)
    assert of("improvement", [1.0, 4.0], parents=shown, earlier=[7.0, 3.0]) == (-2.0, 1.0)
    lower = of("improvement", [1.0, 4.0], parents=shown, earlier=[7.0, 3.0], direction=Direction.MINIMIZE)
    assert lower == (2.0, -1.0)


@pytest.mark.parametrize(
    "unknown",
    [
        {"initial": None},
        {"parents": ()},
        {"parents": (CandidateKey(0, 1, 0),), "earlier": [None]},
        {"parents": (CandidateKey(0, 1, 1),), "earlier": [2.0]},
        {"parents": (CandidateKey(0, 9, 0),)},
    ],
)
def test_there_is_no_improvement_over_what_is_not_known(unknown):
    assert of("improvement", [1.0, 2.0], **unknown) == (None, None)


def test_ranks_are_shared_and_failures_are_last():
    assert of("rank", [5.0, 1.0, 5.0, None, None]) == (0.875, 0.5, 0.875, 0.125, 0.125)
    assert of("rank", [5.0, 1.0], direction=Direction.MINIMIZE) == (0.0, 1.0)
    assert of("rank", [5.0]) == (None,)
    assert of("rank", [5.0, UNJUDGED]) == (None, None)
    assert of("rank", [2.0, 2.0, 2.0]) == (0.5, 0.5, 0.5)


@given(st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=7), st.integers(1, 7))
def test_the_credit_for_the_best_of_k_is_the_sum_over_all_subsets(scores, k):
    made = rewards.max_at_k(sample(scores), k)
    if k > len(scores):
        assert made == (None,) * len(scores)
        return
    subsets = list(itertools.combinations(range(len(scores)), k))
    for index, credit in enumerate(made):
        best = [max(scores[i] for i in subset) for subset in subsets if index in subset]
        assert credit == pytest.approx(sum(best) / len(subsets), abs=1e-9)
    expected = sum(max(scores[i] for i in subset) for subset in subsets) / len(subsets)
    assert sum(made) == pytest.approx(k * expected, abs=1e-9)


def test_a_failure_is_credited_as_the_worst_of_its_siblings():
    assert of("max_at_k", [3.0, None, 1.0, 7.0, 2.0]) == of("max_at_k", [3.0, 1.0, 1.0, 7.0, 2.0])
    assert of("group_relative", [3.0, None, 1.0]) == of("group_relative", [3.0, 1.0, 1.0])
    assert of("entropic", [3.0, None, 1.0]) == of("entropic", [3.0, 1.0, 1.0])


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=9, unique=True))
def test_the_entropic_weights_are_one_bit_from_uniform(scores):
    made = of("entropic", scores)
    # Of w = p / ((1 - p) / (n - 1)), where p is the softmax: p can be found again.
    n = len(scores)
    shares = [(a + 1) / (a + n) for a in made]
    assert math.fsum(shares) == pytest.approx(1.0, abs=1e-9)
    divergence = math.log(n) + math.fsum(p * math.log(p) for p in shares if p > 0)
    assume(len({round((s - min(scores)) / (max(scores) - min(scores)), 12) for s in scores}) == n)
    assert divergence == pytest.approx(math.log(2), abs=1e-6)
    # One b for all: log p is linear in the score.
    low, high = sorted(scores)[-2:]
    logs = {s: math.log(p) for s, p in zip(scores, shares, strict=True) if p > 1e-9}
    if low in logs:
        b = (logs[high] - logs[low]) / (high - low)
        for s, log in logs.items():
            assert log == pytest.approx(logs[high] - b * (high - s), rel=1e-5, abs=1e-5)


def test_where_no_weight_can_be_one_bit_from_uniform():
    assert of("entropic", [2.0, 2.0, 2.0]) == (0.0, 0.0, 0.0), "equal ones tell nothing"
    assert of("entropic", [2.0]) == (None,)
    assert of("entropic", [2.0, 1.0]) == (None, None)
    assert of("entropic", [2.0, 2.0, 1.0]) == (1.0, 1.0, -1.0)
    assert of("entropic", [2.0, 1.0, 2.0, 1.0]) == (2.0, -1.0, 2.0, -1.0)


def test_distances_are_counted_in_deviations_of_the_group():
    assert of("group_relative", [1.0, 3.0]) == (-1.0, 1.0)
    assert of("group_relative", [1.0, 3.0], direction=Direction.MINIMIZE) == (1.0, -1.0)
    assert of("group_relative", [0.1, 0.1, 0.1]) == (0.0, 0.0, 0.0)
    assert of("group_relative", [0.1, UNJUDGED]) == (None, None)
    a, b, c = of("group_relative", [0.0, 0.0, 3.0])
    assert (a, b, c) == pytest.approx((-math.sqrt(0.5), -math.sqrt(0.5), math.sqrt(2)))


@pytest.mark.parametrize("name", list(REWARDS))
def test_the_largest_scores_do_not_overflow(name):
    largest = sys.float_info.max
    made = of(name, [largest, -largest, 0.0, largest / 2, None], initial=-largest)
    assert all(number is None or math.isfinite(number) for number in made)
    assert made[0] is not None


def test_a_reward_tells_its_formula_and_its_source():
    for name, reward in REWARDS.items():
        assert (reward.name, bool(reward.formula), bool(reward.source)) == (name, True, True)
        assert reward.of.__doc__ is not None
        assert "Source: " in reward.of.__doc__
    with pytest.raises(ConfigError, match="there is no reward 'best'; it must be one of trajectory_best"):
        of_sample(sample([1.0]), ["best"])
