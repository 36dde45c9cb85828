r"""Several files as one text, which is what a candidate of several files is in records, hashes and exports.

A bundle has a header line for each file, its path between signs, and the file's lines below it::

    === main.py ===
    from geometry import area
    === geometry.py ===
    def area(side):
        return side * side

The first file is the entry. A line of a file that would look like a header, ``=== `` at its beginning, has a backslash
before it, and one more where there are some already. So every set of files has one bundle and every bundle one set of
files. Files are lines: a last line without its newline gets one before it comes here.

Paths are relative, of plain characters, and end in no folder above: they are laid out in a sandbox and written to
folders of users.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from discovery.blocks import BlocksMissing, Frame
from discovery.errors import ProblemError

MOST_FILES = 64
"""Files of a candidate."""
_MOST_PATH = 120
_SIGN = "=== "
_HEADER = re.compile(r"=== (\S+) ===\n")
_LIKE_HEADER = re.compile(r"\\*=== ")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_RESERVED = ("binary",)  # where a build leaves its product
_LINES = re.compile(r"(?<=\n)")


class BundleError(Exception):
    """A text is no bundle, or files make none; ``str`` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a candidate lies in a sandbox's working folder.

    Args:
        source: Text of the entry file.
        file: Its name; None for a candidate of one text, whose name is the sandbox's.
        files: The other files, path to text.
    """

    source: str
    file: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def path_fault(path: str) -> str | None:
    """What is wrong with a file's path; None where nothing is."""
    parts = path.split("/")
    if len(path) > _MOST_PATH:
        return f"it has {len(path)} characters, {_MOST_PATH} at most"
    if not all(_PART.fullmatch(part) for part in parts):
        return (
            "use letters, digits, '_', '-' and '.', no name that begins with '-' or '.', and '/' between them"
        )
    if parts[0] in _RESERVED:
        return f"{parts[0]!r} is where a build leaves its product; name it otherwise"
    return None


def bundled(files: Mapping[str, str]) -> str:
    """The bundle of files.

    Args:
        files: Path to text, the entry first; every text is empty or ends in a newline.

    Raises:
        BundleError: A path or a text is not as it has to be, or there are none or too many.
    """
    _check(list(files))
    parts = []
    for path, text in files.items():
        if text and not text.endswith("\n"):
            raise BundleError(f"the last line of {path} has no newline")
        parts.append(f"{_SIGN}{path} ===\n")
        parts += ("\\" + line if _LIKE_HEADER.match(line) else line for line in _lines(text))
    return "".join(parts)


def unbundled(text: str) -> dict[str, str]:
    """The files of a bundle, the entry first; the inverse of :func:`bundled`.

    Raises:
        BundleError: It is no bundle.
    """
    files: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in _lines(text):
        header = _HEADER.fullmatch(line)
        if header is not None:
            if header[1] in files:
                raise BundleError(f"the file {header[1]} is there twice")
            lines = files[header[1]] = []
        elif line.startswith(_SIGN):
            raise BundleError(f"{line.rstrip()[:100]!r} is not the header of a file: === PATH ===")
        elif lines is None:
            raise BundleError("the first line is not the header of a file: === PATH ===")
        else:
            lines.append(line[1:] if _LIKE_HEADER.match(line) else line)
    if not text.endswith("\n"):
        raise BundleError("the last line has no newline")
    _check(list(files))
    return {path: "".join(found) for path, found in files.items()}


def is_bundle(text: str) -> bool:
    """Whether a text is a bundle."""
    if not text.startswith(_SIGN):
        return False
    try:
        unbundled(text)
    except BundleError:
        return False
    return True


def ended(text: str) -> str:
    """A text whose last line has its newline."""
    return text if not text or text.endswith("\n") else text + "\n"


def layout(source: str, files: Sequence[str]) -> Layout:
    """How a candidate lies in a sandbox.

    Args:
        source: The candidate.
        files: Paths of its files; empty for one of one text.

    Raises:
        BundleError: It has not these files.
    """
    if not files:
        return Layout(source=source)
    found = unbundled(source)
    check_same(found, files)
    entry = next(iter(found))
    return Layout(source=found.pop(entry), file=entry, files=found)


def check_same(found: Mapping[str, str], files: Sequence[str]) -> None:
    """Refuse files that are not these, in this order of the first.

    Raises:
        BundleError: Names what is missing or too much.
    """
    missing = ", ".join(path for path in files if path not in found)
    unknown = ", ".join(path for path in found if path not in files)
    if missing or unknown:
        lacks = f"it lacks {missing}" if missing else ""
        knows = f"there is no {unknown} among the problem's files" if unknown else ""
        raise BundleError("; ".join(filter(None, (lacks, knows))))
    if next(iter(found)) != files[0]:
        raise BundleError(f"{files[0]} has to come first")


