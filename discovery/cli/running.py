"""``discovery run``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from discovery.cli.app import again, app, properties
from discovery.cli.execution import Scheduler, execute
from discovery.cli.mixing import has_members, read_mix, refuse_beside
from discovery.cli.options import BUDGET, MACHINE, MODEL, RECORD, SEARCH, SERVERS
from discovery.cli.serving import place_model, refuse_engine, refuse_other_servers, served
from discovery.cli.settings import (
    depth_for,
    make_config,
    read_params,
    refuse_model_options,
    sets_steps,
)
from discovery.errors import ConfigError
from discovery.generators import EMBEDDED, MIXTURE
from discovery.launch import checked, started
from discovery.prices import load_prices
from discovery.sandbox.choice import choose_backend
from discovery.storage import open_storage


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
    duplicates: Annotated[Literal["source", "form", "solution"] | None, SEARCH] = None,
    generator: Annotated[str | None, MODEL] = None,
    base_url: Annotated[list[str] | None, SERVERS] = None,
    model: Annotated[str | None, MODEL] = None,
    mix: Annotated[list[str] | None, MODEL] = None,
    mix_by: Annotated[Literal["weights", "ucb"] | None, MODEL] = None,
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
        overlap: Steps that a chain may have open beside its oldest [0; 1 where slots would stand idle].
        selector: What chooses parents; `discovery selectors` tells what each one does [rpucg].
        selector_param: A parameter of the selector, as NAME=VALUE; may be repeated.
        rungs: How many times the worst chains are pruned; the others get their evaluations [0].
        keep_chains: Share of the chains that goes on at each rung [0.5].
        patience: Steps of a chain without an improvement until --on-stall happens [never].
        on_stall: Begin a stalled chain anew, or end it [restart].
        duplicates: What is one: equal source, equal form (but for comments), equal solution as well [solution].
        generator: mutation (embedded) or openai (any compatible server) [mutation; openai with --base-url].
        base_url: URL of the server, ending in /v1; repeat it for several servers [$OPENAI_BASE_URL].
        model: Model name [the only one that the server lists].
        mix: One of several generators, NAME=URL or NAME=mutation, with ,weight=W or ,model=M after it; repeat it.
        mix_by: How they share the completions: by weights, or ucb, which learns who improves most per token [weights].
        serve: Folder or name of a model to have served; a server that has it already is used.
        engine: What serves it: vllm, or torch for small models on a processor [vllm].
        temperature: Sampling temperature [1.0].
        max_tokens: Most tokens of one completion, reasoning included [8192].
        effort: How much a reasoning model reasons: low, medium, high, or other [as its server has it].
        answer_tokens: Most tokens of the answer forced when reasoning took all --max-tokens, 0 for none [4096].
        edits: What is asked for: rewrite (whole programs) or diff (SEARCH/REPLACE blocks) [rewrite].
        reflect: Ask the model what each committed candidate teaches, and tell later prompts.
        adviser_url: URL of a server that --reflect and selectors ask; may be repeated [the model's own].
        keep: Stored of completions: text, tokens (ids too) or logprobs (log-probabilities too) [logprobs].
        seed: Run seed [0].
        sandbox: auto, bubblewrap, docker or process [auto].
        require_isolation: Refuse to start unless this holds here: untrusted, full, none, or properties.
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
    refuse_beside(mix, generator=generator, base_url=base_url, model=model, serve=serve)
    refuse_engine(engine, serve)
    if serve is not None:
        refuse_other_servers(base_url, generator)
        generator = "openai"
    elif mix:
        generator = MIXTURE
    elif has_members(config):
        pass  # who is asked, the file says
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
        duplicates=duplicates,
        on_stall=on_stall,
        generator=generator,
        base_url=base_url,
        model=model,
        mix=read_mix(mix) if mix else None,
        mix_by=mix_by,
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
    if mix_by is not None and settings.generator.kind != MIXTURE:
        raise ConfigError(
            f"--mix-by {mix_by} shares completions among several generators, and this run has one; name more by --mix"
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
            return execute(launching, with_storage, scheduler, json, storage, chosen.notice, options)
    finally:
        with_storage.close()
