"""The contract of ``Storage``: appending. See :mod:`discovery.testing.storage`."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from discovery.errors import StorageError
from discovery.records import (
    SHARED_CHAIN,
    Announcement,
    CandidateKey,
    Evaluation,
    EvaluationState,
    Prompt,
    Purpose,
    Record,
    SandboxRecord,
    Score,
)
from discovery.storage.base import Write
from discovery.testing.storage_records import (
    START,
    StorageFactory,
    append,
    full_step,
    make_candidate,
    make_committed,
    make_completion,
    make_failed,
    make_scored,
    make_step,
    start,
)


class AppendingContract:
    """What was appended comes back and never changes."""

    def test_records_round_trip(self, storage_factory: StorageFactory) -> None:
        """Every field of every record comes back exactly, read by another process."""
        storage = storage_factory()
        records = full_step()
        append(storage, start(storage)[0], *records)
        stored = storage_factory().step("run-1", 0, 1)
        assert stored is not None
        key = CandidateKey(0, 1, 0)
        read = (
            stored.step,
            stored.prompt,
            stored.completions[0],
            stored.completions[1],
            stored.candidates[0],
            stored.evaluations[0],
            stored.evaluations[1],
        )
        assert read == records
        assert stored.completions[0].created_at.tzinfo is UTC
        assert stored.evaluations[0].score is not None
        assert list(stored.evaluations[0].score.metrics) == ["zulu", "alpha"]
        assert storage.candidate("run-1", key) == stored.candidates[0]
        assert storage.candidate("run-1", CandidateKey(0, 1, 1)) is None

    def test_appending_again_changes_nothing(self, storage_factory: StorageFactory) -> None:
        """Equal records under taken places are no error, in one batch or in two."""
        storage = storage_factory()
        lease = start(storage)[0]
        records = full_step()
        append(storage, lease, *records, *records)
        before = storage.step("run-1", 0, 1)
        append(storage, lease, *records)
        assert storage.step("run-1", 0, 1) == before

    def test_a_different_record_is_refused_whole(self, storage_factory: StorageFactory) -> None:
        """A batch that would change what is stored leaves nothing behind, of any write."""
        storage = storage_factory()
        leases = start(storage)
        append(storage, leases[0], *full_step())
        key = CandidateKey(0, 1, 0)
        different: list[Record] = [
            make_scored(key, 9.0),
            make_failed(key),
            make_completion(key, "other"),
            make_candidate(key, "other"),
            Prompt(chain=0, step=1, messages=(), parents=()),
            replace(make_step(0, 1), selector="other"),
        ]
        for record in different:
            writes = [
                Write(lease=leases[1], records=(make_step(1, 1),)),
                Write(lease=leases[0], records=(make_step(0, 2), record)),
            ]
            with pytest.raises(StorageError):
                storage.append(writes)
        assert storage.step("run-1", 1, 1) is None
        assert storage.step("run-1", 0, 2) is None

    def test_a_batch_that_contradicts_itself_is_refused(self, storage_factory: StorageFactory) -> None:
        """Two different records for one place in one batch leave nothing behind."""
        storage = storage_factory()
        lease = start(storage)[0]
        key = CandidateKey(0, 1, 0)
        with pytest.raises(StorageError):
            append(storage, lease, make_step(0, 1), make_scored(key, 1.0), make_scored(key, 2.0))
        assert storage.step("run-1", 0, 1) is None

    def test_step_is_committed_once(self, storage_factory: StorageFactory) -> None:
        """Planned becomes committed; the plan may be repeated, the commit may not differ or go back."""
        storage = storage_factory()
        lease = start(storage)[0]
        planned = make_step(0, 1)
        committed = make_committed(planned, CandidateKey(0, 1, 0))
        append(storage, lease, planned)
        append(storage, lease, committed)
        append(storage, lease, committed)
        append(storage, lease, planned)
        for different in (
            replace(committed, committed=None),
            replace(planned, planned_at=START),
            replace(planned, parents=()),
        ):
            with pytest.raises(StorageError):
                append(storage, lease, different)
        stored = storage.step("run-1", 0, 1)
        assert stored is not None
        assert stored.step == committed

    def test_commit_keeps_the_plan(self, storage_factory: StorageFactory) -> None:
        """A step is committed as it was planned."""
        storage = storage_factory()
        lease = start(storage)[0]
        planned = make_step(0, 1)
        append(storage, lease, planned)
        for changed in (replace(planned, parents=()), replace(planned, selector="other")):
            with pytest.raises(StorageError):
                append(storage, lease, make_committed(changed, None))
        stored = storage.step("run-1", 0, 1)
        assert stored is not None
        assert stored.step == planned

    def test_evaluation_finishes_once(self, storage_factory: StorageFactory) -> None:
        """Running becomes finished; the running one may be repeated, another start may not."""
        storage = storage_factory()
        lease = start(storage)[0]
        key = CandidateKey(0, 1, 0)
        running = Evaluation(key=key, state=EvaluationState.RUNNING, started_at=START)
        append(storage, lease, running)
        append(storage, lease, make_scored(key, 1.0))
        append(storage, lease, running, make_scored(key, 1.0))
        for different in (make_failed(key), replace(running, started_at=START + timedelta(seconds=1))):
            with pytest.raises(StorageError):
                append(storage, lease, different)
        append(storage, lease, replace(running, attempt=1))
        assert storage.evaluations("run-1", key) == [make_scored(key, 1.0), replace(running, attempt=1)]

    def test_records_belong_to_their_chain(self, storage_factory: StorageFactory) -> None:
        """A lease fences its own chain; the supervisor may verify, audit and announce for all."""
        storage = storage_factory()
        leases = start(storage)
        key = CandidateKey(0, 1, 0)
        for lease in (leases[1], leases[SHARED_CHAIN]):
            with pytest.raises(StorageError, match="chain 0"):
                append(storage, lease, make_scored(key, 1.0))
        verified = replace(make_scored(key, 1.0), purpose=Purpose.VERIFY)
        best = Announcement(key=key, score=1.0, evaluations=3, announced_at=START)
        audited = [replace(verified, purpose=Purpose.AUDIT, attempt=attempt) for attempt in (0, 1)]
        append(storage, leases[SHARED_CHAIN], *audited, verified, best)
        assert storage.announcements("run-1") == [best]
        assert storage.evaluations("run-1", key) == [verified, *audited]
        assert storage.verifications("run-1") == [verified]

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_what_is_not_finite_is_refused(self, storage_factory: StorageFactory, value: float) -> None:
        """Neither a score nor a metric can be NaN or infinite."""
        storage = storage_factory()
        lease = start(storage)[0]
        key = CandidateKey(0, 1, 0)
        for score in (Score(value=value), Score(value=1.0, metrics={"m": value})):
            with pytest.raises(StorageError):
                append(storage, lease, replace(make_scored(key, 1.0), score=score))
        assert storage.evaluations("run-1", key) == []

    def test_naive_times_are_refused(self, storage_factory: StorageFactory) -> None:
        """A time without a zone is an error, not a guess."""
        storage = storage_factory()
        lease = start(storage)[0]
        with pytest.raises(StorageError, match="time zone"):
            append(storage, lease, replace(make_step(0, 1), planned_at=datetime(2026, 1, 1)))

    def test_sandbox_records_are_shared(self, storage_factory: StorageFactory) -> None:
        """The same properties found on another host are no contradiction; other properties are."""
        storage = storage_factory()
        lease = start(storage)[SHARED_CHAIN]
        record = SandboxRecord(
            id="bwrap-1", backend="bubblewrap", properties={"network": True}, details={"kernel": "6.1"}
        )
        append(storage, lease, record)
        append(storage, lease, record, replace(record, details={"kernel": "6.2"}))
        assert storage.sandbox("bwrap-1") == record
        assert storage.sandbox("bwrap-2") is None
        with pytest.raises(StorageError):
            append(storage, lease, replace(record, properties={"network": False}))

    def test_threads_may_share_a_storage(self, storage_factory: StorageFactory) -> None:
        """Writers of several chains and a reader at the same time lose nothing."""
        storage = storage_factory()
        leases = start(storage, chains=4)
        failures: list[BaseException] = []

        def work(chain: int) -> None:
            try:
                for number in range(1, 21):
                    key = CandidateKey(chain, number, 0)
                    append(storage, leases[chain], make_completion(key, f"text {number}"))
                    append(storage, leases[chain], make_scored(key, float(number)))
                    storage.counts("run-1")
            except StorageError as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(chain,)) for chain in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert storage.counts("run-1").evaluations == 80
        assert storage.counts("run-1").completions == 80

    def test_close_may_be_called_twice(self, storage_factory: StorageFactory) -> None:
        """What was stored is there for the next one."""
        storage = storage_factory()
        append(storage, start(storage)[0], *full_step())
        storage.close()
        storage.close()
        assert storage_factory().step("run-1", 0, 1) is not None
