"""Successive halving of chains: which of them go on, and with how many evaluations, as a function of committed steps.

A rung stands at a fixed number of evaluations of a chain. Once each chain that goes on has come to it, by its committed
steps, the worst by their best score so far are pruned, and what they leave of the budget is the others'. The rungs of a
run stand where each stage between two of them spends an equal part of the budget: early ones soon, for there are many
chains then.

Nothing here knows the time: the same committed steps, told in any order that keeps each chain's own, give the same
shares. That is why a rung is a barrier; deciding as each chain arrives (ASHA) would let timing choose.

Source: K. Jamieson and A. Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", 2016,
section 3 (successive halving).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from discovery.budget import allot
from discovery.errors import ConfigError
from discovery.records import Direction


def survivors(chains: int, keep: float) -> int:
    """How many of so many chains go on from a rung: at least one of them, while there is one."""
    return min(chains, max(1, math.ceil(chains * keep - 1e-9)))


def settled(total: int, chains: int, rungs: int, keep: float, candidates: int) -> tuple[int, ...]:
    """Where the rungs of a run stand.

    Args:
        total: Evaluations of the run.
        chains: Its chains.
        rungs: How many rungs there are to be; 0 gives none.
        keep: Share of the chains that goes on at each, above 0 and below 1.
        candidates: Evaluations of a step: a rung stands at the end of one.

    Returns:
        Evaluations of a chain at which each stands, ascending.

    Raises:
        ConfigError: There are more rungs than chains to prune, or than steps to prune after.
    """
    places: list[int] = []
    reached, living = 0.0, chains
    for rung in range(rungs):
        if survivors(living, keep) == living:
            raise ConfigError(
                f"rungs is {rungs}, and with {chains} chains of which {keep:g} are kept, {living} would be left after "
                f"{rung}: take at most {rung} rungs, more chains, or keep fewer"
            )
        reached += total / (rungs + 1) / living
        place = int(reached + 1e-9) // candidates * candidates
        if place <= (places[-1] if places else 0):
            raise ConfigError(
                f"rungs is {rungs}, and {total} evaluations on {chains} chains are too few for that: between two rungs "
                f"each chain would have less than one step of {candidates}; take fewer rungs or chains, or more "
                "evaluations"
            )
        places.append(place)
        living = survivors(living, keep)
    return tuple(places)


def refuse_out_of_reach(at: Sequence[int], total: int, chains: int, keep: float) -> None:
    """Refuse rungs that somebody placed where a run never comes; arguments as for :func:`settled`.

    Raises:
        ConfigError: The evaluations are spent before one of them.
    """
    needed, before, living = 0, 0, chains
    for rung, place in enumerate(at, start=1):
        needed += living * (place - before)
        if needed > total:
            raise ConfigError(
                f"at is {list(at)}, and it takes {needed} evaluations to bring {living} chains to rung {rung}, "
                f"of {total} in all; place them lower, or take more evaluations"
            )
        before, living = place, survivors(living, keep)


class Rungs:
    """The shares of a run's chains in its budget.

    Args:
        at: Evaluations of a chain at which each rung stands, ascending; empty for none.
        keep: Share of the chains that goes on at each.
        direction: Which scores are better.
        total: Evaluations of the run.
        spent: What each chain has spent so far, in finished evaluations.
    """

    def __init__(
        self, at: Sequence[int], keep: float, direction: Direction, *, total: int, spent: Sequence[int]
    ) -> None:
        self.at = tuple(at)
        self.passed = 0
        """Rungs that are decided."""
        self._keep = keep
        self._direction = direction
        self._total = total
        self._spent = list(spent)
        self._seen = [0] * len(self._spent)
        self._marks: list[dict[int, float | None]] = [{} for _ in self.at]
        self._going = list(range(len(self._spent)))
        self._ended: set[int] = set()
        self._pruned: dict[int, int] = {}
        self._shares: tuple[int, ...] = ()
        self._share_out()

    def observe(self, chain: int, evaluations: int, best: float | None, *, has_ended: bool = False) -> bool:
        """Take in what a chain has after its next committed step.

        Args:
            chain: Its number.
            evaluations: Its evaluations so far.
            best: Its best score so far, None without any.
            has_ended: Whether it ends with this step by a rule of its own, and so competes at no rung any more.

        Returns:
            Whether that decided a rung.
        """
        self._seen[chain] = evaluations
        if has_ended:
            self._ended.add(chain)
        else:
            for place, marks in zip(self.at, self._marks, strict=True):
                if evaluations >= place:
                    marks.setdefault(chain, best)
        before = self.passed
        while self.passed < len(self.at) and not self.missing:
            self._decide()
        return self.passed > before

    @property
    def missing(self) -> tuple[int, ...]:
        """The chains that are still to come to the next rung; empty where there is none."""
        if self.passed == len(self.at):
            return ()
        there = self._marks[self.passed]
        return tuple(c for c in self._going if c not in there and c not in self._ended)

    def share(self, chain: int) -> int:
        """Evaluations that a chain may spend in all, by what is decided so far."""
        share = self._shares[chain]
        if self.passed < len(self.at) and chain in self._going:
            return min(share, self.at[self.passed])
        return share

    def stands(self, chain: int) -> bool:
        """Whether a chain has come to the next rung, which is not decided yet."""
        return self.passed < len(self.at) and chain in self._going and chain in self._marks[self.passed]

    def pruned_at(self, chain: int) -> int | None:
        """The rung at which a chain was pruned, from 1; None where it was not."""
        return self._pruned.get(chain)

    @property
    def pruned(self) -> dict[int, int]:
        """Which chains were pruned, each with its rung, from 1."""
        return dict(self._pruned)

    def _decide(self) -> None:
        marks = self._marks[self.passed]
        here = [chain for chain in self._going if chain in marks]
        key = self._direction.key

        def rank(chain: int) -> tuple[bool, float, int]:
            best = marks[chain]
            return best is None, -key(best) if best is not None else 0.0, chain

        ranked = sorted(here, key=rank)
        self._going = sorted(ranked[: survivors(len(ranked), self._keep)])
        self.passed += 1
        self._pruned |= {chain: self.passed for chain in ranked if chain not in self._going}
        self._share_out()

    def _share_out(self) -> None:
        """Divide what those that are out have left among those that go on."""
        out = {chain: self._seen[chain] for chain in range(len(self._spent)) if chain not in self._going}
        spent = [self._spent[chain] for chain in self._going]
        shares = out
        if self._going:
            left = max(0, self._total - sum(out.values()))
            shares = out | dict(zip(self._going, allot(left, len(spent), spent), strict=True))
        self._shares = tuple(shares[chain] for chain in range(len(self._spent)))
