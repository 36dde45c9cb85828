from datetime import UTC, datetime

import pytest

from discovery import parents
from discovery.errors import StorageError
from discovery.parents import ParentViews
from discovery.records import Candidate, CandidateKey, Evaluation, EvaluationState, Score


class Stored:
    """A storage of candidates, each scored by its index, that counts its reads."""

    def __init__(self, *candidates):
        self._candidates = {candidate.key: candidate for candidate in candidates}
        self.reads = 0

    def candidate(self, run, key):
        self.reads += 1
        return self._candidates.get(key)

    def evaluations(self, run, key):
        if key not in self._candidates:
            return []
        now = datetime.now(UTC)
        score = Score(value=float(key.index), private={"secret": 1})
        return [
            Evaluation(key=key, state=EvaluationState.SCORED, score=score, started_at=now, finished_at=now)
        ]


def candidate(index, size=10):
    return Candidate(
        key=CandidateKey(0, 1, index), source="x" * size, parents=(), created_at=datetime.now(UTC)
    )


def test_what_is_kept_is_not_read_and_what_is_not_is_read_once():
    stored = Stored(candidate(0), candidate(1))
    views = ParentViews("run", stored)
    views.keep(candidate(0), Score(value=0.0))
    assert views.get(CandidateKey(0, 1, 0)).score == 0.0
    assert stored.reads == 0
    for _ in range(2):
        assert views.get(CandidateKey(0, 1, 1)).score == 1.0
    assert stored.reads == 1
    assert "secret" not in views.get(CandidateKey(0, 1, 1)).metrics


def test_memory_is_bounded_by_text_and_the_last_used_stay(monkeypatch):
    monkeypatch.setattr(parents, "MOST_CHARACTERS", 25 + 2 * parents._OVERHEAD)
    stored = Stored(*(candidate(index) for index in range(4)))
    views = ParentViews("run", stored)
    for index in (0, 1, 0, 2):
        views.get(CandidateKey(0, 1, index))
    assert stored.reads == 3
    views.get(CandidateKey(0, 1, 0))
    assert stored.reads == 3
    views.get(CandidateKey(0, 1, 1))
    assert stored.reads == 4


def test_ever_so_many_without_text_are_bounded_too():
    views = ParentViews("run", Stored())
    for index in range(2000):
        views.keep(candidate(index, size=0), Score(value=0.0))
    assert len(views._kept) <= parents.MOST_CHARACTERS // 1000


def test_one_that_is_larger_than_the_bound_is_shown_all_the_same(monkeypatch):
    monkeypatch.setattr(parents, "MOST_CHARACTERS", 5)
    views = ParentViews("run", Stored(candidate(0, size=50)))
    assert len(views.get(CandidateKey(0, 1, 0)).source) == 50


def test_a_parent_that_is_not_stored_is_an_error_that_names_it():
    with pytest.raises(StorageError, match=r"0\.1\.7"):
        ParentViews("run", Stored()).get(CandidateKey(0, 1, 7))
