"""What every sandbox must do for honest programs. Part of :mod:`discovery.testing.sandbox`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np

from discovery import data
from discovery.errors import SandboxError
from discovery.records import FailureKind
from discovery.sandbox.base import FunctionCall
from discovery.testing.sandbox import QUICK, Bench, case, failed


@case
async def returns_plain_data(bench: Bench) -> None:
    """All kinds of plain data come back as they are."""
    value = await bench.value(
        "def solve(x):\n    return {'x': x, 'n': None, 'b': True, 's': '\\u00e4\\U0001f600', 'big': 2**80}",
        [1, 2.5, "a", {"k": []}],
    )
    assert value == {"x": [1, 2.5, "a", {"k": []}], "n": None, "b": True, "s": "ä😀", "big": 2**80}


@case
async def takes_and_returns_arrays(bench: Bench) -> None:
    """Arrays go in and out with dtype and shape."""
    given = np.arange(6, dtype="<i4").reshape(2, 3)
    source = "def solve(a):\n    return [a.T, a.astype('float32'), a > 2]"
    turned, floats, flags = await bench.value(source, given)
    assert turned.shape == (3, 2)
    assert (turned == given.T).all()
    assert floats.dtype == np.float32
    assert flags.dtype == np.bool_


@case
async def takes_keyword_arguments(bench: Bench) -> None:
    """Keyword arguments arrive."""
    request = FunctionCall(
        source="def solve(a, *, b):\n    return [a, b]",
        function="solve",
        arguments=data.encode([[1], {"b": 2}]),
        limits=QUICK,
    )
    result = await (await bench.sandbox()).run(request)
    assert result.data is not None
    assert data.decode(result.data) == [1, 2]


@case
async def large_result(bench: Bench) -> None:
    """A result of many pipe buffers comes whole."""
    limits = replace(QUICK, result_bytes=16 << 20)
    value = await bench.value("import numpy as np\ndef solve():\n    return np.ones(10**6)", limits=limits)
    assert value.sum() == 10**6


@case
async def large_source_and_arguments(bench: Bench) -> None:
    """A large request arrives whole."""
    source = "x = '" + "y" * (1 << 20) + "'\ndef solve(a):\n    return [len(x), len(a)]"
    assert await bench.value(source, "z" * (4 << 20)) == [1 << 20, 4 << 20]


@case
async def exception_names_line(bench: Bench) -> None:
    """An exception is a crash, with its line, and a traceback of the candidate's frames only."""
    result = await bench.call("def f(x):\n    return 1 / x\n\ndef solve():\n    return f(0)\n")
    message = failed(result, FailureKind.CRASHED)
    assert message == "ZeroDivisionError: division by zero (line 2)"
    assert result.failure is not None
    detail = result.failure.detail or ""
    assert "line 5, in solve" in detail
    assert "return 1 / x" in detail
    assert "zygote" not in detail


@case
async def exception_inside_a_package_names_own_line(bench: Bench) -> None:
    """The line is the candidate's, wherever the exception arose."""
    result = await bench.call(
        "import numpy as np\ndef solve():\n    a = 1\n    return np.linalg.inv(np.zeros((2, 2)))\n"
    )
    message = failed(result, FailureKind.CRASHED)
    assert message.startswith("LinAlgError: "), message
    assert message.endswith("(line 4)"), message


@case
async def syntax_error_names_line(bench: Bench) -> None:
    """A syntax error is a crash, with its line."""
    message = failed(await bench.call("x = 1\ndef solve(:\n    pass\n"), FailureKind.CRASHED)
    assert message.startswith("SyntaxError: "), message
    assert message.endswith("(line 2)"), message


@case
async def null_byte_in_source(bench: Bench) -> None:
    """A source that cannot be compiled at all is a crash."""
    failed(await bench.call("x = '\0'\n"), FailureKind.CRASHED)


@case
async def missing_function(bench: Bench) -> None:
    """A missing or uncallable function is named."""
    assert "'solve'" in failed(await bench.call("x = 1"), FailureKind.MISSING_FUNCTION)
    failed(await bench.call("solve = 1"), FailureKind.MISSING_FUNCTION)


