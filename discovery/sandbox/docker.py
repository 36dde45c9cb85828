"""The backend for hosts without bubblewrap: a container of the Docker engine around each zygote.

A container can make no namespaces, so each child of its zygote gets a user id of its own instead, by the two
capabilities that the zygote has (``SETUID``, ``SETGID``) and children do not. What the engine puts into a container
and children would share is taken out again: the kernel's files under ``/proc`` and ``/sys``, message queues and
terminals are covered, device nodes are read-only, ``/tmp`` and ``/dev/shm`` are small file systems in memory that
are wiped, as the request's user, after each request.

Transport: the host makes a private folder with a listening socket and the zygote's files, which is bound read-only
into the container. The zygote connects, the host makes sure that it is the container's first process, and removes
the folder: nothing of it is there any more once candidates run. The outer folder is nobody else's; the inner one
and its files are open to all, because root in the container may read no other user's.
"""

from __future__ import annotations

import os
import re
import secrets
import select
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from discovery.errors import DiscoveryError, MissingComponent, SandboxError, SandboxUnavailable
from discovery.owner import describe_owner, is_dead, this_owner
from discovery.records import SandboxRecord
from discovery.sandbox import images, recipes
from discovery.sandbox.answers import Image, Output
from discovery.sandbox.base import Sandbox, SandboxSpec
from discovery.sandbox.cgroups import ControlGroup, of_process
from discovery.sandbox.client import Launched, ZygoteSandbox, fresh_uids
from discovery.sandbox.container import BOX, OWNER_LABEL, SOCKET, described
from discovery.sandbox.engine import Engine, address
from discovery.sandbox.probes import verify
from discovery.sandbox.python import zygote_files

_START_S = 30.0
_END_S = 5.0
_EOF_S = 1.0
_PREFIX = "discovery-docker-"
_OWNER_FILE = "owner"
_UNNAMABLE = re.compile(r"[^A-Za-z0-9_.-]+")


class DockerBackend:
    """Makes Docker sandboxes.

    Covers: files, environment, processes and network of the host; memory, CPU time and number of each evaluation's
    processes, and the sum of memory and processes of each sandbox; leftovers between evaluations; dangerous system
    calls.

    Does not cover: bugs of the kernel and of the engine, which runs as root, as whoever may talk to it can become;
    timing channels; that an image of the user's own holds nothing which candidates should not see; the sum of files
    within one evaluation, which may be up to three times the limit: ``/box``, ``/tmp`` and ``/dev/shm`` have it each.
    """

    name = "docker"

    def __init__(self) -> None:
        # All sandboxes of a run are made of one image: what it was made from may change here meanwhile.
        self._images: dict[tuple[str | None, tuple[str, ...]], Image] = {}

    def missing(self) -> Sequence[str]:
        """What keeps it from working here, each as one line that ends with the fix."""
        try:
            with Engine() as engine:
                if not engine.is_local:
                    return [_elsewhere()]
                if not engine.images("discovery.recipe"):
                    return ["the Docker engine has no image for sandboxes: discovery image build"]
        except SandboxUnavailable as error:
            return [f"{error}: {engine_fix()}"]
        except (MissingComponent, SandboxError) as error:
            return [str(error)]
        return []

    async def verify(self, spec: SandboxSpec) -> SandboxRecord:
        """Probe which isolation properties hold on this host.

        Raises:
            SandboxError: The sandbox cannot start or failed meanwhile.
        """
        with Engine() as engine:
            facts, image = engine.facts(), self._image(engine, spec)
        details = {
            "docker": facts.version,
            "storage": facts.storage,
            "security": ", ".join(facts.security) or "none",
            "image": image.id,
        }
        if facts.cannot:
            details["cannot limit"] = ", ".join(facts.cannot)
        return await verify(self, spec, details=details)

    def create(self, spec: SandboxSpec) -> Sandbox:
        """A new sandbox, not started.

        Raises:
            MissingComponent: A package is not installed, or the image is not there.
        """
        return ZygoteSandbox(spec, self._launch)

    def _launch(self, spec: SandboxSpec) -> Launched:
        with Engine() as engine:
            if not engine.is_local:
                raise MissingComponent(_elsewhere())
            return _launched(engine, spec, self._image(engine, spec))

    def _image(self, engine: Engine, spec: SandboxSpec) -> Image:
        key = spec.image, spec.packages
        kept = self._images.get(key)
        if kept is None or engine.image(kept.id) is None:
            kept = self._images[key] = _image(engine, spec)
        return kept

    def sweep(self) -> Sequence[str]:
        """Remove the containers and folders of processes of this host that are gone; says each in a line."""
        removed = [f"folder {folder} of a Docker sandbox" for folder in _sweep_folders()]
        with suppress(DiscoveryError), Engine() as engine:
            for container in engine.labelled(OWNER_LABEL):
                owner = container.labels[OWNER_LABEL]
                with suppress(ValueError):  # a label of somebody else's
                    if is_dead(owner):
                        engine.remove(container.id, patience_s=_END_S)
                        removed.append(f"container {container.name} of {describe_owner(owner)}")
        return removed


