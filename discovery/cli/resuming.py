"""``discovery resume``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from discovery.cli.app import again, app, out, print_json, program, properties
from discovery.cli.execution import Scheduler, execute
from discovery.cli.mixing import moved
from discovery.cli.options import BUDGET, MACHINE, RECORD, SEARCH, SERVERS
from discovery.cli.report import as_json, fates
from discovery.cli.serving import place_model, refuse_engine, refuse_other_servers, served
from discovery.cli.settings import depth_for, repriced
from discovery.cli.watch import number
from discovery.config import RunConfig
from discovery.launch import overridden, reopened
from discovery.prices import load_prices
from discovery.records import RunStatus
from discovery.run import config_of
from discovery.sandbox.choice import choose_backend
from discovery.storage import open_existing
from discovery.storage.base import RunRecord
from discovery.summary import RunSummary, status_of, summarize


@app.command
def resume(
    run: str,
    *,
    steps: Annotated[int | None, SEARCH] = None,
    sandbox: Annotated[str | None, MACHINE] = None,
    require_isolation: Annotated[list[str] | None, MACHINE] = None,
    generation_slots: Annotated[int | None, SERVERS] = None,
    evaluation_slots: Annotated[int | None, MACHINE] = None,
    base_url: Annotated[list[str] | None, SERVERS] = None,
    mix: Annotated[list[str] | None, SERVERS] = None,
    serve: Annotated[str | None, SERVERS] = None,
    engine: Annotated[str | None, SERVERS] = None,
    adviser_url: Annotated[list[str] | None, SERVERS] = None,
    max_evaluations: Annotated[int | None, BUDGET] = None,
    max_tokens_total: Annotated[int | None, BUDGET] = None,
    max_cost: Annotated[float | None, BUDGET] = None,
    max_seconds: Annotated[float | None, BUDGET] = None,
    until: Annotated[float | None, BUDGET] = None,
    prices: Annotated[Path | None, BUDGET] = None,
    scheduler: Annotated[Scheduler, MACHINE] = "auto",
    storage: Annotated[str | None, RECORD] = None,
    json: Annotated[bool, RECORD] = False,
) -> int:
    """Go on with a run where its records end.

    Args:
        run: Its id, or a unique beginning of it.
        steps: Another depth of the chains [as before, or more where --max-evaluations asks for more].
        sandbox: Another sandbox than before.
        require_isolation: What the sandbox must be verified to hold, instead of what was required before.
        generation_slots: Other completions in flight than before.
        evaluation_slots: Other evaluations at once than before.
        base_url: The server has moved here; repeat it for several.
        mix: The server of one of several generators has moved, as NAME=URL; may be repeated.
        serve: Folder or name of the model, to be served as by `run --serve`.
        engine: What serves it: vllm, or torch for small models on a processor [vllm].
        adviser_url: The adviser's server has moved here; repeat it for several.
        max_evaluations: Another cap on evaluations, those so far included.
        max_tokens_total: Another cap on tokens.
        max_cost: Another cap on money.
        max_seconds: Another cap on seconds, earlier processes included.
        until: Another target score.
        prices: Table of prices by model, instead of the run's own prices [those it started with].
        scheduler: prefect, local, or auto.
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        json: Print one JSON object on standard output, nothing else.
    """
    refuse_engine(engine, serve)
    with_storage = open_existing(storage)
    try:
        record = with_storage.get_run(run)
        table = load_prices(prices)
        before = config_of(record)
        if steps is None and max_evaluations is not None:
            steps = max(
                before.search.steps,
                depth_for(before, max_evaluations, with_storage.chain_summaries(record.id)),
            )
        settings = overridden(
            record,
            search={"steps": steps},
            sandbox={"backend": sandbox, "require": properties(require_isolation)},
            slots={"generation": generation_slots, "evaluation": evaluation_slots},
            generator={"base_url": tuple(base_url) if base_url else None},
            adviser={"base_url": tuple(adviser_url) if adviser_url else None},
            budget={
                "max_evaluations": max_evaluations,
                "max_tokens": max_tokens_total,
                "max_cost": max_cost,
                "max_seconds": max_seconds,
                "until": until,
            },
        )
        if mix:
            settings = replace(settings, generator=moved(settings.generator, mix))
        if prices is not None:
            settings = repriced(settings, table, record.facts)
        asks_no_more = (settings.budget, settings.search) == (before.budget, before.search)
        if status_of(with_storage, record) is RunStatus.FINISHED and asks_no_more:
            summary = summarize(with_storage, record.id)
            if json:
                print_json(as_json(summary))
            else:
                _say_finished(summary, record, before, again(storage))
            return 0
        chosen = choose_backend(settings.sandbox, settings.generator.kind)
        place = None
        if serve is not None:
            refuse_other_servers(base_url, settings.generator.kind)
            settings, place = place_model(settings, serve, table, engine=engine)
        with served(place, settings, chosen.backend):
            launching = reopened(record, settings, with_storage, chosen.backend, prices=table)
            options = f"{place.hint}{again(storage)}{place.note}" if place else again(storage)
            return execute(launching, with_storage, scheduler, json, storage, chosen.notice, options)
    finally:
        with_storage.close()


def _say_finished(summary: RunSummary, record: RunRecord, config: RunConfig, storage_option: str) -> None:
    reason = f" ({summary.message})" if summary.message else ""
    out.print(f"run {summary.run} has finished{reason}: best {number(summary.best_score)}", markup=False)
    if len(fates(record)) >= config.search.chains:
        out.print("All its chains have ended by --on-stall stop, so a larger budget would change nothing.")
        return
    more = 2 * max(summary.evaluations, config.planned_evaluations)
    out.print(
        f"It goes on with a larger budget: {program()} resume {summary.run} --max-evaluations {more}{storage_option}",
        markup=False,
    )
