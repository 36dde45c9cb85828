"""Where some lines stand in a program: the one window of it that they mean.

What a model repeats of a program is often nearly right: white space at the ends of lines is lost, the whole is indented
by a few columns more, line numbers were copied along. Each of these is tried in turn, the strictest first, and the
first one by which the lines stand *somewhere* decides: in one place, that is it; in several, nobody can say which was
meant. Last comes likeness, only where one place alone is very like and no line is indented otherwise.

Time is bounded on any input: all of an answer has one :class:`Allowance` of work, and at most :data:`MOST_PLACES`
places are looked at.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate

MOST_PLACES = 64
"""Places that are looked at; lines that stand in more are no help in any case."""
ALIKE = 0.9
"""Share of characters in common from which on a window is taken for what was meant."""
WORK = 40_000_000
"""What all of an answer may take: about one second, in characters that are searched."""
_COMPARED, _VOTED = 40, 20  # what comparing two characters, and noting one place, takes of it
_FEWEST_CHARACTERS = 24  # below, likeness says nothing
_NUMBERED = re.compile(r"[ \t]*(\d{1,7})(?:[ \t]*[:|][ ]?|\t)(.*)")


class NotFound(Exception):
    """Lines do not stand in exactly one place.

    Args:
        message: Why not, in a few words that follow "its SEARCH".
        nearest: Number of the line, from 1, where the program is most like them; None where it is nowhere.
    """

    def __init__(self, message: str, nearest: int | None = None) -> None:
        super().__init__(message)
        self.nearest = nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Lines ``start`` to ``end`` (excluded, from 0) of a program, and what takes their place.

    Args:
        start: First line.
        end: First line after it.
        lines: The replacement, fitted to how the program is indented.
        exact: Whether it stands there character by character.
    """

    start: int
    end: int
    lines: tuple[str, ...]
    exact: bool


class Allowance:
    """Work that is left for an answer.

    Args:
        work: In characters that are searched.
    """

    def __init__(self, work: int = WORK) -> None:
        self._left = work

    def take(self, work: int) -> None:
        """Take some.

        Raises:
            NotFound: There is not that much left.
        """
        self._left -= work
        if self._left < 0:
            raise NotFound("takes too long to find; make fewer and smaller blocks")

    def likeness(self, a: str, b: str) -> float:
        """The share of characters in common, in order.

        Raises:
            NotFound: That takes more than is left.
        """
        if a == b:
            return 1.0
        self.take(_COMPARED * len(a) * len(b))
        return SequenceMatcher(None, a, b, autojunk=False).ratio()


def find(
    program: Sequence[str], search: Sequence[str], replace: Sequence[str], allowance: Allowance
) -> Window:
    """The window of a program that some lines mean.

    Args:
        program: Its lines.
        search: The lines to be found; at least one is not blank.
        replace: The lines to stand there instead.
        allowance: For likeness; what this takes is gone.

    Raises:
        NotFound: There is none, or several.
    """
    readings = _readings(search, replace)
    for standing in (_exactly, _shifted):
        for wanted, instead in readings:
            window = standing(program, wanted, instead, allowance)
            if window is not None:
                return window
    return _alike(program, *_trimmed(search, replace), allowance)


def _readings(search: Sequence[str], replace: Sequence[str]) -> list[tuple[Sequence[str], Sequence[str]]]:
    """The lines as they are; without blank ones at both ends; without line numbers."""
    readings = [(search, replace)]
    trimmed = _trimmed(search, replace)
    if len(trimmed[0]) < len(search):
        readings.append(trimmed)
    unnumbered = _unnumbered(*trimmed)
    if unnumbered is not None:
        readings.append(unnumbered)
    return readings


