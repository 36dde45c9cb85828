"""From a completion to a program.

A completion is stored before it comes here; what comes out is the source of a candidate, its EVOLVE-BLOCKs
put into the initial candidate's frame, or a typed failure that says what to do better. Nothing is ever filled
in from a parent: a failed answer is a failure, not a second evaluation of what was there before.

Fences are read as CommonMark does, and in three other ways where models stray from it: a fence with an info
string inside an open block may open a nested one, or the block before may have been left open, or bare fences
may belong to the program's own text. The blocks of all readings compete, and the one that looks most like the
program wins: right language, markers in order, the entry point defined, the plain reading, the larger where
none defines the entry point, the later of two. Programs are never parsed by a compiler here; they may be
hostile.

Where solutions are data, the answer is one JSON document, fenced or not, and nothing else is looked for. Where they are
texts for a reader, such as prompts, it is the fenced block that says so or says nothing; an answer without one is
the text itself, with what is fenced in it in other languages.

Where edits were asked for, the answer's SEARCH/REPLACE blocks are applied to the main parent
(:mod:`discovery.generation.diffs`). One without any is still taken where it clearly is a whole program: one block, in
the right language, that fits the frame and defines what the scorer calls.

Where candidates are of several files, an answer gives those that change (:mod:`discovery.generation.multifile`).
"""

from __future__ import annotations

import re

from discovery.blocks import END, START, BlocksMissing, Frame
from discovery.bundle import BundleFrame
from discovery.data import loads_document
from discovery.errors import DataError
from discovery.generation.diffs import EditsFailed, edited, holds_edits
from discovery.generation.fences import FENCE, CodeBlock, block_of, code_blocks
from discovery.generation.multifile import assembled
from discovery.problem import Problem
from discovery.program import TEXT_LANGUAGES
from discovery.records import Completion, Failure, FailureKind
from discovery.toolchain import toolchain

BARE_GENERATORS = frozenset({"mutation"})
"""Generators whose text is the program itself."""

MOST_UNUSUAL = 32
"""Blocks in an answer whose unusual readings are tried; each of those takes time in proportion to the answer."""
_ALIASES = {
    "python": {"python", "py", "python3", "py3"},
    "c++": {"c++", "cpp", "cc", "cxx"},
    "javascript": {"javascript", "js", "node"},
    "typescript": {"typescript", "ts"},
    "rust": {"rust", "rs"},
    "bash": {"bash", "sh", "shell"},
    "c#": {"c#", "csharp", "cs"},
    **{name: {"text", "txt", "plain", "plaintext", "prompt", "markdown", "md"} for name in TEXT_LANGUAGES},
}


def extract(completion: Completion, problem: Problem, *, main: str | None = None) -> str | Failure:
    """The program that a completion proposes.

    Args:
        completion: As stored.
        problem: Whose frame, language and entry point decide.
        main: The source of the main parent, where edits of it were asked for, or where candidates are of several
            files; None where a whole program was.

    Returns:
        The whole source, EVOLVE-BLOCKs enforced; or a failure of kind NO_PROGRAM, EDIT or BLOCKS.

    Raises:
        ValueError: Candidates are of several files, and there is no main parent.
    """
    text, finish = completion.text, completion.finish_reason
    if text is None or not text.strip():
        return _no_program(_why_no_text(completion))
    if finish == "abort":
        return _no_program("the server aborted the answer; it may be cut anywhere")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    frame = problem.frame
    if completion.model.generator in BARE_GENERATORS:
        return _framed(frame, text)
    if isinstance(frame, BundleFrame):
        if main is None:
            raise ValueError("an answer gives some of several files; pass main=, the main parent's source")
        return assembled(frame, text, main, is_cut=finish == "length")
    if problem.settings.schema is not None:
        document = _document(text, finish)
        return document if isinstance(document, Failure) else _framed(frame, document)
    if main is not None:
        return _edited(problem, frame, text, main, is_cut=finish == "length")
    found = _find(problem, frame, text, finish)
    return found if isinstance(found, Failure) else _framed(frame, found)


def _edited(problem: Problem, frame: Frame, text: str, main: str, *, is_cut: bool) -> str | Failure:
    """The main parent after the answer's edits, or the whole program that it gives instead."""
    whole = None if is_cut or holds_edits(text) else _clearly_whole(problem, frame, text)
    if whole is None:
        try:
            whole = edited(main, text, is_cut=is_cut)
        except EditsFailed as error:
            return Failure(kind=FailureKind.EDIT, message=str(error), detail=error.detail)
    framed = _framed(frame, whole)
    if framed == main:
        return Failure(
            kind=FailureKind.EDIT,
            message="the answer changes nothing that may change; edit what is between the EVOLVE-BLOCK lines"
            if frame.blocks
            else "the answer changes nothing; give a program that differs",
        )
    return framed


def _clearly_whole(problem: Problem, frame: Frame, text: str) -> str | None:
    """The one block of an answer without edits, if nothing speaks against its being a whole program."""
    blocks = code_blocks(text)
    if len(blocks) != 1 or not blocks[0].closed or not _is_right(problem, blocks[0]):
        return None
    source = blocks[0].text
    try:
        frame.contents(source)
    except BlocksMissing:
        return None
    has_entry = toolchain(problem.settings).command is None and not problem.settings.is_text
    if has_entry and not _defines_entry(problem, source):
        return None
    # Without a frame or a function to look for, a fragment can be told by its length alone.
    is_told = bool(frame.blocks) or has_entry
    return source if is_told or 2 * len(source) >= min(map(len, problem.initials)) else None


