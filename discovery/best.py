"""The run's best: found in search, scored again by a process that has scored nothing, then announced.

What is announced is what a run reports. A candidate whose second scoring disagrees counts as failed: it is neither
announced nor committed, now and on replay.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from discovery.budget import Ledger
from discovery.evaluator import Evaluator
from discovery.progress import Progress
from discovery.records import Announcement, Candidate, CandidateKey, Direction, Evaluation, Purpose
from discovery.storage.base import Lease, Storage
from discovery.storage.journal import Journal


def best_announced(announced: Iterable[Announcement], direction: Direction) -> Announcement | None:
    """The best of a run's announcements, or None; by score, because the clocks of two hosts may disagree.

    Args:
        announced: In any order.
        direction: Which scores are better.
    """
    return max(announced, key=lambda announcement: direction.key(announcement.score), default=None)


class BestKeeper:
    """Announces a run-best once a second scoring in a fresh process agrees.

    Args:
        run: Run id.
        storage: For verifications of earlier processes.
        direction: Which scores are better.
        evaluator: Scores again.
        journal: Where verifications and announcements go.
        lease: The supervisor's lease.
        ledger: Told when the target is reached.
        progress: Told what was announced.
        announced: The best announced by earlier processes.
    """

    def __init__(
        self,
        run: str,
        storage: Storage,
        direction: Direction,
        evaluator: Evaluator,
        journal: Journal,
        lease: Lease,
        ledger: Ledger,
        progress: Progress,
        announced: Announcement | None = None,
    ) -> None:
        self._run = run
        self._storage = storage
        self._direction = direction
        self._evaluator = evaluator
        self._journal = journal
        self._lease = lease
        self._ledger = ledger
        self._progress = progress
        self._best: float | None = None
        if announced is not None:
            self._take(announced)

    async def consider(self, candidate: Candidate, evaluation: Evaluation, lease: Lease) -> Evaluation:
        """Verify and announce a scored candidate if it would be the run's best.

        Args:
            candidate: The candidate.
            evaluation: Its stored evaluation.
            lease: Of the candidate's chain.

        Returns:
            The evaluation that counts: the given one, or the failed verification.
        """
        score = evaluation.score
        if score is None or not self._direction.better(score.value, self._best):
            return evaluation
        again = self._verified(candidate.key)
        if again is None:
            again = await self._evaluator.verify(candidate, score)
            await self._journal.append(lease, again)
        if again.failure is not None:
            return again
        if self._direction.better(score.value, self._best):
            announcement = Announcement(
                key=candidate.key,
                score=score.value,
                evaluations=self._progress.evaluations,
                announced_at=datetime.now(UTC),
            )
            self._take(announcement)
            await self._journal.append(self._lease, announcement)
        return evaluation

    def _verified(self, key: CandidateKey) -> Evaluation | None:
        """A verification that an earlier process stored before it could announce."""
        stored = self._storage.evaluations(self._run, key)
        return next((e for e in stored if e.purpose is Purpose.VERIFY), None)

    def _take(self, announcement: Announcement) -> None:
        self._best = announcement.score
        self._progress.announce(announcement.key, announcement.score)
        until = self._ledger.budget.until
        if until is not None and not self._direction.better(until, announcement.score):
            self._ledger.reach_target()
