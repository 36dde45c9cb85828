"""``discovery loop``: rounds of discover, audit, select, train and serve again."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from rich.markup import escape
from rich.table import Table

from discovery.cli.app import INTERRUPTED, app, err, notice, out, print_json, print_table, program
from discovery.cli.options import BUDGET, MACHINE, MODEL, RECORD, SEARCH
from discovery.cli.settings import make_config
from discovery.cli.watch import watching
from discovery.config import RunConfig, from_dict, load_toml
from discovery.errors import ConfigError, DiscoveryError, MissingComponent, UsageError
from discovery.licences import LicenceTable, load_licences
from discovery.loop.assembly import assembled, lasting_storage, require_all, storage_of
from discovery.loop.folder import LoopFolder
from discovery.loop.plan import LoopPlan, RoundsConfig, filter_from_dict, make_plan
from discovery.loop.report import LoopReport, make_report
from discovery.loop.rounds import ClosedLoop
from discovery.loop.showing import HEADS, rows, save_report
from discovery.prices import PriceTable, load_prices
from discovery.run import Run
from discovery.training.config import TrainConfig

PROBLEMS = Parameter(group=Group.create_ordered("The problems"), negative=())
ROUNDS = Parameter(group=Group.create_ordered("The rounds"), negative=())
LEARNING = Parameter(group=Group.create_ordered("Learning"), negative=())
OUT = Parameter(name="--out", group=RECORD.group, negative=())
FOLDERS = Path("discovery-loops")
"""Where loops are kept in the current folder unless said."""

Scheduler = Literal["auto", "prefect", "local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What the user says of models.

    Args:
        prices: What they cost.
        licences: Whether their words may be trained on.
    """

    prices: PriceTable
    licences: LicenceTable


