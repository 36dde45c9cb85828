"""A fake ``vllm`` program, and folders of weights for it, for tests: a server's life without a model.

``vllm(folder)`` writes a program that takes the arguments of ``vllm serve``, logs what vLLM logs while it starts, and
answers as it does at the addresses that supervision asks. How it behaves lies in the weights: the field ``fake`` of a
folder's configuration, see :class:`Behaviour`. ``POST /die`` ends it with exit code 3.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any


class Behaviour(StrEnum):
    """What a server of certain weights does."""

    WELL = "well"
    """Serves them."""
    EXITS = "exits"
    """Ends while it starts, with a traceback."""
    HANGS = "hangs"
    """Starts, and never answers."""
    MUTE = "mute"
    """Is healthy, and answers no request of a model."""
    SLOW = "slow"
    """Serves them, and takes a second to end."""
    STUBBORN = "stubborn"
    """Serves them, and does not end on SIGTERM; nor does a child in a session of its own. It holds shared memory."""


def program(folder: Path) -> Path:
    """Write the program into a folder; returns its path."""
    path = folder / "vllm"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I {Path(__file__).resolve()} "$@"\n')
    path.chmod(0o755)
    return path


def write_tensors(path: Path, tensors: Mapping[str, Sequence[int]], fill: int = 0) -> None:
    """Write a safetensors file.

    Args:
        path: The file.
        tensors: Name to shape; all are of 32-bit floats.
        fill: Byte that all tensors consist of.
    """
    header, place = {}, 0
    for name, shape in tensors.items():
        size = 4
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes([fill]) * place)


def write_checkpoint(
    folder: Path, *, says: str = "", fill: int = 0, hidden: int = 4, fake: Behaviour = Behaviour.WELL
) -> Path:
    """Write a tiny whole checkpoint.

    Args:
        folder: Where to.
        says: What the model answers.
        fill: Byte that its weights consist of.
        hidden: Its width.
        fake: What a server of it does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["FakeForCausalLM"],
        "dtype": "float32",
        "hidden_size": hidden,
        "num_hidden_layers": 1,
        "vocab_size": 8,
        "fake": fake.value,
        "says": says,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    shapes = {"model.layers.0.q_proj.weight": (hidden, hidden), "lm_head.weight": (8, hidden)}
    write_tensors(folder / "model.safetensors", shapes, fill)
    return folder


