"""How other processes of this user find a model server that is looked after, and ask it for new weights.

Each ``discovery serve`` has a folder by its port with a record of what it serves, a lock that it holds while it lives
(so that a record of a dead one is never believed), and a socket that only its user may open. A request is one line of
JSON; the answers are lines of what happens meanwhile, and one of how it ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from discovery.errors import DiscoveryError, ServerFailed, UsageError, WeightsError
from discovery.generation.adapters import Published
from discovery.generation.server import ModelServer
from discovery.generation.vllm import ServeOptions
from discovery.generation.weights import Kind
from discovery.share import state_dir

_RECORD = "server.json"
_LOCK = "lock"
_SOCKET = "control"
_CREDENTIALS = struct.Struct("3i")
_REQUEST_S = 10.0
_TRIES = 5
_TRY_S = 0.05
_LONGEST_REQUEST = 1 << 16
_KINDS: Mapping[str, type[DiscoveryError]] = {
    kind.__name__: kind for kind in (WeightsError, UsageError, ServerFailed)
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """A server that is looked after.

    Args:
        name: What requests call its model.
        model: Folder or name that it was started with.
        url: Its base URL on this machine.
        home: Its folder.
    """

    name: str
    model: str
    url: str
    home: Path


def homes() -> Path:
    """The folder of all servers' folders."""
    return state_dir("serve")


@contextmanager
def enrolled(options: ServeOptions) -> Iterator[Path]:
    """Have a server found by others while the body runs.

    Yields:
        Its folder, for its log and weights.

    Raises:
        UsageError: Another process looks after a server on this port, or the folder cannot be written.
    """
    home = homes() / str(options.port)
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        home.chmod(0o700)
        lock = os.open(home / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(
            f"{home} cannot be written ({error.strerror}); name another folder: export DISCOVERY_HOME=/some/folder"
        ) from error
    try:
        if not _hold(lock):
            raise UsageError(
                f"another `discovery serve` looks after port {options.port}; "
                f"stop it, or name another port: --port {options.port + 1}"
            )
        record = {"name": options.name, "model": str(options.folder or options.model), "url": options.url}
        fresh = home / f"{_RECORD}.new"
        fresh.write_text(json.dumps(record))
        fresh.replace(home / _RECORD)
        try:
            yield home
        finally:
            (home / _RECORD).unlink(missing_ok=True)
    finally:
        os.close(lock)


def running_servers() -> list[ServerRecord]:
    """Servers whose process lives, by port."""
    found = []
    for home in sorted(homes().glob("[0-9]*")):
        try:
            record = json.loads((home / _RECORD).read_text())
            if _is_held(home / _LOCK):
                found.append(ServerRecord(home=home, **record))
        except (OSError, ValueError, TypeError):
            continue  # it ends at this moment, or never was one
    return found


def _hold(lock: int) -> bool:
    """Take a lock; whoever only looks whether it is held has it for a moment, too."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_TRY_S)
        else:
            return True
    return False


def _is_held(lock: Path) -> bool:
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


class Control:
    """Takes requests for a server, one at a time, while its context is open.

    Args:
        server: The server.
    """

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._socket: socket.socket | None = None
        self._thread = threading.Thread(target=self._listen, name="control", daemon=True)

    def __enter__(self) -> Control:
        place = self._server.home / _SOCKET
        place.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _short_path(place) as path:
            listening.bind(path)  # in a folder that is closed to others
        place.chmod(0o600)
        listening.listen(8)
        self._socket = listening
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        (self._server.home / _SOCKET).unlink(missing_ok=True)

    def _listen(self) -> None:
        assert self._socket is not None
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_REQUEST_S)
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(credentials)[1] not in (os.geteuid(), 0):
            return None
        with connection.makefile("rb") as lines:
            request = lines.readline(_LONGEST_REQUEST)

        def tell(**answer: object) -> None:
            with contextlib.suppress(OSError):  # who asked may have left; what was asked for goes on
                connection.sendall(json.dumps(answer).encode() + b"\n")

        try:
            folder = Path(json.loads(request)["publish"])
        except (ValueError, TypeError, KeyError) as error:
            return tell(failed="UsageError", message=f"no request: {type(error).__name__}: {error}")
        try:
            with self._server.heard_by(lambda line: tell(said=line)):
                published = self._server.publish(folder)
        except DiscoveryError as error:
            return tell(failed=_kind(error), message=str(error))
        return tell(published=asdict(published))


def ask_to_publish(
    record: ServerRecord, folder: Path, say: Callable[[str], None] = lambda line: None
) -> Published:
    """Ask a server that is looked after to serve new weights.

    Args:
        record: Which server.
        folder: Of the weights.
        say: Told in one line what happens.

    Raises:
        WeightsError: The weights are not whole, or do not fit.
        ServerFailed: They are not served; what was served is, unless the message says otherwise.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            with _short_path(record.home / _SOCKET) as path:
                connection.connect(path)
            connection.sendall(json.dumps({"publish": str(folder.expanduser().absolute())}).encode() + b"\n")
            with connection.makefile("r") as lines:
                for line in lines:
                    answer: dict[str, Any] = json.loads(line)
                    if "said" in answer:
                        say(str(answer["said"]))
                    elif "published" in answer:
                        return Published(**{**answer["published"], "kind": Kind(answer["published"]["kind"])})
                    else:
                        raise _KINDS.get(str(answer.get("failed")), ServerFailed)(str(answer.get("message")))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            # There is none yet, or the one that a killed server left.
            raise ServerFailed(
                f"{record.name} at {record.url} does not take weights yet: it starts; publish when it is served"
            ) from error
        except OSError as error:
            raise ServerFailed(f"{record.url}: its control socket does not answer: {error}") from error
    raise ServerFailed(f"{record.url} ended while it published {folder}; its log: {record.home}")


def _kind(error: DiscoveryError) -> str:
    return next((name for name, kind in _KINDS.items() if isinstance(error, kind)), "ServerFailed")


@contextmanager
def _short_path(place: Path) -> Iterator[str]:
    """A path of at most 107 bytes, which is all that a socket's address holds."""
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{place.name}"
    finally:
        os.close(folder)
