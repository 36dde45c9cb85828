"""``discovery doctor``, ``server`` and ``bench``: the machine, not a run."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table
from rich.text import Text

from discovery.cli.app import app, err, out, print_json, print_table
from discovery.cli.watch import plain
from discovery.errors import UsageError
from discovery.orchestration import server as prefect_server


@app.command
def doctor(*, sandbox: str | None = None, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Tell what this machine has and lacks, and the command that gets each missing thing.

    Args:
        sandbox: Instead, find out by trying what this sandbox holds here: bubblewrap, docker or process.
        json: Print one JSON list on standard output, nothing else.

    Exit code 0 when runs can be made safely, 1 when something that they need is missing; 0 with --sandbox.
    """
    from discovery.doctor import diagnose

    if sandbox is not None:
        return _examine(sandbox, json)
    found = diagnose()
    if json:
        print_json([{"name": d.name, "ok": d.ok, "detail": d.detail, "fix": d.fix} for d in found])
    else:
        table = Table.grid(padding=(0, 2))
        for d in found:
            mark = (
                Text("ok", style="green") if d.ok else Text("missing" if d.needed else "no", style="yellow")
            )
            table.add_row(mark, d.name, Text(d.detail))
            if not d.ok and d.fix:
                table.add_row("", "", Text(d.fix, style="bold"))
        print_table(table)
    return 1 if any(d.needed and not d.ok for d in found) else 0


def _examine(name: str, json: bool) -> int:
    """Print the properties of a sandbox, verified now."""
    from discovery.doctor import verify_sandbox
    from discovery.sandbox.isolation import LEVELS, PROPERTIES, unmet

    record = asyncio.run(verify_sandbox(name))
    if json:
        print_json(
            {
                "sandbox": record.backend,
                "id": record.id,
                "properties": dict(record.properties),
                "levels": [level for level in LEVELS if not unmet(record, [level])],
                "details": dict(record.details),
            }
        )
        return 0
    table = Table.grid(padding=(0, 2))
    for prop, holds in record.properties.items():
        mark = Text("holds", style="green") if holds else Text("no", style="yellow")
        table.add_row(mark, prop, Text(PROPERTIES[prop]))
    for level in LEVELS:
        missing = unmet(record, [level])
        mark = Text("no", style="yellow") if missing else Text("met", style="green")
        table.add_row(mark, f"level {level}", Text(f"lacks {', '.join(missing)}" if missing else ""))
    for detail, value in record.details.items():
        table.add_row("", detail, Text(value))
    print_table(table)
    return 0


server = App(
    name="server", help="The managed Prefect server on this machine: its web interface and its record."
)
app.command(server)


@server.command
def start(*, port: int | None = None) -> int:
    """Start it, or say where it is.

    Args:
        port: Port on 127.0.0.1 [4200 if free].
    """
    if not prefect_server.status().healthy:
        err.print("starting the Prefect server (about 15 s) ...")
    state = prefect_server.start(port=port)
    out.print(f"Prefect runs at {state.dashboard}", markup=False)
    return 0


@server.command
def stop() -> int:
    """End it."""
    out.print("stopped" if prefect_server.stop() else "it was not running")
    return 0


@server.command
def status(*, json: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Say whether it runs, and where. Exit code 1 when it does not.

    Args:
        json: Print one JSON object on standard output, nothing else.
    """
    found = prefect_server.status()
    if json:
        url = found.state.dashboard if found.state is not None else None
        print_json({"healthy": found.healthy, "url": url, "home": str(found.home)})
    else:
        out.print(found.message, markup=False)
    return 0 if found.healthy else 1


@app.command
def bench(
    *,
    evaluations: int = 1000,
    sandbox: str = "auto",
    selector: str = "rpucg",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Measure what an evaluation costs on this machine: a run of constants-10 by the embedded generator.

    Args:
        evaluations: How many.
        sandbox: auto, bubblewrap, docker or process.
        selector: Selector of the run.
        json: Print one JSON object on standard output, nothing else.
    """
    from discovery.bench import measure_run

    if evaluations < 1:
        raise UsageError(f"--evaluations {evaluations}: there must be at least 1")
    measured = asyncio.run(
        measure_run("constants-10", evaluations=evaluations, sandbox=sandbox, selector=selector)
    )
    if json:
        print_json(measured.as_dict())
        return 0
    table = Table.grid(padding=(0, 2))
    for label, value in measured.rows():
        table.add_row(label, plain(value))
    print_table(table)
    return 0
