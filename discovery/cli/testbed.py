"""``discovery testbed``: selectors against each other on landscapes that are known, without a model."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table
from rich.text import Text

from discovery.cli.app import app, err, notice, out, print_json, print_table, printable, program
from discovery.cli.options import MODEL, RECORD, SEARCH
from discovery.errors import UsageError
from discovery.plots import Curve, plot_curves
from discovery.records import Direction
from discovery.testbed import Ability, Landscape, Shape, landscape_names, make_landscape
from discovery.testbed.tournament import (
    ALPHA,
    BASELINES,
    Entrant,
    Standing,
    Verdict,
    compete,
    entrants,
    seeds_to_tell,
)


@app.command(name="testbed")
def play_selectors(
    landscape: str | None = None,
    /,
    *,
    selector: Annotated[list[str] | None, SEARCH] = None,
    chains: Annotated[int, SEARCH] = 4,
    steps: Annotated[int, SEARCH] = 100,
    candidates: Annotated[int, SEARCH] = 4,
    parents: Annotated[int, SEARCH] = 3,
    overlap: Annotated[int, SEARCH] = 0,
    seeds: Annotated[int, SEARCH] = 20,
    direction: Annotated[Direction | None, SEARCH] = None,
    skill: Annotated[float, MODEL] = 0.5,
    drafts: Annotated[int, MODEL] = 4,
    reach: Annotated[float, MODEL] = 0.25,
    combine: Annotated[float, MODEL] = 0.3,
    focus: Annotated[float, MODEL] = 0.7,
    failures: Annotated[float, MODEL] = 0.2,
    latency: Annotated[float, MODEL] = 10.0,
    tokens: Annotated[float, MODEL] = 1000.0,
    picture: Annotated[Path | None, RECORD] = None,
    json: Annotated[bool, RECORD] = False,
) -> int:
    """Compare selectors on a landscape whose optimum is known, with a simulated generator; list the landscapes.

    Args:
        landscape: Which one; without it, what there is.
        selector: Who plays, as NAME or NAME:key=value,...; may be repeated [all that need no model].
        chains: C, independent lines of refinement.
        steps: L, how deep each goes.
        candidates: K, candidates per step.
        parents: How many solutions a step shows.
        overlap: Steps of a chain that may be open beside its oldest one, which they do not learn from.
        seeds: Games of each selector; the same seeds for all.
        direction: maximize or minimize, whichever way the scores are to go [the landscape's own].
        skill: How likely the generator hands out the best of its drafts, 0 to 1.
        drafts: How many drafts it compares then.
        reach: Its longest move, as a share of the landscape's width.
        combine: How likely it crosses two of the parents shown, 0 to 1.
        focus: How likely it starts from the main parent, 0 to 1.
        failures: How likely a candidate fails, 0 to 1.
        latency: Median seconds of a completion; they are counted, not waited for.
        tokens: Median tokens of a completion.
        picture: PNG file to draw curves into.
        json: Print JSON on standard output, nothing else.
    """
    if landscape is None:
        if selector or picture is not None:
            given = "--selector" if selector else "--picture"
            raise UsageError(
                f"{given} needs a landscape: {program()} testbed {landscape_names()[0]} {given} ..."
            )
        _list(json)
        return 0
    ground = make_landscape(landscape, direction)
    shape = Shape(chains=chains, steps=steps, candidates=candidates, parents=parents, overlap=overlap)
    ability = Ability(
        skill=skill,
        drafts=drafts,
        reach=reach,
        combine=combine,
        focus=focus,
        failures=failures,
        latency_s=latency,
        tokens=tokens,
    )
    playing, out_of_it = _who(ground, selector, overlap)
    with err.status(f"playing {len(playing)} x {seeds} games") as status:
        standings = compete(
            ground,
            playing,
            shape=shape,
            ability=ability,
            seeds=seeds,
            told=lambda entrant: status.update(f"{printable(entrant.label)} has played"),
        )
    if picture is not None:
        _draw(picture, ground, standings)
    if json:
        settings = {"shape": asdict(shape), "ability": asdict(ability), "seeds": seeds}
        print_json(
            {
                "landscape": _described(ground),
                **settings,
                "evaluations": shape.evaluations,
                "selectors": [as_json(standing) for standing in standings],
                "left_out": out_of_it,
                "picture": str(picture) if picture else None,
            }
        )
        return 0
    _print(ground, standings, shape, seeds)
    for reason in out_of_it.values():
        notice(f"left out: {reason}")
    if picture is not None:
        out.print(f"picture: {picture}", markup=False)
    return 0


def _who(landscape: Landscape, named: list[str] | None, overlap: int) -> tuple[list[Entrant], dict[str, str]]:
    if not named:
        return entrants(landscape, overlap)
    playing = [Entrant.parse(text) for text in named]
    for entrant in playing:
        if entrant.asks_model(landscape, overlap):
            raise UsageError(f"selector {entrant.label!r} asks a model, and there is none here; leave it out")
    return playing, {}


def _list(json: bool) -> None:
    grounds = [make_landscape(name) for name in landscape_names()]
    if json:
        print_json([_described(ground) for ground in grounds])
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("landscape", "what it is like", "greed is"):
        table.add_column(column)
    for ground in grounds:
        table.add_row(ground.name, ground.about, ground.greed)
    print_table(table)
    out.print(
        f"\n{program()} testbed NAME compares selectors on one; `{program()} selectors` lists them",
        markup=False,
    )


def _described(landscape: Landscape) -> dict[str, Any]:
    return {
        "name": landscape.name,
        "about": landscape.about,
        "greed": landscape.greed,
        "direction": str(landscape.direction),
        "initial": _score(landscape, landscape.worth(landscape.initial)),
        "optimum": _score(landscape, landscape.best),
        "near": landscape.near,
        "noise": landscape.noise,
        "objectives": [objective.metric for objective in landscape.objectives],
    }


def _score(landscape: Landscape, worth: float) -> float:
    return landscape.direction.key(worth) + 0.0  # never -0.0


def as_json(standing: Standing) -> dict[str, Any]:
    """How a selector did, as plain JSON data."""
    games = standing.games
    return {
        "selector": standing.entrant.label,
        "name": standing.entrant.name,
        "params": dict(standing.entrant.params),
        "median_regret": standing.regret,
        "median_score": standing.score,
        "near": standing.near,
        "regrets": list(standing.regrets),
        "failures": sum(game.failures for game in games),
        "duplicates": sum(game.duplicates for game in games),
        "median_tokens": statistics.median(game.tokens for game in games),
        "median_seconds": statistics.median(game.seconds for game in games),
        "verdicts": [{**asdict(verdict), "word": verdict.word} for verdict in standing.verdicts],
    }


def _print(landscape: Landscape, standings: list[Standing], shape: Shape, seeds: int) -> None:
    what = "of the front's area" if landscape.objectives else "to the optimum"
    out.print(f"{landscape.name}: {landscape.about}; greed is {landscape.greed}", markup=False)
    split = f"C={shape.chains} L={shape.steps} K={shape.candidates}"
    out.print(
        f"best score possible {_score(landscape, landscape.best):.6g}, {landscape.direction}; {shape.evaluations:,} "
        f"evaluations ({split}) x {seeds} seeds; medians, the best first\n",
        markup=False,
    )
    tested = {verdict.baseline for standing in standings for verdict in standing.verdicts}
    baselines = [baseline for baseline in BASELINES if baseline in tested]
    table = Table(box=None, header_style="dim", pad_edge=False)
    columns = ("selector", f"missing {what}", "score", "optimum found")
    for column in columns:
        table.add_column(column, justify="left" if column == "selector" else "right")
    for baseline in baselines:
        table.add_column(f"against {baseline}")
    for standing in sorted(standings, key=lambda standing: (standing.regret, -standing.near)):
        table.add_row(
            Text(printable(standing.entrant.label)),
            f"{standing.regret:.5g}",
            f"{standing.score:.6g}",
            f"{100 * standing.near:.0f} %",
            *(told(standing.against(baseline)) for baseline in baselines),
        )
    print_table(table)
    near = f"within {landscape.near:g} of it" if landscape.near else "it itself"
    out.print(f"\noptimum found: in how many games {near} was reached", markup=False)
    if baselines:
        out.print(
            f"better or worse: p below {ALPHA:g} of the paired test of ranks, two-sided, corrected for the number of "
            "tests; (won:lost seeds)",
            markup=False,
        )
        needed = seeds_to_tell(len(standings), len(baselines))
        if seeds < needed:
            notice(f"{seeds} seeds are too few for any p below {ALPHA:g} here: take --seeds {needed} or more")
    else:
        out.print("add --selector greedy or --selector best-of-n for a test against it", markup=False)


def told(verdict: Verdict | None) -> str:
    """A verdict in a few words."""
    if verdict is None:
        return "-"
    word = {"same": "cannot be told"}.get(verdict.word, verdict.word)
    return f"{word}, p = {verdict.p:.2g} ({verdict.won}:{verdict.lost})"


def _draw(picture: Path, landscape: Landscape, standings: list[Standing]) -> None:
    curves = []
    for standing in standings:
        low, middle, high = [], [], []
        for each in zip(*(game.regrets for game in standing.games), strict=True):
            ordered = sorted(each)
            low.append(ordered[math.floor((len(ordered) - 1) / 4)])
            middle.append(statistics.median(ordered))
            high.append(ordered[math.ceil(3 * (len(ordered) - 1) / 4)])
        curves.append(Curve(label=standing.entrant.label, middle=middle, low=low, high=high))
    label = "share of the front's area that is missing" if landscape.objectives else "missing to the optimum"
    label += ", of the best that was made" if landscape.noise else ""
    title = f"{landscape.name}: median of {len(standings[0].games)} seeds, with quartiles"
    try:
        plot_curves(picture, curves, title=title, label=label)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{picture} cannot be written: {error}; name a PNG file in a folder that is there"
        ) from error
