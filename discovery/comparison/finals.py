"""What settings of equal budget came to: their final scores, how sure their differences are, and which is best.

Seeds are pairs: a setting is compared with another seed by seed. p is of Wilcoxon's signed ranks, exact and two-sided,
and corrected by Holm: against a baseline for the number of settings that are compared with it, between all settings for
the number of all pairs, since the best one was not known before.

How sure a recommendation is, is a share of resamples: seeds are drawn with replacement, the same for all settings,
and the share is how often the setting has the best median. It says how much the choice hangs on the seeds that were
run, not how likely it is true; what five seeds cannot tell, resampling them cannot either, and so it is shown beside
p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from discovery import intervals
from discovery.comparison.curves import SettingCurves
from discovery.intervals import Interval, Pair
from discovery.records import Direction
from discovery.significance import holm, paired_test, pairs_needed, smallest_p, superiority

ALPHA = 0.05
"""A corrected p below this, or at it, is called a difference."""
RESAMPLES = 4000
_POINTS = 160
"""So many points a band has at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """One setting against another of the same budget, paired by seed.

    Args:
        other: What it is compared with.
        gain: How much better it is on average, in units of the score, negative where it is worse.
        wins: Seeds in which it is better.
        ties: Seeds in which both are the same.
        superiority: How likely one of its scores is better than one of the other's, a tie counting half.
        p: Of this difference by chance, two-sided.
        corrected: The same, corrected for all that were compared.
    """

    other: str
    gain: Interval
    wins: int
    ties: int
    superiority: float
    p: float
    corrected: float

    @property
    def is_told(self) -> bool:
        """Whether there is a difference."""
        return self.corrected <= ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """What one setting came to.

    Args:
        curves: Its runs.
        median: Of its final scores.
        mean: Of them, with the bootstrap's interval of 95 %.
        best_share: In how many of the resamples of the seeds it has the best median, 0 to 1.
        against_baseline: Compared with the baseline; None for itself, and where there is none.
        against_leader: Compared with the best setting; None for itself.
    """

    curves: SettingCurves
    median: float
    mean: Interval
    best_share: float
    against_baseline: Contrast | None
    against_leader: Contrast | None

    @property
    def name(self) -> str:
        """The setting's."""
        return self.curves.setting.name


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFinals:
    """The settings that spent one budget.

    Args:
        budget: N, in evaluations.
        finals: The settings: first those that have the best median most often, then by their medians.
        baseline: Name of the baseline, if there is one.
        seeds: How many pairs each difference has.
    """

    budget: int
    finals: tuple[Final, ...]
    baseline: str | None
    seeds: int

    @property
    def leader(self) -> Final:
        """The one that has the best median most often: what is recommended."""
        return self.finals[0]

    @property
    def rivals(self) -> tuple[Final, ...]:
        """Those that the leader cannot be told from, neither among all settings nor as baseline and compared one."""
        return tuple(final for final in self.finals[1:] if not self._is_told(final))

    def _is_told(self, final: Final) -> bool:
        contrasts = [final.against_leader]
        if final.name == self.baseline:
            contrasts.append(self.leader.against_baseline)
        if self.leader.name == self.baseline:
            contrasts.append(final.against_baseline)
        return any(contrast is not None and contrast.is_told for contrast in contrasts)

    @property
    def smallest_p(self) -> float:
        """The smallest corrected p that so many seeds can show against the baseline, or between all settings."""
        return smallest_p(self.seeds, tests=self._tests)

    @property
    def seeds_needed(self) -> int:
        """Seeds from which on a difference that all of them show is told."""
        return pairs_needed(ALPHA, tests=self._tests)

    @property
    def _tests(self) -> int:
        others = len(self.finals) - 1
        return max(1, others if self.baseline is not None else others * (others + 1) // 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The median over seeds against evaluations, and where it may lie.

    Args:
        evaluations: From 0 to N, at most 160 of them.
        median: Best score after so many.
        low: Lower end of the bootstrap's interval of 95 %.
        high: Upper end.
    """

    evaluations: NDArray[np.int64]
    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def compared(curves: Sequence[SettingCurves], direction: Direction) -> BudgetFinals:
    """Compare settings that spent the same budget.

    Args:
        curves: Their runs, over the same seeds; at least one.
        direction: Which scores are better.
    """
    scores = {one.setting.name: one.finals for one in curves}
    baseline = next((one.setting.name for one in curves if one.setting.is_baseline), None)
    shares = dict(zip(scores, best_shares(list(scores.values()), direction), strict=True))
    ordered = sorted(
        curves, key=lambda one: (shares[one.setting.name], *_rank(one.finals, direction)), reverse=True
    )
    leader = ordered[0].setting.name
    pairs = list(combinations(scores, 2))
    ps = {pair: paired_test(scores[pair[0]], scores[pair[1]], direction) for pair in pairs}
    among_all = dict(zip(pairs, holm(list(ps.values())), strict=True))
    rest = [pair for pair in pairs if baseline in pair]
    with_baseline = dict(zip(rest, holm([ps[pair] for pair in rest]), strict=True))

    def contrast(name: str, other: str | None, corrected: dict[tuple[str, str], float]) -> Contrast | None:
        if other is None or other == name:
            return None
        pair = (name, other) if (name, other) in ps else (other, name)
        return _contrast(other, scores[name], scores[other], direction, ps[pair], corrected[pair])

    return BudgetFinals(
        budget=curves[0].setting.budget,
        finals=tuple(
            Final(
                curves=one,
                median=float(np.median(one.finals)),
                mean=intervals.mean([[score] for score in one.finals]),
                best_share=shares[one.setting.name],
                against_baseline=contrast(one.setting.name, baseline, with_baseline),
                against_leader=contrast(one.setting.name, leader, among_all),
            )
            for one in ordered
        ),
        baseline=baseline,
        seeds=len(curves[0].runs),
    )


def _rank(finals: Sequence[float], direction: Direction) -> tuple[float, float]:
    return direction.key(float(np.median(finals))), direction.key(float(np.mean(finals)))


def _contrast(
    other: str,
    own: Sequence[float],
    others: Sequence[float],
    direction: Direction,
    p: float,
    corrected: float,
) -> Contrast:
    unit = 1.0 if direction is Direction.MAXIMIZE else -1.0
    pair = Pair(before=[[score] for score in others], after=[[score] for score in own], unit=unit)
    return Contrast(
        other=other,
        gain=intervals.difference(pair),
        wins=sum(direction.better(a, b) for a, b in zip(own, others, strict=True)),
        ties=sum(a == b for a, b in zip(own, others, strict=True)),
        superiority=superiority(own, others, direction),
        p=p,
        corrected=corrected,
    )


def best_shares(finals: Sequence[Sequence[float]], direction: Direction) -> list[float]:
    """In how many resamples of the seeds each setting has the best median; ties share.

    Args:
        finals: For each setting one score for each seed, the same seeds in the same order.
        direction: Which scores are better.
    """
    keys = np.array([[direction.key(score) for score in of] for of in finals])
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, keys.shape[1], size=(RESAMPLES, keys.shape[1]))
    medians = np.array([np.median(of[drawn], axis=1) for of in keys])
    is_best = medians == medians.max(axis=0)
    shares = (is_best / is_best.sum(axis=0)).mean(axis=1)
    return [float(share) for share in shares]


def band(curves: SettingCurves) -> Band:
    """The median over seeds against evaluations.

    Resampled medians; where there are fewer than 6 seeds that is from the worst to the best of them.

    Args:
        curves: The runs of a setting.
    """
    best = curves.best
    last = best.shape[1] - 1
    places = np.unique(np.linspace(0, last, min(_POINTS, last + 1)).round().astype(np.int64))
    shown = best[:, places]
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(shown), size=(RESAMPLES // 4, len(shown)))
    medians = np.median(shown[drawn], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975], axis=0)
    return Band(evaluations=places, median=np.median(shown, axis=0), low=low, high=high)
