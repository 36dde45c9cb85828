"""Findings: what is wrong with a problem, how bad it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is: an error keeps runs from working or from meaning anything."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Args:
        level: Error or warning.
        where: Which part of the problem: ``statement``, ``initial``, ``scorer``, ``limits``, ...
        message: What is wrong, in one line.
        fix: What to do about it, in one line.
    """

    level: Level
    where: str
    message: str
    fix: str


def wrong(where: str, message: str, fix: str) -> Finding:
    """An error."""
    return Finding(level=Level.ERROR, where=where, message=message, fix=fix)


def doubtful(where: str, message: str, fix: str) -> Finding:
    """A warning."""
    return Finding(level=Level.WARNING, where=where, message=message, fix=fix)


def from_message(where: str, text: str) -> Finding:
    """An error from a message of the usual form: what is wrong; what to do."""
    message, semicolon, fix = text.rpartition("; ")
    return wrong(where, message if semicolon else text, fix if semicolon else "mend it")


def one_line(text: str) -> str:
    """A text without line breaks."""
    return " ".join(text.split())


def last_line(detail: str | None) -> str:
    """The last line of a traceback, in brackets after a space; empty where there is none."""
    lines = [line.strip() for line in (detail or "").splitlines() if line.strip()]
    return f" [{lines[-1][:200]}]" if lines else ""
