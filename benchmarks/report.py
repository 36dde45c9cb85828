"""A benchmark's result: rows of figures with their goals."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number; ``goal`` is a bound on it, above or below, or None."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def holds(self) -> bool:
        low = self.at_least is None or self.value >= self.at_least
        high = self.at_most is None or self.value <= self.at_most
        return low and high

    @property
    def goal(self) -> str:
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All figures of one benchmark, whatever raw data stand behind them, and tables to show before them."""

    title: str
    figures: list[Figure]
    raw: dict[str, Any] = field(default_factory=dict)
    details: list[Table] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(figure.holds for figure in self.figures)

    def table(self) -> Table:
        table = Table(title=self.title, title_justify="left", box=None, header_style="dim", pad_edge=False)
        for column in ("figure", "value", "unit", "goal", ""):
            table.add_column(column, justify="right" if column == "value" else "left", no_wrap=True)
        for f in self.figures:
            mark = "" if not f.goal else "[green]holds[/]" if f.holds else "[bold red]missed[/]"
            table.add_row(f.name, f"{f.value:.6g}", f.unit, f.goal, mark)
        return table

    def as_dict(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "holds": self.holds,
            "figures": [{**asdict(f), "holds": f.holds} for f in self.figures],
            "raw": self.raw,
        }
