"""What is wrong with a problem: everything at once, each with its fix, without any model.

A check has three parts. The declaration is loaded; its faults are findings and what could be built of it is
still checked. The parts are looked at: statement, initial candidate, limits, bounds, packages. If nothing so
far makes it pointless, the scorer is tried: twice on the initial candidate, in fresh processes, and once on a
program that is broken on purpose.

Evaluation is given as a function, so that this module knows no sandbox.
"""

from __future__ import annotations

import ast
import importlib.util
import math
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from discovery.agreement import compare, shown
from discovery.blocks import END, START
from discovery.data import loads_document
from discovery.errors import ConfigError, DataError, ProblemError, ScoringError
from discovery.plugins import PROBLEM_FILE, load_location, locate
from discovery.problem import DeclarationError, Problem
from discovery.records import Evaluation, FailureKind, Score
from discovery.repeats import Cores
from discovery.sandbox.isolation import expanded
from discovery.sandbox.recipes import is_recipe, load
from discovery.toolchain import BINARY, PROGRAM, toolchain
from discovery.twists import twisted

ScoreSource = Callable[[Problem, str], Awaitable[Evaluation]]
"""Evaluates a source text in a sandbox, scored by a process that has scored nothing before."""

LANGUAGES = frozenset(
    {
        *("bash", "c", "c++", "cpp", "cuda", "fortran", "go", "haskell", "java", "javascript"),
        *("json", "julia", "kotlin", "latex", "lean", "lua", "markdown", "ocaml", "perl", "python"),
        *("r", "ruby", "rust", "scala", "sh", "sql", "swift", "text", "triton", "typescript", "zig"),
    }
)
MIN_STATEMENT_WORDS = 8
MIN_WALL_S = 0.01
LONG_WALL_S = 3600.0
MAX_WALL_S = 86_400.0
MIN_MEMORY_BYTES = 64 << 20
MAX_TWISTED_S = 5.0
"""An evaluation that takes longer is not repeated for each answer that a scorer must refuse."""
BROKEN = "raise RuntimeError('broken on purpose by discovery check')\n"


class Level(StrEnum):
    """How bad a finding is: an error keeps runs from working or from meaning anything."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Args:
        level: Error or warning.
        where: Which part of the problem: ``statement``, ``initial``, ``scorer``, ``limits``, ...
        message: What is wrong, in one line.
        fix: What to do about it, in one line.
    """

    level: Level
    where: str
    message: str
    fix: str


async def check_problem(ref: str, score: ScoreSource) -> list[Finding]:
    """Find all that is wrong with a problem.

    Args:
        ref: As for ``plugins.load_problem``.
        score: How to evaluate a source text.

    Returns:
        Findings, errors first; empty when all is well.

    Raises:
        ProblemError: There is no such problem to check.
        SandboxError: The sandbox failed, which says nothing about the problem.
        MissingComponent: No sandbox is there.
    """
    location = locate(ref)
    findings: list[Finding] = []
    problem: Problem | None = None
    try:
        problem = load_location(location)
    except DeclarationError as error:
        findings += [_split("declaration", fault) for fault in error.faults]
        findings += _parts(error.partial)
    except ProblemError as error:
        findings.append(_split("plugin", str(error)))
        if location.file is not None:
            findings += _files_beside(location.file)
    if problem is not None:
        findings += _parts(problem)
        findings += await _tried(problem, score)
        if _scores_well(findings):
            findings = [_eased(finding) for finding in findings]
    return sorted(findings, key=lambda finding: finding.level is not Level.ERROR)


def _error(where: str, message: str, fix: str) -> Finding:
    return Finding(level=Level.ERROR, where=where, message=message, fix=fix)


def _warning(where: str, message: str, fix: str) -> Finding:
    return Finding(level=Level.WARNING, where=where, message=message, fix=fix)


def _split(where: str, text: str) -> Finding:
    """A finding from a message of the usual form: what is wrong; what to do."""
    message, semicolon, fix = text.rpartition("; ")
    return _error(where, message if semicolon else text, fix if semicolon else "mend it")


# The parts


