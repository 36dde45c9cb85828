"""The managed Prefect server: loopback only, with a home of its own, quiet, fast enough to be a record.

``discovery server`` starts it detached, finds it again through a small state file, and ends it with all its
processes. It never touches the user's own Prefect: home, profile, database and port are its own. Prefect's
defaults record about 35 task runs per CPU-second; with the batching set here it is about three times that.
The ephemeral server that Prefect would start by itself loses its history at exit and is switched off.

This module imports no Prefect: it starts it as a program and asks it over HTTP.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from discovery.errors import MissingComponent, UsageError
from discovery.orchestration import detached
from discovery.orchestration.detached import Process
from discovery.orchestration.health import HOST, answers
from discovery.share import state_dir

DEFAULT_PORT = 4200
_LAUNCHES = 3
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 20.0
LOG_LINES = 12
_FASTAPI_FIX = f"{sys.executable} -m pip install 'fastapi>=0.139,<0.151'"

# Prefect's server imported in a process of its own, as the server itself will.
_IMPORT = "import gc; gc.disable(); import prefect.server.api.server"

# What it imports stays: looking through it for garbage as often as usual took a sixth of the start.
_SERVE = (
    "import gc, runpy; gc.set_threshold(100_000, 20, 20); runpy.run_module('uvicorn', None, '__main__', True)"
)

_BATCHING = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "200",
}
_SILENCE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """A managed server that was started.

    Args:
        pid: Its process id, also that of its process group.
        started: Start time of that process in clock ticks since boot, as the kernel counts.
        port: Its port on the loopback interface.
    """

    pid: int
    started: int
    port: int

    @property
    def process(self) -> Process:
        """Its process."""
        return Process(pid=self.pid, started=self.started)

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://{HOST}:{self.port}/api"

    @property
    def dashboard(self) -> str:
        """Where people look at it."""
        return f"http://{HOST}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """How the managed server is.

    Args:
        state: The server, or None when none runs.
        healthy: Whether its API answers.
        home: Folder of its database, log and settings.
    """

    state: ServerState | None
    healthy: bool
    home: Path

    @property
    def message(self) -> str:
        """The same in one line for people."""
        if self.state is None:
            return "the Prefect server does not run; start it: discovery server start"
        if not self.healthy:
            return f"the Prefect server (process {self.state.pid}) does not answer; its log: {log_path()}"
        return f"the Prefect server runs at {self.state.dashboard} (process {self.state.pid})"


def home() -> Path:
    """Folder of the managed server, ``prefect`` in :func:`discovery.share.state_dir`."""
    return state_dir("prefect")


def log_path() -> Path:
    """The server's log."""
    return home() / "server.log"


def start(
    *,
    port: int | None = None,
    timeout_s: float = START_TIMEOUT_S,
    progress: Callable[[float], None] = lambda elapsed_s: None,
) -> ServerState:
    """Start the managed server, or find it running, and wait until it is healthy.

    Args:
        port: Port to listen on; None takes 4200 if that is free, else any free one.
        timeout_s: Seconds to wait for it to answer. It takes about 4 CPU seconds, the first 8.
        progress: Called a few times per second with the seconds waited so far.

    Returns:
        The server.

    Raises:
        MissingComponent: Prefect is not installed or its server does not start; with the log's end.
        UsageError: The given port is taken, or the home cannot be written.
    """
    folder = home()
    with _locked(folder):
        running = _running()
        if running is not None:
            if port is not None and port != running.port:
                raise UsageError(
                    f"the managed Prefect server already runs on port {running.port}; "
                    "stop it first: discovery server stop"
                )
        else:
            if importlib.util.find_spec("prefect") is None:
                raise MissingComponent(
                    f"Prefect is not installed; {sys.executable} -m pip install 'prefect>=3.8,<3.9'"
                )
            return _started(folder, port, timeout_s, progress)
        _wait_healthy(running, timeout_s, progress)
        return running


def _started(
    folder: Path, port: int | None, timeout_s: float, progress: Callable[[float], None]
) -> ServerState:
    """Start one that is not there yet, at another port where a program took the first before the server did."""
    launches = 0
    while True:
        launches += 1
        state = _launch(folder, _free_port(port))
        _write_state(state)
        try:
            _wait_healthy(state, timeout_s, progress)
        except MissingComponent:
            if port is not None or launches == _LAUNCHES or _is_free(state.port):
                raise
        else:
            return state


def stop(timeout_s: float = STOP_TIMEOUT_S) -> bool:
    """End the managed server and every process of its group.

    Args:
        timeout_s: Seconds to let it end by itself before it is killed.

    Returns:
        Whether one was running.
    """
    with _locked(home()):
        state = _running()
        if state is not None:
            detached.end_group(state.process, timeout_s)
        _state_path().unlink(missing_ok=True)
        return state is not None


def status() -> ServerStatus:
    """How the managed server is."""
    state = _running()
    return ServerStatus(state=state, healthy=state is not None and answers(state.url), home=home())


def api_url() -> str | None:
    """The URL of an API that answers: the one in ``PREFECT_API_URL`` first, else the managed server's."""
    given = os.environ.get("PREFECT_API_URL")
    if given and answers(given):
        return given
    state = _running()
    return state.url if state is not None and answers(state.url) else None


