"""A closed loop as a Prefect flow: one flow run per loop, one flow task for each run, choice and training.

Nothing is kept in Prefect's results: a loop lives in its folder and in storage, and a flow run that was killed is gone
on with by another one of the same folder, between stages and inside of them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException

from discovery.config import RunConfig, SandboxConfig, from_dict
from discovery.errors import ConfigError, DiscoveryError
from discovery.generation.weights import read_weights
from discovery.licences import load_licences
from discovery.loop.assembly import MODEL, assembled, lasting_storage, require_all, storage_of
from discovery.loop.exporting import StoredExporter
from discovery.loop.folder import LoopFolder
from discovery.loop.learning import ProcessTrainer
from discovery.loop.plan import RoundsConfig, filter_from_dict, make_plan
from discovery.loop.rounds import ClosedLoop, Perform, Work
from discovery.loop.showing import save_report
from discovery.loop.single import SingleRound
from discovery.orchestration.bystander import Inside
from discovery.prices import load_prices
from discovery.sandbox.choice import choose_backend
from discovery.storage import open_existing
from discovery.training.config import TrainConfig

_log = logging.getLogger(__name__)


async def execute_as_flow(loop: ClosedLoop) -> None:
    """Execute an assembled loop as a Prefect flow run that is named after it.

    Args:
        loop: Ready to go on.

    Raises:
        DiscoveryError: As for ``ClosedLoop.execute``.
    """
    inside = Inside("loop", lambda: loop.execute(works_as_tasks()))
    plan = loop.plan

    @flow(
        name="closed loop",
        flow_run_name=plan.id,
        description=f"{plan.rounds.rounds} rounds of {plan.name} on {', '.join(plan.problems)}",
        validate_parameters=False,
        persist_result=False,
    )
    async def closed_loop(folder: str) -> None:
        await inside.work()

    await inside.carried_by(lambda: closed_loop(str(loop.folder.path)), alone=loop.execute)


def works_as_tasks() -> Perform:
    """How ``ClosedLoop.execute`` makes each piece of work a flow task of the current flow run."""
    opened: dict[str, Work] = {}

    @task(name="work", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
    async def work(name: str) -> None:
        await opened[name].complete()

    async def perform(taken: Work) -> None:
        opened[taken.name] = taken
        try:
            await work(taken.name)
        except DiscoveryError:
            raise
        except (PrefectException, httpx.HTTPError, OSError) as error:
            _log.warning("Prefect failed around a stage, which goes on without it: %s", error)
            await taken.complete()
        finally:
            del opened[taken.name]

    return perform


async def loop_run(
    model: str | None,
    problems: Sequence[str],
    held_out: Sequence[str],
    settings: Mapping[str, Any],
    storage_url: str | None,
    out: str,
) -> str:
    """Start a loop inside the current flow run, or go on with the one in its folder; what ``flows/closed_loop.py``
    deploys.

    Args:
        model: Folder of the weights to begin with; ignored where the loop was begun before, as are all but the storage.
        problems: Those to learn from.
        held_out: Those to judge by.
        settings: Tables ``rounds``, ``run``, ``filter`` and ``train``, and ``engine``, in plain data.
        storage_url: Where runs live.
        out: Folder of the loop: the same again goes on with it.

    Returns:
        Folder of the weights that the loop ends with.
    """
    folder = LoopFolder(Path(out))
    prices = load_prices()
    if not folder.has_plan:
        known = {"rounds", "run", "filter", "train", "engine"}
        if unknown := sorted(settings.keys() - known):
            raise ConfigError(f"unknown setting {unknown[0]!r}; known here: {', '.join(sorted(known))}")
        plan = make_plan(
            Path(model or ""),
            tuple(problems),
            tuple(held_out),
            from_dict(RunConfig, {**settings.get("run", {}), "problem": ""}, "run."),
            rounds=from_dict(RoundsConfig, settings.get("rounds", {}), "rounds."),
            filter=filter_from_dict(settings.get("filter", {})),
            train=from_dict(TrainConfig, settings.get("train", {}), "train."),
            engine=settings.get("engine", "vllm"),
            storage=lasting_storage(storage_url),
        )
        require_all(plan, prices, load_licences())
        folder.create(plan)
    storage = storage_of(folder.plan(), storage_url)
    try:
        await assembled(folder, storage, say=_log.info, prices=prices).execute(works_as_tasks())
    finally:
        storage.close()
    return save_report(folder).weights


async def post_train_run(
    runs: Sequence[str],
    model: str,
    settings: Mapping[str, Any],
    storage_url: str | None,
    out: str,
) -> str:
    """Export runs and train on them inside the current flow run; what ``flows/post_train.py`` deploys.

    Args:
        runs: Ids of the runs to learn from.
        model: Folder of the weights to train on.
        settings: Tables ``filter``, ``train`` and ``sandbox``, in plain data.
        storage_url: Where the runs live.
        out: Folder of both: the same again goes on with it.

    Returns:
        Folder of the new weights.
    """
    single = SingleRound(
        LoopFolder(Path(out)),
        runs,
        read_weights(Path(model)).folder,
        filter_from_dict(settings.get("filter", {})),
        from_dict(TrainConfig, settings.get("train", {}), "train."),
    )
    backend = choose_backend(from_dict(SandboxConfig, settings.get("sandbox", {}), "sandbox."), MODEL).backend
    storage = open_existing(storage_url)
    try:
        exporter, trainer = StoredExporter(storage, backend), ProcessTrainer(say=_log.info)
        return str(await single.execute(exporter, trainer, works_as_tasks()))
    finally:
        storage.close()
