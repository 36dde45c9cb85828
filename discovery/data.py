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
import sys
from typing import Any

Data = Any
"""``None | bool | int | float | str | list[Data] | dict[str, Data] | numpy.ndarray``."""

MAX_DEPTH = 64
ARRAY_KEY = "__array__"
ARRAY_DTYPES = frozenset(["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"])
_HEADER_DIGITS = 8


try:
    from discovery.errors import DataError
except ImportError:  # inside the sandbox, where only this file is

    class DataError(ValueError):  # type: ignore[no-redef]
        """A value is not plain finite data."""


def encode(value: Data) -> bytes:
    """Encode plain data.

    Tuples become lists, numpy scalars become numbers. Arrays keep dtype and shape, in C order.

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
    if depth >= MAX_DEPTH:
        raise DataError(f"{where} is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, (list, tuple)):
        return [_plain(v, f"{where}[{i}]", depth + 1, arrays) for i, v in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str or key == ARRAY_KEY:
                raise DataError(f"{where} has the key {key!r}; keys must be strings")
        return {k: _plain(v, f"{where}[{k!r}]", depth + 1, arrays) for k, v in value.items()}
    np = sys.modules.get("numpy")
    if np is not None:
        if isinstance(value, np.generic):
            return _plain(value.item(), where, depth + 1, arrays)
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value).reshape(value.shape)
            if array.dtype.byteorder == ">":
                array = array.astype(array.dtype.newbyteorder("<"))
            if array.dtype.str not in ARRAY_DTYPES:
                raise DataError(f"{where} is an array of {value.dtype}; use booleans or numbers")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise DataError(f"{where} holds a number that is not finite")
            arrays.append(array)
            return {ARRAY_KEY: len(arrays) - 1}
    if isinstance(value, (int, float, str)):
        return _plain(kind.__mro__[-2](value), where, depth + 1, arrays)
    raise DataError(
        f"{where} is a {kind.__module__}.{kind.__qualname__}; return numbers, strings, lists, "
        "dictionaries or numpy arrays"
    )


def decode(blob: bytes) -> Data:
    """Decode what :func:`encode` wrote, trusting nothing.

    Args:
        blob: Bytes, possibly hostile. The caller has capped their length.

    Returns:
        Plain finite data; every array is a fresh, writable ``numpy.ndarray``.

    Raises:
        DataError: The bytes are not an encoding of plain finite data.
    """
    try:
        length = int(blob[:_HEADER_DIGITS].decode("ascii"), 16)
        if length < 0 or len(blob) < _HEADER_DIGITS + length:
            raise DataError("the data ends early")
        header = loads(blob[_HEADER_DIGITS : _HEADER_DIGITS + length])
        value, specs = header["value"], header["arrays"]
        arrays = _arrays(specs, blob, _HEADER_DIGITS + length) if specs else []
        return _restore(value, arrays, 0) if arrays else value
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, OverflowError) as error:
        raise DataError(f"the bytes are not plain data: {error}") from error


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


def _refuse_constant(text: str) -> Any:
    raise DataError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DataError(f"{text} is not a finite number")
    return value


def _arrays(specs: list[Any], blob: bytes, offset: int) -> list[Any]:
    import numpy as np

    arrays = []
    for spec in specs:
        dtype, shape = spec["dtype"], spec["shape"]
        if dtype not in ARRAY_DTYPES:
            raise DataError(f"array of dtype {dtype!r}")
        if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 32:
            raise DataError(f"array of shape {shape!r}")
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if offset + size > len(blob):
            raise DataError("an array ends early")
        array = np.frombuffer(blob, dtype=dtype, count=count, offset=offset).reshape(shape).copy()
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise DataError("an array holds a number that is not finite")
        arrays.append(array)
        offset += size
    return arrays


def _restore(value: Any, arrays: list[Any], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise DataError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [_restore(v, arrays, depth + 1) for v in value]
    if isinstance(value, dict):
        if ARRAY_KEY in value:
            index = value[ARRAY_KEY]
            if type(index) is not int or index < 0:
                raise DataError(f"array index {index!r}")
            return arrays[index]
        return {k: _restore(v, arrays, depth + 1) for k, v in value.items()}
    return value
