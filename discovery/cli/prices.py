"""``discovery prices``: the user's table of prices by model."""

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
from discovery.prices import FILE, Entry, PriceTable, load_prices

prices = App(name="prices", help="Show what models cost, by the table that you edit; `init` makes one.")
app.command(prices)


@prices.default
def show(
    model: str | None = None,
    /,
    *,
    prices: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Show the table of prices, where it lies, and which entry a model gets.

    Args:
        model: Name of a model, as its server gives it.
        prices: The table [$DISCOVERY_PRICES, or .discovery/prices.toml].
        json: Print one JSON object on standard output, nothing else.
    """
    table = load_prices(prices)
    entry = table.find(model)
    if json:
        print_json(_as_json(table, model, entry))
    else:
        _print(table, model, entry, again=f" --prices {shlex.quote(str(prices))}" if prices else "")
    return 1 if model is not None and entry is None else 0


@prices.command
def init(*, prices: Path | None = None) -> int:
    """Make a table to start from, with examples that are commented out.

    Args:
        prices: Where [$DISCOVERY_PRICES, or .discovery/prices.toml].
    """
    path = FILE.begin(prices)
    out.print(f"{path}: put your prices there; `{program()} prices` shows what is read", markup=False)
    return 0


def _as_json(table: PriceTable, model: str | None, entry: Entry | None) -> dict[str, object]:
    entries = [{"model": each.pattern, **to_dict(each.prices)} for each in table.entries]
    shown: dict[str, object] = {"path": str(table.path), "entries": entries}
    if model is not None:
        shown["model"] = model
        shown["entry"] = entry.pattern if entry else None
    return shown


def _print(table: PriceTable, model: str | None, entry: Entry | None, again: str) -> None:
    if not table.entries:
        missing = table.path is None or not table.path.exists()
        said = f"no prices are known: {table.path} {'is not there' if missing else 'holds none'}"
        fix = f"`{program()} prices init{again}` makes one to start from" if missing else "edit it"
        out.print(f"{said}; {fix}", markup=False)
        return
    out.print(f"{table.path} (per million tokens, per hour of a run)", markup=False)
    grid = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("", "model", "prompt", "completion", "cached", "hour", "currency", "source", "date"):
        is_price = column in ("prompt", "completion", "cached", "hour")
        grid.add_column(column, justify="right" if is_price else "left")
    for each in table.entries:
        price = each.prices
        amounts = (price.prompt, price.completion, price.cached, price.hour)
        grid.add_row(
            ">" if each is entry else "",
            Text(printable(each.pattern)),
            *("" if amount is None else f"{amount:g}" for amount in amounts),
            *(Text(printable(text or "")) for text in (price.currency, price.source, price.date)),
        )
    print_table(grid)
    if model is not None:
        got = (
            f"gets {entry.pattern!r}, the first that fits" if entry else "gets none of these: no cost is told"
        )
        out.print(f"model {model!r} {got}", markup=False)
