"""What can be seen to be wrong with a problem without running it: statement, initial candidate, limits, bounds."""

from __future__ import annotations

import ast
import importlib.util
import math
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from discovery.blocks import END, START
from discovery.bundle import unbundled
from discovery.bundled import PROBLEM_FILE
from discovery.data import loads_document
from discovery.errors import ConfigError, DataError
from discovery.findings import Finding, Level, doubtful, from_message, wrong
from discovery.generation.templates import faults
from discovery.problem import Problem
from discovery.repeats import Cores
from discovery.sandbox.isolation import expanded
from discovery.sandbox.recipes import is_recipe, load
from discovery.starts import named
from discovery.toolchain import BINARY, PROGRAM, toolchain

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


def inspected(problem: Problem) -> Iterator[Finding]:
    """What is wrong with the parts of a problem."""
    yield from _check_name(problem)
    yield from _check_statement(problem)
    yield from _check_language(problem)
    yield from _check_initials(problem)
    yield from _check_limits(problem)
    yield from _check_bounds(problem)
    yield from _check_cores(problem)
    yield from _check_packages(problem)
    yield from _check_isolation(problem)
    yield from _check_template(problem)


def _check_name(problem: Problem) -> Iterator[Finding]:
    folder = problem.path.parent.name
    named = problem.name == folder.replace("_", "-") or problem.name.startswith(f"{folder}-")
    if problem.path.name == PROBLEM_FILE and not named:
        yield doubtful(
            "name",
            f"the problem is named {problem.name!r}, its folder {folder!r}",
            "give both the same name, so that what runs show is what paths say",
        )


def _check_statement(problem: Problem) -> Iterator[Finding]:
    words = len(problem.statement.split())
    if 0 < words < MIN_STATEMENT_WORDS:
        yield doubtful(
            "statement",
            f"the statement has {words} word{'s' if words > 1 else ''}; a model knows nothing else of the problem",
            "say what is given, what the program must return, what is valid and how it is scored",
        )


def _check_template(problem: Problem) -> Iterator[Finding]:
    for fault in faults(problem.template) if problem.template is not None else ():
        yield from_message("template", f"prompt.md: {fault}")


def _check_language(problem: Problem) -> Iterator[Finding]:
    settings = problem.settings
    if settings.language.lower() not in LANGUAGES:
        yield doubtful(
            "language",
            f"language {settings.language!r} is unknown",
            f"use one of: {', '.join(sorted(LANGUAGES))}",
        )
    chain = toolchain(settings)
    if settings.build is not None:
        # A command over several files may name them itself.
        yield from _check_words("build", settings.build, (BINARY,) if problem.files else (PROGRAM, BINARY))
    if chain.build is None and BINARY in " ".join(settings.command or ()):
        yield wrong(
            "command", 'the command runs "{binary}", and nothing builds it', "declare build=[...] as well"
        )
    elif settings.command is not None:
        program = () if problem.files else (PROGRAM,)
        yield from _check_words("command", settings.command, (BINARY,) if chain.build else program)
    if chain.build is None and settings.build_limits is not None:
        yield doubtful("build_limits", "there is no build to limit", "declare build=..., or leave them out")
    if not is_recipe(chain.image):
        return  # which programs are in a Docker image is seen when it is tried
    missing = load(chain.image).missing() if chain.image is not None else None
    if missing is not None:
        yield from_message("image", missing.replace(": ", "; ", 1))
        return
    for name, words in (("build", settings.build), ("command", settings.command)):
        if words and not words[0].startswith("{") and shutil.which(words[0]) is None:
            yield wrong(
                name,
                f"{words[0]!r} is not on this machine's PATH",
                f"install it, or name another in {name}=...",
            )