@case
async def not_plain_data(bench: Bench) -> None:
    """What is not plain finite data is named."""
    for value in (
        "object()",
        "float('nan')",
        "{1: 2}",
        "lambda: 0",
        "b'x'",
        "__import__('numpy').array([1j])",
        "__import__('numpy').array([float('inf')])",
    ):
        failed(await bench.call(f"def solve():\n    return {value}"), FailureKind.BAD_DATA)


@case
async def exits(bench: Bench) -> None:
    """Ending the process in any way is a crash that says how."""
    for body, said in (
        ("import sys; sys.exit(3)", "sys.exit(3)"),
        ("exit()", "sys.exit"),
        ("import os; os._exit(0)", "exited with status 0 before 'solve' returned"),
        ("import os; os._exit(7)", "status 7"),
        ("import os; os.abort()", "SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
        ("import os; os.kill(os.getpid(), 15)", "SIGTERM"),
        ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ):
        message = failed(await bench.call(f"def solve():\n    {body}"), FailureKind.CRASHED)
        assert said in message, (body, message)


@case
async def captures_output(bench: Bench) -> None:
    """Standard output and error are captured, from Python and below."""
    result = await bench.call(
        "import os, sys\ndef solve():\n    print('out')\n    print('err', file=sys.stderr)\n"
        "    os.system('echo shell')\n    return 1"
    )
    assert sorted(result.stdout.split()) == ["out", "shell"], result
    assert result.stderr == "err\n", result


@case
async def caps_output(bench: Bench) -> None:
    """Output past the cap is dropped, and the program goes on."""
    limits = replace(QUICK, output_bytes=1000)
    result = await bench.call("def solve():\n    print('x' * 10**7)\n    return 1", limits=limits)
    assert result.data is not None
    assert len(result.stdout) + len(result.stderr) == 1000


@case
async def recursion(bench: Bench) -> None:
    """Endless recursion is a crash, whichever way Python notices."""
    failed(await bench.call("def solve():\n    return solve()"), FailureKind.CRASHED)


@case
async def fresh_module_each_time(bench: Bench) -> None:
    """A request finds nothing of the one before: globals, modules, environment, files, umask, cwd."""
    source = (
        "import builtins, json, os, sys\nx = globals().get('x', 0) + 1\n"
        "def solve():\n    seen = [x, hasattr(builtins, 'left'), 'left' in sys.modules,\n"
        "            os.environ.get('LEFT'),\n"
        "            hasattr(json, 'left'), os.path.exists('/tmp/left'), os.path.exists('left')]\n"
        "    builtins.left = json.left = sys.modules['left'] = 1\n    os.environ['LEFT'] = '1'\n"
        "    open(os.path.join(os.environ.get('TMPDIR', '/tmp'), 'left'), 'w').close()\n"
        "    open('left', 'w').close()\n    return seen"
    )
    for _ in range(2):
        assert await bench.value(source) == [1, False, False, None, False, False, False]


@case
async def the_locale_is_there(bench: Bench) -> None:
    """Programs that ask for the locale of their environment get it, and it is one of UTF-8."""
    source = (
        "import locale\ndef solve():\n    locale.setlocale(locale.LC_ALL, '')\n"
        "    return locale.nl_langinfo(locale.CODESET)"
    )
    assert await bench.value(source) == "UTF-8"


@case
async def random_state_is_reproducible(bench: Bench) -> None:
    """Equal requests draw equal numbers; other arguments draw others."""
    source = (
        "import random, numpy as np\ndef solve(n):\n"
        "    return [random.random(), float(np.random.random()), list({'a', 'b', 'c', 'd', 'e'})]"
    )
    first, again = await bench.value(source, 1), await bench.value(source, 1)
    other = await bench.value(source, 2)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]
    assert first[2] == other[2]
    await bench.discard()
    assert await bench.value(source, 1) == first


@case
async def standard_machinery_works(bench: Bench) -> None:
    """Threads, asyncio, process pools, subprocesses, temporary files, dataclasses and pickle work."""
    value = await bench.value(_MACHINERY)
    assert value == {"threads": 6, "asyncio": 3, "pool": [0, 1, 4], "shell": "hi", "pickle": 5, "own": 3}