def write_adapter(
    folder: Path,
    base: Path | None = None,
    *,
    says: str = "",
    rank: int = 2,
    hidden: int = 4,
    fill: int = 0,
    fake: Behaviour = Behaviour.WELL,
) -> Path:
    """Write a tiny whole LoRA adapter; arguments as for :func:`write_checkpoint`, and its base and rank."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["q_proj"],
        "bias": "none",
        "base_model_name_or_path": str(base) if base is not None else None,
        "fake": fake.value,
        "says": says,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    module = "base_model.model.model.layers.0.q_proj"
    shapes = {f"{module}.lora_A.weight": (rank, hidden), f"{module}.lora_B.weight": (hidden, rank)}
    write_tensors(folder / "adapter_model.safetensors", shapes, fill)
    return folder


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Answer as vLLM does."""
        served = self.server
        if self.path == "/health":
            self._send(200, None)
        elif self.path == "/version":
            self._send(200, {"version": "0.32.0+fake"})
        elif self.path == "/v1/models":
            base = {"id": served.name, "root": served.model, "parent": None, "max_model_len": 1024}
            cards = [base] + [
                {"id": name, "root": folder, "parent": served.name, "max_model_len": None}
                for name, folder in served.adapters.items()
            ]
            self._send(200, {"object": "list", "data": cards})
        else:
            self._send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        """Answer as vLLM does."""
        served = self.server
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if self.path == "/die":
            os._exit(3)
        if self.path == "/v1/chat/completions":
            self._chat(body)
        elif self.path == "/v1/load_lora_adapter" and served.takes_adapters:
            folder = Path(body["lora_path"])
            if not (folder / "adapter_config.json").is_file():
                return self._error(
                    404, f"Loading lora {body['lora_name']} failed: No adapter found for <path>"
                )
            served.adapters[body["lora_name"]] = str(folder)
            self._send(200, "Success")
        elif self.path == "/v1/unload_lora_adapter" and served.takes_adapters:
            if served.adapters.pop(body["lora_name"], None) is None:
                return self._error(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
            self._send(200, "Success")
        else:
            self._send(404, {"detail": "Not Found"})
        return None

    def _chat(self, body: Mapping[str, Any]) -> None:
        served = self.server
        folders = {served.name: f"{served.model}/config.json"}
        folders |= {name: f"{folder}/adapter_config.json" for name, folder in served.adapters.items()}
        if body["model"] not in folders:
            return self._error(404, f"The model `{body['model']}` does not exist.")
        config = served.configs.setdefault(folders[body["model"]], _json(Path(folders[body["model"]])))
        if config.get("fake") == Behaviour.MUTE:
            return self._error(500, "Internal server error.")
        message = {"role": "assistant", "content": config.get("says", ""), "reasoning": config.get("reasons")}
        choices = [
            {"index": index, "message": message, "finish_reason": "stop"}
            for index in range(body.get("n") or 1)
        ]
        return self._send(200, {"choices": choices})

    def _error(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "code": status}})

    def _send(self, status: int, payload: object) -> None:
        data = b"" if payload is None else json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], model: str, name: str, takes_adapters: bool) -> None:
        super().__init__(address, _Handler)
        self.model = model
        self.name = name
        self.takes_adapters = takes_adapters
        self.adapters: dict[str, str] = {}
        # Read once, as a model is: a folder that changes later changes nothing that is served.
        self.configs: dict[str, dict[str, Any]] = {f"{model}/config.json": _json(Path(model, "config.json"))}


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text()) if path.is_file() else {}
    assert isinstance(found, dict)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve as ``vllm serve`` does; unknown arguments are ignored."""
    parser = argparse.ArgumentParser(prog="vllm")
    parser.add_argument("serve")
    parser.add_argument("model")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name")
    parser.add_argument("--enable-lora", action="store_true")
    given, _ = parser.parse_known_args(arguments)
    print("(APIServer pid=1) INFO [model.py:1] Resolved architecture: FakeForCausalLM", flush=True)
    behaviour = _json(Path(given.model, "config.json")).get("fake", Behaviour.WELL)
    if behaviour == Behaviour.EXITS:
        raise ValueError("the weights cannot be loaded")
    if behaviour == Behaviour.HANGS:
        time.sleep(600)
    if behaviour == Behaviour.STUBBORN:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        memory = SharedMemory(create=True, size=1)
        tracker = resource_tracker.getfd()
        # As vLLM's workers do, the child keeps the tracker of shared memory from seeing its end.
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"],
            start_new_session=True,
            pass_fds=[tracker] if tracker is not None else [],
        )
        print(f"child {child.pid}\nmemory {memory.name}", flush=True)
    print("(Worker pid=2) INFO [runner.py:1] Starting to load model ...", flush=True)
    print(
        "Loading safetensors checkpoint shards:  50% Completed | 1/2 [00:00<?, ?it/s]\r", end="", flush=True
    )
    takes_adapters = given.enable_lora and os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") == "1"
    with _Server((given.host, given.port), given.model, given.served_model_name, takes_adapters) as server:
        if behaviour != Behaviour.STUBBORN:
            ended = threading.Timer(1.0 if behaviour == Behaviour.SLOW else 0.0, server.shutdown)
            signal.signal(signal.SIGTERM, lambda number, frame: ended.start())
        server.serve_forever(poll_interval=0.02)
        print("ended by itself", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
