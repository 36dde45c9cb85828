"""Which member of a mixture makes which of a step's completions.

Per chain, a fold over its committed steps: other chains' results are a matter of timing. What is chosen is stored with
the planned step (``selection["generators"]``, a name for each index), so that one that is taken up again asks the same.

``weights`` gives each member its share, rounded up or down by one draw for the step, so that over many steps the shares
are as asked for. ``ucb`` gives each completion to the member whose index is highest:

    (mean reward + explore * sqrt(2 ln N / n)) / cost

n, N and the means forget with a half-life, since what a model brings changes as a search goes on. The reward of a
completion is what it improved on the chain's best before its step, on a scale of the improvements seen so far: 0 for
none, 1/2 for a usual one, never more than 1. So it is the same for scores that are negative, minimised, or multiplied
by a thousand. The cost is a completion's mean tokens (times the member's price of one, where all have prices), as a
share of the dearest member's. Prompts are left out: they are the same for all, and how often one was sent is a matter
of timing. So are seconds: a member without tokens, such as the embedded mutations, costs the least that anything may.

Completions of a step are dealt one by one: each counts as tried at once, its reward is not known yet. What was never
tried comes first. Members' completions get neighbouring indices, so that each server is asked once.

Source: P. Auer, N. Cesa-Bianchi, P. Fischer, "Finite-time Analysis of the Multiarmed Bandit Problem", Machine Learning
47 (2002), section 2, for the index; A. Garivier, E. Moulines, "On Upper-Confidence Bound Policies for Switching Bandit
Problems", ALT 2011, section 2, for the discount; L. Tran-Thanh et al., "Knapsack Based Optimal Policies for
Budget-Limited Multi-Armed Bandits", AAAI 2012, for taking the index over the cost.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from discovery.config import ArmsConfig, GeneratorConfig
from discovery.generators import EMBEDDED
from discovery.outcomes import GENERATORS
from discovery.records import CommittedStep, Direction, Json

INDICES = "arms"
"""What the members were ranked by, in a step's ``selection``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A member of a mixture, as it is chosen.

    Args:
        name: Its name.
        weight: Its share, over the sum of all.
        is_free: Whether it spends no tokens.
        token_price: What one of its tokens costs beside one of the others'.
    """

    name: str
    weight: float = 1.0
    is_free: bool = False
    token_price: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealt:
    """Who makes the completions of a step.

    Args:
        names: Of the member for each index.
        values: What they were ranked by, as JSON; empty where they were not.
    """

    names: tuple[str, ...]
    values: Mapping[str, Json] = field(default_factory=dict)

    @property
    def selection(self) -> dict[str, Json]:
        """As it is stored with the step."""
        return {GENERATORS: list(self.names), **({INDICES: dict(self.values)} if self.values else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    """The members of a run's mixture, and how they are chosen.

    Args:
        config: How.
        arms: The members, in their order.
    """

    config: ArmsConfig
    arms: tuple[Arm, ...]

    @staticmethod
    def of(config: ArmsConfig, generator: GeneratorConfig) -> Arms | None:
        """Those of a configuration; None where it is no mixture."""
        if not generator.members:
            return None
        prices = {
            member.name: member.prices.completion
            for member in generator.members
            if member.prices is not None and member.prices.completion
        }
        is_priced = all(m.name in prices for m in generator.members if m.kind != EMBEDDED)
        return Arms(
            config=config,
            arms=tuple(
                Arm(
                    name=member.name,
                    weight=member.weight,
                    is_free=member.kind == EMBEDDED,
                    token_price=prices.get(member.name, 1.0) if is_priced else 1.0,
                )
                for member in generator.members
            ),
        )

    @property
    def learns(self) -> bool:
        """Whether outcomes must tell who made them, and what that took."""
        return self.config.choice == "ucb"

    def dealer(self, direction: Direction) -> Dealer:
        """What deals one chain's completions, having observed nothing."""
        return Bandit(self.config, self.arms, direction) if self.learns else Dealer(self.arms)


class Dealer:
    """Deals the completions of one chain by the members' weights.

    Args:
        arms: The members, at least one.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self._arms = tuple(arms)

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step: nothing is learned from it."""

    def begin_anew(self, first: CommittedStep) -> None:
        """The chain begins anew from its first step."""

    def deal(self, count: int, rng: np.random.Generator) -> Dealt:
        """Who makes each of so many completions.

        Args:
            count: How many.
            rng: Of the step.
        """
        bounds = np.cumsum([arm.weight for arm in self._arms])
        places = (np.arange(count) + rng.random()) * (bounds[-1] / count)
        found = np.minimum(np.searchsorted(bounds, places, side="right"), len(self._arms) - 1)
        return Dealt(names=tuple(self._arms[place].name for place in found))


