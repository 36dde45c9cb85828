"""Executes one candidate inside its confined child, and says what came of it.

Everything here shares a process with candidate code, so nothing that it says is to be trusted: the host
takes the bytes as the candidate's own words, which is what they are.
"""

import errno
import json
import linecache
import os
import random
import resource
import signal
import stat
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
        request: ``function`` and ``seed``; ``files`` where the program has others than its entry.
        limits: Fields of ``discovery.problem.Limits``.
        source: The program.
        arguments: Encoded ``[args, kwargs]``.
        result: Descriptor to write ``D`` and encoded data, or ``F`` and a failure, to.
        path: The program's file, for tracebacks and for processes that import it.
    """
    folder = os.path.dirname(path)  # noqa: PTH120
    texts = {path: source, **{f"{folder}/{file}": text for file, text in request.get("files", {}).items()}}
    answer = _answer(request, limits, texts, arguments, path)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue  # the program closed or replaced it
    write(result, answer)
    _exit(0)


def _answer(request: dict, limits: dict, texts: dict, arguments: bytes, path: str) -> bytes:
    source = texts[path]
    try:
        args, kwargs = data.decode(arguments)
        _seed(request["seed"])
        module = types.ModuleType("candidate")
        module.__file__ = path
        sys.modules["candidate"] = module
        for file, text in texts.items():
            linecache.cache[file] = (len(text), None, text.splitlines(True), file)
        if len(texts) > 1:
            # All that this process still needs is imported: a file named like one of it changes nothing here.
            sys.path.insert(0, os.path.dirname(path))  # noqa: PTH120
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
        function = module.__dict__.get(request["function"])
        if not callable(function):
            name = request["function"]
            return _failure("missing_function", f"the program defines no function {name!r}")
        value = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  the boundary between the candidate and this process
        return _raised(error, texts, limits)
    try:
        encoded = data.encode(value)
    except data.DataError as error:
        return _failure("bad_data", str(error))
    except BaseException as error:  # noqa: BLE001  values with methods of their own
        return _raised(error, texts, limits)
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


def _raised(error: BaseException, texts: dict, limits: dict) -> bytes:
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename in texts:
            frames.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    error.__traceback__ = None  # lets go of what the frames hold, before anything is written
    if isinstance(error, SyntaxError) and error.filename in texts and error.lineno:
        frames.append((error.filename, error.lineno, "<module>"))
        text = str(error.msg)
    else:
        text = _text(error)
    line = f" ({_place(*frames[-1][:2], texts)})" if frames else ""
    name = type(error).__name__[:100]
    if isinstance(error, MemoryError):
        megabytes = limits["memory_bytes"] / (1 << 20)
        return _failure("memory", f"ran past the memory limit of {megabytes:,.0f} MiB{line}")
    if isinstance(error, SystemExit):
        return _failure("crashed", f"exited with sys.exit({text[:80]}){line}")
    shown = frames[-_FRAMES:]
    detail = ["Traceback (most recent call last):"]
    if len(frames) > _FRAMES:
        detail.append(f"  ... {len(frames) - _FRAMES} more")
    for file, number, function in shown:
        detail.append(f"  {_place(file, number, texts)}, in {function}")
        lines = texts[file].splitlines()
        if 0 < number <= len(lines):
            detail.append(f"    {lines[number - 1].strip()[:200]}")
    detail.append(f"{name}: {text}")
    short = " ".join(text.split())[: MESSAGE_CHARS - 150]
    return _failure("crashed", f"{name}: {short}{line}" if short else f"{name}{line}", "\n".join(detail))


def _place(file: str, number: int, texts: dict) -> str:
    """A line, with its file where the program has several."""
    if len(texts) == 1:
        return f"line {number}"
    folder = os.path.dirname(next(iter(texts)))  # noqa: PTH120
    return f"{file[len(folder) + 1 :]}, line {number}"


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


def save(path: str, contents: bytes, mode: int, result: int, shared: bool) -> None:
    """Write a file of the program's; one that does not fit the program's own limit fails, and this never returns.

    Args:
        path: The file, which is not there yet.
        contents: All of it.
        mode: Its rights.
        result: Descriptor for the failure.
        shared: Whether others use the same disk: that it is full is then no fault of the program.

    Raises:
        OSError: Such a disk is full.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        write(file, contents)
        os.close(file)
    except OSError as error:
        if shared and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        told = f"the program's {len(contents):,} bytes cannot be written to its directory: {error.strerror}"
        write(result, _failure("crashed", told))
        _exit(1)


def save_beside(path: str, files: dict, most: int, result: int, shared: bool) -> None:
    """Write further files of the program's; where they are too much together, as ``save`` does where one is.

    Args:
        path: The entry's file.
        files: Paths in its folder to texts.
        most: Bytes that all of them may have.
        result: Descriptor for the failure.
        shared: As ``save`` takes it.

    Raises:
        OSError: The disk is full, and others use it.
    """
    folder = os.path.dirname(path)  # noqa: PTH120
    contents = {f"{folder}/{file}": text.encode() for file, text in files.items()}
    total = sum(map(len, contents.values()))
    if total > most:
        told = f"the program's files have {total - most:,} bytes more than may be written"
        write(result, _failure("crashed", told))
        _exit(1)
    for file, content in contents.items():
        os.makedirs(os.path.dirname(file), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        save(file, content, 0o600, result, shared)


def execute(request: dict, result: int, path: str, binary: str) -> None:
    """Replace this process by the request's command; never returns.

    Args:
        request: ``argv``, ``"{program}"`` and ``"{binary}"`` standing for the two files.
        result: Descriptor for a failure to start; it closes when the command starts.
        path: The program's file.
        binary: The executable file beside it.
    """
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # as a shell would start it
    argv = [part.replace("{program}", path).replace("{binary}", binary) for part in request["argv"]]
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        write(result, _failure("crashed", f"cannot start {argv[0]!r}: {error.strerror}"))
    _exit(127)


def build(request: dict, limits: dict, result: int, path: str, binary: str) -> None:
    """Run the request's command, then hand out what it left; ends as the command ended, and never returns.

    Args:
        request: As ``execute`` takes it.
        limits: Fields of ``discovery.problem.Limits``; ``result_bytes`` bounds the file.
        result: Descriptor to write ``B`` and the file, or ``F`` and a failure, or nothing to.
        path: The program's file.
        binary: Where the command is to leave a regular file.
    """
    child = os.fork()
    if child == 0:
        # Without this interpreter's memory it gets no more than it was to have.
        _, most = resource.getrlimit(resource.RLIMIT_AS)  # finite by now
        resource.setrlimit(resource.RLIMIT_AS, (min(limits["memory_bytes"], most),) * 2)
        execute(request, result, path, binary)
    _, status = os.waitpid(child, 0)
    contents = _collected(binary, limits["result_bytes"])
    if contents is not None and len(contents) > limits["result_bytes"]:
        told = f"the built file is larger than the limit of {limits['result_bytes']:,} bytes"
        write(result, _failure("output", told))
    elif contents is not None:
        write(result, b"B" + contents)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    _exit(code)


def _collected(path: str, most: int) -> bytes | None:
    """What stands in a regular file, one byte past the most at most; None where there is no such file."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        return None
    contents = bytearray()
    while len(contents) <= most and (chunk := os.read(file, min(1 << 20, most + 1 - len(contents)))):
        contents += chunk
    return bytes(contents)
