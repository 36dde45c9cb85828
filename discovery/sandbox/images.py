"""Images without a registry: a file system made from this machine's own programs.

An image holds the interpreter with its standard library, the named packages under ``/site``, the programs of a
:mod:`recipe <discovery.sandbox.recipes>`, and every shared library that any of these loads, each under the path that
it has here. Nothing else of this machine goes in: no home, no checkout, no other package, and of ``/etc`` only the
loader's cache. It leaves as a tar stream, which an engine imports.

Its name ends with a hash of what it is made from, which is cheap to compute, so that an image is known to be
outdated before it is used.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import stat
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from discovery.errors import MissingComponent, SandboxError
from discovery.sandbox import recipes
from discovery.sandbox.python import interpreter, package_files
from discovery.sandbox.recipes import DEFAULT

NAME = "discovery-"
"""What the names of our images begin with."""
LABELS = ("discovery.recipe", "discovery.packages", "discovery.hash")
_FORMAT = "2"  # grows when equal inputs are made into other images
_START_BYTES = 1 << 16
_UID = 1000
_MADE = {
    "/etc/passwd": f"root:x:0:0::/:/bin/sh\ncandidate:x:{_UID}:{_UID}::/box/work:/bin/sh\n".encode(),
    "/etc/group": f"root:x:0:\ncandidate:x:{_UID}:\n".encode(),
}
_FOLDERS = ("/box", "/dev", "/etc", "/proc", "/sys", "/tmp", "/var/tmp", "/zygote", "/site")
_CONFIG = Path(sysconfig.get_config_var("LIBPL") or "config").name  # for embedding the interpreter
_UNUSED = {
    *("site-packages", "dist-packages", "test", "tests", "idlelib", "turtledemo", "ensurepip", "lib2to3"),
    *("tkinter", "pydoc_data", _CONFIG),
}
_OPTIMISED = (".opt-1.pyc", ".opt-2.pyc")  # nobody asks for them
_TOP = ("bin", "sbin", "lib", "lib32", "lib64")
_LOCALES = "/usr/lib/locale"
"""Where the C library finds the locale of `LANG`, unless it has it inside."""
_HOPS = 40
_LOADED = re.compile(rb"(?:=> |^\s*)(/.+) \(0x[0-9a-f]+\)$", re.M)
_CHUNK = 1 << 20
_LDD_AT_ONCE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What an image holds, by path in the image.

    Args:
        files: Files, and where each lies on this machine.
        links: Symbolic links, and where each leads.
        made: Files that are made up.
        folders: Empty folders, most of them to mount something on.
        environment: Variables of every process in it.
    """

    files: Mapping[str, Path]
    links: Mapping[str, str]
    made: Mapping[str, bytes]
    folders: tuple[str, ...]
    environment: Mapping[str, str]

    def tar(self) -> Iterator[bytes]:
        """The file system as a tar archive, piece by piece; equal for equal files.

        Every owner is root, every mode as tight as reading and executing by all allows, every time that of the file:
        a compiled module is checked against the time of its source.

        Raises:
            SandboxError: A file changed while it was read.
        """
        for name in sorted({*self._parents(), *self.files, *self.links, *self.made}):
            info = tarfile.TarInfo(name.lstrip("/"))
            info.mode = 0o755
            if name in self.links:
                info.type, info.linkname = tarfile.SYMTYPE, self.links[name]
                yield _header(info)
            elif name in self.made:
                info.size, info.mode = len(self.made[name]), 0o644
                yield _header(info) + _padded(self.made[name])
            elif name in self.files:
                yield from _archived(info, self.files[name])
            else:
                info.type = tarfile.DIRTYPE
                info.mode = 0o1777 if name in ("/tmp", "/var/tmp") else 0o755
                yield _header(info)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def _parents(self) -> set[str]:
        names = [Path(name) for name in (*self.files, *self.links, *self.made, *self.folders)]
        found = {str(parent) for name in names for parent in name.parents} | set(self.folders)
        return found - {"/"}


