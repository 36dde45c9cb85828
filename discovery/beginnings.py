"""What the chains of a stored run began with: its initial candidates and their scores.

Chain c began with the initial candidate whose number is c modulo how many there are; most runs have one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from discovery.records import Candidate, CandidateKey, Direction, Evaluation, Purpose, initial_key
from discovery.storage.base import Storage

Start = tuple[Candidate, Evaluation]
"""An initial candidate with its evaluation, which has a score."""


def stored(storage: Storage, run: str) -> Iterator[Candidate]:
    """A run's initial candidates, in their order."""
    number = 0
    while (candidate := storage.candidate(run, initial_key(number))) is not None:
        yield candidate
        number += 1


def scored(storage: Storage, run: str) -> list[Start]:
    """A run's initial candidates that have a score, each with its first one."""
    found = []
    for candidate in stored(storage, run):
        evaluations = [e for e in storage.evaluations(run, candidate.key) if e.score is not None]
        if evaluations:
            found.append((candidate, evaluations[0]))
    return found


def searched(storage: Storage, run: str) -> list[Evaluation]:
    """The evaluations that a run's initial candidates got when it started."""
    return [
        e
        for candidate in stored(storage, run)
        for e in storage.evaluations(run, candidate.key)
        if e.purpose is Purpose.SEARCH
    ]


def of_chain(starts: Sequence[Start], chain: int) -> Start:
    """The one that a chain starts from."""
    return starts[chain % len(starts)]


def best_first(starts: Sequence[Start], direction: Direction) -> list[Start]:
    """The best first, the first among equals."""
    # Sorting is stable.
    return sorted(starts, key=lambda start: -direction.key(value(start)))


def best_value(starts: Sequence[Start], direction: Direction) -> float | None:
    """The best score of them, which is what a run has to improve on; None without any."""
    return value(best_first(starts, direction)[0]) if starts else None


def value(start: Start) -> float:
    """The score of one of them."""
    evaluation = start[1]
    assert evaluation.score is not None
    return evaluation.score.value


def own_key(storage: Storage, run: str, chain: int) -> CandidateKey:
    """The initial candidate that a chain of a run began with."""
    return initial_key(chain % max(1, sum(1 for _ in stored(storage, run))))
