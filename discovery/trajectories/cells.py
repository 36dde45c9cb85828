"""What one cell of an archive holds: values of records as plain data, and back, with nothing trusted.

Texts are strings, other data JSON in the order of its keys (it shows in prompts), instants whole microseconds since
1970, keys of candidates words. ``None`` stays None, and no number is anything but finite, in either direction.

Text that UTF-8 cannot hold (a lone surrogate, which a model may write) is shown with replacement characters, and kept
exactly in its row's ``exact`` cell: see :func:`legible`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np

from discovery.records import CandidateKey, Json, Message

EXACT = "exact"
"""Name of the column for what UTF-8 cannot hold."""

_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NAME_CHARACTERS = 1000


class Cell(StrEnum):
    """Kinds of cells."""

    NAME = "name"
    """A short text of our own, all of it printable."""
    TEXT = "text"
    """Any text."""
    JSON = "json"
    """Plain data as compact JSON text."""
    INTEGER = "integer"
    """From 0 to 2^63 - 1."""
    CHAIN = "chain"
    """A chain's number, 32 bits: -1 for what belongs to the run as a whole."""
    PLACE = "place"
    """A number of a place or a position, 32 bits, from 0."""
    NUMBER = "number"
    """A finite number of 64 bits."""
    FLAG = "flag"
    """True or false."""
    INSTANT = "instant"
    """A moment, in microseconds, UTC."""
    KEY = "key"
    """A candidate's key: ``initial`` or CHAIN.STEP.INDEX."""
    KEYS = "keys"
    """A list of those."""
    NUMBERS = "numbers"
    """A list of finite numbers of 64 bits."""
    IDS = "ids"
    """A list of token ids of 32 bits."""
    LOGPROBS = "logprobs"
    """A list of finite numbers of 64 bits, null where one is not known."""
    MESSAGES = "messages"
    """A list of messages: role and content."""
    BYTES = "bytes"
    """Bytes."""


def legible(cells: dict[str, Any]) -> bytes | None:
    """Replace, in place, what UTF-8 cannot hold.

    Args:
        cells: The row's cells by name.

    Returns:
        What stood there, by name, to be kept in the row's ``exact`` cell; None where there was nothing to replace.
    """
    odd: dict[str, Any] = {}
    for name, value in cells.items():
        if isinstance(value, str):
            if not value.isascii() and _SURROGATE.search(value):
                odd[name] = value
                cells[name] = _SURROGATE.sub("\ufffd", value)
        elif isinstance(value, list) and any(
            isinstance(part, dict) and _SURROGATE.search(part["role"] + part["content"]) for part in value
        ):
            odd[name] = value
            cells[name] = [{k: _SURROGATE.sub("\ufffd", v) for k, v in part.items()} for part in value]
    return json.dumps(odd, ensure_ascii=False).encode("utf-8", "surrogatepass") if odd else None


def exact(cells: dict[str, Any], kept: bytes, texts: Mapping[str, Cell]) -> None:
    """Put back, in place, what :func:`legible` replaced.

    Args:
        cells: The row's cells by name.
        kept: The row's ``exact`` cell.
        texts: The columns in which that may be, with their kinds.

    Raises:
        ValueError: The cell is none of ours, or has other words than the row.
    """
    odd = _object(kept.decode("utf-8", "surrogatepass"))
    for name, value in odd.items():
        if name not in texts:
            raise ValueError(f"its exact text is of a column {name!r}, which has none")
        again = {name: value}
        if texts[name] is Cell.MESSAGES:
            if not isinstance(value, list) or not all(_is_message(part) for part in value):
                raise ValueError(f"its exact {name} is not a list of messages")
        elif not isinstance(value, str):
            raise ValueError(f"its exact {name} is not a text")
        legible(again)
        if again[name] != cells[name]:
            raise ValueError(f"its exact {name} is another one than its {name}")
        cells[name] = value


def data_of(text: str) -> Json:
    """Plain data of a JSON text, all of it finite.

    Raises:
        ValueError: It is no JSON, or holds a number that is not finite.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite_float)
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def _is_message(part: object) -> bool:
    return (
        isinstance(part, dict)
        and part.keys() == {"role", "content"}
        and all(isinstance(v, str) for v in part.values())
    )


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a finite number")


def _finite_float(text: str) -> float:
    return _finite(float(text))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not a finite number")
    return value


def _finites(values: Sequence[float]) -> tuple[float, ...]:
    if not all(map(math.isfinite, values)):
        raise ValueError("a number is not finite")
    return tuple(values)


def _logprobs(values: Sequence[float | None]) -> tuple[float | None, ...]:
    _finites([value for value in values if value is not None])
    return tuple(values)


def _numbers(values: Sequence[float | None]) -> Any:
    """As an array, which Arrow takes over at once, unless one is not known."""
    if None in values:
        return _logprobs(values)
    numbers = np.asarray(values, np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("a number is not finite")
    return numbers


def _json(value: Json) -> str:
    try:
        return _encode_json(value)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not plain data: {error}") from error


def _object(text: str) -> dict[str, Json]:
    data = data_of(text)
    if not isinstance(data, dict):
        raise ValueError(f"a JSON object was expected, and there is {text[:40]!r}")
    return data


def _instant(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


def _moment(microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise ValueError(f"{microseconds} microseconds since 1970 is no moment") from error


def _key(key: CandidateKey) -> str:
    text = str(key)
    if CandidateKey.parse(text) != key:
        raise ValueError(f"there is no candidate at {key!r}")
    return text


def _name(name: str) -> str:
    if len(name) > _NAME_CHARACTERS or not name.isprintable():
        raise ValueError(f"{name[:40]!r} is no name")
    return name


def _from(low: int, name: str) -> Callable[[int], int]:
    def check(number: int) -> int:
        if number < low:
            raise ValueError(f"a {name} is {number}; it must be {low} or more")
        return number

    return check


@lru_cache(maxsize=8)
def _ids(ids: tuple[int, ...]) -> Any:
    """As an array, which Arrow takes over at once; the completions of a step share their prompt's."""
    return np.asarray(ids, np.int32)


ENCODE: Mapping[Cell, Callable[[Any], Any]] = {
    Cell.NAME: _name,
    Cell.JSON: _json,
    Cell.NUMBER: _finite,
    Cell.INSTANT: _instant,
    Cell.KEY: _key,
    Cell.KEYS: lambda keys: [_key(key) for key in keys],
    Cell.NUMBERS: _numbers,
    Cell.IDS: _ids,
    Cell.LOGPROBS: _numbers,
    Cell.MESSAGES: lambda messages: [{"role": m.role, "content": m.content} for m in messages],
}
"""Values of records, not None, to cells; those of other kinds are as they are. ValueError: one does not fit."""
DECODE: Mapping[Cell, Callable[[Any], Any]] = {
    Cell.NAME: _name,
    Cell.JSON: data_of,
    Cell.INTEGER: _from(0, "count"),
    Cell.CHAIN: _from(-1, "chain"),
    Cell.PLACE: _from(0, "place"),
    Cell.NUMBER: _finite,
    Cell.INSTANT: _moment,
    Cell.KEY: CandidateKey.parse,
    Cell.KEYS: lambda words: tuple(CandidateKey.parse(word) for word in words),
    Cell.NUMBERS: _finites,
    Cell.IDS: tuple,
    Cell.LOGPROBS: _logprobs,
    Cell.MESSAGES: lambda parts: tuple(Message(role=part["role"], content=part["content"]) for part in parts),
}
"""The inverse, with all that a file may hold in place of what was written. ValueError: it holds what it may not."""
