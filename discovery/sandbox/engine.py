"""The Docker engine, as far as sandboxes need it: the one home of the ``docker`` package.

Contract: every method blocks until the engine has answered, at most ``timeout_s``; nothing of the package's own
gets out, neither objects nor errors. An engine that does not answer is ``SandboxUnavailable``, one that refuses is
``SandboxError`` in its own words. An ``Engine`` is used by one thread at a time and closed by who opened it.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from discovery.errors import MissingComponent, SandboxError, SandboxUnavailable
from discovery.sandbox.answers import Container, EngineFacts, Image, Output

_ANSWER_S = 20.0
_IMPORT_S = 600.0
_POLL_S = 0.01
_LOCAL = ("unix://", "http+unix://", "http+docker://")


class Engine:
    """A connection to the engine that the environment names: ``DOCKER_HOST``, else its usual socket.

    Args:
        timeout_s: For one answer.

    Raises:
        MissingComponent: The ``docker`` package is not installed.
        SandboxUnavailable: No engine answers.
    """

    def __init__(self, timeout_s: float = _ANSWER_S) -> None:
        self._docker = _package()
        self._timeout_s = timeout_s
        with self._attributed():
            _knock(timeout_s)
            settings = self._docker.utils.kwargs_from_env()
            self._api = self._docker.APIClient(version="auto", timeout=timeout_s, **settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._api.close()

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, as far as its address tells."""
        return str(self._api.base_url).startswith(_LOCAL)

    def facts(self) -> EngineFacts:
        """What the engine says of itself."""
        with self._attributed():
            told = self._api.info()
        options = [
            dict(p.split("=", 1) for p in o.split(",") if "=" in p) for o in told["SecurityOptions"] or []
        ]
        limits = {"memory": told.get("MemoryLimit"), "processes": told.get("PidsLimit")}
        return EngineFacts(
            version=str(told["ServerVersion"]),
            storage=str(told["Driver"]),
            security=tuple(o["name"] for o in options if "name" in o),
            cannot=tuple(name for name, can in limits.items() if not can),
        )

    def image(self, name: str) -> Image | None:
        """An image by name or id; None when it is not there. Nothing is ever fetched."""
        with self._attributed():
            try:
                told = self._api.inspect_image(name)
            except self._docker.errors.ImageNotFound:
                return None
        config = told.get("Config") or {}
        return Image(
            id=str(told["Id"]),
            volumes=tuple(sorted(config.get("Volumes") or ())),
            labels=dict(config.get("Labels") or {}),
            names=tuple(told.get("RepoTags") or ()),
            size_bytes=int(told.get("Size") or 0),
            created_at=_time(told.get("Created")),
        )

    def images(self, label: str) -> Sequence[Image]:
        """All images that have a label."""
        with self._attributed():
            ids = [str(one["Id"]) for one in self._api.images(filters={"label": label})]
        return [image for image in map(self.image, ids) if image is not None]

    def import_image(
        self, tar: Iterable[bytes], name: str, *, labels: Mapping[str, str], environment: Mapping[str, str]
    ) -> Image:
        """Make an image of one layer.

        Args:
            tar: The file system, as a tar archive piece by piece, uncompressed.
            name: ``repository:tag``.
            labels: To find it by.
            environment: Variables of every container of it.

        Returns:
            The image.
        """
        changes = [f'LABEL {key}="{value}"' for key, value in labels.items()]
        changes += [f'ENV {key}="{value}"' for key, value in environment.items()]
        repository, _, tag = name.rpartition(":")
        with self._attributed(), closing(self._patient()) as api:
            said = api.import_image(tar, repository=repository, tag=tag, changes=changes)
            if '"error"' in said:
                raise SandboxError(f"the Docker engine did not import {name}: {said.strip()[:300]}")
        found = self.image(name)
        if found is None:
            raise SandboxError(
                f"the Docker engine imported {name} and does not have it: {said.strip()[:300]}"
            )
        return found

    def build(
        self,
        folder: str,
        dockerfile: str,
        name: str,
        *,
        labels: Mapping[str, str],
        say: Callable[[str], None],
    ) -> Image:
        """Make an image as a Dockerfile says, by the engine's own builder.

        Args:
            folder: What the Dockerfile may copy from.
            dockerfile: Its path.
            name: ``repository:tag``.
            labels: To find it by.
            say: Gets each line that the builder says.

        Raises:
            SandboxError: A step failed; in the builder's words.
        """
        with self._attributed(), closing(self._patient()) as api:
            said = api.build(
                path=folder,
                dockerfile=dockerfile,
                tag=name,
                labels=dict(labels),
                rm=True,
                forcerm=True,
                decode=True,
            )
            _told(said, say, f"did not build {name}")
        return self._made(name)

    def pull(self, name: str, *, say: Callable[[str], None]) -> Image:
        """Fetch an image from the registry that its name says.

        Args:
            name: As ``docker pull`` takes it.
            say: Gets each line that the engine says.

        Raises:
            SandboxError: It cannot be had; in the engine's words.
        """
        with self._attributed(), closing(self._patient()) as api:
            said = api.pull(name, stream=True, decode=True)
            _told(said, say, f"cannot fetch {name}")
        return self._made(name)

    def _made(self, name: str) -> Image:
        found = self.image(name)
        if found is None:
            raise SandboxError(f"the Docker engine made {name} and does not have it: docker images")
        return found

    def tag(self, image: str, name: str) -> None:
        """Give an image one more name, ``repository:tag``."""
        repository, _, tag = name.rpartition(":")
        with self._attributed():
            self._api.tag(image, repository, tag)

    def remove_image(self, name: str) -> None:
        """Remove a name of an image, and with its last one the image; none is no error.

        Raises:
            ImageInUse: A container was made of it and is still there.
        """
        try:
            with self._attributed(), suppress(self._docker.errors.ImageNotFound):
                self._api.remove_image(name)
        except _Conflict as error:
            used = re.search(r"container (\w+)", str(error))
            raise ImageInUse(f"the container {used[1]} uses it" if used else str(error)) from error

    def create(self, name: str, config: Mapping[str, Any]) -> str:
        """Make a container, not started.

        Args:
            name: For people.
            config: As the engine's API has it (``POST /containers/create``).

        Returns:
            Its id.
        """
        with self._attributed():
            return str(self._api.create_container_from_config(dict(config), name)["Id"])

    def attach(self, container: str) -> Output:
        """Listen to what a container that was not started yet is going to write."""
        with self._attributed():
            wanted = {"stdout": 1, "stderr": 1, "stream": 1, "logs": 0}
            return Output(self._api.attach_socket(container, wanted))

    def start(self, container: str) -> None:
        """Start a container."""
        with self._attributed():
            self._api.start(container)

    def pid(self, container: str) -> int:
        """The id, on the engine's machine, of a container's first process; 0 when it does not run."""
        with self._attributed():
            return int(self._api.inspect_container(container)["State"]["Pid"])

    def limit(self, container: str, memory_bytes: int) -> None:
        """Hold a running container to another amount of memory, swap included.

        Args:
            container: Its id.
            memory_bytes: For all its processes together.
        """
        with self._attributed():
            self._api.update_container(container, mem_limit=memory_bytes, memswap_limit=memory_bytes)

    def remove(self, container: str, *, patience_s: float = 0.0) -> None:
        """Kill a container and remove it; one that is gone is no error.

        Args:
            container: Its id.
            patience_s: How long to wait for a removal that had begun already, seconds.
        """
        deadline = time.monotonic() + patience_s
        while True:
            try:
                with self._attributed():
                    self._api.remove_container(container, force=True, v=True)
                return
            except _Conflict:
                if time.monotonic() >= deadline:
                    return  # the engine is at it
                time.sleep(_POLL_S)
            except _NotFound:
                return

    def labelled(self, label: str) -> Sequence[Container]:
        """All containers that have a label, running or not.

        Args:
            label: ``name`` or ``name=value``.
        """
        with self._attributed():
            told = self._api.containers(all=True, filters={"label": label})
        return [
            Container(
                id=str(one["Id"]),
                name=str((one.get("Names") or [one["Id"][:12]])[0]).lstrip("/"),
                labels=dict(one.get("Labels") or {}),
            )
            for one in told
        ]

    def _patient(self) -> Any:
        settings = self._docker.utils.kwargs_from_env()
        return self._docker.APIClient(version="auto", timeout=_IMPORT_S, **settings)

    @contextmanager
    def _attributed(self) -> Iterator[None]:
        """Turn the package's errors, and those of what it stands on, into this package's."""
        import requests

        errors = self._docker.errors
        try:
            yield
        except errors.APIError as error:
            said = " ".join(str(error.explanation or error).split())
            refusal = {404: _NotFound, 409: _Conflict}.get(error.status_code, SandboxError)
            raise refusal(f"the Docker engine refused: {said}") from error
        except (errors.DockerException, requests.RequestException, OSError) as error:
            raise SandboxUnavailable(f"no Docker engine answers at {address()}: {_reason(error)}") from error


