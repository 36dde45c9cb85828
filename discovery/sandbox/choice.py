"""Which sandbox a configuration stands for on this machine, by what is at stake and what works."""

from __future__ import annotations

from dataclasses import dataclass

from discovery.config import SandboxConfig
from discovery.errors import MissingComponent
from discovery.generators import EMBEDDED
from discovery.sandbox.backends import make_backend
from discovery.sandbox.base import SandboxBackend

SAFE = ("bubblewrap", "docker")
"""What ``auto`` chooses from for programs that are not our own, the first that works."""
_ACCEPT = "Or accept that it may read your files and use your network: --sandbox process"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenBackend:
    """A sandbox backend and why it was chosen.

    Args:
        backend: The backend.
        notice: What the user should know about the choice, in one line; None when nothing.
    """

    backend: SandboxBackend
    notice: str | None = None


def choose_backend(sandbox: SandboxConfig, generator: str, *, otherwise: str = _ACCEPT) -> ChosenBackend:
    """The sandbox that a configuration stands for on this machine.

    Args:
        sandbox: What was asked for; ``auto`` takes bubblewrap where it works, else docker where it has an image.
        generator: Name of the generator, which decides how much is at stake.
        otherwise: What the user may do where nothing safe works, beside making it work.

    Raises:
        MissingComponent: The backend asked for does not work here, or nothing safe enough does.
        ConfigError: There is no such backend.
    """
    if sandbox.backend != "auto":
        backend = make_backend(sandbox.backend)
        missing = backend.missing()
        if missing:
            raise MissingComponent(f"sandbox {sandbox.backend!r} does not work here: {'; '.join(missing)}")
        notice = None
        if backend.name == "process":
            notice = "sandbox 'process' stops accidents, not an adversary: it is stamped on every evaluation"
        return ChosenBackend(backend=backend, notice=notice)
    complaints = []
    for name in SAFE:
        backend = make_backend(name)
        missing = backend.missing()
        if not missing:
            return ChosenBackend(backend=backend)
        complaints.append("; ".join(missing))
    said = complaints[0]  # the one that is easiest to get
    if generator == EMBEDDED:  # its candidates are our own: the only ones that may run without a sandbox
        return ChosenBackend(
            backend=make_backend("process"),
            notice=f"no sandbox here ({said}): the embedded mutations run as plain processes",
        )
    raise MissingComponent(f"no sandbox for model-written code: {said}. {otherwise}")
