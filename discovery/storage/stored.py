"""What is stored of a run beside its records of what happened: the run itself, leases, and totals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from discovery.records import (
    Candidate,
    CandidateKey,
    Completion,
    Direction,
    Evaluation,
    Json,
    Prompt,
    Record,
    RunStatus,
    Step,
)

ARRIVED_AT = "arrived_at"
"""The fact that says when a run was brought in: of this storage alone, so no archive has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is stored of a run as a whole.

    Args:
        id: Short and unique, sortable by time.
        problem: The problem's name.
        problem_path: File of the plugin, to load it again.
        problem_version: Hash of statement, initial candidate and scorer.
        direction: Which scores are better.
        config: ``config.to_dict(RunConfig)``; no secrets.
        status: Where it stands.
        created_at: When it was created.
        finished_at: When it finished.
        wall_s: Wall time of its processes so far, in seconds.
        message: Why it paused, stopped or failed, in one line.
        facts: Versions, utilisation and other measurements, as JSON.
    """

    id: str
    problem: str
    problem_path: str
    problem_version: str
    direction: Direction
    config: Mapping[str, Json]
    status: RunStatus
    created_at: datetime
    finished_at: datetime | None = None
    wall_s: float = 0.0
    message: str | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)

    @property
    def arrived_at(self) -> datetime | None:
        """When an archive brought it in: nobody here saw what was finished until then. None: it was made here."""
        said = self.facts.get(ARRIVED_AT)
        return datetime.fromisoformat(said) if isinstance(said, str) else None

    def has_seen(self, finished_at: datetime | None) -> bool:
        """Whether what was finished then was finished here, rather than told by an archive; not while it runs."""
        return finished_at is not None and (self.arrived_at is None or finished_at > self.arrived_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write to one chain of a run.

    Args:
        run: Run id.
        chain: Chain number, or ``SHARED_CHAIN``.
        owner: Who holds it: host, process and a random part.
        epoch: Grows by one each time the chain changes hands; an older epoch's writes are refused.
    """

    run: str
    chain: int
    owner: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """Records of one chain that are written together.

    Args:
        lease: The lease that fences them.
        records: In order.
    """

    lease: Lease
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """Everything stored of one step.

    Args:
        step: Its record.
        prompt: Its prompt, or None when the process ended between the two writes.
        completions: By index.
        candidates: By index.
        evaluations: Search evaluations by index, the latest attempt of each.
    """

    step: Step
    prompt: Prompt | None
    completions: Mapping[int, Completion]
    candidates: Mapping[int, Candidate]
    evaluations: Mapping[int, Evaluation]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """Totals over a run, initial candidates and verifications not counted.

    Args:
        evaluations: Finished search evaluations, duplicates and failures included.
        distinct_candidates: Different sources among the candidates.
        completions: Completions stored.
        failures: Finished evaluations without a score, by kind; one whose second scoring disagreed is a
            ``disagreement``, whatever the first one said.
        prompt_tokens: Tokens of prompts, those of consultations included.
        completion_tokens: Tokens of completions, those of consultations included.
        cached_tokens: Those of the prompts' that lay in a server's cache.
        consultations: Consultations stored, those without an answer included.
        consultation_tokens: Tokens of consultations, both kinds together.
        consultations_in_vain: Consultations without an answer, or with one that is of no use.
        duplicates: Those of the evaluations for which nothing ran: an equal program had a result.
        repeats: Those of the others whose solution and score another one of their chain had before.
    """

    evaluations: int
    distinct_candidates: int
    completions: int
    failures: Mapping[str, int]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    consultations: int = 0
    consultation_tokens: int = 0
    consultations_in_vain: int = 0
    duplicates: int = 0
    repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainSummary:
    """Where one chain stands.

    Args:
        chain: Its number.
        steps: Committed steps.
        evaluations: Finished search evaluations.
        best: Its best candidate, the initial one included.
        best_score: That one's score.
    """

    chain: int
    steps: int
    evaluations: int
    best: CandidateKey | None
    best_score: float | None
