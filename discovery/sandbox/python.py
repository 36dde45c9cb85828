"""Which files of this host make up the interpreter and the packages that candidates may use.

A candidate must never see the checkout, a home, or the whole of ``site-packages``: a problem's scorer,
hidden answers and all, is installed there. So packages are named, and only their own files and those of
what they require are shown.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import re
import site
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

from discovery.errors import MissingComponent

_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_PACKAGE = Path(__file__).resolve().parent.parent
_NOT_CODE = (".dist-info", ".egg-info", ".pth", ".data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The running interpreter, as files.

    Args:
        executable: The real program, with every symbolic link resolved.
        readable: Further files and folders that it needs, outside of the system's own.
        hidden: Folders within those, or within the system's, that hold installed packages.
    """

    executable: Path
    readable: tuple[Path, ...]
    hidden: tuple[Path, ...]


@lru_cache(maxsize=1)
def interpreter() -> Interpreter:
    """The interpreter that this process runs on, venv or not."""
    prefix = Path(sys.base_prefix).resolve()
    executable = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    readable = [executable]
    libraries = {sysconfig.get_config_var("LIBDIR"), str(prefix / "lib"), str(prefix / sys.platlibdir)}
    if prefix != Path("/usr"):
        readable += [Path(p) for p in sorted(filter(None, libraries)) if Path(p).is_dir()]
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    if not any(stdlib.is_relative_to(p) for p in (*readable, Path("/usr/lib"), Path("/usr/lib64"))):
        readable.append(stdlib)
    hidden = [stdlib / "site-packages", stdlib / "dist-packages", prefix / "lib/python3/dist-packages"]
    hidden += [Path(p) for p in (*site.getsitepackages([sys.base_prefix]), site.getusersitepackages())]
    hidden += Path("/usr").glob("lib*/python3*/*-packages")
    hidden += Path("/usr").glob("local/lib*/python3*/*-packages")
    return Interpreter(
        executable=executable,
        readable=tuple(dict.fromkeys(readable)),
        hidden=tuple(sorted({p.resolve() for p in hidden if p.is_dir()})),
    )


@lru_cache(maxsize=64)
def package_files(packages: tuple[str, ...]) -> tuple[tuple[str, Path], ...]:
    """The files and folders of packages and of all that they require.

    Args:
        packages: Import names, dotted ones for submodules to preload.

    Returns:
        Pairs of a name to stand on the import path and the file or folder behind it.

    Raises:
        MissingComponent: A package is not installed here; names it and the fix.
    """
    found: dict[str, Path] = {}
    seen: set[str] = set()
    for package in packages:
        name = package.partition(".")[0]
        if name in sys.stdlib_module_names:
            continue
        spec = importlib.machinery.PathFinder.find_spec(name)
        if spec is None:
            raise MissingComponent(
                f"the Python package {name!r}, which the problem's candidates may import, is not installed: "
                f"{sys.executable} -m pip install {name}"
            )
        distribution = _distribution_of(name)
        if distribution is not None:
            _collect(distribution, found, seen)
        for place in spec.submodule_search_locations or ([spec.origin] if spec.origin else []):
            path = Path(place)
            found.setdefault(path.name, path)
    return tuple(sorted((name, path) for name, path in found.items() if not _is_ours(path)))


def _is_ours(path: Path) -> bool:
    """Whether this package, bundled scorers and all, is or lies in a folder that is about to be shown."""
    path = path.resolve()
    return path.is_relative_to(_PACKAGE) or _PACKAGE.is_relative_to(path)


def _distribution_of(name: str) -> str | None:
    try:
        return str(importlib.metadata.distribution(name).metadata["Name"])
    except importlib.metadata.PackageNotFoundError:
        owners = importlib.metadata.packages_distributions().get(name, [])
        return owners[0] if owners else None


def _collect(distribution: str, found: dict[str, Path], seen: set[str]) -> None:
    key = re.sub(r"[-_.]+", "-", distribution).lower()
    if key in seen:
        return
    seen.add(key)
    try:
        installed = importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return  # required on other platforms only
    for name, path in _top_level(installed):
        found.setdefault(name, path)
    for requirement in installed.requires or []:
        text, _, marker = requirement.partition(";")
        match = _NAME.match(text)
        if match and "extra" not in marker:
            _collect(match.group(1), found, seen)


def _top_level(installed: importlib.metadata.Distribution) -> Iterator[tuple[str, Path]]:
    names = {PurePosixPath(str(file)).parts[0] for file in installed.files or []}
    for name in sorted(names):
        path = Path(str(installed.locate_file(name)))
        if name not in ("..", "__pycache__") and not name.endswith(_NOT_CODE) and path.exists():
            yield name, path


def zygote_files() -> tuple[Path, ...]:
    """The zygote's program first, then what has to lie beside it.

    Raises:
        MissingComponent: The installation is broken.
    """
    for folder in (_PACKAGE / "_share/sandboxes", _PACKAGE.parent / "sandboxes"):
        if (folder / "zygote.py").is_file():
            rest = sorted(path for path in folder.glob("*.py") if path.name != "zygote.py")
            return (folder / "zygote.py", *rest, _PACKAGE / "data.py")
    raise MissingComponent(
        f"sandboxes/zygote.py is neither in {_PACKAGE} nor beside it; "
        "reinstall: pip install --force-reinstall discovery-loop"
    )
