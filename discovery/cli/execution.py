"""Executing a run that a command has made or reopened: to its end, or until Ctrl-C, and what is said of it then."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

from rich.markup import escape

from discovery.cli.app import INTERRUPTED, again, err, notice, out, print_json, program
from discovery.cli.report import Results, as_json, report, save_results
from discovery.cli.watch import watching
from discovery.errors import MissingComponent, UsageError
from discovery.plots import best_known
from discovery.run import Run
from discovery.storage.base import Storage
from discovery.summary import RunSummary, summarize

_LOOK_S = 0.02
Scheduler = Literal["auto", "prefect", "local"]


def execute(
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
