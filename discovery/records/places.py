"""Where a record belongs in its run, and what else names things."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

Json = Any
"""What ``json.dumps`` takes: the edge where types end."""

SHARED_CHAIN = -1
"""The chain number of what belongs to a run as a whole: its initial candidate, its supervisor's lease."""


@dataclass(frozen=True, slots=True, order=True)
class CandidateKey:
    """A candidate's place in its run; also the place of its completion and its evaluations.

    Args:
        chain: 0 .. C-1, or ``SHARED_CHAIN`` for an initial candidate.
        step: 1 .. L, or 0 for an initial candidate.
        index: 0 .. K-1 within the step; of initial candidates their number.
    """

    chain: int
    step: int
    index: int

    @property
    def is_initial(self) -> bool:
        """Whether it is an initial candidate's."""
        return self.chain == SHARED_CHAIN

    def __str__(self) -> str:
        if self.is_initial:
            return f"initial-{self.index}" if self.index else "initial"
        return f"{self.chain}.{self.step}.{self.index}"

    @classmethod
    def parse(cls, text: str) -> CandidateKey:
        """The inverse of ``str``.

        Raises:
            ValueError: The text is not ``initial``, ``initial-number`` or ``chain.step.index``.
        """
        if text == "initial":
            return INITIAL
        if _FURTHER.fullmatch(text) is not None:
            return initial_key(int(text.removeprefix("initial-")))
        if _KEY.fullmatch(text) is None:
            raise ValueError(
                f"{text!r} is not a candidate's key; expected CHAIN.STEP.INDEX, 'initial' or 'initial-NUMBER'"
            )
        chain, step, index = (int(part) for part in text.split("."))
        return cls(chain, step, index)


_KEY = re.compile(r"(?:[0-9]{1,18}\.){2}[0-9]{1,18}")
_FURTHER = re.compile(r"initial-[1-9][0-9]{0,17}")


def initial_key(number: int) -> CandidateKey:
    """The key of a run's initial candidate of a number, from 0."""
    return CandidateKey(SHARED_CHAIN, 0, number)


INITIAL = initial_key(0)
"""The first initial candidate's; most runs have no other."""


def text_hash(text: str) -> str:
    """The SHA-256 of a text in hexadecimal: its name in storage."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