def _parts(problem: Problem) -> Iterator[Finding]:
    yield from _check_name(problem)
    yield from _check_statement(problem)
    yield from _check_language(problem)
    yield from _check_initial(problem)
    yield from _check_limits(problem)
    yield from _check_bounds(problem)
    yield from _check_cores(problem)
    yield from _check_packages(problem)
    yield from _check_isolation(problem)


def _check_name(problem: Problem) -> Iterator[Finding]:
    folder = problem.path.parent.name
    if problem.path.name == PROBLEM_FILE and folder.replace("_", "-") != problem.name:
        yield _warning(
            "name",
            f"the problem is named {problem.name!r}, its folder {folder!r}",
            "give both the same name, so that what runs show is what paths say",
        )


def _check_statement(problem: Problem) -> Iterator[Finding]:
    words = len(problem.statement.split())
    if 0 < words < MIN_STATEMENT_WORDS:
        yield _warning(
            "statement",
            f"the statement has {words} word{'s' if words > 1 else ''}; a model knows nothing else of the problem",
            "say what is given, what the program must return, what is valid and how it is scored",
        )


def _check_language(problem: Problem) -> Iterator[Finding]:
    settings = problem.settings
    if settings.language.lower() not in LANGUAGES:
        yield _warning(
            "language",
            f"language {settings.language!r} is unknown",
            f"use one of: {', '.join(sorted(LANGUAGES))}",
        )
    chain = toolchain(settings)
    if settings.build is not None:
        yield from _check_words("build", settings.build, (PROGRAM, BINARY))
    if chain.build is None and BINARY in " ".join(settings.command or ()):
        yield _error(
            "command", 'the command runs "{binary}", and nothing builds it', "declare build=[...] as well"
        )
    elif settings.command is not None:
        yield from _check_words("command", settings.command, (BINARY,) if chain.build else (PROGRAM,))
    if chain.build is None and settings.build_limits is not None:
        yield _warning("build_limits", "there is no build to limit", "declare build=..., or leave them out")
    if not is_recipe(chain.image):
        return  # which programs are in a Docker image is seen when it is tried
    missing = load(chain.image).missing() if chain.image is not None else None
    if missing is not None:
        yield _split("image", missing.replace(": ", "; ", 1))
        return
    for name, words in (("build", settings.build), ("command", settings.command)):
        if words and not words[0].startswith("{") and shutil.which(words[0]) is None:
            yield _error(
                name,
                f"{words[0]!r} is not on this machine's PATH",
                f"install it, or name another in {name}=...",
            )


