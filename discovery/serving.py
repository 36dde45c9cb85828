"""What a scorer asks of its program, done in a sandbox; a program that has to be built is built there first.

Knows one slot and what was used of it; knows neither scores nor how many scorings there are.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from discovery.builds import Builds
from discovery.bundle import BundleError
from discovery.declared import Limits
from discovery.judging import Usage
from discovery.problem import Problem
from discovery.records import Failure, FailureKind
from discovery.sandbox.base import CommandRun, FunctionCall, SandboxResult
from discovery.scoring.client import ProgramRequest, ScorerWorker, Serve
from discovery.slots import Slot
from discovery.toolchain import suffix_of, toolchain

OUTPUT_CHARS = 4000
"""Kept of what a candidate writes."""


@dataclass(frozen=True, slots=True)
class Means:
    """What one evaluation is scored with: for a second scoring a worker and builds of its own.

    Args:
        slot: Where programs run.
        worker: Scores.
        builds: What was built of sources; None where nothing is.
        cores: CPUs that the evaluation has for itself; none where none are set apart.
    """

    slot: Slot
    worker: ScorerWorker
    builds: Builds | None
    cores: tuple[int, ...]


def serving(problem: Problem, means: Means, source: str, usage: Usage, seeded_by: str | None = None) -> Serve:
    """What answers a scorer's requests about a source.

    Args:
        problem: The problem.
        means: Where it runs.
        source: The program.
        usage: Told what it uses.
        seeded_by: See :class:`~discovery.sandbox.base.FunctionCall`.
    """

    async def serve(request: ProgramRequest) -> SandboxResult:
        usage.serving = "the program"
        result = await _served(problem, means, source, request, usage, seeded_by)
        usage.serving = None
        usage.wall_s += result.wall_s
        usage.cpu_s += result.cpu_s or 0.0
        if len(usage.output) < OUTPUT_CHARS and (result.stdout or result.stderr):
            usage.output += result.stdout + result.stderr
        return result

    return serve


async def _served(
    problem: Problem,
    means: Means,
    source: str,
    request: ProgramRequest,
    usage: Usage,
    seeded_by: str | None,
) -> SandboxResult:
    limits = _shortened(problem.settings.limits, request.timeout_s)
    try:
        laid = problem.layout(source)
    except BundleError as error:
        failure = Failure(kind=FailureKind.INVALID, message=f"not the files of this problem: {error}")
        return SandboxResult(failure=failure, wall_s=0.0)
    if request.function is not None:
        return await means.slot.run(
            FunctionCall(
                source=laid.source,
                function=request.function,
                arguments=request.body,
                limits=limits,
                cores=means.cores,
                file=laid.file,
                files=laid.files,
                seeded_by=seeded_by,
            )
        )
    binary = None
    if means.builds is not None:
        usage.serving = "the program's compiler"
        built = await means.builds.of(source, means.slot.run)
        usage.serving = "the program"
        usage.wall_s += built.wall_s
        usage.cpu_s += built.cpu_s or 0.0
        if built.failure is not None:
            return SandboxResult(failure=built.failure, stderr=built.output, wall_s=0.0)
        binary = built.binary
    return await means.slot.run(
        CommandRun(
            source=laid.source,
            argv=(*(toolchain(problem.settings).command or ("python3", "{program}")), *request.args),
            suffix=suffix_of(problem.settings),
            stdin=request.body,
            limits=limits,
            cores=means.cores,
            binary=binary,
            file=laid.file,
            files=laid.files,
        )
    )


def _shortened(limits: Limits, timeout_s: float | None) -> Limits:
    if timeout_s is None or not timeout_s < limits.wall_s:  # not a number is no limit either
        return limits
    return dataclasses.replace(limits, wall_s=max(timeout_s, 0.001))
