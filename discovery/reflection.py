"""Reflection: what a model is asked about a committed candidate, and what is kept of its answer.

It is shown the change from the main parent, how both did, and what became of the siblings; it says in one line what
the candidate tries and in one what is to be learned. Both are cut and put on one line: they go into prompts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from discovery.generation.base import ParentView
from discovery.generation.failures import one_line
from discovery.generation.fences import code_blocks
from discovery.generation.insights import Insight
from discovery.generation.prompt import fenced
from discovery.problem import Problem
from discovery.records import CommittedStep, Direction, Message, Outcome

ADVISES = "You advise a search that improves solutions by experiment"
"""How every question to an adviser begins."""
LAG = 1
"""Steps by which reflections come later than the commits that they are about: step s shows those of the steps up to
s - 1 - overlap - LAG, always."""
APPROACH_LENGTH = 160
"""Characters kept of an approach."""
INSIGHT_LENGTH = 320
"""Characters kept of an insight."""
LEAST_SHOWN = 120
"""Characters of a program that a question shows, however little room there is."""
_CHANGE_LENGTH = 12_000
_FEEDBACK_LENGTH = 1000
_MESSAGE_LENGTH = 240
_LABEL = re.compile(r"^[\s>*_#\-\d.\"'`{]*(approach|insight)[\s*_\"'`]*[:=]\s*", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_MARKS = "*_`\"' ,}"


def reflection_question(
    problem: Problem,
    candidate: ParentView,
    parents: Sequence[ParentView],
    step: CommittedStep,
    *,
    most: int | None = None,
) -> tuple[Message, ...]:
    """What is asked about a step's committed candidate.

    Args:
        problem: What is to be solved.
        candidate: The candidate.
        parents: What its prompt showed, the main parent first.
        step: Its step, for the siblings.
        most: Characters that it may have, for which the change is cut; None: as many as it takes.
    """
    system, length = _task(problem), _CHANGE_LENGTH
    if most is not None:
        spare = most - len(system) - len(_told(problem, candidate, parents, step, LEAST_SHOWN))
        length = max(LEAST_SHOWN, min(length, LEAST_SHOWN + spare))
    return (
        Message(role="system", content=sendable(system)),
        Message(role="user", content=sendable(_told(problem, candidate, parents, step, length))),
    )


def sendable(text: str) -> str:
    """Without lone surrogates, which no request can hold."""
    return text.encode("utf-8", "replace").decode()


def background(problem: Problem, role: str) -> str:
    """How every question to an adviser begins: who it is, and what the search is for; the same throughout a run."""
    better = "higher" if problem.direction is Direction.MAXIMIZE else "lower"
    return (
        f"{ADVISES}; {better} scores are better. {role}\n\n"
        f"# Problem: {problem.name}\n\n{problem.statement.strip()}"
    )


def _task(problem: Problem) -> str:
    role = "You say what is to be learned from one attempt."
    return (
        f"{background(problem, role)}\n\n# Answer\n\n"
        "Two lines, nothing else:\n"
        "APPROACH: what the program tries, in one sentence, so that it can be told from others\n"
        "INSIGHT: why it did as well or as badly as it did, and what follows for the next attempts, in one sentence"
    )


def _told(
    problem: Problem, candidate: ParentView, parents: Sequence[ParentView], step: CommittedStep, length: int
) -> str:
    measured = [f"- {name}: {value!r}"[:400] for name, value in candidate.metrics.items()]
    scored = [f"Score: {candidate.score!r}", *(["Metrics:", *measured] if measured else [])]
    parts = ["# The attempt\n\n" + "\n".join(scored)]
    if candidate.feedback:
        said = candidate.feedback[:_FEEDBACK_LENGTH].splitlines()
        parts.append("\n".join(["Feedback:", *(f"> {line}" for line in said)]))
    if parents:
        lines = [f"- {parent.score!r}" for parent in parents]
        parts.append("\n".join(["It was made from programs with these scores, the main one first:", *lines]))
    parts.append(_change(problem, candidate, parents[0] if parents else None, length))
    parts.append(_siblings(step, step.outcome(candidate.key)))
    return "\n\n".join(part for part in parts if part)


def _change(problem: Problem, candidate: ParentView, main: ParentView | None, length: int) -> str:
    language = problem.settings.language
    if main is not None:
        lines = difflib.unified_diff(
            main.source.splitlines(), candidate.source.splitlines(), "main", "attempt", lineterm="", n=2
        )
        change = "\n".join(lines)
        if len(change) < len(candidate.source):
            shown = fenced(excerpt(change, length), "diff")
            return f"What it changed of the main one:\n\n{shown}"
    return f"The program:\n\n{fenced(excerpt(candidate.source, length), language)}"


def excerpt(text: str, length: int) -> str:
    """A text cut in its middle, at whole lines, to about so many characters."""
    if len(text) <= length:
        return text
    head = text[: length * 2 // 3].rpartition("\n")[0] or text[: length * 2 // 3]
    tail = text[-(length // 3) :].partition("\n")[2] or text[-(length // 3) :]
    return f"{head}\n[... {len(text) - len(head) - len(tail)} characters left out ...]\n{tail}"


def _siblings(step: CommittedStep, own: Outcome) -> str:
    others = [outcome for outcome in step.outcomes if outcome.key != own.key]
    if not others:
        return ""
    scores = sorted(outcome.score for outcome in others if outcome.score is not None)
    lines = ["Others made from the same prompt:"]
    if scores:
        lines.append(f"- with a score: {', '.join(map(repr, scores[:16]))}")
    for kind in dict.fromkeys(outcome.failure for outcome in others if outcome.failure is not None):
        failed = [outcome for outcome in others if outcome.failure is kind]
        said = one_line(failed[-1].message or "", _MESSAGE_LENGTH)
        lines.append(f"- without one, {len(failed)} x {kind.value}{f': {said}' if said else ''}")
    return "\n".join(lines)


def insight_of(answer: str | None, outcome: Outcome, *, is_improvement: bool) -> Insight | None:
    """What is kept of an answer; None where nothing can be.

    Lines that begin with the words that were asked for count, whatever marks are around them, the first of each. Where
    none does, the first line is the insight.

    Args:
        answer: What the model said, whatever that is; None where it said nothing.
        outcome: The candidate's.
        is_improvement: Whether it was better than all of the chain before it.
    """
    if answer is None or outcome.score is None:
        return None
    said: dict[str, str] = {}
    label = ""
    for line in answer.splitlines():
        found = _LABEL.match(line)
        if found is not None:
            label = found.group(1).lower()
            if label in said:
                label = ""
            else:
                said[label] = line[found.end() :].strip()
        elif label and line.strip():
            said[label] = f"{said[label]} {line.strip()}"
        else:
            label = ""
    if not any(said.values()):
        first = next((line for line in _prose(answer) if _LABEL.match(line) is None), "")
        said = {"insight": first}
    approach, insight = (
        _kept(said.get(name, ""), length)
        for name, length in (("approach", APPROACH_LENGTH), ("insight", INSIGHT_LENGTH))
    )
    if not approach and not insight:
        return None
    return Insight(
        key=outcome.key,
        score=outcome.score,
        is_improvement=is_improvement,
        approach=approach,
        insight=insight,
    )


def teaches_nothing(answer: str, outcome: Outcome) -> str | None:
    """Why an answer about a candidate is of no use; None where something of it is kept.

    Args:
        answer: What the model said.
        outcome: The candidate's.
    """
    kept = insight_of(answer, outcome, is_improvement=False)
    return None if kept is not None else "has neither an approach nor an insight"


def _prose(answer: str) -> Iterator[str]:
    """The lines of an answer that say something: neither code, nor a mark or a tag alone."""
    lines = answer.splitlines()
    code: set[int] = set()
    for block in code_blocks("\n".join(lines)):
        code.update(range(block.start, block.start + block.text.count("\n") + 2))
    for number, line in enumerate(lines):
        if number not in code and line.strip(_MARKS) and _TAG.fullmatch(line.strip()) is None:
            yield line


def _kept(text: str, length: int) -> str:
    plain = "".join(c if c.isprintable() else " " for c in text)
    return one_line(plain.strip(_MARKS), length)
