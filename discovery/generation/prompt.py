"""The messages of a step.

Parts come in the order of their constancy, since a server's prefix cache holds only what requests begin with alike.
What is the same for all steps of a run is first, and alone in the system message (role, statement, rules, answer
format), which storage then keeps once. The parents follow, oldest first: a step mostly shows those of the step before,
with a newer one in the place of an older. About a parent only what never changes is said there. Whatever any step may
change comes last: how far each parent is from the best, failures so far, and which of them is to be improved.

Two mistakes of other systems are held here: scores are written in full precision with their difference to the
best (two decimals hide every late gain), and failures count time-outs and crashes. A third is kept out by the
types: a :class:`~discovery.generation.base.ParentView` has no private metrics; :func:`view` is the one place
that drops them.

Composition is pure: equal arguments give equal messages.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from discovery.blocks import END, START
from discovery.declared import Limits
from discovery.generation.base import ParentView
from discovery.generation.failures import FailureStatistics, one_line
from discovery.generation.insights import Insight, insights_section
from discovery.problem import Problem
from discovery.records import Candidate, Direction, Json, Message, Score
from discovery.toolchain import in_words, toolchain

FEEDBACK_LENGTH = 2000
"""Characters shown of a scorer's feedback on one parent."""
METRIC_LENGTH = 400
"""Characters shown of one metric's value."""
IMPROVE = "Improve program"
"""How the last line of a prompt begins; the number of the main parent follows."""
_BACKTICKS = re.compile(r"`{3,}")


def view(candidate: Candidate, score: Score) -> ParentView:
    """A candidate as the prompt may show it: its private metrics and artifact are left behind.

    Args:
        candidate: The parent.
        score: Its score.
    """
    return ParentView(
        key=candidate.key,
        source=candidate.source,
        score=score.value,
        metrics=dict(score.metrics),
        feedback=score.feedback,
    )


def compose(
    problem: Problem,
    *,
    parents: Sequence[ParentView],
    best: float | None = None,
    failures: FailureStatistics | None = None,
    insights: Sequence[Insight] = (),
    step: int | None = None,
    steps: int | None = None,
) -> tuple[Message, ...]:
    """Compose the messages of one step.

    Args:
        problem: What is to be solved.
        parents: Candidates to show, the main one first; at least one.
        best: Best score so far; None takes the best of the parents.
        failures: What went wrong so far; None says nothing about it.
        insights: What was learned from earlier candidates, oldest first.
        step: Number of the step, from 1; None leaves it out.
        steps: How many there will be; None leaves it out.

    Returns:
        A system message that is the same for all steps of a problem, and a user message, of valid Unicode.

    Raises:
        ValueError: There is no parent.
    """
    if not parents:
        raise ValueError("a prompt needs at least one parent; the initial candidate is one")
    return (
        Message(role="system", content=_sendable(system_text(problem))),
        Message(
            role="user",
            content=_sendable(_user_text(problem, parents, best, failures, insights, step, steps)),
        ),
    )


def _sendable(text: str) -> str:
    """Without lone surrogates, which no request can hold: what candidates returned gets into messages and feedback."""
    return text.encode("utf-8", "replace").decode()


def system_text(problem: Problem) -> str:
    """The constant part: role, statement, rules and answer format."""
    better = "higher" if problem.direction is Direction.MAXIMIZE else "lower"
    schema, fence = problem.settings.schema, _tag(problem.settings.language)
    if problem.settings.is_text:
        what, rules = "texts", _text_rules(problem, better)
        answer = (
            "Think first, briefly: what limits the score, and what change would lift it. Then give the whole text in "
            f"one fenced code block that starts with ```{fence} and comes last; where it holds fences of its own, use "
            "more backticks around it. No fragments, no differences, no placeholders."
        )
    elif schema is None:
        what, rules = "programs", _program_rules(problem, better)
        answer = (
            "Think first, briefly: what limits the score, and what change would lift it. Then give the whole "
            f"program, complete and runnable, in one fenced code block that starts with ```{fence} and comes "
            "last. No fragments, no differences, no placeholders."
        )
    else:
        what, rules = "solutions", _data_rules(better, schema)
        answer = (
            "Answer with one JSON document, whole, and nothing else: no words around it, no comments, "
            "no placeholders."
        )
    return "\n".join(
        [
            f"You improve {what} by experiment: you are shown {what} with their measured scores, and "
            "write one that scores better.",
            "",
            f"# Problem: {problem.name}",
            "",
            problem.statement.strip(),
            "",
            "# Rules",
            "",
            *rules,
            "",
            "# Answer",
            "",
            answer,
        ]
    )


def _program_rules(problem: Problem, better: str) -> list[str]:
    settings = problem.settings
    chain = toolchain(settings)
    if chain.build is not None and chain.command is not None:
        build, command = in_words(chain.build, settings), in_words(chain.command, settings)
        use = f"It is built by `{build}` and run as a process of its own: `{command}`."
    elif chain.command is not None:
        use = f"It is run as a process of its own: `{' '.join(chain.command)}`."
    else:
        use = f"It must define `{settings.entry}`, which the scorer calls as the problem states."
    rules = [
        f"The program is written in {settings.language}. {use}",
        f"A separate scorer judges what the program hands out, and nothing else; {better} scores are better.",
        _limits(settings.limits),
    ]
    if settings.packages:
        rules.append(f"Besides the standard library it may use: {', '.join(settings.packages)}.")
    elif settings.language.lower() == "python":
        rules.append("It may use the standard library only.")
    rules.append("It has no network, no other files and no arguments beyond those stated.")
    rules += _regions(problem)
    return [f"- {rule}" for rule in rules]


