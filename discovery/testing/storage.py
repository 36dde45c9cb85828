"""The contract of ``Storage`` as tests, for any implementation.

Needs pytest. Give a fixture ``storage_factory`` that returns a callable: each call opens one and the same, at
first empty, database once more (with ``clock``, seconds since 1970, when given), and the fixture closes all
of them. Then::

    class TestMyStorage(StorageContract):
        pass
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

import pytest

from discovery.errors import LeaseLost, StorageError, UnknownRun
from discovery.records import (
    INITIAL,
    SHARED_CHAIN,
    Announcement,
    Candidate,
    CandidateKey,
    CommittedStep,
    Completion,
    Direction,
    Durations,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Measurement,
    Message,
    ModelIdentity,
    Outcome,
    Prompt,
    Purpose,
    Record,
    RunStatus,
    SandboxRecord,
    Score,
    Step,
    StepState,
    TokenUsage,
)
from discovery.storage.base import ChainSummary, Lease, RunCounts, RunRecord, Storage, Write

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
WEIRD = "NUL \0, a lone surrogate \ud800, two \ud83d\ude00 that are no pair, \U0001f600, and a line\r\n"


class StorageFactory(Protocol):
    """Opens the database of one test."""

    def __call__(self, *, clock: Callable[[], float] | None = None) -> Storage:
        """Open it once more."""
        ...


class Clock:
    """Seconds since 1970 that move when told to."""

    def __init__(self) -> None:
        self.now = START.timestamp()

    def __call__(self) -> float:
        """The time now."""
        return self.now


def make_run(run: str = "run-1", direction: Direction = Direction.MAXIMIZE) -> RunRecord:
    """A run that was just created."""
    return RunRecord(
        id=run,
        problem="packing",
        problem_path="/problems/packing",
        problem_version="a" * 64,
        direction=direction,
        config={"search": {"chains": 2, "ratio": 0.1}, "generator": None},
        status=RunStatus.CREATED,
        created_at=START,
    )


def make_step(chain: int, step: int, committed: CandidateKey | None = None) -> Step:
    """A planned step."""
    return Step(
        chain=chain,
        step=step,
        state=StepState.PLANNED,
        parents=(INITIAL,),
        selector="rpucg",
        selection={"gamma": 0.8, "values": [0.1, 1 / 3]},
        best_before=0.25,
        planned_at=START + timedelta(seconds=step),
    )


def make_committed(step: Step, committed: CandidateKey | None) -> Step:
    """The same step, committed."""
    return replace(
        step,
        state=StepState.COMMITTED,
        committed=committed,
        reason="best of all valid",
        best_after=0.5,
        committed_at=step.planned_at + timedelta(seconds=1),
    )


def make_completion(key: CandidateKey, text: str | None = "a completion") -> Completion:
    """A completion with as little as there can be."""
    return Completion(key=key, text=text, model=ModelIdentity(generator="fake"), created_at=START)


def make_candidate(key: CandidateKey, source: str) -> Candidate:
    """A candidate of the initial one."""
    return Candidate(key=key, source=source, parents=(INITIAL,), created_at=START)


def make_scored(key: CandidateKey, score: float, after_s: float = 1.0) -> Evaluation:
    """A finished evaluation with a score."""
    return Evaluation(
        key=key,
        state=EvaluationState.SCORED,
        score=Score(value=score),
        started_at=START,
        finished_at=START + timedelta(seconds=after_s),
    )


def make_failed(key: CandidateKey, kind: FailureKind = FailureKind.CRASHED) -> Evaluation:
    """A finished evaluation without a score."""
    return Evaluation(
        key=key,
        state=EvaluationState.FAILED,
        failure=Failure(kind=kind, message="it fell"),
        started_at=START,
        finished_at=START + timedelta(seconds=1),
    )


def make_measurement(after_s: float = 0.0, **values: float) -> Measurement:
    """A moment of a run, some seconds after its start."""
    return Measurement(at=START + timedelta(seconds=after_s), values=values)


def full_step() -> Sequence[Record]:
    """A planned step 0.1 whose records have everything that records can have."""
    key, other = CandidateKey(0, 1, 0), CandidateKey(0, 1, 1)
    return (
        make_step(0, 1),
        Prompt(
            chain=0,
            step=1,
            messages=(Message(role="system", content="Improve it."), Message(role="user", content=WEIRD)),
            parents=(INITIAL, INITIAL),
        ),
        Completion(
            key=key,
            text=WEIRD * 10,
            reasoning="because " * 50,
            finish_reason="stop",
            model=ModelIdentity(generator="openai", model="m", revision="r", adapter="a", server="s 1"),
            sampling={"temperature": 0.7, "stop": None, "extra": {"z": 1, "a": [WEIRD]}},
            seed=2**63 + 5,
            tokens=TokenUsage(prompt=10, completion=20, reasoning=0, cached=None),
            token_ids=(0, 151643, 2**31),
            logprobs=(None, -0.1, 0.0, -1e-300, float("-inf"), None),
            prompt_token_ids=(*range(20), 2**31),
            forced=(1, 3),
            latency_s=0.1 + 0.2,
            created_at=START.astimezone(timezone(timedelta(hours=5))),
        ),
        replace(
            make_completion(other, None),
            tokens=TokenUsage(),
            token_ids=(),
            logprobs=(),
            prompt_token_ids=(),
            forced=(0, 0),
        ),
        make_candidate(key, WEIRD * 100),
        Evaluation(
            key=key,
            state=EvaluationState.SCORED,
            score=Score(
                value=0.1 + 0.2,
                metrics={"zulu": 1, "alpha": 2.5},
                private={"secret": [1, None, WEIRD]},
                feedback=WEIRD,
                artifact={"circles": [[0.1, 0.2, 0.3]] * 30},
                samples=(0.1, 0.1 + 0.2, 1e300),
                interval=(0.1, 1 / 3),
            ),
            durations=Durations(wall_s=1.5, sandbox_s=1.25, sandbox_cpu_s=None),
            output="printed " + WEIRD,
            suspicion="too good: " + WEIRD,
            sandbox="bubblewrap-1",
            scorer_version="b" * 64,
            started_at=START,
            finished_at=START + timedelta(microseconds=1),
        ),
        replace(
            make_failed(other, FailureKind.NO_PROGRAM),
            failure=Failure(kind=FailureKind.NO_PROGRAM, message=WEIRD, detail=WEIRD * 20),
            duplicate_of=INITIAL,
        ),
    )


def start(
    storage: Storage, run: str = "run-1", chains: int = 2, direction: Direction = Direction.MAXIMIZE
) -> dict[int, Lease]:
    """A stored run and all its leases, by chain."""
    storage.create_run(make_run(run, direction))
    leases = storage.acquire(run, range(SHARED_CHAIN, chains), "owner", 60.0)
    return {lease.chain: lease for lease in leases}


def append(storage: Storage, lease: Lease, *records: Record) -> None:
    """Append under one lease that must be held."""
    assert storage.append([Write(lease=lease, records=records)]) == []


class StorageContract:
    """What every storage does. See the module's docstring."""

    # Runs

    def test_run_round_trips(self, storage_factory: StorageFactory) -> None:
        """A run is read back as it was stored, by another process as well."""
        run = replace(make_run(), message=WEIRD, facts={"b": 1, "a": [0.1]}, wall_s=1.5, finished_at=START)
        storage_factory().create_run(run)
        read = storage_factory().get_run("run-1")
        assert read == run
        assert list(read.facts) == ["b", "a"]
        assert read.created_at.tzinfo is UTC

    def test_run_id_is_unique(self, storage_factory: StorageFactory) -> None:
        """A taken id is refused, and the stored run stays."""
        storage = storage_factory()
        storage.create_run(make_run())
        with pytest.raises(StorageError, match="run-1"):
            storage.create_run(replace(make_run(), problem="other"))
        assert storage.get_run("run-1").problem == "packing"

    def test_run_is_found_by_unique_prefix(self, storage_factory: StorageFactory) -> None:
        """A prefix is enough when it is unique; a whole id wins over being a prefix."""
        storage = storage_factory()
        for run in ("20260301-aa", "20260301-ab", "20260301-abc"):
            storage.create_run(make_run(run))
        assert storage.get_run("20260301-aa").id == "20260301-aa"
        assert storage.get_run("20260301-ab").id == "20260301-ab"
        with pytest.raises(UnknownRun, match="20260301-abc"):
            storage.get_run("2026")

    @pytest.mark.parametrize("run", ["run-2", "", "%", "_"])
    def test_unknown_run_names_the_nearest(self, storage_factory: StorageFactory, run: str) -> None:
        """An unknown id is an error that lists what there is."""
        storage = storage_factory()
        storage.create_run(make_run("run-1"))
        with pytest.raises(UnknownRun, match="run-1"):
            storage.get_run(run)

    def test_every_method_refuses_an_unknown_run(self, storage_factory: StorageFactory) -> None:
        """No method takes an unknown run for an empty one."""
        storage = storage_factory()
        lease = Lease(run="none", chain=0, owner="o", epoch=1)
        calls: list[Callable[[], object]] = [
            lambda: storage.acquire("none", [0], "o", 1.0),
            lambda: storage.holder("none"),
            lambda: storage.append([Write(lease=lease, records=(make_step(0, 1),))]),
            lambda: list(storage.committed_steps("none", 0)),
            lambda: storage.counts("none"),
            lambda: storage.chain_summaries("none"),
            lambda: storage.scores("none"),
            lambda: storage.verifications("none"),
            lambda: storage.measurements("none"),
            lambda: storage.update_run(replace(lease, chain=SHARED_CHAIN)),
        ]
        for call in calls:
            with pytest.raises(UnknownRun):
                call()

    def test_runs_are_listed_oldest_first(self, storage_factory: StorageFactory) -> None:
        """The order is that of creation, not of ids."""
        storage = storage_factory()
        storage.create_run(replace(make_run("a"), created_at=START + timedelta(days=1)))
        storage.create_run(make_run("b"))
        assert [run.id for run in storage.list_runs()] == ["b", "a"]

    def test_update_changes_what_is_given(self, storage_factory: StorageFactory) -> None:
        """Facts are merged, the message is always replaced, the rest stays."""
        storage = storage_factory()
        lease = start(storage)[SHARED_CHAIN]
        storage.update_run(lease, status=RunStatus.RUNNING, message="going", facts={"a": 1, "b": 1})
        storage.update_run(lease, wall_s=2.5, facts={"b": 2}, finished_at=START)
        read = storage.get_run("run-1")
        assert read.status is RunStatus.RUNNING
        assert (read.message, read.wall_s, read.finished_at) == (None, 2.5, START)
        assert read.facts == {"a": 1, "b": 2}

    def test_update_needs_the_shared_lease(self, storage_factory: StorageFactory) -> None:
        """Whoever lost the run cannot change it; another chain's lease is no use."""
        storage = storage_factory()
        leases = start(storage)
        with pytest.raises(StorageError, match="SHARED_CHAIN"):
            storage.update_run(leases[0], wall_s=1.0)
        storage.release([leases[SHARED_CHAIN]])
        with pytest.raises(LeaseLost):
            storage.update_run(leases[SHARED_CHAIN], status=RunStatus.FAILED)
        assert storage.get_run("run-1").status is RunStatus.CREATED

    # Leases

    def test_live_lease_is_exclusive(self, storage_factory: StorageFactory) -> None:
        """A second owner gets the free chains only."""
        one, two = storage_factory(), storage_factory()
        one.create_run(make_run())
        assert [lease.chain for lease in one.acquire("run-1", [1, 0], "one", 60.0)] == [0, 1]
        assert [lease.chain for lease in two.acquire("run-1", [0, 1, 2], "two", 60.0)] == [2]

    def test_acquire_again_gives_the_same(self, storage_factory: StorageFactory) -> None:
        """The holder may repeat a call whose answer was lost."""
        storage = storage_factory()
        storage.create_run(make_run())
        first = storage.acquire("run-1", [0], "one", 60.0)
        assert storage.acquire("run-1", [0], "one", 60.0) == first

    def test_expired_lease_is_taken_with_a_higher_epoch(self, storage_factory: StorageFactory) -> None:
        """A holder that does not renew in time can be followed, and its late writes are refused."""
        clock = Clock()
        one, two = storage_factory(clock=clock), storage_factory(clock=clock)
        one.create_run(make_run())
        (old,) = one.acquire("run-1", [0], "one", 10.0)
        clock.now += 9.9
        assert two.acquire("run-1", [0], "two", 10.0) == []
        clock.now += 0.2
        (new,) = two.acquire("run-1", [0], "two", 10.0)
        assert new.epoch == old.epoch + 1
        late = Write(lease=old, records=(make_step(0, 1),))
        good = Write(lease=new, records=(make_step(0, 2),))
        assert one.append([late, good]) == [late]
        assert one.step("run-1", 0, 1) is None
        assert one.step("run-1", 0, 2) is not None
        assert one.renew([old, new], 10.0) == [new]

    def test_renewing_keeps_a_lease(self, storage_factory: StorageFactory) -> None:
        """Renewed leases live on from the time of renewal."""
        clock = Clock()
        storage = storage_factory(clock=clock)
        storage.create_run(make_run())
        leases = storage.acquire("run-1", [SHARED_CHAIN, 0], "one", 10.0)
        clock.now += 8
        assert storage.renew(leases, 10.0) == leases
        clock.now += 8
        assert storage.acquire("run-1", [0], "two", 10.0) == []
        assert storage.holder("run-1") == "one"

    def test_sleeper_goes_on_when_nobody_came(self, storage_factory: StorageFactory) -> None:
        """A lease that ran out is good until somebody takes it."""
        clock = Clock()
        storage = storage_factory(clock=clock)
        storage.create_run(make_run())
        (lease,) = storage.acquire("run-1", [0], "one", 10.0)
        clock.now += 1000
        append(storage, lease, make_step(0, 1))
        assert storage.renew([lease], 10.0) == [lease]
        assert storage.acquire("run-1", [0], "two", 10.0) == []

    def test_dead_owner_is_followed_at_once(self, storage_factory: StorageFactory) -> None:
        """Leases of owners that are known to have ended count as expired; others' do not."""
        storage = storage_factory()
        storage.create_run(make_run())
        (old,) = storage.acquire("run-1", [0], "gone", 60.0)
        storage.acquire("run-1", [1], "alive", 60.0)
        (new,) = storage.acquire("run-1", [0, 1], "next", 60.0, dead=["gone", "other"])
        assert (new.chain, new.epoch) == (0, old.epoch + 1)
        refused = Write(lease=old, records=(make_step(0, 1),))
        assert storage.append([refused]) == [refused]

    def test_released_lease_is_free_and_dead(self, storage_factory: StorageFactory) -> None:
        """Releasing ends the right to write at once; releasing what is lost does nothing."""
        storage = storage_factory()
        storage.create_run(make_run())
        (old,) = storage.acquire("run-1", [0], "one", 60.0)
        storage.release([old])
        refused = Write(lease=old, records=(make_step(0, 1),))
        assert storage.append([refused]) == [refused]
        (new,) = storage.acquire("run-1", [0], "one", 60.0)
        assert new.epoch == old.epoch + 1
        storage.release([old])
        assert storage.renew([new], 60.0) == [new]

    def test_holder_is_the_live_supervisor(self, storage_factory: StorageFactory) -> None:
        """Only a live lease of the shared chain counts."""
        clock = Clock()
        storage = storage_factory(clock=clock)
        storage.create_run(make_run())
        storage.acquire("run-1", [0], "worker", 10.0)
        assert storage.holder("run-1") is None
        (lease,) = storage.acquire("run-1", [SHARED_CHAIN], "boss", 10.0)
        assert storage.holder("run-1") == "boss"
        clock.now += 11
        assert storage.holder("run-1") is None
        storage.renew([lease], 10.0)
        storage.release([lease])
        assert storage.holder("run-1") is None

    def test_one_of_many_takers_wins(self, storage_factory: StorageFactory) -> None:
        """Threads that race for the same chains never get the same one."""
        storage = storage_factory()
        storage.create_run(make_run())
        got: list[Lease] = []

        def take(owner: str) -> None:
            got.extend(storage.acquire("run-1", range(5), owner, 60.0))

        threads = [threading.Thread(target=take, args=(f"owner {i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(lease.chain for lease in got) == [0, 1, 2, 3, 4]

    # Appending

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

    # Reading

    def test_committed_steps_tell_all_outcomes(self, storage_factory: StorageFactory) -> None:
        """In order of steps and indices, committed ones only, failures without a program included."""
        storage = storage_factory()
        lease = start(storage)[0]
        expected = []
        for number in (2, 1, 3):
            good, bad, none = (CandidateKey(0, number, index) for index in (0, 1, 2))
            candidate = make_candidate(good, f"source {number}")
            planned = make_step(0, number)
            failed = make_failed(none, FailureKind.NO_PROGRAM)
            duplicate = replace(make_failed(bad, FailureKind.TIMEOUT), duplicate_of=INITIAL)
            append(storage, lease, planned, candidate, make_candidate(bad, "same"))
            append(storage, lease, failed, duplicate, make_scored(good, float(number)))
            if number == 3:
                continue
            append(storage, lease, make_committed(planned, good))
            outcomes = (
                Outcome(key=good, source_hash=candidate.source_hash, score=float(number)),
                Outcome(
                    key=bad,
                    source_hash=make_candidate(bad, "same").source_hash,
                    score=None,
                    failure=FailureKind.TIMEOUT,
                    message="it fell",
                    duplicate_of=INITIAL,
                ),
                Outcome(
                    key=none,
                    source_hash=None,
                    score=None,
                    failure=FailureKind.NO_PROGRAM,
                    message="it fell",
                ),
            )
            expected.append(
                CommittedStep(chain=0, step=number, parents=(INITIAL,), outcomes=outcomes, committed=good)
            )
        assert list(storage.committed_steps("run-1", 0)) == sorted(expected, key=lambda s: s.step)
        assert list(storage.committed_steps("run-1", 1)) == []

    def test_long_chain_is_streamed_whole(self, storage_factory: StorageFactory) -> None:
        """No step is lost or repeated where one page of results ends."""
        storage = storage_factory()
        lease = start(storage)[0]
        count = 1300
        for first in range(1, count + 1, 100):
            records: list[Record] = []
            for number in range(first, first + 100):
                key = CandidateKey(0, number, 0)
                records += [make_committed(make_step(0, number), key), make_scored(key, 1.0)]
            append(storage, lease, *records)
        steps = list(storage.committed_steps("run-1", 0))
        assert [step.step for step in steps] == list(range(1, count + 1))
        assert all(len(step.outcomes) == 1 for step in steps)

    def test_latest_attempt_counts(self, storage_factory: StorageFactory) -> None:
        """A step shows the latest attempt of an evaluation, outcomes the latest finished one."""
        storage = storage_factory()
        lease = start(storage)[0]
        key = CandidateKey(0, 1, 0)
        planned = make_step(0, 1)
        again = replace(make_scored(key, 2.0), attempt=1)
        running = Evaluation(key=key, attempt=2, state=EvaluationState.RUNNING, started_at=START)
        append(storage, lease, planned, make_failed(key), again, running)
        stored = storage.step("run-1", 0, 1)
        assert stored is not None
        assert stored.evaluations == {0: running}
        append(storage, lease, make_committed(planned, key))
        (step,) = storage.committed_steps("run-1", 0)
        assert [outcome.score for outcome in step.outcomes] == [2.0]

    def test_open_step_is_the_planned_one(self, storage_factory: StorageFactory) -> None:
        """A step is open from its plan to its commit, with whatever is stored of it."""
        storage = storage_factory()
        lease = start(storage)[0]
        assert storage.open_steps("run-1", 0) == []
        planned = make_step(0, 1)
        append(storage, lease, planned)
        (opened,) = storage.open_steps("run-1", 0)
        assert opened is not None
        assert (opened.step, opened.prompt, opened.completions) == (planned, None, {})
        append(storage, lease, *full_step()[1:])
        assert storage.open_steps("run-1", 0) == [storage.step("run-1", 0, 1)]
        append(storage, lease, make_committed(planned, None))
        assert storage.open_steps("run-1", 0) == []
        assert storage.open_steps("run-1", 1) == []

    def test_source_is_found_where_it_was_judged(self, storage_factory: StorageFactory) -> None:
        """Not while it runs, not at a duplicate, not at a verification, not in another run."""
        storage = storage_factory()
        leases, other = start(storage), start(storage, "run-2")
        one, two = CandidateKey(0, 1, 0), CandidateKey(1, 1, 0)
        source = make_candidate(one, "x = 1").source_hash
        running = Evaluation(key=one, state=EvaluationState.RUNNING, started_at=START)
        append(storage, leases[0], make_candidate(one, "x = 1"), running)
        append(storage, leases[0], replace(make_scored(one, 1.0), purpose=Purpose.VERIFY))
        assert storage.find_source("run-1", source) is None
        append(storage, leases[0], make_scored(one, 1.0))
        duplicate = replace(make_scored(two, 1.0), duplicate_of=one)
        append(storage, leases[1], make_candidate(two, "x = 1"), duplicate)
        assert storage.find_source("run-1", source) == make_scored(one, 1.0)
        assert storage.find_source("run-1", make_candidate(one, "x = 2").source_hash) is None
        append(storage, other[0], make_candidate(one, "x = 2"), make_failed(one))
        assert storage.find_source("run-1", make_candidate(one, "x = 2").source_hash) is None

    def test_counts_are_of_generated_candidates(self, storage_factory: StorageFactory) -> None:
        """The initial candidate, verifications and unfinished evaluations are not counted."""
        storage = storage_factory()
        leases = start(storage)
        start(storage, "run-2")
        assert storage.counts("run-1") == RunCounts(
            evaluations=0,
            distinct_candidates=0,
            completions=0,
            failures={},
            prompt_tokens=0,
            completion_tokens=0,
        )
        append(storage, leases[SHARED_CHAIN], make_candidate(INITIAL, "start"), make_scored(INITIAL, 0.5))
        keys = [CandidateKey(0, 1, index) for index in range(5)]
        usage = TokenUsage(prompt=7, completion=11)
        append(
            storage,
            leases[0],
            replace(make_completion(keys[0]), tokens=usage),
            replace(make_completion(keys[1]), tokens=replace(usage, prompt=None)),
            make_completion(keys[2]),
            *(make_candidate(key, source) for key, source in zip(keys, "aab", strict=False)),
            make_scored(keys[0], 1.0),
            replace(make_scored(keys[0], 1.0), purpose=Purpose.VERIFY),
            replace(make_scored(keys[1], 1.0), duplicate_of=keys[0]),
            make_failed(keys[2], FailureKind.TIMEOUT),
            make_failed(keys[3], FailureKind.NO_PROGRAM),
            Evaluation(key=keys[4], state=EvaluationState.RUNNING, started_at=START),
        )
        assert storage.counts("run-1") == RunCounts(
            evaluations=4,
            distinct_candidates=2,
            completions=3,
            failures={"timeout": 1, "no_program": 1},
            prompt_tokens=7,
            completion_tokens=22,
        )

    @pytest.mark.parametrize("direction", list(Direction))
    def test_summaries_name_the_best(self, storage_factory: StorageFactory, direction: Direction) -> None:
        """Best by direction, ties to the earlier, the initial one first of all, disagreements left out."""
        storage = storage_factory()
        leases = start(storage, chains=4, direction=direction)
        sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
        append(storage, leases[SHARED_CHAIN], make_scored(INITIAL, sign * 0.5))
        late, early = CandidateKey(0, 2, 0), CandidateKey(0, 1, 1)
        forged = CandidateKey(0, 1, 0)
        disagrees = replace(make_failed(forged, FailureKind.DISAGREEMENT), purpose=Purpose.VERIFY)
        append(
            storage,
            leases[0],
            make_committed(make_step(0, 1), early),
            make_step(0, 2),
            make_scored(late, sign * 2.0, after_s=1),
            make_scored(early, sign * 2.0, after_s=2),
            make_scored(forged, sign * 9.0),
            disagrees,
            make_failed(CandidateKey(0, 2, 1)),
        )
        append(storage, leases[1], make_step(1, 1), make_scored(CandidateKey(1, 1, 0), sign * 0.5))
        append(storage, leases[2], make_step(2, 1))
        assert storage.chain_summaries("run-1") == [
            ChainSummary(chain=0, steps=1, evaluations=4, best=early, best_score=sign * 2.0),
            ChainSummary(chain=1, steps=0, evaluations=1, best=INITIAL, best_score=sign * 0.5),
            ChainSummary(chain=2, steps=0, evaluations=0, best=INITIAL, best_score=sign * 0.5),
        ]
        assert storage.disagreements("run-1") == {forged: disagrees.failure}

    def test_only_a_second_scoring_that_disagrees_refutes(self, storage_factory: StorageFactory) -> None:
        """One that fails just as the first did confirms it; the latest attempt counts; audits change nothing."""
        storage = storage_factory()
        lease = start(storage)[0]
        keys = [CandidateKey(0, 1, index) for index in range(5)]
        forged, wild, mended, tired, audited = keys
        disagrees = make_failed(forged, FailureKind.DISAGREEMENT)
        out = make_failed(wild, FailureKind.OUT_OF_BOUNDS)
        again = [
            disagrees,
            out,
            replace(disagrees, key=mended),
            replace(make_scored(mended, 3.0), attempt=1),
            replace(disagrees, key=tired),
        ]
        append(
            storage,
            lease,
            make_step(0, 1),
            *(make_scored(key, float(key.index)) for key in (forged, mended, audited)),
            out,
            replace(out, key=tired),
            *(replace(evaluation, purpose=Purpose.VERIFY) for evaluation in again),
            replace(disagrees, key=audited, purpose=Purpose.AUDIT),
        )
        assert storage.disagreements("run-1") == {forged: disagrees.failure, tired: disagrees.failure}
        counts = storage.counts("run-1")
        assert (counts.evaluations, counts.failures) == (5, {"out_of_bounds": 1, "disagreement": 2})
        assert dict(storage.scores("run-1")) == {
            forged: None,
            wild: None,
            mended: 2.0,
            tired: None,
            audited: 4.0,
        }
        assert [e.key for e in storage.verifications("run-1")] == [forged, wild, mended, mended, tired]
        (summary, *_) = storage.chain_summaries("run-1")
        assert (summary.best, summary.best_score) == (audited, 4.0)

    def test_summaries_without_any_score(self, storage_factory: StorageFactory) -> None:
        """Nothing scored means no best, not zero."""
        storage = storage_factory()
        append(storage, start(storage)[0], make_step(0, 1), make_failed(CandidateKey(0, 1, 0)))
        (summary,) = storage.chain_summaries("run-1")
        assert (summary.best, summary.best_score, summary.evaluations) == (None, None, 1)

    def test_scores_are_in_the_order_of_finishing(self, storage_factory: StorageFactory) -> None:
        """Failures are None, verifications and running ones left out."""
        storage = storage_factory()
        leases = start(storage)
        one, two = CandidateKey(0, 1, 0), CandidateKey(0, 1, 1)
        append(storage, leases[SHARED_CHAIN], make_scored(INITIAL, 0.0, after_s=0))
        append(
            storage,
            leases[0],
            make_scored(one, 1.0, after_s=5),
            make_failed(two),
            replace(make_scored(one, 1.0), purpose=Purpose.VERIFY),
            Evaluation(key=CandidateKey(0, 1, 2), state=EvaluationState.RUNNING, started_at=START),
        )
        assert storage.scores("run-1") == [(INITIAL, 0.0), (two, None), (one, 1.0)]

    def test_announcements_are_in_order(self, storage_factory: StorageFactory) -> None:
        """The order is that of announcing."""
        storage = storage_factory()
        lease = start(storage)[SHARED_CHAIN]
        made = [
            Announcement(
                key=CandidateKey(chain, 1, 0),
                score=float(chain),
                evaluations=9,
                announced_at=START - timedelta(seconds=chain),
            )
            for chain in range(3)
        ]
        append(storage, lease, *made)
        assert storage.announcements("run-1") == made[::-1]

    def test_measurements_are_in_order_of_time(self, storage_factory: StorageFactory) -> None:
        """Whatever the order of writing, of the run asked for, with every value as it was."""
        storage = storage_factory()
        lease, other = start(storage)[SHARED_CHAIN], start(storage, "run-2")[SHARED_CHAIN]
        early = make_measurement(1, running=3, tokens_per_s=0.1 + 0.2, zulu=-1e-300)
        late = make_measurement(2, **{f"series_{i}": i / 7 for i in range(40)})
        append(storage, lease, late, early, make_measurement(3))
        append(storage, other, make_measurement(1, running=9))
        assert storage.measurements("run-1") == [early, late, make_measurement(3)]
        assert list(storage.measurements("run-1")[0].values) == ["running", "tokens_per_s", "zulu"]
        assert storage_factory().measurements("run-2") == [make_measurement(1, running=9)]

    def test_first_measurement_of_an_instant_stays(self, storage_factory: StorageFactory) -> None:
        """An equal one again, or another of the same microsecond, is no error; neither ends a run."""
        storage = storage_factory()
        lease = start(storage)[SHARED_CHAIN]
        first, second = make_measurement(1, running=3), make_measurement(1, running=4)
        append(storage, lease, first, second)
        append(storage, lease, first)
        append(storage, lease, second, make_measurement(2, running=5))
        assert storage.measurements("run-1") == [first, make_measurement(2, running=5)]

    def test_measurements_are_fenced_by_the_shared_lease(self, storage_factory: StorageFactory) -> None:
        """A chain's lease is no use, and whoever lost the run writes none; NaN is refused."""
        storage = storage_factory()
        leases = start(storage)
        with pytest.raises(StorageError, match="Measurement"):
            append(storage, leases[0], make_measurement(1, running=1))
        with pytest.raises(StorageError, match="running"):
            append(storage, leases[SHARED_CHAIN], make_measurement(1, running=float("nan")))
        storage.release([leases[SHARED_CHAIN]])
        late = Write(lease=leases[SHARED_CHAIN], records=(make_measurement(1, running=1),))
        assert storage.append([late]) == [late]
        assert storage.measurements("run-1") == []

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
