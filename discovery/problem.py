r"""What a user declares: a problem, by one decorated scorer function.

The smallest plugin is one file::

    from discovery import problem

    @problem(name="half", statement="Return a number close to 0.5.", initial="def solve():\n    return 0.0\n")
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
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from discovery.blocks import Frame
from discovery.data import Data, loads_document
from discovery.errors import DataError, ProblemError, ProgramFailed
from discovery.records import Direction, FailureKind, Json, Score, text_hash


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
        for name in ("wall_s", "cpu_s"):
            value = getattr(self, name)
            if not (name == "cpu_s" and value is None) and not (_is_number(value) and value > 0):
                raise ProblemError(f"limit {name} is {value!r}; it must be a positive number")
        for name in ("memory_bytes", "processes", "file_bytes", "output_bytes", "result_bytes"):
            value = getattr(self, name)
            if type(value) is not int or value <= 0:
                raise ProblemError(f"limit {name} is {value!r}; it must be a positive whole number")

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


STATISTICS = ("median", "mean", "min", "max")
"""What a score of several repeats can be."""
DATA_LANGUAGE = "json"
"""The language of solutions that are data."""
COMPARISONS = ("ratio", "difference")
"""How a score is compared with the baseline's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """How a noisy or timed problem is scored: several times, and the score is a statistic of them.

    What else a score carries (metrics, feedback, artifact) is that of the repeat that comes closest to it. ``bounds``,
    ``max_jump`` and ``known_best`` are about the score, so with a baseline about the comparison; ``scorer_timeout_s``
    holds for each scoring. A repeat that fails fails the evaluation, and all of them together are one evaluation.
    Two scorings of one candidate may differ; they agree when their intervals overlap.

    Args:
        count: How often the scorer runs on each candidate, 1 to 1,000.
        statistic: The score: ``median``, ``mean``, ``min`` or ``max`` of the repeats.
        confidence: Of the interval that is stored with it, above 0 and below 1.
        cores: CPUs that each evaluation has for itself while it is scored; 0 for no pinning. No more evaluations run
            at once than there are cores for, and one CPU is kept for everything else where there is more than one.
        baseline: Score the initial candidate in turn with the candidate, and let each repeat be the comparison of the
            two: what disturbs both cancels out.
        comparison: With a baseline: ``ratio`` (candidate / baseline) or ``difference`` (candidate - baseline).
    """

    count: int = 5
    statistic: str = "median"
    confidence: float = 0.95
    cores: int = 0
    baseline: bool = False
    comparison: str = "ratio"

    def __post_init__(self) -> None:
        if type(self.count) is not int or not 1 <= self.count <= 1000:
            raise ProblemError(f"repeats: count is {self.count!r}; it must be a whole number from 1 to 1000")
        if self.statistic not in STATISTICS:
            raise ProblemError(
                f"repeats: statistic is {self.statistic!r}; it must be one of {', '.join(STATISTICS)}"
            )
        if not _is_number(self.confidence) or not 0 < self.confidence < 1:
            raise ProblemError(f"repeats: confidence is {self.confidence!r}; it must lie between 0 and 1")
        if type(self.cores) is not int or not 0 <= self.cores <= 1024:
            raise ProblemError(f"repeats: cores is {self.cores!r}; it must be a whole number from 0 to 1024")
        if not isinstance(self.baseline, bool):
            raise ProblemError(f"repeats: baseline is {self.baseline!r}; it must be True or False")
        if self.comparison not in COMPARISONS:
            raise ProblemError(
                f"repeats: comparison is {self.comparison!r}; it must be one of {', '.join(COMPARISONS)}"
            )


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
        self._data: Data = None
        self._is_read = False

    @property
    def source(self) -> str:
        """The candidate's text."""
        return self._source

    @property
    def data(self) -> Data:
        """The candidate's text as JSON, read once: for problems with a ``schema``, whose solutions are data.

        Nothing runs. A server may have held the model to the schema and may not have: check what matters.

        Raises:
            ProgramFailed: It is not one strict JSON document.
        """
        if not self._is_read:
            try:
                self._data = loads_document(self._source)
            except DataError as error:
                raise ProgramFailed(FailureKind.BAD_DATA, f"the solution is not JSON: {error}") from error
            self._is_read = True
        return self._data

    def call(self, function: str, *args: Data, timeout_s: float | None = None, **kwargs: Data) -> Data:
        """Run a function of the candidate inside the sandbox; each call is a fresh process.

        Args:
            function: Name of a top-level function.
            *args: Plain data.
            timeout_s: Wall-clock seconds; None and anything above it mean the problem's limit.
            **kwargs: Plain data.

        Returns:
            Plain finite data: numbers, strings, lists, dictionaries, numpy arrays. Arrays hold ``bool``, ``int64`` or
            ``float64``, whatever the program returned: narrow ones would overflow and round as it likes. Types and
            shapes are the program's choice all the same: check them before numpy or ``float()`` reads the data.

        Raises:
            ProgramFailed: The program crashed, exited, hit a limit, lacks the function, or returned something
                that is not plain finite data. Uncaught, it fails the evaluation, which is right for most.
        """
        return self._channel.call(function, args, kwargs, timeout_s)

    def run(
        self,
        args: tuple[str, ...] | list[str] = (),
        *,
        stdin: str | bytes = b"",
        timeout_s: float | None = None,
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
            ProblemError: It is neither a number nor a Score, or the Score's feedback is not text.
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
            if result.feedback is not None and not isinstance(result.feedback, str):
                raise ProblemError(
                    f"the scorer of {self.name!r} gave {type(result.feedback).__name__} as feedback; give text"
                )
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
        return math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSettings:
    """The optional part of a declaration; see :func:`problem` for each field."""

    entry: str = "solve"
    bounds: tuple[float | None, float | None] = (None, None)
    limits: Limits = field(default_factory=Limits)
    language: str = "python"
    command: tuple[str, ...] | None = None
    build: tuple[str, ...] | None = None
    build_limits: Limits | None = None
    image: str | None = None
    packages: tuple[str, ...] = ()
    isolation: tuple[str, ...] = ()
    max_jump: float | None = None
    repeats: Repeats | None = None
    deterministic: bool = True
    scorer_timeout_s: float = 60.0
    known_best: tuple[KnownBest, ...] = ()
    domain: str | None = None
    picture: Picture | None = None
    schema: Mapping[str, Json] | None = None


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
            ``limits`` (a :class:`Limits`), ``language`` (how the model is told to answer; ``c``, ``cpp`` and ``rust``
            also mean their usual ``build`` and ``image``, unless ``command`` runs the program as it is),
            ``command`` (how
            ``Program.run`` starts the program, ``"{program}"`` standing for its file and ``"{binary}"`` for what was
            built of it), ``build`` (a command that makes ``"{binary}"`` of ``"{program}"``, run once per source in
            the sandbox), ``build_limits`` (a :class:`Limits` for it), ``image`` (what else the sandbox holds: a recipe
            under ``sandboxes/``, such as ``cpp``, or a Docker image), ``packages`` (importable inside the sandbox),
            ``isolation`` (properties that a sandbox must have been verified to hold, or a level of them),
            ``max_jump`` (the largest plausible improvement over the run's best at once, in the score's units; a
            larger one is scored again from nothing before it counts), ``repeats`` (a :class:`Repeats`, for noisy or
            timed scores), ``deterministic`` (equal sources get equal scores), ``scorer_timeout_s`` (for the
            whole scoring of one candidate, candidate's time included; of repeats for each), ``known_best``,
            ``domain``, ``picture`` (a function ``(artifact, axes)`` that draws a solution on matplotlib axes) and
            ``schema`` (a JSON Schema: solutions are data, JSON documents that fit it, and nothing runs; the language
            is ``json``, the initial candidate a document, and the scorer reads ``program.data``).

    Returns:
        A decorator that turns the scorer into a :class:`Problem`.

    Raises:
        DeclarationError: Fields are missing, unknown or out of range; each fault is named with its fix.
    """

    def declare(scorer: Scorer) -> Problem:
        path = Path(inspect.getsourcefile(inspect.unwrap(scorer)) or ".").resolve()
        faults: list[str] = []
        text = _text(statement, path, "statement.md", "statement", faults)
        source = _text(initial, path, "initial.*", "initial", faults)
        declared = Problem(
            name=str(name),
            statement=text,
            initial=source,
            scorer=scorer,
            direction=_direction(direction, faults),
            settings=_settings(settings, faults),
            path=path,
            version=_version(text, source, path),
        )
        if not _NAME.fullmatch(declared.name):
            faults.insert(0, f"the name is {name!r}; use lower-case letters, digits and dashes")
        try:
            declared.frame  # noqa: B018  raises when the markers are wrong
        except ProblemError as error:
            faults.append(f"the initial candidate's markers: {error}")
        if faults:
            raise DeclarationError(faults, declared)
        return declared

    return declare


class DeclarationError(ProblemError):
    """A declaration has faults; all of them are found at once.

    Args:
        faults: One line each: what is wrong and what to write instead.
        partial: The problem as far as it can be built, with defaults for what is faulty; for checking the
            rest of it, never for scoring.
    """

    def __init__(self, faults: Sequence[str], partial: Problem) -> None:
        more = f" (and {len(faults) - 1} more: `discovery check` lists all)" if faults[1:] else ""
        super().__init__(f"problem {partial.name!r}: {faults[0]}{more}")
        self.faults = tuple(faults)
        self.partial = partial


_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


def _direction(direction: str | Direction, faults: list[str]) -> Direction:
    if direction in tuple(Direction):
        return Direction(direction)
    faults.append(f"direction is {direction!r}; use 'maximize' or 'minimize'")
    return Direction.MAXIMIZE


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are(kind: type, value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(part, kind) for part in value)


def _is_bounds(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        return False
    ends = [end for end in value if end is not None]
    return all(_is_number(end) for end in ends) and (len(ends) < 2 or ends[0] < ends[1])


def _is_schema(value: object) -> bool:
    try:
        return isinstance(value, dict) and json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        return False


_EXPECTED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "entry": (lambda v: isinstance(v, str) and v.isidentifier(), "the name of a function"),
    "bounds": (_is_bounds, "(lowest, highest) with the lower first, None for no bound"),
    "limits": (lambda v: isinstance(v, Limits), "a Limits(...)"),
    "language": (lambda v: isinstance(v, str) and bool(v.strip()), "a language's name"),
    "command": (lambda v: v is None or (_are(str, v) and bool(v)), "a list of words or None"),
    "build": (lambda v: v is None or (_are(str, v) and bool(v)), "a list of words or None"),
    "build_limits": (lambda v: v is None or isinstance(v, Limits), "a Limits(...) or None"),
    "image": (lambda v: v is None or (isinstance(v, str) and bool(v.strip())), "a name or None"),
    "packages": (lambda v: _are(str, v), "a list of package names"),
    "isolation": (
        lambda v: isinstance(v, str) or _are(str, v),
        "a level of isolation or a list of properties",
    ),
    "max_jump": (lambda v: v is None or (_is_number(v) and v > 0), "a positive number or None"),
    "repeats": (lambda v: v is None or isinstance(v, Repeats), "a Repeats(...) or None"),
    "deterministic": (lambda v: isinstance(v, bool), "True or False"),
    "scorer_timeout_s": (lambda v: _is_number(v) and v > 0, "a positive number of seconds"),
    "known_best": (
        lambda v: isinstance(v, KnownBest) or _are(KnownBest, v),
        "a KnownBest(...) or a list of them",
    ),
    "domain": (lambda v: v is None or isinstance(v, str), "a word or None"),
    "picture": (lambda v: v is None or callable(v), "a function (artifact, axes) or None"),
    "schema": (lambda v: v is None or _is_schema(v), "a JSON Schema: a dict of what JSON can hold"),
}


def _settings(given: Mapping[str, Any], faults: list[str]) -> ProblemSettings:
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in _EXPECTED:
            faults.append(f"unknown setting {key!r}; known: {', '.join(sorted(_EXPECTED))}")
            continue
        holds, expected = _EXPECTED[key]
        if not holds(value):
            faults.append(f"{key} is {value!r}; it must be {expected}")
        elif (key == "known_best" and isinstance(value, KnownBest)) or (
            key == "isolation" and isinstance(value, str)
        ):
            values[key] = (value,)
        else:
            values[key] = tuple(value) if isinstance(value, list) else value
    if values.get("schema") is not None:
        if values.setdefault("language", DATA_LANGUAGE).lower() != DATA_LANGUAGE:
            faults.append(
                f"language is {values['language']!r}, and with a schema solutions are JSON; leave one of them out"
            )
        for key in ("command", "build"):
            if values.get(key) is not None:
                faults.append(f"there is a {key}, and with a schema nothing runs; leave one of them out")
    return ProblemSettings(**values)


def _text(given: str | None, path: Path, pattern: str, argument: str, faults: list[str]) -> str:
    text = given if given is not None else _read(path, pattern, argument, faults)
    if text is not None and not str(text).strip():
        what = "say what is asked" if argument == "statement" else "write a program that scores"
        faults.append(f"the {argument} is empty; {what}")
    return str(text or "")


def _read(path: Path, pattern: str, argument: str, faults: list[str]) -> str | None:
    found = sorted(p for p in path.parent.glob(pattern) if p.is_file())
    if len(found) == 1:
        try:
            return found[0].read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{found[0]} cannot be read: {error}; write it as UTF-8 text")
    elif found:
        names = ", ".join(p.name for p in found)
        faults.append(f"several files match {pattern}: {names}; keep one")
    else:
        faults.append(
            f"no {argument}: there is no {pattern} beside {path}; write one, or pass {argument}=..."
        )
    return None


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
