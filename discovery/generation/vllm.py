"""The programs that serve: where they are, and the command and environment that make them serve a model for runs.

vLLM is the one for real models. For models that a processor can run there is a small one in this package, the torch
engine (:mod:`discovery.training.engine`), which takes vLLM's arguments and answers as it does.

What is set, and why (looked up in vLLM 0.32.0):

- ``--generation-config vllm``. By default a model's ``generation_config.json`` silently sets every sampling parameter
  that a request leaves out (``top_k``, ``repetition_penalty``, ..., even a cap on tokens). What is stored with a
  completion would then not be what was used. Stop tokens are still taken from that file.
- ``--stream-interval``: only whole choices matter to a run, so tokens are streamed in batches.
- ``--enable-prompt-tokens-details``: cached prompt tokens are not told without it.
- ``--shutdown-timeout``: a server that is told to end answers what is in flight first, and takes nothing new. It ends
  at once when nothing is; whoever tells it decides how long that may take, up to :data:`DRAIN_S`.
- No ``--max-num-queued-reqs``: it counts every choice, so that one request with more choices than it allows could
  never be served, whenever it is sent. The run's gate follows the server's queue instead.
- ``VLLM_SYSTEM_START_DATE``: gpt-oss has the date in its system prompt. With today's, equal prompts would differ, and
  miss the prefix cache, from one day to the next.
- The endpoints of vLLM's development mode stay off. Its reload in place can serve mixed weights (a prefix cache
  computed by the old ones), and ends the server when a folder is bad.

The reasoning parser of gpt-oss is set by vLLM itself; for other models it is passed on: ``-- --reasoning-parser
NAME``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from discovery import __version__
from discovery.errors import ConfigError, MissingComponent
from discovery.generation.fields import TOKENS_PER_EVENT

PROGRAM = "DISCOVERY_VLLM"
"""Environment variable: the ``vllm`` program."""
LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8000
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Largest adapter ranks that vLLM can be started with."""

VLLM, TORCH = ENGINES = ("vllm", "torch")
"""What serves: vLLM, or the small engine of this package."""

DRAIN_S = 60
"""Longest time that a server which was told to end answers what is in flight, in seconds."""

