"""What the fake model server serves: its configuration, its models' cards, and adapters that come and go."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.testing.refusing import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeConfig:
    """How the server behaves.

    Args:
        slots: Choices that are generated at once.
        latency_s: Median time of one choice in its slot, in seconds; 0 for none.
        sigma: Spread of that time's logarithm.
        straggling: Share of choices that take ``straggle`` times as long.
        straggle: How many times.
        seed: Of the times.
        models: Names of what it serves.
        api_key: What it wants as a bearer token; None for nothing.
        pieces: In how many pieces a choice is streamed.
        stream_interval: Tokens of one event, or more if a request asks for more, instead of ``pieces``; None: those.
        tokens: Fill every answer up to so many tokens; 0 does not.
        most_choices: Most choices of one answer; more are not made, silently.
        most_queued: Most choices that run and wait together; a request for more is answered 503.
        context: Tokens of prompt and completion together.
        style: How the model marks its reasoning: ``harmony`` or ``think``.
        owner: Who owns the models, by their cards; other than ``vllm``, it has nothing that only vLLM has.
        unwanted: Fields of requests that it refuses.
        ignored: Fields of requests that it takes and does nothing about.
        adapters: Whether adapters can be loaded.
    """

    slots: int = 16
    latency_s: float = 0.0
    sigma: float = 0.5
    straggling: float = 0.0
    straggle: float = 4.0
    seed: int = 0
    models: tuple[str, ...] = ("fake",)
    api_key: str | None = None
    pieces: int = 4
    stream_interval: int | None = None
    tokens: int = 0
    most_choices: int = 1 << 30
    most_queued: int = 1 << 30
    context: int = 131_072
    style: str = "harmony"
    owner: str = "vllm"
    unwanted: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    adapters: bool = True

    def time_of(self, seed: int) -> float:
        """How long a choice takes in its slot, in seconds.

        Args:
            seed: The choice's.
        """
        if not self.latency_s:
            return 0.0
        rng = random.Random(f"{self.seed}:{seed}")
        time_s = rng.lognormvariate(math.log(self.latency_s), self.sigma)
        return time_s * self.straggle if rng.random() < self.straggling else time_s

    @property
    def is_vllm(self) -> bool:
        """Whether it is what vLLM is."""
        return self.owner == "vllm"


def cards(config: FakeConfig, adapters: Mapping[str, str]) -> list[dict[str, Any]]:
    """The list of models; an adapter's card has a parent and no context length.

    Args:
        config: Of the server.
        adapters: Name to path.
    """
    common = {"object": "model", "created": 0, "owned_by": config.owner}
    found: list[dict[str, Any]] = [{**common, "id": name} for name in config.models]
    if not config.is_vllm:
        return found
    for card in found:
        card |= {"root": f"/models/{card['id']}", "parent": None, "max_model_len": config.context}
    for name, path in adapters.items():
        more = {"id": name, "root": path, "parent": config.models[0], "max_model_len": None}
        found.append({**common, **more})
    return found


def load(config: FakeConfig, adapters: dict[str, str], body: Mapping[str, Any]) -> Refused | str:
    """Load an adapter.

    Args:
        config: Of the server.
        adapters: Name to path; gets the new one.
        body: The request.

    Returns:
        Why not, or words of success.
    """
    name, path = body.get("lora_name"), body.get("lora_path")
    if not name or not path:
        return Refused(status=400, message="Both 'lora_name' and 'lora_path' must be provided.")
    if name in config.models:
        return Refused(status=400, message=f"The lora adapter '{name}' conflicts with a served base model.")
    if name in adapters and not body.get("load_inplace"):
        return Refused(
            status=400,
            message=f"The lora adapter '{name}' has already been loaded. If you want to load the adapter in place, "
            "set 'load_inplace' to True.",
        )
    if not (Path(path) / "adapter_config.json").is_file():
        return Refused(status=404, message=f"Loading lora {name} failed: No adapter found for {path}")
    adapters[str(name)] = str(path)
    return f"Success: LoRA adapter '{name}' added successfully."


def unload(adapters: dict[str, str], body: Mapping[str, Any]) -> Refused | str:
    """Unload an adapter.

    Args:
        adapters: Name to path; loses it.
        body: The request.

    Returns:
        Why not, or words of success.
    """
    name = str(body.get("lora_name"))
    if adapters.pop(name, None) is None:
        return Refused(status=404, message=f"The lora adapter '{name}' cannot be found.")
    return f"Success: LoRA adapter '{name}' removed successfully."
