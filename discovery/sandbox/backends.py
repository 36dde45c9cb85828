"""The backends by name, and which one a run gets."""

from __future__ import annotations

from discovery.errors import ConfigError, MissingComponent
from discovery.sandbox.base import SandboxBackend
from discovery.sandbox.bubblewrap import BubblewrapBackend
from discovery.sandbox.process import ProcessBackend

NAMES = ("bubblewrap", "process")
"""Strongest first."""


def make_backend(name: str) -> SandboxBackend:
    """The backend of that name, whether or not it works here.

    Raises:
        ConfigError: There is none.
    """
    if name == "bubblewrap":
        return BubblewrapBackend()
    if name == "process":
        return ProcessBackend()
    raise ConfigError(f"unknown sandbox {name!r}; known: {', '.join(NAMES)}")


def choose(name: str = "auto") -> SandboxBackend:
    """The backend for a run, checked to work here.

    Args:
        name: A backend, or ``auto`` for the strongest that works and really isolates: never ``process``.

    Raises:
        ConfigError: There is no such backend.
        MissingComponent: It does not work here; says why, and the fix.
    """
    found = make_backend("bubblewrap" if name == "auto" else name)
    missing = found.missing()
    if missing:
        hint = "; --sandbox process runs without isolation" if found.name != "process" else ""
        raise MissingComponent("; ".join(missing) + hint)
    return found
