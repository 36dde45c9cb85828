"""A server's HTTP side: requests out, bytes and typed errors in. The one home of the ``openai`` package.

The client library never retries here and has no deadline of its own but for connecting: whoever asks decides
both. What it raises becomes a :class:`Fault` (worth trying again) or one of this package's errors, in words
that name the URL and the fix.

The key goes to the client library and nowhere else; what a server says is cleared of it before it is shown.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from discovery.errors import ConfigError, GeneratorError, GeneratorRefused, GeneratorUnavailable
from discovery.records import Json, Message

if TYPE_CHECKING:
    import openai

NO_KEY = "none"
"""Sent where no key is given: servers without authentication ignore it."""
BUSY = frozenset({408, 409, 425, 429})
"""Statuses below 500 that say: later."""
METRICS_S = 2.0
"""Longest wait for a metrics page, in seconds."""
OVERLOADED = frozenset({429, 503})
"""Statuses that say: too much at once."""


class Refusal(GeneratorRefused):
    """The server refuses a request as such, with a status of 400 or 422.

    Args:
        message: For people: the URL, the status, the server's words.
        said: The server's words alone, cleared of the key.
        field: The field that it objects to, if it names one.
    """

    def __init__(self, message: str, said: str, field: str | None = None) -> None:
        super().__init__(message)
        self.said = said
        self.words = f"{field}: {said}" if field else said


class Fault(Exception):
    """A request failed in a way worth trying again.

    Args:
        message: What happened, cleared of the key.
        pause_s: How long the server wants to be left alone, if it says, in seconds.
        is_overload: Whether it says that it has too much to do.
    """

    def __init__(self, message: str, pause_s: float | None = None, *, is_overload: bool = False) -> None:
        super().__init__(message)
        self.pause_s = pause_s
        self.is_overload = is_overload


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is still coming.

    Args:
        streamed: Whether it is an event stream; else one JSON document.
        data: Its bytes as they come.
    """

    streamed: bool
    data: AsyncIterator[bytes]


