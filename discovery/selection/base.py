"""The selector port: history to parents for the next step (the paper's Phi).

Ask and tell. State comes only through ``observe``, which is given every committed step of a chain in order,
live and on replay alike; ``choose`` never changes what the next ``choose`` answers for equal arguments, but
for its ``rng``. Chains are independent: what is observed on one never changes what is chosen on another,
unless a selector says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from discovery.records import AdvicePurpose, CandidateKey, CommittedStep, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a selector chose.

    Args:
        parents: Distinct scored candidates of the chain (or the initial one), the main parent first; at least
            one, fewer than asked when the chain has not more.
        values: What they were ranked by, as JSON, stored with the step.
    """

    parents: tuple[CandidateKey, ...]
    values: Mapping[str, Json] = field(default_factory=dict)


class Selector(Protocol):
    """Chooses parents. See the module docstring for the contract.

    One that looks at metrics has an attribute ``metrics`` beside these, a tuple of their names: outcomes then
    carry these. One that has something to tell whoever starts a run has it in ``notice``, one line.
    """

    name: str
    params: Mapping[str, Json]

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step; each chain's first is step 0, the initial candidate.

        Cost: O(log n) in the steps of the chain, amortised.
        """
        ...

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """Choose up to ``count`` parents for the chain's next step.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        ...


def metrics_of(selector: Selector) -> tuple[str, ...]:
    """Names of the metrics that a selector asks for in outcomes: its attribute ``metrics``, none where it has none."""
    return tuple(getattr(selector, "metrics", ()))


def notice_of(selector: Selector) -> str | None:
    """What whoever starts a run should know about its selector, in one line; None when nothing."""
    notice = getattr(selector, "notice", None)
    return None if notice is None else f"selector {selector.name}: {notice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortlist:
    """What a model is to be asked about.

    Args:
        purpose: ``RERANK`` or ``ELITE``.
        candidates: Those that it may name, best first as the selector has them without a model; at least two.
        count: How many it is to name at most.
        otherwise: What is chosen without an answer; None where that is drawn anew.
    """

    purpose: AdvicePurpose
    candidates: tuple[CandidateKey, ...]
    count: int
    otherwise: Selection | None = None


@runtime_checkable
class AdvisedSelector(Protocol):
    """A selector that is helped by a model, and never asks it: whoever plans a step does, between two calls.

    ``shortlist`` is what to ask about; the answer is stored; ``decide`` makes a choice of it. State comes through
    ``observe`` and ``heed`` only: on replay ``heed`` gets the stored answer where the live chain got it, after what was
    observed before that step was planned. Without a model, ``choose`` alone is the selector.
    """

    name: str
    params: Mapping[str, Json]

    def observe(self, step: CommittedStep) -> None:
        """As of every selector."""
        ...

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """As of every selector: the choice that needs no model."""
        ...

    def shortlist(self, chain: int, count: int, rng: np.random.Generator) -> Shortlist | None:
        """What to ask a model before the chain's next step; None where there is nothing to ask. Changes nothing.

        Raises:
            ValueError: As for ``choose``.
        """
        ...

    def decide(
        self, chain: int, count: int, shortlist: Shortlist, answer: str | None, rng: np.random.Generator
    ) -> Selection:
        """The choice that an answer stands for: a function of its arguments and of what was observed; changes nothing.

        Args:
            chain: As for ``choose``.
            count: As for ``choose``.
            shortlist: What was asked about, as ``shortlist`` gave it since the last ``observe``.
            answer: Whatever the model wrote; None where it gave none.
            rng: A new one with the seed of the one that ``shortlist`` got.
        """
        ...

    def heed(self, chain: int, answer: str | None) -> None:
        """Fold the answer to what ``shortlist`` asks about now, after ``decide``."""
        ...
