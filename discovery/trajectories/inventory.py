"""What an archive says of itself: ``manifest.json`` in its folder.

It holds nothing that two archives of equal runs could differ in: no time, no place, no name of a machine.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from discovery.config import from_dict
from discovery.errors import ArchiveError, ConfigError
from discovery.trajectories.manifest import NAME, FileFact, fact_of
from discovery.trajectories.tables import OLDEST, SCHEMA, tables_of

FORMAT = "parquet"
"""The format's name, as `discovery export --format` has it."""
_MOST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What an archive holds.

    Args:
        format: ``parquet``.
        id: Hash of the files' hashes, 16 hexadecimal digits.
        schema: Version of the schema.
        package_version: Of the package that wrote it.
        runs: Ids of its runs, sorted.
        files: Name to facts.
    """

    format: str = FORMAT
    id: str
    schema: int
    package_version: str
    runs: tuple[str, ...]
    files: Mapping[str, FileFact]


def id_of(files: Mapping[str, FileFact]) -> str:
    """The id of an archive of these files."""
    said = "".join(f"{name} {files[name].sha256}\n" for name in sorted(files))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def file_name(table: str) -> str:
    """Name of a table's file."""
    return f"{table}.parquet"


def write_inventory(folder: Path, inventory: Inventory) -> None:
    """Write the manifest of an archive."""
    text = json.dumps(asdict(inventory), indent=1, allow_nan=False, ensure_ascii=False)
    with (folder / NAME).open("w", encoding="utf-8") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())


def read_inventory(folder: Path) -> Inventory:
    """Read the manifest of an archive and compare all files with it.

    Raises:
        ArchiveError: It is not there, is none of ours, or a file is not as it says; names the file.
    """
    path = folder / NAME
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ArchiveError(f"{path} has {path.stat().st_size} bytes, which no manifest of ours has")
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArchiveError(
            f"{folder} is no archive: its {NAME} cannot be read ({error.strerror}); "
            "`discovery export RUN... --format parquet --out DIR` makes one"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{path} is not JSON ({error}); get the archive again") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise ArchiveError(
            f"{folder} is no archive of runs: its {NAME} does not say that its format is {FORMAT!r}; "
            "what was exported for a training library cannot be imported"
        )
    schema = said.get("schema")
    if type(schema) is not int or not OLDEST <= schema <= SCHEMA:
        raise ArchiveError(
            f"{folder} has schema {schema!r}, and this version of discovery reads {OLDEST} to {SCHEMA}; it was written "
            f"by version {said.get('package_version')!r}: import it with that one or a later one"
        )
    inventory = _parsed(path, said)
    for name, fact in inventory.files.items():
        _compare(folder / name, fact)
    return inventory


def _parsed(path: Path, said: Mapping[str, Any]) -> Inventory:
    try:
        files = {str(name): from_dict(FileFact, fact, f"{name}.") for name, fact in said["files"].items()}
        inventory = Inventory(
            id=str(said["id"]),
            schema=said["schema"],
            package_version=str(said["package_version"]),
            runs=tuple(map(str, said["runs"])),
            files=files,
        )
    except (ConfigError, KeyError, TypeError, AttributeError) as error:
        raise ArchiveError(f"{path} is no manifest of an archive ({error}); get the archive again") from error
    # Also what keeps a name from leading out of the folder.
    expected = {file_name(table.name) for table in tables_of(inventory.schema)}
    if files.keys() != expected:
        odd = ", ".join(sorted(files.keys() ^ expected))
        raise ArchiveError(f"{path} names other files than an archive has ({odd}); get the archive again")
    if inventory.id != id_of(files):
        raise ArchiveError(f"{path} was changed: its id does not fit; get the archive again")
    return inventory


def _compare(path: Path, fact: FileFact) -> None:
    try:
        found = fact_of(path, fact.rows)
    except OSError as error:
        raise ArchiveError(
            f"{path} cannot be read ({error.strerror}), and the manifest names it; get the archive again"
        ) from error
    if found != fact:
        raise ArchiveError(
            f"{path} is not what was written: it has {found.bytes:,} bytes and SHA-256 {found.sha256[:12]}..., the "
            f"manifest says {fact.bytes:,} and {fact.sha256[:12]}...; get the archive again"
        )
