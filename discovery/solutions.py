"""Solutions in files: strict JSON, or an array as numpy writes it.

Nothing of a file is executed: pickles are refused, in arrays too. What is read obeys the rules for what a program may
return (:mod:`discovery.data`): plain, finite, no more bytes than ``Limits.result_bytes``.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

from discovery import data
from discovery.bundle import BundleError, bundled, check_same, is_bundle, read_folder, unbundled
from discovery.data import Data
from discovery.errors import DataError, UsageError, boundary
from discovery.problem import Problem

SUFFIXES = (".json", ".npy")
"""Endings of the files that are data; all others are programs."""
_EXPECTED = "expected a program, a .json file or a .npy file"


def is_data(file: Path) -> bool:
    """Whether a file's name says that it holds data, not a program."""
    return file.suffix.lower() in SUFFIXES


def read_text(file: Path) -> str:
    """The text of a program or of a JSON document.

    Raises:
        UsageError: It cannot be read, or is no text.
    """
    try:
        return _bytes(file, None).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"solution {file}: it is not UTF-8 text; {_EXPECTED}") from error


def read_program(place: Path, problem: Problem) -> str:
    """The source of a program: a file, or where candidates are of several files a folder of them or their bundle.

    Raises:
        UsageError: It cannot be read, or has not the problem's files.
    """
    if not problem.files:
        return read_text(place)
    expected = f"expected a folder with {', '.join(problem.files)}, or data"
    try:
        if place.is_dir():
            files = read_folder(place, problem.files[0])
        else:
            text = read_text(place)
            if not is_bundle(text):
                raise UsageError(
                    f"solution {place}: it is one file, and candidates are of several; {expected}"
                )
            files = unbundled(text)
        check_same(files, problem.files)
    except (BundleError, OSError) as error:
        raise UsageError(f"solution {place}: {error}; {expected}") from error
    return bundled(files)


def read_solution(file: Path, problem: Problem) -> Data:
    """The data in a file whose name ends as one of ``SUFFIXES``.

    Args:
        file: The file.
        problem: Says how much a solution may take.

    Returns:
        Plain finite data, arrays as lists.

    Raises:
        UsageError: It cannot be read, is too large, or holds anything else.
    """
    content = _bytes(file, problem.settings.limits.result_bytes)
    try:
        value = _array(content) if file.suffix.lower() == ".npy" else data.loads_document(_decoded(content))
        data.encode(value)  # says where something is nested too deep, or not plain
        return value
    except DataError as error:
        kind = (
            "an array of numbers as numpy.save writes it" if file.suffix.lower() == ".npy" else "strict JSON"
        )
        raise UsageError(f"solution {file}: {error}; expected {kind}") from error


def _bytes(file: Path, most: int | None) -> bytes:
    try:
        if file.exists() and not file.is_file():
            reason = "Is a directory" if file.is_dir() else "it is no file of bytes"
            raise UsageError(f"solution {file}: {reason}; {_EXPECTED}")
        size = file.stat().st_size
        if most is not None and size > most:
            raise UsageError(
                f"solution {file}: it has {size:,} bytes; at most {most:,} are read of a solution"
            )
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"solution {file}: {error.strerror}; {_EXPECTED}") from error


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"it is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _array(content: bytes) -> Data:
    """An array as lists, once its header is known to say what is there: finite numbers, and no more."""
    import numpy as np

    file = io.BytesIO(content)
    with boundary("not an array", DataError):
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise DataError(
                f"its format is {version[0]}.{version[1]}, which numpy uses for names of fields only"
            )
        shape, is_fortran, dtype = read[version](file)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise DataError(f"it is an array of {dtype}, not of booleans or numbers of 64 bits at most")
    count, rest = math.prod(shape), content[file.tell() :]
    if any(n < 0 for n in shape) or count * dtype.itemsize != len(rest):
        raise DataError(f"its shape is {shape} of {dtype}, and {len(rest):,} bytes of it are there")
    array = np.frombuffer(rest, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")
    return data.decode(data.encode(array), widen=True).tolist()
