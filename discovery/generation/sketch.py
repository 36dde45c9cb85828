"""A program's text taken apart just enough to change its numbers and operators.

Regular expressions find numeric literals with their exact spans, and words and operators, and skip strings
and comments. The standard tokenizer would do the same for whole Python programs only; an EVOLVE-BLOCK may
start anywhere, and a mutation must be cheap.

A unary minus belongs to its literal, so that a number may change its sign and the text around it stay the
same: programs that differ in their numbers only have the same ``skeleton``, and their numbers form vectors of
one space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

# What is never closed is read once: a backslash takes the next character along outside of strings too, and a comment
# ends with the text.
_STRINGS = r'"(?:\\.|[^"\\\n])*"' + r"|'(?:\\.|[^'\\\n])*'" + r"|\\."
_SKIPPED = {
    "python": r'"""[\s\S]*?"""' + r"|'''[\s\S]*?'''|" + _STRINGS + r"|\#[^\n]*",
    "other": r"/\*[\s\S]*?(?:\*/|\Z)|//[^\n]*|^[ \t]*\#[^\n]*|" + _STRINGS,
}
_SUFFIX = {"python": "", "other": r"(?:[fFlLuU]{1,3}|_?[fiu](?:8|16|32|64|size))?"}
_DIGITS = r"\d+(?:_\d+)*"
_NUMBER = rf"(?<![\w.])(?P<number>(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?\d+)?)"
_NUMBERS = {
    family: re.compile(rf"(?P<skip>{_SKIPPED[family]})|{_NUMBER}{_SUFFIX[family]}(?![\w.])", re.MULTILINE)
    for family in _SKIPPED
}
_OPERATOR = r"\*\*=?|//=?|<<=?|>>=?|[-+*/%<>=!&|^:]=|->|&&|\|\||[^\s\w]"
_TOKENS = {
    family: re.compile(rf"(?P<skip>{_SKIPPED[family]})|\w+|{_OPERATOR}", re.MULTILINE) for family in _SKIPPED
}
_TRAIL = re.compile(r"\w+|\*\*|[^\w\s]")
_MOST_DIGITS = 300  # of a number that is worth changing; Python reads no integer of more than 4300
_LOOK_BACK = 40
"""Characters before a number that decide what it is."""
_BEFORE_UNARY = frozenset(
    ["return", "in", "and", "or", "not", "if", "else", "elif", "yield", "is", "lambda", "assert", "while"]
)
_CLOSING = frozenset(")]}\"'")


@dataclass(frozen=True, slots=True)
class Literal:
    """A number in a text.

    Args:
        start: Offset of its first character, a unary minus included.
        end: Offset after its last.
        value: What it stands for.
        counts: Whether it is an index, a range's bound or an exponent, which rarely want changing.
    """

    start: int
    end: int
    value: float | int
    counts: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A word or an operator in a text.

    Args:
        start: Offset of its first character.
        text: Its characters.
        binary: Whether it stands behind a value.
    """

    start: int
    text: str
    binary: bool


@dataclass(frozen=True, slots=True)
class Sketch:
    """A text with its numbers.

    Args:
        text: The text.
        literals: Its numbers, in order.
        skeleton: The texts between the numbers.
    """

    text: str
    literals: tuple[Literal, ...]
    skeleton: tuple[str, ...]

    def with_numbers(self, numbers: Sequence[str]) -> str:
        """The text with other numbers.

        Args:
            numbers: One text per literal.

        Raises:
            ValueError: Not as many as there are literals.
        """
        parts = [self.skeleton[0]]
        for number, after in zip(numbers, self.skeleton[1:], strict=True):
            last = parts[-1][-1:]
            clashing = last in ("-", "+") if number[0] == "-" else last.isalnum() or last == "_"
            if clashing:
                parts.append(" ")
            parts += [number, after]
        return "".join(parts)


@lru_cache(maxsize=512)
def sketch(text: str, language: str) -> Sketch:
    """Find the numbers of a text.

    Args:
        text: A program or a part of one.
        language: ``python``; everything else is read as a language of C's family.
    """
    literals = tuple(
        _literal(match.start(), match.end("number"), match["number"], match.end(), text)
        for match in _NUMBERS[_family(language)].finditer(text)
        if match.lastgroup == "number" and len(match["number"]) <= _MOST_DIGITS
    )
    cuts = [0, *(edge for literal in literals for edge in (literal.start, literal.end)), len(text)]
    skeleton = tuple(text[cuts[i] : cuts[i + 1]] for i in range(0, len(cuts), 2))
    return Sketch(text, literals, skeleton)


def tokens(text: str, language: str) -> tuple[Token, ...]:
    """The words, numbers and operators of a text, in order.

    Args:
        text: A program or a part of one.
        language: As for :func:`sketch`.
    """
    found: list[Token] = []
    last = ""
    for match in _TOKENS[_family(language)].finditer(text):
        if match.lastgroup == "skip":
            last = '"' if match[0][0] in "\"'" else last
            continue
        found.append(Token(match.start(), match[0], _ends_value(last)))
        last = match[0]
    return tuple(found)


def _family(language: str) -> str:
    return "python" if language == "python" else "other"


def _literal(start: int, end: int, digits: str, after: int, text: str) -> Literal:
    value = float(digits) if any(mark in digits for mark in ".eE") else int(digits)
    trail = ["", "", "", *_TRAIL.findall(text, max(0, start - _LOOK_BACK), start)]
    before, last = trail[-2:]
    if last in ("-", "+") and not _ends_value(before):
        if last == "-":
            value = -value
        start = text.rindex(last, 0, start)
        before, last = trail[-3:-1]
    follower = text[after : after + 1]
    indexes = last == "[" and follower in ("]", ":") and _ends_value(before)
    counts = isinstance(value, int) and (indexes or before == "range" or last == "**")
    return Literal(start, end, value, counts)


def _ends_value(token: str) -> bool:
    if token in _CLOSING:
        return True
    return (token[:1].isalnum() or token[:1] == "_") and token not in _BEFORE_UNARY
