"""The contract of ``Storage``: reading steps and candidates back for resume. See :mod:`discovery.testing.storage`."""

from __future__ import annotations

from dataclasses import replace

from discovery.records import (
    INITIAL,
    CandidateKey,
    CommittedStep,
    Evaluation,
    EvaluationState,
    FailureKind,
    Outcome,
    Purpose,
    Record,
    Score,
    TokenUsage,
)
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


class StepsContract:
    """Steps and candidates are read back for resume."""

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
                Outcome(key=good, program_hash=candidate.source_hash, score=float(number)),
                Outcome(
                    key=bad,
                    program_hash=make_candidate(bad, "same").source_hash,
                    score=None,
                    failure=FailureKind.TIMEOUT,
                    message="it fell",
                    duplicate_of=INITIAL,
                ),
                Outcome(
                    key=none,
                    program_hash=None,
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

    def test_committed_steps_tell_who_made_what_for_how_much_where_asked(
        self, storage_factory: StorageFactory
    ) -> None:
        """By the step's selection and the completions' tokens; nothing where neither says, or nobody asks."""
        storage = storage_factory()
        lease = start(storage)[0]
        keys = [CandidateKey(0, number, index) for number in (1, 2) for index in range(2)]
        mixed = replace(make_step(0, 1), selection={"generators": ["big", "s" * 300, "unused"]})
        for planned in (mixed, make_step(0, 2)):
            append(
                storage, lease, planned, *(make_scored(key, 1.0) for key in keys if key.step == planned.step)
            )
            append(storage, lease, make_committed(planned, None))
        append(
            storage,
            lease,
            replace(make_completion(keys[0]), tokens=TokenUsage(prompt=100, completion=7)),
            replace(make_completion(keys[1]), tokens=None),
            replace(make_completion(keys[2]), tokens=TokenUsage(completion=9)),
        )
        told = [
            [(outcome.generator, outcome.tokens) for outcome in step.outcomes]
            for step in storage.committed_steps("run-1", 0, spending=True)
        ]
        assert told == [[("big", 7), ("s" * 300, None)], [(None, 9), (None, None)]]
        plain = [outcome for step in storage.committed_steps("run-1", 0) for outcome in step.outcomes]
        assert {(outcome.generator, outcome.tokens) for outcome in plain} == {(None, None)}

    def test_committed_steps_tell_the_metrics_that_are_asked_for(
        self, storage_factory: StorageFactory
    ) -> None:
        """Of the latest attempt, as numbers; what is private, missing or no finite number is left out."""
        storage = storage_factory()
        lease = start(storage)[0]
        said = {"size": 3, "long": "x" * 100, "zero": 0.1, "flag": True, "vast": 10**400, "none": None}
        public = [{**said, "size": index} for index in range(2)]
        expected = {}
        for number in range(1, 120):
            planned = make_step(0, number)
            first, second, failed = (CandidateKey(0, number, index) for index in range(3))
            scored = [
                replace(make_scored(key, 1.0), score=Score(value=1.0, metrics=told, private={"hidden": 1.0}))
                for key, told in zip((first, second), public, strict=True)
            ]
            changed = Score(value=2.0, metrics={"size": number, "hidden": "h"}, artifact=["a" * number])
            again = replace(scored[1], attempt=1, score=changed)
            append(storage, lease, planned, *scored, make_failed(failed), again)
            append(storage, lease, make_committed(planned, first))
            expected[number] = [{"size": 0.0, "zero": 0.1}, {"size": float(number)}, {}]
        names = ("zero", "size", "hidden", "absent", "long", "flag", "vast", "none")
        told = {s.step: [o.metrics for o in s.outcomes] for s in storage.committed_steps("run-1", 0, names)}
        assert told == expected
        assert all(
            type(value) is float for steps in told.values() for each in steps for value in each.values()
        )
        plain = list(storage.committed_steps("run-1", 0))
        assert all(outcome.metrics == {} for step in plain for outcome in step.outcomes)

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

    def test_committed_steps_know_programs_by_form_and_solutions(
        self, storage_factory: StorageFactory
    ) -> None:
        """By the exact source where the scorer has read it, or there is no form."""
        storage = storage_factory()
        lease = start(storage)[0]
        keys = [CandidateKey(0, 1, index) for index in range(3)]
        made = [make_candidate(key, "x = 1 # one") for key in keys]
        made = [
            replace(candidate, form=form)
            for candidate, form in zip(made, ("f" * 64, "f" * 64, None), strict=True)
        ]
        found = [replace(make_scored(key, 1.0), solution="5" * 64) for key in keys]
        found[1] = replace(found[1], source_read=True, solution=None)
        append(storage, lease, make_step(0, 1), *made, *found)
        append(storage, lease, make_committed(make_step(0, 1), keys[0]))
        (step,) = storage.committed_steps("run-1", 0)
        own = made[0].source_hash
        assert [(o.program_hash, o.solution) for o in step.outcomes] == [
            ("f" * 64, "5" * 64),
            (own, None),
            (own, "5" * 64),
        ]

    def test_source_is_found_by_its_form(self, storage_factory: StorageFactory) -> None:
        """Its own result before another's; of the form only a score, of a scorer that has not read the source."""
        storage = storage_factory()
        lease = start(storage)[0]
        keys = [CandidateKey(0, 1, index) for index in range(5)]
        made = [replace(make_candidate(key, f"x = 1 # {key}"), form="f" * 64) for key in keys]
        source, other = made[4].source_hash, make_candidate(INITIAL, "x").source_hash
        append(
            storage, lease, *made, make_failed(keys[0]), replace(make_scored(keys[1], 1.0), source_read=True)
        )
        append(storage, lease, replace(make_scored(keys[3], 1.0), duplicate_of=keys[2]))
        assert storage.find_source("run-1", source, None, "f" * 64) is None
        append(storage, lease, make_scored(keys[2], 1.0))
        assert storage.find_source("run-1", source, None, "f" * 64) == make_scored(keys[2], 1.0)
        assert storage.find_source("run-1", made[0].source_hash, None, "f" * 64) == make_failed(keys[0])
        assert storage.find_source("run-1", made[1].source_hash, None, "f" * 64).source_read  # type: ignore[union-attr]
        assert storage.find_source("run-1", made[3].source_hash, None, "f" * 64) == make_scored(keys[2], 1.0)
        for place in ((source,), (source, INITIAL, "f" * 64), (other, None, "e" * 64)):
            assert storage.find_source("run-1", *place) is None

    def test_source_is_found_with_its_own_warm_start(self, storage_factory: StorageFactory) -> None:
        """Neither that of a program which was given nothing, nor that of one which was given something else."""
        storage = storage_factory()
        lease = start(storage)[0]
        given = (None, INITIAL, CandidateKey(0, 1, 0))
        source = make_candidate(INITIAL, "x = 1").source_hash
        for step, warm_start in enumerate(given, start=2):
            assert storage.find_source("run-1", source, warm_start) is None
            key = CandidateKey(0, step, 0)
            candidate = replace(make_candidate(key, "x = 1"), warm_start=warm_start)
            append(storage, lease, candidate, make_scored(key, float(step)))
        for step, warm_start in enumerate(given, start=2):
            found = storage.find_source("run-1", source, warm_start)
            assert found == make_scored(CandidateKey(0, step, 0), float(step))