def _text_rules(problem: Problem, better: str) -> list[str]:
    rules = [
        "A solution is a text, which is read as the problem states; nothing runs.",
        f"A separate scorer judges it; {better} scores are better.",
        *_regions(problem),
    ]
    return [f"- {rule}" for rule in rules]


def _regions(problem: Problem) -> list[str]:
    """What may change, where not all may."""
    regions = problem.frame.blocks
    if not regions:
        return []
    which = "the region" if regions == 1 else f"the {regions} regions"
    return [
        f"Only {which} between the lines with {START} and {END} may change. Everything outside is "
        "put back as it was. Keep every marker line."
    ]


def _data_rules(better: str, schema: Mapping[str, Json]) -> list[str]:
    return [
        f"- A solution is data: one JSON document. A scorer judges it; {better} scores are better.",
        "- All numbers are finite, and no object has a name twice.",
        "- It must fit this JSON Schema:",
        "",
        fenced(json.dumps(schema, ensure_ascii=False), "json"),
    ]


def fenced(source: str, language: str) -> str:
    """A source in a fence that nothing inside it can close.

    Args:
        source: Any text.
        language: Its language, for the info string.
    """
    longest = max((len(run) for run in _BACKTICKS.findall(source)), default=2)
    fence = "`" * (longest + 1)
    end = "" if source.endswith("\n") else "\n"
    return f"{fence}{_tag(language)}\n{source}{end}{fence}"


def _tag(language: str) -> str:
    return re.sub(r"[^\w+#.-]", "", language.lower()) or "text"


def _limits(limits: Limits) -> str:
    memory = limits.memory_bytes / (1 << 20)
    return (
        f"Each use of it may take {limits.wall_s:g} s, {memory:.0f} MiB of memory and return "
        f"{limits.result_bytes / (1 << 20):g} MiB; a program that takes more has no score."
    )


def _user_text(
    problem: Problem,
    parents: Sequence[ParentView],
    best: float | None,
    failures: FailureStatistics | None,
    insights: Sequence[Insight],
    step: int | None,
    steps: int | None,
) -> str:
    better = problem.direction.better
    for parent in parents:
        if better(parent.score, best):
            best = parent.score
    order = sorted(range(len(parents)), key=lambda i: _age(parents[i]))
    shown = [parents[i] for i in order]
    parts = [_parent(problem, parent, f"# Program {n}") for n, parent in enumerate(shown, start=1)]
    if insights:
        parts.append(insights_section(insights))
    parts.append("# So far")
    if step is not None:
        parts.append(f"This is step {step}" + (f" of {steps}." if steps is not None else "."))
    standing = [f"- Program {n}: {_difference(p.score, best)}" for n, p in enumerate(shown, start=1)]
    parts.append("\n".join([f"Best score so far: {best!r}.", *standing]))
    if failures is not None and failures.candidates:
        parts.append(_failures(failures))
    parts.append(_request(order.index(0) + 1, len(parents)))
    return "\n\n".join(parts)


def _age(parent: ParentView) -> tuple[int, int, int]:
    """What parents are sorted by, oldest first."""
    return (parent.key.step, parent.key.chain, parent.key.index)


def _request(main: int, count: int) -> str:
    if count == 1:
        return f"{IMPROVE} {main}: write one that scores better."
    return f"{IMPROVE} {main}, with the others in mind: write one that scores better than all of them."


def _failures(failures: FailureStatistics) -> str:
    if not failures.failures:
        return f"All {failures.candidates} candidates so far had a score."
    lines = [f"{failures.failures} of {failures.candidates} candidates so far had no score:"]
    for row in failures.ranked():
        lines.append(f"- {row.kind.value}: {row.count}")
        lines += [f"  - {_quoted(message)}" for message in row.messages]
    return "\n".join(lines)


def _quoted(message: str) -> str:
    return "`" + message.replace("`", "'") + "`"


def _parent(problem: Problem, parent: ParentView, title: str) -> str:
    lines = [title, "", f"Score: {parent.score!r}"]
    if parent.metrics:
        lines.append("Metrics:")
        lines += [f"- {name}: {_metric(value)}" for name, value in parent.metrics.items()]
    if parent.feedback:
        feedback = parent.feedback
        if len(feedback) > FEEDBACK_LENGTH:
            feedback = feedback[: FEEDBACK_LENGTH - 1] + "…"
        lines.append("Feedback:")
        lines += [f"> {line}" for line in feedback.splitlines()]
    return "\n".join([*lines, "", fenced(parent.source, problem.settings.language)])


def _difference(score: float, best: float | None) -> str:
    if best is None or score == best:
        return "the best so far"
    return f"{score - best!r} from the best"


def _metric(value: object) -> str:
    text = repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=repr)
    return one_line(text, METRIC_LENGTH)
