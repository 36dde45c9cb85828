"""A run as a Prefect flow: one flow run per run, one flow task per step.

The core needs no scheduler. What Prefect adds is its interface (every step with its chain, its time and its
retries) and flows that can be scheduled and deployed. Steps are tasks because a task costs milliseconds and a
candidate is too small for one; nothing is kept in Prefect's results, since storage is where a run lives.

Prefect's server is a bystander: when it goes away in mid-run the steps go on without it.
"""

from __future__ import annotations

import logging
from typing import Any

import httpx
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException

from discovery.config import RunConfig, from_dict
from discovery.errors import DiscoveryError, SandboxError
from discovery.launch import overridden, reopened, started
from discovery.orchestration.bystander import Inside
from discovery.run import Run
from discovery.sandbox.choice import choose_backend
from discovery.step import OpenStep, StepRunner
from discovery.storage import open_storage
from discovery.summary import RunSummary, summarize

STEP_RETRIES = 2
STEP_RETRY_DELAYS_S = [1.0, 5.0]

_log = logging.getLogger(__name__)


async def execute_as_flow(run: Run) -> RunSummary:
    """Execute an assembled run as a Prefect flow run that is named after it.

    Args:
        run: Ready to execute.

    Returns:
        The run's summary.

    Raises:
        DiscoveryError: As for ``Run.execute``.
    """
    inside = Inside("run", lambda: run.execute(steps_as_tasks()))

    @flow(
        name="discover",
        flow_run_name=run.record.id,
        description=f"{run.record.problem}: C x L x K search by {run.config.generator.kind}",
        validate_parameters=False,
        persist_result=False,
    )
    async def discover(problem: str, run_id: str) -> None:
        await inside.work()

    return await inside.carried_by(lambda: discover(run.record.problem, run.record.id), alone=run.execute)


async def discover_run(config: dict[str, Any], storage_url: str | None, run: str | None) -> str:
    """Start or resume a run inside the current flow run; what ``flows/discover.py`` deploys.

    Args:
        config: As ``RunConfig``, in plain data; ignored on resume.
        storage_url: Where runs live.
        run: Id of a run to resume, or None to start one.

    Returns:
        The run's id.
    """
    storage = open_storage(storage_url)
    try:
        if run is not None:
            record = storage.get_run(run)
            settings = overridden(record)
            backend = choose_backend(settings.sandbox, settings.generator.kind).backend
            launching = reopened(record, settings, storage, backend)
        else:
            settings = from_dict(RunConfig, config)
            backend = choose_backend(settings.sandbox, settings.generator.kind).backend
            launching = started(settings, storage, backend)
        async with launching as assembled:
            await assembled.execute(steps_as_tasks())
            return summarize(storage, assembled.record.id).run
    finally:
        storage.close()


def steps_as_tasks() -> StepRunner:
    """A step runner for ``Run.execute`` that makes each step a flow task of the current flow run."""
    opened: dict[tuple[int, int], OpenStep] = {}

    @task(
        name="step",
        task_run_name="chain {chain} step {step}",
        retries=STEP_RETRIES,
        retry_delay_seconds=STEP_RETRY_DELAYS_S,
        retry_condition_fn=_worth_retrying,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    async def step(chain: int, step: int) -> None:
        await opened[chain, step].complete()

    async def run_step(taken: OpenStep) -> None:
        place = taken.chain, taken.number
        opened[place] = taken
        try:
            await step(*place)
        except DiscoveryError:
            raise
        except (PrefectException, httpx.HTTPError, OSError) as error:
            _log.warning("Prefect failed around a step, which goes on without it: %s", error)
            await taken.complete()
        finally:
            del opened[place]

    return run_step


async def _worth_retrying(_task: Any, _run: Any, state: Any) -> bool:
    """Only infrastructure is worth another try; refusals and lost leases are not."""
    try:
        await state.aresult()
    except SandboxError:
        return True
    except DiscoveryError:
        return False
    except PrefectException:
        return True
    return False
