"""The sandbox port: one live isolated place where candidate code runs.

Contract of every backend:

- A sandbox is used by one evaluation at a time; ``run`` is never called twice at once. Nothing that a
  request leaves (processes, files, memory, shared memory, environment) can be seen by a later one.
- ``run`` returns a result for everything that the *program* does, whatever that is; it raises
  ``SandboxError`` when the *sandbox* failed (could not start, died, broke its protocol), after which the
  sandbox must be closed. Such a request may be repeated in a new sandbox.
- When ``run`` returns or raises, cancellation included, every process of the request is gone or the whole
  sandbox is.
- ``cleanup`` is synchronous, idempotent and callable at any time, from ``atexit`` too.
- Only bytes leave: the encoding of :mod:`discovery.data`, written by an untrusted hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from discovery.declared import Limits
from discovery.records import Failure, SandboxRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCall:
    """Execute a Python source as a module, then call one of its top-level functions.

    Args:
        source: The candidate; of several files the entry.
        function: Name of the function.
        arguments: ``data.encode([args, kwargs])``.
        limits: Bounds of this call; ``file_bytes`` bounds the sum of several files, too.
        cores: Numbers of the only CPUs that it may run on; empty for any.
        file: Name of the entry's file; None for the usual one.
        files: Further files beside it, path to text, which it may import.
        seeded_by: What the program draws at random is seeded from this, the function and the arguments; None for its
            exact files in place of it. Equal programs that are written differently have it in common.
    """

    source: str
    function: str
    arguments: bytes
    limits: Limits
    cores: tuple[int, ...] = ()
    file: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    seeded_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRun:
    """Run a program as a process of its own, or build one.

    A build and the runs of what it built are separate requests: the built file leaves the sandbox as bytes and comes
    back into one as bytes, and nothing else of the build remains.

    Args:
        source: The candidate; written to a file of the private directory.
        argv: Command and arguments; ``"{program}"`` in any of them stands for that file, ``"{binary}"`` for an
            executable file beside it.
        suffix: Ending of the file's name: ``.py``.
        stdin: Standard input.
        limits: Bounds of this run; ``result_bytes`` bounds the built file of a build, too.
        cores: Numbers of the only CPUs that it may run on; empty for any.
        binary: Contents of ``{binary}``, put there executable before the command starts; None for none.
        collects: Whether the command is a build: what it leaves at ``{binary}`` is handed out.
        file: Name of the program's file; None for the usual one, which ends in the suffix.
        files: Further files beside it, path to text.
    """

    source: str
    argv: tuple[str, ...]
    suffix: str
    stdin: bytes
    limits: Limits
    cores: tuple[int, ...] = ()
    binary: bytes | None = None
    collects: bool = False
    file: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """What came of one request.

    Args:
        data: Encoded return value of a call, or standard output of a command; None on failure.
        failure: What the program did wrong; None on success.
        exit_code: Exit status of a command; None for calls and killed programs.
        stdout: Captured standard output of a call, capped, decoded with replacement.
        stderr: Captured standard error, capped, decoded with replacement.
        wall_s: Wall-clock seconds.
        cpu_s: CPU seconds of the program and its children, where known.
        binary: What a build left at ``{binary}``; None when it left nothing, or for anything but a build.
    """

    data: bytes | None = None
    failure: Failure | None = None
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    wall_s: float
    cpu_s: float | None = None
    binary: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """What a problem needs of its sandboxes.

    Args:
        packages: Importable Python packages, preloaded where the backend can.
        preload: Modules to import before the first request, of those packages or of the standard library.
        image: What the file system holds beside them: the name of a recipe under ``sandboxes/``, or for docker
            also an image's name; None for the backend's own.
        limits: The widest that any request will ask for: what the sandbox as a whole is bounded by.
        label: Names everything that is created, so that orphans can be found: the run id.
        extra_readable: Further host paths that candidates may read.
        environment: Variables for candidates, on top of the fixed small set.
    """

    packages: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    image: str | None = None
    limits: Limits = field(default_factory=Limits)
    label: str = "discovery"
    extra_readable: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Sandbox(Protocol):
    """One live isolated place. See the module docstring for the contract."""

    @property
    def suspicion(self) -> str | None:
        """Why it should not be used again although the last request was answered; None when nothing is odd."""
        ...

    async def start(self) -> None:
        """Make it ready; raises SandboxError."""
        ...

    async def run(self, request: FunctionCall | CommandRun) -> SandboxResult:
        """Run one request to its end or to its limits; raises SandboxError."""
        ...

    async def close(self) -> None:
        """End it and everything in it. Never raises; may be called twice."""
        ...

    def cleanup(self) -> None:
        """Like ``close``, without an event loop."""
        ...


class SandboxBackend(Protocol):
    """Makes sandboxes of one kind."""

    name: str

    def missing(self) -> Sequence[str]:
        """What keeps it from working here, each as one line that ends with the fix; empty when it works."""
        ...

    async def verify(self, spec: SandboxSpec) -> SandboxRecord:
        """Probe which isolation properties hold here, by trying to break them; raises SandboxError."""
        ...

    def create(self, spec: SandboxSpec) -> Sandbox:
        """A new sandbox, not started."""
        ...

    def sweep(self) -> Sequence[str]:
        """Remove what sandboxes of processes that are gone have left; says each thing removed in a line.

        What belongs to a live process, on this host or not known to be on this one, stays. Never raises.
        """
        ...
