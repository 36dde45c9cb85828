"""Records for tests of storage: as little as there can be, and all that there can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

from discovery.records import (
    INITIAL,
    SHARED_CHAIN,
    AdvicePurpose,
    Candidate,
    CandidateKey,
    Completion,
    Consultation,
    Direction,
    Durations,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Measurement,
    Message,
    ModelIdentity,
    Prompt,
    Record,
    RunStatus,
    Score,
    Step,
    StepState,
    TokenUsage,
)
from discovery.storage.base import Lease, RunRecord, Storage, Write

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


def make_consultation(
    step: int = 1,
    purpose: AdvicePurpose = AdvicePurpose.REFLECT,
    chain: int = 0,
    text: str | None = "an answer",
) -> Consultation:
    """A consultation with as little as there can be."""
    return Consultation(
        chain=chain,
        step=step,
        purpose=purpose,
        messages=(Message(role="user", content="What is to be learned?"),),
        text=text,
        created_at=START,
    )


def full_consultation() -> Consultation:
    """A consultation that has everything that one can have."""
    return Consultation(
        chain=0,
        step=1,
        purpose=AdvicePurpose.REFLECT,
        subject=CandidateKey(0, 1, 0),
        messages=(Message(role="system", content="Improve it."), Message(role="user", content=WEIRD)),
        text=WEIRD * 5,
        reasoning="because " * 20,
        finish_reason="length",
        model=ModelIdentity(generator="openai", model="m", revision="r", adapter="a", server="s 1"),
        sampling={"temperature": 0.2, "extra": {"z": 1, "a": [WEIRD]}},
        seed=2**63 + 6,
        tokens=TokenUsage(prompt=11, completion=22, reasoning=0, cached=None),
        latency_s=0.1 + 0.2,
        failure="cut " + WEIRD,
        created_at=START.astimezone(timezone(timedelta(hours=5))),
    )


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
        replace(make_candidate(key, WEIRD * 100), form="f" * 64),
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
                exact="0.30000000000000004441",
            ),
            durations=Durations(wall_s=1.5, sandbox_s=1.25, sandbox_cpu_s=None),
            output="printed " + WEIRD,
            suspicion="too good: " + WEIRD,
            sandbox="bubblewrap-1",
            scorer_version="b" * 64,
            solution="c" * 64,
            source_read=True,
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
