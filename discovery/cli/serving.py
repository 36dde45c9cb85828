"""A model's server for one command: one that runs already, or one of its own that ends with it."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.markup import escape

from discovery.cli.app import err
from discovery.config import RunConfig
from discovery.errors import ConfigError, ServerFailed, UsageError
from discovery.generation.control import Control, enrolled, running_servers
from discovery.generation.probe import Card, Probe
from discovery.generation.server import Care, ModelServer, Serving
from discovery.generation.vllm import DEFAULT_PORT, LOOPBACK, VLLM, Build, ServeOptions, find_build
from discovery.generation.weights import Kind, read_weights
from discovery.launch import checked, evaluator_for
from discovery.plugins import load_problem
from discovery.prices import PriceTable
from discovery.sandbox.base import SandboxBackend

_LOOK_S = 0.5
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model that is served already.

    Args:
        url: Base URL of the server.
        name: What requests call the model.
        root: Where its weights came from, if the server says.
    """

    url: str
    name: str
    root: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run's model is served.

    Args:
        model: As the user named it.
        options: How to serve it; None where a server that runs already does.
        build: What to serve it by.
    """

    model: str
    options: ServeOptions | None
    build: Build | None = None

    @property
    def hint(self) -> str:
        """What to add to a command that goes on with the run."""
        engine = f" --engine {self.build.engine}" if self.build and self.build.engine != VLLM else ""
        return f" --serve {shlex.quote(self.model)}{engine}"

    @property
    def note(self) -> str:
        """What else would do instead."""
        return "\n  or, where another server serves the model, with --base-url URL instead of --serve"


def say(line: str) -> None:
    """Tell what a server does, on standard error."""
    err.print(f"[dim]server:[/] {escape(line)}")


def named_model(model: str) -> Path | None:
    """The folder that a model's name stands for; None when it is the name of a model elsewhere.

    Raises:
        UsageError: It is a path, and there is no whole model.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        read_weights(path)
        return path.absolute()
    if path.exists():
        raise UsageError(f"{model} is a file; name the folder of a model, with its config.json")
    if not _HUB_NAME.fullmatch(model):
        raise UsageError(
            f"{model!r} is no folder; name the folder of a model, or a model on the Hugging Face Hub"
        )
    return None


def refuse_adapter(folder: Path | None) -> None:
    """Refuse to start a server for an adapter, which needs the model that it was made for.

    Args:
        folder: Of whole weights; None for a model elsewhere.

    Raises:
        UsageError: It holds an adapter.
    """
    if folder is None or (weights := read_weights(folder)).kind is not Kind.ADAPTER:
        return
    base = weights.config.get("base_model_name_or_path") or "ITS-MODEL"
    raise UsageError(
        f"{folder} is an adapter, not a model; serve the model that it is for, then publish it: "
        f"discovery serve {shlex.quote(str(base))} --lora, and discovery publish {shlex.quote(str(folder))}"
    )


def default_name(model: str) -> str:
    """What requests call a model unless told otherwise: its folder's name, or its own."""
    folder = named_model(model)
    return folder.resolve().name if folder is not None else model


def match(cards: list[Card], model: str, name: str | None = None) -> Card | None:
    """The card of a model among those that a server lists.

    Args:
        cards: What it lists.
        model: A folder, or a name.
        name: What requests call it, if that is settled.
    """
    folder = Path(model).expanduser()
    for card in cards:
        same_folder = (
            folder.is_dir() and card.root is not None and Path(card.root).resolve() == folder.resolve()
        )
        if name in (None, card.name) and (same_folder or model in (card.name, card.root)):
            return card
    return None


def find_served(model: str, name: str | None = None) -> Found | None:
    """A server that serves a model: one of ``discovery serve``, ``$OPENAI_BASE_URL``, or the default port.

    One of ours that is still starting is waited for.

    Args:
        model: A folder, or a name.
        name: What requests must call it; None for anything.
    """
    folder = Path(model).expanduser()
    named = str(folder.absolute()) if folder.is_dir() else model
    for record in running_servers():
        if (named != record.model and model != record.name) or name not in (None, record.name):
            continue
        probe = Probe(record.url)
        said = False
        while not probe.healthy() and record in running_servers():
            if not said:
                say(f"waiting for {record.name} at {record.url}, which does not answer yet")
            said = True
            time.sleep(_LOOK_S)
        if probe.healthy():
            return Found(url=record.url, name=record.name)
    for url in (os.environ.get("OPENAI_BASE_URL"), f"http://{LOOPBACK}:{DEFAULT_PORT}/v1"):
        if not url:
            continue
        try:
            card = match(Probe(url).cards(), model, name)
        except ServerFailed:
            continue
        if card is not None:
            return Found(url=url, name=card.name, root=card.root)
    return None


