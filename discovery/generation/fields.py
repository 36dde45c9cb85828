"""What a request asks for: the fields of its body, beside messages and model.

What is kept of a completion decides most of it. A vLLM server is asked for token ids, which it alone has, and to put
several tokens into one event; of others only what the OpenAI API knows is asked. Fields of ``sampling.extra`` go in as
they are and win over ours; one that is None leaves ours out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from discovery.config import GeneratorConfig
from discovery.generation.capabilities import Capabilities
from discovery.records import Json, text_hash

OPTIONAL = ("logprobs", "return_token_ids", "stream_interval")
"""Fields that a server may refuse and is then spared."""
TOKENS_PER_EVENT = 512
"""Only whole choices matter to a run, and each event costs: ``benchmarks/stream.py``. A stall still shows soon."""
SCHEMA_NAME = "solution"

_NOT_FOR_ANSWERS = frozenset(
    {
        *("n", "seed", "stream", "stream_options", "max_tokens", "max_completion_tokens", "min_tokens"),
        *("logprobs", "top_logprobs", "return_token_ids", "skip_special_tokens", "stop_token_ids"),
        *("reasoning_effort", "include_reasoning", "thinking_token_budget", "tools", "tool_choice"),
        *("parallel_tool_calls", "chat_template", "chat_template_kwargs", "add_generation_prompt"),
        *("continue_final_message", "add_special_tokens", "echo"),
    }
)
"""Fields of a chat that mean nothing or something else for a plain completion."""


class RequestFields:
    """Makes the bodies of requests.

    Args:
        config: Sampling, reasoning, what is kept.
        schema: JSON Schema that answers must fit; None for free text.
    """

    def __init__(self, config: GeneratorConfig, schema: Mapping[str, Json] | None = None) -> None:
        self._config = config
        self._schema = dict(schema) if schema is not None else None
        self.keeps_ids = config.keep != "text"
        self.keeps_logprobs = config.keep == "logprobs"
        self.forces = config.reasoning.answer_tokens > 0

    def recorded(self, server: Capabilities) -> dict[str, Json]:
        """What a completion records as its sampling; None stands for a field that is left out on purpose."""
        config, sampling = self._config, self._config.sampling
        own: dict[str, Json] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
        if "max_completion_tokens" not in sampling.extra:
            own["max_tokens"] = min(sampling.max_tokens, server.context_tokens or sampling.max_tokens)
        if config.reasoning.effort is not None:
            own["reasoning_effort"] = config.reasoning.effort
        if self._schema is not None:
            own["response_format"] = f"json_schema {text_hash(repr(self._schema))[:16]}"
        return {**own, **sampling.extra}

    def chat(
        self,
        server: Capabilities,
        count: int,
        seed: int,
        *,
        without: Collection[str] = (),
        max_tokens: int | None = None,
    ) -> dict[str, Json]:
        """The body of a step's request.

        Args:
            server: What it can.
            count: Choices.
            seed: Of the first one.
            without: Optional fields that it refused before.
            max_tokens: Most tokens of a choice where the configured number does not fit.
        """
        own: dict[str, Json] = {"n": count, "seed": seed, "stream_options": {"include_usage": True}}
        if self.keeps_logprobs:
            own["logprobs"] = True
        if server.is_vllm:
            own["stream_interval"] = TOKENS_PER_EVENT
            if self.keeps_ids or self.forces:
                own["return_token_ids"] = True
        own = {name: value for name, value in own.items() if name not in without}
        body = {**own, **self.recorded(server)}
        if "response_format" not in self._config.sampling.extra:
            body["response_format"] = self._response_format()
        if max_tokens is not None:
            body.pop("max_completion_tokens", None)
            body["max_tokens"] = max_tokens
        return {name: value for name, value in body.items() if value is not None}

    def answer(
        self, seed: int, *, max_tokens: int, ends: tuple[int, ...], without: Collection[str] = ()
    ) -> dict[str, Json]:
        """The body of the request for a forced answer: one choice, sampled like the first.

        Args:
            seed: Its own.
            max_tokens: Most tokens of the answer.
            ends: Tokens that end it, besides those that the server knows.
            without: Optional fields that the server refused before.
        """
        sampling = self._config.sampling
        extra = {name: value for name, value in sampling.extra.items() if name not in _NOT_FOR_ANSWERS}
        stops = [*(sampling.extra.get("stop_token_ids") or ()), *ends]
        own: dict[str, Json] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "response_format": self._response_format(),
            "stream_interval": TOKENS_PER_EVENT,
            **extra,
            "n": 1,
            "seed": seed,
            "max_tokens": max_tokens,
            "stream_options": {"include_usage": True},
            "return_token_ids": True,
            "skip_special_tokens": True,
            "stop_token_ids": stops or None,
            # A number here: so many alternatives of each token, and the token itself in any case.
            "logprobs": 0 if self.keeps_logprobs else None,
        }
        return {n: value for n, value in own.items() if value is not None and n not in without}

    def _response_format(self) -> dict[str, Json] | None:
        if self._schema is None:
            return None
        return {"type": "json_schema", "json_schema": {"name": SCHEMA_NAME, "schema": self._schema}}