def client_environment(url: str) -> dict[str, str]:
    """Variables for processes that use an API.

    With the managed server they get a Prefect home of their own, so that the user's profile is neither
    read nor changed. With an API that the user named, the user's profile stays in force: it may hold the
    key.

    Args:
        url: Of the API.

    Returns:
        Variables to add to the environment before Prefect is imported.
    """
    variables = {**_SILENCE, "PREFECT_API_URL": url}
    state = _running()
    if state is not None and state.url == url:
        variables |= {
            "PREFECT_HOME": str(home() / "client"),
            "PREFECT_PROFILE": "local",
            # It is near, or gone for good: a minute of tries for each request would keep a finished run waiting.
            "PREFECT_CLIENT_MAX_RETRIES": "0",
            # Each event that a dead server misses would be printed.
            "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
        }
    return variables


def import_error(timeout_s: float = 120.0) -> str | None:
    """Why Prefect's server cannot be imported here, with the fix; None when it can.

    It takes a few seconds, in a process of its own.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _IMPORT],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=_server_environment(home(), DEFAULT_PORT),
        )
    except subprocess.TimeoutExpired:
        return f"importing Prefect's server took over {timeout_s:g} s; try again when less runs"
    if done.returncode == 0:
        return None
    return _with_fix((done.stderr.strip().splitlines() or ["no message"])[-1], done.stderr)


def _with_fix(message: str, log: str) -> str:
    if "min_items" in log or "fastapi" in log:
        return f"{message}; the installed fastapi does not fit Prefect's server: {_FASTAPI_FIX}"
    if "No module named" in log:
        return f"{message}; install it again: {sys.executable} -m pip install 'prefect>=3.8,<3.9'"
    return f"{message}; the whole log: {log_path()}"


# Its process


def _state_path() -> Path:
    return home() / "server.json"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "server.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error.strerror}); name another folder: "
            "export DISCOVERY_HOME=/some/folder"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_state(state: ServerState) -> None:
    path = _state_path()
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(state)))
    fresh.replace(path)


def _running() -> ServerState | None:
    """The recorded server if its very process lives."""
    try:
        state = ServerState(**json.loads(_state_path().read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return state if state.process.is_alive else None


def _free_port(wanted: int | None) -> int:
    for port in (DEFAULT_PORT, 0) if wanted is None else (wanted,):
        try:
            return _bound(port)
        except (OSError, OverflowError) as error:
            if wanted is not None:
                raise UsageError(
                    f"port {wanted} cannot be used ({error}); leave --port out to get a free one"
                ) from error
    raise UsageError("no port is free on the loopback interface; end something that listens")


def _is_free(port: int) -> bool:
    try:
        _bound(port)
    except OSError:
        return False
    return True


def _bound(port: int) -> int:
    """The port that a server would get; raises OSError where it is taken."""
    with socket.socket() as probe:
        # As the server will: a port that is only lingering is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return int(probe.getsockname()[1])


def _server_environment(folder: Path, port: int) -> dict[str, str]:
    # The user's Prefect settings are for the user's Prefect.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return {
        **kept,
        **_BATCHING,
        **_SILENCE,
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILE": "local",
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT__SERVER_FINAL": "1",
    }


def _launch(folder: Path, port: int) -> ServerState:
    log_path().write_bytes(b"")
    command = [
        *(sys.executable, "-c", _SERVE, "--factory", "prefect.server.api.server:create_app"),
        *("--host", HOST, "--port", str(port), "--log-level", "warning", "--no-access-log"),
        *("--timeout-keep-alive", "5", "--timeout-graceful-shutdown", "3"),
    ]
    # Its folder is its own too: Prefect reads prefect.toml, pyproject.toml and .env where it starts.
    process = detached.launch(command, log_path(), folder, _server_environment(folder, port))
    if process is None:
        raise _died()
    return ServerState(pid=process.pid, started=process.started, port=port)


def _wait_healthy(state: ServerState, timeout_s: float, progress: Callable[[float], None]) -> None:
    begun = time.monotonic()
    # Another program may have taken the port in between, and answer there.
    while not (answers(state.url) and detached.listens(state.pid, state.port)):
        elapsed_s = time.monotonic() - begun
        if not state.process.is_alive:
            _state_path().unlink(missing_ok=True)
            raise _died()
        if elapsed_s > timeout_s:
            detached.end_group(state.process, STOP_TIMEOUT_S)
            _state_path().unlink(missing_ok=True)
            raise MissingComponent(
                f"the Prefect server did not answer within {timeout_s:g} s and was stopped; try again "
                f"when less runs, or go on without it: --scheduler local{_log_end()}"
            )
        progress(elapsed_s)
        time.sleep(0.2)


def _died() -> MissingComponent:
    log = log_path().read_text(errors="replace") if log_path().is_file() else ""
    return MissingComponent(f"{_with_fix('the Prefect server ended while it started', log)}{_log_end()}")


def _log_end() -> str:
    log = log_path().read_text(errors="replace") if log_path().is_file() else ""
    return "".join(f"\n    {line}" for line in log.strip().splitlines()[-LOG_LINES:])
