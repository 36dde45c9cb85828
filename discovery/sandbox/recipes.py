"""Recipes: what a sandbox's file system holds beside the interpreter, found on this machine.

A recipe is a file of data under ``sandboxes/recipes``. It says which programs are wanted and which questions to ask
them (``g++ -print-prog-name=cc1plus``, ``rustc --print sysroot``), so that no distribution's layout and no package
manager has to be known. How programs of its languages are built it says as well: :mod:`discovery.toolchain`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from discovery.errors import MissingComponent
from discovery.share import share_dir

DEFAULT = "python"
"""The recipe of a problem that names none; what it holds, every recipe holds."""
_ASK_S = 30.0
_SYSTEM = (
    *("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/include"),
    *("/usr/share", "/bin", "/sbin", "/lib", "/lib32", "/lib64"),
)
_SCRIPT_BYTES = 4096
_NAMED = re.compile(rb"/[^\s()]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A question to a program whose answer is paths.

    Args:
        command: The program and its arguments; ``"{}"`` in any stands for each of ``names``.
        names: What is asked for, one after another; empty to ask once.
        pattern: A regular expression; its first group is a path in a line of the answer.
        take: What to take of a folder, as globs; empty takes all.
        path: Folders in it where programs are looked for.
    """

    command: tuple[str, ...]
    names: tuple[str, ...] = ()
    pattern: str = r"^(/.*)$"
    take: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What belongs into a sandbox, by name.

    Args:
        name: Its own.
        summary: One line for people.
        text: The file's text, and those of what it includes.
        programs: Programs that have to be on this machine's PATH; they are on the sandbox's, too.
        wants: Programs that have to be there, those that are only asked too, each with how to get it.
        optional: Programs that are taken where they are.
        asks: What to ask.
    """

    name: str
    summary: str
    text: str
    programs: tuple[str, ...] = ()
    wants: tuple[tuple[str, str], ...] = ()
    optional: tuple[str, ...] = ()
    asks: tuple[Ask, ...] = ()

    def missing(self) -> str | None:
        """What keeps it from being used here, as a line that ends with the fix; None when nothing does."""
        absent = {name: install for name, install in self.wants if shutil.which(name) is None}
        if not absent:
            return None
        are = "is" if len(absent) == 1 else "are"
        fix = " and ".join(dict.fromkeys(absent.values()))
        return f"the image {self.name!r} takes {', '.join(absent)}, which {are} not installed: {fix}"

    def check(self) -> None:
        """Raise MissingComponent when a program that it takes is not here."""
        said = self.missing()
        if said is not None:
            raise MissingComponent(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPaths:
    """What a sandbox that shares this machine's files has to show for a recipe.

    Args:
        readable: Files and folders outside of the system's own.
        path: Folders where programs are looked for, before the system's.
    """

    readable: tuple[Path, ...] = ()
    path: tuple[Path, ...] = ()


def names() -> tuple[str, ...]:
    """All recipes by name, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


def is_recipe(image: str | None) -> bool:
    """Whether an image's name is that of a recipe; None stands for the default, which is one."""
    return image is None or image in names()


@lru_cache(maxsize=32)
def load(name: str) -> Recipe:
    """Read a recipe.

    Raises:
        MissingComponent: There is none of that name.
    """
    file = _folder() / f"{name}.toml"
    if name not in names():
        raise MissingComponent(f"there is no recipe {name!r}; there are: {', '.join(names())}")
    text = file.read_text(encoding="utf-8")
    return _recipe(name, text, tomllib.loads(text))


def programs(recipe: Recipe) -> dict[str, Path]:
    """The programs of a recipe, by name, where this machine has them.

    Raises:
        MissingComponent: One that it takes is not here.
    """
    recipe.check()
    found = {name: shutil.which(name) for name in (*recipe.programs, *recipe.optional)}
    return {name: Path(path) for name, path in found.items() if path is not None}


def answers(ask: Ask) -> Iterator[Path]:
    """The paths that a program answers, as far as they are there; of a linker's script those that it names as well.

    Raises:
        MissingComponent: The program cannot be asked.
    """
    pattern = re.compile(ask.pattern)
    for name in ask.names or ("",):
        for line in _said(tuple(word.replace("{}", name) for word in ask.command)).splitlines():
            match = pattern.match(line)
            if match is not None and Path(match.group(1)).exists():
                path = Path(match.group(1))
                yield path
                yield from _named_in(path)


def host_paths(image: str | None) -> HostPaths:
    """What a sandbox that shares this machine's files has to show for an image.

    Args:
        image: Name of a recipe; None for the default.

    Raises:
        MissingComponent: It is not a recipe, or a program that it takes is not here.
    """
    if image is None or image == DEFAULT:
        return HostPaths()
    if not is_recipe(image):
        raise MissingComponent(
            f"the image {image!r} is none of the recipes ({', '.join(names())}), so only Docker can have it: "
            "--sandbox docker"
        )
    return _host_paths(image)


@lru_cache(maxsize=32)
def _host_paths(name: str) -> HostPaths:
    recipe = load(name)
    readable: list[Path] = []
    path: list[Path] = []
    for program in programs(recipe).values():
        if _is_foreign(program.resolve()):
            readable.append(program.resolve())
            path.append(program.parent.resolve())
    for ask in recipe.asks:
        for answer in answers(ask):
            real = answer.resolve()
            path += [real / folder for folder in ask.path]
            if _is_foreign(real):
                readable.append(real)
    kept = dict.fromkeys(p for p in readable if not any(q in p.parents for q in readable))
    return HostPaths(readable=tuple(kept), path=tuple(dict.fromkeys(path)))


def _is_foreign(path: Path) -> bool:
    """Whether a sandbox that shows the system's programs and libraries does not show this."""
    return not any(path.is_relative_to(folder) for folder in _SYSTEM)


@lru_cache(maxsize=256)
def _said(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_ASK_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingComponent(f"{command[0]} does not answer ({error}): install it again") from error
    return (done.stdout + done.stderr).decode(errors="replace")


def _named_in(file: Path) -> Iterator[Path]:
    if not file.name.endswith((".so", ".a")) or not file.is_file() or file.stat().st_size > _SCRIPT_BYTES:
        return
    text = file.read_bytes()
    if b"GROUP" in text or b"INPUT" in text:
        for name in _NAMED.findall(text):
            path = Path(name.decode(errors="replace"))
            if path.is_file():
                yield path


def _folder() -> Path:
    return share_dir("sandboxes") / "recipes"


def _recipe(name: str, text: str, table: Mapping[str, Any]) -> Recipe:
    parts = [load(other) for other in table.get("includes", ())]
    return Recipe(
        name=name,
        summary=table["summary"],
        text="".join([text, *(part.text for part in parts)]),
        programs=(*table.get("programs", ()), *(p for part in parts for p in part.programs)),
        wants=(
            *((p, table["install"]) for p in (*table.get("programs", ()), *table.get("needs", ()))),
            *(wanted for part in parts for wanted in part.wants),
        ),
        optional=(*table.get("optional", ()), *(p for part in parts for p in part.optional)),
        asks=(
            *(Ask(**{k: _tuple(v) for k, v in ask.items()}) for ask in table.get("ask", ())),
            *(ask for part in parts for ask in part.asks),
        ),
    )


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