def _check_words(name: str, command: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[Finding]:
    files = {PROGRAM: "the program's file", BINARY: "the built file"}
    for placeholder in wanted:
        if not any(placeholder in word for word in command):
            yield _error(
                name,
                f"no word of the {name} {list(command)} stands for {files[placeholder]}",
                f'write "{placeholder}" where the file goes',
            )


def _check_initial(problem: Problem) -> Iterator[Finding]:
    if not problem.initial.strip():
        return
    yield from _check_blocks(problem.initial)
    entry, language = problem.settings.entry, problem.settings.language
    if toolchain(problem.settings).build is not None and _is_python(problem.initial, entry):
        yield _error(
            "initial",
            f"the language is {language!r}, and the initial program is Python: it defines {entry!r}",
            f"write it in {language}, and let the scorer use program.run(); or leave language=... and build=... out",
        )
    if problem.settings.schema is not None:
        try:
            loads_document(problem.initial)
        except DataError as error:
            yield _error(
                "initial", f"not JSON: {error}", "with a schema the initial candidate is a JSON document"
            )
    if language.lower() != "python":
        return
    try:
        tree = ast.parse(problem.initial)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        yield _error("initial", f"line {line}: not Python: {error}", "mend the line")
        return
    if toolchain(problem.settings).command is None and entry not in _defined(tree):
        yield _error(
            "entry",
            f"the initial candidate defines no {entry!r}",
            f"define it, or say entry=... in the declaration (it is {entry!r} unless said)",
        )


def _is_python(source: str, entry: str) -> bool:
    """Whether it is Python that a scorer can call, so that it scores although nothing is ever built."""
    try:
        return entry in _defined(ast.parse(source))
    except (SyntaxError, ValueError):
        return False


def _check_blocks(initial: str) -> Iterator[Finding]:
    lines = initial.splitlines()
    starts = [i for i, line in enumerate(lines) if START in line]
    ends = [i for i, line in enumerate(lines) if END in line]
    for start, end in zip(starts, ends, strict=False):
        if start < end and not "".join(lines[start + 1 : end]).strip():
            yield _warning(
                "initial",
                f"the EVOLVE-BLOCK that starts on line {start + 1} is empty",
                "put a first version of what may change into it, or remove its markers",
            )


def _defined(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return names


def _check_limits(problem: Problem) -> Iterator[Finding]:
    limits, timeout_s = problem.settings.limits, problem.settings.scorer_timeout_s
    if limits.wall_s < MIN_WALL_S:
        yield _error(
            "limits",
            f"wall_s is {limits.wall_s:g} s; no program does anything in under {MIN_WALL_S:g} s",
            "give it seconds: Limits(wall_s=10)",
        )
    if limits.wall_s > LONG_WALL_S:
        level = Level.ERROR if limits.wall_s > MAX_WALL_S else Level.WARNING
        yield Finding(
            level=level,
            where="limits",
            message=f"wall_s is {limits.wall_s:g} s, {limits.wall_s / 3600:g} hours per call",
            fix="a search needs hundreds of evaluations: make the instance smaller or the limit lower",
        )
    if timeout_s < limits.wall_s:
        yield _error(
            "limits",
            f"scorer_timeout_s is {timeout_s:g} s, below wall_s of {limits.wall_s:g} s: no candidate "
            "can ever use the time that it is given",
            f"set scorer_timeout_s to {math.ceil(limits.wall_s * 1.5 + 10)} or lower wall_s",
        )
    chain = toolchain(problem.settings)
    if chain.build is not None and timeout_s < chain.build_limits.wall_s:
        level = Level.WARNING if problem.settings.build_limits is None else Level.ERROR
        yield Finding(
            level=level,
            where="build_limits",
            message=f"scorer_timeout_s is {timeout_s:g} s, build included, and a build may take "
            f"{chain.build_limits.wall_s:g} s: no candidate can ever use the time that it is given",
            fix=f"set scorer_timeout_s to {math.ceil(chain.build_limits.wall_s + limits.wall_s + 10)} or "
            "lower build_limits=Limits(wall_s=...)",
        )
    if limits.memory_bytes < MIN_MEMORY_BYTES:
        yield _error(
            "limits",
            f"memory_bytes is {limits.memory_bytes:,}, below 64 MiB: an interpreter hardly starts",
            "memory is counted in bytes: Limits(memory_bytes=1 << 30) is 1 GiB",
        )
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if limits.memory_bytes > machine:
        yield _warning(
            "limits",
            f"memory_bytes is {limits.memory_bytes / 2**30:.3g} GiB; this machine has "
            f"{machine / 2**30:.3g} GiB",
            "lower it, so that a candidate that takes all cannot end its neighbours",
        )
    if limits.result_bytes > limits.memory_bytes >= MIN_MEMORY_BYTES:
        yield _warning(
            "limits",
            "result_bytes is above memory_bytes: such a result cannot be made",
            "lower result_bytes",
        )


def _check_bounds(problem: Problem) -> Iterator[Finding]:
    low, high = problem.settings.bounds
    if low is None and high is None and problem.settings.max_jump is None:
        yield _warning(
            "bounds",
            "no bounds are declared: nothing refuses a score that is too good to be true",
            "declare bounds=(lowest, highest) from a proof or a trivial estimate, None for no bound, or max_jump, the "
            "largest plausible improvement at once",
        )
    for best in problem.settings.known_best:
        if not problem.in_bounds(best.value):
            yield _error(
                "known_best",
                f"the known best {best.value!r} ({best.source}) is outside the bounds ({low}, {high})",
                "correct the value or the bounds: scores outside them are refused",
            )


def _check_cores(problem: Problem) -> Iterator[Finding]:
    repeats = problem.settings.repeats
    if repeats is None:
        return
    try:
        Cores(repeats.cores)
    except ConfigError as error:
        yield _split("repeats", str(error))


def _check_packages(problem: Problem) -> Iterator[Finding]:
    for package in problem.settings.packages:
        if not _importable(package):
            yield _error(
                "packages",
                f"package {package!r} cannot be imported here, so no sandbox has it",
                f"{sys.executable} -m pip install {package.partition('.')[0]}",
            )


def _check_isolation(problem: Problem) -> Iterator[Finding]:
    try:
        expanded(problem.settings.isolation)
    except ConfigError as error:
        message, _, known = str(error).partition("; ")
        yield _error("isolation", message, f"name some of these: {known}")


def _importable(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _files_beside(file: Path) -> Iterator[Finding]:
    """What can be said when the plugin itself cannot be executed."""
    if file.name != PROBLEM_FILE:
        return
    text = file.read_text(encoding="utf-8", errors="replace")
    statement = file.parent / "statement.md"
    if "statement=" not in text and not statement.is_file():
        yield _error("statement", f"there is no {statement}", "write one: it is all a model knows")
    elif statement.is_file() and not statement.read_text(errors="replace").strip():
        yield _error("statement", f"{statement} is empty", "say what is asked")
    if "initial=" not in text and not any(file.parent.glob("initial.*")):
        yield _error("initial", f"there is no initial.* beside {file}", "write a program that scores")


# The scorer, tried


async def _tried(problem: Problem, score: ScoreSource) -> list[Finding]:
    missing = [package for package in problem.settings.packages if not _importable(package)]
    missing += [finding.where for finding in (*_check_isolation(problem), *_check_cores(problem))]
    image = toolchain(problem.settings).image
    if missing or (image is not None and is_recipe(image) and load(image).missing()):
        return []
    try:
        first = await score(problem, problem.initial)
        twice = problem.settings.deterministic or problem.settings.repeats is not None
        again = await score(problem, problem.initial) if twice else first
        findings = [*_check_first(problem, first), *_check_repeated(problem, first, again)]
        if first.score is not None:
            broken = await score(problem, _broken(problem))
            findings += _check_broken(problem, first.score, broken)
            if broken.score is None:
                findings += await _check_twisted(problem, first, score)
    except (ScoringError, ProblemError) as error:
        return [
            _error(
                "scorer",
                f"its process failed: {_one_line(str(error))}",
                "a scorer runs in a process of its own: it must load there, and not exit or crash it",
            )
        ]
    return findings


async def _check_twisted(problem: Problem, first: Evaluation, score: ScoreSource) -> list[Finding]:
    """Hand the scorer answers that it must refuse."""
    assert first.score is not None
    if first.durations is not None and first.durations.wall_s > MAX_TWISTED_S:
        return []
    findings = []
    for each in twisted(problem):
        said = await score(problem, each.source)
        if said.score is not None:
            better = problem.direction.better(said.score.value, first.score.value)
            finding = _error if better else _warning
            findings.append(
                finding(
                    "scorer",
                    f"an answer {each.words} scores {said.score.value!r}"
                    + (", better than the initial candidate's" if better else ""),
                    "raise Invalid for what is not a finite number of the right type, before numpy or float() reads "
                    "it: both take it for not-a-number, which passes every comparison",
                )
            )
    return findings


def _broken(problem: Problem) -> str:
    language = problem.settings.language.lower()
    return BROKEN if language == "python" else "broken on purpose by discovery check\n"


_FIXES = {
    FailureKind.BUILD: "mend what the compiler names in the initial program, or the build command",
    FailureKind.MISSING_FUNCTION: "define the function that the scorer calls in the initial program",
    FailureKind.TIMEOUT: "make the initial program faster, or raise limits and scorer_timeout_s",
    FailureKind.MEMORY: "raise Limits(memory_bytes=...), or make the initial program smaller",
    FailureKind.OUTPUT: "return less, or raise Limits(result_bytes=...)",
    FailureKind.BAD_DATA: "return numbers, strings, lists, dictionaries or numpy arrays, all finite",
    FailureKind.INVALID: "begin with a valid solution, however poor: a search needs one to improve on",
    FailureKind.OUT_OF_BOUNDS: "return a finite score, and widen bounds=(...) if they are wrong",
    FailureKind.SCORER: "mend the scorer, or raise scorer_timeout_s if it ran out of time",
}


def _check_first(problem: Problem, first: Evaluation) -> Iterator[Finding]:
    if first.failure is not None:
        kind = first.failure.kind
        own = kind in (FailureKind.SCORER, FailureKind.OUT_OF_BOUNDS)
        yield _error(
            "scorer" if own else "initial",
            f"the initial candidate does not score ({kind}): {_one_line(first.failure.message)}"
            + ("" if kind is FailureKind.BUILD else _last_line(first.failure.detail)),
            _FIXES.get(kind, "mend the initial program until `discovery score` scores it"),
        )
    if first.score is None:
        return
    value = first.score.value
    if not problem.in_bounds(value):
        yield _error(
            "scorer",
            f"the initial candidate's score {value!r} is not finite or outside the bounds",
            _FIXES[FailureKind.OUT_OF_BOUNDS],
        )
    for best in problem.settings.known_best:
        if problem.direction.better(value, best.value):
            yield _error(
                "direction",
                f"the initial candidate scores {value!r}, better than the known best {best.value!r} "
                f"({best.source}) when we {problem.direction}",
                "turn the direction round, or correct the known best",
            )
    if problem.settings.picture is not None and first.score.artifact is None:
        yield _warning(
            "picture",
            "a picture is declared, but the score carries no artifact to draw",
            "return Score(value=..., artifact=the solution as plain data)",
        )
    limits = problem.settings.limits
    used_s = first.durations.sandbox_s if first.durations is not None else None
    if used_s is not None and problem.settings.repeats is not None:
        used_s /= problem.settings.repeats.count
    is_built = toolchain(problem.settings).build is not None  # which takes time of its own
    if not is_built and used_s is not None and used_s > 0.8 * limits.wall_s >= 0.8 * MIN_WALL_S:
        yield _warning(
            "limits",
            f"the initial candidate takes {used_s:.3g} s of wall_s = {limits.wall_s:g} s",
            "raise wall_s, or hand out smaller work: better candidates are often slower",
        )


def _check_repeated(problem: Problem, first: Evaluation, again: Evaluation) -> Iterator[Finding]:
    a, b = _said(first), _said(again)
    if problem.settings.repeats is not None and first.score is not None and again.score is not None:
        if not compare(problem, first, again).holds:
            yield _error(
                "repeats",
                f"the same program got {shown(first.score)}, then {shown(again.score)}: the intervals do not "
                "overlap, so the noise is more than what the repeats show of it",
                "make more of what the machine does alike for all repeats: cores=1, baseline=True, a higher count, or "
                "more work in each",
            )
        return
    if a != b:
        yield _error(
            "scorer",
            f"not deterministic: the same program got {a}, then {b}",
            "seed every random draw in scorer and initial program, or declare deterministic=False",
        )


def _said(evaluation: Evaluation) -> str:
    if evaluation.score is not None:
        return repr(evaluation.score.value)
    return str(evaluation.failure.kind) if evaluation.failure is not None else "nothing"


def _check_broken(problem: Problem, initial: Score, broken: Evaluation) -> Iterator[Finding]:
    if broken.score is None or problem.direction.better(initial.value, broken.score.value):
        return
    yield _warning(
        "scorer",
        f"a program that is broken on purpose scores {broken.score.value!r}, no worse than the "
        f"initial candidate's {initial.value!r}",
        "let the score depend on what program.call or program.run gives, and ProgramFailed escape",
    )


def _scores_well(findings: list[Finding]) -> bool:
    return not any(
        f.level is Level.ERROR and f.where in ("initial", "scorer", "packages", "isolation") for f in findings
    )


def _eased(finding: Finding) -> Finding:
    """The missing entry of an initial candidate that scores: only ``discovery score`` misses it."""
    if finding.where != "entry":
        return finding
    return _warning(finding.where, f"{finding.message}, though it scores", finding.fix)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _last_line(detail: str | None) -> str:
    lines = [line.strip() for line in (detail or "").splitlines() if line.strip()]
    return f" [{lines[-1][:200]}]" if lines else ""
