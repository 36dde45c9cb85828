r"""The form of a program: its text without what is only for readers, so that equal forms are one program.

Comments and white space go; all else stays as it is written, docstrings included, and names: nothing is understood,
only left out. A wrong equality would be a wrong result, so what is in doubt has no form, and is equal to nothing but
itself: a text that does not read as its language, lines that are not plain (tabs in front, carriage returns, a coding
comment), and a program that asks where its lines stand or what its file says (:data:`_LOOKS`). Texts for a reader and
solutions that are data have none either: there every character is the solution.

Python is cut into all of its tokens (:mod:`discovery.python_form`). C, C++ and Rust are read only as far as literals
and comments go: white space becomes one blank, and there is none where there was none, since ``a+b`` and ``a + b``
differ for a macro that quotes; lines of the preprocessor end where they ended. Rust's comments of documentation stay,
which macros can see.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from discovery.bundle import BundleError, unbundled
from discovery.problem import Problem, ProblemSettings
from discovery.python_form import python_form

_PYTHON, _C, _RUST = "python", "c", "rust"
_SUFFIXES = {
    ".py": _PYTHON,
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".hpp"), _C),
    ".rs": _RUST,
}
_LANGUAGES = {"python": _PYTHON, "c": _C, "cpp": _C, "c++": _C, "rust": _RUST}

_LOOKS = {
    _C: re.compile(
        r"__LINE__|__builtin_LINE|__builtin_COLUMN|source_location|stacktrace|#[ \t]*line\b"
        r"|__(?:BASE_)?FILE__|#[ \t]*embed\b"
        r"|diagnostic[ \t]+error"  # a warning of how lines are indented may end the build
    ),
    _RUST: re.compile(
        r"\b(?:line|column|file|include|include_str|include_bytes)\s*!|\bLocation::caller\b|\btrack_caller\b"
        r"|\blocation\s*\(|\bBacktrace\b"  # where a panic was
    ),
}
"""What a program sees its lines or its file by, in each language."""


def form_of(problem: Problem, source: str) -> str | None:
    """The hash of a candidate's form; None where its exact source is all that it is known by.

    Args:
        problem: The candidate's.
        source: Its text, or the bundle of its files.

    Returns:
        SHA-256 in hexadecimal. It is never that of a source, so that no form is taken for one.
    """
    found = normalised(problem.settings, source, has_files=bool(problem.files))
    if found is None:
        return None
    return hashlib.sha256(b"form\0" + found.encode("utf-8", "surrogatepass")).hexdigest()


def normalised(settings: ProblemSettings, source: str, *, has_files: bool = False) -> str | None:
    """A program without comments and with the least of white space; None where it has no form.

    Args:
        settings: The problem's.
        source: The program.
        has_files: Whether that is a bundle.
    """
    language = _LANGUAGES.get(settings.language.lower())
    if language is None or _reads_programs(settings):
        return None
    if not has_files:
        return _FORMS[language](source)
    try:
        files = unbundled(source)
    except BundleError:
        return None
    parts = []
    for path, text in files.items():
        of = _SUFFIXES.get(PurePosixPath(path).suffix)
        part = _FORMS[of](text) if of is not None else text
        if part is None:
            return None
        # With its length: no text of a file reads like the next one's header.
        parts.append(f"{path} {len(part)}\n{part}")
    return "".join(parts)


_PYTHON_RUNS = re.compile(
    r"(?:\S*/)?python[\d.]*(?: -[^\smc]+)* \{program\}(?: (?!.*\{program\}).*)?", re.DOTALL
)
_COMPILER = re.compile(
    r"(?:.*/)?(?:[\w.]+-)*(?:[gt]?cc|[cg]\+\+|clang(?:\+\+)?|rustc|cargo|make|cmake)(?:-[\d.]+)?"
)


def _reads_programs(settings: ProblemSettings) -> bool:
    """Whether something but an interpreter or a compiler gets the program's file: it may count its lines."""
    command, build = settings.command or (), settings.build or ()
    started = " ".join(command)
    if "{program}" in started and _PYTHON_RUNS.fullmatch(started) is None:
        return True
    if build[:2] == ("sh", "-c") and len(build) == 3 and not set(build[2]) & set(";|&<>()$`\n"):
        build = tuple(build[2].split())  # one command
    is_odd = bool(build) and _COMPILER.fullmatch(build[0]) is None
    return is_odd or any("-Werror" in word for word in build)


class _OddError(Exception):
    """A text that is not plainly of its language."""


# C, C++

