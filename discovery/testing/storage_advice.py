"""The contract of ``Storage``: what models were asked that is no candidate. See :mod:`discovery.testing.storage`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from discovery.errors import StorageError
from discovery.records import SHARED_CHAIN, AdvicePurpose, Candidate, CandidateKey, Consultation, TokenUsage
from discovery.storage.base import RunCounts, Write
from discovery.testing.storage_records import (
    StorageFactory,
    append,
    full_consultation,
    make_candidate,
    make_completion,
    make_consultation,
    start,
)


class ConsultationsContract:
    """Consultations have places of their own, are fenced like their chain, and are paid for."""

    def test_one_is_read_back(self, storage_factory: StorageFactory) -> None:
        """With everything that it has, and by its whole place only."""
        storage = storage_factory()
        lease, full = start(storage)[0], full_consultation()
        append(storage, lease, full)
        assert storage_factory().consultation("run-1", 0, 1, AdvicePurpose.REFLECT) == full
        for other in ((0, 1, AdvicePurpose.ELITE), (0, 2, full.purpose), (1, 1, full.purpose)):
            assert storage.consultation("run-1", *other) is None

    def test_empty_ones_are_told_apart(self, storage_factory: StorageFactory) -> None:
        """No answer, an empty one, and one that nobody counted are three things."""
        storage = storage_factory()
        lease = start(storage)[0]
        made = [
            make_consultation(1, text=None),
            make_consultation(2, text=""),
            replace(make_consultation(3), tokens=TokenUsage()),
        ]
        append(storage, lease, *made)
        assert [storage.consultation("run-1", 0, each.step, each.purpose) for each in made] == made
        assert [answer.text for answer in storage.answers("run-1", 0)] == [None, "", "an answer"]

    def test_a_chain_has_them_in_order(self, storage_factory: StorageFactory) -> None:
        """By step and purpose, whatever the order of writing, and however many."""
        storage = storage_factory()
        leases = start(storage)
        made = [
            replace(make_consultation(step, purpose), tokens=TokenUsage(prompt=step, completion=1))
            for step in range(1, 200)
            for purpose in AdvicePurpose
        ]
        append(storage, leases[0], *reversed(made))
        append(storage, leases[1], make_consultation(1, chain=1))
        assert list(storage.answers("run-1", 0)) == [each.answer for each in made]
        with storage.snapshot("run-1") as snapshot:
            assert list(snapshot.records(Consultation)) == [*made, make_consultation(1, chain=1)]

    def test_equal_again_is_no_error_and_another_is(self, storage_factory: StorageFactory) -> None:
        """What a choice was made by never changes."""
        storage = storage_factory()
        lease, full = start(storage)[0], full_consultation()
        append(storage, lease, full)
        append(storage, lease, full)
        with pytest.raises(StorageError, match=r"reflect consultation 0\.1"):
            append(storage, lease, replace(full, text="another"))
        assert storage.consultation("run-1", 0, 1, full.purpose) == full

    def test_they_are_fenced_by_their_chain(self, storage_factory: StorageFactory) -> None:
        """Neither the supervisor nor who lost the chain writes them."""
        storage = storage_factory()
        leases = start(storage)
        for wrong in (SHARED_CHAIN, 1):
            with pytest.raises(StorageError, match="Consultation"):
                append(storage, leases[wrong], make_consultation())
        storage.release([leases[0]])
        late = Write(lease=leases[0], records=(make_consultation(),))
        assert storage.append([late]) == [late]
        assert list(storage.answers("run-1", 0)) == []

    def test_their_tokens_are_among_the_totals(self, storage_factory: StorageFactory) -> None:
        """Of the run asked for; those that nobody counted count as none."""
        storage = storage_factory()
        leases, other = start(storage), start(storage, "run-2")
        said = replace(
            make_completion(CandidateKey(0, 1, 0)), tokens=TokenUsage(prompt=100, completion=10, cached=7)
        )
        asked = replace(make_consultation(), tokens=TokenUsage(prompt=20, completion=3, cached=5))
        append(storage, leases[0], said, asked, replace(make_consultation(2), failure="it names nothing"))
        append(storage, other[0], asked)
        assert storage.counts("run-1") == RunCounts(
            evaluations=0,
            distinct_candidates=0,
            completions=1,
            failures={},
            prompt_tokens=120,
            completion_tokens=13,
            cached_tokens=12,
            consultations=2,
            consultation_tokens=23,
            consultations_in_vain=1,
        )

    def test_a_candidate_names_whose_artifact_it_was_given(self, storage_factory: StorageFactory) -> None:
        """Or that it was given none."""
        storage = storage_factory()
        lease = start(storage)[0]
        cold = make_candidate(CandidateKey(0, 1, 0), "x")
        warm = replace(cold, key=CandidateKey(0, 1, 1), warm_start=CandidateKey(0, 7, 2))
        append(storage, lease, cold, warm)
        assert [storage.candidate("run-1", made.key) for made in (cold, warm)] == [cold, warm]
        with storage.snapshot("run-1") as snapshot:
            assert list(snapshot.records(Candidate)) == [cold, warm]
