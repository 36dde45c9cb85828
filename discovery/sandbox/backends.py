"""The backends by name. Which one a run gets is decided in :mod:`discovery.launch`."""

from __future__ import annotations

from discovery.errors import ConfigError
from discovery.sandbox.base import SandboxBackend
from discovery.sandbox.bubblewrap import BubblewrapBackend
from discovery.sandbox.docker import DockerBackend
from discovery.sandbox.process import ProcessBackend

NAMES = ("bubblewrap", "docker", "process")
"""Strongest first."""


def make_backend(name: str) -> SandboxBackend:
    """The backend of that name, whether or not it works here.

    Raises:
        ConfigError: There is none.
    """
    if name == "bubblewrap":
        return BubblewrapBackend()
    if name == "docker":
        return DockerBackend()
    if name == "process":
        return ProcessBackend()
    raise ConfigError(f"unknown sandbox {name!r}; known: {', '.join(NAMES)}")
