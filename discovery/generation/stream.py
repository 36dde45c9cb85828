"""Reading one streamed answer: bytes to choices that are complete.

The client library's own stream builds several typed objects per token; for thousands of tokens per completion
that is the client's whole cost. Here the lines of the event stream are parsed as JSON and folded into one
record per choice. Nothing here does input or output, and nothing of what a server sends is trusted to have
the right shape. Chat completions and plain ones are read alike: their pieces differ only in where the text lies.

An event costs much more than a token (a JSON document each, and the client library's work on a piece of body), so what
counts is how many tokens a server puts into one: ``benchmarks/stream.py`` has the figures.

Token ids and log-probabilities are one list each, of equal length, or neither: a choice whose two lists differ loses
both, and says so. Ids come as ``token_ids`` or, from servers that only know that way, as names of the form
``token_id:7`` among the log-probabilities.

Usage comes once, for the request as a whole, after the last choice. So a choice that leaves none other open
is held back until the next thing arrives; if that is the usage, it carries the prompt's tokens and whatever
completion tokens no other choice has accounted for. Other choices have a count of their own only where the
server sends token ids or logprobs. Summed over the choices of a request the counts are the server's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from discovery.budget import Tokens
from discovery.records import TokenUsage

_TOKEN_ID = "token_id:"
_MOST = 1 << 31
"""Above all token ids and counts of tokens."""
_SHOWN = 2000
"""Bytes of what is not understood: more than are shown in the end, so that a key is whole when it is looked for."""
_PROMPT_FIELD = b'"prompt_token_ids":'


class StreamBroken(Exception):
    """The stream is not what a compatible server sends, or reports an error.

    Args:
        message: What was found.
        status: The status that an error inside the stream names, if any.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One complete choice.

    Args:
        index: Its number within the request.
        text: Final text, None when there is none.
        reasoning: Reasoning text, None when there is none.
        finish_reason: As served; None when the server never says.
        stop_string: The string of ours that ended it, where the server says; None where a token did.
        tokens: What is known of its cost.
        token_ids: Ids of its tokens, where served; what was reasoning, markers and the last token among them.
        logprobs: Their log-probabilities, where served.
        misaligned: Whether as many log-probabilities as tokens did not come, so that neither is given.
    """

    index: int
    text: str | None
    reasoning: str | None
    finish_reason: str | None
    stop_string: str | None = None
    tokens: TokenUsage | None
    token_ids: tuple[int, ...] | None
    logprobs: tuple[float | None, ...] | None
    misaligned: bool = False


@dataclass(slots=True)
class _Parts:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    named_ids: list[int] = field(default_factory=list)
    logprobs: list[float | None] = field(default_factory=list)
    finish_reason: str | None = None
    stop_string: str | None = None


class AnswerReader:
    """Folds the bytes of one streamed answer into choices.

    Feed it with :meth:`feed`, then call :meth:`end` when the connection closes.

    Args:
        count: How many choices were asked for; a choice numbered outside is an error.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._rest: list[bytes] = []
        self._open: dict[int, _Parts] = {}
        self._complete: list[tuple[int, _Parts]] = []
        self._seen: set[int] = set()
        self._usage: Mapping[str, Any] | None = None
        self._counted = 0
        self._is_prompt_counted = False
        self.ended = False
        """Whether the server said that the answer is whole."""
        self.prompt_token_ids: tuple[int, ...] | None = None
        """Ids of the prompt's tokens, once the server has sent them."""

    @property
    def spoiled(self) -> Tokens:
        """Tokens, as far as is known, that no choice given out so far accounts for; lost if the answer is broken."""
        lost = [*self._open.values(), *(parts for _, parts in self._complete)]
        completion = sum(len(parts.token_ids or parts.named_ids or parts.logprobs) for parts in lost)
        prompt = 0 if self._is_prompt_counted else len(self.prompt_token_ids or ())
        return Tokens(prompt=prompt, completion=completion)

    def feed(self, data: bytes) -> Iterator[Choice]:
        """Take in bytes as they come.

        Yields:
            Choices that are complete and need not wait for the usage.

        Raises:
            StreamBroken: The bytes are no event stream, or it reports an error.
        """
        *lines, rest = data.split(b"\n")
        if lines:  # joined once: a line may be long, and come in very many pieces
            lines[0] = b"".join((*self._rest, lines[0]))
            self._rest.clear()
        self._rest.append(rest)
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip())
        yield from self._settled()

    def whole(self, body: bytes) -> Iterator[Choice]:
        """Take in an answer that was not streamed: one JSON document.

        Raises:
            StreamBroken: The body is not an answer.
        """
        payload = _object(body)
        try:
            for choice in payload["choices"]:
                choice["delta"] = choice.get("message")
                choice["finish_reason"] = choice.get("finish_reason") or "stop"
        except (KeyError, TypeError, AttributeError) as error:
            raise StreamBroken(f"the answer has an unknown form: {_shown(body)}") from error
        self._payload(payload, body)
        self._usage = payload.get("usage")
        self.ended = True
        yield from self.end()

    def end(self) -> Iterator[Choice]:
        """The stream is over: what else is complete.

        A choice whose finish reason never came counts as complete only if the server said that the answer is
        whole. Call it once.
        """
        if self.ended:
            for index, parts in list(self._open.items()):
                if parts.text:
                    self._finish(index, parts)
        yield from self._settled(over=True)

    def _settled(self, *, over: bool = False) -> Iterator[Choice]:
        over = over or self._usage is not None
        kept = 0 if over or self._open else 1
        while len(self._complete) > kept:
            index, parts = self._complete.pop(0)
            yield self._choice(index, parts, is_last=not self._complete and not self._open)

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.ended = True
            return
        if data:
            if self.prompt_token_ids is not None:
                data = _without_prompt(data)
            self._payload(_object(data), data)

    def _payload(self, payload: dict[str, Any], data: bytes) -> None:
        if payload.get("error"):
            raise _reported(payload["error"])
        try:
            if prompt := payload.get("prompt_token_ids"):
                self._take_prompt(prompt)
            for choice in payload["choices"]:
                self._delta(choice)
            usage = payload.get("usage")
            # Beside a choice it is that choice's, which is the request's only where there is just one.
            if usage and (not payload["choices"] or self._count == 1):
                self._usage = usage
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise StreamBroken(f"the stream has an unknown form: {_shown(data)}") from error

    def _delta(self, choice: Mapping[str, Any]) -> None:
        index = choice["index"]
        parts = self._open.get(index)
        if parts is None:
            if type(index) is not int or not 0 <= index < self._count:
                raise StreamBroken(f"the server numbers a choice {index!r}; {self._count} were asked for")
            if index in self._seen:
                return
            self._seen.add(index)
            parts = self._open[index] = _Parts()
        delta = choice.get("delta")
        if delta:
            if text := delta.get("content"):
                parts.text.append(str(text))
            if reasoning := delta.get("reasoning") or delta.get("reasoning_content"):
                parts.reasoning.append(str(reasoning))
        elif text := choice.get("text"):
            parts.text.append(str(text))
        self._tokens(parts, choice, delta)
        if reason := choice.get("finish_reason"):
            stop = choice.get("stop_reason")
            parts.stop_string = stop if isinstance(stop, str) else None
            parts.finish_reason = str(reason)
            self._finish(index, parts)

    def _tokens(self, parts: _Parts, choice: Mapping[str, Any], delta: Mapping[str, Any] | None) -> None:
        if prompt := choice.get("prompt_token_ids"):
            self._take_prompt(prompt)
        if ids := choice.get("token_ids") or (delta and delta.get("token_ids")):
            parts.token_ids += _ids(ids)
        if logprobs := choice.get("logprobs"):
            plain = logprobs.get("token_logprobs")
            if plain is not None:
                parts.logprobs += _logprobs(plain)
            else:
                _take_logprobs(parts, logprobs.get("content") or ())

    def _take_prompt(self, ids: Any) -> None:
        if self.prompt_token_ids is None:
            self.prompt_token_ids = tuple(_ids(ids))

    def _finish(self, index: int, parts: _Parts) -> None:
        del self._open[index]
        self._complete.append((index, parts))

    def _choice(self, index: int, parts: _Parts, *, is_last: bool) -> Choice:
        ids: list[int] | None = parts.token_ids or parts.named_ids or None
        logprobs: list[float | None] | None = parts.logprobs or None
        misaligned = ids is not None and logprobs is not None and len(ids) != len(logprobs)
        if misaligned:
            ids = logprobs = None
        counted = len(ids or logprobs or ()) or None
        tokens = None if counted is None else TokenUsage(completion=counted)
        self._counted += counted or 0
        if is_last and self._usage is not None:
            tokens = _remaining(self._usage, self._counted - (counted or 0))
            self._usage = None
            self._is_prompt_counted = tokens.prompt is not None
        return Choice(
            index=index,
            text="".join(parts.text) or None,
            reasoning="".join(parts.reasoning) or None,
            finish_reason=parts.finish_reason,
            stop_string=parts.stop_string,
            tokens=tokens,
            token_ids=tuple(ids) if ids else None,
            logprobs=tuple(logprobs) if logprobs else None,
            misaligned=misaligned,
        )


