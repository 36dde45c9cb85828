"""One request and the choices of its answer, within limits of time: whatever can go wrong has a type."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from discovery.errors import GeneratorError, GeneratorUnavailable
from discovery.generation.endpoint import BUSY, Answer, Endpoint, Fault, Refusal
from discovery.generation.stream import AnswerReader, Choice, StreamBroken


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to bear with a server.

    Args:
        attempts: Requests in a row that may fail without a single choice before giving up.
        pause_s: The first pause between them, in seconds; it doubles each time.
        first_byte_s: Longest wait for the beginning of an answer, queueing included, in seconds; None: the
            larger of ``stall_s`` and half of the deadline.
        stall_s: Longest silence within an answer, in seconds.
        probe_s: Deadline of the small requests that learn what is served, in seconds.
    """

    attempts: int = 4
    pause_s: float = 0.5
    first_byte_s: float | None = None
    stall_s: float = 120.0
    probe_s: float = 10.0

    def begins_within(self, timeout_s: float) -> float:
        """Longest wait for the beginning of an answer, in seconds.

        Args:
            timeout_s: The deadline of the whole, in seconds.
        """
        return self.first_byte_s or max(self.stall_s, timeout_s / 2)


async def choices(
    endpoint: Endpoint,
    asking: AbstractAsyncContextManager[Answer],
    reader: AnswerReader,
    *,
    first_byte_s: float,
    stall_s: float,
) -> AsyncGenerator[Choice, None]:
    """Send a request and yield each choice of its answer as soon as it is complete.

    Whatever fails is raised after all choices that were complete by then.

    Args:
        endpoint: Whose request it is, for messages.
        asking: The request, not sent yet.
        reader: Takes in the answer; afterwards it tells whether that was whole.
        first_byte_s: Longest wait for the beginning, in seconds.
        stall_s: Longest silence afterwards, in seconds.

    Raises:
        Fault: The connection failed or broke, or what came is not an answer.
        Refusal: The server refuses the request as it is.
        GeneratorRefused: It refuses it whatever it asks.
        GeneratorUnavailable: It stalls.
    """
    clock = asyncio.get_running_loop().time
    body = bytearray()
    failure: GeneratorError | Fault
    try:
        async with asyncio.timeout(first_byte_s) as limit, asking as answer:
            async for data in answer.data:
                limit.reschedule(clock() + stall_s)
                if answer.streamed:
                    for choice in reader.feed(data):
                        yield choice
                else:
                    body += data
            for choice in reader.end() if answer.streamed else reader.whole(bytes(body)):
                yield choice
        return
    except TimeoutError as error:
        failure = GeneratorUnavailable(
            f"{endpoint.shown_url} stalls: it took the request, then sent nothing for too long"
        )
        failure.__cause__ = error
    except StreamBroken as error:
        words = endpoint.clear(error)
        is_refusal = error.status is not None and 400 <= error.status < 500 and error.status not in BUSY
        failure = Refusal(f"{endpoint.shown_url}: {words}", words) if is_refusal else Fault(words)
        failure.__cause__ = error
    except (Fault, GeneratorError) as error:
        failure = error
    # What is complete and waited only for the usage is paid for, however the answer ended.
    for choice in reader.end():
        yield choice
    raise failure
