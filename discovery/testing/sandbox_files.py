"""Programs of several files. Part of :mod:`discovery.testing.sandbox`."""

from __future__ import annotations

from dataclasses import replace

from discovery.records import FailureKind
from discovery.testing.sandbox import QUICK, Bench, attack, case, failed

_GEOMETRY = "from shapes.plain import side\n\ndef area():\n    return side() ** 2\n"
_FILES = {"geometry.py": _GEOMETRY, "shapes/plain.py": "def side():\n    return 3\n"}
_MAIN = "from geometry import area\n\ndef solve():\n    return area()\n"


@case
async def files_of_a_call(bench: Bench) -> None:
    """The entry finds its siblings, folders among them; the next request finds none of them."""
    assert await bench.value(_MAIN, file="main.py", files=_FILES) == 9
    other = {"geometry.py": "area = lambda: 1\n"}
    assert await bench.value(_MAIN, file="main.py", files=other) == 1
    assert "geometry" in failed(await bench.call(_MAIN), FailureKind.CRASHED)
    listed = await bench.value("import os\ndef solve():\n    return sorted(os.listdir('.'))\n")
    assert listed == ["candidate.py"], listed


@case
async def files_of_a_traceback(bench: Bench) -> None:
    """What goes wrong is told with the file that it goes wrong in."""
    files = {"geometry.py": "def area():\n    return 1 / 0\n"}
    result = await bench.call(_MAIN, file="main.py", files=files)
    told = failed(result, FailureKind.CRASHED)
    assert "geometry.py, line 2" in told, told
    assert result.failure is not None
    assert "main.py, line 4, in solve" in (result.failure.detail or ""), result.failure
    told = failed(
        await bench.call(_MAIN, file="main.py", files={"geometry.py": "def area(\n"}), FailureKind.CRASHED
    )
    assert "geometry.py, line 1" in told, told


@case
async def files_of_a_command(bench: Bench) -> None:
    """A command finds them beside its program, and so does a build."""
    source = "from geometry import area\nprint(area())\n"
    result = await bench.command(source, file="main.py", files=_FILES)
    assert (result.data, result.exit_code) == (b"9\n", 0), result
    files = {"parts/head": "#!/bin/sh\n", "tail": "echo built\n"}
    script = 'cat parts/head tail > "$1"'
    built = await bench.command(
        script, "sh", "{program}", "{binary}", file="main.sh", files=files, collects=True
    )
    assert built.binary == b"#!/bin/sh\necho built\n", built
    assert (await bench.command("", "ls", "-A", suffix="")).data == b"program\n"


@case
async def files_are_limited_together(bench: Bench) -> None:
    """It is the sum of all files that has to fit."""
    limits = replace(QUICK, file_bytes=1 << 16)
    half = "#" + "x" * (1 << 15) + "\n"
    assert await bench.value(_MAIN, file="main.py", files={**_FILES, "a.py": half}, limits=limits) == 9
    files = {**_FILES, "a.py": half, "b.py": half}
    told = failed(await bench.call(_MAIN, file="main.py", files=files, limits=limits), FailureKind.CRASHED)
    assert "more than may be written" in told, told


@attack
async def files_named_like_modules(bench: Bench) -> None:
    """Files with the names of what the sandbox itself imports change neither its answers nor later requests."""
    names = ("json", "data", "program", "request", "encodings", "linecache", "types", "numpy", "codecs", "os")
    shadow = "raise SystemExit('shadowed')\n"
    files = {f"{name}.py": shadow for name in names}
    source = """
import json, os, types
import numpy as np

def solve(fails):
    if fails:
        raise ValueError("as it should")
    return [json.dumps([1]), np.arange(2.0), {"a": np.float64(1.5)}]
"""
    value = await bench.value(source, False, file="main.py", files=files)
    assert value[0] == "[1]", value
    assert (value[1].tolist(), value[2]) == ([0.0, 1.0], {"a": 1.5}), value
    told = failed(await bench.call(source, True, file="main.py", files=files), FailureKind.CRASHED)
    assert "as it should (main.py, line 7)" in told, told
    assert await bench.value("def solve():\n    import json\n    return json.dumps([1])\n") == "[1]"
