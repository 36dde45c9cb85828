"""What a chain's committed steps come to: what its next step is planned from, and whether there is to be one.

Live steps and replayed ones go through the same folds, so that a resumed chain plans what an undisturbed one would.
What a step is planned from holds back the latest steps by the lag.
"""

from __future__ import annotations

from collections import deque

from discovery.generation.arms import Dealer
from discovery.generation.elites import Elites
from discovery.generation.failures import FailureStatistics
from discovery.records import CommittedStep, Direction
from discovery.selection.base import Selector
from discovery.selection.restarting import Patience, Restarting
from discovery.trail import Trail
from discovery.warm import Leading


class Past:
    """One chain's past as its next step may see it.

    Args:
        selector: Folds them for choosing parents.
        direction: Which scores are better.
        overlap: How many are held back at most.
        elites: How many of the best candidates are known.
        dealer: Folds them for choosing who makes completions; None where there is no choice.
    """

    def __init__(
        self,
        selector: Selector,
        direction: Direction,
        overlap: int,
        elites: int = 0,
        dealer: Dealer | None = None,
    ) -> None:
        self.failures = FailureStatistics()
        """What went wrong so far."""
        self.best: float | None = None
        """Best score so far."""
        self.elites = Elites(direction, elites)
        """The best candidates so far."""
        self.restarts = 0
        """How often the selector has forgotten all but the initial candidate."""
        self.trail = Trail(direction)
        """What generators learn from beside the parents, since the last restart."""
        self.leading = Leading(direction)
        """Whose construction is handed on where the problem asks for that, since the last restart."""
        self.dealer = dealer
        """Who makes completions."""
        self._first: CommittedStep | None = None
        self._selector = selector
        self._direction = direction
        self._overlap = overlap
        self._held: deque[CommittedStep] = deque()

    def take_in(self, step: CommittedStep) -> None:
        """Take in the next committed step; no later step is planned without those ``overlap`` steps before it."""
        self._held.append(step)
        self.see(step.step - self._overlap)

    def see(self, last: int) -> None:
        """Fold what is held back up to a step. Step 0, the initial candidate, is always seen."""
        while self._held and self._held[0].step <= max(0, last):
            step = self._held.popleft()
            restarting = self._selector if isinstance(self._selector, Restarting) else None
            if restarting is None or restarting.counts(step):
                self.trail.observe(step)
                self.leading.observe(step)
                if self.dealer is not None:
                    self.dealer.observe(step)
            self._selector.observe(step)
            self.failures.observe(step)
            self.elites.observe(step)
            for outcome in step.outcomes:
                if outcome.score is not None and self._direction.better(outcome.score, self.best):
                    self.best = outcome.score
            if restarting is not None:
                self._begin_anew(restarting.restarts(step.chain), step)

    def _begin_anew(self, restarts: int, step: CommittedStep) -> None:
        """Forget with the selector what generators learn from, and what is handed on: it leads up the same hill."""
        self._first = self._first or step
        if restarts > self.restarts:
            self.restarts, self.trail = restarts, Trail(self._direction)
            self.leading = Leading(self._direction)
            self.trail.observe(self._first)
            self.leading.observe(self._first)
            if self.dealer is not None:
                self.dealer.begin_anew(self._first)


class Course:
    """How far one chain has come, and whether it ends for want of improvement.

    Args:
        direction: Which scores are better.
        overlap: Steps that may be open beside the oldest open one.
        patience: After so many steps without an improvement the chain ends; None: it never does.
    """

    def __init__(self, direction: Direction, overlap: int, patience: int | None) -> None:
        self.best: float | None = None
        """Best score so far."""
        self.steps = 0
        """Committed steps."""
        self.evaluations = 0
        """Their evaluations; the initial candidate's is not among them."""
        self._direction = direction
        self._overlap = overlap
        self._patience = Patience(patience, direction) if patience is not None else None
        self._last: int | None = None

    def take_in(self, step: CommittedStep) -> None:
        """Take in the next committed step."""
        self.steps = step.step
        if step.step:
            self.evaluations += len(step.outcomes)
        for outcome in step.outcomes:
            if outcome.score is not None and self._direction.better(outcome.score, self.best):
                self.best = outcome.score
        if self._patience is not None and self._last is None:
            self._patience.observe(step)
            if self._patience.is_over:
                # What is open by then is finished, whatever it brings: how much that is must not depend on timing.
                self._last = step.step + self._overlap

    def ends_before(self, step: int) -> bool:
        """Whether a step is not to be planned any more; all steps before its lag are taken in."""
        return self._last is not None and step > self._last

    @property
    def has_ended(self) -> bool:
        """Whether the last of its steps is taken in."""
        return self._last is not None and self.steps >= self._last
