"""What every selector folds committed steps into: the candidates of one chain, in order of arrival.

A chain's history is its initial candidate and what its steps committed. Candidates are named by their
position in it, a small integer, so that a selector's own columns are plain lists beside these. A step that
committed nothing adds nothing but still counts as an expansion. A committed candidate whose source the
chain already holds adds nothing either: shown beside its twin it would tell the model nothing.
"""

from __future__ import annotations

from discovery.records import CandidateKey, CommittedStep, Direction


class History:
    """The candidates of one chain.

    Args:
        direction: Which scores are better.
    """

    def __init__(self, direction: Direction) -> None:
        self.keys: list[CandidateKey] = []
        self.qualities: list[float] = []
        self.expansions = 0
        self.best: int | None = None
        self._direction = direction
        self._positions: dict[CandidateKey, int] = {}
        self._sources: set[str] = set()
        self._last_step: int | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def observe(self, step: CommittedStep) -> int | None:
        """Take in a committed step.

        Args:
            step: The chain's next; its first is step 0.

        Returns:
            The position of the candidate that it added, or None if it added none.

        Raises:
            ValueError: The step is out of order, or its committed candidate has no score.
        """
        if self._last_step is None and step.step != 0:
            raise ValueError(f"chain {step.chain} begins with step {step.step}; observe step 0 first")
        if self._last_step is not None and step.step <= self._last_step:
            raise ValueError(
                f"chain {step.chain}: step {step.step} after {self._last_step}; observe each once, in order"
            )
        self._last_step = step.step
        if step.step > 0:
            self.expansions += 1
        if step.committed is None:
            return None
        outcome = step.outcome(step.committed)
        if outcome.score is None:
            raise ValueError(f"step {step.chain}.{step.step} committed {step.committed}, which has no score")
        if outcome.source_hash is not None:
            if outcome.source_hash in self._sources:
                return None
            self._sources.add(outcome.source_hash)
        return self._add(step.committed, self._direction.key(outcome.score))

    def position(self, key: CandidateKey) -> int | None:
        """Where a candidate stands, or None if the history does not hold it."""
        return self._positions.get(key)

    def score(self, position: int) -> float:
        """The raw score of a candidate."""
        return self._direction.key(self.qualities[position])

    def _add(self, key: CandidateKey, quality: float) -> int:
        position = len(self.keys)
        self.keys.append(key)
        self.qualities.append(quality)
        self._positions[key] = position
        if self.best is None or quality > self.qualities[self.best]:
            self.best = position
        return position


def require_choice(history: History | None, chain: int, count: int) -> History:
    """The history to choose from.

    Raises:
        ValueError: Nothing was observed on the chain, or ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"{count} parents asked for; ask for at least 1")
    if history is None or not history.keys:
        raise ValueError(f"chain {chain} has no scored candidate yet; observe its step 0 first")
    return history