@dataclass(slots=True)
class _Seen:
    """What is remembered of a member: sums that forget."""

    tried: float = 0.0
    reward: float = 0.0
    counted: float = 0.0
    """Of the tried ones those whose tokens are known."""
    tokens: float = 0.0

    def fade(self, factor: float) -> None:
        self.tried *= factor
        self.reward *= factor
        self.counted *= factor
        self.tokens *= factor


class Bandit(Dealer):
    """Deals the completions of one chain by what each member has brought for its tokens.

    Args:
        config: How much it explores, and how fast it forgets.
        arms: The members, at least one.
        direction: Which scores are better.
    """

    def __init__(self, config: ArmsConfig, arms: Sequence[Arm], direction: Direction) -> None:
        super().__init__(arms)
        self._config = config
        self._direction = direction
        self._fading = 0.5 ** (1.0 / config.half_life)
        self._seen = {arm.name: _Seen() for arm in arms}
        self._best: float | None = None
        self._gains = 0
        self._usual = 0.0

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step; each chain's first is step 0. Costs the same for every step."""
        for seen in self._seen.values():
            seen.fade(self._fading)
        best = before = self._best
        gains: list[float] = []
        for outcome in step.outcomes:
            quality = None if outcome.score is None else self._direction.key(outcome.score)
            gain = 0.0
            if quality is not None:
                if before is not None and quality > before:
                    # Halved, because the difference of two large floats may overflow.
                    gain = quality / 2 - before / 2
                    gains.append(gain)
                best = quality if best is None else max(best, quality)
            found = self._seen.get(outcome.generator or "")
            if found is None:
                continue
            found.tried += 1.0
            found.reward += self._reward(gain)
            if outcome.tokens is not None:
                found.counted += 1.0
                found.tokens += outcome.tokens
        self._best = best
        for gain in gains:
            # A plain mean at first, then one that follows: late improvements are smaller than early ones.
            self._gains = min(self._gains + 1, _USUAL_OF)
            self._usual += (gain - self._usual) / self._gains

    def begin_anew(self, first: CommittedStep) -> None:
        """The chain begins anew: improvements count from its first step, what members bring stays known."""
        scores = (o.score for o in first.outcomes)
        self._best = max((self._direction.key(score) for score in scores if score is not None), default=None)

    def deal(self, count: int, rng: np.random.Generator) -> Dealt:
        """Who makes each of so many completions; ties are broken by a draw of the step.

        Args:
            count: How many.
            rng: Of the step.
        """
        order = [self._arms[place] for place in rng.permutation(len(self._arms))]
        costs = self._costs()
        tried = {name: seen.tried for name, seen in self._seen.items()}
        means = {name: seen.reward / seen.tried if seen.tried else 0.0 for name, seen in self._seen.items()}
        total = sum(tried.values())

        def index(name: str, total: float) -> float:
            # Forgotten all but entirely is as good as never tried.
            if tried[name] < _UNTRIED:
                return math.inf
            radius = math.sqrt(2.0 * math.log(1.0 + total) / tried[name])
            return (means[name] + self._config.explore * radius) / costs[name]

        values = {arm.name: index(arm.name, total) for arm in self._arms}
        dealt: Counter[str] = Counter()
        for _ in range(count):
            name = max(order, key=lambda arm: index(arm.name, total)).name
            dealt[name] += 1
            tried[name] += 1.0
            total += 1.0
        return Dealt(
            names=tuple(arm.name for arm in self._arms for _ in range(dealt[arm.name])),
            values={name: value if math.isfinite(value) else None for name, value in values.items()},
        )

    def _reward(self, gain: float) -> float:
        """An improvement between 0 and 1; a usual one, like the first one of all, is worth a half."""
        if gain <= 0.0:
            return 0.0
        usual = self._usual or gain
        return 1.0 / (1.0 + usual / gain)

    def _costs(self) -> dict[str, float]:
        """What a completion of each member takes, as a share of the dearest one's."""
        known = {
            arm.name: arm.token_price * seen.tokens / seen.counted
            for arm in self._arms
            if (seen := self._seen[arm.name]).counted and not arm.is_free
        }
        dearest = max(known.values(), default=0.0)
        if not dearest:
            return {arm.name: 1.0 for arm in self._arms}
        # What spends tokens that nobody has counted is taken to be as dear as any.
        return {
            arm.name: max(self._config.floor, 0.0 if arm.is_free else known.get(arm.name, dearest) / dearest)
            for arm in self._arms
        }


_USUAL_OF = 8
"""Improvements that the usual one is the mean of."""
_UNTRIED = 1e-6