def contents(recipe: str = DEFAULT, packages: tuple[str, ...] = ()) -> Contents:
    """Find all that an image holds.

    Args:
        recipe: Name of a recipe.
        packages: Import names of Python packages.

    Raises:
        MissingComponent: A package, or a program that the recipe takes, is not on this machine.
    """
    tree = _Tree()
    shown = dict(package_files(packages))
    tree.path(interpreter().executable)
    for library in dict.fromkeys(Path(sysconfig.get_path(key)) for key in ("stdlib", "platstdlib")):
        tree.folder(library.resolve(), library.resolve(), without=_UNUSED, packages=False)
    for name, path in shown.items():
        tree.folder(path, Path("/site") / name, without=set(), packages=True)
    said = recipes.load(recipe)
    for one in dict.fromkeys((recipe, DEFAULT)):
        for name, program in recipes.programs(recipes.load(one)).items():
            tree.program(name, program)
    folders_on_path = []
    for ask in said.asks:
        for answer in recipes.answers(ask):
            tree.answer(answer, ask.take)
            folders_on_path += [str(answer.resolve() / folder) for folder in ask.path]
    for locale in sorted(Path(_LOCALES).glob("C.[Uu][Tt][Ff]*8")):
        tree.folder(locale, locale, without=set(), packages=False)
    tree.libraries([*interpreter().hidden, *shown.values()])
    for name in ("python", "python3"):
        tree.links[f"/programs/{name}"] = str(interpreter().executable)
    for name in _TOP:
        if Path("/", name).is_symlink():
            tree.path(Path("/", name))
    return Contents(
        files=tree.files,
        links=tree.links,
        made=_MADE,
        folders=_FOLDERS,
        environment={
            "PATH": ":".join(dict.fromkeys(["/programs", *folders_on_path, "/usr/bin", "/bin"])),
            "PYTHONPATH": "/site",
        },
    )


def tag(recipe: str = DEFAULT, packages: tuple[str, ...] = ()) -> str:
    """The name that the image of a recipe and packages has as long as nothing of it changes here.

    Raises:
        MissingComponent: As for :func:`contents`.
    """
    return f"{NAME}{recipe}:{content_hash(recipe, packages)}"


def labels(recipe: str, packages: tuple[str, ...]) -> dict[str, str]:
    """What an image says of itself."""
    values = (recipe, ",".join(sorted(set(packages))), content_hash(recipe, packages))
    return dict(zip(LABELS, values, strict=True))


def content_hash(recipe: str = DEFAULT, packages: tuple[str, ...] = ()) -> str:
    """Twelve hexadecimal digits that change when what an image is made from does.

    It reads no file whole but the recipe. Names, sizes and times of the packages' files stand for these; sizes and
    starts of the interpreter, the loader and the recipe's programs for the rest, so an edit of a header alone is not
    seen. Times of programs do not count: much touches them that changes nothing.

    Raises:
        MissingComponent: As for :func:`contents`.
    """
    said = recipes.load(recipe)
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        digest.update("\0".join([*map(str, parts), ""]).encode(errors="surrogateescape"))

    add(_FORMAT, said.text, recipes.load(DEFAULT).text, sys.version, platform.machine())
    add(_start(interpreter().executable), *(_start(loader) for loader in _loaders()))
    for one in dict.fromkeys((recipe, DEFAULT)):
        for name, path in sorted(recipes.programs(recipes.load(one)).items()):
            add(name, _start(path))
    for ask in said.asks:
        if not ask.names:
            for answer in recipes.answers(ask):
                add(answer, _stamp(answer))
    for name, path in package_files(tuple(sorted(set(packages)))):
        for inside, file in sorted(_walked(path)):
            if "__pycache__" not in inside:
                add(name, inside, _stamp(file))
    return digest.hexdigest()[:12]


def _loaders() -> list[Path]:
    """The programs that load shared libraries; new with every new C library."""
    return [path for glob in ("lib64/ld-*.so*", "lib/ld-*.so*") for path in sorted(Path("/").glob(glob))]


def _start(path: Path) -> str:
    """A program's size and its first bytes, among which a build leaves its id."""
    try:
        with path.open("rb") as file:
            head = hashlib.sha256(file.read(_START_BYTES)).hexdigest()
            return f"{path.resolve()} {os.fstat(file.fileno()).st_size} {head}"
    except OSError:
        return f"{path} is not there"


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return f"{path} is not there"
    return f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"


