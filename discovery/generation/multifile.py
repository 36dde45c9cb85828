"""From an answer to a candidate of several files: what the answer gives, the rest as the main parent has it.

A file is given whole, in a fenced block that names its path, or by SEARCH/REPLACE edits
(:mod:`discovery.generation.diffs`), which name it too. Where a path stands is read as models write it: after the
language in the info string, on the line before the block, or in a comment on its first line. Edits that name none are
of the file that was named last. A path that is no file of the problem's is a failure, and nothing is guessed: where no
block names a file, only a candidate that has one file to change can be meant.

Whole files and edits are not mixed: in an answer with edits, fenced blocks without any only quote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from discovery.blocks import BlocksMissing
from discovery.bundle import BundleFrame, unbundled
from discovery.generation.diffs import MOST_BLOCKS, EditsFailed, begins, edited, ends, holds_edits
from discovery.generation.fences import FENCE, code_blocks, tag_of
from discovery.records import Failure, FailureKind

_PATH = re.compile(r"[A-Za-z0-9_][\w-]*(?:[./]+[\w-]+)*")
_ENDING = re.compile(r".*\.[A-Za-z]\w{0,7}")
_MARK_WITH_PATH = re.compile(
    r"^([ \t]*+<{4,10}[ \t]*+(?:SEARCH|ORIGINAL|FIND|OLD))[ \t:]++[`\"'(]*+([A-Za-z0-9_][\w./-]*+)[`\"')]*+[ \t]*+$",
    re.IGNORECASE | re.MULTILINE,
)
_DECORATION = re.compile(r"[\s*#`\"':=().\[\]-]|\b(?:file|path|filename)\b", re.IGNORECASE)
_COMMENT = re.compile(r"[ \t]*(?:#|//|/\*|--|%|;|<!--|===)[ \t]*(\S+)[ \t]*(?:\*/|-->|===)?[ \t]*")
_LINE_LENGTH = 200  # a longer line names no file
_LINES_BEFORE = 4


class _NotGivenError(Exception):
    """The answer gives no files; ``str`` says what to do."""


def assembled(frame: BundleFrame, text: str, main: str, *, is_cut: bool) -> str | Failure:
    """The candidate that an answer makes of the main parent.

    Args:
        frame: Of the problem.
        text: The answer, with newlines only.
        main: The main parent's source.
        is_cut: Whether the answer ended at the limit of tokens.

    Returns:
        The whole bundle, what is frozen as it was; or a failure of kind NO_PROGRAM, EDIT or BLOCKS.
    """
    text = _MARK_WITH_PATH.sub(r"\2\n\1", text)
    files = unbundled(main)
    kind = FailureKind.EDIT if holds_edits(text) else FailureKind.NO_PROGRAM
    try:
        text.encode()
        if kind is FailureKind.EDIT:
            given = _edited(frame, text.split("\n"), files, is_cut)
        else:
            given = _whole(frame, text, is_cut)
        made = frame.enforced({**files, **given})
    except UnicodeEncodeError:
        return Failure(kind=kind, message="the answer holds characters that are not valid Unicode")
    except _NotGivenError as error:
        return Failure(kind=kind, message=str(error))
    except EditsFailed as error:
        return Failure(kind=FailureKind.EDIT, message=str(error), detail=error.detail)
    except BlocksMissing as error:
        return Failure(kind=FailureKind.BLOCKS, message=str(error))
    if made == main:
        told = "the answer changes nothing"
        if frame.blocks:
            told += " that may change; change what is between the EVOLVE-BLOCK lines"
        return Failure(kind=kind, message=f"{told}; at least one file has to differ")
    return made


def _whole(frame: BundleFrame, text: str, is_cut: bool) -> dict[str, str]:
    """The files that fenced blocks give, of two of one name the later."""
    if is_cut:
        raise _NotGivenError("the answer was cut off at the token limit, and may lack files; be brief")
    lines = text.split("\n")
    blocks = code_blocks(text)
    given: dict[str, str] = {}
    after = 0
    for block in blocks:
        path = _named(frame, lines[after : block.start + 1]) or _commented(frame, block.text)
        after = block.start + 1 + block.text.count("\n")
        if path is not None:
            given[path] = block.text
    if given:
        return given
    if not blocks:
        raise _NotGivenError("the answer has no fenced code block; give each file that changes in one")
    only = _only(frame)
    if only is None:
        example = next(iter(frame.frames))
        raise _NotGivenError(
            "no fenced block says which file it is; write its path after the language, as in "
            f"```{tag_of(example)} {example}"
        )
    return {only: blocks[-1].text}


def _only(frame: BundleFrame) -> str | None:
    """The only file that may change."""
    return next(iter(frame.frames)) if len(frame.frames) == 1 else None


def _edited(
    frame: BundleFrame, lines: Sequence[str], files: Mapping[str, str], is_cut: bool
) -> dict[str, str]:
    """The files that edits make."""
    edits: dict[str, list[str]] = {}
    path = _only(frame)
    begun, after, count = None, 0, 0
    for number, line in enumerate([*lines, ""]):
        if begun is None and begins(line):
            begun, count = number, count + 1
            path = _named(frame, lines[after:number]) or path
            if path is None:
                raise EditsFailed(
                    f"block {count} does not say which file it is of; write the path on the line before it"
                )
        if begun is not None and (ends(line) or number == len(lines)):
            assert path is not None
            edits.setdefault(path, []).extend(lines[begun : number + 1])
            begun, after = None, number + 1
    if count > MOST_BLOCKS:
        raise EditsFailed(f"the answer has {count} SEARCH/REPLACE blocks; {MOST_BLOCKS} at most")
    made = {}
    for path, blocks in edits.items():
        try:
            made[path] = edited(files[path], "\n".join(blocks), is_cut=is_cut)
        except EditsFailed as error:
            raise EditsFailed(f"{path}: {error}", error.detail) from error
    return made


def _named(frame: BundleFrame, lines: Sequence[str]) -> str | None:
    """The file that the last of some lines name: a fence in its info string, or the one line before it.

    Raises:
        _NotGivenError: They name what is no file of the problem's.
    """
    for line in reversed(lines[-_LINES_BEFORE:]):
        fence = FENCE.match(line)
        if not line.strip() or (fence is not None and not fence[3]):
            continue
        if fence is None:
            return _on_line(frame, line)
        info = _info(fence[3])
        if (found := _known(frame, info)) is not None:
            return found
        _refuse_unknown(frame, [path for path in _PATH.findall(info) if _is_path(path)])
    return None


def _on_line(frame: BundleFrame, line: str) -> str | None:
    """The file that a line of words names; where it is nothing but a name, it has to be a file's."""
    if len(line) > _LINE_LENGTH:
        return None
    if (found := _known(frame, line)) is not None:
        return found
    endings = {path.rpartition(".")[2] for path in frame.initial if "." in path}
    paths = [path for path in _PATH.findall(line) if _is_path(path) and path.rpartition(".")[2] in endings]
    if len(paths) == 1 and not _DECORATION.sub("", line.replace(paths[0], "")):
        _refuse_unknown(frame, paths)
    return None


def _info(info: str) -> str:
    """What an info string says beside the language."""
    first, _, rest = info.partition(" ")
    return info if _is_path(first) else f"{first.partition(':')[2]} {rest}"


def _is_path(word: str) -> bool:
    return "/" in word or _ENDING.fullmatch(word) is not None


def _known(frame: BundleFrame, words: str) -> str | None:
    """The one file that words name."""
    known = [path for path in dict.fromkeys(_PATH.findall(words)) if path in frame.initial]
    return known[0] if len(known) == 1 else None


def _refuse_unknown(frame: BundleFrame, paths: Sequence[str]) -> None:
    unknown = [path for path in paths if path not in frame.initial]
    if unknown:
        raise _NotGivenError(
            f"there is no file {unknown[0]!r} to change; the files are {', '.join(frame.initial)}, and no other can "
            "be added"
        )


def _commented(frame: BundleFrame, text: str) -> str | None:
    """The file that a comment on the first line names."""
    first = text.partition("\n")[0]
    match = _COMMENT.fullmatch(first) if len(first) < _LINE_LENGTH else None
    name = match[1].strip(":`") if match is not None else None
    return name if name in frame.initial else None
