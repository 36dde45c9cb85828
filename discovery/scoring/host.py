"""The scorer's process: ``python -m discovery.scoring.host FD PLUGIN``.

It loads the plugin and then only forks: one worker per request on its control socket, which passes the worker's
own socket along. A worker scores candidates one after another until its socket closes. Because the host never
scores anything, each worker starts from a state that no candidate's data has ever touched: that is what makes a
second scoring "in a fresh process" cheap enough to be done for every new best.

Where the problem has an exact scorer, the host loads it too, before it forks: an edited file cannot change what a run
that goes on announces. A worker that is asked for it decides exactly on what it has scored.

The host ends when its control socket closes, and dies with its parent; workers die with the host.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import math
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from discovery import data
from discovery.bundle import BundleError, unbundled
from discovery.declared import Stage
from discovery.errors import DataError, DiscoveryError, Invalid, ProgramFailed
from discovery.plugins import load_problem
from discovery.problem import Problem
from discovery.program import Program, ProgramOutput
from discovery.records import FailureKind, Score
from discovery.referee import Verifier, load_verifier
from discovery.scoring.wire import Frame, pack, receive

MOST_KEPT_BYTES = 4 << 20
"""Of a score, encoded: it often holds what the candidate returned, is read on the event loop, and stored for good."""
_PR_SET_PDEATHSIG = 1
_OOM_SCORE_ADJ = 500  # candidates are at 1000
_MAX_MESSAGE = 2000
_MAX_DETAIL = 4000


class _SocketChannel:
    """A program whose sandbox is at the other end of the worker's socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def call(
        self,
        function: str,
        args: tuple[data.Data, ...],
        kwargs: Mapping[str, data.Data],
        timeout_s: float | None,
    ) -> data.Data:
        try:
            body = data.encode([list(args), dict(kwargs)])
        except DataError as error:
            raise TypeError(
                f"program.call({function!r}, ...): arguments must be plain data: {error}"
            ) from error
        reply = self._ask({"kind": "call", "function": function, "timeout_s": timeout_s}, body)
        try:
            return data.decode(reply.body, widen=True)
        except DataError as error:
            raise ProgramFailed(FailureKind.BAD_DATA, f"{function}() returned bad data: {error}") from error

    def run(self, args: tuple[str, ...], stdin: bytes, timeout_s: float | None) -> ProgramOutput:
        reply = self._ask({"kind": "run", "args": list(args), "timeout_s": timeout_s}, stdin)
        header = reply.header
        return ProgramOutput(
            stdout=reply.body.decode("utf-8", "replace"),
            stderr=header["stderr"],
            exit_code=header["exit_code"],
            wall_s=header["wall_s"],
            cpu_s=header["cpu_s"],
            stdout_bytes=reply.body,
        )

    def _ask(self, header: dict[str, Any], body: bytes) -> Frame:
        self._sock.sendall(pack(Frame(header, body)))
        reply = receive(self._sock)
        if reply is None:
            raise SystemExit(0)
        if reply.kind == "failed":
            raise ProgramFailed(reply.header["failure"], reply.header["message"], reply.header["detail"])
        return reply


def score(
    problem: Problem,
    source: str,
    sock: socket.socket,
    repeat: int,
    stage: Stage | None = None,
    warm_start: bytes | None = None,
    *,
    hashes: bool = False,
) -> Frame:
    """Run the problem's scorer, or one of its stages, on one candidate and say what came of it.

    A score comes with whether the program's text was asked for, and where ``hashes`` says so with its artifact's hash.
    """
    try:
        files = unbundled(source) if problem.files else None
    except BundleError:  # a solution that is data; of a program the sandbox's side says it
        files = None
    # Read anew for each scoring: a scorer may change what it is handed.
    given = None if warm_start is None else data.decode(warm_start)
    program = Program(source, _SocketChannel(sock), repeat, given, files)
    scorer = problem.scorer if stage is None else stage.scorer
    try:
        scored = problem.checked(scorer(program))
    except Invalid as error:
        return _failed(FailureKind.INVALID, str(error.reason), None)
    except ProgramFailed as error:
        if error.kind not in tuple(FailureKind):
            wanted = ", ".join(FailureKind)
            message = f"the scorer raised ProgramFailed of kind {error.kind!r}; the kinds are {wanted}"
            return _failed(FailureKind.SCORER, message, str(error.message))
        return _failed(error.kind, str(error.message), error.detail and str(error.detail))
    except DiscoveryError as error:
        return _failed(FailureKind.SCORER, str(error), None)
    except Exception as error:  # noqa: BLE001  the plugin's boundary: whatever a scorer raises is its failure
        detail = "".join(traceback.format_exception(error))[-_MAX_DETAIL:]
        return _failed(FailureKind.SCORER, f"the scorer raised {type(error).__name__}: {error}", detail)
    if stage is not None:
        return _passed(stage, scored, program.was_read)
    repeated = problem.settings.repeats is not None
    # Of repeats the statistic must keep the bounds, which may be those of a comparison with the baseline.
    if not (math.isfinite(scored.value) if repeated else problem.in_bounds(scored.value)):
        low, high = (None, None) if repeated else problem.settings.bounds
        return _failed(
            FailureKind.OUT_OF_BOUNDS,
            f"the score {scored.value!r} is not a finite number within the declared bounds ({low}, {high})",
            None,
        )
    return _scored(scored, program.was_read, hashes)