_ODD_C = re.compile(
    r"[\r\f\v\0]|\\[ \t]*$|\?\?[=/'()!<>-]|%:|^[ \t]*(?:import|module|export)\b", re.MULTILINE
)
_C_PIECE = re.compile(
    r"""
    (?P<blank>[ \t\n]+)
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<literal>(?:u8|[uUL])?R"(?P<mark>[^ ()\\\t\n"]{0,16})\(.*?\)(?P=mark)"
      | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)+')
  | (?P<word>[A-Za-z_$\x80-\U0010ffff][\w$]*|\.?[0-9](?:[eEpP][+-]|'[0-9A-Za-z_]|[\w.])*)
  | (?P<header>\#[ \t]*include(?:_next)?[ \t]*<[^>\n]*>)
  | (?P<sign>[^\s"'/\\]|/(?![/*])|\\)
    """,
    re.VERBOSE | re.DOTALL,
)
_HEADERS = ("include", "include_next", "import", "__has_include", "__has_include_next", "__has_embed")
_HEADER_COMMENT = re.compile(r"[^\n]*?<[^>\n]*/[/*]")  # or the name of a header
_RAW_C = ("R", "u8R", "uR", "UR", "LR")


def _c(source: str) -> str | None:
    if _ODD_C.search(source) or _LOOKS[_C].search(source):
        return None
    try:
        return "".join(_c_parts(source)).strip(" \n")
    except _OddError:
        return None


def _c_parts(source: str) -> Iterator[str]:
    at = 0
    gap, is_line = "", True  # the white space before the next piece; whether that is the first of its line
    is_directive = False
    while at < len(source):
        found = _C_PIECE.match(source, at)
        if found is None:
            raise _OddError
        at = found.end()
        kind, text = found.lastgroup, found[0]
        if kind == "word" and text in _RAW_C and source.startswith('"', at):
            raise _OddError  # a raw literal that does not end
        if is_directive and kind == "word" and text in _HEADERS and _HEADER_COMMENT.match(source, at):
            raise _OddError
        if kind == "comment":
            gap = gap or " "
        elif kind == "blank":
            if "\n" in text:
                is_line = True
                gap = "\n" if is_directive else gap or " "
                is_directive = False
            gap = gap or " "
        else:
            if is_line and text[0] == "#":
                is_directive, gap = True, "\n"
            if gap:
                yield gap
            yield text
            gap, is_line = "", False


# Rust

_ODD_RUST = re.compile(r"[\r\f\v\0\x85\u200e\u200f\u2028\u2029]|\A\#!(?!\s*\[)")
_RUST_PIECE = re.compile(
    r"""
    (?P<blank>[ \t\n]+)
  | (?P<kept>///(?!/)[^\n]*\n?|//![^\n]*\n?)
  | (?P<comment>//[^\n]*)
  | (?P<block>/\*)
  | (?P<literal>(?:br|cr|r)(?P<mark>\#*)".*?"(?P=mark) | [bc]?"(?:[^"\\]|\\.)*"
      | b?'(?:[^'\\\n]|\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F_]*\}|[^xu\n]))')
  | (?P<lifetime>'[^\W\d]\w*)
  | (?P<word>(?:r\#)?\w+)
  | (?P<sign>[^\s"'/\w]|/(?![/*]))
    """,
    re.VERBOSE | re.DOTALL,
)
_RAW_RUST = ("r", "br", "cr")
_RUST_BLOCK = re.compile(r"/\*|\*/")


def _rust(source: str) -> str | None:
    if _ODD_RUST.search(source) or _LOOKS[_RUST].search(source):
        return None
    try:
        return "".join(_rust_parts(source)).strip(" ")
    except _OddError:
        return None


def _rust_parts(source: str) -> Iterator[str]:
    at = 0
    gap = ""
    while at < len(source):
        found = _RUST_PIECE.match(source, at)
        if found is None:
            raise _OddError
        kind, text, at = found.lastgroup, found[0], found.end()
        if kind == "word" and text in _RAW_RUST and source.startswith(('"', '#"', "##"), at):
            raise _OddError  # a raw literal that does not end
        if kind == "block":
            start, at = at - 2, _block_end(source, at)
            text = source[start:at]
            # Documentation: /** but neither /*** nor /**/, and /*!
            is_kept = text.startswith("/*!") or (len(text) > 4 and text[2] == "*" and text[3] != "*")
            kind = "kept" if is_kept else "comment"
        if kind in ("blank", "comment"):
            gap = " "
            continue
        if gap:
            yield gap
        yield text
        gap = ""


def _block_end(source: str, at: int) -> int:
    """Where a comment ends that holds others; ``at`` is behind its beginning."""
    depth = 1
    while depth:
        found = _RUST_BLOCK.search(source, at)
        if found is None:
            raise _OddError
        depth += 1 if found[0] == "/*" else -1
        at = found.end()
    return at


_FORMS: dict[str, Callable[[str], str | None]] = {_PYTHON: python_form, _C: _c, _RUST: _rust}
