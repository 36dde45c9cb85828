"""SEARCH/REPLACE edits of a program: reading them from an answer, and applying them.

An answer holds one or several blocks::

    <<<<<<< SEARCH
    lines of the program
    =======
    what takes their place
    >>>>>>> REPLACE

They are applied one after the other, each to what the ones before have made. Markers are read as models write them:
with more or fewer signs, other words, indented, in fences or not, with a fence around each part. What the lines of a
block mean is found leniently too (:mod:`discovery.generation.windows`), but never guessed: a block that stands nowhere
or in several places fails, and with it the whole answer. So do a block that abbreviates with an ellipsis, an answer
that was cut off, and edits that change nothing. Nothing is ever scored in place of a failed edit.

Answers may be hostile: reading takes time in proportion to their length, and the number of blocks is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from discovery.generation.windows import Allowance, NotFound, Window, find

MOST_BLOCKS = 64
"""Blocks of an answer that are applied; one with more is refused."""
_MOST_DIVIDERS = 8
_SHOWN_LINES = 12
_SHOWN_LENGTH = 120

_SEARCH = re.compile(
    r"[ \t]*(?:<{4,10}[ \t]*(?:SEARCH|ORIGINAL|FIND|OLD|HEAD)?|-{5,10}[ \t]*(?:SEARCH|ORIGINAL))[ \t]*:?[ \t]*",
    re.IGNORECASE,
)
_DIVIDER = re.compile(r"[ \t]*={5,10}[ \t]*")
_REPLACE = re.compile(
    r"[ \t]*(?:>{4,10}[ \t]*(?:REPLACED?|UPDATED?|NEW|END)?|\+{5,10}[ \t]*(?:REPLACE|UPDATED))[ \t]*:?[ \t]*",
    re.IGNORECASE,
)
_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})[^`]*")
_ELLIPSIS = re.compile(
    r"(?:#|//|/\*|--|%|;|<!--)?[ \t]*(?:\.\.\.|…).*|"
    r"(?:#|//|/\*|--|%|;)[ \t]*(?:(?:the )?(?:rest|remainder)\b|(?:existing|unchanged|same)\b.*\bcode\b).*",
    re.IGNORECASE,
)
_LONGEST_MARK = 100  # a line with more characters is no marker, and stands for no others


class EditsFailed(Exception):
    """Edits cannot be applied.

    Args:
        message: Which block, and what to do instead, in one line.
        detail: What it looked for, and the nearest lines of the program.
    """

    def __init__(self, message: str, detail: str | None = None) -> None:
        super().__init__(message)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class _Reading:
    """One way to read a block: the lines to be found, and those that take their place."""

    search: tuple[str, ...]
    replace: tuple[str, ...]


def holds_edits(text: str) -> bool:
    """Whether an answer has a line that begins an edit.

    Args:
        text: With newlines only.
    """
    return any(map(begins, text.split("\n")))


def begins(line: str) -> bool:
    """Whether a line begins an edit."""
    return _is(_SEARCH, line)


def ends(line: str) -> bool:
    """Whether a line ends an edit that was begun."""
    return _is(_REPLACE, line)


def edited(program: str, text: str, *, is_cut: bool = False) -> str:
    """A program after the edits of an answer.

    Args:
        program: What they are edits of.
        text: The answer, with newlines only.
        is_cut: Whether the answer ended at the limit of tokens.

    Returns:
        The whole program, which differs from the one given.

    Raises:
        EditsFailed: There is no edit, one cannot be applied, or nothing changes.
    """
    blocks = list(_blocks(text.split("\n"), is_cut))
    if not blocks:
        raise EditsFailed(
            "the answer has no SEARCH/REPLACE block; give each change as one, or the whole program in one fenced block"
        )
    if len(blocks) > MOST_BLOCKS:
        raise EditsFailed(
            f"the answer has {len(blocks)} SEARCH/REPLACE blocks; {MOST_BLOCKS} at most, or the whole program"
        )
    end = "\n" if program.endswith("\n") else ""
    lines = program.removesuffix("\n").split("\n")
    allowance = Allowance()
    for number, body in enumerate(blocks, start=1):
        which = "the SEARCH/REPLACE block" if len(blocks) == 1 else f"block {number} of {len(blocks)}"
        window = _window(lines, body, which, allowance)
        lines[window.start : window.end] = window.lines
    made = "\n".join(lines) + end if lines else ""
    if made == program:
        raise EditsFailed("the edits change nothing; REPLACE must differ from SEARCH")
    return made


def _is(pattern: re.Pattern[str], line: str) -> bool:
    return len(line) <= _LONGEST_MARK and pattern.fullmatch(line) is not None


def _blocks(lines: Sequence[str], is_cut: bool) -> Iterator[list[str]]:
    """What stands between the markers of each block, its divider included."""
    body: list[str] | None = None
    begun, count = 0, 0
    for number, line in enumerate(lines, start=1):
        if _is(_SEARCH, line):
            if body is not None:
                raise EditsFailed(
                    f"block {count} has no line >>>>>>> REPLACE before the next one begins; end each with it"
                )
            body, begun, count = [], number, count + 1
        elif body is not None:
            if _is(_REPLACE, line):
                yield body
                body = None
            else:
                body.append(line)
    if body is None:
        return
    if is_cut:
        raise EditsFailed(f"the answer was cut off at the token limit inside block {count}; be brief")
    raise EditsFailed(
        f"block {count}, at line {begun} of the answer, has no line >>>>>>> REPLACE; end it with one"
    )


def _window(program: Sequence[str], body: Sequence[str], which: str, allowance: Allowance) -> Window:
    readings = _readings(body, which)
    for plain in (True, False):
        tried = readings if plain else [_unfenced(reading) for reading in readings]
        if not plain and tried == readings:
            break
        found: list[Window] = []
        missed: list[tuple[_Reading, NotFound]] = []
        for reading in tried:
            _refuse_empty(reading, which)
            try:
                window = find(program, reading.search, reading.replace, allowance)
            except NotFound as failure:
                missed.append((reading, failure))
                continue
            _refuse_ellipsis(program, reading, which)
            found.append(window)
        if len(found) == 1:
            return found[0]
        if found:
            raise EditsFailed(
                f"{which} has several lines =======, and can be read in two ways; make its parts smaller"
            )
    reading, error = missed[0]
    _refuse_ellipsis(program, reading, which)
    raise _failed(program, reading, error, which)


def _readings(body: Sequence[str], which: str) -> list[_Reading]:
    """A block divided at its divider; where several lines look like one, at each of them."""
    dividers = [place for place, line in enumerate(body) if _is(_DIVIDER, line)]
    exact = [place for place in dividers if body[place].strip() == "======="]
    dividers = exact or dividers
    if not dividers:
        raise EditsFailed(f"{which} has no line ======= between its SEARCH and its REPLACE")
    if len(dividers) > _MOST_DIVIDERS:
        raise EditsFailed(f"{which} has {len(dividers)} lines =======; give one between SEARCH and REPLACE")
    return [_Reading(tuple(body[:place]), tuple(body[place + 1 :])) for place in dividers]


def _unfenced(reading: _Reading) -> _Reading:
    """Without a fence around each part."""
    search, replace = _inside(reading.search), _inside(reading.replace)
    if search is None or (replace is None and any(line.strip() for line in reading.replace)):
        return reading
    return _Reading(search, replace or ())


def _inside(part: tuple[str, ...]) -> tuple[str, ...] | None:
    places = [place for place, line in enumerate(part) if line.strip()]
    if len(places) < 2 or not (opening := _FENCE.fullmatch(part[places[0]])):
        return None
    return part[places[0] + 1 : places[-1]] if part[places[-1]].strip() == opening[1] else None


def _refuse_empty(reading: _Reading, which: str) -> None:
    if not any(line.strip() for line in reading.search):
        raise EditsFailed(
            f"the SEARCH of {which} is empty; to add lines, repeat the line before them in SEARCH and in REPLACE"
        )


def _refuse_ellipsis(program: Sequence[str], reading: _Reading, which: str) -> None:
    """Refuse a line that stands for others, unless the program has that very line or it is the body of a stub."""
    known: set[str] | None = None
    for name, part in (("SEARCH", reading.search), ("REPLACE", reading.replace)):
        before = ""
        for line in part:
            if _is(_ELLIPSIS, line.strip()):
                known = {other.strip() for other in program} if known is None else known
                is_stub = part is reading.replace and line.strip() == "..." and before.endswith(":")
                if line.strip() not in known and not is_stub:
                    raise EditsFailed(
                        f"the {name} of {which} leaves lines out ({line.strip()!r}); write all of them, or make "
                        "several smaller blocks"
                    )
            before = line.strip() or before


def _failed(program: Sequence[str], reading: _Reading, error: NotFound, which: str) -> EditsFailed:
    """What to say of a block that does not stand in one place."""
    first = next(line.strip() for line in reading.search if line.strip())
    message = f"{which}: its SEARCH, which begins with `{first[:_SHOWN_LENGTH]}`, {error}"
    detail = ["SEARCH:", *_shown(reading.search)]
    if error.nearest is not None:
        near = program[error.nearest - 1 : error.nearest - 1 + max(1, len(reading.search))]
        message += f"; line {error.nearest} of the program is `{near[0].strip()[:_SHOWN_LENGTH]}`"
        detail += [f"The program from line {error.nearest} on:", *_shown(near)]
    return EditsFailed(message, "\n".join(detail))


def _shown(lines: Sequence[str]) -> list[str]:
    shown = [line[:_SHOWN_LENGTH] for line in lines[:_SHOWN_LINES]]
    return shown + [f"({len(lines) - _SHOWN_LINES} more lines)"] * (len(lines) > _SHOWN_LINES)
