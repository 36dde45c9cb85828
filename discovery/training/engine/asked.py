"""What a request asks for, and why one is refused, in vLLM's words."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_UNSUPPORTED = (
    "response_format",
    "guided_json",
    "structured_outputs",
    "tools",
    "logit_bias",
    "prompt_logprobs",
)
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "repetition_penalty": (1, 1.0),
    "min_p": (0, 0.0),
    "min_tokens": (0,),
    "top_logprobs": (0,),
}
"""Fields that change what is sampled or told and that are not known here, with the values that change nothing."""
_TYPES: Mapping[str, tuple[type, ...]] = {
    "n": (int,),
    "seed": (int,),
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "max_tokens": (int,),
    "max_completion_tokens": (int,),
    "stream_interval": (int,),
    "messages": (list,),
}
_LARGEST_SEED = 2**63 - 1


class Refused(Exception):
    """A request that cannot be answered.

    Args:
        status: HTTP status.
        message: For people, in vLLM's words where it has some.
        param: The field that it is about.
    """

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param

    def payload(self) -> dict[str, Any]:
        """The body of the refusal."""
        kind = {404: "NotFoundError", 500: "InternalServerError"}.get(self.status, "BadRequestError")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.status}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn.

    Args:
        temperature: 0 takes the most likely token.
        top_p: Nucleus mass, above 0 to 1.
        top_k: Most tokens to draw from; 0 for all.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A chat completion that was asked for.

    Args:
        messages: The prompt.
        template: Further arguments of the chat template.
        count: Choices, at least 1.
        seed: Of the first; choice i has this plus i.
        sampling: How tokens are drawn.
        max_tokens: Most tokens of a choice; None for as many as fit.
        stop: Texts that end a choice.
        stop_ids: Tokens that end a choice, besides the model's own.
        ignore_end: Whether the model's own end is passed over.
        streamed: Whether the answer is a stream of events.
        interval: Tokens of one event.
        logprobs: Whether log-probabilities are told.
        ids: Whether token ids are told.
        usage: Whether a stream ends with its usage.
    """

    messages: Sequence[Mapping[str, Any]]
    template: Mapping[str, Any]
    count: int
    seed: int
    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]
    stop_ids: tuple[int, ...]
    ignore_end: bool
    streamed: bool
    interval: int
    logprobs: bool
    ids: bool
    usage: bool


def asked(body: Any, *, model: str, interval: int) -> Asked:
    """What the body of a request asks for.

    Args:
        body: As parsed.
        model: Name of what is served.
        interval: Tokens of one event where the request does not say.

    Raises:
        Refused: It is not served, or not understood.
    """
    if not isinstance(body, Mapping):
        raise Refused(400, "the body must be a JSON object")
    given = {name: value for name, value in body.items() if value is not None}
    if given.get("model", model) != model:
        raise Refused(404, f"The model `{given['model']}` does not exist. Valid aliases: {model}.", "model")
    _require_known(given)
    count, temperature = given.get("n", 1), float(given.get("temperature", 1.0))
    _require_drawable(count, temperature, given)
    stop = given.get("stop", ())
    options = given.get("stream_options") or {}
    return Asked(
        messages=given["messages"],
        template=given.get("chat_template_kwargs") or {},
        count=count,
        seed=given.get("seed", secrets.randbits(62)) & _LARGEST_SEED,
        sampling=Sampling(
            temperature=temperature, top_p=float(given.get("top_p", 1.0)), top_k=max(0, given.get("top_k", 0))
        ),
        max_tokens=given.get("max_completion_tokens", given.get("max_tokens")),
        stop=(stop,) if isinstance(stop, str) else tuple(str(each) for each in stop if each),
        stop_ids=tuple(given.get("stop_token_ids", ())),
        ignore_end=bool(given.get("ignore_eos")),
        streamed=bool(given.get("stream")),
        interval=max(1, given.get("stream_interval", interval)),
        logprobs=bool(given.get("logprobs")),
        ids=bool(given.get("return_token_ids")),
        usage=isinstance(options, Mapping) and bool(options.get("include_usage")),
    )


def room(request: Asked, prompt: int, context: int) -> int:
    """Most tokens that a choice may have.

    Args:
        request: What was asked.
        prompt: Tokens of its prompt.
        context: Tokens of prompt and choice together.

    Raises:
        Refused: There is no room.
    """
    most = request.max_tokens
    if most is not None and most > context:
        raise Refused(
            400,
            f"max_tokens={most} cannot be greater than max_model_len={context}. Please request fewer output tokens. "
            f"(parameter=max_tokens, value={most})",
            "max_tokens",
        )
    if prompt > context:
        raise Refused(
            400,
            f"This model's maximum context length is {context} tokens. However, your prompt contains {prompt} input "
            "tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input "
            f"prompt. (parameter=input_tokens, value={prompt})",
            "input_tokens",
        )
    left = context - prompt if most is None else min(most, context - prompt)
    if left < 1:
        raise Refused(400, f"max_tokens must be at least 1, got {left}. (parameter=max_tokens, value={left})")
    return left


def _require_known(given: Mapping[str, Any]) -> None:
    for name in _UNSUPPORTED:
        if given.get(name):
            raise Refused(400, f"{name} is not supported by this engine; vLLM knows it", name)
    for name, neutral in _NEUTRAL.items():
        if name in given and given[name] not in neutral:
            raise Refused(400, f"{name}={given[name]!r} is not supported by this engine; vLLM knows it", name)
    for name, types in _TYPES.items():
        if name in given and type(given[name]) not in types:
            words = " or ".join(each.__name__ for each in types)
            raise Refused(400, f"{name} must be of type {words}, got {given[name]!r}.", name)
    messages = given.get("messages")
    if not messages:
        raise Refused(400, "messages must not be empty", "messages")
    if not all(
        isinstance(each, Mapping)
        and isinstance(each.get("role"), str)
        and isinstance(each.get("content"), str)
        for each in messages
    ):
        raise Refused(400, "each of the messages must have a role and a content of text", "messages")
    stops = given.get("stop_token_ids", ())
    if not isinstance(stops, (list, tuple)) or not all(type(each) is int for each in stops):
        raise Refused(400, f"stop_token_ids must be a list of integers, got {stops!r}.", "stop_token_ids")
    if not isinstance(given.get("stop", ""), (str, list)):
        raise Refused(400, f"stop must be text or a list of texts, got {given['stop']!r}.", "stop")


def _require_drawable(count: int, temperature: float, given: Mapping[str, Any]) -> None:
    if count < 1:
        raise Refused(400, f"n must be at least 1, got {count}.", "n")
    if temperature < 0:
        raise Refused(400, f"temperature must be non-negative, got {temperature}.", "temperature")
    if temperature > 2:
        raise Refused(400, f"temperature must be in [0, 2], got {temperature}.", "temperature")
    if temperature == 0 and count > 1:
        raise Refused(400, f"n must be 1 when using greedy sampling, got {count}.", "n")
    top_p = given.get("top_p", 1.0)
    if not 0 < top_p <= 1:
        raise Refused(400, f"top_p must be in (0, 1], got {top_p}.", "top_p")
    most = given.get("max_completion_tokens", given.get("max_tokens", 1))
    if most < 1:
        raise Refused(400, f"max_tokens must be at least 1, got {most}.", "max_tokens")
