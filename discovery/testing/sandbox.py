"""The conformance suite of sandboxes: what every backend must do, and what nothing in it may get through to.

Independent of a test framework: ``CASES`` are named coroutines over a :class:`Bench`, which holds one live
sandbox and the things on the host that attacks reach for. After every case an honest request on the same
sandbox must succeed and no process of the case may be left. What each backend is known to fail, and why:
:mod:`discovery.testing.sandbox_known`. Use::

    async with Bench(make_backend("bubblewrap")) as bench:
        for case in CASES:
            await bench.check(case)
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from discovery import data
from discovery.declared import Limits
from discovery.records import FailureKind
from discovery.sandbox.base import (
    CommandRun,
    FunctionCall,
    Sandbox,
    SandboxBackend,
    SandboxResult,
    SandboxSpec,
)

SECRET = "discovery-conformance-secret"
SECRET_VARIABLE = "DISCOVERY_CONFORMANCE_SECRET"
QUICK = Limits(wall_s=10.0, memory_bytes=512 << 20, processes=24, file_bytes=8 << 20, result_bytes=1 << 20)
"""The limits of a case that does not say otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that a sandbox must do or withstand.

    Args:
        name: Names it among the known failures too.
        check: Raises AssertionError when it does not hold.
        hostile: Whether the program in it is an attack.
    """

    name: str
    check: Callable[[Bench], Awaitable[None]]
    hostile: bool


class World:
    """What attacks reach for: things on the host that no candidate may see, reach or change."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self.label = f"conformance-{secrets.token_hex(6)}"

    def __enter__(self) -> Self:
        enter = self._stack.enter_context
        self.folder = Path(enter(tempfile.TemporaryDirectory(prefix="conformance-")))
        self.folder.chmod(0o755)
        self.secret = self.folder / "scorer.py"
        self.secret.write_text(f"ANSWER = {SECRET!r}\n")
        os.environ[SECRET_VARIABLE] = SECRET
        self._stack.callback(os.environ.pop, SECRET_VARIABLE, None)
        self.listener = enter(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self.listener.getsockname()[1]
        self.unix = enter(socket.socket(socket.AF_UNIX))
        self.unix_path = self.folder / "docker.sock"
        self.unix.bind(str(self.unix_path))
        self.unix.listen()
        self.abstract = enter(socket.socket(socket.AF_UNIX))
        self.abstract.bind(f"\0{self.label}")
        self.abstract.listen()
        self.victim = subprocess.Popen(["sleep", "600"], start_new_session=True)
        self._stack.callback(self._end_victim)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _end_victim(self) -> None:
        self.victim.kill()
        self.victim.wait()

    def processes(self, mark: str | None = None) -> set[int]:
        """Ids of the host's processes that have a mark in command line or name; by default the label."""
        wanted = (mark or self.label).encode()
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if wanted in (entry / "cmdline").read_bytes() or wanted in (entry / "comm").read_bytes():
                        found.add(int(entry.name))
        return found - {os.getpid()}

    def describe(self, pid: int) -> str:
        """A process as it stands, for messages."""
        told = [str(pid)]
        for name in ("comm", "wchan", "status"):
            with contextlib.suppress(OSError):
                told.append((Path("/proc") / str(pid) / name).read_text().strip())
        return "\n".join(told)


class Bench:
    """A live sandbox of one backend, replaced when it breaks, and the world around it.

    Args:
        backend: What is tested.
        packages: Packages of the sandbox; ``numpy`` is expected among them.
    """

    def __init__(self, backend: SandboxBackend, packages: tuple[str, ...] = ("numpy",)) -> None:
        self.backend = backend
        self.world = World()
        self._packages = packages
        self._sandbox: Sandbox | None = None
        self._usual = 0

    async def __aenter__(self) -> Self:
        self.world.__enter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.discard()
        finally:
            self.world.__exit__(kind, error, trace)

    async def sandbox(self) -> Sandbox:
        """The live sandbox."""
        if self._sandbox is None:
            spec = SandboxSpec(packages=self._packages, limits=QUICK, label=self.world.label)
            self._sandbox = self.backend.create(spec)
            await self._sandbox.start()
            self._usual = len(self.world.processes())
        return self._sandbox

    async def settle(self) -> None:
        """Wait until the sandbox has its usual number of processes again: one waits for the next request.

        Raises:
            AssertionError: It has more for a second, or fewer for five: what a busy machine takes to make the next one.
        """
        begun = time.monotonic()
        while len(found := self.world.processes()) != self._usual:
            told = "\n".join(self.world.describe(pid) for pid in sorted(found))
            patience_s = 1.0 if len(found) > self._usual else 5.0
            assert time.monotonic() < begun + patience_s, (
                f"{len(found)} processes instead of {self._usual}:\n{told}"
            )
            await asyncio.sleep(0.002)

    async def discard(self) -> None:
        """Close the sandbox; the next request gets a new one."""
        sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            await sandbox.close()

    async def check(self, case: Case) -> None:
        """Run a case, then an honest request on the same sandbox.

        Raises:
            AssertionError: The case does not hold, an honest request fails after it, or a process is left.
            SandboxError: The sandbox broke.
        """
        await self.sandbox()
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.discard)
            await case.check(self)
            await self.settle()
            await honest(self)
            undo.pop_all()

    async def call(
        self,
        source: str,
        *args: data.Data,
        function: str = "solve",
        limits: Limits = QUICK,
        file: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> SandboxResult:
        """Call a function of a program."""
        sandbox = await self.sandbox()
        arguments = data.encode([list(args), {}])
        return await sandbox.run(
            FunctionCall(
                source=source,
                function=function,
                arguments=arguments,
                limits=limits,
                file=file,
                files=files or {},
            )
        )

    async def value(
        self,
        source: str,
        *args: data.Data,
        limits: Limits = QUICK,
        file: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Any:
        """What a program returns; it must not fail."""
        result = await self.call(source, *args, limits=limits, file=file, files=files)
        assert result.failure is None, result.failure
        assert result.data is not None
        return data.decode(result.data)

    async def command(
        self,
        source: str,
        *argv: str,
        stdin: bytes = b"",
        suffix: str = ".py",
        limits: Limits = QUICK,
        binary: bytes | None = None,
        collects: bool = False,
        file: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> SandboxResult:
        """Run a program as a process, or build one."""
        sandbox = await self.sandbox()
        return await sandbox.run(
            CommandRun(
                source=source,
                argv=argv or ("python3", "{program}"),
                suffix=suffix,
                stdin=stdin,
                limits=limits,
                binary=binary,
                collects=collects,
                file=file,
                files=files or {},
            )
        )

    async def attack(self, source: str, *args: data.Data, limits: Limits = QUICK) -> SandboxResult:
        """Run a program whose ``solve`` returns the list of what it got through to; it must be empty.

        A program that is ended by a limit or crashes got through to nothing.
        """
        result = await self.call(source, *args, limits=limits)
        if result.data is not None:
            breaches = data.decode(result.data)
            assert breaches == [], f"got through: {breaches}"
        return result


async def honest(bench: Bench) -> None:
    """A program that does a bit of everything, and must always succeed."""
    value = await bench.value(_HONEST, [1.5, 2.5], limits=QUICK)
    assert value["sum"] == 4.0, value
    assert value["clean"] == [], value
    assert value["array"].tolist() == [0.0, 1.0, 4.0], value


_HONEST = """
import json, os, tempfile
import numpy as np

def solve(numbers):
    with open("own.txt", "w") as file:
        file.write(json.dumps(numbers))
    with open("own.txt") as file:
        again = json.loads(file.read())
    clean = [name for name in os.listdir(".") if name not in ("own.txt", "candidate.py")]
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    return {"sum": float(np.sum(again)), "clean": clean, "array": np.arange(3.0) ** 2}
"""

_CASES: dict[str, Case] = {}


def case(
    function: Callable[[Bench], Awaitable[None]],
) -> Callable[[Bench], Awaitable[None]]:
    """Register a behaviour."""
    return _register(function, hostile=False)


def attack(
    function: Callable[[Bench], Awaitable[None]],
) -> Callable[[Bench], Awaitable[None]]:
    """Register an attack."""
    return _register(function, hostile=True)


def _register(
    function: Callable[[Bench], Awaitable[None]], *, hostile: bool
) -> Callable[[Bench], Awaitable[None]]:
    name: str = function.__name__
    assert name not in _CASES, name
    _CASES[name] = Case(name=name, check=function, hostile=hostile)
    return function


def failed(result: SandboxResult, *kinds: FailureKind) -> str:
    """Assert that a result is a failure of one of these kinds; its message."""
    assert result.data is None, result
    assert result.failure is not None, result
    assert result.failure.kind in kinds, result.failure
    assert "\n" not in result.failure.message, result.failure
    assert len(result.failure.message) <= 500, len(result.failure.message)
    return result.failure.message


def cases() -> tuple[Case, ...]:
    """All cases, behaviours first."""
    for part in (
        "behaviours",
        "limits",
        "builds",
        "files",
        "attacks",
        "floods",
        "forgeries",
        "kernel",
        "zygote",
    ):
        importlib.import_module(f"discovery.testing.sandbox_{part}")
    return tuple(sorted(_CASES.values(), key=lambda c: (c.hostile, c.name)))


def available(backend: SandboxBackend) -> str | None:
    """Why a backend cannot be tested here; None when it can."""
    missing = list(backend.missing())
    if missing:
        return "; ".join(missing)
    if sys.platform != "linux" or shutil.which("sleep") is None:
        return "the conformance suite needs Linux and coreutils"
    return None
