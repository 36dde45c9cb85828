"""``discovery compare``: settings of the search at equal budget over seeds, and what that shows."""

from __future__ import annotations

import asyncio
import json as json_module
import os
import shlex
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from discovery.agreement import is_noisy
from discovery.cli.app import INTERRUPTED, again, app, err, notice, print_json, program
from discovery.cli.compared import Lines, show
from discovery.cli.mixing import moved, read_mix, refuse_beside
from discovery.cli.options import BUDGET, MACHINE, MODEL, RECORD, SEARCH
from discovery.cli.settings import make_config
from discovery.comparison.folder import ComparisonFolder
from discovery.comparison.plan import Asked, Axis, Comparison, planned, seeds_of
from discovery.comparison.report import About, as_dict, make_report
from discovery.comparison.running import ComparisonRunner, Machine
from discovery.config import in_range, load_toml
from discovery.errors import ConfigError, DiscoveryError, ProblemError, UsageError
from discovery.generators import EMBEDDED, MIXTURE
from discovery.launch import checked
from discovery.plots import best_known
from discovery.plugins import load_problem
from discovery.prices import PriceTable, load_prices
from discovery.problem import Problem
from discovery.storage import open_storage

OUT = Parameter(name="--out", group=RECORD.group, negative=())
SET = Parameter(name="--set", group=SEARCH.group, negative=())

_SEEDS = 6
"""The fewest with which one difference that all seeds show has p < 0.05."""


