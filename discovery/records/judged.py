"""Candidates, and what scoring says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from discovery.records.places import CandidateKey, Json, text_hash
from discovery.records.states import EvaluationState, FailureKind, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One proposed solution, stored before it is evaluated.

    Args:
        key: Place in the run; the completion that it came from has the same.
        source: The whole program (or text), EVOLVE-BLOCKs enforced.
        parents: The candidates that it was made from.
        created_at: When it was extracted.
        warm_start: The candidate whose artifact its program is given; None where it is given none.
        form: SHA-256 of its program without comments and white space, in hexadecimal, by which its run knows it and
            what it draws at random is seeded; None where that is its exact source.
    """

    key: CandidateKey
    source: str
    parents: tuple[CandidateKey, ...]
    created_at: datetime
    warm_start: CandidateKey | None = None
    form: str | None = None

    @property
    def source_hash(self) -> str:
        """SHA-256 of the source, in hexadecimal."""
        return text_hash(self.source)

    @property
    def program_hash(self) -> str:
        """What equal programs have in common: the form, or the source where there is none."""
        return self.form or self.source_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a scorer says of a valid solution.

    Args:
        value: The score, finite, in the problem's own units.
        metrics: Shown to the model and stored.
        private: Stored, never shown to the model.
        feedback: Text for the model.
        artifact: Plain JSON data worth keeping: the solution as scored. With metrics and feedback 4 MiB at most.
        samples: The repeated scores that ``value`` is a statistic of; empty where the scorer ran once. All else is of
            the repeat that comes closest to ``value``.
        interval: Where that statistic lies with the declared confidence: low, high. None where the scorer ran once.
        exact: The exact score of ``artifact`` as a decimal of 20 digits, by the problem's ``verify.py``; None where it
            has none, or was not asked for. Never what a scorer or a candidate says.
    """

    value: float
    metrics: Mapping[str, Json] = field(default_factory=dict)
    private: Mapping[str, Json] = field(default_factory=dict)
    feedback: str | None = None
    artifact: Json = None
    samples: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    exact: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no score.

    Args:
        kind: What went wrong.
        message: One line for people and for the model.
        detail: Traceback or captured output, capped.
    """

    kind: FailureKind
    message: str
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """Where an evaluation's time went, in seconds.

    Args:
        wall_s: From having a slot to being finished.
        sandbox_s: Wall time of candidate code, and of building it where that was done.
        sandbox_cpu_s: CPU time of the same, children included.
    """

    wall_s: float
    sandbox_s: float | None = None
    sandbox_cpu_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One attempt to score a candidate.

    Args:
        key: The candidate's.
        purpose: Search or verification.
        attempt: Counts evaluations of one candidate and purpose, from 0.
        state: Where it stands; ``score`` or ``failure`` is set when it is finished.
        score: Set if and only if the state is SCORED.
        failure: Set if and only if the state is FAILED.
        duplicate_of: The candidate with the same source, or of the same form, whose result this is; nothing ran.
        durations: Where the time went; None for duplicates and for what never ran.
        output: Captured standard output and error of the candidate, capped.
        suspicion: Why its result was scored again before it counted, in one line; None when nothing was odd.
        sandbox: Id of the sandbox's record of verified properties.
        scorer_version: Hash of statement, initial candidate and scorer.
        solution: SHA-256 of the score's artifact as canonical JSON, in hexadecimal; None without one, where equal ones
            say nothing, and where nobody asks.
        source_read: Whether the scorer asked for the program's text; if so, the result holds for that text only.
        started_at: When it began.
        finished_at: When it ended.
    """

    key: CandidateKey
    purpose: Purpose = Purpose.SEARCH
    attempt: int = 0
    state: EvaluationState
    score: Score | None = None
    failure: Failure | None = None
    duplicate_of: CandidateKey | None = None
    durations: Durations | None = None
    output: str | None = None
    suspicion: str | None = None
    sandbox: str | None = None
    scorer_version: str | None = None
    solution: str | None = None
    source_read: bool = False
    started_at: datetime
    finished_at: datetime | None = None

    def __post_init__(self) -> None:
        scored = self.state is EvaluationState.SCORED
        failed = self.state is EvaluationState.FAILED
        if (self.score is not None) != scored or (self.failure is not None) != failed:
            raise ValueError(f"evaluation of {self.key}: state {self.state} contradicts its result")
