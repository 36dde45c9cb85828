"""The forms of an answer: a stream of events, or one document, with the fields that vLLM gives them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from discovery.training.engine.asked import Asked
from discovery.training.engine.decoding import Piece

DONE = b"data: [DONE]\n\n"


class Answer:
    """One answer in the making.

    Args:
        request: What was asked.
        model: Name of what answers.
        prompt: Ids of the prompt.
    """

    def __init__(self, request: Asked, model: str, prompt: Sequence[int]) -> None:
        self._request = request
        self._prompt = list(prompt)
        kind = "chat.completion.chunk" if request.streamed else "chat.completion"
        self._head: Mapping[str, Any] = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": kind,
            "created": int(time.time()),
            "model": model,
        }
        self._pieces: dict[int, list[Piece]] = {index: [] for index in range(request.count)}
        self.tokens = 0
        """Tokens of all choices so far."""

    def opening(self) -> Iterator[bytes]:
        """The first event of each choice, with the ids of the prompt where they were asked for."""
        more = {"prompt_token_ids": self._prompt} if self._request.ids else {}
        for index in range(self._request.count):
            delta = {"role": "assistant", "content": ""}
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
            yield self._event([choice], **more)

    def event(self, piece: Piece) -> bytes:
        """The event of a piece."""
        self.tokens += len(piece.ids)
        choice = {
            "index": piece.index,
            "delta": {"content": piece.text} if piece.text else {},
            "logprobs": self._logprobs([piece]),
            "finish_reason": piece.finish_reason,
            "stop_reason": piece.stop_reason,
        }
        if self._request.ids:
            choice["token_ids"] = list(piece.ids)
        return self._event([choice])

    def closing(self) -> bytes:
        """What comes after the last piece."""
        usage = self._event([], usage=self._usage()) if self._request.usage else b""
        return usage + DONE

    def add(self, piece: Piece) -> None:
        """Take in a piece of a document."""
        self.tokens += len(piece.ids)
        self._pieces[piece.index].append(piece)

    def document(self) -> dict[str, Any]:
        """All choices as one document."""
        return {
            **self._head,
            "choices": [self._whole(index, pieces) for index, pieces in self._pieces.items()],
            "usage": self._usage(),
            "prompt_token_ids": self._prompt if self._request.ids else None,
        }

    def _whole(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        last = pieces[-1]
        return {
            "index": index,
            "message": {"role": "assistant", "content": "".join(piece.text for piece in pieces)},
            "logprobs": self._logprobs(pieces),
            "finish_reason": last.finish_reason,
            "stop_reason": last.stop_reason,
            "token_ids": [token for piece in pieces for token in piece.ids] if self._request.ids else None,
        }

    def _logprobs(self, pieces: Sequence[Piece]) -> dict[str, Any] | None:
        if not self._request.logprobs:
            return None
        return {
            "content": [
                {"token": name, "logprob": logprob, "bytes": list(name.encode()), "top_logprobs": []}
                for piece in pieces
                for name, logprob in zip(piece.names, piece.logprobs, strict=True)
            ]
        }

    def _usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": len(self._prompt),
            "total_tokens": len(self._prompt) + self.tokens,
            "completion_tokens": self.tokens,
        }

    def _event(self, choices: Sequence[Mapping[str, Any]], **more: Any) -> bytes:
        return event({**self._head, "choices": choices, **more})


def event(payload: Mapping[str, Any]) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(payload, separators=(",", ":"), allow_nan=False).encode() + b"\n\n"