class _ContainerGroup(ControlGroup):
    """A container's control group: read from here, limited and removed by the engine alone.

    Args:
        group: As it is found.
        container: Whose it is.
    """

    def __init__(self, group: ControlGroup, container: str) -> None:
        super().__init__(group.version, group.memory, group.pids, group.cpu)
        self._container = container

    def limit(self, memory_bytes: int, processes: int) -> None:
        """Bound its memory; processes are counted by user id, which a request has for itself."""
        try:
            with Engine() as engine:
                engine.limit(self._container, memory_bytes)
        except SandboxError as error:
            raise OSError(str(error)) from error

    def fullness(self) -> int:
        """As for any group; where version 1 would have to be written to tell, whatever is ended in it counts."""
        return super().fullness() if self._tells() else self.kills()

    def forget_fullness(self) -> None:
        """Start anew, where that can be."""
        if self._tells():
            super().forget_fullness()

    def _tells(self) -> bool:
        return self.version == 2 or os.access(self.memory / "memory.max_usage_in_bytes", os.W_OK)

    def remove(self) -> bool:
        """Let go of it: the engine removes it with its container."""
        self.close()
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """A container with a zygote in it.

    Args:
        container: Its id.
        output: What the zygote writes to its own standard error.
        first: A pidfd of its first process, with whose end all in it have ended.
        group: Its control group, where that can be seen from here.
    """

    container: str
    output: Output
    first: int
    group: ControlGroup | None

    def log(self) -> str:
        """What it said."""
        return self.output.read().decode(errors="replace")

    def end(self) -> None:
        """Wait for its end, which the end of the channel brings; kill it if that fails. The engine removes it."""
        poll = select.poll()
        poll.register(self.first, select.POLLIN)
        ended = poll.poll(_EOF_S * 1000)
        _remove(self.container)
        if not ended:
            poll.poll(_END_S * 1000)
        os.close(self.first)
        self.output.close()
        if self.group is not None:
            self.group.close()


def _launched(engine: Engine, spec: SandboxSpec, image: Image) -> Launched:
    """Start a container with a zygote in it; takes a few hundred milliseconds."""
    with _meeting_place() as (folder, listener), ExitStack() as undo:
        container = engine.create(_name(spec), described(spec, image, folder))
        undo.callback(_remove, container)
        output = engine.attach(container)
        undo.callback(output.close)
        engine.start(container)
        channel = _accepted(listener, output)
        undo.callback(channel.close)
        pid = engine.pid(container)
        group = of_process(pid)
        if pid == 0 or _peer(channel) != pid:
            raise SandboxError(
                f"process {_peer(channel)} answered in place of the container's first process, {pid}"
            )
        running = _Running(
            container=container,
            output=output,
            first=os.pidfd_open(pid),
            group=None if group is None else _ContainerGroup(group, container),
        )
        undo.pop_all()
    return Launched(
        channel=channel,
        confinement="uid",
        uid=fresh_uids(),
        box=BOX,
        end=running.end,
        log=running.log,
        group=running.group,
    )


