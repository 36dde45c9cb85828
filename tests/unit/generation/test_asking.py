"""One request's choices, when the answer ends otherwise than it should."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from discovery.errors import GeneratorError, GeneratorUnavailable
from discovery.generation.asking import choices
from discovery.generation.endpoint import Answer, Endpoint, Fault, Refusal
from discovery.generation.stream import AnswerReader

STALL = object()


def finished(index):
    choice = {"index": index, "delta": {"content": "x"}, "finish_reason": "stop"}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def opened(index):
    return (
        b"data: " + json.dumps({"choices": [{"index": index, "delta": {"content": ""}}]}).encode() + b"\n\n"
    )


def error(code):
    return b"data: " + json.dumps({"error": {"message": "no", "code": code}}).encode() + b"\n\n"


async def seen_of(*pieces):
    """The choices of an answer that comes in these pieces, and what ended it."""

    async def data():
        for piece in pieces:
            if piece is STALL:
                await asyncio.Event().wait()
            if isinstance(piece, Exception):
                raise piece
            yield piece

    @asynccontextmanager
    async def asking():
        yield Answer(streamed=True, data=data())

    endpoint, reader = Endpoint("http://127.0.0.1:1/v1", None, probe_s=1.0), AnswerReader(3)
    seen, ended = [], None
    try:
        async for choice in choices(endpoint, asking(), reader, first_byte_s=0.1, stall_s=0.1):
            seen.append(choice.index)
    except (Fault, GeneratorError) as failure:
        ended = type(failure)
    return seen, ended


@pytest.mark.parametrize(
    ("piece", "ended"),
    [
        (b"data: {not json\n\n", Fault),
        (error(500), Fault),
        (error(400), Refusal),
        (STALL, GeneratorUnavailable),
        (Fault("the connection broke"), Fault),
    ],
)
async def test_what_is_complete_comes_before_the_failure(piece, ended):
    assert await seen_of(finished(0), piece) == ([0], ended)
    assert await seen_of(opened(1), finished(0), finished(1), piece) == ([0, 1], ended)


@pytest.mark.parametrize(("piece", "ended"), [(b"data: {not json\n\n", Fault), (error(400), Refusal)])
async def test_what_is_complete_in_the_same_bytes_as_the_failure_comes_first(piece, ended):
    assert await seen_of(opened(1) + finished(0) + finished(2) + piece) == ([0, 2], ended)
