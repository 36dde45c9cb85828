"""A process's hold on a run: its leases, and what is stored of how the run stands.

Whoever supervises a run holds the lease of the run as a whole and those of its chains, and renews them with every
heartbeat. A heartbeat that storage refuses for the moment is made up for by the next one: until the leases have run
out nobody else can have them, and afterwards storage refuses what this process writes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar

from discovery.errors import LeaseLost, RunBusy, StorageError
from discovery.owner import describe_owner, is_dead, this_owner
from discovery.progress import Progress
from discovery.records import SHARED_CHAIN, Json, RunStatus
from discovery.storage.base import Lease, RunRecord, Storage

LEASE_TTL_S = 30.0
_HEARTBEAT_S = 5.0

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Supervision:
    """The hold of this process on one run.

    Args:
        record: The run, stored before :meth:`begin`.
        storage: Where it lives.
        progress: Told what the run waits for; knows how long it has run.
        facts: What else to store with every status.
    """

    def __init__(
        self,
        record: RunRecord,
        storage: Storage,
        progress: Progress,
        facts: Callable[[], Mapping[str, Json]],
    ) -> None:
        self.leases: dict[int, Lease] = {}
        self._record = record
        self._storage = storage
        self._progress = progress
        self._facts = facts
        # A heartbeat's thread outlives its cancelled task; it must not write over the last status.
        self._status_guard = threading.Lock()
        self._has_left = False
        # A notice is announced once it is stored, and the heartbeat stores none that is older.
        self._notice_order = asyncio.Lock()
        self._gone: dict[str, str] = {}
        # Its thread is there from the start: none may be to be had when there is something to tell.
        self._desk = ThreadPoolExecutor(max_workers=1, thread_name_prefix="supervision")

    @property
    def shared(self) -> Lease:
        """The lease of the run as a whole; held since :meth:`begin`."""
        return self.leases[SHARED_CHAIN]

    def begin(self, chains: int, config: Mapping[str, Json]) -> None:
        """Take the leases and store that the run goes on.

        Args:
            chains: C, of which some may be held by others.
            config: The configuration that it goes on with.

        Raises:
            RunBusy: Another live process holds the run.
            StorageError: It could not be stored.
        """
        run = self._record.id
        owner = self._storage.holder(run)
        dead = [owner] if owner is not None and is_dead(owner) else []
        got = self._storage.acquire(run, [SHARED_CHAIN, *range(chains)], this_owner(), LEASE_TTL_S, dead=dead)
        self.leases = {lease.chain: lease for lease in got}
        if SHARED_CHAIN not in self.leases:
            self._storage.release(got)
            self.leases = {}
            holder = self._storage.holder(run)
            who = describe_owner(holder) if holder else "another process"
            raise RunBusy(
                f"run {run} is being run by {who}; watch it with `discovery show {run}`, or end that process first"
            )
        self._desk.submit(lambda: None)
        self._store(RunStatus.RUNNING, None, config=config)

    def leave(self, status: RunStatus, message: str | None) -> None:
        """Store the last status as far as that can be, and let go of the leases. May be called without a begin."""
        self._desk.shutdown(wait=False)
        if SHARED_CHAIN in self.leases:
            with suppress(StorageError):
                self._store(status, message, leaves=True)
            with suppress(StorageError):
                self._storage.release(list(self.leases.values()))

    def lost(self, chain: int) -> None:
        """Note that another process has a chain now."""
        self.leases.pop(chain, None)

    async def keep(self, chains: Mapping[int, asyncio.Task[None]]) -> None:
        """Renew the leases until this is cancelled; cancels the tasks of chains that are lost.

        Args:
            chains: Chain number to its task; may grow meanwhile.

        Raises:
            LeaseLost: Another process has taken the run over.
        """
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            try:
                held = await self._apart(self._storage.renew, list(self.leases.values()), LEASE_TTL_S)
            except LeaseLost:
                raise
            except StorageError as error:
                _log.warning("the leases of run %s are not renewed yet: %s", self._record.id, error)
                continue
            numbers = {lease.chain for lease in held}
            if SHARED_CHAIN not in numbers:
                raise LeaseLost(f"run {self._record.id} was taken over by another process")
            for number, task in chains.items():
                if number not in numbers and not task.done():
                    task.cancel("lease lost")
            async with self._notice_order:
                await self._store_notice(self._progress.notice)

    async def notice(self, what: str, reason: str | None) -> None:
        """Tell that something is gone, and why, or with None that it is back; other things may be gone meanwhile.

        Args:
            what: A word for it: ``generator``, ``sandbox``.
            reason: In one line.

        Raises:
            LeaseLost: Another process has taken the run over.
        """
        async with self._notice_order:
            if reason is None:
                self._gone.pop(what, None)
            else:
                self._gone[what] = f"{what}: {reason}"
            gone = "; ".join(self._gone.values())
            notice = f"{gone}; goes on by itself when that is over" if gone else None
            await self._store_notice(notice)
            self._progress.notice = notice

    async def _store_notice(self, reason: str | None) -> None:
        """Store how the run stands; where that cannot be done now, a later heartbeat does."""
        status = RunStatus.RUNNING if reason is None else RunStatus.PAUSED
        try:
            await self._apart(self._store, status, reason)
        except LeaseLost:
            raise
        except StorageError as error:
            _log.warning("the status %s of run %s is not stored yet: %s", status, self._record.id, error)

    async def _apart(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._desk, call, *arguments)

    def _store(
        self,
        status: RunStatus,
        message: str | None,
        *,
        config: Mapping[str, Json] | None = None,
        leaves: bool = False,
    ) -> None:
        with self._status_guard:
            if self._has_left:
                return
            self._has_left = leaves
            self._storage.update_run(
                self.shared,
                status=status,
                message=message,
                wall_s=self._record.wall_s + self._progress.elapsed_s,
                facts=self._facts(),
                config=config,
                finished_at=datetime.now(UTC) if status is RunStatus.FINISHED else None,
            )