@app.command
def loop(
    model: Path | None = None,
    *extra: str,
    problem: Annotated[list[str] | None, PROBLEMS] = None,
    held_out: Annotated[list[str] | None, PROBLEMS] = None,
    rounds: Annotated[int | None, ROUNDS] = None,
    seeds: Annotated[int | None, ROUNDS] = None,
    replay: Annotated[int | None, ROUNDS] = None,
    start: Annotated[str | None, ROUNDS] = None,
    all_rounds: Annotated[bool | None, ROUNDS] = None,
    seed: Annotated[int | None, ROUNDS] = None,
    chains: Annotated[int | None, SEARCH] = None,
    steps: Annotated[int | None, SEARCH] = None,
    candidates: Annotated[int | None, SEARCH] = None,
    parents: Annotated[int | None, SEARCH] = None,
    selector: Annotated[str | None, SEARCH] = None,
    config: Annotated[Path | None, SEARCH] = None,
    keep: Annotated[str | None, LEARNING] = None,
    top: Annotated[float | None, LEARNING] = None,
    validation: Annotated[float | None, LEARNING] = None,
    train: Annotated[Path | None, LEARNING] = None,
    epochs: Annotated[float | None, LEARNING] = None,
    learning_rate: Annotated[float | None, LEARNING] = None,
    batch_rows: Annotated[int | None, LEARNING] = None,
    rank: Annotated[int | None, LEARNING] = None,
    engine: Annotated[str | None, MODEL] = None,
    temperature: Annotated[float | None, MODEL] = None,
    max_tokens: Annotated[int | None, MODEL] = None,
    max_cost: Annotated[float | None, BUDGET] = None,
    prices: Annotated[Path | None, BUDGET] = None,
    licences: Annotated[Path | None, LEARNING] = None,
    sandbox: Annotated[str | None, MACHINE] = None,
    evaluation_slots: Annotated[int | None, MACHINE] = None,
    scheduler: Annotated[Scheduler, MACHINE] = "auto",
    storage: Annotated[str | None, RECORD] = None,
    to: Annotated[Path | None, OUT] = None,
    resume: Annotated[Path | None, RECORD] = None,
    json: Annotated[bool, RECORD] = False,
) -> int:
    """Train a model on its own best trajectories, round by round, and show what that brings.

    Each revision of the weights is measured by runs on all problems at the same seeds and budget; the next one is
    trained on those of the problems to learn from. The loop ends when a round does not help on the held-out ones.

    Args:
        model: Folder of the weights to begin with.
        extra: After `--`: further arguments of the model server.
        problem: A problem to learn from; may be repeated.
        held_out: A problem to judge by, never learnt from; may be repeated.
        rounds: Trainings at most [2].
        seeds: Runs of each problem for each revision [3].
        replay: How many earlier revisions' runs each round learns from, too [all].
        start: What each round trains on: the previous weights, or the base [previous; base for adapters].
        all_rounds: Go on after a round that does not help; the result is the last one that did.
        seed: Of the loop: the first run seed, and what all draws are made of [0].
        chains: C, independent lines of refinement of each run [4].
        steps: L, how deep each goes [25].
        candidates: K, completions per step [4].
        parents: How many candidates a prompt shows [3].
        selector: best-of-n, balance or rpucg [rpucg].
        config: TOML file with any settings of a run, as for `discovery run`.
        keep: What counts: trajectory (best chains, whole), step (best single steps), random or all [trajectory].
        top: Percent of each problem's trajectories of a revision that are learnt from [10].
        validation: Percent of those that are for validation [10].
        train: TOML file with any settings of a training, as for `discovery train`.
        epochs: Passes over the rows [1].
        learning_rate: Peak [1e-5].
        batch_rows: Rows per optimiser step [16].
        rank: Rank of adapters; 0 trains all weights [0].
        engine: vllm, or torch for small models on a processor [vllm].
        temperature: Sampling temperature [1.0].
        max_tokens: Most tokens of one completion, reasoning included [8192].
        max_cost: Stop each run after so much money.
        prices: Table of prices by model [$DISCOVERY_PRICES, or .discovery/prices.toml].
        licences: Table of licences by model [$DISCOVERY_LICENCES, or .discovery/licences.toml].
        sandbox: auto, bubblewrap, docker or process [auto].
        evaluation_slots: Evaluations at once [one per CPU].
        scheduler: prefect, local, or auto: Prefect where its API answers.
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        to: Folder of the loop: plan, stages, weights, report [discovery-loops/ID].
        resume: Folder of a loop to go on with; it has all settings.
        json: Print one JSON object on standard output, nothing else.
    """
    tables = Tables(prices=load_prices(prices), licences=load_licences(licences))
    if resume is not None:
        given: list[object] = [
            model,
            extra,
            problem,
            held_out,
            rounds,
            seeds,
            replay,
            start,
            all_rounds,
            seed,
            chains,
            steps,
        ]
        given += [candidates, parents, selector, config, keep, top, validation, train, epochs, learning_rate]
        given += [batch_rows, rank, engine, temperature, max_tokens, max_cost, sandbox, evaluation_slots, to]
        if any(value not in (None, ()) for value in given):
            raise ConfigError(
                f"--resume {resume} goes on with a loop as it was begun; leave all but --scheduler, --storage, "
                "--prices, --licences and --json out, or start another loop"
            )
        folder = LoopFolder(resume)
        return _execute(folder, folder.plan(), tables, scheduler, storage, json)
    if model is None:
        raise UsageError(
            "no model is named; give the folder of one: discovery loop MODEL --problem P --held-out H, or go on with a "
            "loop: discovery loop --resume DIR"
        )
    settings = _run_settings(
        config,
        chains=chains,
        steps=steps,
        candidates=candidates,
        parents=parents,
        selector=selector,
        temperature=temperature,
        max_tokens=max_tokens,
        max_cost=max_cost,
        seed=seed,
        sandbox=sandbox,
        evaluation_slots=evaluation_slots,
    )
    plan = make_plan(
        model,
        tuple(problem or ()),
        tuple(held_out or ()),
        settings,
        rounds=from_dict(
            RoundsConfig,
            _given(rounds=rounds, seeds=seeds, replay=replay, start=start, all_rounds=all_rounds),
        ),
        filter=filter_from_dict(_given(keep=keep, top_percent=top, validation_percent=validation)),
        train=_train_settings(train, rank, epochs=epochs, learning_rate=learning_rate, batch_rows=batch_rows),
        serve=tuple(extra),
        storage=lasting_storage(storage),
        **_given(engine=engine),
    )
    require_all(plan, tables.prices, tables.licences)  # before anything is made
    folder = LoopFolder(to if to is not None else FOLDERS / plan.id)
    folder.create(plan)
    return _execute(folder, plan, tables, scheduler, storage, json)


