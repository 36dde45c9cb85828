"""The messages of a step.

Parts come in the order of their constancy, since a server's prefix cache holds only what requests begin with alike:

| part | changes |
|---|---|
| system message: role, statement, rules, answer format | never within a run; storage keeps it once |
| parents, oldest first | with most steps: those of the step before, a newer one in the place of an older |
| insights | where one is added, at their end |
| elites | when the parents do, or a better candidate comes |
| best score, how far each parent is from it, what is given | when the parents do, or the best |
| failures | with nearly every step |
| which parent is to be improved | with most steps |

About a parent only what never changes is said in its place. The words, and their order, may be a problem's or a run's
own (:mod:`discovery.generation.templates`); how much is said follows from the model's context
(:mod:`discovery.generation.fitting`).

Two mistakes of other systems are held here: scores are written in full precision with their difference to the
best (two decimals hide every late gain), and failures count time-outs and crashes. A third is kept out by the
types: a :class:`~discovery.generation.base.ParentView` has no private metrics; :func:`view` is the one place
that drops them.

Composition is pure: equal arguments give equal messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from discovery.blocks import BlocksMissing, Frame
from discovery.bundle import unbundled
from discovery.config import PromptConfig
from discovery.errors import ConfigError, ProblemError
from discovery.generation import rules
from discovery.generation.base import Elite, ParentView
from discovery.generation.failures import MESSAGES_SHOWN, FailureStatistics, one_line
from discovery.generation.fences import fenced, tag_of
from discovery.generation.fitting import FULL, Detail
from discovery.generation.insights import Insight, insights_section
from discovery.generation.templates import USUAL, Template, filled
from discovery.problem import Problem
from discovery.records import Candidate, CandidateKey, Message, Score

METRIC_LENGTH = 400
"""Characters shown of one metric's value."""
IMPROVE = "Improve program"
"""How the last line of a prompt begins; the number of the main parent follows."""
_ROW_LENGTH = 160  # characters of metrics, and of an insight, in one row of the overview
__all__ = ["IMPROVE", "USUAL_FORM", "Form", "compose", "fenced", "system_text", "view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What prompts of a run look like.

    Args:
        template: Their words.
        edits: Whether edits of the main parent are asked for, instead of the whole.
        failures: Most messages of each kind of failure.
    """

    template: Template = USUAL
    edits: bool = False
    failures: int = MESSAGES_SHOWN

    @classmethod
    def of(cls, config: PromptConfig, problem: Problem) -> Form:
        """The form that a configuration and a problem ask for; the run's own template goes before the problem's.

        Raises:
            ConfigError: The run's template has a fault.
            ProblemError: The problem's has one.
        """
        template = USUAL
        if config.template_text is not None:
            template = _template(config.template_text, f"template {config.template}", ConfigError)
        elif problem.template is not None:
            template = _template(problem.template, f"the template of problem {problem.name!r}", ProblemError)
        return cls(template=template, edits=config.edits == "diff", failures=config.failures)


USUAL_FORM = Form()


def _template(text: str, where: str, kind: type[ConfigError] | type[ProblemError]) -> Template:
    try:
        return Template.of(text)
    except ValueError as error:
        raise kind(f"{where}: {error}") from error


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
    elites: Sequence[Elite] = (),
    insights: Sequence[Insight] = (),
    given: float | None = None,
    form: Form = USUAL_FORM,
    detail: Detail = FULL,
) -> tuple[Message, ...]:
    """Compose the messages of one step.

    Args:
        problem: What is to be solved.
        parents: Candidates to show, the main one first; at least one.
        best: Best score so far; None takes the best of the parents.
        failures: What went wrong so far; None says nothing about it.
        elites: Good candidates beside the parents, the best first.
        insights: What was learned from earlier candidates, oldest first.
        given: The score of the construction that the program will be given, where the problem declares that; None
            where there is none.
        form: What prompts of the run look like.
        detail: How much of all this is said.

    Returns:
        A system message that is the same for all steps of a run, and a user message, of valid Unicode.

    Raises:
        ValueError: There is no parent.
    """
    if not parents:
        raise ValueError("a prompt needs at least one parent; the initial candidate is one")
    order = sorted(range(len(parents)), key=lambda i: _age(parents[i]))
    shown = [parents[i] for i in order]
    main = order.index(0) + 1
    for parent in parents:
        if problem.direction.better(parent.score, best):
            best = parent.score
    values = {
        **_constant(problem, form),
        "parents": _parents(problem, shown, main, detail),
        "insights": insights_section(insights) if insights and detail.insights else "",
        "elites": _elites(elites[: detail.elites], best, {each.key: each.insight for each in insights}),
        "best": _standing(shown, best) + _handed(problem, given),
        "failures": "" if failures is None else _failures(failures, form, detail),
        "main": str(main),
        "request": _request(main, len(parents)),
    }
    return (
        Message(role="system", content=_sendable(filled(form.template.system, values))),
        Message(role="user", content=_sendable(filled(form.template.user, values))),
    )


def _sendable(text: str) -> str:
    """Without lone surrogates, which no request can hold: what candidates returned gets into messages and feedback."""
    return text.encode("utf-8", "replace").decode()


def system_text(problem: Problem, form: Form = USUAL_FORM) -> str:
    """The constant part: role, statement, rules and answer format."""
    return filled(form.template.system, _constant(problem, form))


def _constant(problem: Problem, form: Form) -> dict[str, str]:
    return {
        "problem": problem.name,
        "statement": problem.statement.strip(),
        "kind": rules.kind(problem),
        "language": problem.settings.language,
        "better": rules.better(problem),
        "rules": rules.rules(problem),
        "answer": rules.answer_format(problem, edits=form.edits),
    }


def _age(parent: ParentView) -> tuple[int, int, int]:
    """What parents are sorted by, oldest first."""
    return (parent.key.step, parent.key.chain, parent.key.index)


def _request(main: int, count: int) -> str:
    if count == 1:
        return f"{IMPROVE} {main}: write one that scores better."
    return f"{IMPROVE} {main}, with the others in mind: write one that scores better than all of them."


# Parents


def _parents(problem: Problem, shown: Sequence[ParentView], main: int, detail: Detail) -> str:
    others = [number for number in range(1, len(shown) + 1) if number != main]
    whole = others if detail.sources is None else others[len(others) - detail.sources :]
    parts = []
    for number, parent in enumerate(shown, start=1):
        source = parent.source if number == main or number in whole else None
        frozen = detail.frozen if number == main else None
        parts.append(_parent(problem, parent, f"# Program {number}", source, detail.feedback, frozen))
    return "\n\n".join(parts)


def _parent(
    problem: Problem, parent: ParentView, title: str, source: str | None, feedback: int, frozen: int | None
) -> str:
    lines = [title, "", f"Score: {parent.score!r}"]
    if source is None:
        return "\n".join([*lines, "Its text is left out here, for want of room."])
    if parent.metrics:
        lines.append("Metrics:")
        lines += [f"- {name}: {_metric(value)}" for name, value in parent.metrics.items()]
    if parent.feedback and feedback:
        said = parent.feedback
        if len(said) > feedback:
            said = said[: feedback - 1] + "…"
        lines.append("Feedback:")
        lines += [f"> {line}" for line in said.splitlines()]
    return "\n".join([*lines, "", _source(problem, source, frozen)])


def _source(problem: Problem, source: str, frozen: int | None) -> str:
    """A source in a fence; of several files those that may change, each under its path.

    Args:
        problem: Whose candidate it is.
        source: All of it.
        frozen: Lines to be shown at each end of a frozen part; None for all.
    """
    frame = problem.frame
    if isinstance(frame, Frame):
        shown = source if frozen is None else _abridged(frame, source, frozen)
        return fenced(shown, problem.settings.language)
    files = unbundled(source)
    parts = []
    for path, own in frame.frames.items():
        shown = files[path] if frozen is None else _abridged(own, files[path], frozen)
        parts.append(f"`{path}`:\n\n{fenced(shown, tag_of(path))}")
    return "\n\n".join(parts)


def _abridged(frame: Frame, source: str, most: int) -> str:
    """A program without the middles of its frozen parts."""
    try:
        contents = frame.contents(source)
    except BlocksMissing:
        return source
    if frame.blocks == 0:
        return source
    fixed = []
    for part in frame.fixed:
        lines = part.splitlines(keepends=True)
        if len(lines) > 2 * most + 1:
            gap = f"[{len(lines) - 2 * most} lines that stay as they are]\n"
            lines = [*lines[:most], gap, *lines[-most:]]
        fixed.append("".join(lines))
    return Frame(tuple(fixed)).fill(contents)


def _metric(value: object) -> str:
    text = repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=repr)
    return one_line(text, METRIC_LENGTH)


# What is known beside them


def _standing(shown: Sequence[ParentView], best: float | None) -> str:
    lines = [f"- Program {n}: {_difference(parent.score, best)}" for n, parent in enumerate(shown, start=1)]
    return "\n".join([f"Best score so far: {best!r}.", *lines])


def _handed(problem: Problem, given: float | None) -> str:
    """What the program will be given, where the problem declares that."""
    if not problem.settings.warm_start:
        return ""
    if given is None:
        return "\n\nThere is no construction yet that the program could be given."
    return f"\n\nThe construction that the program will be given scores {given!r}."


def _difference(score: float, best: float | None) -> str:
    if best is None or score == best:
        return "the best so far"
    return f"{score - best!r} from the best"


def _elites(elites: Sequence[Elite], best: float | None, insights: Mapping[CandidateKey, str]) -> str:
    """A table of good candidates; columns that would be empty are left out."""
    if not elites:
        return ""
    columns = ["candidate", "score", "from the best"]
    rows = [
        [str(elite.key), repr(elite.score), "0" if best is None else f"{elite.score - best:.6g}"]
        for elite in elites
    ]
    for name, cells in (
        ("metrics", [_summary(elite.metrics) for elite in elites]),
        ("insight", [one_line(insights.get(elite.key, ""), _ROW_LENGTH) for elite in elites]),
    ):
        if any(cells):
            columns.append(name)
            rows = [[*row, cell] for row, cell in zip(rows, cells, strict=True)]
    lines = [_row(columns), "|" + "---|" * len(columns), *(_row(row) for row in rows)]
    return "\n".join(["# Other good candidates, without their text", "", *lines])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _summary(metrics: Mapping[str, object]) -> str:
    """Metrics that are short, in one cell; digits take tokens, and the score beside them has all of its own."""
    said = ((name, value) for name, value in metrics.items() if isinstance(value, (int, float, str, bool)))
    shown = (f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in said)
    return one_line(", ".join(shown), _ROW_LENGTH)


def _failures(failures: FailureStatistics, form: Form, detail: Detail) -> str:
    if not failures.candidates:
        return ""
    if not failures.failures:
        return f"All {failures.candidates} candidates so far had a score."
    most = form.failures if detail.failures is None else min(form.failures, detail.failures)
    lines = [f"{failures.failures} of {failures.candidates} candidates so far had no score:"]
    for row in failures.ranked():
        lines.append(f"- {row.kind.value}: {row.count}")
        for pattern in row.shown(most):
            often = f"{pattern.count} like " if pattern.count > 1 else ""
            lines.append(f"  - {often}{_quoted(pattern.message)}")
    return "\n".join(lines)


def _quoted(message: str) -> str:
    return "`" + message.replace("`", "'") + "`"
