"""A Docker engine of one's own, for tests: on a socket in a temporary folder, gone with all that it had.

It touches nothing of an engine that this machine may have, nor its network: containers of sandboxes have none.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from discovery.errors import MissingComponent, SandboxError, SandboxUnavailable
from discovery.sandbox import images, recipes
from discovery.sandbox.engine import Engine

_START_S = 60.0
_STOP_S = 20.0
_POLL_S = 0.05
_NO_NETWORK = (
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--ip-masq=false",
)


class PrivateEngine:
    """An engine that runs between entering and leaving, and may be ended and started again meanwhile.

    Whoever uses it sets ``DOCKER_HOST`` to its ``address``.

    Args:
        parent: Where its folder is made, with all that it has.
    """

    def __init__(self, parent: Path = Path("/tmp")) -> None:
        self._parent = parent
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def missing() -> str | None:
        """Why there can be none here, with the fix; None when there can."""
        if shutil.which("dockerd", path=_path()) is None:
            return "no Docker engine answers, and none is installed: sudo apt-get install docker.io"
        if os.geteuid() != 0:
            return "no Docker engine answers, and only root can start one: sudo systemctl start docker"
        return None

    @property
    def address(self) -> str:
        """For ``DOCKER_HOST``."""
        return f"unix://{self._folder}/docker.sock"

    def __enter__(self) -> Self:
        # A socket's path has at most 107 bytes, and the engine's own are deep; its name also names its containers'
        # namespace, which may hold letters and digits alone.
        self._folder = self._parent / f"dockerd-{secrets.token_hex(6)}"
        self._folder.mkdir(mode=0o700)
        with ExitStack() as undo:
            undo.callback(self._remove)
            self.start()
            undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self._remove()

    def start(self) -> None:
        """Start it, with the images and containers of last time, and wait until it answers.

        Raises:
            SandboxError: It did not start; the message holds the end of its log.
        """
        folder = self._folder
        command = ["dockerd", *_NO_NETWORK, "--host", self.address, "--containerd-namespace", folder.name]
        command += [
            "--data-root",
            f"{folder}/data",
            "--exec-root",
            f"{folder}/exec",
            "--pidfile",
            f"{folder}/pid",
        ]
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": _path()},
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = (folder / "log").read_text(errors="replace").strip().splitlines()
                raise SandboxError(f"dockerd does not start: {'; '.join(said[-3:])[-600:]}")
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """End it, its containers with it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            with _named(self.address), Engine(timeout_s=_START_S):
                return True
        except SandboxError:
            return False

    def _remove(self) -> None:
        """End what an engine that was killed has left, unmount what it mounted, remove its files."""
        for pid in self._processes():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + _STOP_S
        while list(self._processes()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([m for m in mounts if Path(m).is_relative_to(self._folder)]):
            subprocess.run(["umount", "--lazy", mount], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _processes(self) -> Iterator[int]:
        """Whatever was started with a path of its folder: the engine's own helpers, and containers by their helper."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    command = (entry / "cmdline").read_bytes()
                    if (
                        f"{self._folder}/".encode() in command
                        and (entry / "stat").read_text().split()[2] != "Z"
                    ):
                        yield int(entry.name)


@contextmanager
def some_engine(parent: Path = Path("/tmp")) -> Iterator[None]:
    """An engine that answers: the one of the environment, or a private one, which ``DOCKER_HOST`` names meanwhile.

    Args:
        parent: Where a private one's folder is made.

    Raises:
        MissingComponent: There is none, and none can be started; one line that ends with the fix.
        SandboxError: A private one does not start.
    """
    try:
        Engine().close()
    except SandboxUnavailable:
        reason = PrivateEngine.missing()
        if reason is not None:
            raise MissingComponent(reason) from None
    else:
        yield
        return
    with PrivateEngine(parent) as engine, _named(engine.address):
        yield


def have_image(packages: tuple[str, ...] = ()) -> str:
    """Make the image of the default recipe with some packages, if it is not there.

    Returns:
        Its name.
    """
    name = images.tag(packages=packages)
    with Engine() as engine:
        if engine.image(name) is None:
            contents = images.contents(packages=packages)
            labels = images.labels(recipes.DEFAULT, packages)
            engine.import_image(contents.tar(), name, labels=labels, environment=contents.environment)
    return name


@contextmanager
def _named(address: str) -> Iterator[None]:
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = address
    try:
        yield
    finally:
        if before is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = before


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
