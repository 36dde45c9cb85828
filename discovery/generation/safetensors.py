"""Headers of safetensors files, read with the standard library: what a file holds, and whether it is whole.

A file is eight bytes of length, so many bytes of JSON, and the tensors. A copy that broke off, or a training run that
was killed while it saved, shows in the sizes, without a byte of the tensors being read.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.errors import WeightsError

_LENGTH = struct.Struct("<Q")
_LONGEST_HEADER = 100_000_000
"""What the format allows, in bytes."""
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64"), 64),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a file.

    Args:
        dtype: As the format names it: ``F32``, ``BF16``, ...
        shape: Its dimensions.
        begin: Its first byte within the file.
        end: The byte after its last.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file, by name.

    Raises:
        WeightsError: It cannot be read, is no such file, or is not whole.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH.size)
            length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
            if not 2 <= length <= min(_LONGEST_HEADER, size - _LENGTH.size):
                raise _broken(path, f"its {size} bytes do not begin as a safetensors file does")
            header = json.loads(file.read(length))
        tensors = _tensors(header, _LENGTH.size + length)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}; is it there, and whole?") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, WeightsError):
            raise
        raise _broken(path, f"its header is no list of tensors ({type(error).__name__}: {error})") from error
    for name, tensor in tensors.items():
        bits = _BITS.get(tensor.dtype)
        wanted = None if bits is None else math.prod(tensor.shape) * bits // 8
        if wanted not in (None, tensor.end - tensor.begin):
            found = tensor.end - tensor.begin
            raise _broken(
                path, f"{name} of shape {list(tensor.shape)} and type {tensor.dtype} has {found} bytes"
            )
    end = max((tensor.end for tensor in tensors.values()), default=_LENGTH.size + length)
    if size != end:
        raise _broken(path, f"it has {size} bytes and its header says {end}")
    return tensors


def _tensors(header: Any, offset: int) -> dict[str, Tensor]:
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        shape = tuple(int(size) for size in entry["shape"])
        found[name] = Tensor(
            dtype=str(entry["dtype"]), shape=shape, begin=offset + int(begin), end=offset + int(end)
        )
    return found


def _broken(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path} is not whole: {what}; copy or save it again")
