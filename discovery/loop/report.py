"""What a loop showed, read from its folder: before and after at equal budgets, with intervals, and what it took.

The result is the last revision that helped on the held-out problems. Numbers are means of the chains' best scores, in
the problem's own units, each seed counting the same; how their intervals are made is said in
:mod:`discovery.intervals`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from discovery import intervals
from discovery.intervals import Interval, Pair
from discovery.loop.folder import LoopFolder
from discovery.loop.plan import LoopPlan
from discovery.loop.stages import Exported, Measured, MeasuredRun, Trained
from discovery.loop.verdict import Verdict, judged
from discovery.records import Direction, Json

_SEEDS = 3
"""Fewer tell nothing of how much seeds differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How one revision did on one problem.

    Args:
        revision: Its number.
        mean: Mean of the chains' best scores.
        change: That less revision 0's, paired by seed; None for revision 0.
        evaluations: Of each of its runs, by seed.
        planned: What the budget of each allowed.
    """

    revision: int
    mean: Interval
    change: Interval | None
    evaluations: tuple[int, ...]
    planned: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemReport:
    """One problem, before and after.

    Args:
        problem: As the plan names it.
        is_held_out: Whether it was never learnt from.
        direction: Which scores are better.
        initial_score: The initial candidate's.
        figures: Of each revision.
    """

    problem: str
    is_held_out: bool
    direction: Direction
    initial_score: float
    figures: tuple[Figures, ...]

    @property
    def label(self) -> str:
        """Its name for people."""
        return Path(self.problem).stem if "/" in self.problem else self.problem

    def said(self, figures: Figures) -> str:
        """What its change means, in a word."""
        if figures.change is None:
            return ""
        if figures.change.holds_zero:
            return "interval holds 0"
        return "better" if self.direction.better(figures.change.estimate, 0.0) else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """One training: what it was made of, and whether it helped.

    Args:
        exported: What it learnt from.
        trained: What it made; None where there was nothing to learn from, or it is not done.
        verdict: Whether it helped; None where it was not measured.
    """

    exported: Exported
    trained: Trained | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one stage took.

    Args:
        stage: Its name.
        seconds: Wall time; of measurements at least that of all processes that ran.
        evaluations: Made in it.
        prompt_tokens: Tokens of prompts.
        completion_tokens: Tokens of completions.
        cost: By currency, where prices are known.
    """

    stage: str
    seconds: float
    evaluations: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopReport:
    """What a loop showed so far.

    Args:
        id: The loop's.
        name: The model's.
        result: Number of the revision that it ends with.
        weights: Folder of that one's weights.
        ended: Why it ended, in one line; None while it has not.
        problems: Those that were learnt from, then those that were held out.
        rounds: One for each training.
        spent: What each stage took.
        notes: What a reader has to know beside the numbers, each in a line.
    """

    id: str
    name: str
    result: int
    weights: str
    ended: str | None
    problems: tuple[ProblemReport, ...]
    rounds: tuple[RoundReport, ...]
    spent: tuple[Spent, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Json]:
        """As plain JSON data."""
        data = dataclasses.asdict(self)
        for problem, plain in zip(self.problems, data["problems"], strict=True):
            for figures, numbers in zip(problem.figures, plain["figures"], strict=True):
                change = figures.change
                numbers["holds_zero"] = change.holds_zero if change is not None else None
        for made, plain in zip(self.rounds, data["rounds"], strict=True):
            plain["helps"] = made.verdict.helps if made.verdict is not None else None
        return data


def make_report(folder: LoopFolder) -> LoopReport:
    """Read what a loop has shown so far.

    Args:
        folder: The loop's.

    Raises:
        UsageError: There is no loop, or a stage's file cannot be read.
    """
    plan, measured = folder.plan(), folder.measured()
    rounds = tuple(_rounds(folder, plan, measured))
    helped = [made.verdict.revision for made in rounds if made.verdict is not None and made.verdict.helps]
    result = max(helped, default=0)
    trained = folder.stage(Trained, result) if result else None
    return LoopReport(
        id=plan.id,
        name=plan.name,
        result=result,
        weights=str(folder.path / trained.weights) if trained else plan.model,
        ended=_ended(plan, rounds),
        problems=tuple(_problem(plan, name, measured) for name in plan.all_problems) if measured else (),
        rounds=rounds,
        spent=tuple(_spent(measured, rounds)),
        notes=tuple(_notes(measured)),
    )


