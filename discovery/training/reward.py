"""Rewards by the live scorer: completions of a model that is being trained, evaluated in sandboxes. No torch.

The reward of a completion is its score through the problem's direction, so that more is better. One without a score
gets what is one spread of its group (best less worst) below the group's worst, and 1 below where all that have one
scored the same: worse than any program that works, and within what advantages relative to the group can tell, whatever
the problem's units. It is never a zero, which a score may be. Where nothing of a group has a score, nothing is known of
it, and all are None: TRL takes such a group for one without a signal. (Rewards at export count a failure as its group's
worst instead, see :mod:`discovery.trajectories.rewards`; where most answers fail, as at first in training, that would
not tell the one that works from the rest.)

A group is what was said to one prompt about one problem. A failure of the sandbox is nobody's fault: it stops the
training, which goes on with the same command.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, TypeVar

from discovery.config import SandboxConfig
from discovery.errors import UsageError, cause
from discovery.evaluator import Evaluator
from discovery.form import form_of
from discovery.generation.extract import extract
from discovery.launch import evaluator_for
from discovery.plugins import load_problem
from discovery.problem import Problem
from discovery.records import Candidate, CandidateKey, Completion, Failure, ModelIdentity
from discovery.sandbox.base import SandboxBackend
from discovery.sandbox.choice import choose_backend

_MODEL = "a model that is trained"
"""Stands for the generator where a sandbox is chosen: what it writes is not ours."""
_NOWHERE_ELSE = (
    "What a model writes while it is trained runs nowhere else; `discovery doctor` shows what there is"
)
T = TypeVar("T")


class LiveReward:
    """A reward function as TRL calls it, with evaluators of its own until it is closed.

    Sandboxes are started for a problem when its first completion comes. Everything asynchronous runs in a thread of its
    own, so that it can be called from a thread with or without an event loop.

    Args:
        backend: Where candidates run; None chooses as ``discovery run`` does.
        slots: Evaluations at once for each problem; None takes one per CPU.
        require: Isolation that must have been verified; see :mod:`discovery.sandbox.isolation`.
        longest: Tokens at which a completion was cut off; None where that is not known.
        load: Loads a problem by what ``discovery run`` takes.

    Raises:
        MissingComponent: Nothing safe enough for a model's programs works here.
    """

    __name__ = "score"

    def __init__(
        self,
        *,
        backend: SandboxBackend | None = None,
        slots: int | None = None,
        require: tuple[str, ...] = (),
        longest: int | None = None,
        load: Callable[[str], Problem] = load_problem,
    ) -> None:
        self._backend = backend or choose_backend(SandboxConfig(), _MODEL, otherwise=_NOWHERE_ELSE).backend
        self._slots = slots or len(os.sched_getaffinity(0))
        self._require, self._longest, self._load = require, longest, load
        self._evaluators: dict[str, Evaluator] = {}
        self._made = 0
        self._stack = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rewards", daemon=True)
        self._thread.start()

    def __enter__(self) -> LiveReward:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Rewards of completions.

        Args:
            prompts: For each completion the messages, or the text, that it answers.
            completions: Texts, or lists of messages of which the last is the answer.
            **columns: For each completion ``problem_path`` or ``problem``, what ``discovery run`` takes; and, where
                there are, ``completion_ids``, and ``main``: the program that it is edits of, empty where it is a whole
                one. Others are of no interest.

        Returns:
            For each completion its reward; None where nothing of its group has a score.

        Raises:
            UsageError: There is no column that names a problem, or a problem cannot be loaded, or gives its programs
                a warm start.
            SandboxError: No sandbox works any more.
        """
        problems = columns.get("problem_path") or columns.get("problem")
        if problems is None:
            raise UsageError("rows name no problem: there is no column problem_path; export them as trl-grpo")
        cut = [self._is_cut(ids) for ids in columns.get("completion_ids") or [()] * len(completions)]
        answers = [_text(completion) for completion in completions]
        mains = columns.get("main") or [None] * len(completions)
        scores = self._wait(self._scored(list(problems), answers, cut, mains))
        groups = [
            json.dumps([problem, prompt], sort_keys=True, default=str)
            for problem, prompt in zip(problems, prompts, strict=True)
        ]
        return with_floor(scores, groups)

    def close(self) -> None:
        """End all sandboxes and the thread. Idempotent."""
        if self._loop.is_closed():
            return
        self._wait(self._stack.aclose())
        self._wait(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _is_cut(self, ids: Sequence[int]) -> bool:
        return self._longest is not None and len(ids) >= self._longest

    async def _scored(
        self,
        problems: Sequence[str],
        answers: Sequence[str],
        cut: Sequence[bool],
        mains: Sequence[str | None],
    ) -> list[float | None]:
        for name in dict.fromkeys(problems):
            if name not in self._evaluators:
                problem = self._load(name)
                if problem.settings.warm_start:
                    raise UsageError(
                        f"programs of {name!r} are given the best construction of a search, which rows do not carry, "
                        "so no reward would be of what the prompt says; leave its rows out"
                    )
                opened = evaluator_for(problem, self._backend, slots=self._slots, require=self._require)
                self._evaluators[name] = await self._stack.enter_async_context(opened)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._score(self._evaluators[problem], answer, is_cut, main or None))
                    for problem, answer, is_cut, main in zip(problems, answers, cut, mains, strict=True)
                ]
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        return [task.result() for task in tasks]

    async def _score(self, evaluator: Evaluator, answer: str, is_cut: bool, main: str | None) -> float | None:
        """A completion's score through the direction; None for a failure."""
        self._made += 1
        key, now = CandidateKey(0, 1, self._made), datetime.now(UTC)
        completion = Completion(
            key=key,
            text=answer,
            finish_reason="length" if is_cut else "stop",
            model=ModelIdentity(generator="openai"),
            created_at=now,
        )
        source = extract(completion, evaluator.problem, main=main)
        if isinstance(source, Failure):
            return None
        form = form_of(evaluator.problem, source)
        candidate = Candidate(key=key, source=source, parents=(), created_at=now, form=form)
        evaluation = await evaluator.evaluate(candidate)
        if evaluation.score is None:
            return None
        return evaluator.problem.direction.key(evaluation.score.value)


def with_floor(scores: Sequence[float | None], groups: Sequence[str]) -> list[float | None]:
    """Scores with what a failure gets in their place, group by group.

    Args:
        scores: Larger is better; None for a failure.
        groups: For each of them the name of its group.

    Returns:
        Rewards; None in groups without any score.
    """
    floors: dict[str, float | None] = {}
    for name in dict.fromkeys(groups):
        known = [
            score for score, group in zip(scores, groups, strict=True) if group == name and score is not None
        ]
        spread = max(known) - min(known) if known else 0.0
        floors[name] = min(known) - (spread or 1.0) if known else None
    return [floors[group] if score is None else score for score, group in zip(scores, groups, strict=True)]


def _text(completion: Any) -> str:
    """A completion's answer, without its reasoning."""
    if isinstance(completion, str):
        return completion
    last: Mapping[str, Any] = completion[-1]
    return str(last.get("content") or "")


_live: list[LiveReward] = []


def rewards(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
    """Rewards by one :class:`LiveReward` of this process: what ``reward.py`` in exports gives to trainers."""
    if not _live:
        _live.append(LiveReward())
        atexit.register(_live[0].close)
    return _live[0](prompts, completions, **columns)
