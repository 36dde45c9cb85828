"""A pool of elites for each chain, which a model keeps.

A chain's first candidates make up its pool. Once that is full, whatever is committed and is not worse than the worst
of the pool waits at the door, and before the next step a model says which to keep, of those and of the pool: it sees
scores and programs, and is asked for promise and diversity, which scores do not tell. The best by score is always
kept, whatever it says; places that it leaves empty are filled by score. Without an answer the best by score stay.

Parents are drawn from the pool, the better ones more often: the n-th best with a weight of 1/n.

Cost: a step looks at the pool and at the door, both of bounded size, whatever the length of the chain.

Source: SimpleTES, arXiv 2604.19341 (``llm_elite``); the door and the rule for the best are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from discovery.errors import ConfigError
from discovery.records import AdvicePurpose, CandidateKey, CommittedStep, Direction, Json, Outcome
from discovery.selection.base import Selection, Shortlist
from discovery.selection.order import named


@dataclass(frozen=True, slots=True)
class _Elite:
    """A candidate with its quality (grows with goodness) and its order of arrival."""

    key: CandidateKey
    quality: float
    arrival: int
    outcome: Outcome


@dataclass(slots=True)
class _Chain:
    pool: list[_Elite] = field(default_factory=list)
    door: list[_Elite] = field(default_factory=list)
    arrivals: int = 0

    @property
    def all(self) -> list[_Elite]:
        """Pool and door, best first, the earlier one of equals first."""
        return sorted((*self.pool, *self.door), key=lambda elite: (-elite.quality, elite.arrival))


class LlmElite:
    """Parents drawn from a pool that a model keeps: promising ones, and such that differ.

    See the module docstring.

    Args:
        direction: Which scores are better.
        pool: How many elites a chain keeps, 2 to 32.

    Raises:
        ConfigError: The pool's size is out of range.
    """

    name = "llm-elite"

    def __init__(self, direction: Direction, *, pool: int = 12) -> None:
        if not 2 <= pool <= 32:
            raise ConfigError(f"llm-elite: pool is {pool!r}; it must be from 2 to 32")
        self.params: Mapping[str, Json] = {"pool": pool}
        self._direction = direction
        self._size = pool
        self._chains: dict[int, _Chain] = {}

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step.

        Raises:
            ValueError: The chain does not begin with step 0, or what it committed has no score.
        """
        chain = self._chains.get(step.chain)
        if chain is None:
            if step.step != 0:
                raise ValueError(f"chain {step.chain} begins with step {step.step}; observe step 0 first")
            chain = self._chains[step.chain] = _Chain()
        if step.committed is None:
            return
        outcome = step.outcome(step.committed)
        if outcome.score is None:
            raise ValueError(f"step {step.chain}.{step.step} committed {step.committed}, which has no score")
        if any(outcome.is_twin(elite.outcome) for elite in chain.all):
            return
        elite = _Elite(step.committed, self._direction.key(outcome.score), chain.arrivals, outcome)
        chain.arrivals += 1
        if len(chain.pool) < self._size and not chain.door:
            chain.pool.append(elite)
        elif elite.quality >= min(kept.quality for kept in chain.pool):
            chain.door.append(elite)
            if len(chain.door) > self._size:  # nobody answers, or asks
                worst = min(chain.door, key=lambda waiting: (waiting.quality, waiting.arrival))
                chain.door.remove(worst)

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """Parents drawn from the pool that stays without a model.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        state = self._state(chain, count)
        return self._drawn(self._kept(state.all, None), count, rng, {})

    def shortlist(self, chain: int, count: int, rng: np.random.Generator) -> Shortlist | None:
        """Pool and door, where somebody is at the door.

        Raises:
            ValueError: As for ``choose``.
        """
        state = self._state(chain, count)
        if not state.door:
            return None
        candidates = tuple(elite.key for elite in state.all)
        return Shortlist(purpose=AdvicePurpose.ELITE, candidates=candidates, count=self._size)

    def decide(
        self, chain: int, count: int, shortlist: Shortlist, answer: str | None, rng: np.random.Generator
    ) -> Selection:
        """Parents drawn from the pool that the answer makes."""
        everyone = self._state(chain, count).all
        places = named(answer, len(everyone))
        said: dict[str, Json] = {"named": [str(everyone[place].key) for place in places]}
        return self._drawn(self._kept(everyone, answer), count, rng, said)

    def heed(self, chain: int, answer: str | None) -> None:
        """Make the pool what the answer says; the door is empty then."""
        state = self._state(chain, 1)
        state.pool = self._kept(state.all, answer)
        state.door = []

    def _state(self, chain: int, count: int) -> _Chain:
        if count < 1:
            raise ValueError(f"{count} parents asked for; ask for at least 1")
        state = self._chains.get(chain)
        if state is None or not state.pool:
            raise ValueError(f"chain {chain} has no scored candidate yet; observe its step 0 first")
        return state

    def _kept(self, everyone: Sequence[_Elite], answer: str | None) -> list[_Elite]:
        """The pool that an answer makes of everyone, given best first: the best, those named, the best of the rest."""
        places = dict.fromkeys((0, *named(answer, len(everyone)), *range(len(everyone))))
        kept = sorted(list(places)[: self._size])
        return [everyone[place] for place in kept]

    def _drawn(
        self, pool: Sequence[_Elite], count: int, rng: np.random.Generator, said: Mapping[str, Json]
    ) -> Selection:
        weights = 1.0 / np.arange(1, len(pool) + 1)
        drawn = rng.choice(len(pool), size=min(count, len(pool)), replace=False, p=weights / weights.sum())
        return Selection(
            parents=tuple(pool[place].key for place in drawn),
            values={
                "pool": [str(elite.key) for elite in pool],
                "ranks": [int(place) + 1 for place in drawn],
                **said,
            },
        )
