"""Rewards and advantages by name: one number for each attempt of a step, derived at export, never stored as scores.

All go through the problem's direction, so that more is always better: of a problem that minimises, the reward is the
score with its sign turned. Numbers are finite; what would be larger than the largest float is that.

What of an attempt without a score? It is never zero. Rewards of an attempt alone (``trajectory_best``, ``own_score``,
``improvement``) are None for it. Rewards within the group of siblings follow their sources, where every attempt of a
group has a number and a failure has the lowest: there a failure counts as the worst score among its siblings, so that
no number is made up, and none has a better one. Where no sibling has a score, nothing is known of the group, and all
are None. An attempt that was not evaluated is None, and none of the group.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from discovery.errors import ConfigError
from discovery.records import CandidateKey
from discovery.trajectories.records import Attempt, Sample, TrajectoryOutline

Numbers = tuple[float | None, ...]

MAX_AT = 4
"""The k of ``max_at_k``; it tells siblings apart where a step has more of them than that."""

ENTROPIC_KL = math.log(2)
"""How far, in nats, ``entropic`` tilts the siblings' distribution from the uniform one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """One way to turn the scores of a step into numbers to train by.

    Args:
        name: Its name.
        formula: What it is, in one line; r is a score through the direction, larger is better.
        source: Where it comes from.
        of: Makes one number for each attempt of a sample, in their order.
    """

    name: str
    formula: str
    source: str
    of: Callable[[Sample], Numbers]


def of_sample(sample: Sample, names: Sequence[str]) -> dict[str, Numbers]:
    """The rewards of those names, one number for each attempt, None where it is not defined.

    Raises:
        ConfigError: There is no reward of that name.
    """
    return {name: REWARDS[name].of(sample) for name in known(names)}


def known(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, each of them the name of a reward.

    Raises:
        ConfigError: One is not.
    """
    for name in names:
        if name not in REWARDS:
            raise ConfigError(f"there is no reward {name!r}; it must be one of {', '.join(REWARDS)}")
    return tuple(names)


# Of an attempt and its trajectory


def trajectory_best(sample: Sample) -> Numbers:
    """The final best of the trajectory, for the attempt that was committed.

    A stepping stone earns what it led to, whatever it scored itself. Siblings that were not committed led to nothing
    and are None: the recipe trains on committed attempts only.

    Source: SimpleTES, arXiv 2604.19341, iterative rejection-sampling fine-tuning.
    """
    best = _better_is_larger(sample, sample.trajectory.best_score)
    return tuple(best if attempt.is_committed else None for attempt in sample.attempts)


def own_score(sample: Sample) -> Numbers:
    """The attempt's own score: the control for credit by trajectory.

    Source: rejection sampling by the reward of each sample, as in RAFT, arXiv 2304.06767.
    """
    return tuple(_better_is_larger(sample, attempt.score) for attempt in sample.attempts)


def improvement(sample: Sample) -> Numbers:
    """How much better the attempt is than the first of the parents that its prompt showed, below zero for worse.

    None where that parent's score does not count.

    Source: potential-based shaping with the score as potential, Ng, Harada and Russell, ICML 1999.
    """
    parents = sample.step.parents
    before = _better_is_larger(sample, _score_of(sample.trajectory, parents[0])) if parents else None
    after = own_score(sample)
    return tuple(None if r is None or before is None else _finite(r - before) for r in after)


def _score_of(trajectory: TrajectoryOutline, key: CandidateKey) -> float | None:
    """The score of a parent: the initial candidate or what an earlier step of the chain has committed."""
    if key.is_initial:
        return trajectory.initial_score
    at = next((step for step in trajectory.steps[key.step - 1 : key.step] if step.committed == key), None)
    return at.score if at is not None else None


# Within a group of siblings


