"""What an export says of itself: ``manifest.json`` in its folder, written by :mod:`discovery.trajectories.export`.

The id is made of what an export holds: its format, its options, its filter, and the hashes of its files. When it was
made is not part of it, nor is the card, which people may edit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from discovery.config import from_dict
from discovery.errors import ConfigError, UsageError
from discovery.trajectories.formats.base import Options, Reasoning, data_file
from discovery.trajectories.records import Filter, Keep, Split

NAME = "manifest.json"
SCHEMA = 1
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFact:
    """One file of an export.

    Args:
        sha256: Hash of its bytes, in hexadecimal.
        bytes: Its size.
        rows: Its lines, where each is a row; None for other files.
    """

    sha256: str
    bytes: int
    rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunShare:
    """What one run gave.

    Args:
        run: Its id.
        problem: The problem's name.
        problem_version: Hash of statement, initial candidate and scorer.
        trajectories: Trajectories with at least one row.
        steps: Steps with at least one row.
        rows: Rows.
    """

    run: str
    problem: str
    problem_version: str
    trajectories: int = 0
    steps: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShare:
    """A model whose words are in an export.

    Args:
        generator: ``openai``, ``mutation``.
        model: Its name as served; None where there is none.
        revision: Revision or weights path.
        adapter: Adapter (LoRA) name.
        answers: How many of its answers were among the siblings of the exported steps.
        provider: Who provides it, by the user's table of licences; None where that has no entry for it.
        licence: Its licence, by the same.
        trainable: Whether its words may be trained on, by the same; None where unknown.
    """

    generator: str
    model: str | None = None
    revision: str | None = None
    adapter: str | None = None
    answers: int = 0
    provider: str | None = None
    licence: str | None = None
    trainable: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refutation:
    """A trajectory that a second scoring of its best candidate put out.

    Args:
        run: Run id.
        chain: Chain number.
        problem: The problem's name.
        reason: Why, in one line.
    """

    run: str
    chain: int
    problem: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an export holds, and where it is from.

    Args:
        id: Hash of format, options, filter and files, 16 hexadecimal digits.
        format: Name of the format.
        options: How its rows were made.
        filter: What was chosen.
        files: Name to facts, the manifest and the card not among them.
        left_out: What was not exported, by reason.
        refuted: Who is out for a score that did not hold.
        runs: By id.
        models: By generator, name, revision and adapter.
        package_version: Of this package.
        created_at: When it was written.
    """

    id: str
    format: str
    options: Options
    filter: Filter
    files: Mapping[str, FileFact]
    left_out: Mapping[str, int]
    refuted: tuple[Refutation, ...]
    runs: tuple[RunShare, ...]
    models: tuple[ModelShare, ...]
    package_version: str
    created_at: datetime
    schema: int = field(default=SCHEMA)

    def rows(self, split: Split) -> int:
        """How many rows a split has."""
        found = self.files.get(data_file(split))
        return found.rows or 0 if found is not None else 0


def id_of(format_name: str, options: Options, chosen: Filter, files: Mapping[str, FileFact]) -> str:
    """The id of an export of these files."""
    said = {
        "format": format_name,
        "options": dataclasses.asdict(options),
        "filter": dataclasses.asdict(chosen),
        "files": {name: fact.sha256 for name, fact in files.items()},
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]


def as_json(manifest: Manifest) -> dict[str, Any]:
    """A manifest as plain JSON."""
    return {**dataclasses.asdict(manifest), "created_at": manifest.created_at.isoformat()}


def fact_of(path: Path, rows: int | None = None) -> FileFact:
    """Facts of a file on disk.

    Args:
        path: The file.
        rows: Its rows, where it has some.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return FileFact(sha256=digest.hexdigest(), bytes=size, rows=rows)


def read_manifest(folder: Path | str, *, verify: bool = False) -> Manifest:
    """Read an export's manifest.

    Args:
        folder: The export's.
        verify: Whether every file is read, and its hash and the id are compared.

    Raises:
        UsageError: There is none, it is none, or a file is not as it says; names the file.
    """
    folder = Path(folder)
    try:
        said = json.loads((folder / NAME).read_text(encoding="utf-8"))
        manifest = _parsed(said)
    except OSError as error:
        raise UsageError(
            f"{folder} is no export: its {NAME} cannot be read ({error.strerror}); "
            "`discovery export RUN... --out DIR` makes one"
        ) from error
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:  # ConfigError is a ValueError
        why = f"it has no {error}" if isinstance(error, KeyError) else error
        raise UsageError(
            f"{folder / NAME} is no manifest of an export ({why}); make the export again"
        ) from error
    if verify:
        _verify(folder, manifest)
    return manifest


def _parsed(said: Mapping[str, Any]) -> Manifest:
    if said["schema"] != SCHEMA:
        raise ConfigError(f"its schema is {said['schema']!r}; this version reads {SCHEMA}")
    options, chosen = dict(said["options"]), dict(said["filter"])
    if options["reasoning"] is not None:
        options["reasoning"] = Reasoning(options["reasoning"])
    chosen["keep"] = Keep(chosen["keep"])
    for name in said["files"]:
        if name != Path(name).name:
            raise ConfigError(f"it names {name!r}, which is outside of its folder")
    return Manifest(
        id=str(said["id"]),
        format=str(said["format"]),
        options=from_dict(Options, options, "options."),
        filter=from_dict(Filter, chosen, "filter."),
        files={name: from_dict(FileFact, fact, f"files.{name}.") for name, fact in said["files"].items()},
        left_out={str(reason): int(count) for reason, count in said["left_out"].items()},
        refuted=tuple(from_dict(Refutation, each, "refuted.") for each in said["refuted"]),
        runs=tuple(from_dict(RunShare, each, "runs.") for each in said["runs"]),
        models=tuple(from_dict(ModelShare, each, "models.") for each in said["models"]),
        package_version=str(said["package_version"]),
        created_at=datetime.fromisoformat(said["created_at"]),
    )


def _verify(folder: Path, manifest: Manifest) -> None:
    for name, fact in manifest.files.items():
        try:
            found = fact_of(folder / name)
        except OSError as error:
            raise UsageError(
                f"{folder / name} cannot be read ({error.strerror}), and the manifest names it; "
                "make the export again"
            ) from error
        if found.sha256 != fact.sha256:
            raise UsageError(
                f"{folder / name} is not what was exported: its SHA-256 is {found.sha256[:12]}..., "
                f"the manifest says {fact.sha256[:12]}...; make the export again"
            )
    if id_of(manifest.format, manifest.options, manifest.filter, manifest.files) != manifest.id:
        raise UsageError(f"{folder / NAME} was changed: its id does not fit; make the export again")
