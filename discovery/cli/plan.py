"""``discovery plan``: what a run will take, before it is made."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter

from discovery.budget import Budget
from discovery.cli.app import app, err, notice, print_json, properties
from discovery.cli.mixing import has_members, read_mix, refuse_beside
from discovery.cli.options import BUDGET, MACHINE, MODEL, RECORD, SEARCH, SERVERS
from discovery.cli.planned import as_json, print_plan
from discovery.cli.settings import depth_for, make_config, read_params, sets_steps
from discovery.cli.watch import watching
from discovery.config import RunConfig, in_range
from discovery.errors import ConfigError, UsageError
from discovery.forecast.forecast import forecast
from discovery.forecast.reading import FEWEST_COMPLETIONS, read_pilot
from discovery.forecast.shape import Machine
from discovery.generators import EMBEDDED, MIXTURE
from discovery.launch import checked, overridden, started
from discovery.plugins import load_problem
from discovery.prices import PriceTable, load_prices, priced, priced_members
from discovery.sandbox.choice import choose_backend
from discovery.storage import open_existing, open_storage
from discovery.storage.base import RunRecord, Storage

PILOT = Parameter(group=Group("The pilot", sort_key=0), negative=())
_FOR_MODELS, _FOR_MUTATIONS = 32, 100
_MOST = 10_000
_MADE = (
    *("generator", "base_url", "model", "temperature", "max_tokens", "effort", "answer_tokens"),
    *(
        "selector",
        "selector_param",
        "sandbox",
        "require_isolation",
        "mix",
        "mix_by",
        "reflect",
        "adviser_url",
    ),
)
"""Options of runs that are made, in a forecast: of the pilot alone."""


@app.command
def plan(
    problem: str | None = None,
    *,
    pilot: Annotated[int | None, PILOT] = None,
    like: Annotated[list[str] | None, PILOT] = None,
    server_slots: Annotated[int | None, PILOT] = None,
    chains: Annotated[int | None, SEARCH] = None,
    steps: Annotated[int | None, SEARCH] = None,
    candidates: Annotated[int | None, SEARCH] = None,
    parents: Annotated[int | None, SEARCH] = None,
    overlap: Annotated[int | None, SEARCH] = None,
    selector: Annotated[str | None, SEARCH] = None,
    selector_param: Annotated[list[str] | None, SEARCH] = None,
    rungs: Annotated[int | None, SEARCH] = None,
    keep_chains: Annotated[float | None, SEARCH] = None,
    seed: Annotated[int | None, SEARCH] = None,
    generator: Annotated[str | None, MODEL] = None,
    base_url: Annotated[list[str] | None, SERVERS] = None,
    model: Annotated[str | None, MODEL] = None,
    mix: Annotated[list[str] | None, MODEL] = None,
    mix_by: Annotated[Literal["weights", "ucb"] | None, MODEL] = None,
    temperature: Annotated[float | None, MODEL] = None,
    max_tokens: Annotated[int | None, MODEL] = None,
    effort: Annotated[str | None, MODEL] = None,
    answer_tokens: Annotated[int | None, MODEL] = None,
    reflect: Annotated[bool | None, MODEL] = None,
    adviser_url: Annotated[list[str] | None, SERVERS] = None,
    sandbox: Annotated[str | None, MACHINE] = None,
    require_isolation: Annotated[list[str] | None, MACHINE] = None,
    generation_slots: Annotated[int | None, SERVERS] = None,
    evaluation_slots: Annotated[int | None, MACHINE] = None,
    max_evaluations: Annotated[int | None, BUDGET] = None,
    max_tokens_total: Annotated[int | None, BUDGET] = None,
    max_cost: Annotated[float | None, BUDGET] = None,
    max_seconds: Annotated[float | None, BUDGET] = None,
    config: Annotated[Path | None, RECORD] = None,
    prices: Annotated[Path | None, BUDGET] = None,
    storage: Annotated[str | None, RECORD] = None,
    json: Annotated[bool, RECORD] = False,
) -> int:
    """Foretell a run's wall time, tokens, cost and utilisation, and what would make it shorter.

    It makes a small pilot run with the same model and sandbox, or reads one that is stored (--like), and simulates the
    run from what that took. Give the options that you would give to `discovery run`; they mean the same here.

    Args:
        problem: Name of a bundled or installed problem, or a path; may be left out with --like.
        pilot: Completions of the pilot run that is made now, 8 or more [32; 100 without a model].
        like: Make none, but read this run: its id, or a unique beginning of it. All that the other options do not say
            is as in it. Repeat it for runs at several loads.
        server_slots: Completions that the servers generate at once [as many as they are sent, or as the pilot shows].
        chains: C, independent lines of refinement [4].
        steps: L, how deep each goes [25, or more where --max-evaluations asks for more].
        candidates: K, completions per step [4].
        parents: How many candidates a prompt shows [3].
        overlap: Steps of a chain that may be open beside its oldest one [as for run].
        selector: Which one chooses parents, in the pilot.
        selector_param: A parameter of it, as NAME=VALUE; may be repeated.
        rungs: How many times the worst chains are pruned; the others get their evaluations [0].
        keep_chains: Share of the chains that goes on at each rung [0.5].
        seed: Seed of the pilot and of the simulations [0].
        generator: mutation (embedded) or openai [mutation; openai with --base-url].
        base_url: URL of the server, ending in /v1; repeat it for several servers [$OPENAI_BASE_URL].
        model: Model name [the only one that the server lists].
        mix: One of several generators, NAME=URL or NAME=mutation, with ,weight=W or ,model=M after it; repeat it.
        mix_by: How they share the completions: by weights, or ucb, of which equal shares are assumed [weights].
        temperature: Sampling temperature [1.0].
        max_tokens: Most tokens of one completion, reasoning included [8192].
        effort: How much a reasoning model reasons.
        answer_tokens: Most tokens of a forced answer, 0 for none [4096].
        reflect: Ask the model what each committed candidate teaches.
        adviser_url: URL of a server that --reflect and selectors ask; may be repeated [the model's own].
        sandbox: auto, bubblewrap, docker or process [auto].
        require_isolation: Refuse to start unless this was verified to hold here.
        generation_slots: Completions in flight [as many as the servers can do].
        evaluation_slots: Evaluations at once [one per CPU].
        max_evaluations: Stop after so many evaluations [C x L x K].
        max_tokens_total: Stop after so many tokens, prompts included.
        max_cost: Stop after so much money.
        max_seconds: Stop after so many seconds.
        config: TOML file with any settings of a run.
        prices: Table of prices by model [$DISCOVERY_PRICES, or .discovery/prices.toml].
        storage: Database URL or path of an SQLite file, also for the pilot [.discovery/discovery.db].
        json: Print one JSON object on standard output, nothing else.
    """
    if server_slots is not None:
        in_range("--server-slots", server_slots, 1, 1_000_000)
    table = load_prices(prices)
    options = {
        "chains": chains,
        "steps": steps,
        "candidates": candidates,
        "parents": parents,
        "overlap": overlap,
        "selector": selector,
        "selector_param": selector_param,
        "rungs": rungs,
        "keep_chains": keep_chains,
        "seed": seed,
        "generator": generator,
        "base_url": base_url,
        "model": model,
        "mix": mix,
        "mix_by": mix_by,
        "temperature": temperature,
        "max_tokens": max_tokens,
        "effort": effort,
        "answer_tokens": answer_tokens,
        "reflect": reflect,
        "adviser_url": adviser_url,
        "sandbox": sandbox,
        "require_isolation": properties(require_isolation),
        "generation_slots": generation_slots,
        "evaluation_slots": evaluation_slots,
        "max_evaluations": max_evaluations,
        "max_tokens_total": max_tokens_total,
        "max_cost": max_cost,
        "max_seconds": max_seconds,
    }
    if like:
        if pilot is not None or config is not None:
            given = "--pilot" if pilot is not None else "--config"
            raise ConfigError(
                f"{given} is for a run that is made now, and --like reads one; leave one of them out"
            )
        with_storage = open_existing(storage)
    else:
        settings = _settings(problem, config, options)
        count = _count(pilot, settings)
        checked(settings, table)  # before a storage is made
        with_storage = open_storage(storage)
    try:
        if like:
            record = _liked(with_storage, like, problem)
            settings = _as_in(record, options)
            runs = like
        else:
            record = asyncio.run(_piloted(_small(settings, count), with_storage, table))
            runs = [record.id]
        settings = _priced(settings, record, table)
        seen = read_pilot(with_storage, runs, server_slots=server_slots)
    finally:
        with_storage.close()
    machine = _machine(server_slots)
    told = forecast(seen, settings, machine, seed=settings.seed)
    if json:
        print_json(as_json(told, seen, settings, machine))
    else:
        print_plan(told, seen, settings, machine, record.problem)
    return 0


# What is planned


def _settings(problem: str | None, config: Path | None, options: dict[str, Any]) -> RunConfig:
    """The run that `discovery run` would make of these options."""
    if problem is None:
        raise UsageError(
            "`discovery plan` needs PROBLEM, or a run to read: --like RUN. `discovery problems` and `discovery runs` "
            "list what there is"
        )
    mixed = options["mix"] or has_members(config)
    one = {name: options[name] for name in ("generator", "base_url", "model")}
    refuse_beside(options["mix"], **one)
    if options["mix"]:
        options = {**options, "generator": MIXTURE}
    elif options["generator"] in (None, "openai") and not options["base_url"] and not mixed:
        configured = os.environ.get("OPENAI_BASE_URL")
        options = {**options, "base_url": [configured] if configured else None}
    if options["generator"] is None and (options["base_url"] or options["model"] is not None):
        options = {**options, "generator": "openai"}
    given = {name: value for name, value in options.items() if name != "selector_param"}
    given["mix"] = read_mix(options["mix"]) if options["mix"] else None
    made = make_config(problem, config, **given)
    if options["mix_by"] is not None and made.generator.kind != MIXTURE:
        raise ConfigError(
            f"--mix-by {options['mix_by']} shares completions among several generators; name them by --mix"
        )
    params = {**made.search.selector_params, **read_params(options["selector_param"] or [])}
    made = replace(made, search=replace(made.search, selector_params=params))
    return _deep_enough(made, options, is_deep=sets_steps(config))


def _liked(storage: Storage, like: Sequence[str], problem: str | None) -> RunRecord:
    """The first run to read, once all are known to be of one problem."""
    records = [storage.get_run(run) for run in like]
    name = load_problem(problem).name if problem is not None else records[0].problem
    for record in records:
        if record.problem != name:
            raise UsageError(
                f"run {record.id} is of {record.problem!r}, and what its evaluations take says nothing of {name!r}; "
                "name a run of the same problem, or leave --like out for a pilot run"
            )
    return records[0]


def _as_in(record: RunRecord, options: Mapping[str, Any]) -> RunConfig:
    """The configuration of a stored run but for what is said; where that is its shape, its caps do not hold."""
    for option in _MADE:
        if options[option] is not None:
            raise ConfigError(
                f"--{option.replace('_', '-')} is of a pilot run, and --like reads one that was made; leave one of "
                "them out"
            )
    budget = {
        "max_evaluations": options["max_evaluations"],
        "max_tokens": options["max_tokens_total"],
        "max_cost": options["max_cost"],
        "max_seconds": options["max_seconds"],
    }
    search = {name: options[name] for name in ("chains", "steps", "candidates", "parents", "overlap")}
    slots = {"generation": options["generation_slots"], "evaluation": options["evaluation_slots"]}
    changed = overridden(record, search=search, slots=slots, budget=budget)
    shape = ("chains", "steps", "candidates", "max_evaluations", "rungs", "keep_chains")
    if any(options[name] is not None for name in shape):
        # The rungs of a stored run stand where they were settled for its own shape.
        rungs = {"rungs": options["rungs"], "keep": options["keep_chains"], "at": ()}
        changed = overridden(record, search=search, slots=slots, adapt=rungs)
        changed = replace(changed, budget=Budget(**budget))
    if options["keep_chains"] is not None and not changed.adapt.rungs:
        raise ConfigError(
            f"--keep-chains {options['keep_chains']} is for rungs, and there are none; add --rungs 1 or more, or leave "
            "it out"
        )
    if options["seed"] is not None:
        changed = replace(changed, seed=options["seed"])
    return _deep_enough(changed, options, is_deep=False)


def _deep_enough(config: RunConfig, options: Mapping[str, Any], *, is_deep: bool) -> RunConfig:
    """With as many steps as its evaluations need, where nobody said how many; as `discovery run` does."""
    most = config.budget.max_evaluations
    if most is None or options["steps"] is not None or is_deep:
        return config
    steps = max(config.search.steps, depth_for(config, most))
    return replace(config, search=replace(config.search, steps=steps))


def _priced(config: RunConfig, record: RunRecord, table: PriceTable) -> RunConfig:
    """A configuration with the prices of the models that a run has asked."""
    models = record.facts.get("models")
    if isinstance(models, Mapping):
        return priced_members(config, models, table)
    known = record.facts.get("model")
    return priced(config, known if isinstance(known, str) else None, table)


def _machine(server_slots: int | None) -> Machine:
    cpus = len(os.sched_getaffinity(0))
    return Machine(cpus=cpus, evaluation_slots=cpus, server_slots=server_slots)


# The pilot


def _count(pilot: int | None, config: RunConfig) -> int:
    """How many completions the pilot has."""
    if pilot is None:
        pilot = _FOR_MUTATIONS if config.generator.kind == EMBEDDED else _FOR_MODELS
    in_range("--pilot", pilot, FEWEST_COMPLETIONS, _MOST)
    return pilot


def _small(config: RunConfig, completions: int) -> RunConfig:
    """A run of so many completions that has something of each part: at least two steps, several chains if it can."""
    search = config.search
    candidates = max(1, min(search.candidates, completions // 4))
    chains = max(1, min(search.chains, completions // (candidates * (2 + config.overlap))))
    steps = math.ceil(completions / (candidates * chains))
    return replace(
        config,
        search=replace(search, chains=chains, steps=steps, candidates=candidates, overlap=config.overlap),
        budget=replace(config.budget, max_evaluations=completions, until=None),
        adapt=replace(config.adapt, rungs=0, at=()),
    )


async def _piloted(config: RunConfig, storage: Storage, table: PriceTable) -> RunRecord:
    """Make the pilot run; it is stored like any other."""
    chosen = choose_backend(config.sandbox, config.generator.kind)
    async with started(config, storage, chosen.backend, prices=table, facts={"pilot": True}) as run:
        if chosen.notice is not None:
            notice(chosen.notice)
        planned = config.planned_evaluations
        err.print(f"pilot run [bold]{run.record.id}[/] of {planned} completions  (Ctrl-C stops it cleanly)")
        async with watching(err, run.progress, f"{run.record.problem}  {run.record.id}"):
            await run.execute()
    return storage.get_run(run.record.id)
