"""Selectors on landscapes that are known, at equal budget over paired seeds; how far that hangs on the generator."""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from rich.table import Table

from benchmarks.report import Figure, Report
from discovery.cli.testbed import as_json, told
from discovery.selection import make_selector
from discovery.testbed import Ability, Shape, landscape_names, make_landscape, play
from discovery.testbed.tournament import ALPHA, BASELINES, Standing, compete, entrants

SEEDS = 20
SHAPE = Shape(chains=4, steps=100, candidates=4)
ABILITY = Ability()
VARIED = {
    "as above": ABILITY,
    "skill 0": replace(ABILITY, skill=0.0),
    "skill 1": replace(ABILITY, skill=1.0),
    "reach 1/8": replace(ABILITY, reach=0.125),
    "reach 1/2": replace(ABILITY, reach=0.5),
    "combine 0": replace(ABILITY, combine=0.0),
    "focus 1": replace(ABILITY, focus=1.0),
    "failures 0": replace(ABILITY, failures=0.0),
    "failures 0.6": replace(ABILITY, failures=0.6),
}
"""The generator, one of its numbers changed at a time, on the deceptive landscape."""


def run(problems: Sequence[str] = ()) -> Report:
    names = list(problems) or list(landscape_names())
    for name in names:
        make_landscape(name)
    standings = {name: _tournament(name, ABILITY) for name in names}
    figures = [_cost()]
    details = [_table(name, standings[name]) for name in names]
    raw = {
        "shape": asdict(SHAPE),
        "ability": asdict(ABILITY),
        "seeds": SEEDS,
        "landscapes": {name: [as_json(each) for each in found] for name, found in standings.items()},
    }
    if "unimodal" in standings:
        beaten_by = _better(standings["unimodal"], "greedy")
        said = f"greed is beaten by {', '.join(beaten_by)}" if beaten_by else "greed is not beaten"
        figures.append(
            Figure(
                name=f"unimodal, where greed is right: {said}",
                value=len(beaten_by),
                unit="selectors",
                at_most=0,
            )
        )
    if "deceptive" in standings:
        found = standings["deceptive"]
        both = [name for name in _better(found, "greedy") if name in _better(found, "best-of-n")]
        figures.append(
            Figure(
                name=f"deceptive: greedy and best-of-n are beaten by {', '.join(both) or 'none'}",
                value=len(both),
                unit="selectors",
                at_least=1,
            )
        )
        figures += [
            Figure(
                name=f"deceptive: {name} against {baseline}",
                value=_p(found, name, baseline),
                unit="p",
                at_most=ALPHA,
            )
            for name in both
            for baseline in BASELINES
        ]
        varied = {
            label: found if ability == ABILITY else _tournament("deceptive", ability)
            for label, ability in VARIED.items()
        }
        details.append(_varied_table(varied))
        raw["varied"] = {
            label: {"ability": asdict(VARIED[label]), "selectors": [as_json(each) for each in found]}
            for label, found in varied.items()
        }
    return Report(
        title=f"Selection ({SHAPE.evaluations:,} evaluations, C={SHAPE.chains} L={SHAPE.steps} K={SHAPE.candidates}, "
        f"{SEEDS} paired seeds; p two-sided, of the paired test of ranks, Holm's correction per landscape)",
        figures=figures,
        raw=raw,
        details=details,
    )


def _tournament(name: str, ability: Ability) -> list[Standing]:
    landscape = make_landscape(name)
    playing, _ = entrants(landscape)
    return compete(landscape, playing, shape=SHAPE, ability=ability, seeds=SEEDS)


def _better(standings: list[Standing], baseline: str) -> list[str]:
    found = [(standing.entrant.label, standing.against(baseline)) for standing in standings]
    return [
        label
        for label, verdict in found
        if label not in BASELINES and verdict is not None and verdict.word == "better"
    ]


def _p(standings: list[Standing], label: str, baseline: str) -> float:
    (standing,) = (standing for standing in standings if standing.entrant.label == label)
    verdict = standing.against(baseline)
    assert verdict is not None
    return verdict.p


def _cost() -> Figure:
    landscape = make_landscape("deceptive")
    selector = make_selector("rpucg", landscape.direction)
    begin = time.process_time()
    play(landscape, selector, shape=Shape(chains=4, steps=625, candidates=4), ability=ABILITY, seed=0)
    return Figure(
        name="CPU of 10,000 evaluations with rpucg", value=time.process_time() - begin, unit="s", at_most=5
    )


def _table(name: str, standings: list[Standing]) -> Table:
    landscape = make_landscape(name)
    table = _grid(f"{name}: {landscape.about}; greed is {landscape.greed}")
    for column in ("selector", "median regret", "median score", "optimum found"):
        table.add_column(column, justify="left" if column == "selector" else "right")
    for baseline in BASELINES:
        table.add_column(f"against {baseline}")
    for standing in sorted(standings, key=lambda standing: (standing.regret, -standing.near)):
        table.add_row(
            standing.entrant.label,
            f"{standing.regret:.5g}",
            f"{standing.score:.6g}",
            f"{100 * standing.near:.0f} %",
            *(told(standing.against(baseline)) for baseline in BASELINES),
        )
    return table


def _varied_table(varied: dict[str, list[Standing]]) -> Table:
    """Median regret by generator and selector, with the verdict against greedy."""
    table = _grid(
        "deceptive, by generator: median regret; + better, - worse than greedy; share that found the optimum"
    )
    table.add_column("generator")
    for standing in next(iter(varied.values())):
        table.add_column(standing.entrant.label)
    for label, standings in varied.items():
        cells = []
        for standing in standings:
            verdict = standing.against("greedy")
            sign = {"better": "+", "worse": "-"}.get(verdict.word, " ") if verdict else " "
            cells.append(f"{standing.regret:.4f} {sign} {100 * standing.near:.0f} %")
        table.add_row(label, *cells)
    return table


def _grid(title: str) -> Table:
    return Table(title=title, title_justify="left", box=None, header_style="dim", pad_edge=False)
