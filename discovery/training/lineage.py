"""Where weights come from: ``lineage.json``, in their folder. No torch.

It holds which base, by name and by content, which exports, by id and by the hashes of their files, how they were
trained and what came out. A base that was trained itself brings its own lineage along, whole, so that one can walk back
from any weights to the model that nobody here made, without the folders in between.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from discovery import __version__
from discovery.config import from_dict, to_dict
from discovery.errors import WeightsError
from discovery.generation.weights import fingerprint, read_weights
from discovery.training.config import TrainConfig

FILE = "lineage.json"
_LIBRARIES = ("torch", "transformers", "trl", "peft")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """An export that weights were trained on.

    Args:
        id: The export's id.
        format: Its format.
        folder: Where it was.
        files: Name of each file that was read to its SHA-256 in hexadecimal.
        rows: Name of each file to how many rows it has.
    """

    id: str
    format: str
    folder: str
    files: Mapping[str, str]
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """How one folder of weights was made.

    Args:
        base: Folder or name of the model that was trained, as the user named it.
        base_hash: Fingerprint of its tensors, as :func:`discovery.generation.weights.fingerprint` makes it.
        exports: What it was trained on.
        method: One of :data:`discovery.training.config.METHODS`.
        config: How.
        versions: Name of each library, and of this package, to its version.
        metrics: What came out: losses, rows, tokens, steps; and rows left out, by reason.
        created_at: When the weights were complete.
        parent: The lineage of the base, where it has one.
    """

    base: str
    base_hash: str
    exports: tuple[ExportSource, ...]
    method: str
    config: TrainConfig
    versions: Mapping[str, str]
    metrics: Mapping[str, Any]
    created_at: datetime
    parent: Lineage | None = None

    @property
    def seed(self) -> int:
        """Of order, dropout and sampling."""
        return self.config.seed

    def chain(self) -> Iterator[Lineage]:
        """This one, its base's, and so on back."""
        lineage: Lineage | None = self
        while lineage is not None:
            yield lineage
            lineage = lineage.parent


def versions() -> Mapping[str, str]:
    """Versions of the libraries that train, and of this package."""
    found = {"discovery": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def of_base(folder: Path) -> tuple[str, Lineage | None]:
    """The fingerprint of a base and its lineage, where it has one.

    Args:
        folder: Of a checkpoint or an adapter.

    Raises:
        WeightsError: It is neither, or not whole, or its lineage cannot be read.
    """
    weights = read_weights(folder)
    return fingerprint(weights), read(folder) if (folder / FILE).is_file() else None


def write(folder: Path, lineage: Lineage) -> None:
    """Write ``lineage.json`` into a folder of weights."""
    (folder / FILE).write_text(
        json.dumps(as_json(lineage), indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )


def read(folder: Path) -> Lineage:
    """The lineage in a folder of weights.

    Raises:
        WeightsError: There is none, or it cannot be read.
    """
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _from_json(found)
    except FileNotFoundError as error:
        raise WeightsError(
            f"{folder} has no {FILE}: nothing says what its weights were trained on; `discovery train` writes one"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is no readable lineage: {type(error).__name__}: {error}") from error


def as_json(lineage: Lineage) -> dict[str, Any]:
    """A lineage as plain JSON data."""
    shallow = to_dict(replace(lineage, parent=None))
    parent = as_json(lineage.parent) if lineage.parent is not None else None
    return {**shallow, "created_at": lineage.created_at.isoformat(), "parent": parent}


def _from_json(found: Mapping[str, Any]) -> Lineage:
    return Lineage(
        base=str(found["base"]),
        base_hash=str(found["base_hash"]),
        exports=tuple(from_dict(ExportSource, each) for each in found["exports"]),
        method=str(found["method"]),
        config=from_dict(TrainConfig, found["config"]),
        versions=dict(found["versions"]),
        metrics=dict(found["metrics"]),
        created_at=datetime.fromisoformat(found["created_at"]).astimezone(UTC),
        parent=None if found.get("parent") is None else _from_json(found["parent"]),
    )