def _check_words(name: str, command: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[Finding]:
    files = {PROGRAM: "the program's file", BINARY: "the built file"}
    for placeholder in wanted:
        if not any(placeholder in word for word in command):
            yield wrong(
                name,
                f"no word of the {name} {list(command)} stands for {files[placeholder]}",
                f'write "{placeholder}" where the file goes',
            )


def _check_initials(problem: Problem) -> Iterator[Finding]:
    for number, source in enumerate(problem.initials):
        if source.strip():
            for finding in _check_initial(problem, source):
                yield finding if not number else _further(finding, named(number))


def _further(finding: Finding, name: str) -> Finding:
    """What is found of an initial candidate that is not the first."""
    where = name if finding.where == named(0) else finding.where
    return replace(finding, where=where, message=finding.message.replace("the initial candidate", name))


def _check_initial(problem: Problem, initial: str) -> Iterator[Finding]:
    if not problem.files:
        yield from _check_program(problem, initial)
        return
    for path, text in unbundled(initial).items():
        is_entry = path == problem.files[0]
        for finding in _check_program(problem, text) if is_entry else _check_file(problem, path, text):
            yield replace(finding, message=f"{path}: {finding.message}")


def _check_file(problem: Problem, path: str, text: str) -> Iterator[Finding]:
    """One of several files that is not the entry."""
    yield from _check_blocks(text)
    if problem.settings.language.lower() == "python" and path.endswith(".py"):
        yield from _parsed(text)[1]


def _check_program(problem: Problem, initial: str) -> Iterator[Finding]:
    yield from _check_blocks(initial)
    entry, language = problem.settings.entry, problem.settings.language
    if toolchain(problem.settings).build is not None and _is_python(initial, entry):
        yield wrong(
            "initial",
            f"the language is {language!r}, and the initial program is Python: it defines {entry!r}",
            f"write it in {language}, and let the scorer use program.run(); or leave language=... and build=... out",
        )
    if problem.settings.schema is not None:
        try:
            loads_document(initial)
        except DataError as error:
            yield wrong(
                "initial", f"not JSON: {error}", "with a schema the initial candidate is a JSON document"
            )
    if language.lower() != "python":
        return
    tree, faults = _parsed(initial)
    if tree is None:
        yield from faults
    elif toolchain(problem.settings).command is None and entry not in _defined(tree):
        yield wrong(
            "entry",
            f"the initial candidate defines no {entry!r}",
            f"define it, or say entry=... in the declaration (it is {entry!r} unless said)",
        )


def _parsed(text: str) -> tuple[ast.Module | None, list[Finding]]:
    try:
        return ast.parse(text), []
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        return None, [wrong("initial", f"line {line}: not Python: {error}", "mend the line")]


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
            yield doubtful(
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
        yield wrong(
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
        yield wrong(
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
        yield wrong(
            "limits",
            f"memory_bytes is {limits.memory_bytes:,}, below 64 MiB: an interpreter hardly starts",
            "memory is counted in bytes: Limits(memory_bytes=1 << 30) is 1 GiB",
        )
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if limits.memory_bytes > machine:
        yield doubtful(
            "limits",
            f"memory_bytes is {limits.memory_bytes / 2**30:.3g} GiB; this machine has "
            f"{machine / 2**30:.3g} GiB",
            "lower it, so that a candidate that takes all cannot end its neighbours",
        )
    if limits.result_bytes > limits.memory_bytes >= MIN_MEMORY_BYTES:
        yield doubtful(
            "limits",
            "result_bytes is above memory_bytes: such a result cannot be made",
            "lower result_bytes",
        )


def _check_bounds(problem: Problem) -> Iterator[Finding]:
    low, high = problem.settings.bounds
    if low is None and high is None and problem.settings.max_jump is None:
        yield doubtful(
            "bounds",
            "no bounds are declared: nothing refuses a score that is too good to be true",
            "declare bounds=(lowest, highest) from a proof or a trivial estimate, None for no bound, or max_jump, the "
            "largest plausible improvement at once",
        )
    for best in problem.settings.known_best:
        if not problem.in_bounds(best.value):
            yield wrong(
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
        yield from_message("repeats", str(error))


def _check_packages(problem: Problem) -> Iterator[Finding]:
    for package in problem.settings.packages:
        if not _importable(package):
            yield wrong(
                "packages",
                f"package {package!r} cannot be imported here, so no sandbox has it",
                f"{sys.executable} -m pip install {package.partition('.')[0]}",
            )


def _check_isolation(problem: Problem) -> Iterator[Finding]:
    try:
        expanded(problem.settings.isolation)
    except ConfigError as error:
        message, _, known = str(error).partition("; ")
        yield wrong("isolation", message, f"name some of these: {known}")


def _importable(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def inspected_files(file: Path) -> Iterator[Finding]:
    """What can be said when the plugin itself cannot be executed."""
    if file.name != PROBLEM_FILE:
        return
    text = file.read_text(encoding="utf-8", errors="replace")
    statement = file.parent / "statement.md"
    if "statement=" not in text and not statement.is_file():
        yield wrong("statement", f"there is no {statement}", "write one: it is all a model knows")
    elif statement.is_file() and not statement.read_text(errors="replace").strip():
        yield wrong("statement", f"{statement} is empty", "say what is asked")
    if "initial=" not in text and not any(file.parent.glob("initial.*")):
        yield wrong("initial", f"there is no initial.* beside {file}", "write a program that scores")


def can_be_tried(problem: Problem) -> bool:
    """Whether this machine has what the problem needs to run: packages, isolation, CPUs, the image."""
    return not needs_missing(problem)


def needs_missing(problem: Problem) -> list[str]:
    """What a problem needs to run and this machine has not, a few words each."""
    missing = [f"the package {package}" for package in problem.settings.packages if not _importable(package)]
    missing += [finding.message for finding in (*_check_isolation(problem), *_check_cores(problem))]
    image = toolchain(problem.settings).image
    if image is not None and is_recipe(image) and (lacking := load(image).missing()):
        missing.append(lacking)
    return missing
