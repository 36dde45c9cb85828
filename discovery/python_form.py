r"""The form of a Python program: one token after the other, one blank between them, one per level in front of a line.

It is what the standard library's tokenizer reads. That takes some milliseconds for a program full of numbers, so a
text of plain tokens is read by one pattern instead, to the same form. A text that the pattern does not know in full,
such as one with an f-string, is left to the tokenizer, which has the last word on what is a program.

An f-string is one slice of the source, as different versions cut it differently.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Sequence

_LOOKS = frozenset(
    (
        *("open", "read_text", "read_bytes"),  # whoever opens a file may open its own
        *("inspect", "traceback", "linecache", "tokenize", "getsource", "getsourcelines", "get_data"),
        *("settrace", "setprofile", "_getframe", "currentframe", "stack", "argv"),
        *("f_lineno", "tb_lineno", "co_firstlineno", "lineno", "end_lineno", "co_lines", "co_positions"),
        *("co_lnotab", "co_linetable", "marshal"),
        *("__file__", "__cached__", "__loader__", "__spec__"),
    )
)
"""Names that a program sees its lines or its file by."""
_ODD = re.compile(
    r"[\r\f\0\ufeff]|^[ ]*\t|^[ \t]*\\$"  # indentation that readers of Python see differently
    r"|\A(?:[^\n]*\n)?[^\n]*coding[:=]",
    re.MULTILINE,
)


def python_form(source: str) -> str | None:
    """A program without comments and with the least of white space.

    Args:
        source: Its text.

    Returns:
        None where it has no form: it is no program, its lines are not plain, or it asks where they stand.
    """
    if _ODD.search(source):
        return None
    form = _plain(source)
    return tokenized(source) if form is None else form


# Plain tokens

_DIGITS = r"[0-9]++(?:_[0-9]++)*+"
_ESCAPED = r"\\[^{\n]"
_TOKEN = rf"""
    [ \t]++ | \#[^\n]*+ | \n[ ]*+
  | [A-Za-z_][A-Za-z_0-9]*+(?![\w"'])
  | (?:(?:0|[1-9][0-9]*+(?:_[0-9]++)*+)(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][-+]?{_DIGITS})?[jJ]?(?![\w.])
  | (?:[uU]|[bB][rR]?|[rR][bB]?)?(?:
        (?:\"{{3}})[^"\\{{]*+(?:(?:{_ESCAPED}|\\\n|"(?!""))[^"\\{{]*+)*+(?:\"{{3}})
      | (?:\'{{3}})[^'\\{{]*+(?:(?:{_ESCAPED}|\\\n|'(?!''))[^'\\{{]*+)*+(?:\'{{3}})
      | "(?!"")[^"\\{{\n]*+(?:{_ESCAPED}[^"\\{{\n]*+)*+"
      | '(?!'')[^'\\{{\n]*+(?:{_ESCAPED}[^'\\{{\n]*+)*+'
    )
  | \*\*=? | //=? | >>=? | <<=? | -> | != | := | \.\.\. | [-+*/%&@|^=<>]=? | [~()\[\]{{}}.,:;]
"""
_TOKENS = re.compile(_TOKEN, re.VERBOSE)
_TEXT = re.compile(f"(?:{_TOKEN})*+", re.VERBOSE)
"""All possessive, so that no text takes longer than its length: what the first pattern finds is all there is."""
_DEEPEST = 90
"""Brackets or levels; where a hundred are too many for some tokenizers."""
_STRUCTURE = frozenset(" \t\n#()[]{}")
"""First characters of what is more than one token of its line."""
_PAIRS = re.compile(r"\(\)|\[\]|\{\}")


def _plain(source: str) -> str | None:
    """The form of a text of plain tokens; None where it is not, or may not be a program."""
    if not source.isascii() or _TEXT.fullmatch(source) is None:
        return None
    last = source[source.rfind("\n") + 1 :]
    if last and last.lstrip(" \t")[:1] in ("", "#"):
        return None  # tokenizers differ about an end of such a line
    tokens = _TOKENS.findall(f"\n{source}\n")
    if not _LOOKS.isdisjoint(tokens):
        return None
    form: list[str] = []
    line: list[str] = []  # the tokens of a logical one, which ends where all brackets are closed
    brackets = ""
    indent = width = depth = 0
    widths = [0]
    for token in tokens:
        first = token[0]
        if first not in _STRUCTURE:
            if not line:
                width = indent
            line.append(token)
        elif first == "\n":
            indent = len(token) - 1
            if not line or depth:
                continue
            level = None if brackets and _unmatched(brackets) else _level(widths, width)
            if level is None:
                return None
            form += (" " * level, " ".join(line), "\n")
            line, brackets = [], ""
        elif first not in " \t#":
            if not line:
                width = indent
            line.append(token)
            brackets += token
            depth += 1 if first in "([{" else -1
            if depth > _DEEPEST:
                return None
    return None if line else "".join(form)


def _unmatched(brackets: str) -> str:
    """What is left of a line's brackets when each pair is taken out."""
    while (fewer := _PAIRS.sub("", brackets)) != brackets:
        brackets = fewer
    return brackets


def _level(widths: list[int], width: int) -> int | None:
    """How deep a line is that has so many blanks in front; the widths of the levels around it are kept up."""
    if width > widths[-1]:
        widths.append(width)
    while width < widths[-1]:
        widths.pop()
    return len(widths) - 1 if width == widths[-1] and len(widths) < _DEEPEST else None


# All tokens

_BLANK = frozenset((tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER))
_WORD = re.compile(r"\w+")
_FSTRING_START = getattr(tokenize, "FSTRING_START", -1)  # from Python 3.12
_FSTRING_END = getattr(tokenize, "FSTRING_END", -1)
_FSTRINGS = (tokenize.STRING, _FSTRING_END)
# A template string, from Python 3.14, tells how it is written.
_ODD_TOKENS = (tokenize.ERRORTOKEN, getattr(tokenize, "TSTRING_START", tokenize.ERRORTOKEN))


def tokenized(source: str) -> str | None:
    """The same as :func:`python_form` of a text of plain lines, read by the standard library's tokenizer alone."""
    try:
        return "".join(_parts(source))
    except (tokenize.TokenError, SyntaxError, UnicodeError, _OddError):
        return None  # the third: half of a surrogate pair, from Python 3.12


def _parts(source: str) -> Iterator[str]:
    depth = nested = 0
    start = (0, 0)
    is_first = True  # of its line
    lines: list[str] = []
    for kind, text, begin, end, _ in tokenize.generate_tokens(io.StringIO(source).readline):
        if kind in _BLANK:
            continue
        if kind == tokenize.NEWLINE:
            yield "\n"
            is_first = True
            continue
        if kind == tokenize.INDENT:
            depth += 1
            continue
        if kind == tokenize.DEDENT:
            depth -= 1
            continue
        if kind in _ODD_TOKENS:
            raise _OddError
        if kind == _FSTRING_START:
            nested += 1
            start = begin if nested == 1 else start
            continue
        if kind == _FSTRING_END:
            nested -= 1
            if nested == 0:
                lines = lines or io.StringIO(source).readlines()  # at "\n" alone, as the tokenizer does
                text = _slice(lines, start, end)
        if nested:
            continue
        if kind == tokenize.NAME and text in _LOOKS:
            raise _OddError
        if kind in _FSTRINGS and "{" in text and _is_odd_fstring(text):
            raise _OddError
        yield " " * depth if is_first else " "
        yield text
        is_first = False


def _is_odd_fstring(text: str) -> bool:
    """Whether it may not end there, as from Python 3.12 quotes may stand in it, or has a name in it to look by."""
    return text.count("{") != text.count("}") or not _LOOKS.isdisjoint(_WORD.findall(text))


def _slice(lines: Sequence[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    return "".join((lines[first - 1][left:], *lines[first : last - 1], lines[last - 1][:right]))


class _OddError(Exception):
    """A text that is not plainly of its language."""