_START_DATE = "2025-08-05"
_CPU_CACHE_GIB = 4
_ENGINE_MODULE = "discovery.training.engine"
_INSTALL = (
    "on a machine with a GPU: {pip} install 'discovery-loop[vllm]'; without one, for small models: --engine torch; "
    "for trials of vLLM: make vllm"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterRoom:
    """What a server can hold beside its model.

    Args:
        rank: Largest rank of an adapter, one of :data:`RANKS`.
        count: How many adapters may be in one batch, at least 1; each costs memory.
    """

    rank: int = 64
    count: int = 2

    def __post_init__(self) -> None:
        if self.rank not in RANKS:
            ranks = ", ".join(map(str, RANKS))
            raise ConfigError(f"--max-lora-rank {self.rank}: vLLM knows {ranks}; take the next larger one")
        if self.count < 1:
            raise ConfigError(f"--max-loras {self.count}: there must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What to serve, and how.

    Args:
        model: Folder of a checkpoint, or a name that vLLM downloads.
        name: What requests call it.
        host: Address to listen on.
        port: Port to listen on.
        adapters: Room for adapters; None for a server that takes none.
        context_tokens: Longest prompt with its completion, in tokens; None leaves it to the model.
        gpu_memory: Share of the GPU's memory to use, above 0 to 1; None leaves it to vLLM.
        extra: Further arguments of ``vllm serve``, which win over ours.
    """

    model: str
    name: str
    host: str = LOOPBACK
    port: int = DEFAULT_PORT
    adapters: AdapterRoom | None = None
    context_tokens: int | None = None
    gpu_memory: float | None = None
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise ConfigError(f"--port {self.port}: it must be 1 to 65535")
        if self.gpu_memory is not None and not 0 < self.gpu_memory <= 1:
            raise ConfigError(f"--gpu-memory {self.gpu_memory:g}: it is a share, above 0 to 1")
        if self.context_tokens is not None and self.context_tokens < 1:
            raise ConfigError(f"--max-model-len {self.context_tokens}: it must be at least 1")

    @property
    def root(self) -> str:
        """Where this machine reaches the server."""
        host = LOOPBACK if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def url(self) -> str:
        """Its base URL for clients on this machine."""
        return f"{self.root}/v1"

    @property
    def folder(self) -> Path | None:
        """The folder of the model, or None when it is a name."""
        path = Path(self.model).expanduser()
        return path.absolute() if path.is_dir() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """A program that serves, and what it was built for.

    Args:
        program: The program; for the torch engine, the interpreter that runs it.
        version: Its version; None when its package is not beside it.
        engine: One of :data:`ENGINES`.
    """

    program: Path
    version: str | None
    engine: str = VLLM

    @property
    def title(self) -> str:
        """What it is, for people."""
        name = "vLLM" if self.engine == VLLM else "the torch engine"
        return f"{name} {self.version or 'of unknown version'}"

    @property
    def is_cpu(self) -> bool:
        """Whether it was built for processors alone."""
        return self.engine == VLLM and self.version is not None and "cpu" in self.version.partition("+")[2]


def find_build(given: str | None = None, *, engine: str = VLLM) -> Build:
    """The ``vllm`` program: the one named, ``$DISCOVERY_VLLM``, beside this interpreter, or on the path.

    Args:
        given: Its path, if the user named one.
        engine: One of :data:`ENGINES`; the torch engine comes with this package.

    Raises:
        ConfigError: There is no such engine, or a program was named for one that has none.
        MissingComponent: There is none, or what was named is no program.
    """
    if engine not in ENGINES:
        raise ConfigError(f"--engine {engine}: it must be one of {', '.join(ENGINES)}")
    if engine == TORCH:
        return _torch_engine(given)
    for source, named in (("--vllm", given), (PROGRAM, os.environ.get(PROGRAM))):
        if named:
            found = shutil.which(str(Path(named).expanduser()))
            if found is None:
                raise MissingComponent(
                    f"{source} {named} is no program that can be run; name the `vllm` program itself"
                )
            return Build(program=Path(found).absolute(), version=_version(Path(found)))
    beside = Path(sys.executable).parent / "vllm"
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("vllm")
    if found is None:
        raise MissingComponent(
            f"there is no `vllm` program here; {install_hint()}; or name it: export {PROGRAM}=..."
        )
    return Build(program=Path(found).absolute(), version=_version(Path(found)))


def _torch_engine(given: str | None) -> Build:
    if given is not None:
        raise ConfigError(
            f"--vllm {given} names a vLLM program, and --engine torch takes none; leave one out"
        )
    for library in ("torch", "transformers"):
        if importlib.util.find_spec(library) is None:
            raise MissingComponent(
                f"the torch engine needs {library}: {sys.executable} -m pip install 'discovery-loop[train]'"
            )
    return Build(program=Path(sys.executable), version=__version__, engine=TORCH)


def install_hint() -> str:
    """How to get vLLM, in one line, and what does without it."""
    return _INSTALL.format(pip=f"{sys.executable} -m pip")


def command(build: Build, options: ServeOptions) -> list[str]:
    """The command that serves a model.

    Args:
        build: Which vLLM.
        options: What to serve.
    """
    module = ["-m", _ENGINE_MODULE] if build.engine == TORCH else []
    given = [
        *(str(build.program), *module, "serve", str(options.folder or options.model)),
        *("--served-model-name", options.name),
        *("--host", options.host, "--port", str(options.port)),
        *("--stream-interval", str(TOKENS_PER_EVENT)),
        *("--shutdown-timeout", str(DRAIN_S)),
    ]
    if options.context_tokens is not None:
        given += ["--max-model-len", str(options.context_tokens)]
    if build.engine == TORCH:
        return [*given, *options.extra]
    given += ["--generation-config", "vllm", "--enable-prefix-caching", "--enable-prompt-tokens-details"]
    given += ["--disable-uvicorn-access-log"]
    if options.gpu_memory is not None:
        given += ["--gpu-memory-utilization", f"{options.gpu_memory:g}"]
    if options.adapters is not None:
        given += ["--enable-lora", "--max-lora-rank", str(options.adapters.rank)]
        given += ["--max-loras", str(options.adapters.count)]
    if build.is_cpu:
        # Where the prompt of a seeded choice is read in parts, vLLM winds a random generator back, which a CPU's cannot
        # do, and the engine ends.
        given += ["--enforce-eager", "--no-enable-chunked-prefill"]
        if _stored_dtype(options.folder) == "float32":
            given += ["--dtype", "float32"]  # "auto" would halve it
    return [*given, *options.extra]


def environment(build: Build, options: ServeOptions, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of that command.

    Args:
        build: Which vLLM.
        options: What to serve.
        base: The environment to begin with; what the user set there for vLLM is kept.
    """
    # The key is for clients, and the development mode's endpoints are open to whoever reaches the port.
    kept = {k: v for k, v in base.items() if k not in ("OPENAI_API_KEY", "VLLM_SERVER_DEV_MODE")}
    variables = {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
        "VLLM_SYSTEM_START_DATE": kept.get("VLLM_SYSTEM_START_DATE", _START_DATE),
    }
    if options.folder is not None:
        variables |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if options.adapters is not None:
        variables["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if build.is_cpu and options.gpu_memory is None and "VLLM_CPU_KVCACHE_SPACE" not in kept:
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(_cpu_cache_gib())  # else it takes nearly all memory
    return {**kept, **variables}


def _version(program: Path) -> str | None:
    """The version of the package that a program belongs to, without running it: that takes vLLM ten seconds."""
    for prefix in (program.absolute().parent.parent, program.resolve().parent.parent):
        for folder in sorted(prefix.glob("lib*/python3*/*-packages/vllm-*.dist-info")):
            match = re.fullmatch(r"vllm-(.+)\.dist-info", folder.name)
            if match:
                return match[1]
    return None


def _stored_dtype(folder: Path | None) -> str | None:
    if folder is None:
        return None
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None
    found = config.get("dtype", config.get("torch_dtype")) if isinstance(config, dict) else None
    return str(found) if found else None


def _cpu_cache_gib() -> int:
    """GiB for keys and values on a processor: a quarter of the memory, at most a few."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**30
    return max(1, min(_CPU_CACHE_GIB, memory // 4))