def read_folder(folder: Path, entry: str | None = None) -> dict[str, str]:
    """The files of a folder; hidden ones and ``__pycache__`` are left out.

    Args:
        folder: Of text files, in UTF-8.
        entry: Path of the file to come first; None for the one that is named ``main``.

    Returns:
        Path to text, the entry first, then by path.

    Raises:
        BundleError: A file cannot be read, a path is not as it has to be, or there is no entry; says the fix.
    """
    texts: dict[str, str] = {}
    for file in _found(folder):
        path = file.relative_to(folder).as_posix()
        fault = path_fault(path)
        if fault is not None:
            raise BundleError(f"{file}: its path will not do; {fault}")
        if len(texts) == MOST_FILES:
            raise BundleError(f"{folder} has more than {MOST_FILES} files; {MOST_FILES} at most")
        try:
            texts[path] = ended(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(f"{file} cannot be read: {error}; write it as UTF-8 text") from error
    if not texts:
        raise BundleError(f"{folder} holds no file; write the initial candidate's files into it")
    first = _entry(folder, texts, entry)
    return {first: texts.pop(first), **texts}


def write_folder(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder, which is made.

    Raises:
        OSError: They cannot be written.
    """
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", errors="surrogatepass", newline="\n")


def _found(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from _found(path)
        else:
            yield path


def _entry(folder: Path, texts: Mapping[str, str], entry: str | None) -> str:
    if entry is not None:
        if entry not in texts:
            raise BundleError(f"{folder} has {', '.join(texts)}; one has to be the entry {entry}")
        if "/" in entry:
            raise BundleError(f"the entry {entry} lies in a folder; it has to lie in {folder} itself")
        return entry
    mains = [path for path in texts if "/" not in path and path.partition(".")[0] == "main"]
    if len(mains) != 1:
        said = "no file" if not mains else "several files"
        raise BundleError(f"{folder} has {said} named main; say entry_file=... in the declaration")
    return mains[0]


def _check(paths: Sequence[str]) -> None:
    if not 0 < len(paths) <= MOST_FILES:
        raise BundleError(f"there are {len(paths)} files; 1 to {MOST_FILES} make a candidate")
    folders = {path[:place] for path in paths for place, sign in enumerate(path) if sign == "/"}
    for path in paths:
        fault = path_fault(path)
        if fault is not None:
            raise BundleError(f"the path {path!r} will not do: {fault}")
        if path in folders:
            raise BundleError(f"{path} is a file and a folder")
    if "/" in paths[0]:
        raise BundleError(f"the entry {paths[0]} lies in a folder; it has to come first and in none")


def _lines(text: str) -> list[str]:
    return [line for line in _LINES.split(text) if line]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFrame:
    """What may change of a candidate of several files: a :class:`~discovery.blocks.Frame` for each that may.

    Where a file marks regions, files that mark none are frozen; where none does, all are free as a whole. The set of
    files never changes.

    Args:
        initial: The initial candidate's files, the entry first.
        frames: Of the files that may change.
    """

    initial: Mapping[str, str]
    frames: Mapping[str, Frame]

    @classmethod
    def of(cls, initial: str) -> BundleFrame:
        """Read the frames of an initial candidate.

        Raises:
            ProblemError: It is no bundle, or markers are wrong; names file and line.
        """
        try:
            files = unbundled(initial)
        except BundleError as error:
            raise ProblemError(str(error)) from error
        frames = {}
        for path, text in files.items():
            try:
                frames[path] = Frame.of(text)
            except ProblemError as error:
                raise ProblemError(f"{path}, {error}") from error
        if any(frame.blocks for frame in frames.values()):
            frames = {path: frame for path, frame in frames.items() if frame.blocks}
        return cls(initial=files, frames=frames)

    @property
    def blocks(self) -> int:
        """How many regions evolve; 0 means that all files do, as a whole."""
        return sum(frame.blocks for frame in self.frames.values())

    @property
    def frozen(self) -> Mapping[str, str]:
        """The files that stay as they are."""
        return {path: text for path, text in self.initial.items() if path not in self.frames}

    def contents(self, source: str) -> tuple[str, ...]:
        """The texts that may change, file by file; a file without markers is one of them as a whole.

        Raises:
            BlocksMissing: It is no bundle of these files, or markers are not there.
        """
        files = self._files(source)
        return tuple(text for path in self.frames for text in self._of(path, files[path]))

    def fill(self, contents: tuple[str, ...]) -> str:
        """Put texts into the frames; the inverse of :meth:`contents`.

        Raises:
            ValueError: Not as many texts as there are places for them.
        """
        left = list(contents)
        files = dict(self.initial)
        for path, frame in self.frames.items():
            count = max(1, frame.blocks)
            files[path] = ended(frame.fill(tuple(left[:count])))
            del left[:count]
        if left:
            raise ValueError(f"{len(left)} texts more than there are places")
        return bundled(files)

    def enforce(self, text: str) -> str:
        """The candidate that a proposed bundle stands for.

        Raises:
            BlocksMissing: It is no bundle of these files, or a file has neither markers nor frozen lines.
        """
        return self.enforced(self._files(text))

    def enforced(self, files: Mapping[str, str]) -> str:
        """The candidate that proposed files stand for.

        Args:
            files: All of them; of those that are frozen nothing is taken.

        Raises:
            BlocksMissing: A file has neither its markers nor its frozen lines.
        """
        made = dict(self.initial)
        for path, frame in self.frames.items():
            try:
                made[path] = ended(frame.enforce(files[path]))
            except BlocksMissing as error:
                raise BlocksMissing(f"{path}: {error}") from error
        return bundled(made)

    def _of(self, path: str, text: str) -> tuple[str, ...]:
        try:
            return self.frames[path].contents(text)
        except BlocksMissing as error:
            raise BlocksMissing(f"{path}: {error}") from error

    def _files(self, source: str) -> dict[str, str]:
        try:
            files = unbundled(source)
            check_same(files, tuple(self.initial))
        except BundleError as error:
            raise BlocksMissing(f"not the files of this problem: {error}") from error
        return files
