"""How the programs of a problem become processes: what is built, by what, and how it is started.

A language of its own name says most of it: the recipes under ``sandboxes/recipes`` hold the usual build command of
each language that they bring a compiler for, so that ``language="cpp"`` is enough of a declaration.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from discovery.declared import Limits
from discovery.problem import ProblemSettings
from discovery.share import share_dir

PROGRAM, BINARY = "{program}", "{binary}"
BUILD_LIMITS = Limits(
    wall_s=60.0, memory_bytes=2 << 30, processes=64, file_bytes=256 << 20, result_bytes=64 << 20
)
"""What a build may take unless its problem says otherwise."""

_SUFFIXES = {
    "python": ".py",
    "c": ".c",
    "cpp": ".cpp",
    "c++": ".cpp",
    "rust": ".rs",
    "javascript": ".js",
    "shell": ".sh",
    "json": ".json",
    "markdown": ".md",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How programs of a language are usually built.

    Args:
        recipe: The recipe that brings its compiler.
        build: Makes ``"{binary}"`` of ``"{program}"``.
    """

    recipe: str
    build: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """How the programs of a problem become processes.

    Args:
        image: Name of a recipe or a Docker image; None for the default.
        build: Makes ``"{binary}"`` of ``"{program}"``; None when nothing is built.
        command: Starts the program; None for the interpreter of the sandbox.
        build_limits: What a build may take.
    """

    image: str | None = None
    build: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    build_limits: Limits = BUILD_LIMITS


@lru_cache(maxsize=1)
def languages() -> Mapping[str, Language]:
    """The languages that some recipe knows how to build, by lower-case name."""
    found: dict[str, Language] = {}
    for file in sorted((share_dir("sandboxes") / "recipes").glob("*.toml")):
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        for name, said in table.get("languages", {}).items():
            found[name] = Language(recipe=file.stem, build=tuple(said["build"]))
    return found


def toolchain(settings: ProblemSettings) -> Toolchain:
    """What a problem says of its image, build and command, completed by what its language implies.

    A problem that says no ``build`` and a ``command`` without ``"{binary}"`` runs its programs as they are, and gets
    nothing that it did not name.

    Args:
        settings: The problem's.
    """
    if settings.build is None and settings.command is not None and BINARY not in " ".join(settings.command):
        return Toolchain(image=settings.image, command=settings.command)
    language = languages().get(settings.language.lower())
    build = settings.build or (language.build if language is not None else None)
    return Toolchain(
        image=settings.image or (language.recipe if language is not None else None),
        build=build,
        command=settings.command or ((BINARY,) if build is not None else None),
        build_limits=settings.build_limits or BUILD_LIMITS,
    )


def suffix_of(settings: ProblemSettings) -> str:
    """The ending of a program's file name in the problem's language, with its dot."""
    return _SUFFIXES.get(settings.language.lower(), ".txt")


def in_words(command: tuple[str, ...], settings: ProblemSettings, files: tuple[str, ...] = ()) -> str:
    """A command as people and models read it, with file names for what stands in it for files.

    Args:
        command: Its words.
        settings: The problem's.
        files: Paths of a program's files where it has several, the entry first.
    """
    program = files[0] if files else f"program{suffix_of(settings)}"
    return " ".join(command).replace(PROGRAM, program).replace(BINARY, "./program")
