"""``discovery run`` and ``discovery resume``."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from rich.markup import escape

from discovery.cli.app import INTERRUPTED, again, app, err, notice, out, print_json, program, properties
from discovery.cli.options import BUDGET, MACHINE, MODEL, RECORD, SEARCH, SERVERS
from discovery.cli.report import Results, as_json, report, save_results
from discovery.cli.serving import place_model, refuse_engine, refuse_other_servers, served
from discovery.cli.settings import (
    depth_for,
    make_config,
    read_params,
    refuse_model_options,
    repriced,
    sets_steps,
)
from discovery.cli.watch import number, watching
from discovery.config import RunConfig
from discovery.errors import ConfigError, MissingComponent, UsageError
from discovery.launch import EMBEDDED, checked, choose_backend, overridden, reopened, started
from discovery.plots import best_known
from discovery.prices import load_prices
from discovery.records import RunStatus
from discovery.run import Run, config_of
from discovery.storage import open_existing, open_storage
from discovery.storage.base import Storage
from discovery.summary import RunSummary, status_of, summarize

_LOOK_S = 0.02
Scheduler = Literal["auto", "prefect", "local"]


@app.command
def run(
    problem: str,
    *,
    chains: Annotated[int | None, SEARCH] = None,
    steps: Annotated[int | None, SEARCH] = None,
    candidates: Annotated[int | None, SEARCH] = None,
    parents: Annotated[int | None, SEARCH] = None,
    overlap: Annotated[int | None, SEARCH] = None,
    selector: Annotated[str | None, SEARCH] = None,
    selector_param: Annotated[list[str] | None, SEARCH] = None,
    rungs: Annotated[int | None, SEARCH] = None,
    keep_chains: Annotated[float | None, SEARCH] = None,
    patience: Annotated[int | None, SEARCH] = None,
    on_stall: Annotated[Literal["restart", "stop"] | None, SEARCH] = None,
    generator: Annotated[str | None, MODEL] = None,
    base_url: Annotated[list[str] | None, SERVERS] = None,
    model: Annotated[str | None, MODEL] = None,
    serve: Annotated[str | None, SERVERS] = None,
    engine: Annotated[str | None, SERVERS] = None,
    temperature: Annotated[float | None, MODEL] = None,
    max_tokens: Annotated[int | None, MODEL] = None,
    effort: Annotated[str | None, MODEL] = None,
    answer_tokens: Annotated[int | None, MODEL] = None,
    edits: Annotated[str | None, MODEL] = None,
    reflect: Annotated[bool | None, MODEL] = None,
    adviser_url: Annotated[list[str] | None, SERVERS] = None,
    keep: Annotated[str | None, MODEL] = None,
    seed: Annotated[int | None, SEARCH] = None,
    sandbox: Annotated[str | None, MACHINE] = None,
    require_isolation: Annotated[list[str] | None, MACHINE] = None,
    generation_slots: Annotated[int | None, SERVERS] = None,
    evaluation_slots: Annotated[int | None, MACHINE] = None,
    max_evaluations: Annotated[int | None, BUDGET] = None,
    max_tokens_total: Annotated[int | None, BUDGET] = None,
    max_cost: Annotated[float | None, BUDGET] = None,
    max_seconds: Annotated[float | None, BUDGET] = None,
    until: Annotated[float | None, BUDGET] = None,
    config: Annotated[Path | None, RECORD] = None,
    prices: Annotated[Path | None, BUDGET] = None,
    scheduler: Annotated[Scheduler, MACHINE] = "auto",
    storage: Annotated[str | None, RECORD] = None,
    json: Annotated[bool, RECORD] = False,
) -> int:
    """Search for better solutions of a problem.

    Args:
        problem: Name of a bundled or installed problem, or a path.
        chains: C, independent lines of refinement [4].
        steps: L, how deep each goes [25, or more where --max-evaluations asks for more].
        candidates: K, completions per step [4].
        parents: How many candidates a prompt shows [3].
        overlap: Steps of a chain that may be open beside its oldest one, which they do not learn from [0; 1 where
            C x K is less than twice the --generation-slots].
        selector: What chooses parents; `discovery selectors` tells what each one does [rpucg].
        selector_param: A parameter of the selector, as NAME=VALUE; may be repeated.
        rungs: So many times the worst chains are pruned, and the others get their evaluations [0].
        keep_chains: Share of the chains that goes on at each rung [0.5].
        patience: Steps of a chain without an improvement until --on-stall happens [never].
        on_stall: restart begins the chain anew from the initial candidate, stop ends it [restart].
        generator: mutation (embedded) or openai (any compatible server) [mutation; openai with --base-url].
        base_url: URL of the server, ending in /v1; repeat it for several servers [$OPENAI_BASE_URL].
        model: Model name [the only one that the server lists].
        serve: Folder or name of a model to have served: by a server that runs already, else by one of its own.
        engine: What serves it: vllm, or torch for small models on a processor [vllm].
        temperature: Sampling temperature [1.0].
        max_tokens: Most tokens of one completion, reasoning included [8192].
        effort: How much a reasoning model reasons: low, medium, high, or what else it knows [as its server has it].
        answer_tokens: Most tokens of the answer that is forced when reasoning took all --max-tokens, 0 for none [4096].
        edits: What a model is asked for: rewrite (the whole program) or diff (SEARCH/REPLACE blocks) [rewrite].
        reflect: Ask the model of each committed candidate what is to be learned from it, and tell later prompts.
        adviser_url: URL of another server for that, and for selectors that ask; may be repeated [the model's own].
        keep: Of each completion: text, tokens (their ids too) or logprobs (their log-probabilities too) [logprobs].
        seed: Run seed [0].
        sandbox: auto, bubblewrap, docker or process [auto].
        require_isolation: Refuse to start unless this was verified to hold here: untrusted, full, none, or properties.
        generation_slots: Completions in flight [as many as the servers can do].
        evaluation_slots: Evaluations at once [one per CPU].
        max_evaluations: Stop after so many evaluations [C x L x K].
        max_tokens_total: Stop after so many tokens, prompts included.
        max_cost: Stop after so much money, at the prices of the configuration or of the table of prices.
        max_seconds: Stop after so many seconds.
        until: Stop at the first verified score at least this good.
        config: TOML file with any of these settings and more.
        prices: Table of prices by model [$DISCOVERY_PRICES, or .discovery/prices.toml].
        scheduler: prefect, local, or auto: Prefect where its API answers.
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        json: Print one JSON object on standard output, nothing else.
    """
    for option, value in (("--base-url", base_url and base_url[0]), ("--model", model)):
        if generator == EMBEDDED and value is not None:
            raise ConfigError(
                f"{option} {value} is for a model, and --generator {EMBEDDED} has none; leave one of them out"
            )
    refuse_engine(engine, serve)
    if serve is not None:
        refuse_other_servers(base_url, generator)
        generator = "openai"
    elif not base_url and generator in (None, "openai") and (configured := os.environ.get("OPENAI_BASE_URL")):
        base_url = [configured]
    if generator is None and (base_url or model is not None):
        generator = "openai"
    settings = make_config(
        problem,
        config,
        chains=chains,
        steps=steps,
        candidates=candidates,
        parents=parents,
        overlap=overlap,
        selector=selector,
        rungs=rungs,
        keep_chains=keep_chains,
        patience=patience,
        on_stall=on_stall,
        generator=generator,
        base_url=base_url,
        model=model,
        temperature=temperature,
        max_tokens=max_tokens,
        effort=effort,
        answer_tokens=answer_tokens,
        edits=edits,
        reflect=reflect,
        adviser_url=adviser_url,
        keep=keep,
        seed=seed,
        sandbox=sandbox,
        require_isolation=properties(require_isolation),
        generation_slots=generation_slots,
        evaluation_slots=evaluation_slots,
        max_evaluations=max_evaluations,
        max_tokens_total=max_tokens_total,
        max_cost=max_cost,
        max_seconds=max_seconds,
        until=until,
    )
    if settings.generator.kind == EMBEDDED:
        refuse_model_options(
            temperature=temperature,
            max_tokens=max_tokens,
            effort=effort,
            answer_tokens=answer_tokens,
            edits=edits,
            keep=keep,
        )
    params = {**settings.search.selector_params, **read_params(selector_param or [])}
    depth = settings.search.steps
    if settings.budget.max_evaluations is not None and steps is None and not sets_steps(config):
        depth = max(depth, depth_for(settings, settings.budget.max_evaluations))
    settings = replace(settings, search=replace(settings.search, selector_params=params, steps=depth))
    chosen = choose_backend(settings.sandbox, settings.generator.kind)
    table = load_prices(prices)
    place = None
    if serve is not None:
        settings, place = place_model(settings, serve, table, engine=engine)
    checked(settings, table)  # before a storage is made
    with_storage = open_storage(storage)
    try:
        with served(place, settings, chosen.backend):
            launching = started(settings, with_storage, chosen.backend, prices=table)
            options = f"{place.hint}{again(storage)}{place.note}" if place else again(storage)
            return _execute(launching, with_storage, scheduler, json, storage, chosen.notice, options)
    finally:
        with_storage.close()


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
        if prices is not None:
            settings = replace(settings, prices=repriced(table, record.facts.get("model")))
        asks_no_more = (settings.budget, settings.search) == (before.budget, before.search)
        if status_of(with_storage, record) is RunStatus.FINISHED and asks_no_more:
            summary = summarize(with_storage, record.id)
            if json:
                print_json(as_json(summary))
            else:
                _say_finished(summary, before, again(storage))
            return 0
        chosen = choose_backend(settings.sandbox, settings.generator.kind)
        place = None
        if serve is not None:
            refuse_other_servers(base_url, settings.generator.kind)
            settings, place = place_model(settings, serve, table, engine=engine)
        with served(place, settings, chosen.backend):
            launching = reopened(record, settings, with_storage, chosen.backend, prices=table)
            options = f"{place.hint}{again(storage)}{place.note}" if place else again(storage)
            return _execute(launching, with_storage, scheduler, json, storage, chosen.notice, options)
    finally:
        with_storage.close()


def _say_finished(summary: RunSummary, config: RunConfig, storage_option: str) -> None:
    reason = f" ({summary.message})" if summary.message else ""
    out.print(f"run {summary.run} has finished{reason}: best {number(summary.best_score)}", markup=False)
    more = 2 * max(summary.evaluations, config.planned_evaluations)
    out.print(
        f"It goes on with a larger budget: {program()} resume {summary.run} --max-evaluations {more}{storage_option}",
        markup=False,
    )


def _execute(
    launching: AbstractAsyncContextManager[Run],
    storage: Storage,
    scheduler: Scheduler,
    json: bool,
    storage_option: str | None,
    chosen: str | None,
    resuming: str,
) -> int:
    """Run to the end, or until interrupted; print what came of it."""
    launched: list[str] = []
    try:
        summary = asyncio.run(_drive(launching, scheduler, launched, chosen))
    except (KeyboardInterrupt, asyncio.CancelledError):
        try:
            summary = summarize(storage, launched[0])
        except LookupError:
            err.print("stopped before anything was stored")
            return INTERRUPTED
        if json:
            print_json(as_json(summary))
        err.print(
            f"stopped after {summary.evaluations} evaluations; nothing finished is lost. Go on with:\n"
            f"  {program()} resume {summary.run}{resuming}",
            markup=False,
        )
        return INTERRUPTED
    try:
        results = save_results(storage, summary.run)
    except UsageError as error:
        # The search is done and stored: what cannot be written now can be written later, elsewhere.
        results = Results(program=None, progress=None, picture=None)
        notice(f"{error}: {program()} best {summary.run} --out FOLDER{again(storage_option)}")
    if json:
        print_json(as_json(summary))
    else:
        report(out, storage, summary, results, again(storage_option))
    return 0


async def _drive(
    launching: AbstractAsyncContextManager[Run], scheduler: Scheduler, launched: list[str], chosen: str | None
) -> RunSummary:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with launching as run:
        launched.append(run.record.id)
        title = f"{run.record.problem}  {run.record.id}"
        execute, place, missing = await _scheduled(run, scheduler)
        notices = [said for said in (chosen, run.notice, missing, _swept(run.swept)) if said]
        known = best_known(run.problem.settings.known_best, run.problem.direction)
        watch = watching(err, run.progress, title, known.value if known else None)
        async with _announcing(run, place, notices), watch:
            return await execute()


def _swept(removed: Sequence[str]) -> str | None:
    """What was removed, in one line however much it was; None for nothing."""
    if not removed:
        return None
    more = f" (and {len(removed) - 3} more)" if removed[3:] else ""
    return f"removed what ended runs had left: {', '.join(removed[:3])}{more}"


@asynccontextmanager
async def _announcing(run: Run, place: str, notices: Sequence[str]) -> AsyncIterator[None]:
    """Say the run's id once it is stored, and never that of a run whose initial candidate does not score."""

    def say() -> None:
        err.print(f"run [bold]{run.record.id}[/]{escape(place)}  (Ctrl-C stops it cleanly)")
        for said in notices:
            notice(said)

    async def wait() -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if run.progress.initial is not None:
                return say()

    waiting = asyncio.create_task(wait())
    try:
        yield
    finally:
        if not waiting.done():
            waiting.cancel()
            if run.progress.initial is not None:
                say()


async def _scheduled(
    run: Run, scheduler: Scheduler
) -> tuple[Callable[[], Awaitable[RunSummary]], str, str | None]:
    """How to execute a run, as a Prefect flow where asked for or at hand; where to watch it; what is missing."""
    if scheduler == "local":
        return run.execute, "", None
    from discovery.orchestration import server

    url = await asyncio.to_thread(server.api_url)
    if url is not None:
        os.environ.update(server.client_environment(url))
        from discovery.orchestration.flow import execute_as_flow

        return lambda: execute_as_flow(run), f", to be watched at {url.removesuffix('/api')}", None
    if scheduler == "prefect":
        raise MissingComponent(f"no Prefect API answers; start one with `{program()} server start`")
    missing = (
        f"no Prefect server answers, so steps run in this process; `{program()} server start` gives its UI"
    )
    return run.execute, "", missing
