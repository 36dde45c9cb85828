"""The records that cross boundaries, and the states that they go through.

All are immutable. ``None`` means unknown or not there, never zero. Times are seconds, instants are aware UTC
datetimes. A record names its place by ``(chain, step, index)``; the run is always given beside it.
"""

from __future__ import annotations

from discovery.records.judged import Candidate, Durations, Evaluation, Failure, Score
from discovery.records.observed import Announcement, Measurement, SandboxRecord
from discovery.records.places import INITIAL, SHARED_CHAIN, CandidateKey, Json, initial_key, text_hash
from discovery.records.spoken import (
    Answer,
    Completion,
    Consultation,
    Message,
    ModelIdentity,
    Prompt,
    TokenUsage,
)
from discovery.records.states import (
    AdvicePurpose,
    Direction,
    EvaluationState,
    FailureKind,
    Purpose,
    RunStatus,
    StepState,
)
from discovery.records.taken import CommittedStep, Outcome, Step

__all__ = [
    "INITIAL",
    "SHARED_CHAIN",
    "AdvicePurpose",
    "Announcement",
    "Answer",
    "Candidate",
    "CandidateKey",
    "CommittedStep",
    "Completion",
    "Consultation",
    "Direction",
    "Durations",
    "Evaluation",
    "EvaluationState",
    "Failure",
    "FailureKind",
    "Json",
    "Measurement",
    "Message",
    "ModelIdentity",
    "Outcome",
    "Prompt",
    "Purpose",
    "Record",
    "RunStatus",
    "SandboxRecord",
    "Score",
    "Step",
    "StepState",
    "TokenUsage",
    "initial_key",
    "text_hash",
]

Record = (
    Step
    | Prompt
    | Completion
    | Candidate
    | Evaluation
    | Consultation
    | SandboxRecord
    | Announcement
    | Measurement
)
"""What ``Storage.append`` takes."""
