"""Executes one candidate inside its confined child, and says what came of it.

Everything here shares a process with candidate code, so nothing that it says is to be trusted: the host
takes the bytes as the candidate's own words, which is what they are.
"""

import json
import linecache
import os
import random
import signal
import sys
import types

import data

_exit, _os_write = os._exit, os.write  # a program that patches these only misses its own result
MESSAGE_CHARS = 500
DETAIL_CHARS = 8000
_FRAMES = 20


def call(request: dict, limits: dict, source: str, arguments: bytes, result: int, path: str) -> None:
    """Execute a source as the module ``candidate``, call its function, write the result; never returns.

    Args:
        request: ``function`` and ``seed``.
        limits: Fields of ``discovery.problem.Limits``.
        source: The program.
        arguments: Encoded ``[args, kwargs]``.
        result: Descriptor to write ``D`` and encoded data, or ``F`` and a failure, to.
        path: The program's file, for tracebacks and for processes that import it.
    """
    answer = _answer(request, limits, source, arguments, path)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue  # the program closed or replaced it
    write(result, answer)
    _exit(0)


def _answer(request: dict, limits: dict, source: str, arguments: bytes, path: str) -> bytes:
    try:
        args, kwargs = data.decode(arguments)
        _seed(request["seed"])
        module = types.ModuleType("candidate")
        module.__file__ = path
        sys.modules["candidate"] = module
        linecache.cache[path] = (len(source), None, source.splitlines(True), path)
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
        function = module.__dict__.get(request["function"])
        if not callable(function):
            name = request["function"]
            return _failure("missing_function", f"the program defines no function {name!r}")
        value = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  the boundary between the candidate and this process
        return _raised(error, source, path, limits)
    try:
        encoded = data.encode(value)
    except data.DataError as error:
        return _failure("bad_data", str(error))
    except BaseException as error:  # noqa: BLE001  values with methods of their own
        return _raised(error, source, path, limits)
    if len(encoded) > limits["result_bytes"]:
        return _failure(
            "output",
            f"returned {len(encoded):,} bytes; the limit is {limits['result_bytes']:,} bytes",
        )
    return b"D" + encoded


def _seed(seed: int) -> None:
    random.seed(seed)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(seed & 0xFFFFFFFF)


def _raised(error: BaseException, source: str, path: str, limits: dict) -> bytes:
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == path:
            frames.append((trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    error.__traceback__ = None  # lets go of what the frames hold, before anything is written
    if isinstance(error, SyntaxError) and error.filename == path and error.lineno:
        frames.append((error.lineno, "<module>"))
        text = str(error.msg)
    else:
        text = _text(error)
    line = f" (line {frames[-1][0]})" if frames else ""
    name = type(error).__name__[:100]
    if isinstance(error, MemoryError):
        megabytes = limits["memory_bytes"] / (1 << 20)
        return _failure("memory", f"ran past the memory limit of {megabytes:,.0f} MiB{line}")
    if isinstance(error, SystemExit):
        return _failure("crashed", f"exited with sys.exit({text[:80]}){line}")
    lines = source.splitlines()
    shown = frames[-_FRAMES:]
    detail = ["Traceback (most recent call last):"]
    if len(frames) > _FRAMES:
        detail.append(f"  ... {len(frames) - _FRAMES} more")
    for number, function in shown:
        detail.append(f"  line {number}, in {function}")
        if 0 < number <= len(lines):
            detail.append(f"    {lines[number - 1].strip()[:200]}")
    detail.append(f"{name}: {text}")
    short = " ".join(text.split())[: MESSAGE_CHARS - 150]
    return _failure("crashed", f"{name}: {short}{line}" if short else f"{name}{line}", "\n".join(detail))


def _text(error: BaseException) -> str:
    try:
        return str(error)[:DETAIL_CHARS]
    except BaseException:  # noqa: BLE001  __str__ of the candidate's own exception class
        return "(its text cannot be read)"


def _failure(kind: str, message: str, detail: str | None = None) -> bytes:
    record = {
        "kind": kind,
        "message": message[:MESSAGE_CHARS],
        "detail": detail[:DETAIL_CHARS] if detail else None,
    }
    return b"F" + json.dumps(record).encode()


def write(descriptor: int, blob: bytes) -> None:
    """Write all of it."""
    view = memoryview(blob)
    while view:
        view = view[_os_write(descriptor, view) :]


def save(path: str, source: bytes, result: int) -> None:
    """Write the program's file; a program that does not fit its own limit fails, and this never returns."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        write(file, source)
        os.close(file)
    except OSError as error:
        told = f"the program's {len(source):,} bytes cannot be written to its directory: {error.strerror}"
        write(result, _failure("crashed", told))
        _exit(1)


def execute(request: dict, result: int, path: str) -> None:
    """Replace this process by the request's command; never returns.

    Args:
        request: ``argv``, ``"{program}"`` standing for the program's file.
        result: Descriptor for a failure to start; it closes when the command starts.
        path: The program's file.
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # as a shell would start it
    argv = [part.replace("{program}", path) for part in request["argv"]]
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        write(result, _failure("crashed", f"cannot start {argv[0]!r}: {error.strerror}"))
    _exit(127)
