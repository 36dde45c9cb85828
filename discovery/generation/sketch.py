"""A program's text taken apart just enough to change its numbers and operators.

One regular expression per family of languages finds strings and comments (which are skipped), numeric
literals with their exact spans, words and operators. The standard tokenizer would do the same for whole
Python programs only; an EVOLVE-BLOCK may start anywhere, and a mutation must be cheap.

A unary minus belongs to its literal, so that a number may change its sign and the text around it stay the
same: programs that differ in their numbers only have the same ``skeleton``, and their numbers form vectors of
one space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

_STRINGS = r'"(?:\\.|[^"\\\n])*"' + r"|'(?:\\.|[^'\\\n])*'"
_SKIPPED = {
    "python": r'"""[\s\S]*?"""' + r"|'''[\s\S]*?'''|" + _STRINGS + r"|\#[^\n]*",
    "other": r"/\*[\s\S]*?\*/|//[^\n]*|^[ \t]*\#[^\n]*|" + _STRINGS,
}
_SUFFIX = {"python": "", "other": r"(?:[fFlLuU]{1,3}|_?[fiu](?:8|16|32|64|size))?"}
_NUMBER = r"(?<![\w.])(?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?)"
_LEXERS = {
    family: re.compile(
        rf"(?P<skip>{_SKIPPED[family]})|{_NUMBER}{_SUFFIX[family]}(?![\w.])|(?P<word>\w+)"
        r"|(?P<operator>\*\*=?|//=?|<<=?|>>=?|[-+*/%<>=!&|^:]=|->|&&|\|\||[^\s\w])",
        re.MULTILINE,
    )
    for family in _SKIPPED
}
_BEFORE_UNARY = frozenset(
    ["return", "in", "and", "or", "not", "if", "else", "elif", "yield", "is", "lambda", "assert", "while"]
)
_CLOSING = frozenset(")]}")


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
        binary: Whether it stands between two values.
    """

    start: int
    text: str
    binary: bool


@dataclass(frozen=True, slots=True)
class Sketch:
    """A text with its numbers and tokens.

    Args:
        text: The text.
        literals: Its numbers, in order.
        tokens: Its words and operators, in order.
        skeleton: The texts between the numbers.
    """

    text: str
    literals: tuple[Literal, ...]
    tokens: tuple[Token, ...]
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
    """Take a text apart.

    Args:
        text: A program or a part of one.
        language: ``python``; everything else is read as a language of C's family.
    """
    literals: list[Literal] = []
    tokens: list[Token] = []
    trail = ("", "", "")
    signed: int | None = None
    for match in _LEXERS["python" if language == "python" else "other"].finditer(text):
        kind, found = match.lastgroup, match[0]
        if kind == "skip":
            if found[0] in "\"'":
                trail, signed = (*trail[1:], '"'), None
            continue
        if kind == "number":
            literal = _literal(match, text, trail, signed)
            if literal is not None:
                if signed is not None:
                    tokens.pop()
                literals.append(literal)
            trail, signed = (*trail[1:], "0"), None
            continue
        after_value = _ends_value(trail[-1])
        signed = match.start() if found in "-+" and not after_value else None
        tokens.append(Token(match.start(), found, after_value))
        trail = (*trail[1:], found)
    cuts = [0, *(edge for literal in literals for edge in (literal.start, literal.end)), len(text)]
    skeleton = tuple(text[cuts[i] : cuts[i + 1]] for i in range(0, len(cuts), 2))
    return Sketch(text, tuple(literals), tuple(tokens), skeleton)


def _ends_value(token: str) -> bool:
    if token in _CLOSING or token == '"':
        return True
    return bool(token) and (token[0].isalnum() or token[0] == "_") and token not in _BEFORE_UNARY


def _literal(
    match: re.Match[str], text: str, trail: tuple[str, str, str], signed: int | None
) -> Literal | None:
    digits = match["number"]
    real = any(mark in digits for mark in ".eE")
    try:
        value = float(digits) if real else int(digits)
    except ValueError:
        return None
    before, last = trail[1:] if signed is None else trail[:2]
    start = match.start() if signed is None else signed
    follower = text[match.end() : match.end() + 1]
    indexes = last == "[" and follower in ("]", ":") and _ends_value(before)
    counts = not real and (indexes or before == "range" or last == "**")
    if signed is not None and text[signed] == "-":
        value = -value
    return Literal(start, match.end("number"), value, counts)
