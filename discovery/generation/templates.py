"""Templates of prompts: the words of a prompt, with slots for what a step knows.

A template is a text of two parts, each begun by a line of its own::

    <!-- system -->
    ...
    <!-- user -->
    ...

A part that is left out is that of :data:`DEFAULT`. Slots are written ``${name}``, a dollar sign ``$$``. The system
part is the same for all steps of a run, so that storage keeps it once and a server's prefix cache holds it: it takes
:data:`CONSTANT` slots only. In the user part, what changes seldom should come first.

A paragraph (what stands between blank lines) whose slots are all empty is left out as a whole, so that a heading
directly above a slot goes with it. What slots are filled with is never read as a template.
"""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT = """\
<!-- system -->
You improve ${kind} by experiment: you are shown ${kind} with their measured scores, and write one that scores better.

# Problem: ${problem}

${statement}

# Rules

${rules}

# Answer

${answer}
<!-- user -->
${parents}

${insights}

${elites}

# So far

${best}

${failures}

${request}
"""
"""What prompts say unless a problem or a run has a template of its own."""

CONSTANT: Mapping[str, str] = {
    "problem": "the problem's name",
    "statement": "the problem's statement",
    "kind": "what solutions are: programs, texts or solutions",
    "language": "their language",
    "better": "which scores are better: higher or lower",
    "rules": "the rules as a list: how a program is used, its limits, what may change",
    "answer": "how to answer: the whole program, or edits of it",
}
"""Slots that are the same in all prompts of a run, and what they hold."""
CHANGING: Mapping[str, str] = {
    "parents": "the parents, oldest first, each with score, metrics, feedback and source",
    "insights": "what was learned from earlier candidates",
    "elites": "a table of the chain's best candidates beside the parents",
    "best": "the best score, and how far each parent is from it",
    "failures": "what went wrong so far, and how often",
    "main": "the number of the parent that is to be improved",
    "request": "the request to improve it",
}
"""Slots that may differ from step to step, for the user part."""
NEEDED: Mapping[str, str] = {
    "statement": "the model is not told the problem",
    "answer": "the model is not told how to answer",
    "parents": "the model sees no program",
    "request": "the model is not told which program to improve",
}
"""Slots that a template must have, and what is wrong without them."""

_MARK = re.compile(r"<!--[ \t]*(system|user)[ \t]*-->[ \t]*")
_PARAGRAPHS = re.compile(r"(\n(?:[ \t]*\n)+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template that has no fault.

    Args:
        system: The system part.
        user: The user part.
    """

    system: str
    user: str

    @classmethod
    def of(cls, text: str) -> Template:
        """Read a template.

        Args:
            text: Its two parts, or one of them.

        Raises:
            ValueError: It has faults; says the first one.
        """
        for fault in faults(text):
            raise ValueError(fault)
        parts, usual = _parts(text), _parts(DEFAULT)
        return cls(**{name: parts.get(name, usual[name]).text.strip("\n") for name in ("system", "user")})


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a template, and the number of its first line."""

    text: str
    line: int


def _parts(text: str) -> dict[str, _Part]:
    found: dict[str, _Part] = {}
    lines = text.split("\n")
    marks = [(number, match[1]) for number, line in enumerate(lines) if (match := _MARK.fullmatch(line))]
    ends = [number for number, _ in marks[1:]] + [len(lines)]
    for (number, name), end in zip(marks, ends, strict=True):
        found.setdefault(name, _Part("\n".join(lines[number + 1 : end]), number + 2))
    return found


def faults(text: str) -> tuple[str, ...]:
    """All that is wrong with a template, each with its fix; empty where nothing is.

    Args:
        text: As written by a user.
    """
    lines = text.split("\n")
    marks = [match[1] for line in lines if (match := _MARK.fullmatch(line))]
    if not marks:
        return (
            "there is no line <!-- system --> or <!-- user -->; begin each of the two parts with its line, alone on it",
        )
    found = [
        f"there are {marks.count(name)} lines <!-- {name} -->; keep one"
        for name in dict.fromkeys(marks)
        if marks.count(name) > 1
    ]
    first = next(number for number, line in enumerate(lines) if _MARK.fullmatch(line))
    if any(line.strip() for line in lines[:first]):
        found.append(
            f"line 1: there is text before the line <!-- {marks[0]} -->, which nobody gets; put it below"
        )
    parts = _parts(text)
    for name, part in parts.items():
        if not part.text.strip():
            found.append(
                f"the part <!-- {name} --> is empty; write it, or leave its line out for the usual one"
            )
        found += _part_faults(name, part)
    usual = _parts(DEFAULT)
    used = {name: _slots(parts.get(name, usual[name]).text) for name in ("system", "user")}
    for slot, why in NEEDED.items():
        if slot not in used["user"] and (slot in CHANGING or slot not in used["system"]):
            where = "user" if slot in CHANGING else "system"
            found.append(f"there is no slot ${{{slot}}}, so {why}; put it into the part <!-- {where} -->")
    return tuple(found)


def _part_faults(name: str, part: _Part) -> list[str]:
    found = []
    for match in string.Template.pattern.finditer(part.text):
        place = f"line {part.line + part.text.count(chr(10), 0, match.start())}"
        slot = match["named"] or match["braced"]
        if match["invalid"] is not None:
            found.append(f"{place}: a dollar sign begins no slot; write $$ for the sign itself")
        elif slot is not None and slot not in CONSTANT and slot not in CHANGING:
            known = [*CONSTANT, *CHANGING]
            near = difflib.get_close_matches(slot, known, n=1)
            hint = f"did you mean ${{{near[0]}}}? " if near else ""
            found.append(f"{place}: there is no slot ${{{slot}}}; {hint}known: {', '.join(sorted(known))}")
        elif slot in CHANGING and name == "system":
            found.append(
                f"{place}: ${{{slot}}} changes from step to step, and the system part does not; put it into the part "
                "<!-- user -->"
            )
    return found


def _slots(text: str) -> set[str]:
    matches = string.Template.pattern.finditer(text)
    return {slot for match in matches if (slot := match["named"] or match["braced"])}


def filled(part: str, values: Mapping[str, str]) -> str:
    """A part of a template with its slots filled.

    Args:
        part: Of a :class:`Template`.
        values: For each slot that it has.

    Returns:
        The text, without the paragraphs whose slots are all empty.
    """
    pieces = _PARAGRAPHS.split(part)
    made = ""
    for place in range(0, len(pieces), 2):
        slots = _slots(pieces[place])
        if slots and not any(values[slot].strip() for slot in slots):
            continue
        between = pieces[place - 1] if place and made else ""
        made += between + string.Template(pieces[place]).substitute(values)
    return made


USUAL = Template.of(DEFAULT)
"""The default template."""
