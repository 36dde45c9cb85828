"""Which version of a problem it is: a hash of all that its scores depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from discovery import starts
from discovery.records import text_hash

_NOT_SCORING = ("initial.", "initial-", "adversarial.")
"""How the names of files begin that say nothing of what a score is: they are no part of a problem's version."""


def version_of(
    statement: str,
    initial: str,
    template: str | None,
    baseline: str | None,
    path: Path,
    others: Sequence[str] = (),
) -> str:
    """The hash of all that a problem's scores depend on; scores of two versions do not compare.

    Args:
        statement: What a model is told.
        initial: The first initial candidate.
        template: The folder's template of prompts; None where there is none.
        baseline: What repeats are scored in turn with, where it has a file of its own.
        path: The problem's file; of a folder all ``*.py`` and ``data-*`` count, but those that say nothing of a score.
        others: The further initial candidates.
    """
    digest = hashlib.sha256()
    for text in (statement, initial, *([] if baseline is None else [baseline])):
        digest.update(text_hash(text).encode())
    files = (
        [path]
        if path.name != "problem.py"
        else sorted({*path.parent.glob("*.py"), *path.parent.glob("data-*")})
    )
    for file in files:
        if file.is_file() and not file.name.startswith(_NOT_SCORING):
            digest.update(file.name.encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    if template is not None:
        digest.update(text_hash(template).encode())
    for number, other in enumerate(others, 1):
        digest.update(f"{starts.named(number)} {text_hash(other)}".encode())
    return digest.hexdigest()
