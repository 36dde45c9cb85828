"""``discovery selectors``: what a run can choose parents by."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from discovery.cli.app import app, out, print_json, print_table, program
from discovery.config import SearchConfig
from discovery.selection import described_selectors
from discovery.selection.registry import ENTRY_POINTS


@app.command
def selectors(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """List what a run can choose parents by, with the parameters of each.

    Args:
        json: Print JSON on standard output, nothing else.
    """
    found = described_selectors()
    if json:
        print_json(
            [
                {
                    "name": each.name,
                    "summary": each.summary,
                    "params": {key: _plain(value) for key, value in each.params.items()},
                    "origin": each.origin,
                }
                for each in found
            ]
        )
        return 0
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("selector", "shows the generator", "parameters"):
        table.add_column(column, no_wrap=column == "selector")
    usual = SearchConfig().selector
    for each in found:
        origin = f" ({each.origin})" if each.origin else " (the default)" if each.name == usual else ""
        params = ", ".join(f"{key}={value}" for key, value in each.params.items())
        table.add_row(Text(each.name), Text(f"{each.summary}{origin}"), Text(params, style="dim"))
    print_table(table)
    out.print(
        f"\n{program()} run PROBLEM --selector NAME --selector-param NAME=VALUE takes one. "
        f"A class of your own comes by the entry point {ENTRY_POINTS}.",
        markup=False,
    )
    return 0


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
