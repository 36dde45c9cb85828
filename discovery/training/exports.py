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
from discovery.trajectories.formats.base import data_file
from discovery.trajectories.manifest import read_manifest
from discovery.trajectories.records import Split

TRAIN = data_file(Split.TRAIN)
VALIDATION = data_file(Split.VALIDATION)
FORMAT_OF = {"sft": "trl-sft", "dpo": "trl-dpo", "grpo": "trl-grpo"}
"""A method to the format of the exports that it reads."""

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """Exports whose files are as their manifests say.

    Args:
        sources: Each of them, by id: the order in which they are named changes nothing.
    """

    sources: tuple[ExportSource, ...]

    def rows(self, file: str) -> Iterator[Row]:
        """The rows of one file of all exports, in order; none where an export lacks it.

        Raises:
            UsageError: A line is no JSON object, or the file was changed since its hash was taken.
        """
        for source in self.sources:
            if file in source.files:
                yield from _rows(Path(source.folder) / file, source.files[file])


def read_exports(folders: Sequence[Path], method: str) -> Exports:
    """Read the manifests of exports and hold their files to them.

    Args:
        folders: Of the exports; at least one.
        method: What they are for.

    Raises:
        UsageError: One is no export, of another format than the method reads, or not as its manifest says.
    """
    wanted = FORMAT_OF[method]
    if not folders:
        raise UsageError(f"no export is named; `discovery export RUN --format {wanted}` makes one")
    sources = tuple(_source(folder, wanted) for folder in folders)
    named: dict[str, Path] = {}
    for source, folder in zip(sources, folders, strict=True):
        if source.id in named:
            raise UsageError(
                f"{folder} is export {source.id}, as {named[source.id]} is; its rows would count twice"
            )
        named[source.id] = folder
    return Exports(sources=tuple(sorted(sources, key=lambda source: source.id)))


def _source(folder: Path, wanted: str) -> ExportSource:
    manifest = read_manifest(folder, verify=True)
    if manifest.format != wanted:
        raise UsageError(
            f"{folder} has format {manifest.format!r}, and this method reads {wanted!r}: "
            f"discovery export RUN --format {wanted}"
        )
    files = {name: manifest.files[name] for name in (TRAIN, VALIDATION) if name in manifest.files}
    if TRAIN not in files:
        raise UsageError(f"{folder} has no {TRAIN}; export again with a filter that keeps something")
    return ExportSource(
        id=manifest.id,
        format=manifest.format,
        folder=str(folder.expanduser().absolute()),
        files={name: fact.sha256 for name, fact in files.items()},
        rows={name: fact.rows or 0 for name, fact in files.items()},
    )


def _rows(path: Path, sha256: str) -> Iterator[Row]:
    read = hashlib.sha256()  # of what is trained on, which is what the lineage tells
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            read.update(line)
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UsageError(f"{path}, line {number}: {error}; export again") from error
            if not isinstance(row, dict):
                raise UsageError(f"{path}, line {number}: no JSON object; export again")
            yield row
    if read.hexdigest() != sha256:
        raise UsageError(f"{path} was changed while it was read; export again, and train on that")
