"""EVOLVE-BLOCK regions: the parts of a program that may change.

An initial candidate marks them with a line that contains ``EVOLVE-BLOCK-START`` and a line that contains
``EVOLVE-BLOCK-END``, in any language's comment. Everything else is frozen: whatever a generator returns, only the
text between its markers is taken, and put into the initial candidate's frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from discovery.errors import ProblemError

START = "EVOLVE-BLOCK-START"
END = "EVOLVE-BLOCK-END"


class BlocksMissing(Exception):
    """A proposed text does not have the frame's markers; ``str`` says what to do."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The frozen parts of a program: ``fixed[0] block fixed[1] block ... fixed[n]``.

    Args:
        fixed: Frozen texts, markers included; one more than there are blocks. Just one, empty, when the
            program marks nothing and so is free as a whole.
    """

    fixed: tuple[str, ...]

    @property
    def blocks(self) -> int:
        """How many regions evolve; 0 means the whole program does."""
        return len(self.fixed) - 1

    @classmethod
    def of(cls, initial: str) -> Frame:
        """Read the frame of an initial candidate.

        Raises:
            ProblemError: Markers are nested, out of order or not closed; names the line.
        """
        fixed, _ = _split(initial)
        return cls(tuple(fixed) if len(fixed) > 1 else ("",))

    def contents(self, source: str) -> tuple[str, ...]:
        """The texts between the markers of a program that has this frame.

        Args:
            source: A program with this frame's markers.

        Returns:
            One text per block; the whole program as the only one when nothing is marked.

        Raises:
            BlocksMissing: The markers are not there.
        """
        if self.blocks == 0:
            return (source,)
        try:
            fixed, contents = _split(source)
        except ProblemError as error:
            raise BlocksMissing(str(error)) from error
        if len(fixed) != len(self.fixed):
            raise BlocksMissing(
                f"the program has {len(fixed) - 1} EVOLVE-BLOCK regions, the initial one has "
                f"{self.blocks}; return the whole program with every marker line kept"
            )
        return tuple(contents)

    def fill(self, contents: tuple[str, ...]) -> str:
        """Put texts into the frame; the inverse of :meth:`contents`.

        Raises:
            ValueError: Not as many texts as there are blocks.
        """
        if self.blocks == 0:
            (source,) = contents
            return source
        if len(contents) != self.blocks:
            raise ValueError(f"{len(contents)} texts for {self.blocks} blocks")
        parts = [self.fixed[0]]
        for content, after in zip(contents, self.fixed[1:], strict=True):
            if content and not content.endswith("\n"):
                content += "\n"
            parts += [content, after]
        return "".join(parts)

    def enforce(self, text: str) -> str:
        """The program that a proposed text stands for: its blocks in this frame.

        Without markers, a single block is still found if the text keeps the frozen lines around it.

        Raises:
            BlocksMissing: The text has neither the markers nor the frozen lines.
        """
        try:
            return self.fill(self.contents(text))
        except BlocksMissing:
            inner = self._between_frozen_lines(text) if START not in text and END not in text else None
            if inner is None:
                raise
            return self.fill((inner,))

    def _between_frozen_lines(self, text: str) -> str | None:
        if self.blocks != 1:
            return None
        before = _without_markers(self.fixed[0])
        after = _without_markers(self.fixed[1])
        text = text.strip("\n") + "\n"
        if not before.strip() and not after.strip():
            return text
        if text.startswith(before.lstrip("\n")) and text.rstrip().endswith(after.strip()):
            start = len(before.lstrip("\n"))
            end = len(text.rstrip()) - len(after.strip())
            return text[start:end] if end >= start else None
        return None


def _without_markers(text: str) -> str:
    return "".join(line for line in _lines(text) if START not in line and END not in line)


def _lines(text: str) -> list[str]:
    r"""Lines end in ``\n`` only: a frame cut after ``\r`` would merge with a block that begins with ``\n``."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _split(source: str) -> tuple[list[str], list[str]]:
    fixed: list[list[str]] = [[]]
    contents: list[list[str]] = []
    inside = False
    for number, line in enumerate(_lines(source), start=1):
        if START in line:
            if inside:
                raise ProblemError(f"line {number}: {START} inside an open block; close it first")
            fixed[-1].append(line)
            contents.append([])
            inside = True
        elif END in line:
            if not inside:
                raise ProblemError(f"line {number}: {END} without a {START} before it")
            fixed.append([line])
            inside = False
        elif inside:
            contents[-1].append(line)
        else:
            fixed[-1].append(line)
    if inside:
        raise ProblemError(f"an {START} is never closed; add a line with {END}")
    return ["".join(lines) for lines in fixed], ["".join(lines) for lines in contents]