def _document(text: str, finish: str | None) -> str | Failure:
    """The one JSON document of an answer: the whole text, or its only fenced block."""
    blocks = code_blocks(text)
    if len(blocks) > 1:
        return _no_program(
            f"the answer has {len(blocks)} code blocks; give one JSON document and nothing else"
        )
    source = blocks[0].text if blocks else text
    try:
        loads_document(source)
    except DataError as error:
        if finish == "length":
            return _no_program("the answer was cut off at the token limit inside its JSON document; be brief")
        return _no_program(f"the answer is not one JSON document: {error}")
    return source.strip() + "\n"


def _find(problem: Problem, frame: Frame, text: str, finish: str | None) -> str | Failure:
    plain = code_blocks(text)
    if problem.settings.is_text and not any(_is_right(problem, block) for block in plain):
        if finish == "length":
            return _no_program("the answer was cut off at the token limit inside its text; be brief")
        return text.strip("\n") + "\n"
    if not plain:
        if finish == "length":
            return _no_program("the answer was cut off at the token limit before any code block; be brief")
        if _looks_like_program(problem, text):
            return text.strip("\n") + "\n"
        return _no_program("the answer has no fenced code block; give the whole program in one")
    cut = finish == "length" and not plain[-1].closed
    nested = code_blocks(text, nested=True)
    if cut and not nested[-1].closed:
        return _no_program("the answer was cut off at the token limit inside its code block; be brief")
    readings = [(block, 1) for block in (*plain, *nested)]
    if len(plain) <= MOST_UNUSUAL:
        readings += [(block, 1) for block in _reopened(text, plain)]
        readings += [(block, 0) for block in _widest(text, plain)]
    ranked = [
        (_rank(problem, frame, block, preference), block.text)
        for block, preference in readings
        if block.text.strip() and (block.closed or not cut)
    ]
    if not ranked:
        return _no_program("the code block is empty; give the whole program in it")
    return max(ranked)[1]


def _reopened(text: str, plain: tuple[CodeBlock, ...]) -> list[CodeBlock]:
    """The blocks that open inside another one, which then was never closed."""
    lines = text.split("\n")
    found = []
    for block in plain:
        for number in range(block.start + 1, block.start + 1 + block.text.count("\n")):
            match = FENCE.match(lines[number])
            if match and match[3] and "`" not in match[3]:
                inner = code_blocks("\n".join(lines[number:]))[:1]
                found += [CodeBlock(b.info, b.text, b.closed, number) for b in inner]
                break
    return found


def _widest(text: str, plain: tuple[CodeBlock, ...]) -> list[CodeBlock]:
    """From each opening fence to the last closing one: a program that has bare fences in its own text."""
    lines = text.split("\n")
    found = []
    for block in plain[:-1]:
        opening = FENCE.match(lines[block.start])
        for number in range(len(lines) - 1, block.start, -1):
            match = FENCE.match(lines[number])
            if opening and match and not match[3] and match[2] == opening[2]:
                found.append(block_of(opening, lines[block.start + 1 : number], block.start, closed=True))
                break
    return found


def _rank(problem: Problem, frame: Frame, block: CodeBlock, preference: int) -> tuple[int, ...]:
    """Larger is more like the program; ``preference`` is the reading's, plain ones before the widest."""
    right = _is_right(problem, block)
    defines = _defines_entry(problem, block.text)
    try:
        frame.enforce(block.text)
        fits = 1
    except BlocksMissing:
        fits = 0
    size = 0 if defines else len(block.text)
    return (right, fits, defines, preference, size, block.start)


def _is_right(problem: Problem, block: CodeBlock) -> int:
    """2 where a block says that it is in the problem's language, 1 where it says nothing, else 0."""
    language = problem.settings.language.lower()
    return 2 if block.info in _ALIASES.get(language, {language}) else 0 if block.info else 1


def _defines_entry(problem: Problem, text: str) -> int:
    settings = problem.settings
    if settings.command is not None or settings.is_text:
        return 0
    name = re.escape(settings.entry)
    pattern = rf"\b{name}\b"
    if settings.language.lower() == "python":
        pattern = rf"^(?:async[ \t]+)?def[ \t]+{name}\b|^{name}[ \t]*="
    return int(re.search(pattern, text, re.MULTILINE) is not None)


def _looks_like_program(problem: Problem, text: str) -> bool:
    if START in text and END in text:
        return True
    if problem.settings.command is None and problem.settings.language.lower() == "python":
        return _defines_entry(problem, text) == 1
    lines = (line.strip() for initial in problem.initials for line in initial.split("\n"))
    telling = {line for line in lines if len(line) > 7}
    return any(line.strip() in telling for line in text.split("\n"))


def _framed(frame: Frame | BundleFrame, text: str) -> str | Failure:
    try:
        text.encode()
    except UnicodeEncodeError:
        return _no_program("the program holds characters that are not valid Unicode")
    try:
        return frame.enforce(text)
    except BlocksMissing as error:
        return Failure(kind=FailureKind.BLOCKS, message=str(error))


def _why_no_text(completion: Completion) -> str:
    if completion.finish_reason == "length":
        where = "while reasoning, before any answer" if completion.reasoning else "before any text"
        return f"the answer was cut off at the token limit {where}; be brief"
    if completion.finish_reason == "abort":
        return "the server aborted the answer before any text"
    return f"the answer holds no text (finish reason {completion.finish_reason or 'unknown'})"


def _no_program(message: str) -> Failure:
    return Failure(kind=FailureKind.NO_PROGRAM, message=message)
