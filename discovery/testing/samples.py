"""Samples for tests of exports and of what reads them: as little as there can be, or with reasoning and failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from discovery.records import (
    INITIAL,
    CandidateKey,
    Completion,
    Direction,
    FailureKind,
    Message,
    ModelIdentity,
    Prompt,
    Step,
    StepState,
)
from discovery.testing.storage_records import START
from discovery.trajectories.records import (
    Attempt,
    Filter,
    Sample,
    Selected,
    Selection,
    Split,
    StepOutline,
    TrajectoryOutline,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One attempt of a step.

    Args:
        text: What the model said; None for no text.
        score: Its score; None for a failure.
        failure: Why there is none.
        reasoning: What it reasoned.
        finish: Why it ended.
        sampling: What the request asked for.
    """

    text: str | None
    score: float | None = None
    failure: FailureKind | None = None
    reasoning: str | None = None
    finish: str | None = "stop"
    sampling: tuple[tuple[str, str], ...] = ()


def outline(
    run: str = "run-1",
    chain: int = 0,
    steps: int = 1,
    best: float | None = 1.0,
    direction: Direction = Direction.MAXIMIZE,
) -> TrajectoryOutline:
    """A trajectory of equally good steps."""
    committed = [CandidateKey(chain, step, 0) for step in range(1, steps + 1)]
    return TrajectoryOutline(
        run=run,
        chain=chain,
        problem="packing",
        problem_version="a" * 64,
        direction=direction,
        model="m",
        initial_score=0.25,
        steps=tuple(
            StepOutline(step=key.step, committed=key, score=best, best_after=best) for key in committed
        ),
        best=committed[0] if committed else None,
        best_score=best,
        best_step=1 if committed else None,
    )


def sample(
    said: Sequence[Said],
    *,
    trajectory: TrajectoryOutline | None = None,
    step: int = 1,
    split: Split = Split.TRAIN,
    weight: float = 1.0,
    messages: Sequence[tuple[str, str]] = (("system", "Improve it."), ("user", "Here it is.")),
) -> Sample:
    """A step whose first attempt was committed.

    Args:
        said: Its attempts.
        trajectory: Where it is from.
        step: Its number.
        split: What it is for.
        weight: What it weighs.
        messages: Of its prompt: role and content.
    """
    where = trajectory or outline()
    attempts = tuple(
        Attempt(
            key=CandidateKey(where.chain, step, index),
            completion=Completion(
                key=CandidateKey(where.chain, step, index),
                text=each.text,
                reasoning=each.reasoning,
                finish_reason=each.finish,
                model=ModelIdentity(generator="openai", model="m", revision="r1"),
                sampling=dict(each.sampling),
                created_at=START,
            ),
            candidate=None,
            evaluation=None,
            score=each.score,
            failure=each.failure,
            is_committed=index == 0,
        )
        for index, each in enumerate(said)
    )
    return Sample(
        trajectory=where,
        step=Step(
            chain=where.chain,
            step=step,
            state=StepState.COMMITTED,
            parents=(INITIAL,),
            selector="rpucg",
            committed=attempts[0].key,
            planned_at=START,
            committed_at=START,
        ),
        prompt=Prompt(
            chain=where.chain,
            step=step,
            messages=tuple(Message(role=role, content=content) for role, content in messages),
            parents=(INITIAL,),
        ),
        attempts=attempts,
        weight=weight,
        split=split,
    )


def selection_of(samples: Sequence[Sample], chosen: Filter | None = None) -> Selection:
    """A selection that these samples are of."""
    return Selection(
        filter=chosen or Filter(),
        selected=tuple(
            Selected(
                trajectory=each.trajectory, steps=(each.step.step,), weight=each.weight, split=each.split
            )
            for each in samples
        ),
        left_out={},
    )
