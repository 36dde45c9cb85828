"""Putting a loop together from its folder: the one place that knows what stands behind each of its ports."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from discovery.errors import UsageError
from discovery.generation.vllm import Build, find_build
from discovery.licences import LicenceTable, load_licences, require_trainable
from discovery.loop.exporting import StoredExporter
from discovery.loop.folder import LoopFolder
from discovery.loop.learning import ProcessTrainer
from discovery.loop.plan import LoopPlan
from discovery.loop.rounds import ClosedLoop, Parts
from discovery.loop.running import StoredRuns, Watch, unwatched
from discovery.loop.serving import OwnServer
from discovery.prices import PriceTable, load_prices, priced
from discovery.records import ModelIdentity
from discovery.sandbox.choice import choose_backend
from discovery.storage import open_storage
from discovery.storage.base import Storage
from discovery.storage.open import default_url
from discovery.training.base import require_libraries

MODEL = "openai"
"""The generator that all runs of a loop have."""


def lasting_storage(url: str | None) -> str | None:
    """Where runs live, in words that mean the same in every folder; None where they hold a password.

    Args:
        url: As the user named it; None for the default.
    """
    chosen = url if url is not None else default_url()
    if "://" not in chosen:
        return str(Path(chosen).expanduser().absolute())
    return chosen if urlsplit(chosen).password is None else None


def storage_of(plan: LoopPlan, given: str | None) -> Storage:
    """The storage of a loop's runs.

    Args:
        plan: The loop's.
        given: As the user names it now, if he does.

    Raises:
        UsageError: Another one than the loop began with is named.
        StorageError: It cannot be opened.
    """
    if given is not None and plan.storage is not None and lasting_storage(given) != plan.storage:
        raise UsageError(
            f"this loop's runs live in {plan.storage}, and --storage names {given}; leave --storage out"
        )
    return open_storage(plan.storage if plan.storage is not None else given)


def require_all(plan: LoopPlan, prices: PriceTable, licences: LicenceTable) -> Build:
    """Look for everything that a loop will need, hours before it does.

    Args:
        plan: The loop's.
        prices: The user's table of them.
        licences: The user's table of them.

    Returns:
        The program that serves.

    Raises:
        MissingComponent: A program or a library is not there, or no sandbox for model-written code.
        ConfigError: Money is capped and the model has no price.
        LicenceError: What the model writes may not be trained on.
    """
    require_trainable([ModelIdentity(generator=MODEL, model=plan.name, revision=plan.model)], licences)
    require_libraries()
    choose_backend(plan.run.sandbox, MODEL)
    priced(plan.run, plan.name, prices)
    return build_of(plan)


def of_its_revisions(folder: LoopFolder, plan: LoopPlan, licences: LicenceTable) -> LicenceTable:
    """A table that knows all revisions of a loop's weights: they are what those are that it began with.

    The copies that the server had of earlier ones, which completions name, are gone when those are replayed.

    Args:
        folder: The loop's.
        plan: The loop's.
        licences: The user's table.

    Raises:
        LicenceError: What the model writes may not be trained on.
    """
    first = ModelIdentity(generator=MODEL, model=plan.name, revision=plan.model)
    (licence,) = require_trainable([first], licences).values()
    return licences.also([glob.escape(plan.name), f"{glob.escape(str(folder.path.absolute()))}/*"], licence)


def build_of(plan: LoopPlan) -> Build:
    """The program that serves a loop's weights.

    Raises:
        MissingComponent: It is not there.
    """
    return find_build(engine=plan.engine)


def assembled(
    folder: LoopFolder,
    storage: Storage,
    *,
    say: Callable[[str], None] = lambda line: None,
    watch: Watch = unwatched,
    prices: PriceTable | None = None,
    licences: LicenceTable | None = None,
) -> ClosedLoop:
    """A loop, ready to go on.

    Args:
        folder: Where it is kept.
        storage: Where its runs live.
        say: Told in one line what happens; from other threads, too.
        watch: Shows runs.
        prices: The user's table; None reads it where it usually is.
        licences: The same, of licences.

    Raises:
        UsageError: There is no loop, or something that it needs is not there.
    """
    plan = folder.plan()
    table = prices if prices is not None else load_prices()
    words = licences if licences is not None else load_licences()
    build = require_all(plan, table, words)
    backend = choose_backend(plan.run.sandbox, MODEL).backend
    parts = Parts(
        served=OwnServer(build, plan, folder.server, say=lambda line: say(f"server: {line}")),
        runs=StoredRuns(plan, storage, backend, prices=table, watch=watch),
        exporter=StoredExporter(storage, backend, licences=of_its_revisions(folder, plan, words)),
        trainer=ProcessTrainer(say=lambda line: say(f"training: {line}")),
    )
    return ClosedLoop(folder, plan, parts, say=say)