def port_is_free(host: str, port: int) -> bool:
    """Whether a port can be listened on; one that is only lingering is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def place_model(
    config: RunConfig, model: str, prices: PriceTable, *, engine: str | None = None
) -> tuple[RunConfig, Place]:
    """Settle where a run's model is served; nothing is started.

    Args:
        config: The run's; its model name, if it has one, is what requests call the model.
        model: A folder, or a name.
        prices: The user's table.
        engine: What serves it where nothing does yet, vLLM unless named.

    Returns:
        The configuration with the server's URL and the model's name, and where that is.

    Raises:
        UsageError: There is no such model or problem, or vLLM is not there to serve it.
    """
    name = config.generator.model
    checked(_asking(config, f"http://{LOOPBACK}:{DEFAULT_PORT}/v1", name), prices)  # all but the server
    found = find_served(model, name)
    if found is not None:
        say(f"{found.name} is served at {found.url}")
        return _asking(config, found.url, found.name), Place(model=model, options=None)
    refuse_adapter(named_model(model))
    options = ServeOptions(model=model, name=name or default_name(model), port=_any_port())
    build = build_for(options, engine)
    return _asking(config, options.url, options.name), Place(model=model, options=options, build=build)


def build_for(options: ServeOptions, engine: str | None, vllm: str | None = None) -> Build:
    """The program that serves a model.

    Args:
        options: The model, and how to serve it.
        engine: What it is to be, vLLM unless named.
        vllm: The ``vllm`` program, if it was named.

    Raises:
        ConfigError: The engine cannot do what is asked for.
        MissingComponent: It is not there.
    """
    build = find_build(vllm, engine=engine or VLLM)
    if build.engine == VLLM:
        return build
    for option, value in (("--lora", options.adapters), ("--gpu-memory", options.gpu_memory)):
        if value is not None:
            raise ConfigError(f"{option} is for vLLM, and --engine {build.engine} takes none; leave it out")
    if options.folder is None:
        raise UsageError(f"{options.model} is no folder, and --engine {build.engine} serves folders only")
    return build


def _asking(config: RunConfig, url: str, model: str | None) -> RunConfig:
    """A configuration whose generator asks one server."""
    return replace(config, generator=replace(config.generator, kind="openai", base_url=(url,), model=model))


def refuse_other_servers(base_url: list[str] | None, generator: str | None) -> None:
    """Refuse options that contradict ``--serve``.

    Raises:
        ConfigError: One is given.
    """
    if base_url:
        raise ConfigError(
            f"--base-url {base_url[0]} names a server, and --serve starts one; leave one of them out"
        )
    if generator not in (None, "openai"):
        raise ConfigError(
            f"--serve is for a model, and --generator {generator} has none; leave one of them out"
        )


def refuse_engine(engine: str | None, model: str | None) -> None:
    """Refuse the name of an engine where there is no model to serve.

    Raises:
        ConfigError: One is named.
    """
    if engine is not None and model is None:
        raise ConfigError(f"--engine {engine} is for a model that is to be served; name it by --serve MODEL")


@contextmanager
def served(place: Place | None, config: RunConfig, backend: SandboxBackend) -> Iterator[None]:
    """Have a run's model served while the body runs.

    Everything else that a run needs is looked at before, since a large model takes minutes to start.

    Args:
        place: Where; None when that is not ours to see to.
        config: The run's.
        backend: Its sandboxes.

    Raises:
        SandboxError: The sandbox does not work; no server was started.
        InsufficientIsolation: It holds too little; no server was started.
        ServerFailed: The server does not start.
    """
    if place is None or place.options is None:
        yield
        return
    asyncio.run(_try_sandbox(config, backend))
    with started_server(place.options, build=place.build or find_build()) as (server, serving):
        say(f"{serving.name} is served at {serving.url} until this ends; its log: {server.log}")
        yield
        say("stopping the model server")


@contextmanager
def started_server(
    options: ServeOptions, *, build: Build, care: Care | None = None
) -> Iterator[tuple[ModelServer, Serving]]:
    """A model server that others find and may ask for new weights, while the body runs.

    Args:
        options: What to serve.
        build: The program.
        care: How it is looked after.

    Yields:
        The server, and what it serves.
    """
    with enrolled(options) as home, ModelServer(build, options, home, say=say, care=care) as server:
        say(f"starting {build.title} for {options.model} (log: {server.log})")
        serving = server.start()
        with Control(server):
            yield server, serving


async def _try_sandbox(config: RunConfig, backend: SandboxBackend) -> None:
    async with evaluator_for(load_problem(config.problem), backend, require=config.sandbox.require):
        pass


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
