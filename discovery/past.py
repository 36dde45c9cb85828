"""What the next step of a chain is planned from: its committed steps, folded; the latest are held back by the lag.

Live steps and replayed ones go through the same fold, so that a resumed chain plans what an undisturbed one would.
"""

from __future__ import annotations

from collections import deque

from discovery.generation.elites import Elites
from discovery.generation.failures import FailureStatistics
from discovery.records import CommittedStep, Direction
from discovery.selection.base import Selector


class Past:
    """One chain's past as its next step may see it.

    Args:
        selector: Folds them for choosing parents.
        direction: Which scores are better.
        overlap: How many are held back at most.
        elites: How many of the best candidates are known.
    """

    def __init__(self, selector: Selector, direction: Direction, overlap: int, elites: int = 0) -> None:
        self.failures = FailureStatistics()
        """What went wrong so far."""
        self.best: float | None = None
        """Best score so far."""
        self.elites = Elites(direction, elites)
        """The best candidates so far."""
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
            self._selector.observe(step)
            self.failures.observe(step)
            self.elites.observe(step)
            for outcome in step.outcomes:
                if outcome.score is not None and self._direction.better(outcome.score, self.best):
                    self.best = outcome.score
