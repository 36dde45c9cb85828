"""Where chains start: the initial candidates of a problem that declares several of them.

The first is a problem's initial candidate as ever: the text in the declaration, or the file ``initial.*``. Further ones
are the rest of a list, ``initial=[...]``, or the files of a folder ``initials`` beside ``initial.*``, in the order of
their names; of a variant of a family those of ``initials-VARIANT``, or of ``initials`` with the variant in place of
each ``{variant}``. Chain c starts from the one whose number is c modulo how many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from discovery.blocks import Frame
from discovery.errors import ProblemError

FOLDER = "initials"
"""Holds further initial candidates, a file each."""


def split(initial: Any, faults: list[str]) -> tuple[str | None, tuple[str, ...]]:
    """The first and the further initial candidates of a declaration.

    Args:
        initial: As declared; what is neither a list nor a text, others refuse.
        faults: Takes what is wrong with it.
    """
    if not isinstance(initial, (list, tuple)):
        return initial, ()
    if not initial or not all(isinstance(text, str) for text in initial):
        faults.append(
            f"initial is {list(initial)!r}; give a program's text, or a list of at least one of them"
        )
        return str(initial[0]) if initial else "", ()
    return initial[0], tuple(initial[1:])


def beside(path: Path, variant: str | None, are_texts: bool, faults: list[str]) -> tuple[str, ...]:
    """The further initial candidates in a folder beside a problem's file; none where there is no folder.

    Args:
        path: The problem's file.
        variant: Which one of a family it is.
        are_texts: Whether candidates are one text each, not several files.
        faults: Takes what is wrong with them.
    """
    names = [FOLDER] if variant is None else [f"{FOLDER}-{variant}", FOLDER]
    folder = next((path.parent / name for name in names if (path.parent / name).is_dir()), None)
    if folder is None:
        return ()
    if not are_texts:
        faults.append(
            f"{folder} is there, and candidates of several files have one initial candidate; leave it out"
        )
        return ()
    found = sorted(p for p in folder.iterdir() if not p.name.startswith((".", "__pycache__")))
    texts = []
    for file in found:
        if not file.is_file():
            faults.append(f"{file} is a folder; {folder.name}/ holds further initial candidates, a file each")
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            faults.append(f"{file} cannot be read: {error}; write it as UTF-8 text")
        else:
            texts.append(text if variant is None else text.replace("{variant}", variant))
    kinds = sorted({file.suffix for file in found if file.is_file()})
    if len(kinds) > 1:
        faults.append(
            f"the files in {folder} end in {', '.join(map(repr, kinds))}; all are initial candidates: keep one kind"
        )
    return tuple(texts)


def named(number: int) -> str:
    """What an initial candidate is called, and a run's candidate made of it."""
    return f"initial-{number}" if number else "initial"


def check(initial: str, others: Sequence[str], faults: list[str]) -> None:
    """Compare further initial candidates with the first.

    Args:
        initial: The first.
        others: The further ones.
        faults: Takes what is wrong with them.
    """
    seen = {initial: 0}
    for number, text in enumerate(others, 1):
        if not text.strip():
            faults.append(f"{named(number)} is empty; write a program that scores, or leave it out")
        elif text in seen:
            faults.append(f"{named(number)} is the same as {named(seen[text])}; keep one of them")
        seen.setdefault(text, number)
        try:
            frame, first = Frame.of(text), Frame.of(initial)
        except ProblemError as error:
            faults.append(f"the markers of {named(number)}: {error}")
            continue
        if frame.blocks != first.blocks:
            faults.append(
                f"{named(number)} has {frame.blocks} EVOLVE-BLOCK regions, and initial has {first.blocks}; "
                "they may differ inside of the blocks only"
            )
        elif frame != first:
            faults.append(
                f"{named(number)} differs from initial outside of its EVOLVE-BLOCK regions{_where(frame, first)}; "
                "they may differ inside of them only"
            )


def _where(frame: Frame, first: Frame) -> str:
    """The first frozen line that differs, in words."""
    ours, theirs = ("".join(each.fixed).split("\n") for each in (frame, first))
    for our, their in zip(ours, theirs, strict=False):
        if our != their:
            return f", at {our.strip()!r} where initial has {their.strip()!r}"
    return ""