def _told(said: Iterable[Mapping[str, Any]], say: Callable[[str], None], failed: str) -> None:
    """Pass on what the engine says of a long work, and raise what it says went wrong."""
    for one in said:
        if "error" in one:
            raise SandboxError(f"the Docker engine {failed}: {' '.join(str(one['error']).split())[:500]}")
        for line in str(one.get("stream") or one.get("status") or "").splitlines():
            if line.strip():
                say(line.rstrip())


def _time(text: object) -> datetime | None:
    """The engine's own way of writing a time, which counts nanoseconds."""
    cut = re.sub(r"(\.\d{6})\d*", r"\1", str(text)).replace("Z", "+00:00")
    try:
        return datetime.fromisoformat(cut)
    except ValueError:
        return None


class _NotFound(SandboxError):
    """The engine does not have it."""


class ImageInUse(SandboxError):
    """An image cannot be removed, since a container was made of it."""


class _Conflict(SandboxError):
    """The engine is doing something else with it."""


def address() -> str:
    """Where an engine is looked for."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def _knock(timeout_s: float) -> None:
    """Connect to a local engine's socket once: the package would leave one open that cannot be connected."""
    kind, _, path = address().partition("://")
    if kind in ("unix", "http+unix"):
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(timeout_s)
            knocking.connect("/" + path.lstrip("/"))


def _package() -> Any:
    try:
        import docker
    except ImportError as error:
        raise MissingComponent(
            f"the Python package 'docker' is not installed: {sys.executable} -m pip install 'discovery-loop[docker]'"
        ) from error
    return docker


def _reason(error: BaseException) -> str:
    """The innermost cause in its own words, without the names of the layers between."""
    seen = {id(error)}
    while True:
        inner = error.__cause__ or error.__context__
        if inner is None:
            inner = next((a for a in getattr(error, "args", ()) if isinstance(a, BaseException)), None)
        if inner is None or id(inner) in seen:
            break
        seen.add(id(inner))
        error = inner
    text = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return " ".join((text or type(error).__name__).split())[:200]
