"""Which attempts of a step can be in a row, and which stand against the committed one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from discovery.records import Completion, FailureKind
from discovery.trajectories.formats.base import Context, Reasoning
from discovery.trajectories.records import Attempt, Sample

NOT_STORED = "no answer is stored"
ABORTED = "the answer was aborted"
NO_TEXT = "the answer has no text"
CUT_OFF = "the answer was cut off at its limit of tokens"
TAGGED = "the answer holds channel tags, on which gpt-oss's chat template fails"
NO_WORSE = "no sibling is worse"

_TAGS = ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")
_NOT_ITS_OWN = frozenset([FailureKind.SCORER])
"""Failures that say nothing of the answer."""


def unusable(attempt: Attempt, context: Context, *, is_learned: bool) -> str | None:
    """Why an attempt cannot be in a row; None when it can.

    An aborted answer was stopped by us and says nothing of the model. One that was cut off is its own doing: it may be
    rejected, but nobody should learn to end there, so it is never what is learned.

    Args:
        attempt: It.
        context: What rows are made with.
        is_learned: Whether it is to be learned, rather than to be rejected.
    """
    completion = attempt.completion
    if completion is None:
        return NOT_STORED
    if completion.finish_reason == "abort":
        return ABORTED
    if completion.text is None or not completion.text.strip():
        return NO_TEXT
    if is_learned and completion.finish_reason == "length":
        return CUT_OFF
    texts = (completion.text, completion.reasoning or "")
    if context.reasoning is Reasoning.THINKING and any(tag in text for tag in _TAGS for text in texts):
        return TAGGED
    return None


def said(attempt: Attempt) -> Completion:
    """What an attempt says that can be in a row."""
    assert attempt.completion is not None
    return attempt.completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An answer to learn, and one to reject.

    Args:
        chosen: What the committed attempt says.
        rejected: What a worse one says.
    """

    chosen: Completion
    rejected: Completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Siblings:
    """The committed attempt of a step and those that stand against it.

    Args:
        chosen: The committed one; None where it cannot be learned, and then there are no others.
        worse: Those that are worse, the worst first.
        left_out: What no row can hold, by reason.
    """

    chosen: Attempt | None
    worse: tuple[Attempt, ...]
    left_out: Mapping[str, int]


def siblings(sample: Sample, context: Context) -> Siblings:
    """The attempts that are worse than the committed one: failures first, then by score, the worst first.

    A failure is worse than any score, unless it was the scorer that failed. An equal score is no preference; a text
    that stands already is not taken twice. Of more than ``context.pairs``, the worst is in and the others are spread
    evenly over the ranks, so that both failures and near misses are among them.

    Args:
        sample: One step.
        context: What rows are made with.
    """
    chosen = sample.committed
    reason = unusable(chosen, context, is_learned=True)
    if reason is not None:
        return Siblings(chosen=None, worse=(), left_out={reason: 1})
    direction = sample.trajectory.direction
    failed: list[Attempt] = []
    scored: list[tuple[float, Attempt]] = []
    left_out = Counter[str]()
    seen = {said(chosen).text}
    for attempt in sample.attempts:
        if attempt.is_committed or not _is_worse(sample, attempt, chosen):
            continue
        reason = unusable(attempt, context, is_learned=False)
        if reason is not None:
            left_out[f"sibling: {reason}"] += 1
        elif said(attempt).text not in seen:
            seen.add(said(attempt).text)
            if attempt.score is None:
                failed.append(attempt)
            else:
                scored.append((direction.key(attempt.score), attempt))
    worse = failed + [attempt for _, attempt in sorted(scored, key=lambda pair: pair[0])]
    return Siblings(chosen=chosen, worse=_spread(worse, context.pairs), left_out=left_out)


def pairs(sample: Sample, context: Context) -> tuple[tuple[Pair, ...], Mapping[str, int]]:
    """The committed answer against each of :func:`siblings`, and what is left out, by reason."""
    found = siblings(sample, context)
    if found.chosen is None:
        return (), found.left_out
    chosen = said(found.chosen)
    made = tuple(Pair(chosen=chosen, rejected=said(worse)) for worse in found.worse)
    return made, found.left_out if made else {**found.left_out, NO_WORSE: 1}


def _is_worse(sample: Sample, attempt: Attempt, chosen: Attempt) -> bool:
    if chosen.score is None:
        return False
    if attempt.score is None:
        return attempt.failure is not None and attempt.failure not in _NOT_ITS_OWN
    return sample.trajectory.direction.better(chosen.score, attempt.score)


def _spread(attempts: list[Attempt], count: int) -> tuple[Attempt, ...]:
    if len(attempts) <= count:
        return tuple(attempts)
    if count == 1:
        return (attempts[0],)
    return tuple(attempts[place * (len(attempts) - 1) // (count - 1)] for place in range(count))
