"""The selector port: history to parents for the next step (the paper's Phi).

Ask and tell. State comes only through ``observe``, which is given every committed step of a chain in order,
live and on replay alike; ``choose`` never changes what the next ``choose`` answers for equal arguments, but
for its ``rng``. Chains are independent: what is observed on one never changes what is chosen on another,
unless a selector says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from discovery.records import CandidateKey, CommittedStep, Json


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