def _take_logprobs(parts: _Parts, content: Any) -> None:
    parts.logprobs += _logprobs([token.get("logprob") for token in content])
    if not parts.token_ids:
        for token in content:
            name = token.get("token")
            if isinstance(name, str) and name.startswith(_TOKEN_ID):
                parts.named_ids += _ids((name[len(_TOKEN_ID) :],))


def _remaining(usage: Mapping[str, Any], counted: int) -> TokenUsage:
    completion = _count(usage.get("completion_tokens"))
    return TokenUsage(
        prompt=_count(usage.get("prompt_tokens")),
        completion=None if completion is None else max(0, completion - counted),
        reasoning=_detail(usage, "completion_tokens_details", "reasoning_tokens"),
        cached=_detail(usage, "prompt_tokens_details", "cached_tokens"),
    )


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int | None:
    details = usage.get(group)
    return _count(details.get(name)) if isinstance(details, Mapping) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < _MOST else None


def _ids(values: Any) -> list[int]:
    """Token ids, be they in digits; what is no id must not become one by rounding."""
    ids: list[int] = list(values)
    if set(map(type, ids)) != {int}:
        ids = [value if type(value) is int else int(str(value)) for value in values]
    if ids and not (min(ids) >= 0 and max(ids) < _MOST):
        raise ValueError(f"token ids go from {min(ids)} to {max(ids)}")
    return ids


