"""Fences that nothing inside them can close."""

from __future__ import annotations

import re

_BACKTICKS = re.compile(r"`{3,}")


def fenced(source: str, language: str) -> str:
    """A source in a fence that nothing inside it can close.

    Args:
        source: Any text.
        language: Its language, for the info string.
    """
    longest = max((len(run) for run in _BACKTICKS.findall(source)), default=2)
    fence = "`" * (longest + 1)
    end = "" if source.endswith("\n") else "\n"
    return f"{fence}{tag(language)}\n{source}{end}{fence}"


def tag(language: str) -> str:
    """A language as the info string of a fence."""
    return re.sub(r"[^\w+#.-]", "", language.lower()) or "text"
