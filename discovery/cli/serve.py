"""``discovery serve`` and ``publish``: a model's server, and new weights for it."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from discovery.cli.app import app, err, out, print_json, program
from discovery.cli.serving import (
    build_for,
    default_name,
    match,
    named_model,
    port_is_free,
    refuse_adapter,
    say,
    started_server,
)
from discovery.errors import ConfigError, ServerFailed, UsageError
from discovery.generation.adapters import Published, publish_adapter
from discovery.generation.control import ServerRecord, ask_to_publish, homes, running_servers
from discovery.generation.probe import Probe
from discovery.generation.server import SHELF, Care, ModelServer, Serving
from discovery.generation.vllm import (
    DEFAULT_PORT,
    LOOPBACK,
    RANKS,
    VLLM,
    AdapterRoom,
    Build,
    ServeOptions,
)
from discovery.generation.weights import Kind

_LOOK_S = 0.5


@app.command
def serve(
    model: str,
    *extra: str,
    port: int = DEFAULT_PORT,
    host: str = LOOPBACK,
    name: str | None = None,
    lora: Annotated[bool, Parameter(negative=())] = False,
    max_lora_rank: int | None = None,
    max_loras: int | None = None,
    max_model_len: int | None = None,
    gpu_memory: float | None = None,
    vllm: str | None = None,
    engine: str | None = None,
    start_timeout: float = 1800.0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Serve a model for runs, by vLLM unless told otherwise, and look after the server until Ctrl-C.

    Args:
        model: Folder of a model, or its name on the Hugging Face Hub.
        extra: After `--`: further arguments of `vllm serve`, which win.
        port: Port.
        host: Address to listen on; only this machine reaches the default.
        name: What requests call the model [the folder's name].
        lora: Take adapters while it runs (`discovery publish`).
        max_lora_rank: Largest rank of an adapter [64]; implies --lora.
        max_loras: Adapters in one batch [2]; implies --lora.
        max_model_len: Longest prompt with its completion, in tokens [the model's].
        gpu_memory: Share of the GPU's memory to use, 0 to 1 [vLLM's own, 0.92].
        vllm: The vllm program [$DISCOVERY_VLLM, else the one installed].
        engine: vllm, or torch: a small engine of this package for models that a processor can run [vllm].
        start_timeout: Longest start, in seconds.
        json: Print one JSON object on standard output when it is ready, nothing else.
    """
    refuse_adapter(named_model(model))
    if extra and not extra[0].startswith("-"):
        raise ConfigError(
            f"{extra[0]!r}: further arguments are options of vllm serve, after --: -- --dtype float16"
        )
    options = ServeOptions(
        model=model,
        name=name or default_name(model),
        host=host,
        port=port,
        adapters=_room(lora, max_lora_rank, max_loras),
        context_tokens=max_model_len,
        gpu_memory=gpu_memory,
        extra=extra,
    )
    if not start_timeout > 0:
        raise ConfigError(f"--start-timeout {start_timeout:g}: it must be above 0, in seconds")
    if not port_is_free(host, port):
        return _taken(options, json)
    build = build_for(options, engine, vllm)
    try:
        with (
            _ended_by_signals(),
            started_server(options, build=build, care=Care(start_s=start_timeout)) as (
                server,
                serving,
            ),
        ):
            _show(serving, server, build, json)
            while server.failure is None:
                time.sleep(_LOOK_S)
            raise server.failure
    except KeyboardInterrupt:
        err.print("stopped")
        return 0


@app.command
def publish(
    folder: Path, *, server: str | None = None, json: Annotated[bool, Parameter(negative=())] = False
) -> int:
    """Give a running server new weights: an adapter beside its model, or a checkpoint in its place.

    They are checked before the server is touched, and verified by a request; when that fails, the old ones serve on.

    Args:
        folder: Of a checkpoint, or of a LoRA adapter.
        server: URL of the server or name of its model [the only one of `discovery serve`].
        json: Print one JSON object on standard output, nothing else.
    """
    record = _chosen(server)
    if record is not None:
        published = ask_to_publish(record, folder, say)
    else:
        assert server is not None
        published = publish_adapter(folder, server, homes() / SHELF)
    if json:
        print_json(
            {
                "kind": published.kind.value,
                "model": published.model,
                "revision": published.revision,
                "url": published.url,
                "seconds": round(published.seconds, 3),
            }
        )
    else:
        _say_published(published)
    return 0


