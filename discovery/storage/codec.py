r"""Values to cells and back: text, JSON, instants, keys, numbers, and content that is stored once.

A *packed* cell is ``\0`` and the content itself when that is short, else ``\1`` and the content's name in
``blobs``. Text is UTF-8 with lone surrogates passed through, JSON is compact UTF-8 in the order of its keys
(the order shows in prompts, so it must survive a resume). Nothing that is not finite gets in: JSON has no
word for it, and SQLite would turn a NaN score into NULL, which means "no score".
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from discovery.errors import StorageError
from discovery.records import CandidateKey, Json

KEY_BYTES = 16
INLINE_BYTES = 48
COMPRESS_FROM = 64
RAW, ZLIB = 0, 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INLINE, _REFERENCE = b"\0", b"\1"
_encode_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=True
).encode


def text_in(text: str) -> bytes:
    """Any text as bytes, NUL and lone surrogates included."""
    return text.encode("utf-8", "surrogatepass")


def text_out(data: bytes) -> str:
    """The inverse of :func:`text_in`."""
    return data.decode("utf-8", "surrogatepass")


def optional_text_in(text: str | None) -> bytes | None:
    """:func:`text_in`, or None for None."""
    return None if text is None else text_in(text)


def optional_text_out(data: bytes | None) -> str | None:
    """:func:`text_out`, or None for None."""
    return None if data is None else text_out(data)


def json_in(value: Json, what: str) -> bytes:
    """Plain data as compact JSON.

    Args:
        value: What ``json.dumps`` takes, all of it finite.
        what: Name of the value in messages.

    Raises:
        StorageError: It is not plain finite data.
    """
    try:
        return text_in(_encode_json(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise StorageError(f"{what} cannot be stored as JSON: {error}") from error


def json_out(data: bytes) -> Json:
    """The inverse of :func:`json_in`."""
    return json.loads(text_out(data))


def name_in(name: str, what: str) -> str:
    """A name of ours, stored as text.

    Raises:
        StorageError: It holds NUL or a lone surrogate, which databases refuse.
    """
    if "\0" in name or any("\ud800" <= c <= "\udfff" for c in name):
        raise StorageError(f"{what} is {name!r}; a name cannot hold NUL or lone surrogates")
    return name


def number_in(value: float | None, what: str) -> float | None:
    """A finite number, or None for unknown.

    Raises:
        StorageError: It is NaN or infinite.
    """
    if value is None:
        return None
    if not math.isfinite(value):
        raise StorageError(f"{what} is {value!r}; only finite numbers are stored")
    return float(value)


def time_in(instant: datetime, what: str) -> int:
    """An aware instant as whole microseconds since 1970.

    Raises:
        StorageError: It is naive.
    """
    if instant.tzinfo is None:
        raise StorageError(f"{what} is {instant!r}, without a time zone; give an aware datetime")
    return (instant - _EPOCH) // _MICROSECOND


def time_out(microseconds: int) -> datetime:
    """The inverse of :func:`time_in`, in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def key_in(key: CandidateKey) -> str:
    """A key as text, with all three numbers whatever they are."""
    return f"{key.chain}.{key.step}.{key.index}"


def key_out(text: str) -> CandidateKey:
    """The inverse of :func:`key_in`."""
    chain, step, index = text.split(".")
    return CandidateKey(int(chain), int(step), int(index))


def optional_key_out(text: str | None) -> CandidateKey | None:
    """:func:`key_out`, or None for None."""
    return None if text is None else key_out(text)


def keys_in(keys: Iterable[CandidateKey]) -> str:
    """Keys in order as one text."""
    return " ".join(map(key_in, keys))


def keys_out(text: str) -> tuple[CandidateKey, ...]:
    """The inverse of :func:`keys_in`."""
    return tuple(map(key_out, text.split()))


def ids_in(ids: Sequence[int]) -> bytes:
    """Token ids in 4 bytes each, or 8 where that is too narrow.

    Raises:
        StorageError: One does not fit 8 bytes either.
    """
    try:
        return b"i" + _little(array("i", ids))
    except OverflowError:
        try:
            return b"q" + _little(array("q", ids))
        except OverflowError as error:
            raise StorageError(f"token id {max(ids, key=abs)} is too large to be stored: {error}") from error


def ids_out(data: bytes) -> tuple[int, ...]:
    """The inverse of :func:`ids_in`."""
    return _numbers(data[:1].decode(), data[1:])


def logprobs_in(values: Sequence[float | None]) -> bytes:
    """Log-probabilities, in 4 bytes each where that is exact, else in 8; unknown ones by position."""
    unknown = [i for i, value in enumerate(values) if value is None]
    known = array("d", [0.0 if value is None else value for value in values])
    narrow = array("f", known)
    code, numbers = (b"f", narrow) if array("d", narrow) == known else (b"d", known)
    return struct.pack(f"<sI{len(unknown)}I", code, len(unknown), *unknown) + _little(numbers)


