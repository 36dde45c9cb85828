"""What goes between the modules that make training data of trajectories.

An outline is light (scores and places) and made for every chain; a sample holds the texts of one step and is made for
those that were selected, one at a time. ``None`` means unknown or not there, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from discovery.config import in_range
from discovery.errors import ConfigError
from discovery.records import (
    Candidate,
    CandidateKey,
    Completion,
    Direction,
    Evaluation,
    FailureKind,
    Json,
    Prompt,
    Step,
)


class Split(StrEnum):
    """What a step's row is for."""

    TRAIN = "train"
    VALIDATION = "validation"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutline:
    """One committed step, without texts.

    Args:
        step: Its number, from 1.
        committed: The candidate that was committed; None where none was valid, or a second scoring refuted it.
        score: That one's score.
        best_after: Best score of the chain after the step, the initial candidate included; None where nothing had one.
    """

    step: int
    committed: CandidateKey | None
    score: float | None
    best_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryOutline:
    """One chain's committed steps, without texts: all that selection needs.

    Args:
        run: Run id.
        chain: Chain number.
        problem: The problem's name.
        problem_version: Hash of statement, initial candidate and scorer.
        direction: Which scores are better.
        model: Name of the model that spoke, as the run's facts tell; None where unknown.
        initial_score: Score of the initial candidate that the chain started from.
        steps: In order, from step 1.
        best: The best of what it committed, the first of equally good ones, never the initial candidate; None where
            no step committed anything.
        best_score: That one's score, better than the initial one's or not: the trajectory's outcome.
        best_step: The step where that score occurred first.
    """

    run: str
    chain: int
    problem: str
    problem_version: str
    direction: Direction
    model: str | None
    initial_score: float | None
    steps: tuple[StepOutline, ...]
    best: CandidateKey | None
    best_score: float | None
    best_step: int | None

    @property
    def place(self) -> tuple[str, int]:
        """Its run and chain: its name."""
        return (self.run, self.chain)

    @property
    def improves(self) -> bool:
        """Whether its best is better than the initial candidate; where that one has no score, any score is."""
        return self.best_score is not None and self.direction.better(self.best_score, self.initial_score)


class Keep(StrEnum):
    """What a filter keeps."""

    TRAJECTORY = "trajectory"
    """The best R % of trajectories of each problem by their outcome, each up to the first occurrence of its best."""
    STEP = "step"
    """The best R % of committed attempts of each problem by their own score: the control for trajectory credit."""
    RANDOM = "random"
    """As many trajectories as ``trajectory`` keeps, drawn at random: the control for any credit."""
    ALL = "all"
    """Everything that was committed, whatever else a filter says."""


SPLITS = ("trajectory", "problem")
"""What rows are split by: never by row, for those of one trajectory share its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which steps are worth training on.

    Args:
        keep: The rule.
        top_percent: R, above 0 to 100, of each problem; ties with the last one in are in.
        truncate: Whether a trajectory ends at the first occurrence of its best; for rules that keep trajectories.
        improving_only: Whether a trajectory must beat the initial candidate for any of its steps to be kept.
        validation_percent: How many percent of trajectories (or problems) are for validation, 0 to 50.
        split_by: One of :data:`SPLITS`.
        seed: Of the split and of ``random``.

    Raises:
        ConfigError: One of them is out of range.
    """

    keep: Keep = Keep.TRAJECTORY
    top_percent: float = 10.0
    truncate: bool = True
    improving_only: bool = True
    validation_percent: float = 10.0
    split_by: str = "trajectory"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, known in (("keep", self.keep, tuple(Keep)), ("split_by", self.split_by, SPLITS)):
            if value not in known:
                raise ConfigError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
        in_range("top_percent", self.top_percent, 1e-6, 100)
        in_range("validation_percent", self.validation_percent, 0, 50)
        in_range("seed", self.seed, 0, 2**63 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """The steps that were chosen of one trajectory.

    Args:
        trajectory: It.
        steps: Numbers of the chosen steps, in order; each has a committed candidate.
        weight: What each of them weighs in a loss, above 0.
        split: What they are for.
    """

    trajectory: TrajectoryOutline
    steps: tuple[int, ...]
    weight: float
    split: Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a filter chose.

    Args:
        filter: The filter.
        selected: By problem, run and chain.
        left_out: How many trajectories (steps, where steps are chosen) were not, by reason.
    """

    filter: Filter
    selected: tuple[Selected, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One of the K siblings of a step, with all that is stored of it.

    Args:
        key: Its place.
        completion: What the model said; None where nothing is stored.
        candidate: What was found in it; None where that was no program.
        evaluation: Its search evaluation.
        score: The score that counts: None for a failure, and for one that a second scoring refuted.
        failure: Why there is none; None where there is one, or nothing was evaluated.
        is_committed: Whether it was committed to the chain.
    """

    key: CandidateKey
    completion: Completion | None
    candidate: Candidate | None
    evaluation: Evaluation | None
    score: float | None
    failure: FailureKind | None
    is_committed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One selected step with its texts: what every format makes its rows of.

    Args:
        trajectory: Where it is from.
        step: The stored step.
        prompt: As sent.
        attempts: All K siblings by index.
        weight: What it weighs in a loss.
        split: What it is for.
        rewards: Name of a reward to one number for each attempt, in their order; None where it is not defined.
            Names and formulas are in :mod:`discovery.trajectories.rewards`.
        main: Source of the main parent, where edits of it were asked for, or candidates are of several files; None
            where whole programs were asked for.
    """

    trajectory: TrajectoryOutline
    step: Step
    prompt: Prompt
    attempts: tuple[Attempt, ...]
    weight: float
    split: Split
    rewards: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    main: str | None = None

    @property
    def committed(self) -> Attempt:
        """The attempt that was committed; a sample always has one."""
        return next(attempt for attempt in self.attempts if attempt.is_committed)

    @property
    def origin(self) -> dict[str, Json]:
        """Where its rows come from, as every row says it."""
        return {
            "run": self.trajectory.run,
            "problem": self.trajectory.problem,
            "problem_version": self.trajectory.problem_version,
            "chain": self.trajectory.chain,
            "step": self.step.step,
        }
