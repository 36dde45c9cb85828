"""The contract of ``Storage``: reading totals and series back for people. See :mod:`discovery.testing.storage`."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from discovery.errors import StorageError
from discovery.records import (
    INITIAL,
    SHARED_CHAIN,
    Announcement,
    CandidateKey,
    Direction,
    Evaluation,
    EvaluationState,
    FailureKind,
    Purpose,
    TokenUsage,
)
from discovery.storage.base import ChainSummary, RunCounts, Write
from discovery.testing.storage_records import (
    START,
    StorageFactory,
    append,
    make_candidate,
    make_committed,
    make_completion,
    make_consultation,
    make_failed,
    make_measurement,
    make_scored,
    make_step,
    start,
)


class TotalsContract:
    """Totals, summaries and series are read back for people."""

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
        usage = TokenUsage(prompt=7, completion=11, cached=3)
        append(
            storage,
            leases[0],
            replace(make_completion(keys[0]), tokens=usage),
            replace(make_completion(keys[1]), tokens=TokenUsage(completion=11)),
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
            cached_tokens=3,
            duplicates=1,
        )

    def test_repeated_solutions_are_counted_within_chains(self, storage_factory: StorageFactory) -> None:
        """Of programs with a result of their own; where solution and score are equal, each but the first."""
        storage = storage_factory()
        leases = start(storage)
        told = [("a", 1.0), ("a", 1.0), ("a", 2.0), ("b", 1.0), (None, 1.0), ("a", 1.0), (None, 1.0)]
        for index, (solution, score) in enumerate(told):
            known = solution and solution * 64
            append(storage, leases[0], replace(make_scored(CandidateKey(0, 1, index), score), solution=known))
        copy = replace(make_scored(CandidateKey(0, 2, 0), 1.0), solution="a" * 64)
        append(storage, leases[0], replace(copy, duplicate_of=CandidateKey(0, 1, 0)))
        append(storage, leases[1], replace(make_scored(CandidateKey(1, 1, 0), 1.0), solution="a" * 64))
        counts = storage.counts("run-1")
        assert (counts.duplicates, counts.repeats) == (1, 2)

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

    def test_speakers_are_told_apart_by_all_that_is_known_of_them(
        self, storage_factory: StorageFactory
    ) -> None:
        """Each with the number of its completions, of the run asked for only."""
        storage = storage_factory()
        lease, other = start(storage)[0], start(storage, "run-2")[0]
        assert storage.speakers("run-1") == {}
        made = [make_completion(CandidateKey(0, 1, index)) for index in range(3)]
        trained = replace(made[0].model, revision="trained" * 100)
        append(storage, lease, *made[:2], replace(made[2], model=trained))
        append(storage, other, replace(made[0], model=trained))
        assert storage.speakers("run-1") == {made[0].model: 2, trained: 1}
        assert storage.speakers("run-2") == {trained: 1}

    def test_tokens_are_told_by_model(self, storage_factory: StorageFactory) -> None:
        """Those of completions and consultations together; of the run asked for only."""
        storage = storage_factory()
        lease, other = start(storage)[0], start(storage, "run-2")[0]
        assert storage.tokens_by_model("run-1") == {}
        plain = make_completion(CandidateKey(0, 1, 0))
        small = replace(plain.model, model="small")
        usage = TokenUsage(prompt=100, completion=10, cached=60)
        made = [
            replace(plain, key=CandidateKey(0, 1, index), model=model, tokens=tokens)
            for index, (model, tokens) in enumerate(
                [(plain.model, usage), (plain.model, TokenUsage(completion=7)), (small, usage), (small, None)]
            )
        ]
        asked = replace(make_consultation(1), model=small, tokens=TokenUsage(prompt=3, completion=4))
        unasked = replace(make_consultation(2), model=None, tokens=None)
        append(storage, lease, *made, asked, unasked)
        append(storage, other, made[0])
        assert storage.tokens_by_model("run-1") == {
            plain.model: TokenUsage(prompt=100, completion=17, cached=60),
            small: TokenUsage(prompt=103, completion=14, cached=60),
        }
        assert list(storage.tokens_by_model("run-2")) == [plain.model]

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