@app.command
def compare(
    problem: str | None = None,
    *,
    chains: Annotated[str | None, SEARCH] = None,
    candidates: Annotated[str | None, SEARCH] = None,
    steps: Annotated[str | None, SEARCH] = None,
    selector: Annotated[str | None, SEARCH] = None,
    generator: Annotated[str | None, SEARCH] = None,
    model: Annotated[str | None, SEARCH] = None,
    varied: Annotated[list[str] | None, SET] = None,
    config: Annotated[Path | None, SEARCH] = None,
    max_evaluations: Annotated[str | None, BUDGET] = None,
    seeds: Annotated[int | None, BUDGET] = None,
    first_seed: Annotated[int | None, BUDGET] = None,
    baseline: Annotated[str | None, SEARCH] = None,
    base_url: Annotated[list[str] | None, MODEL] = None,
    mix: Annotated[list[str] | None, MODEL] = None,
    mix_by: Annotated[str | None, SEARCH] = None,
    temperature: Annotated[float | None, MODEL] = None,
    max_tokens: Annotated[int | None, MODEL] = None,
    prices: Annotated[Path | None, BUDGET] = None,
    jobs: Annotated[int, MACHINE] = 1,
    sandbox: Annotated[str | None, MACHINE] = None,
    evaluation_slots: Annotated[int | None, MACHINE] = None,
    generation_slots: Annotated[int | None, MACHINE] = None,
    resume: Annotated[str | None, RECORD] = None,
    report: Annotated[bool, RECORD] = False,
    storage: Annotated[str | None, RECORD] = None,
    to: Annotated[Path | None, OUT] = None,
    json: Annotated[bool, RECORD] = False,
) -> int:
    """Compare settings of the search at equal budget over seeds, and tell which one to use.

    Every combination of the values given is one setting; each is run with every seed, as ordinary runs.
    Stopped or killed, the same command goes on, and what has finished is not run again.

    Does it beat best-of-n?   discovery compare PROBLEM --baseline best-of-n

    How should N be split?    discovery compare PROBLEM --chains 1,4,16 --candidates 1,4,16

    Args:
        problem: Name of a bundled or installed problem, or a path.
        chains: C, independent lines of refinement; several separated by commas [4].
        candidates: K, completions per step; several [4].
        steps: auto: L follows, so that all settings spend --max-evaluations. Or L; several: each setting spends
            C x L x K, and those that come to the same N are compared [auto].
        selector: How parents are chosen; several [rpucg].
        generator: mutation or openai; several [mutation; openai with --base-url].
        model: Model name; several.
        varied: Any other setting, as TABLE.NAME=VALUE,VALUE, such as search.parents=1,3; may be repeated.
        config: TOML file with any setting of a run; its [[setting]] tables, each with a name, are compared.
        max_evaluations: N, what each run spends; several for several budgets [400].
        seeds: Runs of each setting; a later call with more adds to those there are [6].
        first_seed: The first of the seeds; the others follow it [0].
        baseline: The selector or the setting to beat, such as best-of-n; added where it is not there.
        base_url: URL of a model server, ending in /v1; repeat it for several [$OPENAI_BASE_URL].
        mix: One of several generators of all settings, NAME=URL or NAME=mutation, with ,weight=W or ,model=M after it;
            repeat it. With --resume NAME=URL of one that has moved.
        mix_by: How they share the completions, weights or ucb; several [weights].
        temperature: Sampling temperature [1.0].
        max_tokens: Most tokens of one completion, reasoning included [8192].
        prices: Table of prices by model [$DISCOVERY_PRICES, or .discovery/prices.toml].
        jobs: Runs at once.
        sandbox: auto, bubblewrap, docker or process [auto].
        evaluation_slots: Evaluations at once, of each run [one per CPU, divided by --jobs].
        generation_slots: Completions in flight, of each run [as many as the servers can do].
        resume: Go on with a comparison by its id or folder, instead of naming PROBLEM and settings.
        report: Run nothing; report on the runs that have finished.
        storage: Database URL or path of an SQLite file [.discovery/discovery.db].
        to: Folder for the report [discovery-runs/compare-ID].
        json: Print one JSON object on standard output, nothing else.
    """
    in_range("--jobs", jobs, 1, 1000)
    settings = _Settings(
        axes=_axes(
            {
                "search.chains": ("--chains", chains),
                "search.steps": ("--steps", None if steps == "auto" else steps),
                "search.candidates": ("--candidates", candidates),
                "search.selector": ("--selector", selector),
                "generator.kind": ("--generator", generator),
                "generator.model": ("--model", model),
                "arms.choice": ("--mix-by", mix_by),
            },
            varied or [],
        ),
        budgets=_whole("--max-evaluations", max_evaluations) if max_evaluations is not None else (),
        base_url=base_url,
        mix=mix,
        config=config,
        options={
            "temperature": temperature,
            "max_tokens": max_tokens,
            "sandbox": sandbox,
            "evaluation_slots": evaluation_slots,
            "generation_slots": generation_slots,
        },
    )
    refuse_beside(mix, generator=generator, base_url=base_url, model=model)
    table = load_prices(prices)
    if resume is not None:
        _refuse_with_resume(problem, settings, steps, baseline)
        folder = ComparisonFolder.named(resume)
        plan = _resumed(folder.plan(), seeds, first_seed, settings)
        loaded = load_problem(plan.problem)
        if loaded.version != plan.version:
            raise ProblemError(
                f"problem {plan.problem_name!r} has changed since comparison {plan.id} started; its scores would not "
                "compare. Restore the files, or start a new comparison"
            )
    else:
        if problem is None:
            raise UsageError(
                "`discovery compare` needs PROBLEM, or --resume ID. See: discovery compare --help"
            )
        loaded = load_problem(problem)
        count = _SEEDS if seeds is None else seeds
        plan = planned(settings.asked(problem, baseline), loaded, seeds_of(count, first_seed or 0))
        folder = ComparisonFolder(to) if to is not None else ComparisonFolder.of(plan)
    _check(plan, table)
    with_storage = open_storage(storage)
    try:
        name = plan.id if folder.path == ComparisonFolder.of(plan).path else str(folder.path)
        going_on = f"compare --resume {shlex.quote(name)}{again(storage)}"
        if not report:
            folder.save_plan(plan)
            code = _execute(
                plan, Machine(storage=with_storage, prices=table, jobs=jobs), f"{program()} {going_on}"
            )
            if code:
                return code
        made = make_report(plan, with_storage, _about(loaded))
        folder.save_report(made, f"discovery {going_on}")
    finally:
        with_storage.close()
    if json:
        print_json({"folder": str(folder.path), "report": str(folder.page), **as_dict(made)})
    else:
        show(made, folder)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What was asked for on the command line and in the file."""

    axes: tuple[Axis, ...]
    budgets: tuple[int, ...]
    base_url: list[str] | None
    mix: list[str] | None
    config: Path | None
    options: Mapping[str, Any]

    def asked(self, problem: str, baseline: str | None) -> Asked:
        """All of it together."""
        data = load_toml(self.config) if self.config is not None else {}
        tables = data.pop("setting", [])
        base_url, axes = self.base_url, list(self.axes)
        kinds = next((axis.values for axis in axes if axis.path == "generator.kind"), None)
        is_mixed = bool(self.mix) or "members" in data.get("generator", {})
        asks_server = not base_url and kinds != (EMBEDDED,) and not is_mixed
        if asks_server and (configured := os.environ.get("OPENAI_BASE_URL")):
            base_url = [configured]
        has_model = bool(base_url) or any(axis.path == "generator.model" for axis in axes)
        if kinds == (EMBEDDED,) and has_model:
            raise ConfigError(f"a model is given, and --generator {EMBEDDED} has none; leave one of them out")
        options = {**self.options, "base_url": base_url}
        if kinds is None and has_model:
            options["generator"] = "openai"
        if self.mix:
            options |= {"generator": MIXTURE, "mix": read_mix(self.mix)}
        base = make_config(problem, data, **options)
        shares = any(axis.path == "arms.choice" for axis in axes)
        if shares and base.generator.kind != MIXTURE and not any("generator" in table for table in tables):
            raise ConfigError(
                "--mix-by shares completions among several generators, and there is one; name more by --mix"
            )
        return Asked(
            base=base, axes=tuple(axes), named=_named(tables), budgets=self.budgets, baseline=baseline
        )


def _named(tables: object) -> dict[str, dict[str, Any]]:
    """The ``[[setting]]`` tables by name."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError("setting is no list of tables; write each as [[setting]] with a name")
    named: dict[str, dict[str, Any]] = {}
    for number_, table in enumerate(tables, start=1):
        name = table.pop("name", None)
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ConfigError(
                f"[[setting]] number {number_} has the name {name!r}; give each a text of its own"
            )
        if name in named:
            raise ConfigError(f"[[setting]] has the name {name!r} twice; give each one of its own")
        named[name] = table
    return named


