"""The forms in which the fake model server answers: event streams and documents, as vLLM 0.32 was seen to send them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from discovery.testing.replies import Token, Written
from discovery.testing.vocabulary import Vocabulary
from discovery.testing.wire import response_head


class StreamedAnswer:
    """One answer in the making: an event stream, or the same as one document.

    Args:
        body: The request.
        writer: Where it goes.
        vocabulary: The model's tokens.
        prompt: Ids of the prompt's tokens.
        streamed: Whether it is a stream of events.
        ignores: Fields of the request that are not known here.
    """

    def __init__(
        self,
        body: Mapping[str, Any],
        writer: asyncio.StreamWriter,
        vocabulary: Vocabulary,
        prompt: Sequence[int],
        *,
        streamed: bool,
        ignores: Sequence[str] = (),
    ) -> None:
        self._body = {name: value for name, value in body.items() if name not in ignores}
        self._writer = writer
        self._vocabulary = vocabulary
        self._prompt = list(prompt)
        self._streamed = streamed
        self._is_chat = "messages" in body
        kind = "chat.completion.chunk" if self._is_chat else "text_completion"
        self._head = {"id": "chatcmpl-fake", "object": kind, "created": 0, "model": body["model"]}
        self._choices: dict[int, dict[str, Any]] = {}
        self._opened: set[int] = set()
        self.tokens = 0
        """Tokens of all choices so far."""
        self.reasoning = 0
        """Those of them that are reasoning."""

    def begin(self, count: int) -> None:
        """Send the head, and of a chat an opening event for every choice, each with the prompt's ids."""
        if self._streamed:
            self._writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
        for index in range(count if self._is_chat else 0):
            delta = {"role": "assistant", "content": ""}
            ids = self._prompt if self._body.get("return_token_ids") else None
            opening = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            self._send(opening, prompt_token_ids=ids, prompt_text=None)

    def piece(self, index: int, tokens: Sequence[Token], written: Written, *, is_last: bool) -> None:
        """Send some tokens of a choice; with the last ones goes why it ends, where it says."""
        self.tokens += len(tokens)
        self.reasoning += sum(token.part == "reasoning" for token in tokens)
        choice = self._chat(index, tokens) if self._is_chat else self._plain(index, tokens)
        if self._body.get("return_token_ids"):
            choice["token_ids"] = [token.id for token in tokens]
        choice["finish_reason"] = None
        if is_last and written.finish_reason is not None:
            choice |= {"finish_reason": written.finish_reason, "stop_reason": written.stop_reason}
        self._send(choice)

    def end(self, *, usage: bool) -> None:
        """Send usage, if asked for, and the end."""
        counts: dict[str, Any] = {
            "prompt_tokens": len(self._prompt),
            "total_tokens": len(self._prompt) + self.tokens,
            "completion_tokens": self.tokens,
        }
        if self.reasoning:
            counts["completion_tokens_details"] = {"reasoning_tokens": self.reasoning}
        if not self._streamed:
            ids = self._prompt if self._body.get("return_token_ids") else None
            whole = {**self._head, "choices": list(self._choices.values()), "usage": counts}
            document = json.dumps({**whole, "prompt_token_ids": ids}).encode()
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
        self.raw(b"data: " + json.dumps(payload, separators=(",", ":")).encode() + b"\n\n")

    def raw(self, data: bytes) -> None:
        """Send bytes as one chunk."""
        if self._streamed:
            self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _chat(self, index: int, tokens: Sequence[Token]) -> dict[str, Any]:
        delta: dict[str, Any] = {}
        for part in ("content", "reasoning"):
            text = "".join(token.text for token in tokens if token.part == part)
            if text:
                delta[part] = text
        logprobs = None
        if self._body.get("logprobs"):
            logprobs = {
                "content": [
                    {
                        "token": self._name(t),
                        "logprob": logprob(t.id),
                        "bytes": list(t.text.encode()),
                        "top_logprobs": [],
                    }
                    for t in tokens
                ]
            }
        return {"index": index, "delta": delta, "logprobs": logprobs}

    def _plain(self, index: int, tokens: Sequence[Token]) -> dict[str, Any]:
        skips = self._body.get("skip_special_tokens", True)
        special = self._vocabulary.special if skips else {}
        choice: dict[str, Any] = {
            "index": index,
            "text": "".join(token.text for token in tokens if token.text not in special),
            "logprobs": None,
            "stop_reason": None,
            "prompt_token_ids": None,
        }
        if self._body.get("logprobs") is not None:
            choice["logprobs"] = {
                "text_offset": [0] * len(tokens),
                "token_logprobs": [logprob(token.id) for token in tokens],
                "tokens": [self._name(token) for token in tokens],
                "top_logprobs": [{token.text: logprob(token.id)} for token in tokens],
            }
        if index not in self._opened and self._body.get("return_token_ids"):
            self._opened.add(index)
            choice["prompt_token_ids"] = self._prompt
        return choice

    def _name(self, token: Token) -> str:
        return f"token_id:{token.id}" if self._body.get("return_tokens_as_token_ids") else token.text

    def _send(self, choice: dict[str, Any], **more: Any) -> None:
        if self._streamed:
            self.event({**self._head, "choices": [choice], **more})
            return
        whole = self._choices.setdefault(choice["index"], {"index": choice["index"], "token_ids": []})
        message = whole.setdefault("message", {"role": "assistant", "content": None})
        for part, text in choice.get("delta", {}).items():
            if part != "role" and text:
                message[part] = (message.get(part) or "") + text
        whole["token_ids"] += choice.get("token_ids") or []
        whole["finish_reason"] = choice.get("finish_reason")


def logprob(token: int) -> float:
    """The log-probability that the fake model gives every token: its own, and never 0."""
    return -(token % 997 + 1) / 1000
