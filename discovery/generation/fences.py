"""Fenced code blocks: written so that nothing inside can close them, and read out of answers as CommonMark does."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BACKTICKS = re.compile(r"`{3,}")
FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*((?:[^ \t\n]+(?:[ \t]+(?=[^ \t\n]))?)*+)[ \t]*$")
"""A line that opens or closes a block: its indent, its signs, its info string."""
_TAGS = {
    **{
        "py": "python",
        "hpp": "cpp",
        "cc": "cpp",
        "h": "c",
        "rs": "rust",
        "js": "javascript",
        "ts": "typescript",
    },
    **{"sh": "bash", "md": "markdown", "txt": "text"},
}


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced code block of an answer.

    Args:
        info: First word of the info string, lower case; empty when there is none.
        text: What is inside, its lines ending in newlines.
        closed: Whether its closing fence is there.
        start: Line number of its opening fence, from 0.
    """

    info: str
    text: str
    closed: bool
    start: int


def fenced(source: str, language: str) -> str:
    """A source in a fence that nothing inside it can close.

    Args:
        source: Any text.
        language: Its language, for the info string.
    """
    longest = max((len(run) for run in _BACKTICKS.findall(source)), default=2)
    fence = "`" * (longest + 1)
    end = "" if source.endswith("\n") else "\n"
    return f"{fence}{tag(language)}\n{source}{end}{fence}"


def tag(language: str) -> str:
    """A language as the info string of a fence."""
    return re.sub(r"[^\w+#.-]", "", language.lower()) or "text"


def tag_of(path: str) -> str:
    """The info string of a fence around a file, by the end of its name."""
    ending = path.rpartition("/")[2].partition(".")[2].rpartition(".")[2].lower()
    return _TAGS.get(ending, tag(ending))


def code_blocks(text: str, *, nested: bool = False) -> tuple[CodeBlock, ...]:
    """The fenced code blocks of a text, in order.

    Args:
        text: With newlines only.
        nested: Read a fence with an info string inside a block as the start of a nested block, instead of
            as a line like any other.

    Returns:
        All blocks; only the last can be not closed.
    """
    blocks: list[CodeBlock] = []
    lines = text.split("\n")
    opening: re.Match[str] | None = None
    start = depth = 0
    for number, line in enumerate(lines):
        match = FENCE.match(line)
        if match is None:
            continue
        if opening is None:
            if match[2][0] == "`" and "`" in match[3]:
                continue
            opening, start, depth = match, number, 1
        elif match[2][0] == opening[2][0] and len(match[2]) >= len(opening[2]):
            if match[3]:
                depth += nested and "`" not in match[3]
                continue
            depth -= 1
            if depth == 0:
                blocks.append(block_of(opening, lines[start + 1 : number], start, closed=True))
                opening = None
    if opening is not None:
        blocks.append(block_of(opening, lines[start + 1 :], start, closed=False))
    return tuple(blocks)


def block_of(opening: re.Match[str], lines: list[str], start: int, *, closed: bool) -> CodeBlock:
    """A block of some lines.

    Args:
        opening: Match of :data:`FENCE` with its first line.
        lines: What is inside.
        start: As in the block.
        closed: As in the block.
    """
    indent = opening[1]
    if indent:
        lines = [line[len(indent) :] if line.startswith(indent) else line.lstrip() for line in lines]
    words = opening[3].split()
    text = "\n".join(lines)
    return CodeBlock(
        info=words[0].lower().strip("{}.") if words else "",
        text=text if not text or text.endswith("\n") else text + "\n",
        closed=closed,
        start=start,
    )
