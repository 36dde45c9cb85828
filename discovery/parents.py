"""Candidates as prompts show them, kept while they are likely to be shown again, else read back from storage."""

from __future__ import annotations

from collections import OrderedDict

from discovery.errors import StorageError
from discovery.generation.base import ParentView
from discovery.generation.prompt import view
from discovery.records import Candidate, CandidateKey, Score
from discovery.storage.base import Storage

MOST_CHARACTERS = 1 << 19
"""Source text that one chain keeps in memory; the candidates used longest ago go first."""
_OVERHEAD = 1024  # what a candidate takes beside its text, so that very many small ones are bounded too


class ParentViews:
    """The parents of one chain.

    Args:
        run: Run id.
        storage: Where those that are not kept are read from.
    """

    def __init__(self, run: str, storage: Storage) -> None:
        self._run = run
        self._storage = storage
        self._kept: OrderedDict[CandidateKey, ParentView] = OrderedDict()
        self._characters = 0

    def keep(self, candidate: Candidate, score: Score) -> None:
        """Keep a scored candidate at hand."""
        self._take(view(candidate, score))

    def get(self, key: CandidateKey) -> ParentView:
        """A scored candidate.

        Raises:
            StorageError: It is not stored with a score.
        """
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        candidate = self._storage.candidate(self._run, key)
        scored = [e.score for e in self._storage.evaluations(self._run, key) if e.score is not None]
        if candidate is None or not scored:
            raise StorageError(f"run {self._run}: parent {key} is not stored with a score")
        found = view(candidate, scored[0])
        self._take(found)
        return found

    def _take(self, found: ParentView) -> None:
        if found.key not in self._kept:
            self._characters += len(found.source) + _OVERHEAD
        self._kept[found.key] = found
        while self._characters > MOST_CHARACTERS and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._characters -= len(dropped.source) + _OVERHEAD
