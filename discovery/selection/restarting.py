"""Patience, and restarts of any selector: after so many steps without an improvement a chain begins anew.

What a restart forgets is what parents are chosen from: the chain's selector is made anew and observes the initial
candidate. Nothing that is stored changes, and the best of the chain and of the run stay theirs. Patience counts from
the beginning of the chain or its last restart, against the best that was found since: from the initial candidate it
takes a while to come back to where the chain was.

All of it is a fold over committed steps, like the selector under it, so that a resumed chain restarts where the
undisturbed one did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from discovery.records import CandidateKey, CommittedStep, Direction, Json
from discovery.selection.base import AdvisedSelector, Selection, Selector, Shortlist, metrics_of


class Patience:
    """One chain's steps without an improvement.

    Args:
        steps: So many of them it bears, at least 1.
        direction: Which scores are better.
    """

    def __init__(self, steps: int, direction: Direction) -> None:
        if steps < 1:
            raise ValueError(f"patience is {steps!r}; it must be at least 1 step")
        self.idle = 0
        """Committed steps since the last improvement, the restart or the beginning."""
        self._most = steps
        self._direction = direction
        self._initial: float | None = None
        self._best: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has come to its end."""
        return self.idle >= self._most

    def observe(self, step: CommittedStep) -> None:
        """Take in the chain's next committed step; its first is step 0."""
        improved = False
        for outcome in step.outcomes:
            if outcome.score is not None and self._direction.better(outcome.score, self._best):
                self._best, improved = outcome.score, True
        if step.step == 0:
            self._initial = self._best
        elif improved:
            self.idle = 0
        else:
            self.idle += 1

    def begin_anew(self) -> None:
        """Forget all but the initial candidate."""
        self.idle, self._best = 0, self._initial


class Restarting:
    """Any selector, made anew for a chain each time that its patience is over.

    With steps that overlap, a step that was planned before a restart may be committed after it: its parents are
    forgotten, and so is it, but for its number.

    Args:
        make: Makes the selector under it, which has observed nothing.
        patience: Steps without an improvement before a restart, at least 1.
        direction: Which scores are better.
    """

    def __init__(self, make: Callable[[], Selector], patience: int, direction: Direction) -> None:
        first = make()
        self.name = first.name
        self.params: Mapping[str, Json] = {**first.params, "patience": patience}
        self.metrics = metrics_of(first)
        self.notice: str | None = getattr(first, "notice", None)
        self._make = make
        self._patience = patience
        self._direction = direction
        self._lines: dict[int, _Line] = {}

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step; costs what the selector under it costs.

        Raises:
            ValueError: The step is out of order.
        """
        line = self._lines.get(step.chain)
        if line is None:
            line = _Line(self._make, step, Patience(self._patience, self._direction))
            self._lines[step.chain] = line
        else:
            line.observe(step)

    def restarts(self, chain: int) -> int:
        """How often a chain has begun anew."""
        line = self._lines.get(chain)
        return line.restarts if line is not None else 0

    def counts(self, step: CommittedStep) -> bool:
        """Whether a chain's next step is of its present life: not planned before its last restart."""
        line = self._lines.get(step.chain)
        return line is None or line.counts(step)

    def choose(self, chain: int, count: int, rng: np.random.Generator) -> Selection:
        """What the selector under it chooses from the candidates since the chain's last restart.

        Raises:
            ValueError: Nothing was observed on the chain, or ``count`` is below 1.
        """
        line = self._lines.get(chain)
        if line is None:
            return self._make().choose(chain, count, rng)  # which refuses it
        return self._told(chain, line.selector.choose(chain, count, rng))

    def _told(self, chain: int, chosen: Selection) -> Selection:
        restarts = self.restarts(chain)
        if not restarts:
            return chosen
        return Selection(parents=chosen.parents, values={**chosen.values, "restarts": restarts})


class AdvisedRestarting(Restarting):
    """One over a selector that is helped by a model, which is asked about the present life only."""

    def shortlist(self, chain: int, count: int, rng: np.random.Generator) -> Shortlist | None:
        """What to ask a model before the chain's next step.

        Raises:
            ValueError: As for ``choose``.
        """
        return self._advised(chain).shortlist(chain, count, rng)

    def decide(
        self, chain: int, count: int, shortlist: Shortlist, answer: str | None, rng: np.random.Generator
    ) -> Selection:
        """The choice that an answer stands for."""
        chosen = self._advised(chain).decide(chain, count, shortlist, answer, rng)
        return self._told(chain, chosen)

    def heed(self, chain: int, answer: str | None) -> None:
        """Fold the answer to what ``shortlist`` asks about now."""
        self._advised(chain).heed(chain, answer)

    def _advised(self, chain: int) -> AdvisedSelector:
        line = self._lines.get(chain)
        selector = line.selector if line is not None else self._make()
        assert isinstance(selector, AdvisedSelector)
        return selector


def restarting(make: Callable[[], Selector], patience: int, direction: Direction) -> Restarting:
    """A selector that begins chains anew, over one of any kind; arguments as for :class:`Restarting`."""
    kind = AdvisedRestarting if isinstance(make(), AdvisedSelector) else Restarting
    return kind(make, patience, direction)


class _Line:
    """A chain since its last restart."""

    def __init__(self, make: Callable[[], Selector], first: CommittedStep, patience: Patience) -> None:
        self.restarts = 0
        self._make = make
        self._first = first
        self._patience = patience
        self._last = first.step
        patience.observe(first)
        self._begin()

    def _begin(self) -> None:
        self.selector = self._make()
        self.selector.observe(self._first)
        self._known: set[CandidateKey] = {outcome.key for outcome in self._first.outcomes}

    def counts(self, step: CommittedStep) -> bool:
        return self._known.issuperset(step.parents)

    def observe(self, step: CommittedStep) -> None:
        if step.step <= self._last:
            raise ValueError(
                f"chain {step.chain}: step {step.step} after {self._last}; observe each once, in order"
            )
        self._last = step.step
        if not self.counts(step):
            # That it was taken is told, for selectors that go by the numbers of steps; nothing that came of it.
            self.selector.observe(replace(step, parents=(), outcomes=(), committed=None))
            return
        self.selector.observe(step)
        self._known.update(outcome.key for outcome in step.outcomes if outcome.score is not None)
        self._patience.observe(step)
        if self._patience.is_over:
            self._patience.begin_anew()
            self.restarts += 1
            self._begin()
