"""What ``discovery plan`` says of a run that it has foretold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table
from rich.text import Text

from discovery.cli.app import out, print_table
from discovery.cli.watch import duration, money, printable
from discovery.config import RunConfig, to_dict
from discovery.forecast.forecast import Estimate, Forecast
from discovery.forecast.pilot import Pilot
from discovery.forecast.shape import Machine
from discovery.pulse import Quantity


def as_json(told: Forecast, pilot: Pilot, config: RunConfig, machine: Machine) -> dict[str, Any]:
    """A forecast with what it is of, for other programs."""
    return {
        "pilot": {"runs": list(pilot.runs), "completions": len(pilot.spoken)},
        "config": to_dict(config),
        "machine": asdict(machine),
        "evaluations": told.evaluations,
        "wall_s": asdict(told.wall_s),
        "tokens": {
            "prompt": told.tokens.prompt and asdict(told.tokens.prompt),
            "completion": told.tokens.completion and asdict(told.tokens.completion),
            "advice": told.tokens.advice and asdict(told.tokens.advice),
        },
        "cost": told.cost and {**asdict(told.cost), "currency": config.prices.currency},
        "utilisation": dict(told.values),
        "waits_for": told.finding and {"kind": str(told.finding.kind), "what": told.finding.what},
        "what_ifs": [asdict(what_if) for what_if in told.what_ifs],
        "assumed": list(told.assumed),
    }


def print_plan(told: Forecast, pilot: Pilot, config: RunConfig, machine: Machine, problem: str) -> None:
    """The same for people, as a page."""
    search = config.search
    overlap = f", overlap {config.overlap}" if config.overlap else ""
    out.print(Text(f"Plan of a run of {problem}", style="bold"))
    places = config.slots.generation or "as many as the servers can do"
    evaluators = config.slots.evaluation or machine.evaluation_slots
    facts = Table.grid(padding=(0, 2))
    rows = (
        ("search", f"C={search.chains} L={search.steps} K={search.candidates}{overlap}"),
        ("rungs", _rungs(config)),
        ("slots", f"generation: {places}; evaluation: {evaluators}"),
        ("pilot", f"{', '.join(pilot.runs)} ({len(pilot.spoken)} completions)"),
        ("", ""),
        ("evaluations", f"{told.evaluations:,}, {_rate(told.values[Quantity.EVALUATIONS_PER_S])}"),
        ("wall time", _between(told.wall_s, duration)),
        ("tokens", _tokens(told)),
        ("cost", _cost(told, config)),
        ("busy", _busy(told.values)),
        ("waits for", told.finding.what if told.finding else ""),
        (" ", told.finding.fix if told.finding else ""),
    )
    for label, value in rows:
        if value or not label:
            facts.add_row(Text(label, style="dim"), Text(printable(value)))
    print_table(facts)
    out.print("\nWhat if")
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("", "wall time", "", "generator", "evaluators"):
        table.add_column(column, justify="left" if column == "" else "right")
    for each in told.what_ifs:
        table.add_row(
            Text(f"  {each.change}"),
            duration(each.wall_s),
            _gain(each.wall_s, told.wall_s.value),
            f"{100 * each.generator_busy:.0f} %",
            f"{100 * each.evaluator_busy:.0f} %",
        )
    print_table(table)
    out.print("\nIt is assumed that")
    for line in told.assumed:
        out.print(f"  - {printable(line)}", markup=False)


def _rungs(config: RunConfig) -> str:
    places = ", ".join(map(str, config.rungs_at))
    kept = f"{100 * config.adapt.keep:.0f} % of the chains go on"
    return f"at {places} evaluations of a chain, {kept} at each" if places else ""


def _between(estimate: Estimate, shown: Callable[[float], str]) -> str:
    low, high, value = shown(estimate.low), shown(estimate.high), shown(estimate.value)
    return value if low == high else f"{value} ({low} to {high})"


def _rate(per_s: float) -> str:
    if per_s >= 1.0:
        return f"{per_s:.3g} per second"
    return f"{60 * per_s:.3g} per minute" if per_s >= 1 / 60 else f"{3600 * per_s:.3g} per hour"


def _tokens(told: Forecast) -> str:
    def shown(number: float) -> str:
        return f"{float(f'{number:.3g}'):,.0f}"

    prompt, completion = told.tokens.prompt, told.tokens.completion
    if prompt is None and completion is None:
        return ""
    parts = [("prompts", prompt), ("completions", completion), ("advice", told.tokens.advice)]
    return ", ".join(f"{name} {_between(part, shown)}" for name, part in parts if part is not None)


def _cost(told: Forecast, config: RunConfig) -> str:
    if told.cost is None:
        return ""
    return _between(told.cost, lambda amount: money(amount, config.prices.currency))


def _busy(values: Mapping[str, float]) -> str:
    generator, evaluators = values[Quantity.GENERATOR_BUSY], values[Quantity.EVALUATOR_BUSY]
    return f"generator {100 * generator:.0f} %, evaluators {100 * evaluators:.0f} %"


def _gain(wall_s: float, before_s: float) -> str:
    """How much shorter, where that is more than chance may be."""
    share = wall_s / before_s - 1.0
    return f"{100 * share:+.0f} %" if abs(share) >= 0.02 else "no change"
