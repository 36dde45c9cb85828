"""What each stage of a loop leaves behind: one record, whole, when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from discovery.records import Direction, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """One finished run of a revision.

    Args:
        run: Its id.
        problem: The problem as the plan names it.
        seed: Number of its seed, from 0.
        direction: Which scores are better.
        chain_bests: The best score of each chain, the initial candidate's among them.
        initial_score: The initial candidate's score.
        planned: Evaluations that its budget allowed.
        evaluations: Those that were made: fewer where another cap ended it.
        wall_s: Wall time of its processes, in seconds.
        prompt_tokens: Tokens of its prompts.
        completion_tokens: Tokens of its completions.
        cost: What it cost; None where no price is known.
        currency: Of the cost.
        spoke: Revision of the model, as its server told it, to how many completions it wrote; ``""`` for one that the
            server did not tell.
    """

    run: str
    problem: str
    seed: int
    direction: str
    chain_bests: tuple[float, ...]
    initial_score: float
    planned: int
    evaluations: int
    wall_s: float
    prompt_tokens: int
    completion_tokens: int
    cost: float | None = None
    currency: str = ""
    spoke: Mapping[str, Json] = field(default_factory=dict)

    @property
    def better(self) -> Direction:
        """Which scores are better."""
        return Direction(self.direction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A revision that was measured.

    Args:
        revision: Its number, from 0.
        weights: Folder of its weights.
        runs: By problem as the plan names them, then by seed.
        seconds: How long it took, the server's start included; only that of the last process where there were several.
    """

    revision: int
    weights: str
    runs: tuple[MeasuredRun, ...]
    seconds: float

    def of(self, problem: str) -> list[MeasuredRun]:
        """The runs of one problem, by seed."""
        return sorted((run for run in self.runs if run.problem == problem), key=lambda run: run.seed)

    def chain_bests(self, problem: str) -> list[tuple[float, ...]]:
        """For each seed of one problem, the best of each chain."""
        return [run.chain_bests for run in self.of(problem)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was chosen for a round's training.

    Args:
        round: Its number, from 1.
        id: The export's id.
        folder: Where it lies.
        runs: Ids of the runs that it is made of.
        rows: Rows for training and for validation.
        trajectories: How many trajectories they are of.
        left_out: What was left out, by reason.
        refuted: Trajectories whose best did not hold when it was scored again, each in a line with the reason.
        seconds: How long it took.
    """

    round: int
    id: str
    folder: str
    runs: tuple[str, ...]
    rows: Mapping[str, int]
    trajectories: int
    left_out: Mapping[str, int]
    refuted: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A revision that was trained.

    Args:
        round: The round's number, which is also the revision's.
        weights: Folder of the new weights.
        base: Folder of the weights that were trained on.
        exports: Ids of the exports that it was trained on.
        lineage: What the weights say of where they come from.
        seconds: How long it took; only that of the last process where there were several.
    """

    round: int
    weights: str
    base: str
    exports: tuple[str, ...]
    lineage: Mapping[str, Json]
    seconds: float


Stage = Measured | Exported | Trained
