"""Answers that a scorer must refuse: the initial candidate's own, twisted.

What a scorer does not expect is what gets through it. ``numpy.asarray(answer, dtype=float)`` reads the text ``"nan"``
and ``None`` as not-a-number, which no comparison finds too large, too small or too near; the sum over an empty list is
0. So a check of a problem hands its scorer such answers and looks whether it scores them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from discovery.problem import Problem

_WRAPPED = """

def _twisted_by_discovery_check(function):
    import functools

    changed = []

    def number(value, is_first):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not (is_first or {everywhere}):
            return value
        changed.append(value)
        return {instead}

    def twist(value, is_first=True):
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            return [twist(part, index == 0) for index, part in enumerate(value)]
        if isinstance(value, dict):
            return {{key: twist(part) for key, part in value.items()}}
        return number(value, is_first)

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        twisted = {whole}
        if not changed:
            raise NotImplementedError({nothing!r})
        return twisted

    return wrapper


{entry} = _twisted_by_discovery_check({entry})
"""
_NOTHING = "discovery check finds nothing to twist in this answer"
_TWIST = "twist(function(*args, **kwargs))"
_EMPTY = "(lambda value: value[:0] if hasattr(value, '__len__') and changed.append(value) is None else value)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Twisted:
    """A program whose answer is twisted.

    Args:
        words: What its answer is, as the end of "an answer ...".
        source: The program; its entry function fails where there is nothing to twist.
    """

    words: str
    source: str


def twisted(problem: Problem) -> Iterator[Twisted]:
    """The initial candidate of a Python problem with its answer twisted; nothing of other languages."""
    settings = problem.settings
    initial = problem.entry_text
    if settings.language.lower() != "python" or not _defines(initial, settings.entry):
        return
    for words, everywhere, instead, whole in (
        ("""with the text "nan" for each number""", True, "'nan'", _TWIST),
        ("""with the text "nan" for the first number of each list""", False, "'nan'", _TWIST),
        ("with None for each number", True, "None", _TWIST),
        ("with None for the first number of each list", False, "None", _TWIST),
        ("that is empty", True, "value", f"{_EMPTY}(function(*args, **kwargs))"),
    ):
        wrapped = _WRAPPED.format(
            everywhere=everywhere, instead=instead, whole=whole, nothing=_NOTHING, entry=settings.entry
        )
        yield Twisted(words=words, source=problem.with_entry(initial + wrapped))


def _defines(source: str, name: str) -> bool:
    """Whether a module has a function of that name."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError):
        return False
    return any(isinstance(part, ast.FunctionDef) and part.name == name for part in body)