def _trimmed(search: Sequence[str], replace: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Without the blank lines that the search begins and ends with; the replacement loses as many, if it has them."""
    before, after = _blank(search), _blank(search[::-1])
    less = min(before, _blank(replace))
    replace = replace[less:]
    less = min(after, _blank(replace[::-1]))
    return search[before : len(search) - after], replace[: len(replace) - less]


def _blank(lines: Sequence[str]) -> int:
    """How many blank lines some lines begin with."""
    return next((number for number, line in enumerate(lines) if line.strip()), len(lines))


def _unnumbered(search: Sequence[str], replace: Sequence[str]) -> tuple[Sequence[str], Sequence[str]] | None:
    """Without line numbers, where all lines of the search have such, one after the other."""
    matches = [_NUMBERED.fullmatch(line) for line in search]
    numbers = [int(match[1]) for match in matches if match]
    if len(numbers) != len(search) or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        return None
    instead = [_NUMBERED.fullmatch(line) for line in replace if line.strip()]
    if any(instead) and not all(instead):
        raise NotFound("has line numbers and its REPLACE has some; leave them out")
    kept = [match[2] if (match := _NUMBERED.fullmatch(line)) else line for line in replace]
    return [match[2] for match in matches if match], kept


def _exactly(
    program: Sequence[str], search: Sequence[str], replace: Sequence[str], allowance: Allowance
) -> Window | None:
    """Character by character, else but for white space at the ends of lines."""
    for form in (str, str.rstrip):
        places = _places(program, search, form, allowance)
        if places:
            start = _only(places)
            return Window(start=start, end=start + len(search), lines=tuple(replace), exact=form is str)
    return None


def _shifted(
    program: Sequence[str], search: Sequence[str], replace: Sequence[str], allowance: Allowance
) -> Window | None:
    """But for one and the same indentation of all lines, which the replacement gets as well."""
    places = _places(program, search, str.strip, allowance)
    if len(places) > MOST_PLACES:
        raise NotFound(f"stands in more than {MOST_PLACES} places; give more of the lines around it")
    shifts = {start: _shift(program[start : start + len(search)], search) for start in places}
    uniform = [start for start, shift in shifts.items() if shift is not None]
    if not uniform:
        return None
    start = _only(uniform)
    shift = shifts[start]
    assert shift is not None
    more, less = shift
    lines = []
    for line in replace:
        if line.strip() and not line.startswith(less):
            raise NotFound(
                f"is indented by {len(less)} more than the program, and its REPLACE is not; indent both as the program",
                start + 1,
            )
        lines.append(more + line[len(less) :] if line.strip() else line)
    return Window(start=start, end=start + len(search), lines=tuple(lines), exact=False)


def _shift(there: Sequence[str], wanted: Sequence[str]) -> tuple[str, str] | None:
    """What to put before each wanted line, and what to take away, to be indented as there; None if not uniform."""
    found: tuple[str, str] | None = None
    for line, other in zip(there, wanted, strict=True):
        if not line.strip():
            continue
        own, given = indentation(line), indentation(other)
        if own.endswith(given):
            shift = (own[: len(own) - len(given)], "")
        elif given.endswith(own):
            shift = ("", given[: len(given) - len(own)])
        else:
            return None
        if found is not None and shift != found:
            return None
        found = shift
    return found


def _alike(
    program: Sequence[str], search: Sequence[str], replace: Sequence[str], allowance: Allowance
) -> Window:
    """The one place that is very like, indented alike."""
    weight = sum(len(line.strip()) for line in search)
    votes = _votes(program, search, allowance)
    likely = [start for start, vote in votes.items() if 2 * vote >= weight]
    nearest = max(votes, key=lambda start: (votes[start], -start), default=None)
    found = []
    if weight >= _FEWEST_CHARACTERS and len(likely) <= MOST_PLACES:
        for start in sorted(likely):
            window = program[start : start + len(search)]
            if _likeness(window, search, allowance) >= ALIKE:
                found.append(start)
    if not found:
        raise NotFound("is nowhere in the program", nearest + 1 if nearest is not None else None)
    start = _only(found, "is like the program")
    return Window(start=start, end=start + len(search), lines=tuple(replace), exact=False)


def _votes(program: Sequence[str], search: Sequence[str], allowance: Allowance) -> dict[int, int]:
    """For each place that the lines could stand in, how many of their characters are of lines that do stand there."""
    at: dict[str, list[int]] = {}
    for number, line in enumerate(program):
        text = line.strip()
        if text and len(places := at.setdefault(text, [])) <= MOST_PLACES:
            places.append(number)
    votes: dict[int, int] = {}
    for offset, line in enumerate(search):
        text = line.strip()
        places = at.get(text, [])
        if len(places) > MOST_PLACES:
            continue  # a line that is everywhere says nothing
        allowance.take(_VOTED * len(places))
        for number in places:
            start = number - offset
            if 0 <= start <= len(program) - len(search):
                votes[start] = votes.get(start, 0) + len(text)
    return votes


def _likeness(there: Sequence[str], wanted: Sequence[str], allowance: Allowance) -> float:
    """The share of characters in common, line by line; 0 where a line is indented otherwise."""
    common = total = 0.0
    for line, other in zip(there, wanted, strict=True):
        if line.strip() and other.strip() and indentation(line) != indentation(other):
            return 0.0
        a, b = line.strip(), other.strip()
        total += len(a) + len(b)
        common += allowance.likeness(a, b) * (len(a) + len(b))
    return common / total if total else 0.0


def _only(places: Sequence[int], how: str = "stands") -> int:
    if len(places) > 1:
        shown = ", ".join(str(place + 1) for place in places[:4]) + (", ..." if places[4:] else "")
        many = len(places) if len(places) <= MOST_PLACES else f"more than {MOST_PLACES}"
        raise NotFound(
            f"{how} in {many} places (lines {shown}); give more of the lines around it", places[0] + 1
        )
    return places[0]


def _places(
    program: Sequence[str], search: Sequence[str], form: Callable[[str], str], allowance: Allowance
) -> list[int]:
    """Where lines stand whose form is the same; one more than :data:`MOST_PLACES` at most."""
    if len(search) > len(program):
        return []
    forms = [form(line) for line in program]
    whole = "\n".join(["", *forms, ""])
    wanted = "\n".join(["", *(form(line) for line in search), ""])
    allowance.take(len(whole) + len(wanted))
    found: list[int] = []
    at = whole.find(wanted)
    if at < 0:
        return []
    starts = [0, *accumulate(len(form) + 1 for form in forms)]
    while at >= 0 and len(found) <= MOST_PLACES:
        found.append(bisect_left(starts, at))
        allowance.take(len(wanted))
        at = whole.find(wanted, at + 1)
    return found


def indentation(line: str) -> str:
    """The blanks and tabs that a line begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]