def _given(**options: Any) -> dict[str, Any]:
    """Options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _run_settings(file: Path | None, **options: Any) -> RunConfig:
    settings = make_config("", file, **options)
    if settings.generator.base_url:
        raise ConfigError(
            f"{file} names a server ({settings.generator.base_url[0]}), and a loop has one of its own; "
            "leave base_url out"
        )
    return settings


def _train_settings(file: Path | None, rank: int | None, **options: Any) -> TrainConfig:
    found = load_toml(file) if file is not None else {}
    adapters = found.get("lora", {})
    if rank is not None and isinstance(adapters, dict):
        found["lora"] = {**adapters, "rank": rank}
    return from_dict(TrainConfig, {**found, **_given(**options)})


def _execute(
    folder: LoopFolder,
    plan: LoopPlan,
    tables: Tables,
    scheduler: Scheduler,
    storage: str | None,
    json: bool,
) -> int:
    """Go on to the end, or until interrupted; print what came of it."""
    if make_report(folder).ended is not None:
        return _told(folder, json)
    again = f"{program()} loop --resume {shlex.quote(str(folder.path))}"
    if plan.storage is None and storage is not None:
        again += " --storage URL"
    with_storage = storage_of(plan, storage)
    try:
        closed = assembled(
            folder, with_storage, say=_say, watch=_watch, prices=tables.prices, licences=tables.licences
        )
        err.print(f"loop [bold]{plan.id}[/] in {escape(str(folder.path))}  (Ctrl-C stops it cleanly)")
        asyncio.run(_drive(closed, scheduler))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print(f"stopped; nothing finished is lost. Go on with:\n  {again}", markup=False)
        return INTERRUPTED
    except DiscoveryError:
        err.print(f"what is done is kept. When the cause is mended, go on with:\n  {again}", markup=False)
        raise
    finally:
        with_storage.close()
    return _told(folder, json)


def _told(folder: LoopFolder, json: bool) -> int:
    """Write and print the report."""
    report = save_report(folder)
    if json:
        print_json({"folder": str(folder.path), **report.as_dict()})
    else:
        _show(folder, report)
    return 0


async def _drive(closed: ClosedLoop, scheduler: Scheduler) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await (await _scheduled(closed, scheduler))()


async def _scheduled(closed: ClosedLoop, scheduler: Scheduler) -> Callable[[], Awaitable[None]]:
    """How to execute a loop: as a Prefect flow where asked for or at hand."""
    if scheduler == "local":
        return closed.execute
    from discovery.orchestration import server

    url = await asyncio.to_thread(server.api_url)
    if url is not None:
        os.environ.update(server.client_environment(url))
        from discovery.orchestration.loop import execute_as_flow

        _say(f"to be watched at {url.removesuffix('/api')}")
        return lambda: execute_as_flow(closed)
    if scheduler == "prefect":
        raise MissingComponent(f"no Prefect API answers; start one with `{program()} server start`")
    return closed.execute


def _say(line: str) -> None:
    err.print(f"[dim]loop:[/] {escape(line)}")


@asynccontextmanager
async def _watch(run: Run, title: str) -> AsyncIterator[None]:
    async with watching(err, run.progress, f"{title}  {run.record.id}"):
        yield


def _show(folder: LoopFolder, report: LoopReport) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for head in HEADS:
        table.add_column(head)
    for row in rows(report):
        table.add_row(*map(escape, row))
    print_table(table)
    out.print("")
    if report.ended is not None:
        out.print(report.ended, markup=False)
    for note in report.notes:
        notice(note)
    out.print(f"result   revision {report.result}: {report.weights}", markup=False)
    out.print(f"report   {folder.path / 'report.md'}", markup=False)
