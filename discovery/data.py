"""Plain data, and the one encoding in which it crosses the sandbox's boundary.

Candidates hand out data, never objects: ``None``, booleans, integers, finite floats, strings, lists,
dictionaries with string keys, and numpy arrays of booleans and numbers. Nothing here executes anything when
it decodes, so the bytes may come from an adversary. The format is one header line of JSON, then the
arrays' raw bytes::

    <length of header, 8 hex digits> <header: {"value": ..., "arrays": [{"dtype", "shape"}, ...]}> <bytes>...

In ``value`` an array stands as ``{"__array__": index}``.

This module imports the standard library only (numpy where it is already loaded, or where an array is
decoded): the zygote inside the sandbox runs this very file.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
import sys
from typing import Any

Data = Any
"""``None | bool | int | float | str | list[Data] | dict[str, Data] | numpy.ndarray``."""

MAX_DEPTH = 64
"""Lists and dictionaries within one another."""
MAX_DIMENSIONS = 32
"""Of an array."""
MAX_EMPTY = 1 << 16
"""Of an array without elements, the product of its other dimensions: a reader's sum over the empty one has as many."""
MAX_CONTAINERS = 1 << 20
"""Lists, dictionaries and arrays of one value; each takes 20 times the bytes that say it."""
ARRAY_KEY = "__array__"
ARRAY_DTYPES = frozenset(["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"])
_HEADER_DIGITS = 8
# Possessive, and one that is never closed is one string: else hostile bytes take time in proportion to their square.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


try:
    from discovery.errors import DataError
except ImportError:  # inside the sandbox, where only this file is

    class DataError(ValueError):  # type: ignore[no-redef]
        """A value is not plain finite data."""


def encode(value: Data) -> bytes:
    """Encode plain data.

    Tuples become lists, numpy scalars become numbers, and what derives from a plain type becomes that type.
    Arrays keep dtype and shape, in C order and little-endian.

    Args:
        value: Plain data, at most ``MAX_DEPTH`` levels deep.

    Returns:
        Bytes that :func:`decode` accepts.

    Raises:
        DataError: A part of the value is not plain data, or is not finite; names the part's place.
    """
    arrays: list[Any] = []
    plain = _plain(value, "value", 0, arrays)
    try:
        header = json.dumps(
            {
                "value": plain,
                "arrays": [{"dtype": a.dtype.str, "shape": list(a.shape)} for a in arrays],
            },
            allow_nan=False,
            separators=(",", ":"),
        ).encode()
    except (ValueError, RecursionError) as error:
        raise DataError(f"the value cannot be written as JSON: {error}") from error
    _count(header)
    parts = [f"{len(header):0{_HEADER_DIGITS}x}".encode(), header]
    parts.extend(a.tobytes() for a in arrays)
    return b"".join(parts)


def _plain(value: Any, where: str, depth: int, arrays: list[Any]) -> Any:
    kind = type(value)
    if value is None or kind is bool or kind is int or kind is str:
        return value
    if kind is float:
        if not math.isfinite(value):
            raise DataError(f"{where} is {value!r}; only finite numbers can be returned")
        return value
    if isinstance(value, (list, tuple, dict)) and depth >= MAX_DEPTH:
        raise DataError(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{where}[{i}]", depth + 1, arrays) for i, v in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                raise DataError(f"{where} has a key of type {type(key).__qualname__}; keys must be strings")
            if key == ARRAY_KEY:
                raise DataError(f"{where} has the key {ARRAY_KEY!r}, which stands for arrays; rename it")
        return {k: _plain(v, f"{where}[{k!r}]", depth + 1, arrays) for k, v in value.items()}
    np = sys.modules.get("numpy")
    if np is not None:
        if isinstance(value, np.generic) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
            return _plain(value.item(), where, depth, arrays)
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value).reshape(value.shape)
            if array.dtype.byteorder == ">":
                array = array.astype(array.dtype.newbyteorder("<"))
            if array.dtype.str not in ARRAY_DTYPES:
                raise DataError(f"{where} is an array of {value.dtype}; use booleans or numbers")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"{where} holds a number that is not finite")
            if array.ndim > MAX_DIMENSIONS:
                raise DataError(f"{where} has {array.ndim} dimensions; use at most {MAX_DIMENSIONS}")
            if _is_hollow(array.shape):
                raise DataError(f"{where} is an array of shape {array.shape} without elements; leave it out")
            arrays.append(array)
            return {ARRAY_KEY: len(arrays) - 1}
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return _plain(float.__float__(value), where, depth, arrays)
    if isinstance(value, str):
        return str.__str__(value)
    raise DataError(
        f"{where} is a {kind.__module__}.{kind.__qualname__}; return numbers, strings, lists, "
        "dictionaries or numpy arrays"
    )