def _rounds(folder: LoopFolder, plan: LoopPlan, measured: list[Measured]) -> Iterator[RoundReport]:
    best = 0
    for number in range(1, plan.rounds.rounds + 1):
        exported = folder.stage(Exported, number)
        if exported is None:
            return
        verdict = None
        if len(measured) > number:
            verdict = judged(measured[best], measured[number], plan.held_out)
            best = number if verdict.helps else best
        yield RoundReport(exported=exported, trained=folder.stage(Trained, number), verdict=verdict)


def _ended(plan: LoopPlan, rounds: Sequence[RoundReport]) -> str | None:
    if not rounds:
        return None
    last = rounds[-1]
    number = last.exported.round
    if not last.exported.rows.get("train"):
        return f"It ended after round {number - 1}: nothing of its runs is worth training on."
    if last.verdict is None:
        return None
    if not last.verdict.helps and not plan.rounds.all_rounds:
        return (
            f"It ended after round {number}, which does not help on the held-out problems: those before stay."
        )
    return f"It ended after {number} rounds, as planned." if number == plan.rounds.rounds else None


def _problem(plan: LoopPlan, name: str, measured: list[Measured]) -> ProblemReport:
    first = measured[0].of(name)[0]
    return ProblemReport(
        problem=name,
        is_held_out=name in plan.held_out,
        direction=first.better,
        initial_score=first.initial_score,
        figures=tuple(_figures(name, measured[0], each) for each in measured),
    )


def _figures(name: str, first: Measured, measured: Measured) -> Figures:
    bests, runs = measured.chain_bests(name), measured.of(name)
    change = None
    if measured.revision:
        change = intervals.difference(Pair(before=first.chain_bests(name), after=bests))
    return Figures(
        revision=measured.revision,
        mean=intervals.mean(bests),
        change=change,
        evaluations=tuple(run.evaluations for run in runs),
        planned=runs[0].planned,
    )


def _spent(measured: Sequence[Measured], rounds: Sequence[RoundReport]) -> Iterator[Spent]:
    for number, each in enumerate(measured):
        if number:
            made = rounds[number - 1]
            yield Spent(stage=f"choosing for round {number}", seconds=made.exported.seconds)
            if made.trained is not None:
                yield Spent(stage=f"training revision {number}", seconds=made.trained.seconds)
        yield _measuring(each)


def _measuring(measured: Measured) -> Spent:
    cost: dict[str, float] = {}
    for run in measured.runs:
        if run.cost is not None:
            cost[run.currency] = cost.get(run.currency, 0.0) + run.cost
    return Spent(
        stage=f"measuring revision {measured.revision}",
        seconds=max(measured.seconds, sum(run.wall_s for run in measured.runs)),
        evaluations=sum(run.evaluations for run in measured.runs),
        prompt_tokens=sum(run.prompt_tokens for run in measured.runs),
        completion_tokens=sum(run.completion_tokens for run in measured.runs),
        cost=cost,
    )


def _notes(measured: Sequence[Measured]) -> Iterator[str]:
    runs = [run for each in measured for run in each.runs]
    if runs and len(measured[0].of(runs[0].problem)) < _SEEDS:
        seeds = len(measured[0].of(runs[0].problem))
        yield (
            f"{seeds} seed{'s' if seeds > 1 else ''} of {len(runs[0].chain_bests)} chains: too few for intervals to "
            f"be believed; take {_SEEDS} or more"
        )
    short = [run for run in runs if run.evaluations != run.planned]
    if short:
        told = ", ".join(f"{run.run} ({run.evaluations} of {run.planned})" for run in short[:5])
        yield f"{len(short)} runs did not spend their budget, so that they do not compare: {told}"
    if runs and not any(_is_told(run) for run in runs):
        yield "the server does not say which weights it serves: that these are they rests on the loop alone"
    elif not all(_is_told(run) for run in runs):
        yield "some completions do not say which weights wrote them"
    elif runs:
        count = sum(sum(run.spoke.values()) for run in runs)
        yield f"each of the {count:,} completions says that the weights of its revision wrote it"


def _is_told(run: MeasuredRun) -> bool:
    return bool(run.spoke) and "" not in run.spoke