def _logprobs(values: Any) -> list[float | None]:
    """Log-probabilities; None for one that is not given, or not finite and so of no use."""
    found: list[float | None] = list(values)
    # There are thousands, and mostly nothing is wrong with any: that is asked of all of them at once.
    if set(map(type, found)) == {float} and all(map(math.isfinite, found)):  # type: ignore[arg-type]
        return found
    numbers = [None if value is None else float(value) for value in found]
    return [n if n is not None and math.isfinite(n) else None for n in numbers]


def _object(data: bytes) -> dict[str, Any]:
    try:
        payload = _parsed(data)
    except (ValueError, RecursionError) as error:
        raise StreamBroken(f"the server sent something that is not JSON: {_shown(data)}") from error
    if not isinstance(payload, dict):
        raise StreamBroken(f"the stream has an unknown form: {_shown(data)}")
    return payload


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        # It refuses what some servers send and the standard library takes: NaN, lone surrogates, very large numbers.
        return json.loads(data.decode())


def _without_prompt(data: bytes) -> bytes:
    """An event without the ids of its prompt's tokens, which are in the first event of each choice.

    In JSON no text holds the field's name in plain quotes, and a list of numbers ends at its first bracket.
    """
    name = data.find(_PROMPT_FIELD)
    start = data.find(b"[", name)
    end = data.find(b"]", start)
    if name < 0 or data[name + len(_PROMPT_FIELD) : start].strip() or end < 0:
        return data
    return data[: start + 1] + data[end:]


def _reported(error: Any) -> StreamBroken:
    if not isinstance(error, Mapping):
        return StreamBroken(f"the server reports: {error}")
    status = error.get("code", error.get("status"))
    message = error.get("message") or error
    return StreamBroken(f"the server reports: {message}", status if type(status) is int else None)


def _shown(data: bytes) -> str:
    return repr(data[:_SHOWN].decode("utf-8", "replace"))