def _axes(options: Mapping[str, tuple[str, str | None]], varied: list[str]) -> tuple[Axis, ...]:
    axes = []
    for path, (option, text) in options.items():
        if text is None:
            continue
        is_number = path in ("search.chains", "search.steps", "search.candidates")
        axes.append(Axis(path=path, values=_whole(option, text) if is_number else _words(option, text)))
    for pair in varied:
        path, equals, text = pair.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"--set {pair!r}: expected TABLE.NAME=VALUE,VALUE, such as search.parents=1,3")
        path = path.strip().replace("-", "_")
        if any(axis.path == path for axis in axes):
            raise ConfigError(f"--set {path} is given twice; name all of its values at once")
        axes.append(Axis(path=path, values=tuple(_literal(word) for word in _words(f"--set {path}", text))))
    return tuple(axes)


def _words(option: str, text: str) -> tuple[str, ...]:
    words = tuple(word.strip() for word in text.split(","))
    if "" in words:
        raise ConfigError(
            f"{option} {text!r} has an empty value; separate values by single commas, such as a,b"
        )
    return words


def _whole(option: str, text: str) -> tuple[int, ...]:
    words = _words(option, text)
    try:
        return tuple(int(word) for word in words)
    except ValueError as error:
        hint = " or auto" if option == "--steps" else ""
        raise ConfigError(f"{option} {text!r}: expected whole numbers such as 1,4,16{hint}") from error


