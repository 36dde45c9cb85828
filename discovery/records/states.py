"""The states that records go through, and the kinds that they are of."""

from __future__ import annotations

from enum import StrEnum


class Direction(StrEnum):
    """Which scores are better. Scores are stored raw and compared through this, never negated."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    def better(self, a: float, b: float | None) -> bool:
        """Whether score ``a`` is strictly better than ``b``; anything is better than ``None``."""
        if b is None:
            return True
        return a > b if self is Direction.MAXIMIZE else a < b

    def key(self, score: float) -> float:
        """A sorting key that grows with quality."""
        return score if self is Direction.MAXIMIZE else -score


class FailureKind(StrEnum):
    """Why a candidate has no score. All of them are the candidate's, none the infrastructure's."""

    NO_PROGRAM = "no_program"
    """The completion held no program."""
    BLOCKS = "blocks"
    """The program does not keep the EVOLVE-BLOCK markers of the initial one."""
    EDIT = "edit"
    """An edit of the main parent cannot be applied, or changes nothing."""
    CRASHED = "crashed"
    """The program raised, exited or was killed by a signal."""
    MISSING_FUNCTION = "missing_function"
    """The program does not define the function that the scorer calls."""
    TIMEOUT = "timeout"
    """It ran past its wall-clock or CPU limit."""
    MEMORY = "memory"
    """It ran past its memory limit."""
    OUTPUT = "output"
    """It returned or wrote more than the caps."""
    BAD_DATA = "bad_data"
    """What it returned is not plain finite data."""
    INVALID = "invalid"
    """The scorer raised ``Invalid``."""
    STAGE = "stage"
    """A cheap first score did not reach what its stage asks for."""
    OUT_OF_BOUNDS = "out_of_bounds"
    """The score is not finite or lies outside the problem's declared bounds."""
    BUILD = "build"
    """It does not compile."""
    SANDBOX = "sandbox"
    """It ended every sandbox that it was given, where an honest program works."""
    SCORER = "scorer"
    """The scorer itself raised or ran out of time on this candidate."""
    DISAGREEMENT = "disagreement"
    """A second scoring in a fresh process gave another result."""


class EvaluationState(StrEnum):
    """Where an evaluation stands."""

    RUNNING = "running"
    SCORED = "scored"
    FAILED = "failed"

    @property
    def is_finished(self) -> bool:
        """Whether it will not change any more."""
        return self is not EvaluationState.RUNNING


class StepState(StrEnum):
    """Where a step stands: its parents and prompt are stored, or its result is."""

    PLANNED = "planned"
    COMMITTED = "committed"

    @property
    def is_finished(self) -> bool:
        """Whether it will not change any more."""
        return self is StepState.COMMITTED


class RunStatus(StrEnum):
    """Where a run stands."""

    ARRIVING = "arriving"
    """Only part of it is here: `discovery import` writes it, or was interrupted and is to be repeated."""
    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    """It waits for infrastructure: a generator or a sandbox that is not there."""
    STOPPED = "stopped"
    """Its process ended before the budget did; ``discovery resume`` goes on."""
    FINISHED = "finished"
    FAILED = "failed"
    """An error that resuming may get past once its cause is mended."""

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self is RunStatus.FINISHED


class Purpose(StrEnum):
    """Why an evaluation was made."""

    SEARCH = "search"
    VERIFY = "verify"
    """A second scoring before a run-best is announced or a suspicious score counts; never charged to the budget."""
    AUDIT = "audit"
    """A scoring from nothing, long after; never charged to the budget."""


class AdvicePurpose(StrEnum):
    """Why a model was asked something that is no candidate."""

    RERANK = "rerank"
    """In which order the candidates of a selector's shortlist are worth going on from."""
    ELITE = "elite"
    """Which candidates a chain's pool of elites is to keep."""
    REFLECT = "reflect"
    """What a committed candidate tries, and what is to be learned from how it did."""
