"""Warm starts: what programs of a problem that declares them are given, the best construction of their chain so far.

Which one that is, is a fold of the chain's committed steps, held back by the lag as all that a step is planned from.
Its key is stored with the step (``selection["warm_start"]``) and with each candidate, so that a step that is taken up
again, a second scoring and an audit give what was given before. What is given is the artifact of a stored score, as the
scorer made it: no candidate says a word in that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from discovery import data
from discovery.errors import DataError, StorageError
from discovery.records import CandidateKey, CommittedStep, Direction, Evaluation, Json, Purpose
from discovery.storage.base import Storage

NAME = "warm_start"
"""Its name in a step's ``selection``, and of the file beside a program that was given one."""
MOST_BYTES = 4 << 20
"""Of one warm start, encoded: what is kept of a score at most."""
MOST_KEPT_BYTES = 16 << 20
"""Of warm starts that a run keeps in memory; those used longest ago go first."""


@dataclass(frozen=True, slots=True)
class Leader:
    """The best candidate of a chain.

    Args:
        key: Its key.
        score: Its score.
    """

    key: CandidateKey
    score: float


class Leading:
    """Which candidate of one chain is the best, the oldest of equals.

    Args:
        direction: Which scores are better.
    """

    def __init__(self, direction: Direction) -> None:
        self.leader: Leader | None = None
        """The best so far; None before the first score."""
        self._direction = direction

    def observe(self, step: CommittedStep) -> None:
        """Take in one committed step.

        Args:
            step: Every step once, in order; without the scores that a second scoring refuted.
        """
        for outcome in step.outcomes:
            # Copies count: which of two equal programs of different chains is the copy, timing decides.
            best = self.leader.score if self.leader is not None else None
            if outcome.score is not None and self._direction.better(outcome.score, best):
                self.leader = Leader(outcome.key, outcome.score)


def stored_warm_start(selection: Mapping[str, Json]) -> CandidateKey | None:
    """Whose artifact the candidates of a stored step are given; None where they are given none."""
    text = selection.get(NAME)
    return None if text is None else CandidateKey.parse(text)


def encoded(artifact: Json) -> bytes:
    """A warm start as it travels to the scorer's process.

    Args:
        artifact: Plain data.

    Raises:
        DataError: It is none, or takes more than :data:`MOST_BYTES`.
    """
    body = data.encode(artifact)
    if len(body) > MOST_BYTES:
        raise DataError(f"it takes {len(body):,} bytes; a warm start may take {MOST_BYTES:,}")
    return body


def stored_artifact(storage: Storage, run: str, key: CandidateKey) -> Json:
    """The artifact of a stored candidate, as its first scoring made it; None where it has none."""
    scores = [e.score for e in storage.evaluations(run, key) if _is_first_score(e)]
    return scores[-1].artifact if scores and scores[-1] is not None else None


def given_to(storage: Storage, run: str, warm_start: CandidateKey | None) -> bytes | None:
    """What a stored candidate was given, encoded; None where it was given nothing.

    Args:
        storage: Where its run lives.
        run: The run's id.
        warm_start: Whose artifact it was given.

    Raises:
        StorageError: That artifact is not stored any more.
    """
    if warm_start is None:
        return None
    artifact = stored_artifact(storage, run, warm_start)
    if artifact is None:
        raise StorageError(f"run {run}: the artifact of candidate {warm_start}, a warm start, is not stored")
    return encoded(artifact)


def _is_first_score(evaluation: Evaluation) -> bool:
    return evaluation.purpose is Purpose.SEARCH and evaluation.score is not None


class WarmStarts:
    """The artifacts of a run that are given to programs, encoded; the latest ones are kept at hand.

    Args:
        storage: Where the run lives.
        run: Its id.
        most_bytes: Of what is kept; what was used longest ago goes first.
    """

    def __init__(self, storage: Storage, run: str, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._storage = storage
        self._run = run
        self._most = most_bytes
        self._kept: OrderedDict[CandidateKey, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: CandidateKey) -> bytes:
        """The artifact of a stored candidate.

        Raises:
            StorageError: It has none.
        """
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        found = given_to(self._storage, self._run, key)
        assert found is not None
        self._kept[key] = found
        self._bytes += len(found)
        while self._bytes > self._most and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped)
        return found


class Handout:
    """What the next step of one chain is given.

    Args:
        storage: Where its run lives.
        run: The run's id.
    """

    def __init__(self, storage: Storage, run: str) -> None:
        self._storage = storage
        self._run = run
        self._seen: CandidateKey | None = None
        self._has_artifact = False

    def of(self, leader: Leader | None) -> Leader | None:
        """The chain's best candidate where it has an artifact to hand on, else None.

        Args:
            leader: The best of what the step may know of, which is stored; None where nothing has a score.
        """
        if leader is not None and leader.key != self._seen:
            self._seen = leader.key
            self._has_artifact = stored_artifact(self._storage, self._run, leader.key) is not None
        return leader if self._has_artifact else None
