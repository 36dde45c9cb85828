"""The small requests that look after a model server: is it healthy, what does it serve, does a model answer.

Blocking, standard library only, for supervision and not for a run's completions, whose client is
:mod:`discovery.generation.endpoint`.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discovery.errors import ServerFailed
from discovery.generation.endpoint import sendable_key

_LOCAL = ("127.0.0.1", "localhost", "::1")
_ANSWER_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One model that a server lists.

    Args:
        name: What requests call it.
        root: Where its weights came from, if the server says.
        parent: Name of its base model; None for a base model itself.
        context_tokens: Longest prompt with completion, in tokens, if the server says.
    """

    name: str
    root: str | None = None
    parent: str | None = None
    context_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortAnswer:
    """What a model said to a short request.

    Args:
        text: Beginning of its answer; None where it was still reasoning.
        reasons: Whether the server told its reasoning apart.
    """

    text: str | None
    reasons: bool


class Probe:
    """Asks one server.

    Args:
        root: Its URL without ``/v1``.
        timeout_s: Deadline of a request that computes nothing, in seconds.
        answer_s: Deadline of one that does, in seconds; the first of a server may compile.
    """

    def __init__(self, root: str, *, timeout_s: float = 5.0, answer_s: float = 120.0) -> None:
        self.root = root.rstrip("/").removesuffix("/v1")
        self._timeout_s = timeout_s
        self._answer_s = answer_s

    def healthy(self) -> bool:
        """Whether it says that it is well."""
        try:
            self._ask("GET", "/health", None, self._timeout_s)
        except ServerFailed:
            return False
        return True

    def cards(self) -> list[Card]:
        """What it serves.

        Raises:
            ServerFailed: It does not answer, or with no list of models.
        """
        listed = self._ask("GET", "/v1/models", None, self._timeout_s)
        data = listed.get("data") if isinstance(listed, Mapping) else None
        if not isinstance(data, list):
            raise ServerFailed(f"{self.root}/v1/models is no list of models; what answers there?")
        return [
            Card(
                name=str(card.get("id")),
                root=card.get("root"),
                parent=card.get("parent"),
                context_tokens=card.get("max_model_len"),
            )
            for card in data
            if isinstance(card, dict)
        ]

    def version(self) -> str | None:
        """Its version, if it says."""
        try:
            found = self._ask("GET", "/version", None, self._timeout_s)
        except ServerFailed:
            return None
        return str(found["version"]) if isinstance(found, dict) and found.get("version") else None

    def answer(self, model: str) -> ShortAnswer:
        """Have a model begin an answer.

        Raises:
            ServerFailed: It does not.
        """
        messages = [{"role": "user", "content": "Write a short program."}]
        body = {"model": model, "messages": messages, "max_tokens": _ANSWER_TOKENS, "temperature": 0.0}
        found = self._ask("POST", "/v1/chat/completions", body, self._answer_s)
        try:
            choice = found["choices"][0]
            message, reason = choice["message"], choice.get("finish_reason")
        except (TypeError, KeyError, IndexError) as error:
            raise ServerFailed(f"{self.root}: {model} answered without a choice") from error
        if reason not in ("stop", "length"):
            raise ServerFailed(f"{self.root}: {model} ended its answer with {reason!r}")
        reasoning = message.get("reasoning") or message.get("reasoning_content")
        return ShortAnswer(text=message.get("content"), reasons=bool(reasoning))

    def load_adapter(self, name: str, folder: str) -> None:
        """Load an adapter from a folder that the server sees.

        Raises:
            ServerFailed: It refuses; its other models are as before.
        """
        body = {"lora_name": name, "lora_path": folder}
        try:
            self._ask("POST", "/v1/load_lora_adapter", body, self._answer_s)
        except ServerFailed as error:
            cause = error.__cause__
            if isinstance(cause, urllib.error.HTTPError) and str(error).endswith("404: Not Found"):
                raise ServerFailed(
                    f"{self.root} takes no adapters while it runs; start it with `discovery serve MODEL --lora`, "
                    "or with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and --enable-lora"
                ) from error
            raise

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter.

        Raises:
            ServerFailed: It refuses, or has none of that name.
        """
        self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name}, self._answer_s)

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None, timeout_s: float) -> Any:
        key = sendable_key(os.environ.get("VLLM_API_KEY") or os.environ.get("OPENAI_API_KEY"))
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        data = None if body is None else json.dumps(body).encode()
        url = self.root + path
        try:
            request = urllib.request.Request(url, data=data, headers=headers, method=method)
            with self._opener().open(request, timeout=timeout_s) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                said = _message(error.read(4096))
            raise ServerFailed(f"{url} answers {error.code}: {said or error.reason}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ServerFailed(f"{url} does not answer: {reason}") from error
        try:
            return json.loads(text) if text.strip() else None
        except ValueError:
            return text.decode(errors="replace")

    def _opener(self) -> urllib.request.OpenerDirector:
        # A proxy that the environment names is for the world outside, never for this machine.
        if urllib.parse.urlsplit(self.root).hostname in _LOCAL:
            return urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return urllib.request.build_opener()


def _message(body: bytes) -> str:
    """What an error says, in one line."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        return " ".join(text.split())[:300]
    if isinstance(found, dict):
        inner = found.get("error", found.get("detail", found))
        found = inner.get("message", inner) if isinstance(inner, dict) else inner
    return " ".join(str(found).split())[:500]


def find_card(cards: Sequence[Card], name: str) -> Card | None:
    """The model of a name among those that a server lists; None when it is not served."""
    return next((card for card in cards if card.name == name), None)
