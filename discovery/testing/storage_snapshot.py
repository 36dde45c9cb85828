"""The contract of ``Storage``: a whole run at one moment. See :mod:`discovery.testing.storage`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from discovery.errors import UnknownRun
from discovery.records import (
    INITIAL,
    SHARED_CHAIN,
    Announcement,
    Candidate,
    CandidateKey,
    Completion,
    Evaluation,
    EvaluationState,
    Measurement,
    Prompt,
    Purpose,
    Step,
)
from discovery.testing.storage_records import (
    START,
    StorageFactory,
    append,
    full_step,
    make_candidate,
    make_committed,
    make_completion,
    make_measurement,
    make_scored,
    make_step,
    start,
)


class SnapshotContract:
    """A whole run is read as it was at one moment."""

    def test_every_record_is_read_in_the_order_of_places(self, storage_factory: StorageFactory) -> None:
        """Of all kinds, purposes, attempts and states, of this run alone, whatever the order of writing."""
        storage = storage_factory()
        leases, other = start(storage), start(storage, "run-2")
        key = CandidateKey(0, 1, 0)
        first = make_scored(key, 1.0)
        attempts = [
            first,
            replace(first, attempt=1),
            replace(first, purpose=Purpose.VERIFY),
            replace(first, purpose=Purpose.AUDIT, attempt=0),
            Evaluation(key=CandidateKey(0, 1, 1), state=EvaluationState.RUNNING, started_at=START),
        ]
        made, scored = make_candidate(INITIAL, "x"), make_scored(INITIAL, 0.0)
        announced = Announcement(key=key, score=1.0, evaluations=1, announced_at=START)
        measured = [make_measurement(second, busy=second / 3) for second in range(3)]
        append(storage, leases[0], *reversed(attempts), make_step(0, 2), make_committed(make_step(0, 1), key))
        append(storage, leases[SHARED_CHAIN], announced, *reversed(measured), made, scored)
        append(storage, leases[1], make_step(1, 1), make_candidate(CandidateKey(1, 1, 0), "y"))
        append(storage, other[0], *full_step())
        with storage.snapshot("run-1") as snapshot:
            assert snapshot.run == storage.get_run("run-1")
            assert list(snapshot.records(Step)) == [
                make_committed(make_step(0, 1), key),
                make_step(0, 2),
                make_step(1, 1),
            ]
            assert list(snapshot.records(Candidate)) == [
                made,
                make_candidate(CandidateKey(1, 1, 0), "y"),
            ]
            assert list(snapshot.records(Evaluation)) == [scored, *attempts]
            assert list(snapshot.records(Announcement)) == [announced]
            assert list(snapshot.records(Measurement)) == measured
            assert [*snapshot.records(Prompt), *snapshot.records(Completion)] == []
        with storage.snapshot("run-2") as snapshot:
            assert [
                *snapshot.records(Step),
                *snapshot.records(Prompt),
                *snapshot.records(Completion),
                *snapshot.records(Candidate),
                *snapshot.records(Evaluation),
            ] == list(full_step())

    def test_many_records_come_in_pages_that_can_be_read_in_turns(
        self, storage_factory: StorageFactory
    ) -> None:
        """Nobody who reads two kinds side by side, or stops halfway, disturbs the other."""
        storage = storage_factory()
        lease = start(storage)[0]
        keys = [CandidateKey(0, 1, index) for index in range(300)]
        append(storage, lease, *(make_completion(key, f"said {key} " * 20) for key in keys))
        append(storage, lease, *(make_candidate(key, f"source {key} " * 20) for key in keys))
        with storage.snapshot("run-1") as snapshot:
            next(snapshot.records(Completion))
            pairs = zip(snapshot.records(Completion), snapshot.records(Candidate), strict=True)
            assert [(said.key, made.source) for said, made in pairs] == [
                (key, f"source {key} " * 20) for key in keys
            ]

    def test_what_is_written_meanwhile_is_not_seen(self, storage_factory: StorageFactory) -> None:
        """Nor does the reader keep anybody from writing."""
        storage = storage_factory()
        lease = start(storage)[0]
        append(storage, lease, make_step(0, 1))
        with storage.snapshot("run-1") as snapshot:
            again = storage_factory()
            append(again, lease, make_committed(make_step(0, 1), None), make_step(0, 2))
            append(again, lease, make_completion(CandidateKey(0, 2, 0)))
            assert list(snapshot.records(Completion)) == []
            assert list(snapshot.records(Step)) == [make_step(0, 1)]
        with storage.snapshot("run-1") as snapshot:
            assert len(list(snapshot.records(Step))) == 2

    def test_no_snapshot_of_an_unknown_run(self, storage_factory: StorageFactory) -> None:
        """The error is the usual one."""
        with pytest.raises(UnknownRun, match="run-9"), storage_factory().snapshot("run-9"):
            pass