class _Tree:
    """An image's files while they are gathered."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.links: dict[str, str] = {}

    def path(self, path: Path) -> Path | None:
        """Take a file, and each symbolic link on the way to it; its real place, None if it leads nowhere."""
        at, left = Path("/"), [part for part in reversed(path.parts) if part != "/"]
        for _ in range(_HOPS * len(left) + _HOPS):
            if not left:
                if at.is_file():
                    self.files[str(at)] = at
                return at
            part = left.pop()
            if part == "..":
                at = at.parent
                continue
            step = at / part
            if step.is_symlink():
                to = step.readlink()
                self.links[str(step)] = str(to)
                left += [p for p in reversed(to.parts) if p != "/"]
                at = Path("/") if to.is_absolute() else at
            elif step.exists():
                at = step
            else:
                return None
        return None

    def program(self, name: str, path: Path) -> None:
        """Take a program, and let its name be found."""
        self.path(path)
        if path.parent not in (Path("/usr/bin"), Path("/bin")):
            self.links[f"/programs/{name}"] = str(path)

    def answer(self, path: Path, take: tuple[str, ...]) -> None:
        """Take what a program answered: a file, or of a folder what is asked for."""
        real = self.path(path)
        if real is None or not real.is_dir():
            return
        for part in [p for glob in take for p in sorted(real.glob(glob))] if take else [real]:
            if part.is_symlink() or not part.is_dir():
                self.path(part)
            else:
                self.folder(part, part, without=set(), packages=False)

    def folder(self, path: Path, at: Path, *, without: set[str], packages: bool) -> None:
        """Take a file or a whole folder to some place, without parts of some names.

        Args:
            path: On this machine.
            at: In the image.
            without: Names of files and folders to leave out.
            packages: Whether it is somebody's package: its links are taken as they are, wherever they lead.
        """
        for inside, file in _walked(path, without):
            name = str(at / inside) if inside else str(at)
            if file.is_symlink() and (packages or not file.exists()):
                self.links[name] = str(file.readlink())
            elif file.is_symlink():
                self.path(file)
            else:
                self.files[name] = file

    def libraries(self, outside: list[Path]) -> None:
        """Take every shared library that the files so far load.

        Args:
            outside: Folders of packages: their libraries are taken with them, or not at all.
        """
        elves = [str(path) for name, path in sorted(self.files.items()) if _is_elf(path)]
        folders = [path.resolve() for path in outside]
        for start in range(0, len(elves), _LDD_AT_ONCE):
            for name in sorted(_loaded_by(elves[start : start + _LDD_AT_ONCE])):
                real = Path(name).resolve()
                if not any(real.is_relative_to(folder) for folder in folders):
                    self.path(Path(name))
        if Path("/etc/ld.so.cache").is_file():
            self.files["/etc/ld.so.cache"] = Path("/etc/ld.so.cache")


def _loaded_by(programs: list[str]) -> set[str]:
    try:
        done = subprocess.run(
            ["ldd", *programs], capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"}
        )
    except OSError as error:
        raise MissingComponent(
            f"ldd, which tells what programs load, cannot be run ({error}): sudo apt-get install libc-bin"
        ) from error
    return {name.decode(errors="surrogateescape") for name in _LOADED.findall(done.stdout)}


def _is_elf(path: Path) -> bool:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or not (".so" in path.name or status.st_mode & 0o111):
            return False
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _walked(path: Path, without: set[str] | None = None) -> Iterator[tuple[str, Path]]:
    """Files and links in a folder by their path in it; for a file itself, under the empty name."""
    if path.is_symlink() or not path.is_dir():
        if path.is_symlink() and path.is_file():
            path = path.resolve()
        yield "", path
        return
    waiting = [(str(path), "")]
    while waiting:
        folder, inside = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if (without and entry.name in without) or entry.name.endswith(_OPTIMISED):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{inside}{entry.name}/"))
                elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    yield f"{inside}{entry.name}", Path(entry.path)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padded(blob: bytes) -> bytes:
    return blob + bytes(-len(blob) % tarfile.BLOCKSIZE)


def _archived(info: tarfile.TarInfo, path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            info.size, info.mtime = status.st_size, int(status.st_mtime)
            info.mode = 0o755 if status.st_mode & 0o111 else 0o644
            yield _header(info)
            left = info.size
            while left:
                chunk = file.read(min(_CHUNK, left))
                if not chunk:
                    raise SandboxError(f"{path} became shorter while it was put into an image; try again")
                left -= len(chunk)
                yield chunk
    except OSError as error:
        raise SandboxError(f"{path} cannot be put into an image: {error.strerror}") from error
    yield bytes(-info.size % tarfile.BLOCKSIZE)
