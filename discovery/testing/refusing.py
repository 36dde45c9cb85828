"""What the fake model server refuses, in the words of vLLM 0.32."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from discovery.testing.replies import Trouble

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
LONG = (
    "This model's maximum context length is 1024 tokens. However, your prompt contains 1030 input tokens, which "
    "exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refusal.

    Args:
        status: HTTP status.
        message: For people.
        param: The field that it is about.
        in_stream: Whether it comes as an event of an answer that begins well.
        headers: Further headers.
    """

    status: int
    message: str
    param: str | None = None
    in_stream: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def payload(self) -> dict[str, Any]:
        """The body."""
        kind = "NotFoundError" if self.status == 404 else "BadRequestError"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.status}}


def troubled(trouble: Trouble) -> Refused | None:
    """The refusal that a trouble is; None where it is another one.

    Args:
        trouble: Of the request.
    """
    if trouble is Trouble.UNAVAILABLE:
        return Refused(status=503, message="The engine is currently busy.")
    if trouble is Trouble.TOO_MANY:
        return Refused(status=429, message="Too many requests.", headers={"Retry-After": "7"})
    if trouble is Trouble.SERVER_ERROR:
        return Refused(status=500, message="Internal server error.")
    if trouble is Trouble.BAD_REQUEST:
        return Refused(status=400, message=LONG)
    return None


def refused(
    body: Mapping[str, Any],
    *,
    models: Collection[str],
    prompt: int,
    context: int,
    style: str,
    unwanted: Collection[str],
) -> Refused | None:
    """Why a request is refused; None when it is not.

    Args:
        body: The request.
        models: Names of what is served.
        prompt: Tokens of its prompt.
        context: Tokens of prompt and completion together.
        style: How the model marks its reasoning.
        unwanted: Fields that this server refuses.
    """
    if body.get("model") not in models:
        aliases = ", ".join(models)
        return Refused(
            status=404,
            message=f"The model `{body.get('model')}` does not exist. Valid aliases: {aliases}.",
            param="model",
        )
    for name in unwanted:
        if body.get(name) is not None:
            return Refused(status=400, message=f"Unrecognized request argument supplied: {name}", param=name)
    return _sampling(body) or _effort(body, style) or _length(body, prompt, context)


def _sampling(body: Mapping[str, Any]) -> Refused | None:
    count, temperature = body.get("n", 1), body.get("temperature")
    if count < 1:
        return Refused(status=400, message=f"n must be at least 1, got {count}.")
    if temperature == 0 and count > 1:
        return Refused(status=400, message=f"n must be 1 when using greedy sampling, got {count}.")
    if temperature is not None and temperature < 0:
        return Refused(status=400, message=f"temperature must be non-negative, got {temperature}.")
    if temperature is not None and temperature > 2:
        return Refused(status=400, message=f"temperature must be in [0, 2], got {temperature}.")
    if "messages" in body and not body["messages"]:
        return Refused(status=400, message="messages must not be empty", param="messages")
    asked = body.get("top_logprobs") or 0
    if asked > 20:
        message = (
            f"Requested sample logprobs of {asked}, which is greater than max allowed: 20 "
            f"(parameter=logprobs, value={asked})"
        )
        return Refused(status=400, message=message, param="logprobs", in_stream=True)
    return None


def _effort(body: Mapping[str, Any], style: str) -> Refused | None:
    effort = body.get("reasoning_effort")
    if effort is None or "messages" not in body:
        return None
    param = "reasoning_effort"
    if effort not in EFFORTS:
        known = ", ".join(map(repr, EFFORTS[:-1])) + f" or {EFFORTS[-1]!r}"
        return Refused(
            status=400,
            message=f"1 validation error:\n  'loc': 'body.{param}', 'msg': \"Input should be {known}\"",
            param=f"body.{param}",
        )
    if style != "harmony" or effort in ("low", "medium", "high"):
        return None
    if effort == "none":
        message = f"Harmony does not support {param}='none' (parameter={param})"
    else:
        message = (
            f"{param}={effort!r} is not supported by Harmony. Supported values are: high, medium, low. "
            f"(parameter={param})"
        )
    return Refused(status=400, message=message, param=param)


def _length(body: Mapping[str, Any], prompt: int, context: int) -> Refused | None:
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    most = body.get(name)
    if most is not None and most > context:
        message = (
            f"{name}={most} cannot be greater than max_model_len={context}. Please request fewer output "
            f"tokens. (parameter={name}, value={most})"
        )
        return Refused(status=400, message=message, param=name)
    if prompt > context:
        message = (
            f"This model's maximum context length is {context} tokens. However, your prompt contains {prompt} "
            "input tokens, which exceeds this limit even without any output tokens. Please reduce the length "
            f"of the input prompt. (parameter=input_tokens, value={prompt})"
        )
        return Refused(status=400, message=message, param="input_tokens")
    if prompt == context:
        message = "max_tokens must be at least 1, got 0. (parameter=max_tokens, value=0)"
        return Refused(status=400, message=message, param="max_tokens")
    return None