def rank(sample: Sample) -> Numbers:
    """The share of the other siblings that the attempt beats, from 0 to 1; one that is as good counts half.

    A failure is beaten by every sibling that has a score, and as good as other failures. None for one without
    siblings.

    Source: fitness shaping by ranks, Wierstra et al., Natural Evolution Strategies, JMLR 15 (2014); with mid-ranks for
    ties.
    """

    def ranked(group: Sequence[float | None]) -> list[float | None]:
        if len(group) < 2:
            return [None] * len(group)
        keys = [-math.inf if r is None else r for r in group]
        beaten = [sum((k < key) + 0.5 * (k == key) for k in keys) - 0.5 for key in keys]
        return [each / (len(keys) - 1) for each in beaten]

    return _in_group(sample, ranked)


def max_at_k(sample: Sample, k: int = MAX_AT) -> Numbers:
    """The attempt's share of the credit for the best of k.

    ``s_i``: the sum, over all subsets of k siblings that hold i, of the subset's best r, by the number of all subsets
    of k. All ``s_i`` together are k times the unbiased estimate of the expected best of k. With ``r`` ascending, the
    best of a subset is its last, so that ``C(n, k) s_i = C(i-1, k-1) r_i + sum over j > i of C(j-2, k-2) r_j``. None
    in a group of fewer than k.

    Source: Pass@K Policy Optimization, Walder and Karkhanis, arXiv 2505.15201, the estimator for continuous rewards
    that leaves nothing out and has no baseline.
    """

    def credited(group: Sequence[float | None]) -> list[float | None]:
        scores = _failures_as_worst(group)
        n = len(scores)
        if not 1 <= k <= n:
            return [None] * n
        subsets = math.comb(n, k)
        order = sorted(range(n), key=scores.__getitem__)
        credit = [0.0] * n
        after = 0.0  # of those that are better, for each of them the share of subsets in which it is the best of both
        for place in range(n - 1, -1, -1):  # place is i - 1
            r = scores[order[place]]
            credit[order[place]] = _finite(math.comb(place, k - 1) / subsets * r + after)
            if k > 1 and place:
                after = _finite(after + math.comb(place - 1, k - 2) / subsets * r)
        return list(credit)

    return _in_group(sample, credited)


def entropic(sample: Sample) -> Numbers:
    """How much more likely the attempt is to be worth following than its siblings, by an exponential of its score.

    ``w_i - 1`` with ``w_i = exp(b r_i) / mean over j != i of exp(b r_j)``, where b is the one for which
    ``KL(softmax(b r) || uniform) = ln 2``, found by bisection. Scores matter by their order and relative distances
    only, not by their units. Where the best are half of the siblings or more, no finite b comes so far, and the limit
    of large b is taken: ``(n - 1) / (m - 1) - 1`` for each of m bests, -1 for the others; where all are equal, that is
    0. For one of two it has no limit: None, as for one alone.

    Source: TTT-Discover, Learning to Discover at Test Time, section 3.2 (entropic objective, adaptive beta).
    """

    def advantages(group: Sequence[float | None]) -> list[float | None]:
        scaled = _scaled(_failures_as_worst(group))
        n, bests = len(scaled), scaled.count(1.0)
        if 2 * bests >= n:  # n is 1 or more
            if bests == 1:
                return [None] * n
            return [(n - 1) / (bests - 1) - 1 if each == 1.0 else -1.0 for each in scaled]
        b = _tilted_by(scaled, ENTROPIC_KL)
        powers = [math.exp(b * (each - 1)) for each in scaled]
        total = math.fsum(powers)
        return [_finite(power / ((total - power) / (n - 1)) - 1) for power in powers]

    return _in_group(sample, advantages)


def group_relative(sample: Sample) -> Numbers:
    """The attempt's distance from the siblings' mean, in their standard deviations (of the group, not estimated).

    0 for all where all are equal: then nothing tells them apart. None for one without siblings.

    Source: GRPO, DeepSeekMath, arXiv 2402.03300, section 4.1.
    """

    def advantages(group: Sequence[float | None]) -> list[float | None]:
        n = len(group)
        if n < 2:
            return [None] * n
        scaled = _scaled(_failures_as_worst(group))
        mean = math.fsum(scaled) / n
        deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in scaled) / n)
        if min(scaled) == 1.0:
            return [0.0] * n
        return [(each - mean) / deviation for each in scaled]

    return _in_group(sample, advantages)


