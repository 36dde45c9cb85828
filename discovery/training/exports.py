"""Exports that a training reads: their manifests, held to their files, and their rows. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from discovery.errors import UsageError
from discovery.training.lineage import ExportSource

MANIFEST = "manifest.json"
TRAIN = "train.jsonl"
VALIDATION = "validation.jsonl"
FORMAT_OF = {"sft": "trl-sft", "dpo": "trl-dpo", "grpo": "trl-grpo"}
"""A method to the format of the exports that it reads."""
_PIECE = 1 << 20

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """Exports whose files are as their manifests say.

    Args:
        sources: Each of them, in the order given.
        folders: Where they are.
    """

    sources: tuple[ExportSource, ...]
    folders: tuple[Path, ...]

    def rows(self, file: str) -> Iterator[Row]:
        """The rows of one file of all exports, in order; none where an export lacks it.

        Raises:
            UsageError: A line is no JSON object.
        """
        for source, folder in zip(self.sources, self.folders, strict=True):
            if file in source.files:
                yield from _rows(folder / file)


def read_exports(folders: Sequence[Path], method: str) -> Exports:
    """Read the manifests of exports and hold their files to them.

    Args:
        folders: Of the exports; at least one.
        method: What they are for.

    Raises:
        UsageError: One is no export, of another format than the method reads, or not as its manifest says.
    """
    if not folders:
        raise UsageError("no export is named; `discovery export RUN --format trl-sft` makes one")
    sources = tuple(_source(folder, FORMAT_OF[method]) for folder in folders)
    named: dict[str, Path] = {}
    for source, folder in zip(sources, folders, strict=True):
        if source.id in named:
            raise UsageError(
                f"{folder} is export {source.id}, as {named[source.id]} is; its rows would count twice"
            )
        named[source.id] = folder
    return Exports(sources=sources, folders=tuple(folders))


def _source(folder: Path, wanted: str) -> ExportSource:
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        files = {name: entry for name, entry in found["files"].items() if name in (TRAIN, VALIDATION)}
        source = ExportSource(
            id=str(found["id"]),
            format=str(found["format"]),
            folder=str(folder.absolute()),
            files={name: str(entry["sha256"]) for name, entry in files.items()},
            rows={name: int(entry["rows"]) for name, entry in files.items()},
        )
    except OSError as error:
        raise UsageError(
            f"{folder} is no export: {path.name}: {error.strerror}; `discovery export RUN --format {wanted}` makes one"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no manifest: {type(error).__name__}: {error}; export again") from error
    if source.format != wanted:
        raise UsageError(
            f"{folder} has format {source.format!r}; this method reads {wanted!r}: "
            f"discovery export RUN --format {wanted}"
        )
    if TRAIN not in source.files:
        raise UsageError(f"{folder} has no {TRAIN}; export again with a filter that keeps something")
    for name, hash_ in source.files.items():
        if _hash(folder / name) != hash_:
            raise UsageError(
                f"{folder / name} is not as its manifest says; it was changed or cut: export again"
            )
    return source


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; its manifest names it: export again") from error
    return digest.hexdigest()


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: {error}; export again") from error
            if not isinstance(row, dict):
                raise UsageError(f"{path}, line {number}: no JSON object; export again")
            yield row