def _literal(word: str) -> Any:
    """A number, true or false where it reads as one, else a text."""
    try:
        return json_module.loads(word)
    except ValueError:
        return word


def _refuse_with_resume(
    problem: str | None, settings: _Settings, steps: str | None, baseline: str | None
) -> None:
    given = {
        "PROBLEM": problem,
        "the settings": settings.axes or steps,
        "--max-evaluations": settings.budgets,
        "--config": settings.config,
        "--baseline": baseline,
        "--temperature": settings.options["temperature"],
        "--max-tokens": settings.options["max_tokens"],
    }
    for name, value in given.items():
        if value:
            raise UsageError(
                f"--resume goes on with the settings that are stored, and {name} would change them; leave it out, or "
                "leave --resume out"
            )


def _resumed(plan: Comparison, seeds: int | None, first: int | None, settings: _Settings) -> Comparison:
    """A stored plan with other seeds and this machine's slots and servers."""
    if seeds is not None or first is not None:
        count = len(plan.seeds) if seeds is None else seeds
        plan = replace(plan, seeds=seeds_of(count, plan.seeds[0] if first is None else first))
    options = settings.options
    slots = {key: options[f"{key}_slots"] for key in ("evaluation", "generation") if options[f"{key}_slots"]}
    changed = []
    for setting in plan.settings:
        config = replace(setting.config, slots=replace(setting.config.slots, **slots))
        if options["sandbox"] is not None:
            config = replace(config, sandbox=replace(config.sandbox, backend=options["sandbox"]))
        if settings.base_url:
            config = replace(config, generator=replace(config.generator, base_url=tuple(settings.base_url)))
        if settings.mix:
            config = replace(config, generator=moved(config.generator, settings.mix))
        changed.append(replace(setting, config=config))
    return replace(plan, settings=tuple(changed))


def _check(plan: Comparison, table: PriceTable) -> None:
    """Refuse settings that could not be run, before anything is stored."""
    seen = []
    for setting in plan.settings:
        config = setting.config
        search, asked = config.search, (config.generator, config.prompt, config.adviser)
        kind = (search.selector, search.selector_params, asked, config.sandbox)
        try:
            config.rungs_at  # noqa: B018  raises where there are too many for this shape
            if kind in seen:
                continue
            seen.append(kind)
            checked(config, table)
        except ConfigError as error:
            raise ConfigError(f"setting {setting.name!r}: {error}") from error


def _about(problem: Problem) -> About:
    known = best_known(problem.settings.known_best, problem.direction)
    return About(
        direction=problem.direction, is_noisy=is_noisy(problem), known=known.value if known else None
    )


def _execute(plan: Comparison, machine: Machine, command: str) -> int:
    """Run what is missing; the exit code, 0 where all is done."""
    shown = Lines()
    runner = ComparisonRunner(plan, machine, notice=notice, told=shown.told)
    watched = shown.watched = runner.watched
    total = sum(run.setting.budget for run in plan.runs)
    err.print(
        f"comparison [bold]{escape(plan.id)}[/]: {len(plan.settings)} settings x {len(plan.seeds)} seeds = "
        f"{len(plan.runs)} runs, {total:,} evaluations"
        + (f"; {watched.done} runs have finished already" if watched.done else "")
        + ("  (Ctrl-C stops it cleanly)" if runner.missing else "")
    )
    try:
        asyncio.run(_drive(runner, shown))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print(
            f"stopped after {watched.done} of {watched.total} runs; nothing finished is lost. Go on with:\n  {command}",
            markup=False,
        )
        return INTERRUPTED
    except DiscoveryError:
        err.print(
            f"{watched.done} of {watched.total} runs are done and kept. When the cause is mended, go on with:\n"
            f"  {command}",
            markup=False,
        )
        raise
    return 0


async def _drive(runner: ComparisonRunner, shown: Lines) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with shown.live():
        watching = asyncio.create_task(shown.watch())
        try:
            await runner.execute()
        finally:
            watching.cancel()