class Endpoint:
    """One server.

    Args:
        url: Its base URL, mostly ending in ``/v1``.
        api_key: Its key, if it wants one.
        probe_s: Deadline of the small requests that learn what is served, in seconds.

    Raises:
        ConfigError: The key is none that a request can carry.
    """

    def __init__(self, url: str, api_key: str | None, *, probe_s: float) -> None:
        self.shown_url = _without_credentials(url)
        self.lists_models = True
        """Whether the server has, as far as is known, a list of its models."""
        self._url = url
        self._has_metrics = True
        self._probe_s = probe_s
        api_key = sendable_key(api_key)
        self._client_made: openai.AsyncOpenAI | None = None
        # Closures: no attribute, so no representation and no dump of this object, holds the key.
        self._make_client: Callable[[], openai.AsyncOpenAI] = lambda: _client(url, api_key)
        self._clear: Callable[[str], str] = lambda text: text.replace(api_key, "***") if api_key else text

    def __repr__(self) -> str:
        return f"Endpoint({self.shown_url!r})"

    @property
    def _client(self) -> openai.AsyncOpenAI:
        if self._client_made is None:
            self._client_made = self._make_client()
        return self._client_made

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        client, self._client_made = self._client_made, None
        if client is not None:
            await client.close()

    def clear(self, text: object) -> str:
        """A server's words on one line, without the key."""
        # Cleared before it is cut: half a key is one too many.
        return self._clear(" ".join(str(text).split()))[:500]

    async def models(self) -> list[dict[str, Any]]:
        """The server's model cards.

        Raises:
            GeneratorUnavailable: Nothing answers.
            GeneratorRefused: The key is wrong, or there is no such list.
        """
        listed = await self._get("models")
        data = listed.get("data") if isinstance(listed, Mapping) else None
        if not isinstance(data, list):
            self.lists_models = False
            raise GeneratorRefused(f"{self.shown_url} does not list its models; name one with --model")
        return [card for card in data if isinstance(card, dict)]

    async def version(self) -> str | None:
        """What the server says at ``/version``, where vLLM has its version; None when it says nothing."""
        try:
            answer = await self._fetch(self._beside("version"), object, self._probe_s)
        except (Fault, GeneratorError, ValueError):
            return None
        version = answer.get("version") if isinstance(answer, Mapping) else None
        return str(version) if version else None

    async def metrics(self, timeout_s: float = METRICS_S) -> str | None:
        """The server's metrics page at ``/metrics``, where vLLM has it; None when it does not come.

        A server that refuses it once is not asked again.

        Args:
            timeout_s: Longest wait for it, in seconds.
        """
        if not self._has_metrics:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                return str(await self._fetch(self._beside("metrics"), str, timeout_s))
        except GeneratorRefused:
            self._has_metrics = False
        except (Fault, TimeoutError):
            return None
        return None

    async def tokenize(self, model: str, text: str) -> tuple[int, ...] | None:
        """The ids of a text's tokens, special ones read as such, as vLLM tells at ``/tokenize``.

        Args:
            model: Model name.
            text: Any; nothing is put before it.

        Returns:
            None where the server has no such thing to say.

        Raises:
            Fault: It does not answer now.
        """
        answer = await self._told("tokenize", {"model": model, "prompt": text, "add_special_tokens": False})
        ids = answer.get("tokens")
        return tuple(ids) if isinstance(ids, list) and all(type(i) is int for i in ids) else None

    async def prompt_tokens(
        self, model: str, messages: Sequence[Message], more: Mapping[str, Json]
    ) -> int | None:
        """How many tokens a chat's prompt is, as vLLM tells at ``/tokenize``; None where the server does not.

        Args:
            model: Model name.
            messages: The prompt.
            more: Further fields that the chat template depends on.

        Raises:
            Fault: It does not answer now.
        """
        answer = await self._told("tokenize", {"model": model, "messages": _sent(messages), **more})
        return count if type(count := answer.get("count")) is int else None

    async def detokenize(self, model: str, ids: Sequence[int]) -> str | None:
        """The text of some tokens, special ones included, as vLLM tells at ``/detokenize``; None where not.

        Raises:
            Fault: It does not answer now.
        """
        text = (await self._told("detokenize", {"model": model, "tokens": list(ids)})).get("prompt")
        return text if isinstance(text, str) else None

    async def _told(self, name: str, body: Mapping[str, Json]) -> Mapping[str, Any]:
        """What a small request beside ``/v1`` answers; nothing where it is refused."""
        options: Any = {"timeout": self._probe_s}
        try:
            with self._faults():
                answer = await self._client.post(
                    self._beside(name), cast_to=object, body=body, options=options
                )
        except (GeneratorRefused, ValueError):
            return {}
        return answer if isinstance(answer, Mapping) else {}

    def _beside(self, name: str) -> str:
        """The URL of what vLLM serves beside ``/v1``."""
        parts = urlsplit(self._url)
        path = parts.path.rstrip("/").removesuffix("/v1") + f"/{name}"
        return urlunsplit((parts.scheme, parts.netloc, path, "", ""))

    @asynccontextmanager
    async def chat(
        self, model: str, messages: Sequence[Message], body: Mapping[str, Json]
    ) -> AsyncIterator[Answer]:
        """Ask for a streamed chat completion; leaving the context closes the connection.

        Args:
            model: Model name.
            messages: The prompt.
            body: All other fields.

        Raises:
            Fault: The connection failed or broke, or the server is overloaded or ill.
            GeneratorRefused: The server refuses the request.
        """
        # Beside the body the messages are sent as they are; as an argument the library would walk through their types.
        sent = {"messages": _sent(messages), **body}
        chat = self._client.chat.completions.with_streaming_response
        with self._faults():
            async with chat.create(model=model, messages=[], stream=True, extra_body=sent) as response:
                streamed = "json" not in response.headers.get("content-type", "")
                yield Answer(streamed, response.iter_bytes())

    @asynccontextmanager
    async def completions(
        self, model: str, prompt: Sequence[int], body: Mapping[str, Json]
    ) -> AsyncIterator[Answer]:
        """Ask for a streamed plain completion; leaving the context closes the connection.

        Args:
            model: Model name.
            prompt: Token ids.
            body: All other fields.

        Raises:
            Fault: As for :meth:`chat`.
            GeneratorRefused: The server refuses the request, or has no such thing.
        """
        plain = self._client.completions.with_streaming_response
        with self._faults():
            async with plain.create(
                model=model, prompt=list(prompt), stream=True, extra_body=body
            ) as response:
                streamed = "json" not in response.headers.get("content-type", "")
                yield Answer(streamed, response.iter_bytes())

    @contextmanager
    def _faults(self) -> Iterator[None]:
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            status, message = error.status_code, self.clear(_message(error))
            if status in BUSY or status >= 500:
                pause_s = _retry_after(error.response.headers.get("retry-after"))
                fault = Fault(f"it answers {status}: {message}", pause_s, is_overload=status in OVERLOADED)
                raise fault from error
            if status in (401, 403):
                raise GeneratorRefused(
                    f"{self.shown_url} refuses the key ({status}: {message}); set OPENAI_API_KEY to its key"
                ) from error
            shown = f"{self.shown_url} refuses the request ({status}): {message}"
            if status in (400, 422):
                raise Refusal(shown, message, error.param) from error
            raise GeneratorRefused(shown) from error
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise Fault(f"no connection: {type(cause).__name__}: {self.clear(cause)}") from error
        except _transport_errors() as error:
            raise Fault(f"the answer broke off: {type(error).__name__}: {self.clear(error)}") from error

    async def _fetch(self, url: str, kind: type, timeout_s: float) -> Any:
        options: Any = {"timeout": timeout_s}
        with self._faults():
            return await self._client.get(url, cast_to=kind, options=options)

    async def _get(self, url: str) -> Any:
        import openai

        try:
            return await self._fetch(url, object, self._probe_s)
        except Fault as fault:
            if isinstance(fault.__cause__, openai.APIStatusError) and fault.__cause__.status_code != 503:
                self.lists_models = False
            raise GeneratorUnavailable(
                f"{self.shown_url}: {fault}; is the server up, and its URL right? (--serve MODEL starts one)"
            ) from fault
        except GeneratorRefused as error:
            if isinstance(error.__cause__, openai.APIStatusError) and error.__cause__.status_code in (
                404,
                405,
            ):
                self.lists_models = False
                raise GeneratorRefused(f"{error}; is --base-url right (most end in /v1)?") from error
            raise
        except ValueError as error:
            self.lists_models = False
            raise GeneratorRefused(
                f"{self.shown_url} does not answer with JSON; is --base-url right (most end in /v1)?"
            ) from error


