"""Steps: as they are stored, and as they are folded."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from discovery.records.places import CandidateKey, Json
from discovery.records.states import FailureKind, StepState


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a selector learns of one candidate of a step.

    Args:
        key: The candidate's.
        program_hash: Of its program: of the form where the run goes by that and its scorer did not read the source,
            else of the source; None where there is none.
        score: None for a failure.
        failure: What went wrong.
        message: The same in one line.
        duplicate_of: The candidate of the same source or form whose result this is.
        metrics: Of the public metrics those that the run's selector asks for and that are numbers, by name; empty for a
            failure.
        generator: Which member of a mixture made it, where the run learns from that; else None.
        tokens: What its completion took, prompt left out, where the run learns from that and its server counts.
        solution: Hash of what was scored, where the run knows equal solutions.
    """

    key: CandidateKey
    program_hash: str | None
    score: float | None
    failure: FailureKind | None = None
    message: str | None = None
    duplicate_of: CandidateKey | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    generator: str | None = None
    tokens: int | None = None
    solution: str | None = None

    @property
    def result(self) -> Hashable:
        """Solution, score and metrics, which say the same to a search whatever the program; None where unknown."""
        if self.solution is None or self.score is None:
            return None
        return self.solution, self.score, *sorted(self.metrics.items())

    def is_twin(self, other: Outcome) -> bool:
        """Whether it tells a search the same as another one: it is one program, or has one result."""
        is_program = self.program_hash is not None and self.program_hash == other.program_hash
        return is_program or (self.result is not None and self.result == other.result)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedStep:
    """A finished step: all that selection and failure statistics are folded from.

    Args:
        chain: Chain number.
        step: Step number; 0 for the initial candidate that the chain starts from.
        parents: What was shown in the prompt.
        outcomes: All K candidates in order of their index.
        committed: The best of the valid ones, of those that a prompt can show where one can be; None if none was valid.
    """

    chain: int
    step: int
    parents: tuple[CandidateKey, ...]
    outcomes: tuple[Outcome, ...]
    committed: CandidateKey | None

    def outcome(self, key: CandidateKey) -> Outcome:
        """The outcome of one of the step's candidates.

        Raises:
            KeyError: The step has no such candidate.
        """
        for outcome in self.outcomes:
            if outcome.key == key:
                return outcome
        raise KeyError(f"step {self.chain}.{self.step} has no candidate {key}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The stored record of a step; written when planned, completed when committed.

    Args:
        chain: Chain number.
        step: Step number, from 1.
        state: Planned or committed.
        parents: What the selector chose.
        selector: Its name.
        selection: Its parameters and the values that it ranked by, as JSON.
        committed: The candidate that was committed.
        reason: Why that one, in one line.
        best_before: Best score of the chain before the step.
        best_after: Best score of the chain after it.
        planned_at: When the parents were chosen.
        committed_at: When it was committed.
    """

    chain: int
    step: int
    state: StepState
    parents: tuple[CandidateKey, ...]
    selector: str
    selection: Mapping[str, Json] = field(default_factory=dict)
    committed: CandidateKey | None = None
    reason: str | None = None
    best_before: float | None = None
    best_after: float | None = None
    planned_at: datetime
    committed_at: datetime | None = None
