"""What the fake model server says: replies, their streamed form, and the ways in which it can go wrong."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from discovery.blocks import END, START
from discovery.generation.prompt import IMPROVE
from discovery.generation.sketch import sketch


class Trouble(StrEnum):
    """How to answer one chat request wrongly."""

    NONE = "none"
    """Properly, after all; to let a request pass before the next trouble."""
    UNAVAILABLE = "unavailable"
    """503, as vLLM when its queue is full."""
    TOO_MANY = "too_many"
    """429 with a Retry-After of 7 seconds."""
    SERVER_ERROR = "server_error"
    """500."""
    BAD_REQUEST = "bad_request"
    """400."""
    REFUSED = "refused"
    """The connection is closed without a byte."""
    STALLED = "stalled"
    """The request is taken, and nothing is ever sent."""
    STALLED_MIDWAY = "stalled_midway"
    """As above, after the first choice is complete."""
    HALF = "half"
    """The connection breaks after the first choice is complete."""
    CUT = "cut"
    """The stream ends properly as HTTP, after the first choice is complete, not saying that it is whole."""
    GARBAGE = "garbage"
    """An event that is not JSON."""
    ERROR_EVENT = "error_event"
    """An event that reports an internal error."""
    NOT_STREAMED = "not_streamed"
    """One JSON document."""
    ABORTED = "aborted"
    """Every choice is aborted, with the partial text it had."""
    ABORTED_ONE = "aborted_one"
    """The first choice is aborted, the others are whole."""
    SHORT = "short"
    """One choice, however many were asked for."""
    EMPTY = "empty"
    """No choice."""
    NO_CONTENT = "no_content"
    """All tokens went into reasoning: no content, finish reason ``length``."""
    NO_FINISH = "no_finish"
    """Choices without a finish reason."""
    NO_USAGE = "no_usage"
    """No usage at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one choice says.

    Args:
        text: Its content; None for none.
        reasoning: Its reasoning; None for none.
        finish_reason: Why it ends.
    """

    text: str | None
    reasoning: str | None = None
    finish_reason: str = "stop"


Answerer = Callable[[list[dict[str, Any]], int], Reply]
"""From a request's messages and a choice's seed to what it says."""


def perturbed(messages: list[dict[str, Any]], seed: int) -> Reply:
    """The program that the prompt asks to improve with one of its numbers changed, in a fenced block."""
    prompt = messages[-1]["content"]
    blocks = re.findall(r"^(`{3,})(\w*)\n(.*?)^\1$", prompt, re.DOTALL | re.MULTILINE)
    if not blocks:
        return Reply(text="There is no program here.")
    asked = re.search(rf"^{IMPROVE} (\d+)", prompt, re.MULTILINE)
    fence, language, program = blocks[int(asked[1]) - 1 if asked else -1]
    start = program.find("\n", program.find(START)) + 1 if START in program else 0
    end = program.rfind("\n", 0, program.find(END)) + 1 if END in program else len(program)
    part = sketch(program[start:end], language or "python")
    rng = random.Random(seed)
    numbers = [part.text[literal.start : literal.end] for literal in part.literals]
    places = [i for i, literal in enumerate(part.literals) if isinstance(literal.value, float)]
    if places:
        place = rng.choice(places)
        change = rng.gauss(0.0, 10.0 ** rng.uniform(-3.0, 0.5))
        numbers[place] = repr(round(part.literals[place].value + change, 6))
    changed = program[:start] + part.with_numbers(numbers) + program[end:]
    return Reply(text=f"One number changed.\n\n{fence}{language}\n{changed}{fence}\n")


class StreamedAnswer:
    """One answer in the making: an event stream, or the same as one document."""

    def __init__(self, body: Mapping[str, Any], writer: asyncio.StreamWriter, *, streamed: bool) -> None:
        self._body = body
        self._writer = writer
        self._streamed = streamed
        self._head = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "model": body["model"]}
        self._messages: dict[int, dict[str, Any]] = {}
        self._finish: dict[int, str | None] = {}
        self._tokens = 0

    def begin(self, count: int) -> None:
        """Send the head, and an opening event for every choice."""
        if self._streamed:
            self._writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
        for index in range(count):
            self._delta(index, {"role": "assistant", "content": ""})

    def piece(self, index: int, reply: Reply, piece: int, pieces: int) -> None:
        """Send one of the pieces of a choice."""
        delta: dict[str, Any] = {}
        for name, text in (("reasoning", reply.reasoning), ("content", reply.text)):
            if text is not None:
                part = text[len(text) * piece // pieces : len(text) * (piece + 1) // pieces]
                if part:
                    delta[name] = part
        tokens = token_count(reply)
        ids = list(range(tokens * piece // pieces, tokens * (piece + 1) // pieces))
        self._tokens += len(ids)
        extra: dict[str, Any] = {}
        if self._body.get("return_token_ids"):
            extra["token_ids"] = ids
        if self._body.get("logprobs"):
            content: list[dict[str, Any]] = [
                {"token": str(i), "logprob": -0.25, "bytes": None, "top_logprobs": []} for i in ids
            ]
            extra["logprobs"] = {"content": content}
        if delta or extra:
            self._delta(index, delta, extra)

    def finish(self, index: int, reason: str | None) -> None:
        """Send the finish reason of a choice; None sends nothing."""
        self._finish[index] = reason
        if reason is not None:
            self._delta(index, {}, {"finish_reason": reason, "stop_reason": None})

    def end(self, *, usage: bool) -> None:
        """Send usage, if asked for, and the end."""
        prompt = sum(len(str(message["content"])) for message in self._body["messages"]) // 4
        counts = {
            "prompt_tokens": prompt,
            "completion_tokens": self._tokens,
            "total_tokens": prompt + self._tokens,
        }
        if not self._streamed:
            choices = [
                {"index": index, "message": message, "finish_reason": self._finish.get(index)}
                for index, message in self._messages.items()
            ]
            document = json.dumps({**self._head, "choices": choices, "usage": counts}).encode()
            self._writer.write(response_head(200, "application/json", len(document), {}) + document)
            return
        if usage and (self._body.get("stream_options") or {}).get("include_usage"):
            self.event({**self._head, "choices": [], "usage": counts})
        self.raw(b"data: [DONE]\n\n")
        self.close()

    def close(self) -> None:
        """End the body."""
        self._writer.write(b"0\r\n\r\n")

    def event(self, payload: Mapping[str, Any]) -> None:
        """Send one event."""
        self.raw(b"data: " + json.dumps(payload).encode() + b"\n\n")

    def raw(self, data: bytes) -> None:
        """Send bytes as one chunk."""
        if self._streamed:
            self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _delta(self, index: int, delta: dict[str, Any], extra: Mapping[str, Any] | None = None) -> None:
        if not self._streamed:
            message = self._messages.setdefault(index, {"role": "assistant", "content": None})
            for name in ("content", "reasoning"):
                if delta.get(name):
                    message[name] = (message.get(name) or "") + delta[name]
            return
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **(extra or {})}
        self.event({**self._head, "choices": [choice], "usage": None})


def token_count(reply: Reply) -> int:
    """How many tokens a reply counts as."""
    return (len(reply.text or "") + len(reply.reasoning or "")) // 4 + 1


def response_head(status: int, kind: str, length: int, headers: Mapping[str, str]) -> bytes:
    """Status line and headers of a whole response."""
    lines = [f"HTTP/1.1 {status} Fake", f"Content-Type: {kind}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