def _remove(container: str) -> None:
    """Have the engine kill and remove a container; one that cannot be asked now removes it when it can."""
    with suppress(DiscoveryError), Engine() as engine:
        engine.remove(container)


def _image(engine: Engine, spec: SandboxSpec) -> Image:
    """The image that a sandbox is made of.

    Raises:
        MissingComponent: It is not there.
    """
    if not recipes.is_recipe(spec.image):
        found = engine.image(str(spec.image))
        if found is None:
            raise MissingComponent(
                f"the Docker engine has no image {spec.image!r}, and no recipe has that name: "
                f"discovery image build --dockerfile PATH --tag {spec.image}"
            )
        return found
    recipe = spec.image or recipes.DEFAULT
    found = engine.image(images.tag(recipe, spec.packages))
    if found is None:
        command = " ".join(["discovery image build", recipe, *spec.packages])
        raise MissingComponent(
            f"the Docker engine has no up-to-date image of the recipe {recipe!r}: {command}"
        )
    return found


def _name(spec: SandboxSpec) -> str:
    return f"{_PREFIX}{_UNNAMABLE.sub('-', spec.label)[:60]}-{secrets.token_hex(4)}"


@contextmanager
def _meeting_place() -> Iterator[tuple[Path, socket.socket]]:
    """A folder with the zygote's files and a socket that listens, for as long as a zygote comes to meet us."""
    with ExitStack() as stack:
        outer = Path(tempfile.mkdtemp(prefix=_PREFIX))
        stack.callback(shutil.rmtree, outer, ignore_errors=True)
        (outer / _OWNER_FILE).write_text(this_owner())
        folder = outer / "zygote"
        folder.mkdir()
        for path in zygote_files():
            shutil.copyfile(path, folder / path.name)
            (folder / path.name).chmod(0o644)
        folder.chmod(0o755)
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        stack.callback(os.close, handle)
        listener.bind(f"/proc/self/fd/{handle}/{SOCKET}")  # however long the folder's own path is
        (folder / SOCKET).chmod(0o666)
        listener.listen(1)
        yield folder, listener


def _accepted(listener: socket.socket, output: Output) -> socket.socket:
    """The zygote's end of the channel, once it is there.

    Raises:
        SandboxError: It did not come; the message holds what the container said.
    """
    deadline = time.monotonic() + _START_S
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(output, select.POLLIN)
    while (left_s := deadline - time.monotonic()) > 0:
        ready = dict(poll.poll(left_s * 1000))
        if listener.fileno() in ready:
            return listener.accept()[0]
        said = output.read().decode(errors="replace").strip()
        if output.ended:
            raise SandboxError(f"the container ended at once: {said[-500:] or 'it said nothing'}")
    raise SandboxError(
        f"the container did not connect within {_START_S:g} s; the Docker engine must run on this machine and "
        f"see {tempfile.gettempdir()}"
    )


def _peer(channel: socket.socket) -> int:
    """Id of the process that connected."""
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def engine_fix() -> str:
    """How to get an engine that answers."""
    if os.environ.get("DOCKER_HOST"):
        return "set DOCKER_HOST to the address of an engine that runs, or unset it"
    if shutil.which("dockerd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin") is None:
        return "sudo apt-get install docker.io"
    if Path("/var/run/docker.sock").exists() and os.geteuid() != 0:
        return "sudo usermod -aG docker $USER, then log in again"
    return "sudo systemctl start docker"


def _elsewhere() -> str:
    return (
        f"the Docker engine at {address()} is on another machine, and sandboxes are spoken to over a local "
        "socket: unset DOCKER_HOST"
    )


def _sweep_folders() -> Iterator[Path]:
    """Remove the meeting places of processes that ended meanwhile; each that was removed."""
    for outer in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            is_left = outer.lstat().st_uid == os.geteuid() and is_dead((outer / _OWNER_FILE).read_text())
        except (OSError, ValueError):
            continue  # gone meanwhile, just being made, or not ours
        if is_left:
            shutil.rmtree(outer, ignore_errors=True)
            yield outer
