"""What a model is asked about a selector's shortlist: which to go on from, or which to keep.

It sees each candidate by a number, with its score, its metrics, what was said of it before, and a part of its
program. How the answer is to be written, and how it is read, is :mod:`discovery.selection.order`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from discovery.generation.base import ParentView
from discovery.generation.failures import one_line
from discovery.generation.insights import Insight
from discovery.generation.prompt import fenced
from discovery.problem import Problem
from discovery.records import AdvicePurpose, CandidateKey, Message
from discovery.reflection import LEAST_SHOWN, background, excerpt, sendable
from discovery.selection.base import Shortlist
from discovery.selection.order import instruction, named

PROGRAMS_LENGTH = 24_000
"""Characters of programs in one question, all of them together."""
_METRIC_LENGTH = 120

_ROLES = {
    AdvicePurpose.RERANK: "You say which programs the next attempts are to start from.",
    AdvicePurpose.ELITE: "You say which programs it keeps to start from later.",
}


def shortlist_question(
    problem: Problem,
    shortlist: Shortlist,
    views: Sequence[ParentView],
    insights: Mapping[CandidateKey, Insight],
    *,
    most: int | None = None,
) -> tuple[Message, ...]:
    """What is asked about a shortlist.

    Args:
        problem: What is to be solved.
        shortlist: The candidates, and how many are to be named.
        views: Their programs and scores, in the shortlist's order.
        insights: What was said of some of them before.
        most: Characters that it may have, for which programs are cut; None: as many as it takes.
    """
    system = background(problem, _ROLES[shortlist.purpose])

    def asked(room: int) -> str:
        parts = [
            _candidate(problem, number, view, insights.get(view.key), room)
            for number, view in enumerate(views, start=1)
        ]
        return "\n\n".join([*parts, _request(shortlist)])

    room = PROGRAMS_LENGTH // max(1, len(views))
    if most is not None:
        spare = most - len(system) - len(asked(LEAST_SHOWN))
        room = max(LEAST_SHOWN, min(room, LEAST_SHOWN + spare // max(1, len(views))))
    return (
        Message(role="system", content=sendable(system)),
        Message(role="user", content=sendable(asked(room))),
    )


def _candidate(problem: Problem, number: int, view: ParentView, insight: Insight | None, room: int) -> str:
    lines = [f"# Program {number}", "", f"Score: {view.score!r}"]
    lines += [f"- {name}: {one_line(repr(value), _METRIC_LENGTH)}" for name, value in view.metrics.items()]
    if insight is not None:
        lines += [f"{name}: {said}" for name, said in _said(insight).items() if said]
    return "\n".join([*lines, "", fenced(excerpt(view.source, room), problem.settings.language)])


def _said(insight: Insight) -> dict[str, str]:
    return {"Approach": insight.approach, "Learned": insight.insight}


def _request(shortlist: Shortlist) -> str:
    shown, count = len(shortlist.candidates), min(shortlist.count, len(shortlist.candidates))
    if shortlist.purpose is AdvicePurpose.ELITE:
        task = (
            f"Name the {count} of these {shown} programs that are worth keeping: promising ones, and such that differ "
            "in what they try. A worse score is no reason against one that tries something else."
        )
    else:
        task = (
            f"Which of these {shown} programs is the next attempt most likely to improve on? Name the most promising "
            "first; those that follow are shown beside it for their ideas."
        )
    return f"# Your choice\n\n{task} {instruction(count)}"


def names_nothing(answer: str, shown: int) -> str | None:
    """Why an answer about a shortlist is of no use; None where it names some of it.

    Args:
        answer: What the model said.
        shown: How many candidates it was shown.
    """
    return None if named(answer, shown) else f"names none of the {shown} programs"