def _room(lora: bool, rank: int | None, count: int | None) -> AdapterRoom | None:
    if not lora and rank is None and count is None:
        return None
    default = AdapterRoom()
    if rank is not None:
        rank = next((known for known in RANKS if rank <= known), rank)
    return AdapterRoom(rank=rank or default.rank, count=default.count if count is None else count)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and a closed terminal end it as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}  # nohup
    for number in before:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _taken(options: ServeOptions, json: bool) -> int:
    """What to do about a port that somebody listens on."""
    probe = Probe(options.root)
    what = "something that is no model server"
    try:
        cards = probe.cards()
        card = match(cards, str(options.folder or options.model), options.name)
        if card is None:
            what = "a server of " + (", ".join(card.name for card in cards[:5]) or "nothing")
    except ServerFailed:
        card = None
    if card is None:
        raise UsageError(f"port {options.port} is taken by {what}; name another: --port {options.port + 1}")
    if json:
        print_json({"url": options.url, "model": card.name, "root": card.root, "already": True})
        return 0
    out.print(f"{card.name} is served already at {options.url}", markup=False)
    out.print(f"  {_run_command(options.url, card.name)}", markup=False)
    return 0


def _run_command(url: str, name: str) -> str:
    return f"{program()} run PROBLEM --base-url {url} --model {shlex.quote(name)}"


def _show(serving: Serving, server: ModelServer, build: Build, json: bool) -> None:
    if json:
        print_json(
            {
                "url": serving.url,
                "model": serving.name,
                "root": serving.root,
                "context_tokens": serving.context_tokens,
                "reasons": serving.reasons,
                "adapters": list(serving.adapters),
                "takes_adapters": serving.takes_adapters,
                "version": serving.version,
                "engine": build.engine,
                "pid": server.pid,
                "log": str(server.log),
                "already": False,
            }
        )
        return
    context = f"{serving.context_tokens:,} tokens" if serving.context_tokens else "not told"
    lines = [
        f"{serving.name} is served at {serving.url} ({replace(build, version=serving.version).title})",
        f"  weights    {serving.root or 'not told'}",
        f"  context    {context}",
        f"  reasoning  {'told apart from answers' if serving.reasons else 'none in a first answer'}",
        f"  adapters   {_adapters(server.options, build)}",
        f"  log        {server.log}",
        f"  a run      {_run_command(serving.url, serving.name)}",
        f"  training   {program()} publish FOLDER",
    ]
    if server.options.host != LOOPBACK:
        lines.append(
            f"  reached    from wherever {server.options.host} is; without -- --api-key KEY by anybody there"
        )
    for line in lines:
        out.print(line, markup=False)
    err.print("Ctrl-C stops it.")


def _adapters(options: ServeOptions, build: Build) -> str:
    """Which adapters a server takes, in words."""
    if options.adapters is not None:
        return f"up to rank {options.adapters.rank}"
    return (
        "none; --lora takes them" if build.engine == VLLM else "none; `discovery publish` takes whole models"
    )


def _chosen(server: str | None) -> ServerRecord | None:
    """The server of ours that is meant; None when it is the URL of another one.

    Raises:
        UsageError: There is none, or several.
    """
    records = running_servers()
    listed = "; ".join(f"{record.name} at {record.url}" for record in records)
    if server is None:
        if len(records) == 1:
            return records[0]
        if records:
            raise UsageError(f"{len(records)} servers run ({listed}); name one: --server URL")
        raise UsageError(
            "no server runs here; start one: discovery serve MODEL, or name another's: --server URL"
        )
    where = _address(server)
    chosen = [r for r in records if server == r.name or where == _address(r.url)]
    if len(chosen) == 1:
        return chosen[0]
    if where is None or chosen:
        raise UsageError(f"--server {server}: {listed or 'no server'} runs here; name one by its URL")
    return None


def _address(url: str) -> tuple[str, int] | None:
    """Host and port of a URL; None when it is none."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return None
        host = LOOPBACK if parts.hostname == "localhost" else parts.hostname
        return host, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None


def _say_published(published: Published) -> None:
    took = f"after {published.seconds:.1f} s, as {Path(published.revision).name}"
    if published.kind is Kind.ADAPTER:
        out.print(f"the adapter is served {took}", markup=False)
    else:
        out.print(f"{published.model} is served with the new weights {took}", markup=False)
    out.print(f"  {_run_command(published.url, published.model)}", markup=False)
