"""What a user declares: a problem, by one decorated scorer function.

The smallest plugin is one file::

    from discovery import problem

    @problem(name="half", statement="Return a number close to 0.5.", initial="def solve():\\n    return 0.0\\n")
    def score(program):
        return -abs(program.call("solve") - 0.5)

The usual one is a folder with ``problem.py``, ``statement.md`` and ``initial.<ext>`` beside it.

A scorer runs in a process of its own that never imports candidate code. It gets a :class:`Program`, whose ``call``
and ``run`` execute the candidate inside a sandbox and hand back *data*; the scorer decides validity and recomputes
the objective from that data alone.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from discovery.blocks import Frame
from discovery.data import Data
from discovery.errors import ProblemError
from discovery.records import Direction, Json, Score, text_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one use of a candidate's program may take; hitting one ends its whole process tree.

    Args:
        wall_s: Wall-clock seconds of one ``call`` or ``run``.
        cpu_s: CPU seconds of one process; None: the same as ``wall_s``, rounded up.
        memory_bytes: Address space of one process.
        processes: Processes and threads at once.
        file_bytes: Largest file, and all of the private temporary directory.
        output_bytes: Kept of standard output and error together; more is dropped.
        result_bytes: Largest returned data or output of ``run``.
    """

    wall_s: float = 10.0
    cpu_s: float | None = None
    memory_bytes: int = 1 << 30
    processes: int = 64
    file_bytes: int = 64 << 20
    output_bytes: int = 64 << 10
    result_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        for name in ("wall_s", "memory_bytes", "processes", "file_bytes", "output_bytes", "result_bytes"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ProblemError(f"limit {name} is {value!r}; it must be a positive number")
        if self.cpu_s is not None and not self.cpu_s > 0:
            raise ProblemError(f"limit cpu_s is {self.cpu_s!r}; it must be a positive number")

    @property
    def cpu_limit_s(self) -> int:
        """CPU seconds as the kernel takes them: whole, at least 1."""
        return max(1, math.ceil(self.cpu_s if self.cpu_s is not None else self.wall_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBest:
    """The best value known for a problem, and who says so.

    Args:
        value: Score in the problem's units.
        source: Publication or person.
        exact: Whether the value was recomputed from the published solution.
    """

    value: float
    source: str
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOutput:
    """What a program that was run as a process left behind.

    Args:
        stdout: Standard output, decoded as UTF-8 with replacement.
        stderr: Standard error, capped.
        exit_code: Exit status, 0 or more.
        wall_s: Wall-clock seconds.
        cpu_s: CPU seconds, children included.
    """

    stdout: str
    stderr: str
    exit_code: int
    wall_s: float
    cpu_s: float | None


class ProgramChannel(Protocol):
    """How a :class:`Program` reaches its sandbox; not for plugin authors."""

    def call(
        self, function: str, args: tuple[Data, ...], kwargs: Mapping[str, Data], timeout_s: float | None
    ) -> Data:
        """Call a function of the program; raises ProgramFailed."""
        ...

    def run(self, args: tuple[str, ...], stdin: bytes, timeout_s: float | None) -> ProgramOutput:
        """Run the program as a process; raises ProgramFailed."""
        ...


class Program:
    """The scorer's handle on a candidate. It hands out data only.

    Args:
        source: The candidate's text.
        channel: The way to its sandbox.
    """

    def __init__(self, source: str, channel: ProgramChannel) -> None:
        self._source = source
        self._channel = channel

    @property
    def source(self) -> str:
        """The candidate's text."""
        return self._source

    def call(self, function: str, *args: Data, timeout_s: float | None = None, **kwargs: Data) -> Data:
        """Run a function of the candidate inside the sandbox; each call is a fresh process.

        Args:
            function: Name of a top-level function.
            *args: Plain data.
            timeout_s: Wall-clock seconds; None and anything above it mean the problem's limit.
            **kwargs: Plain data.

        Returns:
            Plain finite data: numbers, strings, lists, dictionaries, numpy arrays.

        Raises:
            ProgramFailed: The program crashed, exited, hit a limit, lacks the function, or returned something
                that is not plain finite data. Uncaught, it fails the evaluation, which is right for most.
        """
        return self._channel.call(function, args, kwargs, timeout_s)

    def run(
        self, args: tuple[str, ...] | list[str] = (), *, stdin: str | bytes = b"", timeout_s: float | None = None
    ) -> ProgramOutput:
        """Run the candidate as a process inside the sandbox, with the problem's ``command``.

        Args:
            args: Arguments after the command.
            stdin: What it reads on standard input.
            timeout_s: Wall-clock seconds; None and anything above it mean the problem's limit.

        Returns:
            Output and exit status. A status other than 0 is the scorer's to judge.

        Raises:
            ProgramFailed: The program was killed, hit a limit, or wrote more than ``result_bytes``.
        """
        data = stdin.encode() if isinstance(stdin, str) else stdin
        return self._channel.run(tuple(args), data, timeout_s)


Scorer = Callable[[Program], "Score | float"]
Picture = Callable[[Json, Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A declared problem.

    Args:
        name: Lower-case letters, digits and dashes.
        statement: Markdown that the model sees.
        initial: Source text of the initial candidate.
        scorer: The decorated function.
        direction: Whether higher scores are better.
        settings: Everything else that was declared.
        path: The plugin's file.
        version: Hash of statement, initial candidate and scorer files.
    """

    name: str
    statement: str
    initial: str
    scorer: Scorer
    direction: Direction
    settings: ProblemSettings
    path: Path
    version: str

    @property
    def frame(self) -> Frame:
        """The EVOLVE-BLOCK frame of the initial candidate."""
        return Frame.of(self.initial)

    def checked(self, result: Score | float) -> Score:
        """What the scorer returned, as a Score.

        Raises:
            ProblemError: It is neither a number nor a Score.
        """
        if isinstance(result, Score):
            value: Any = result.value
        else:
            value = result
        if hasattr(value, "item") and not isinstance(value, (int, float)):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ProblemError(
                f"the scorer of {self.name!r} returned {value!r} ({type(value).__name__}); "
                "return a float or a Score"
            )
        value = float(value)
        if isinstance(result, Score):
            return Score(
                value=value,
                metrics=result.metrics,
                private=result.private,
                feedback=result.feedback,
                artifact=result.artifact,
            )
        return Score(value=value)

    def in_bounds(self, value: float) -> bool:
        """Whether a score is finite and within the declared bounds, ends included."""
        low, high = self.settings.bounds
        return (
            math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSettings:
    """The optional part of a declaration; see :func:`problem` for each field."""

    entry: str = "solve"
    bounds: tuple[float | None, float | None] = (None, None)
    limits: Limits = field(default_factory=Limits)
    language: str = "python"
    command: tuple[str, ...] | None = None
    packages: tuple[str, ...] = ()
    deterministic: bool = True
    scorer_timeout_s: float = 60.0
    known_best: tuple[KnownBest, ...] = ()
    domain: str | None = None
    picture: Picture | None = None


def problem(
    *,
    name: str,
    statement: str | None = None,
    initial: str | None = None,
    direction: str | Direction = Direction.MAXIMIZE,
    **settings: Any,
) -> Callable[[Scorer], Problem]:
    """Declare a problem by decorating its scorer.

    Args:
        name: Lower-case letters, digits and dashes.
        statement: Markdown for the model. None reads ``statement.md`` beside the file.
        initial: Source text of the initial candidate. None reads the one file ``initial.*`` beside the file.
        direction: ``maximize`` or ``minimize``.
        **settings: Fields of ``ProblemSettings``:
            ``entry`` (name of the function whose return value is the solution; ``discovery score`` takes such
            values from JSON files), ``bounds`` (lowest and highest possible score, None for no bound),
            ``limits`` (a :class:`Limits`), ``language`` (how the model is told to answer), ``command`` (how
            ``Program.run`` starts the program, ``"{program}"`` standing for its file), ``packages`` (importable
            inside the sandbox), ``deterministic`` (equal sources get equal scores), ``scorer_timeout_s`` (for the
            whole scoring of one candidate, candidate's time included), ``known_best``, ``domain`` and
            ``picture`` (a function ``(artifact, axes)`` that draws a solution on matplotlib axes).

    Returns:
        A decorator that turns the scorer into a :class:`Problem`.

    Raises:
        ProblemError: A field is missing, unknown or out of range; the message names it and the fix.
    """

    def declare(scorer: Scorer) -> Problem:
        path = Path(inspect.getsourcefile(inspect.unwrap(scorer)) or ".").resolve()
        text = statement if statement is not None else _read(path, "statement.md", "statement")
        source = initial if initial is not None else _read(path, "initial.*", "initial")
        unknown = sorted(set(settings) - set(ProblemSettings.__dataclass_fields__))
        if unknown:
            known = ", ".join(sorted(ProblemSettings.__dataclass_fields__))
            raise ProblemError(f"problem {name!r}: unknown setting {unknown[0]!r}; known: {known}")
        declared = Problem(
            name=name,
            statement=text,
            initial=source,
            scorer=scorer,
            direction=_direction(name, direction),
            settings=ProblemSettings(**_normal(settings)),
            path=path,
            version=_version(text, source, path),
        )
        _validate(declared)
        return declared

    return declare


def _direction(name: str, direction: str | Direction) -> Direction:
    try:
        return Direction(direction)
    except ValueError as error:
        raise ProblemError(
            f"problem {name!r}: direction is {direction!r}; use 'maximize' or 'minimize'"
        ) from error


def _normal(settings: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(settings)
    for key in ("packages", "command", "bounds"):
        if values.get(key) is not None:
            values[key] = tuple(values[key])
    best = values.get("known_best", ())
    values["known_best"] = (best,) if isinstance(best, KnownBest) else tuple(best)
    return values


def _read(path: Path, pattern: str, argument: str) -> str:
    found = sorted(p for p in path.parent.glob(pattern) if p.is_file())
    if not found:
        raise ProblemError(
            f"{path}: no {argument} given and no {pattern} beside the file; write one, or pass {argument}=..."
        )
    if len(found) > 1:
        raise ProblemError(f"{path}: several files match {pattern}: {[p.name for p in found]}; keep one")
    return found[0].read_text(encoding="utf-8")


def _version(statement: str, initial: str, path: Path) -> str:
    digest = hashlib.sha256()
    digest.update(text_hash(statement).encode())
    digest.update(text_hash(initial).encode())
    files = [path] if path.name != "problem.py" else sorted(path.parent.glob("*.py"))
    for file in files:
        if file.is_file() and not file.name.startswith("initial."):
            digest.update(file.name.encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _validate(declared: Problem) -> None:
    name = declared.name
    if not name or not all(c.islower() or c.isdigit() or c == "-" for c in name):
        raise ProblemError(f"problem name {name!r}: use lower-case letters, digits and dashes")
    if not declared.statement.strip():
        raise ProblemError(f"problem {name!r}: the statement is empty; say what is asked")
    if not declared.initial.strip():
        raise ProblemError(f"problem {name!r}: the initial candidate is empty; write a program that scores")
    if len(declared.settings.bounds) != 2:
        raise ProblemError(f"problem {name!r}: bounds must be (lowest, highest), None for no bound")
    low, high = declared.settings.bounds
    if low is not None and high is not None and not low < high:
        raise ProblemError(f"problem {name!r}: bounds {low!r}, {high!r}; the first must be the lower")
    if not isinstance(declared.settings.limits, Limits):
        raise ProblemError(f"problem {name!r}: limits must be a Limits(...)")
    if not declared.settings.scorer_timeout_s > 0:
        raise ProblemError(f"problem {name!r}: scorer_timeout_s must be positive")
    declared.frame  # noqa: B018  raises when the markers are wrong