def logprobs_out(data: bytes) -> tuple[float | None, ...]:
    """The inverse of :func:`logprobs_in`."""
    code, count = struct.unpack_from("<sI", data)
    start = 5 + 4 * count
    values: list[float | None] = list(_numbers(code.decode(), data[start:]))
    for position in struct.unpack_from(f"<{count}I", data, 5):
        values[position] = None
    return tuple(values)


def _little(numbers: array[Any]) -> bytes:
    """The bytes of numbers, least significant first; structs would take ten times as long."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(code: str, data: bytes) -> tuple[Any, ...]:
    return struct.unpack(f"<{len(data) // struct.calcsize('<' + code)}{code}", data)


class Packer:
    """Makes packed cells and gathers the contents that they refer to.

    Attributes:
        contents: What must be in ``blobs`` before the cells are, by name.
        numbers: Names of those among them that are many numbers.
    """

    __slots__ = ("contents", "numbers")

    def __init__(self) -> None:
        self.contents: dict[bytes, bytes] = {}
        self.numbers: set[bytes] = set()

    def keep(self, content: bytes, digest: bytes | None = None) -> bytes:
        """Gather a content whatever its length.

        Args:
            content: The bytes.
            digest: Their SHA-256, when it is known already.

        Returns:
            Their name in ``blobs``.
        """
        name = (digest or hashlib.sha256(content).digest())[:KEY_BYTES]
        self.contents[name] = content
        return name

    def pack(self, content: bytes) -> bytes:
        """A packed cell of a content."""
        if len(content) <= INLINE_BYTES:
            return _INLINE + content
        return _REFERENCE + self.keep(content)

    def pack_numbers(self, content: bytes) -> bytes:
        """A packed cell of many numbers, of which thorough compression would gain little and take long."""
        cell = self.pack(content)
        if (name := reference(cell)) is not None:
            self.numbers.add(name)
        return cell

    def pack_text(self, text: str | None) -> bytes | None:
        """A packed cell of a text; None stays None."""
        return None if text is None else self.pack(text_in(text))


class Unpacker:
    """Reads packed cells, given the contents that they refer to.

    Args:
        contents: Contents of ``blobs`` by name.
    """

    __slots__ = ("_contents", "_ids")

    def __init__(self, contents: Mapping[bytes, bytes]) -> None:
        self._contents = contents
        self._ids: dict[bytes, tuple[int, ...]] = {}

    def content(self, name: bytes) -> bytes:
        """A content by its name.

        Raises:
            StorageError: The database lost it.
        """
        try:
            return self._contents[name]
        except KeyError as error:
            raise StorageError(
                f"the database is damaged: content {name.hex()} is referred to but not there"
            ) from error

    def unpack(self, cell: bytes) -> bytes:
        """The content of a packed cell."""
        return self.content(cell[1:]) if cell[:1] == _REFERENCE else cell[1:]

    def unpack_text(self, cell: bytes | None) -> str | None:
        """The text of a packed cell; None stays None."""
        return None if cell is None else text_out(self.unpack(cell))

    def unpack_ids(self, cell: bytes | None) -> tuple[int, ...] | None:
        """The token ids of a packed cell; None stays None.

        Equal cells give one tuple: the completions of a step share their long prompt.
        """
        if cell is None:
            return None
        if cell not in self._ids:
            self._ids[cell] = ids_out(self.unpack(cell))
        return self._ids[cell]


def reference(cell: bytes | None) -> bytes | None:
    """The name that a packed cell refers to, or None when it holds its content itself."""
    return cell[1:] if cell is not None and cell[:1] == _REFERENCE else None


def compress(content: bytes, *, is_quick: bool = False) -> tuple[int, bytes]:
    """A content as ``blobs`` keeps it: the number of its codec, and the bytes.

    Args:
        content: The bytes.
        is_quick: Whether to be done soon: for token ids a hundredth of the time for a tenth more bytes.
    """
    if len(content) >= COMPRESS_FROM:
        small = zlib.compress(content, 1 if is_quick else 6, -15)
        if len(small) < len(content):
            return ZLIB, small
    return RAW, content


def decompress(codec: int, data: bytes) -> bytes:
    """The inverse of :func:`compress`.

    Raises:
        StorageError: The bytes are damaged.
    """
    if codec == RAW:
        return data
    try:
        return zlib.decompress(data, -15)
    except zlib.error as error:
        raise StorageError(f"the database is damaged: {error}") from error
