"""From what the zygote saw and the candidate wrote to a ``SandboxResult``.

The zygote's header is trusted; the three blobs are the candidate's own words. A candidate can forge any
result or failure *of its own kinds*, which is no more than it could return or raise. What it cannot forge:
exit status, times, which limit was hit, and whether its sandbox was set up.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from typing import Any

from discovery.declared import Limits
from discovery.errors import SandboxError
from discovery.records import Failure, FailureKind
from discovery.sandbox.base import CommandRun, FunctionCall, SandboxResult

MESSAGE_CHARS = 500
DETAIL_CHARS = 8000
_LATE_S = 1.0
_GROWTH_BYTES = 64 << 20
_TOLD_BYTES = 1 << 17  # more than both as JSON, escapes included; parsing it holds up the whole run
_OWN_KINDS = frozenset(
    [
        FailureKind.CRASHED,
        FailureKind.MISSING_FUNCTION,
        FailureKind.MEMORY,
        FailureKind.OUTPUT,
        FailureKind.BAD_DATA,
    ]
)


def interpret(
    request: FunctionCall | CommandRun, header: Mapping[str, Any], blobs: tuple[bytes, bytes, bytes]
) -> SandboxResult:
    """The result of a request.

    Args:
        request: What was asked.
        header: The zygote's answer: how it ended, wait status, seconds.
        blobs: Result stream, standard output, standard error.

    Returns:
        What the program did.

    Raises:
        SandboxError: The sandbox could not be set up around the program.
    """
    result, stdout, stderr = blobs
    if header["end"] == "refused":
        raise SandboxError(f"the sandbox could not start a process: {header['message']}")
    if header["end"] == "exited" and not result.startswith(b"."):
        told = result[1:MESSAGE_CHARS].decode(errors="replace") or _status(header["status"])
        raise SandboxError(f"the sandbox could not confine a process: {told}")
    is_call = isinstance(request, FunctionCall)
    failure = _limit_hit(request, header)
    answer = result[1:]
    code: int | None = os.waitstatus_to_exitcode(header["status"])
    data: bytes | None = None
    binary: bytes | None = None
    if failure is None and answer[:1] == b"F":
        failure = _told(answer[1:])
    if failure is None and code is not None and code < 0:
        failure = _killed(-code, stderr)
    if failure is None and is_call:
        if code == 0 and answer[:1] == b"D":
            data = answer[1:]
        else:
            failure = Failure(
                kind=FailureKind.CRASHED,
                message=f"exited with status {code} before {request.function!r} returned"
                if isinstance(request, FunctionCall)
                else "",
                detail=_tail(stderr),
            )
    elif failure is None:
        data = stdout
        binary, failure = _built(request, answer)
        if failure is not None:
            data = None
    return SandboxResult(
        data=data,
        failure=failure,
        exit_code=code if not is_call and failure is None else None,
        stdout=stdout.decode(errors="replace") if is_call else "",
        stderr=stderr.decode(errors="replace"),
        wall_s=float(header["wall_s"]),
        cpu_s=float(header["cpu_s"]),
        binary=binary,
    )


def _built(request: FunctionCall | CommandRun, answer: bytes) -> tuple[bytes | None, Failure | None]:
    """What a build left, or why that is not taken."""
    if not isinstance(request, CommandRun) or not request.collects or answer[:1] != b"B":
        return None, None
    most = request.limits.result_bytes
    if len(answer) - 1 > most:
        message = f"the built file is larger than the limit of {most:,} bytes"
        return None, Failure(kind=FailureKind.OUTPUT, message=message)
    return answer[1:], None


def odd(header: Mapping[str, Any], limits: Limits, resident_bytes: int) -> str | None:
    """What is odd about a request's end, in one line; None when nothing is.

    Args:
        header: The zygote's answer.
        limits: The request's.
        resident_bytes: What the zygote held when it had started.
    """
    late_s = header["wall_s"] - limits.wall_s
    grown = header["resident_bytes"] - resident_bytes
    if header["odd"] is not None:
        return str(header["odd"])
    if late_s > _LATE_S:
        return f"a request ended {late_s:.1f} s after its limit of {limits.wall_s:g} s"
    if grown > _GROWTH_BYTES:
        return f"it holds {grown >> 20} MiB more than when it started"
    return None


def _limit_hit(request: FunctionCall | CommandRun, header: Mapping[str, Any]) -> Failure | None:
    limits = request.limits
    if header["end"] == "timeout":
        return Failure(
            kind=FailureKind.TIMEOUT, message=f"ran past the wall-clock limit of {limits.wall_s:g} s"
        )
    if header["end"] == "overflow":
        verb = "returned" if isinstance(request, FunctionCall) else "wrote"
        return Failure(
            kind=FailureKind.OUTPUT,
            message=f"{verb} more than the limit of {limits.result_bytes:,} bytes",
        )
    if header["end"] == "exited" and _out_of_cpu(header, limits):
        return Failure(kind=FailureKind.TIMEOUT, message=f"ran past the CPU limit of {limits.cpu_limit_s} s")
    return None


def _out_of_cpu(header: Mapping[str, Any], limits: Limits) -> bool:
    status = header["status"]
    if not os.WIFSIGNALED(status):
        return False
    number = os.WTERMSIG(status)
    spent = header["cpu_s"] >= limits.cpu_limit_s - 0.1
    return number == signal.SIGXCPU or (number == signal.SIGKILL and spent)


def _told(text: bytes) -> Failure:
    """A failure in the candidate's process's own words."""
    if len(text) > _TOLD_BYTES:
        return Failure(kind=FailureKind.BAD_DATA, message="wrote something that is not a result")
    try:
        record = json.loads(text)
        kind = FailureKind(record["kind"])
        message, detail = record["message"], record["detail"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Failure(kind=FailureKind.BAD_DATA, message="wrote something that is not a result")
    if kind not in _OWN_KINDS or not isinstance(message, str) or not isinstance(detail, str | None):
        return Failure(kind=FailureKind.BAD_DATA, message="wrote a failure that is not its own to state")
    return Failure(
        kind=kind,
        message=clean(" ".join(message.split())[:MESSAGE_CHARS]),
        detail=clean(detail[:DETAIL_CHARS]) if detail else None,
    )


_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


def clean(text: str) -> str:
    """Without lone surrogates, and without what a terminal would obey."""
    return text.encode("utf-8", "replace").decode("utf-8").translate(_CONTROLS)


def _killed(number: int, stderr: bytes) -> Failure:
    if b"std::bad_alloc" in stderr or b"MemoryError" in stderr:
        return Failure(kind=FailureKind.MEMORY, message="ran past the memory limit", detail=_tail(stderr))
    return Failure(kind=FailureKind.CRASHED, message=f"killed by {_signal(number)}", detail=_tail(stderr))


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _status(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"killed by {_signal(-code)}" if code < 0 else f"exited with status {code}"


def _tail(stderr: bytes) -> str | None:
    return clean(stderr[-DETAIL_CHARS:].decode(errors="replace")) or None