def _passed(stage: Stage, scored: Score, was_read: bool) -> Frame:
    """What comes of a stage's score; nothing of it but its value is kept where the candidate passes."""
    if not math.isfinite(scored.value):
        return _failed(FailureKind.SCORER, f"the score {scored.value!r} is not finite", None)
    refusal = stage.refusal(scored)
    if refusal is not None:
        return _failed(FailureKind.STAGE, refusal, None)
    return _scored(Score(value=scored.value), was_read)


def confirm(verifier: Verifier | None, value: float, artifact: data.Data) -> Frame:
    """Decide exactly on what was scored, and say what came of it."""
    if verifier is None:
        return _failed(FailureKind.SCORER, "the problem has no exact scorer", None)
    try:
        exact = verifier.confirm(Score(value=value, artifact=artifact))
    except Invalid as error:
        return _failed(FailureKind.INVALID, str(error.reason), None)
    except DiscoveryError as error:
        detail = "".join(traceback.format_exception(error))[-_MAX_DETAIL:]
        return _failed(FailureKind.SCORER, f"the exact scorer failed: {error}", detail)
    return Frame({"kind": "exact", "exact": exact.decimal()})


def _scored(scored: Any, was_read: bool, hashes: bool = False) -> Frame:
    try:
        artifact = _listed(scored.artifact)
        body = data.encode(
            {
                "metrics": _listed(dict(scored.metrics)),
                "private": _listed(dict(scored.private)),
                "feedback": scored.feedback,
                "artifact": artifact,
            }
        )
        solution = _digest(artifact) if hashes and artifact is not None else None
    except (DataError, TypeError, ValueError, RecursionError) as error:
        return _failed(
            FailureKind.SCORER,
            f"the scorer's metrics, feedback and artifact must be plain finite data: {error}",
            None,
        )
    if len(body) > MOST_KEPT_BYTES:
        message = (
            f"metrics, feedback and artifact of the score take {len(body):,} bytes; at most {MOST_KEPT_BYTES:,} are "
            "kept of a candidate"
        )
        return _failed(FailureKind.OUTPUT, message, None)
    header = {"kind": "scored", "value": scored.value, "read": was_read, "solution": solution}
    return Frame(header, body)


def _digest(artifact: Any) -> str:
    """What an artifact is known by: its hash as JSON, in the order of its keys."""
    text = json.dumps(artifact, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_listed(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _failed(kind: str, message: str, detail: str | None) -> Frame:
    # A reason may quote what the candidate returned, which may be long.
    if len(message) > _MAX_MESSAGE:
        message = message[: _MAX_MESSAGE - 4] + " ..."
    return Frame({"kind": "failed", "failure": str(kind), "message": message, "detail": detail})


def work(problem: Problem, verifier: Verifier | None, sock: socket.socket) -> None:
    """Score candidates until the socket closes."""
    warm_start: bytes | None = None
    while (request := receive(sock)) is not None:
        if request.kind == "warm_start":
            warm_start = request.body if request.header["is_there"] else None
            continue
        if request.kind == "exact":
            answer = confirm(verifier, request.header["value"], data.decode(request.body, widen=True))
        else:
            source = request.body.decode("utf-8", "surrogatepass")
            number = request.header["stage"]
            stage = None if number is None else problem.settings.stages[number]
            repeat, hashes = request.header["repeat"], request.header["hashes"]
            answer = score(problem, source, sock, repeat, stage, warm_start, hashes=hashes)
        sock.sendall(pack(answer))


def serve(control: socket.socket, problem: Problem, verifier: Verifier | None = None) -> None:
    """Fork a worker for each socket that arrives, until the control socket closes."""
    host = os.getpid()
    while True:
        message, fds, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        _reap()
        try:
            pid = os.fork()
        except (
            OSError
        ) as error:  # too many processes, or no memory, just now; the workers that are there go on
            for fd in fds:
                os.close(fd)
            control.sendall(pack(Frame({"kind": "refused", "message": str(error)})))
            continue
        if pid == 0:
            control.close()
            _die_with_parent(host)
            _go_before_the_run()
            with socket.socket(fileno=fds[0]) as sock:
                work(problem, verifier, sock)
            os._exit(0)
        os.close(fds[0])
        control.sendall(pack(Frame({"kind": "forked", "pid": pid})))


def _reap() -> None:
    """Collect workers that have ended; at most the last one waits for the next fork."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue


def _die_with_parent(parent: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        os._exit(1)


def _go_before_the_run() -> None:
    """Where a candidate's data makes a scorer take all memory, the kernel is to end that scorer and not the run."""
    path = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):
        if int(path.read_text()) < _OOM_SCORE_ADJ:
            path.write_text(str(_OOM_SCORE_ADJ))


def main(arguments: list[str]) -> int:
    """Load the plugin, say so, then serve."""
    fd, plugin, parent = int(arguments[0]), arguments[1], int(arguments[2])
    _die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=fd) as control:
        os.set_inheritable(fd, False)
        try:
            problem = load_problem(plugin)
            verifier = load_verifier(problem)
        except DiscoveryError as error:
            control.sendall(pack(Frame({"kind": "broken", "message": str(error)})))
            return 1
        ready = {"kind": "ready", "version": problem.version, "exact": verifier is not None}
        control.sendall(pack(Frame(ready)))
        serve(control, problem, verifier)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
