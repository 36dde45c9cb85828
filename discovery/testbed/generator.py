"""A simulated generator: what a model may be like, as seven numbers.

What it does, all of it drawn from (seed, chain, step, index) and nothing else:

1. Now and then it fails, in one of four ways.
2. Else it writes some **drafts**. For each it takes one of the parents shown as its base: the main one, or with chance
   1 - ``focus`` any of the others. With chance ``combine`` it crosses the base with another parent shown. What is
   then not new to it, because there was no other parent or because both agree, it changes by a move of the landscape's
   space that goes no further than ``reach``.
3. With chance ``skill`` it hands out the best of its drafts, else the first.

So it profits from good parents, because whatever it does starts there; and from diverse ones, because crossing two that
are good in different coordinates gives what a small move never would, while crossing near-copies gives a copy and
falls back to a move. Of the landscape it learns nothing but which of a few drafts is truly best, which is what
"skill" means here: it never knows where the optimum lies, nor how far away.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from discovery.config import in_range
from discovery.records import CandidateKey, FailureKind
from discovery.testbed.base import Landscape
from discovery.testbed.spaces import Solution

FAILURES = (
    (FailureKind.CRASHED, "IndexError: list index out of range", 4),
    (FailureKind.INVALID, "a number lies outside the landscape", 3),
    (FailureKind.TIMEOUT, "ran past its limit of 1 s", 2),
    (FailureKind.NO_PROGRAM, "the completion holds no program", 1),
)
"""How it fails: kind, message, and how often of ten failures."""

_SPREAD = 0.5
"""Standard deviation of the logarithms of latencies and token counts, about that of a model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """What the generator is like. See the module docstring.

    Args:
        skill: How likely it hands out the best of its drafts, 0 to 1; at 0 it varies blindly.
        drafts: How many it compares then, 1 to 64.
        reach: The longest move, as a share of the landscape's width, above 0 to 1.
        combine: How likely it crosses two parents, 0 to 1.
        focus: How likely it starts from the main parent, 0 to 1.
        failures: How likely a candidate fails, 0 to 1.
        latency_s: Median seconds that a completion takes; they are counted, not waited for.
        tokens: Median tokens that a completion costs.
    """

    skill: float = 0.5
    drafts: int = 4
    reach: float = 0.25
    combine: float = 0.3
    focus: float = 0.7
    failures: float = 0.2
    latency_s: float = 10.0
    tokens: float = 1000.0

    def __post_init__(self) -> None:
        for name in ("skill", "combine", "focus", "failures"):
            in_range(name, getattr(self, name), 0, 1)
        in_range("drafts", self.drafts, 1, 64)
        in_range("reach", self.reach, 1e-9, 1)
        in_range("latency_s", self.latency_s, 0, 1e6)
        in_range("tokens", self.tokens, 0, 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What the generator hands out.

    Args:
        solution: None where it failed.
        failure: Why.
        message: The same in words.
        latency_s: Seconds that it took.
        tokens: Tokens that it cost.
    """

    solution: Solution | None
    failure: FailureKind | None = None
    message: str | None = None
    latency_s: float
    tokens: float


class SimulatedGenerator:
    """Makes solutions out of parents. See the module docstring.

    Args:
        landscape: What it works on.
        ability: What it is like.
        seed: Of everything drawn.
    """

    def __init__(self, landscape: Landscape, ability: Ability, seed: int) -> None:
        self._landscape = landscape
        self._ability = ability
        self._seed = seed

    def propose(self, key: CandidateKey, parents: Sequence[Solution]) -> Proposal:
        """One candidate.

        Args:
            key: Its place, from which with the seed all draws come.
            parents: The solutions shown, the main one first; at least one.
        """
        ability = self._ability
        rng = drawing("proposal", self._seed, key)
        pace = math.exp(rng.gauss(0.0, _SPREAD))
        latency_s, tokens = ability.latency_s * pace, ability.tokens * pace
        if rng.random() < ability.failures:
            ((kind, message, _),) = rng.choices(FAILURES, weights=[often for _, _, often in FAILURES])
            return Proposal(solution=None, failure=kind, message=message, latency_s=latency_s, tokens=tokens)
        chosen = self._draft(parents, rng)
        if rng.random() < ability.skill:
            others = [self._draft(parents, rng) for _ in range(ability.drafts - 1)]
            chosen = max([chosen, *others], key=self._landscape.worth)
        return Proposal(solution=chosen, latency_s=latency_s, tokens=tokens)

    def _draft(self, parents: Sequence[Solution], rng: random.Random) -> Solution:
        ability, space = self._ability, self._landscape.space
        place = 0
        if len(parents) > 1 and rng.random() >= ability.focus:
            place = rng.randrange(1, len(parents))
        draft = parents[place]
        if len(parents) > 1 and rng.random() < ability.combine:
            other = (place + rng.randrange(1, len(parents))) % len(parents)
            draft = space.crossed(draft, parents[other], rng)
        return space.moved(draft, ability.reach, rng) if draft in parents else draft


def drawing(what: str, seed: int, key: CandidateKey) -> random.Random:
    """The draws of one purpose at one place, the same on every machine and in any order."""
    return random.Random(f"{what} {seed} {key.chain} {key.step} {key.index}")
