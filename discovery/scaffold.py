"""A first problem of one's own: a folder that runs at once and that its author changes from there.

What is made is a small real search, not a stub: a curve through given points, whose formula and
constants stand in an EVOLVE-BLOCK. The embedded generator improves the constants, a model may change the
formula as well.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from discovery.errors import UsageError
from discovery.plugins import bundled_problems

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MAX_NAME = 60

_PROBLEM = '''"""Fit a curve to points: change this into your own problem.

`discovery check .` tells what is wrong with it, `discovery run .` searches.
"""

import math

from discovery import Invalid, Limits, Score, problem

XS = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.75, 3.0]
YS = [2.697, 1.63, 0.166, -0.794, -0.885, -0.315, 0.415, 0.868, 0.884, 0.582, 0.219, 0.006, 0.014]


def picture(artifact, axes):
    """Draw a solution; the end of a run saves it. Leave it out if there is nothing to see."""
    axes.plot(XS, YS, "o", label="given")
    axes.plot(XS, artifact, label="found")
    axes.legend()


@problem(
    name="{name}",
    direction="minimize",
    entry="curve",
    bounds=(0.0, None),
    limits=Limits(wall_s=5.0),
    picture=picture,
)
def score(program):
    """Root mean squared error. This never runs candidate code: `program.call` does, in a sandbox."""
    values = program.call("curve", XS)
    if not isinstance(values, list) or len(values) != len(XS):
        raise Invalid(f"curve(xs) must return a list of {{len(XS)}} numbers")
    for value in values:
        # Whatever a program can return, it will: check all of it.
        if not isinstance(value, (int, float)) or not abs(value) < 1e6:
            raise Invalid(f"{{value!r}} is not a number below a million")
    error = math.dist(values, YS) / math.sqrt(len(XS))
    worst = max(abs(a - b) for a, b in zip(values, YS, strict=True))
    return Score(value=error, metrics={{"worst": worst}}, artifact=values)
'''

_STATEMENT = """# A curve through points

Write a Python function `curve(xs)` that takes a list of numbers and returns a list of as many numbers: the
values of a smooth curve at those places.

The curve shall pass through 13 given points as closely as it can. They start at (0, 2.697), swing through
one and a half periods of a damped oscillation around a small positive value, and end at (3, 0.014).

The score is the root mean squared distance to the points; lower is better. A result with a wrong length,
or with anything in it that is not a finite number, is invalid. Use Python's standard library only.
"""

_INITIAL = '''"""A damped oscillation with guessed constants."""

import math


# EVOLVE-BLOCK-START
def curve(xs):
    amplitude = 2.0
    decay = 0.5
    frequency = 3.5
    phase = 0.1
    offset = 0.1
    return [
        amplitude * math.exp(-decay * x) * math.cos(frequency * x + phase) + offset for x in xs
    ]
# EVOLVE-BLOCK-END
'''

_README = """# {name}

```
discovery check .        # everything that is wrong with it, each with its fix
discovery score . initial.py
discovery run .          # search with the embedded generator; no model is needed
```

(From elsewhere, give the folder's path instead of the dot.)

- `statement.md`: what a model is told. Say what is given, what to return, what is valid, how it is scored.
- `initial.py`: where the search starts. Only what stands between the EVOLVE-BLOCK lines may change; without
  such lines all of it may.
- `problem.py`: the scorer. It gets data from the candidate, decides whether it is valid, and computes the
  score from that data alone. Raise `Invalid("reason")` for what breaks the rules: the model reads the reason.

To search with a model, serve one at any OpenAI-compatible address:
`discovery run . --generator openai --base-url http://localhost:8000/v1`.
"""


def create_problem(name: str, parent: Path) -> Path:
    """Make a folder with a small problem that runs at once.

    Args:
        name: Lower-case letters, digits and dashes, starting with a letter; not that of a bundled problem.
        parent: Existing folder that it is made in.

    Returns:
        The new folder.

    Raises:
        UsageError: The name is not allowed, the folder is there already, or it cannot be written. Nothing is
            left behind.
    """
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise UsageError(
            f"{name!r} cannot name a problem; use lower-case letters and digits, with single dashes between: "
            f"{_suggestion(name)}"
        )
    if name in bundled_problems():
        raise UsageError(f"{name!r} is a bundled problem; choose another name: my-{name}")
    folder = parent / name
    files = {
        "problem.py": _PROBLEM.format(name=name),
        "statement.md": _STATEMENT,
        "initial.py": _INITIAL,
        "README.md": _README.format(name=name),
    }
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise UsageError(f"{folder} is there already; choose another name, or remove it") from error
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}; choose a folder to write in") from error
    try:
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UsageError(f"{folder} cannot be written: {error.strerror}; make room") from error
    return folder


def _suggestion(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", name.lower())
    text = "-".join(words)[:_MAX_NAME].strip("-")
    return text if _NAME.fullmatch(text) else "my-problem"