_MACHINERY = """
import asyncio, dataclasses, pickle, subprocess, sys, tempfile, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

@dataclasses.dataclass
class Point:
    x: int

def square(x):
    return x * x

async def count():
    process = await asyncio.create_subprocess_exec("true")
    assert await process.wait() == 0
    reader = await asyncio.gather(*(asyncio.sleep(0.001, 1) for _ in range(3)))
    return sum(reader)

def solve():
    with ThreadPoolExecutor(3) as pool:
        threads = sum(pool.map(int, [1, 2, 3]))
    with ProcessPoolExecutor(2) as pool:
        squares = list(pool.map(square, range(3)))
    shell = subprocess.run(["sh", "-c", "echo hi"], capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/x", "w") as file:
            file.write("y")
    own = subprocess.run([sys.executable, "-c", "import numpy; print(1 + 2)"], capture_output=True, text=True)
    return {"threads": threads, "asyncio": asyncio.run(count()), "pool": squares, "shell": shell,
            "pickle": pickle.loads(pickle.dumps(Point(5))).x, "own": int(own.stdout or -1)}
"""


@case
async def command_reads_and_writes(bench: Bench) -> None:
    """A command gets its standard input; its output is the data, its status is reported."""
    source = "import sys\nprint(sys.stdin.read()[::-1])\nprint('log', file=sys.stderr)\nsys.exit(3)"
    result = await bench.command(source, "python3", "{program}", stdin=b"abc")
    assert result.failure is None
    assert (result.data, result.exit_code, result.stderr) == (b"cba\n", 3, "log\n"), result
    echo = await bench.command("", "cat", stdin=b"z" * (3 << 20), limits=replace(QUICK, result_bytes=4 << 20))
    assert echo.data == b"z" * (3 << 20)


@case
async def command_limits(bench: Bench) -> None:
    """A command is held to the limits, and its end is told."""
    limits = replace(QUICK, wall_s=0.3)
    failed(await bench.command("", "sleep", "60", limits=limits), FailureKind.TIMEOUT)
    failed(await bench.command("", "sh", "-c", "kill -SEGV $$"), FailureKind.CRASHED)
    assert "nope" in failed(await bench.command("", "nope"), FailureKind.CRASHED)
    endless = await bench.command(
        "", "sh", "-c", "while :; do echo y; done", limits=replace(QUICK, result_bytes=10_000)
    )
    assert "10,000 bytes" in failed(endless, FailureKind.OUTPUT)


@case
async def command_imports_packages(bench: Bench) -> None:
    """A Python command can import the named packages."""
    result = await bench.command("import numpy; print(numpy.arange(3).sum())")
    assert result.data == b"3\n", result


@case
async def cancellation_ends_the_request(bench: Bench) -> None:
    """A cancelled request is gone when the cancellation returns, and the sandbox is usable or replaced."""
    source = "import os, time\ndef solve():\n    if os.fork() == 0:\n        os.setsid()\n    time.sleep(60)"
    await bench.sandbox()
    before = bench.world.processes()
    task = asyncio.create_task(bench.call(source, limits=replace(QUICK, wall_s=60)))
    await asyncio.sleep(0.2)
    assert bench.world.processes() - before
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await bench.settle()
    else:
        raise AssertionError("the request was not cancelled")


@case
async def close_leaves_nothing(bench: Bench) -> None:
    """After ``close``, twice, no process of the sandbox is left, even in the middle of a request."""
    sandbox = await bench.sandbox()
    task = asyncio.create_task(
        bench.call("import time\ndef solve():\n    time.sleep(60)", limits=replace(QUICK, wall_s=60))
    )
    await asyncio.sleep(0.1)
    await sandbox.close()
    await sandbox.close()
    sandbox.cleanup()
    assert not bench.world.processes()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    assert isinstance(outcome, SandboxError), f"a request survived its sandbox: {outcome}"
    await bench.discard()
    await bench.sandbox()
