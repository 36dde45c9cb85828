"""Group commit in front of ``Storage.append``, for an event loop.

Many chains write small records at the same time, and each waits until its own are on disk. One thread takes
all that queued up while it was writing and writes it in one transaction. There is no delay to gather more: a
lone write goes at once, and under load the batches grow by themselves.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from discovery.errors import LeaseLost, StorageError, boundary
from discovery.records import Record
from discovery.storage.base import Lease, Storage, Write

MAX_BATCH = 256
"""Writes in one transaction at most, so that the first of them does not wait for long."""

_WATCH_S = 1.0


@dataclass(frozen=True, slots=True)
class _Pending:
    """One write, and who waits for it."""

    write: Write
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


class Journal:
    """Writes records of several chains in few transactions.

    Belongs to one storage; use it from one event loop or from several. The thread starts with the first
    write.

    Args:
        storage: Where to write.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._queue: queue.SimpleQueue[_Pending | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()
        self._accepted = 0
        self._written = 0
        self._closed = False

    @property
    def waiting(self) -> int:
        """Writes that are not on disk yet."""
        return self._accepted - self._written

    async def append(self, lease: Lease, *records: Record) -> None:
        """Write records of one chain together; returns when they are on disk.

        They are written even when the caller is cancelled while waiting.

        Args:
            lease: Of their chain.
            records: In order.

        Raises:
            LeaseLost: Another process holds the chain now; none of the records was written.
            StorageFull: No room; nothing of the transaction was written.
            StorageError: The transaction failed, or the journal is closed; nothing of it was written.
        """
        loop = asyncio.get_running_loop()
        pending = _Pending(Write(lease=lease, records=records), loop.create_future(), loop)
        with self._guard:
            if self._closed:
                raise StorageError("the journal is closed; records come before its close()")
            if self._thread is None:
                # Not a daemon: an interpreter that exits lets it finish what is queued.
                self._thread = threading.Thread(target=self._run, name="discovery-journal")
                self._thread.start()
            self._accepted += 1
            self._queue.put(pending)
        await pending.done

    async def close(self) -> None:
        """Write all that is queued, then end the thread. May be called twice."""
        with self._guard:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        thread = self._thread
        if thread is not None and thread.is_alive():
            await asyncio.to_thread(thread.join)

    def _run(self) -> None:
        ends = False
        while not ends:
            batch: list[_Pending] = []
            try:
                item = self._queue.get(timeout=_WATCH_S)
                while item is not None:
                    batch.append(item)
                    if len(batch) >= MAX_BATCH:
                        break
                    item = self._queue.get_nowait()
                else:
                    ends = True
            except queue.Empty:
                # Without a close() the exit of the interpreter would wait for this thread for ever.
                ends = not batch and not threading.main_thread().is_alive()
            if batch:
                self._write(batch)

    def _write(self, batch: Sequence[_Pending]) -> None:
        failure: StorageError | None = None
        refused: set[int] = set()
        try:
            with boundary("writing to storage", StorageError):
                refused = set(map(id, self._storage.append([pending.write for pending in batch])))
        except StorageError as error:
            failure = error
        self._written += len(batch)
        by_loop: dict[asyncio.AbstractEventLoop, list[_Pending]] = {}
        for pending in batch:
            by_loop.setdefault(pending.loop, []).append(pending)
        for loop, waiting in by_loop.items():
            if not loop.is_closed():
                loop.call_soon_threadsafe(_settle, waiting, refused, failure)


def _settle(waiting: Sequence[_Pending], refused: set[int], failure: StorageError | None) -> None:
    for pending in waiting:
        if pending.done.done():
            continue
        if failure is not None:
            # Each waiter raises its own: one exception object would gather the tracebacks of all.
            own = type(failure)(*failure.args)
            own.__cause__ = failure
            pending.done.set_exception(own)
        elif id(pending.write) in refused:
            lease = pending.write.lease
            pending.done.set_exception(
                LeaseLost(f"chain {lease.chain} of run {lease.run} is held by another process now")
            )
        else:
            pending.done.set_result(None)