def _in_group(sample: Sample, formula: Callable[[Sequence[float | None]], Sequence[float | None]]) -> Numbers:
    """What a formula makes of the attempts that were evaluated; it gets None for a failure, and one score at least."""
    group = [
        attempt for attempt in sample.attempts if attempt.score is not None or attempt.failure is not None
    ]
    scores = [_better_is_larger(sample, attempt.score) for attempt in group]
    if not any(score is not None for score in scores):
        return (None,) * len(sample.attempts)
    numbers = dict(zip(map(_place, group), formula(scores), strict=True))
    return tuple(numbers.get(_place(attempt)) for attempt in sample.attempts)


def _place(attempt: Attempt) -> CandidateKey:
    return attempt.key


def _failures_as_worst(group: Sequence[float | None]) -> list[float]:
    worst = min(score for score in group if score is not None)
    return [worst if score is None else score for score in group]


def _scaled(scores: Sequence[float]) -> list[float]:
    """Scores from 0 (the worst) to 1 (the best); all 1 where they are equal, or differ by less than floats tell."""
    low, high = min(scores) / 2, max(scores) / 2  # the whole span may be more than the largest float
    span = high - low
    return [1 - (high - score / 2) / span if span else 1.0 for score in scores]


def _tilted_by(scaled: Sequence[float], divergence: float) -> float:
    """The b for which softmax(b r) is that far from the uniform distribution; there is one."""

    def reached(b: float) -> float:
        powers = [math.exp(b * (each - 1)) for each in scaled]
        total = math.fsum(powers)
        shares = [power / total for power in powers]
        return math.log(len(shares)) + math.fsum(share * math.log(share) for share in shares if share)

    low, high = 0.0, 1.0
    while reached(high) < divergence:
        low, high = high, 2 * high
    middle = (low + high) / 2
    while low < middle < high:
        low, high = (middle, high) if reached(middle) < divergence else (low, middle)
        middle = (low + high) / 2
    return high


def _better_is_larger(sample: Sample, score: float | None) -> float | None:
    return None if score is None else sample.trajectory.direction.key(score)


def _finite(value: float) -> float:
    return min(max(value, -sys.float_info.max), sys.float_info.max)


REWARDS: Mapping[str, Reward] = {
    reward.name: reward
    for reward in (
        Reward(
            name="trajectory_best",
            formula="best r of the trajectory, for the committed attempt",
            source="SimpleTES, arXiv 2604.19341 (iterative rejection-sampling fine-tuning)",
            of=trajectory_best,
        ),
        Reward(name="own_score", formula="r", source="RAFT, arXiv 2304.06767", of=own_score),
        Reward(
            name="improvement",
            formula="r - r of the first parent",
            source="Ng, Harada and Russell, ICML 1999 (shaping by potential)",
            of=improvement,
        ),
        Reward(
            name="rank",
            formula="share of the other siblings that it beats, ties count half",
            source="Wierstra et al., JMLR 15 (2014) (rank-based fitness)",
            of=rank,
        ),
        Reward(
            name="max_at_k",
            formula=f"sum of max r over subsets of {MAX_AT} siblings that hold it / number of subsets of {MAX_AT}",
            source="Pass@K Policy Optimization, arXiv 2505.15201",
            of=max_at_k,
        ),
        Reward(
            name="entropic",
            formula="exp(b r_i) / mean over j != i of exp(b r_j) - 1, with KL(softmax(b r) || uniform) = ln 2",
            source="TTT-Discover, Learning to Discover at Test Time",
            of=entropic,
        ),
        Reward(
            name="group_relative",
            formula="(r - mean) / standard deviation of the siblings",
            source="GRPO, DeepSeekMath, arXiv 2402.03300",
            of=group_relative,
        ),
    )
}
"""All of them by name."""
