"""Prefect as a bystander: what a flow run is about goes on when Prefect fails around it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import httpx
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker
from prefect.exceptions import PrefectException

from discovery.errors import DiscoveryError
from discovery.orchestration.health import HOST

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Inside(Generic[T]):
    """What a flow run is about, which needs nothing of Prefect: it goes on when Prefect fails around it.

    Args:
        name: What it is, in a word.
        body: What the flow run does.
    """

    def __init__(self, name: str, body: Callable[[], Awaitable[T]]) -> None:
        self._name = name
        self._body = body
        self._begun = False
        self._done: list[T] = []
        self._failure: DiscoveryError | None = None

    async def work(self) -> None:
        """Do it; to be called in the flow."""
        self._begun = True
        _stop_on_sigterm()
        # Prefect has set its loggers up by now; this one would tell of each event that a dead server misses.
        logging.getLogger("prefect.events.clients").setLevel(logging.ERROR)
        try:
            self._done.append(await self._body())
        except DiscoveryError as error:
            self._failure = error
            raise

    async def carried_by(
        self, call: Callable[[], Awaitable[None]], *, alone: Callable[[], Awaitable[T]]
    ) -> T:
        """Run the flow; what came of the work.

        Args:
            call: Calls the flow.
            alone: The work without Prefect, where that failed before it began.

        Raises:
            DiscoveryError: As the work raised it.
        """
        _quiet()
        try:
            await call()
        except (PrefectException, httpx.HTTPError, OSError) as error:
            if self._failure is not None:
                raise self._failure from error
            if self._begun and not self._done:
                raise
            _log.warning("Prefect failed around the %s, which needs nothing of it: %s", self._name, error)
        return self._done[0] if self._done else await alone()


def _quiet() -> None:
    # Errors and interruptions reach the caller, who says them once; Prefect's interface still gets its own log.
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).propagate = False
    if urlsplit(os.environ.get("PREFECT_API_URL", "")).hostname == HOST:
        # What a dead server does not hear is dropped: with Prefect's patience each event would cost a minute.
        EventsWorker.set_client_override(PrefectEventsClient, reconnection_attempts=0)


def _stop_on_sigterm() -> None:
    """Cancel the current task on SIGTERM, as outside of a flow; Prefect's handler would cut it off anywhere."""
    task = asyncio.current_task()
    if task is not None and threading.current_thread() is threading.main_thread():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
