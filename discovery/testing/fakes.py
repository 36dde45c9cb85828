"""Fakes for tests: parts that behave like the real ones and are cheap, scripted, or wrong on purpose.

None of them isolates anything. They are for candidates that a test wrote itself.
"""

from __future__ import annotations

import asyncio
import io
import traceback
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from types import ModuleType

from discovery import data
from discovery.budget import NO_TOKENS
from discovery.errors import DataError, GeneratorUnavailable, SandboxError
from discovery.generation.base import GenerationRequest, ServerLoad
from discovery.records import (
    CandidateKey,
    Completion,
    Failure,
    FailureKind,
    ModelIdentity,
    SandboxRecord,
)
from discovery.sandbox.base import CommandRun, FunctionCall, Sandbox, SandboxResult, SandboxSpec


class InProcessSandbox:
    """Runs function calls in this very process.

    Args:
        backend: What is scripted, and gets the source of each request.
    """

    def __init__(self, backend: InProcessBackend) -> None:
        self._backend = backend
        self.closed = False
        self.suspicion: str | None = None

    async def start(self) -> None:
        """Ready at once, or what is scripted."""
        await asyncio.sleep(0)
        if self._backend.starts and (error := self._backend.starts.pop(0)) is not None:
            raise error

    async def run(self, request: FunctionCall | CommandRun) -> SandboxResult:
        """Call the function here."""
        failures, fatal = self._backend.failures, self._backend.fatal
        if failures and (error := failures.pop(0)) is not None:
            raise error
        if fatal is not None and fatal in request.source:
            raise SandboxError("the sandbox ended unexpectedly")
        if isinstance(request, CommandRun):
            raise SandboxError("the in-process sandbox runs functions only")
        self._backend.sources.append(request.source)
        await asyncio.sleep(0)
        return call_here(request)

    async def close(self) -> None:
        """Nothing to end."""
        self.closed = True

    def cleanup(self) -> None:
        """Nothing to end."""
        self.closed = True


def call_here(request: FunctionCall) -> SandboxResult:
    """Execute a trusted source here and call its function."""
    args, kwargs = data.decode(request.arguments)
    module = ModuleType("candidate")
    out = io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(out):
            exec(compile(request.source, "candidate.py", "exec"), module.__dict__)
            returned = getattr(module, request.function)(*args, **kwargs)
        return SandboxResult(data=data.encode(returned), stdout=out.getvalue(), wall_s=0.001, cpu_s=0.001)
    except DataError as error:
        failure = Failure(kind=FailureKind.BAD_DATA, message=str(error))
    except AttributeError as error:
        failure = Failure(kind=FailureKind.MISSING_FUNCTION, message=str(error))
    except Exception as error:  # noqa: BLE001  the candidate's boundary
        failure = Failure(
            kind=FailureKind.CRASHED,
            message=f"{type(error).__name__}: {error}",
            detail="".join(traceback.format_exception(error)),
        )
    return SandboxResult(failure=failure, stdout=out.getvalue(), wall_s=0.001, cpu_s=0.001)


class InProcessBackend:
    """Makes in-process sandboxes.

    Args:
        failures: Shared by all sandboxes: for each run in order, an error to raise, or None.
        starts: The same for each start.
        fatal: Each program that holds this text ends its sandbox; None for no such text.
    """

    name = "in-process"

    def __init__(
        self,
        failures: Iterable[Exception | None] = (),
        *,
        starts: Iterable[Exception | None] = (),
        fatal: str | None = None,
    ) -> None:
        self.failures = list(failures)
        self.starts = list(starts)
        self.fatal = fatal
        self.sources: list[str] = []
        self.made: list[InProcessSandbox] = []

    def missing(self) -> Sequence[str]:
        """Nothing."""
        return ()

    async def verify(self, spec: SandboxSpec) -> SandboxRecord:
        """Nothing holds."""
        return SandboxRecord(id="in-process", backend=self.name, properties={"isolated": False})

    def create(self, spec: SandboxSpec) -> Sandbox:
        """A new one."""
        sandbox = InProcessSandbox(self)
        self.made.append(sandbox)
        return sandbox

    def sweep(self) -> Sequence[str]:
        """Nothing is ever left."""
        return ()


class ScriptedGenerator:
    """Answers with what a function says, deterministically.

    Args:
        answer: From (chain, step, index) and the request to the completion's text.
        outages: How many of the first requests fail as unavailable.
        yields_before_outage: Completions that such a request yields first.
        latency_s: Seconds before each completion, by key.
    """

    name = "scripted"
    max_tokens: int | None = None
    spoiled = NO_TOKENS

    def __init__(
        self,
        answer: Callable[[CandidateKey, GenerationRequest], str],
        *,
        outages: int = 0,
        yields_before_outage: int = 0,
        latency_s: Callable[[CandidateKey], float] | None = None,
    ) -> None:
        self._answer = answer
        self._outages = outages
        self._yields = yields_before_outage
        self._latency_s = latency_s
        self.requested: list[CandidateKey] = []

    async def start(self) -> ModelIdentity:
        """Itself."""
        return ModelIdentity(generator=self.name)

    async def ready(self) -> bool:
        """Always."""
        return True

    async def sample(self, request: GenerationRequest) -> AsyncGenerator[Completion, None]:
        """One completion per index, in order."""
        fails = self._outages > 0
        self._outages -= fails
        for count, index in enumerate(request.indices):
            if fails and count >= self._yields:
                raise GeneratorUnavailable("scripted outage")
            key = CandidateKey(request.prompt.chain, request.prompt.step, index)
            await asyncio.sleep(self._latency_s(key) if self._latency_s else 0)
            self.requested.append(key)
            yield Completion(
                key=key,
                text=self._answer(key, request),
                finish_reason="stop",
                model=ModelIdentity(generator=self.name),
                seed=request.seed + index,
                created_at=datetime.now(UTC),
            )

    async def loads(self) -> tuple[ServerLoad, ...]:
        """Nothing: it has no server."""
        return ()

    async def close(self) -> None:
        """Nothing to free."""
