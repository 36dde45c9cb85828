"""What every selector folds committed steps into: the candidates of one chain, in order of arrival.

A chain's history is its initial candidate and what its steps committed. Candidates are named by their
position in it, a small integer, so that a selector's own columns are plain lists beside these. A step that
committed nothing adds nothing but still counts as an expansion. A committed candidate whose program the
chain already holds adds nothing either: shown beside its twin it would tell the model nothing. Nor does one
whose result it holds, where the run knows equal solutions: the same solution by another program.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

from sortedcontainers import SortedList

from discovery.records import CandidateKey, CommittedStep, Direction


class Order:
    """The order in which a chain's steps must be observed: from step 0, each once. Numbers may be left out."""

    def __init__(self) -> None:
        self.last: int | None = None

    def take(self, step: CommittedStep) -> None:
        """Take in the next step.

        Raises:
            ValueError: It is out of order.
        """
        if self.last is None and step.step != 0:
            raise ValueError(f"chain {step.chain} begins with step {step.step}; observe step 0 first")
        if self.last is not None and step.step <= self.last:
            raise ValueError(
                f"chain {step.chain}: step {step.step} after {self.last}; observe each once, in order"
            )
        self.last = step.step


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
        self._programs: set[str] = set()
        self._results: set[Hashable] = set()
        self._order = Order()

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
        self._order.take(step)
        if step.step > 0:
            self.expansions += 1
        if step.committed is None:
            return None
        outcome = step.outcome(step.committed)
        if outcome.score is None:
            raise ValueError(f"step {step.chain}.{step.step} committed {step.committed}, which has no score")
        program, result = outcome.program_hash, outcome.result
        if program in self._programs or result in self._results:
            return None
        if program is not None:
            self._programs.add(program)
        if result is not None:
            self._results.add(result)
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


class Ranked:
    """A chain's history with its order by quality, best first, earlier first among equals.

    Args:
        direction: Which scores are better.
    """

    def __init__(self, direction: Direction) -> None:
        self.history = History(direction)
        self._order: SortedList[tuple[float, int]] = SortedList()

    def observe(self, step: CommittedStep) -> None:
        """Take in a committed step, in O(log n).

        Raises:
            ValueError: As for :meth:`History.observe`.
        """
        position = self.history.observe(step)
        if position is not None:
            self._order.add((-self.history.qualities[position], position))

    def at(self, rank: int) -> int:
        """The position of the candidate of a rank, from 0 for the best."""
        return int(self._order[rank][1])


def without_neighbours(
    order: Iterable[int], positions: Sequence[int], parents: Sequence[tuple[int, ...]], count: int
) -> list[int]:
    """The first ``count`` of an order of which none is a parent or a child of one before it.

    Args:
        order: Indices into ``positions``.
        positions: Candidates by their position in the history.
        parents: Of every candidate of the history, by position.
        count: How many at most.

    Returns:
        Their indices; the first one is always among them.
    """
    picked: list[int] = []
    taken: set[int] = set()
    above: set[int] = set()
    for index in order:
        position = positions[index]
        if position not in above and taken.isdisjoint(parents[position]):
            picked.append(index)
            if len(picked) == count:
                break
            taken.add(position)
            above.update(parents[position])
    return picked


def free_rank(taken: list[int], index: int) -> int:
    """The ``index``-th rank, from 0, that is not among ``taken``, which is ascending."""
    for rank in taken:
        if rank > index:
            break
        index += 1
    return index


def require_choice(history: History | None, chain: int, count: int) -> History:
    """The history to choose from.

    Raises:
        ValueError: Nothing was observed on the chain, or ``count`` is below 1.
    """
    require_parents(bool(history and history.keys), chain, count)
    assert history is not None
    return history


def require_parents(are_there: bool, chain: int, count: int) -> None:
    """Refuse a choice that cannot be made.

    Args:
        are_there: Whether the chain has a scored candidate.
        chain: Chain number.
        count: How many parents are asked for.

    Raises:
        ValueError: There is nothing to choose from, or ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"{count} parents asked for; ask for at least 1")
    if not are_there:
        raise ValueError(f"chain {chain} has no scored candidate yet; observe its step 0 first")