def _sent(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def sendable_key(key: str | None) -> str | None:
    """A key as a request can carry it: without white space around it, such as the line break that ends a file.

    Raises:
        ConfigError: It cannot be sent. Its text is not told; the client library would show all of it.
    """
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(
            f"the key of the model server ({len(key)} characters) holds some that no request can carry; set "
            "OPENAI_API_KEY to the key alone: one line of plain ASCII"
        )
    return key or None


def load_client() -> None:
    """Load the client library, which takes half a second of CPU time: off the event loop, before the first request."""
    import openai  # noqa: F401


def _client(url: str, api_key: str | None) -> openai.AsyncOpenAI:
    import openai

    # Of the two transports that the library supports, the one that parses in C: it costs a quarter less per completion.
    http = openai.DefaultAioHttpClient(timeout=openai.Timeout(None, connect=10.0))
    return openai.AsyncOpenAI(base_url=url, api_key=api_key or NO_KEY, max_retries=0, http_client=http)


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the client library lets through while a body is read: its version decides which package's."""
    kinds: list[type[Exception]] = [ConnectionError]
    for name in ("httpx", "httpx2"):
        if name in sys.modules:
            kinds += [sys.modules[name].HTTPError, sys.modules[name].StreamError]
    return tuple(kinds)


def _retry_after(value: str | None) -> float | None:
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        date = value
    try:
        return max(0.0, (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _message(error: openai.APIStatusError) -> str:
    body: Any = error.body
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, Mapping) else inner
    return str(body or error.message)


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