def decode(blob: bytes, *, widen: bool = False) -> Data:
    """Decode what :func:`encode` wrote, trusting nothing.

    Args:
        blob: Bytes, possibly hostile. The caller has capped their length.
        widen: Make all arrays of numbers 64 bits wide and signed, so that whoever calculates with them meets no
            overflow or rounding that the writer chose: 200 + 100 is 44 in eight bits, 1 - 2 is huge without a sign.

    Returns:
        Plain finite data; every array is a fresh, writable ``numpy.ndarray``.

    Raises:
        DataError: The bytes are not an encoding of plain finite data.
    """
    try:
        length = int(blob[:_HEADER_DIGITS].decode("ascii"), 16)
        if length < 0 or len(blob) < _HEADER_DIGITS + length:
            raise DataError("the data ends early")
        text = blob[_HEADER_DIGITS : _HEADER_DIGITS + length]
        _count(text)
        header = loads(text)
        value, specs = header["value"], header["arrays"]
        arrays = _arrays(specs, blob, _HEADER_DIGITS + length, widen) if specs else []
        return _restore(value, arrays, 0)
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError) as error:
        raise DataError(f"the bytes are not plain data: {error}") from error


def _count(header: bytes) -> None:
    """Refuse so many lists and dictionaries that whoever reads them would need gigabytes for them."""
    most = MAX_CONTAINERS + 2  # the header itself has two
    if header.count(b"[") + header.count(b"{") > most:
        bare = _STRING.sub(b"", header)
        if bare.count(b"[") + bare.count(b"{") > most:
            raise DataError(f"more than {MAX_CONTAINERS:,} lists and dictionaries; use numpy arrays")


def loads(text: str | bytes) -> Data:
    """Parse strict JSON: no NaN, no Infinity, no number that overflows to one.

    Args:
        text: One JSON document.

    Returns:
        Plain finite data.

    Raises:
        DataError: The text is not strict JSON.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}") from error


def loads_document(text: str) -> Data:
    """A model's JSON document as plain data: as :func:`loads`, and no name twice in an object.

    Args:
        text: The whole document.

    Raises:
        DataError: It is not strict JSON, or one of its objects has a name twice: readers differ on which one counts.
    """
    value = loads(text)
    json.loads(text, object_pairs_hook=_refuse_twice)
    return value


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise DataError(f"an object has the name {_short(name)} twice; give each once")
        seen.add(name)


def _refuse_constant(text: str) -> Any:
    raise DataError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DataError(f"{_short(text)} is not a finite number")
    return value


def _arrays(specs: list[Any], blob: bytes, offset: int, widen: bool) -> list[Any]:
    import numpy as np

    arrays = []
    for spec in specs:
        dtype, shape = spec["dtype"], spec["shape"]
        if dtype not in ARRAY_DTYPES:
            raise DataError(f"array of dtype {_short(dtype)}")
        if len(shape) > MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
            raise DataError(f"array of shape {_short(shape)}")
        if _is_hollow(shape):
            raise DataError(f"array of shape {_short(shape)}, without elements")
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if offset + size > len(blob):
            raise DataError("an array ends early")
        array = np.frombuffer(blob, dtype=dtype, count=count, offset=offset).reshape(shape).copy()
        if array.dtype.kind == "b" and (array.view("u1") > 1).any():
            raise DataError("an array of booleans holds a byte that is neither 0 nor 1")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError("an array holds a number that is not finite")
        arrays.append(_widened(array) if widen else array)
        offset += size
    return arrays


def _widened(array: Any) -> Any:
    if array.dtype.kind == "b":
        return array
    too_large = array.dtype.kind == "u" and array.dtype.itemsize == 8 and (array >> 63).any()
    return array.astype("f8" if array.dtype.kind == "f" or too_large else "i8", copy=False)


def _is_hollow(shape: Any) -> bool:
    """Whether an array says in no bytes at all that it is huge, so that adding it up takes gigabytes."""
    return 0 in shape and math.prod(n for n in shape if n) > MAX_EMPTY


def _restore(value: Any, arrays: list[Any], depth: int) -> Any:
    if not isinstance(value, (list, dict)):
        return value
    if isinstance(value, dict) and ARRAY_KEY in value:
        index = value[ARRAY_KEY]
        if type(index) is not int or index < 0:
            raise DataError(f"array index {_short(index)}")
        # Once, since a reader that changes one array in place does not expect another to change with it.
        array, arrays[index] = arrays[index], None
        if array is None:
            raise DataError(f"array {index} stands in two places")
        return array
    if depth >= MAX_DEPTH:
        raise DataError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [_restore(v, arrays, depth + 1) for v in value]
    return {k: _restore(v, arrays, depth + 1) for k, v in value.items()}


def _short(value: object) -> str:
    """What an adversary wrote, short enough for a message."""
    return reprlib.repr(value)
