"""``discovery licences``: whose words may be trained on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from discovery.cli.app import app, out, print_json, print_table, program
from discovery.cli.watch import printable
from discovery.config import to_dict
from discovery.licences import BUILT_IN, FILE, Entry, Licence, LicenceTable, load_licences
from discovery.records import ModelIdentity

licences = App(
    name="licences",
    help="Show whose words may be trained on, by the table that you edit; `init` makes one.",
)
app.command(licences)

SERVED = "openai"
"""The generator that a folder of weights speaks through."""


@licences.default
def show(
    model: str | None = None,
    /,
    *,
    licences: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show the table of licences, where it lies, and which entry a model gets.

    Exit code 1 when a model is given whose words may not be trained on, or nothing is known of it.

    Args:
        model: Name of a model as its server gives it, of an adapter, or a folder of weights.
        licences: The table [$DISCOVERY_LICENCES, or .discovery/licences.toml].
        json: Print one JSON object on standard output, nothing else.
    """
    table = load_licences(licences)
    found = _of(table, model) if model is not None else None
    if json:
        print_json(_as_json(table, model, found))
    else:
        _print(table, again=f" --licences {shlex.quote(str(licences))}" if licences else "")
        if model is not None:
            out.print(f"model {model!r} {_said(found)}", markup=False)
    return 1 if model is not None and (found is None or not found.trainable) else 0


@licences.command
def init(*, licences: Path | None = None) -> int:
    """Make a table to start from, with examples that are commented out.

    Args:
        licences: Where [$DISCOVERY_LICENCES, or .discovery/licences.toml].
    """
    path = FILE.begin(licences)
    out.print(f"{path}: put your models there; `{program()} licences` shows what is read", markup=False)
    return 0


def _of(table: LicenceTable, model: str) -> Licence | None:
    folder = Path(model).expanduser()
    if folder.is_dir():
        return table.of(ModelIdentity(generator=SERVED, revision=str(folder.absolute())))
    return table.find(model)


def _said(found: Licence | None) -> str:
    if found is None:
        return "fits none of these: nothing that it wrote is exported for training"
    terms = ", ".join(part for part in (found.provider, found.licence, found.source) if part)
    may = "may" if found.trainable else "may not"
    return f"{may} be trained on{f': {terms}' if terms else ''}"


def _as_json(table: LicenceTable, model: str | None, found: Licence | None) -> dict[str, object]:
    shown: dict[str, object] = {
        "path": str(table.path),
        "entries": [_entry_json(each) for each in table.entries],
        "built_in": [_entry_json(each) for each in BUILT_IN],
    }
    if model is not None:
        shown["model"] = model
        shown["licence"] = to_dict(found) if found is not None else None
    return shown


def _entry_json(entry: Entry) -> dict[str, object]:
    return {"model": entry.pattern, **to_dict(entry.licence)}


def _print(table: LicenceTable, again: str) -> None:
    if table.path is not None and not table.path.exists():
        fix = f"`{program()} licences init{again}` makes one to start from"
        out.print(f"{table.path} is not there; {fix}. What is known without it:", markup=False)
    else:
        out.print(f"{table.path}, then what is known without it; the first that fits counts", markup=False)
    grid = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("model", "may be trained on", "provider", "licence", "source"):
        grid.add_column(column)
    for each in (*table.entries, *BUILT_IN):
        licence = each.licence
        grid.add_row(
            Text(printable(each.pattern)),
            "yes" if licence.trainable else "no",
            *(Text(printable(text or "")) for text in (licence.provider, licence.licence, licence.source)),
        )
    print_table(grid)
