"""Putting a run together from its configuration, and taking it apart again.

The one place that knows which implementation stands behind each port; everything below gets its ports handed in.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from discovery.config import RunConfig, to_dict
from discovery.errors import ConfigError, GeneratorRefused, GeneratorUnavailable, ProblemError, UsageError
from discovery.evaluator import Evaluator
from discovery.generation.base import Generator
from discovery.generation.factory import make_advising, make_generator
from discovery.generation.mixture import Mixture
from discovery.generation.prompt import Form
from discovery.generators import EMBEDDED
from discovery.plugins import load_problem, load_stored
from discovery.prices import PriceTable, load_prices, priced, priced_members
from discovery.problem import Problem
from discovery.records import Json, ModelIdentity, RunStatus
from discovery.run import Run, config_of, new_run, resumed
from discovery.rungs import refuse_out_of_reach
from discovery.sandbox.base import SandboxBackend
from discovery.sandbox.cgroups import available
from discovery.sandbox.hierarchies import Absent
from discovery.sandbox.isolation import expanded
from discovery.sandbox.isolation import require as require_isolation
from discovery.selection import AdvisedSelector, Selector, make_selector
from discovery.selection.restarting import restarting
from discovery.storage.base import RunRecord, Storage
from discovery.warm import WarmStarts

_KEY = "OPENAI_API_KEY"


def evaluation_slots(config: RunConfig) -> int:
    """How many evaluations run at once: as asked, else one per CPU that this process may use."""
    return config.slots.evaluation or len(os.sched_getaffinity(0))


def generator_of(config: RunConfig, problem: Problem) -> Generator:
    """The configured generator, with the API keys from the environment."""
    own = {member.name: os.environ.get(member.key_variable) for member in config.generator.members}
    keys = {name: key for name, key in own.items() if key is not None}
    return make_generator(config.generator, problem, api_key=os.environ.get(_KEY), keys=keys)


def selector_of(config: RunConfig, problem: Problem) -> Selector:
    """The configured selector, with what the problem declares for it; it begins chains anew where that is asked for.

    Raises:
        ConfigError: There is none of that name, or a parameter is wrong.
    """

    def make() -> Selector:
        return make_selector(
            config.search.selector,
            problem.direction,
            config.search.selector_params,
            features=problem.settings.features,
            objectives=problem.settings.objectives,
            overlap=config.overlap,
        )

    patience = config.adapt.restarts_after
    return make() if patience is None else restarting(make, patience, problem.direction)


def advising_of(config: RunConfig, selector: Selector) -> Generator | None:
    """Who answers what is no candidate; None where nothing asks: neither reflection nor the selector.

    Raises:
        ConfigError: Something asks, and there is no model.
    """
    asking = "--reflect" if config.adviser.reflect else None
    if isinstance(selector, AdvisedSelector):
        asking = f"selector {selector.name!r}"
    if asking is None:
        return None
    if config.generator.is_embedded and not config.adviser.base_url:
        raise ConfigError(
            f"{asking} asks a model, and generator {config.generator.kind!r} has none: name one by "
            "--adviser-url http://HOST:PORT/v1, or run with a model (--serve MODEL or --base-url URL)"
        )
    generator, key, member = config.generator, os.environ.get(_KEY), config.generator.first_model
    if member is not None:
        generator = generator.of(member)
        key = key if config.adviser.base_url else os.environ.get(member.key_variable, key)
    return make_advising(config.adviser, generator, api_key=key)


def checked(config: RunConfig, prices: PriceTable | None = None) -> RunConfig:
    """A configuration whose problem, selector and generator can be made: nothing is stored or reached yet.

    Args:
        config: The configuration.
        prices: The user's table; None reads it where it usually is.

    Raises:
        UsageError: One of them cannot.
    """
    problem = load_problem(config.problem)
    expanded((*problem.settings.isolation, *config.sandbox.require))
    if advising_of(config, selector_of(config, problem)) is None and config.adviser.base_url:
        raise ConfigError(
            f"--adviser-url {config.adviser.base_url[0]} is for questions, and nothing asks any; add --reflect or a "
            "selector that asks a model (llm-rerank, llm-elite), or leave it out"
        )
    refuse_out_of_reach(config.rungs_at, config.planned_evaluations, config.search.chains, config.adapt.keep)
    generator_of(config, problem)
    _refuse_edits(config, problem)
    config = with_template(config)
    Form.of(config.prompt, problem)
    model = config.generator.model
    if config.generator.kind == EMBEDDED or model is not None:  # else the server says which it is
        priced(config, model, prices if prices is not None else load_prices())
    return config


def with_template(config: RunConfig) -> RunConfig:
    """A configuration with the text of the template that it names, which is stored with the run.

    Raises:
        ConfigError: The template cannot be read.
    """
    prompt = config.prompt
    if prompt.template is None or prompt.template_text is not None:
        return config
    try:
        text = Path(prompt.template).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"template {prompt.template}: {why}; expected a readable text file, named as from the working directory"
        ) from error
    return replace(config, prompt=replace(prompt, template_text=text))


def _refuse_edits(config: RunConfig, problem: Problem) -> None:
    if config.prompt.edits == "diff" and problem.settings.schema is not None:
        raise ConfigError(
            f"edits is 'diff', and solutions of {problem.name!r} are JSON documents, which are written whole; "
            "use --edits rewrite, or leave it out"
        )


@asynccontextmanager
async def evaluator_for(
    problem: Problem,
    backend: SandboxBackend,
    *,
    slots: int = 1,
    label: str = "discovery",
    require: tuple[str, ...] = (),
) -> AsyncIterator[Evaluator]:
    """A started evaluator without a run, for scoring single candidates.

    Raises:
        InsufficientIsolation: The sandbox holds less here than ``require`` or the problem asks for.
    """
    expanded((*problem.settings.isolation, *require))
    evaluator = Evaluator(problem, backend, slots=slots, label=label)
    atexit.register(evaluator.cleanup)
    try:
        await evaluator.start()
        _hold(evaluator, require)
        yield evaluator
    finally:
        await asyncio.shield(evaluator.close())
        atexit.unregister(evaluator.cleanup)


@asynccontextmanager
async def started(
    config: RunConfig,
    storage: Storage,
    backend: SandboxBackend,
    *,
    prices: PriceTable | None = None,
    name: str | None = None,
    facts: Mapping[str, Json] | None = None,
) -> AsyncIterator[Run]:
    """A new run, ready to execute; nothing is stored before its initial candidate has scored.

    Args:
        config: Its configuration.
        storage: Where it will live.
        backend: Where candidates run.
        prices: The user's table; None reads it where it usually is.
        name: Its id, where somebody has to know it before it is stored; no run may have it. None makes one.
        facts: Further ones to store with it.

    Raises:
        UsageError: The configuration names something that is not there.
        GeneratorError: The generator cannot be reached, or refuses.
        SandboxError: The sandbox does not work.
        InsufficientIsolation: It holds less here than the configuration or the problem asks for.
    """
    problem = load_problem(config.problem)
    config = with_template(config)
    Form.of(config.prompt, problem)
    record = new_run(problem, config)
    record = replace(record, id=name or record.id, facts={**record.facts, **(facts or {})})
    async with _assembled(record, config, problem, storage, backend, prices, is_new=True) as run:
        yield run


@asynccontextmanager
async def reopened(
    record: RunRecord,
    config: RunConfig,
    storage: Storage,
    backend: SandboxBackend,
    *,
    prices: PriceTable | None = None,
) -> AsyncIterator[Run]:
    """A stored run, ready to go on.

    Args:
        record: The stored run.
        config: What to go on with; see :func:`discovery.run.resumed`.
        storage: Where it lives.
        backend: Where candidates run.
        prices: The user's table, for a run without prices of its own; None reads it where it usually is.

    Raises:
        UsageError: As for :func:`started`, or the problem has changed, or only part of the run has arrived here.
    """
    # What is one program never changes: the seeds of stored candidates hang on it.
    known_by = config_of(record).search.duplicates
    config = replace(config, search=replace(config.search, duplicates=known_by))
    if record.status is RunStatus.ARRIVING:
        raise UsageError(f"run {record.id} cannot go on: {record.message}")
    problem = problem_of(record)
    record = resumed(record, config, problem)
    async with _assembled(record, config, problem, storage, backend, prices, is_new=False) as run:
        yield run


def problem_of(record: RunRecord) -> Problem:
    """The problem of a stored run as it is now, newly loaded.

    Raises:
        ProblemError: It is gone, or does not load.
    """
    found = load_stored(record.problem_path, record.problem, record.problem_version)
    if found is None:
        raise ProblemError(
            f"run {record.id} cannot go on without its problem, and {record.problem_path} is gone; "
            "put it back, or start a new run"
        )
    return found


def overridden(record: RunRecord, **changes: Mapping[str, Any]) -> RunConfig:
    """The configuration of a stored run with parts of it changed.

    Args:
        record: The stored run.
        **changes: Name of a part (``slots``, ``budget``, ...) to the fields to change; None keeps a field.
    """
    config = config_of(record)
    for part, fields in changes.items():
        given = {name: value for name, value in fields.items() if value is not None}
        if given:
            config = replace(config, **{part: replace(getattr(config, part), **given)})
    return config


@asynccontextmanager
async def _assembled(
    record: RunRecord,
    config: RunConfig,
    problem: Problem,
    storage: Storage,
    backend: SandboxBackend,
    prices: PriceTable | None,
    *,
    is_new: bool,
) -> AsyncIterator[Run]:
    selector = selector_of(config, problem)
    generator = generator_of(config, problem)
    advising = advising_of(config, selector)
    _refuse_edits(config, problem)
    evaluator = Evaluator(
        problem,
        backend,
        slots=evaluation_slots(config),
        label=record.id,
        recycle_after=config.sandbox.recycle_after,
        find_source=partial(storage.find_source, record.id),
        find_artifact=WarmStarts(storage, record.id).get,
        knows_solutions=config.search.duplicates == "solution",
    )
    atexit.register(evaluator.cleanup)
    try:
        table = prices if prices is not None else load_prices()
        identity = await _all_started(generator, evaluator, advising)
        facts: dict[str, Json] = {"model": identity.model, "server": identity.server}
        if isinstance(generator, Mixture):
            models = {name: one.model for name, one in generator.identities.items()}
            config, facts["models"] = priced_members(config, models, table), models
        else:
            config = priced(config, identity.model, table)
        _hold(evaluator, config.sandbox.require)
        settled = {"prices": to_dict(config.prices), "generator": to_dict(config.generator)}
        yield Run(
            replace(record, facts={**record.facts, **facts}, config={**record.config, **settled}),
            config,
            problem,
            storage,
            generator=generator,
            selector=selector,
            evaluator=evaluator,
            advising=advising,
            is_new=is_new,
        )
    finally:
        await asyncio.shield(_closed(generator, evaluator, advising))
        atexit.unregister(evaluator.cleanup)


async def _all_started(
    generator: Generator, evaluator: Evaluator, advising: Generator | None
) -> ModelIdentity:
    """Start all at once: generators mostly load their client library, the evaluator mostly waits for sandboxes."""
    identity, *others = await asyncio.gather(
        generator.start(),
        evaluator.start(),
        *([_adviser_started(advising)] if advising is not None else []),
        return_exceptions=True,
    )
    for outcome in (identity, *others):
        if isinstance(outcome, BaseException):
            raise outcome
    assert isinstance(identity, ModelIdentity)
    return identity


async def _adviser_started(advising: Generator) -> None:
    """Start the adviser; what keeps it from that is told to be about it."""
    try:
        await advising.start()
    except (GeneratorUnavailable, GeneratorRefused) as error:
        raise type(error)(f"the adviser: {error}") from error


def _hold(evaluator: Evaluator, required: tuple[str, ...]) -> None:
    """Refuse a sandbox that holds less than the problem and the user ask for."""
    place = available()
    fixes = [place.why] if isinstance(place, Absent) else []
    require_isolation(evaluator.record, (*evaluator.problem.settings.isolation, *required), fixes)


async def _closed(generator: Generator, evaluator: Evaluator, advising: Generator | None) -> None:
    await generator.close()
    if advising is not None:
        await advising.close()
    await evaluator.close()
