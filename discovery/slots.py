"""Evaluation slots: pairs of a scorer's worker and a sandbox, made, lent, recycled, replaced and waited for.

A pair is used by one evaluation at a time. It goes back to the pool unless something about it is odd: an error
left it, the sandbox is suspicious, or it has served long enough. Then it is ended, and the next evaluation that
needs one makes a new one; a pair that is idle is always taken before one is made.

A sandbox that cannot be started, after several tries, is nobody's fault and mostly passes (a full disk, no
descriptors left, a daemon that restarts), so the pool can wait for it, holding the place of the evaluation that
needs it; evaluations that have a pair go on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress

from discovery import data
from discovery.declared import Limits
from discovery.errors import SandboxError, SandboxUnavailable, ScoringError, UsageError, boundary
from discovery.progress import BusyMeter
from discovery.sandbox.base import (
    CommandRun,
    FunctionCall,
    Sandbox,
    SandboxBackend,
    SandboxResult,
    SandboxSpec,
)
from discovery.scoring.client import ScorerHost, ScorerWorker

_START_TRIES = 4
_FIRST_PAUSE_S = 0.1
_PROBE = FunctionCall(
    source="def probe():\n    return 1\n", function="probe", arguments=data.encode([[], {}]), limits=Limits()
)

Wait = Callable[[SandboxUnavailable, int], Awaitable[object]]
"""Returns when sandboxes start again; told why they do not, and how often in a row."""


class Slot:
    """A pair of a scorer's worker and a sandbox, for one evaluation at a time. Made by :class:`SlotPool`."""

    def __init__(self, pool: SlotPool, sandbox: Sandbox, worker: ScorerWorker) -> None:
        self._pool = pool
        self.sandbox = sandbox
        self.worker = worker
        self.used = 0
        self.spoiled: str | None = None
        self.worker_spoiled: str | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether sandbox and worker are new, and nobody will have them afterwards."""
        return not self.used

    async def run(self, request: FunctionCall | CommandRun) -> SandboxResult:
        """Run a request in the slot's sandbox, which is replaced first if the last one left it suspicious.

        Args:
            request: A call or a command.

        Raises:
            SandboxError: The sandbox failed, or no new one can be started; the slot must be left with it.
        """
        if self.sandbox.suspicion is not None:
            await self._pool._replace_sandbox(self)
        with boundary("running a request in a sandbox", SandboxError):
            return await self.sandbox.run(request)

    def spoil(self, reason: str) -> None:
        """Note that neither sandbox nor worker may be used again."""
        self.spoiled = self.spoiled or reason

    def spoil_worker(self, reason: str) -> None:
        """Note that the worker may not be used again: it was left in the middle of its work, or is odd."""
        self.worker_spoiled = self.worker_spoiled or reason


class SlotPool:
    """A fixed number of slots.

    Args:
        host: Forks the scorer's workers; started and closed by the caller.
        backend: Makes the sandboxes; None for a pool that lends workers only.
        spec: What the sandboxes are to hold.
        slots: How many evaluations run at once.
        recycle_after: Evaluations after which a pair is ended.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        host: ScorerHost,
        backend: SandboxBackend | None,
        spec: SandboxSpec,
        *,
        slots: int,
        recycle_after: int = 1000,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.meter = BusyMeter(slots)
        self.made = 0
        self.wait: Wait | None = None
        """Waits while no sandbox starts; None lets the error out."""
        self._host = host
        self._backend = backend
        self._spec = spec
        self._recycle_after = recycle_after
        self._sleep = sleep
        self._places = asyncio.Semaphore(slots)
        self._idle: list[Slot] = []
        self._live: set[Slot] = set()
        self._unavailable: SandboxUnavailable | None = None

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Lend a slot; whatever error leaves the block ends it.

        Raises:
            SandboxUnavailable: No sandbox can be started, and there is nobody who waits for it.
            UsageError: None ever could be.
        """
        async with self._place():
            slot = await self._made(used=True)
            slot.used += 1
            async with self._ended_unless_kept(slot) as keep:
                yield slot
                keep()
            await self._take_back(slot)

    @asynccontextmanager
    async def fresh_slot(self, *, proven: bool = False) -> AsyncIterator[Slot]:
        """Lend a slot whose sandbox and worker are new, and end both afterwards.

        It counts as one of the slots while it is lent; pairs that are idle stay.

        Args:
            proven: Whether an honest program must just have run in the sandbox, so that what ends it next is not
                the sandbox's fault.

        Raises:
            SandboxUnavailable: As for :meth:`slot`.
            UsageError: As for :meth:`slot`.
        """
        async with self._place():
            slot = await self._made(proven=proven)
            try:
                yield slot
            finally:
                await self._end_shielded(slot)

    @asynccontextmanager
    async def fresh_worker(self) -> AsyncIterator[ScorerWorker]:
        """Lend a worker that has scored nothing, and end it afterwards.

        Raises:
            SandboxError: None can be started; nobody can be blamed for that, a candidate least of all.
        """
        worker = await self._fork()
        try:
            yield worker
        finally:
            worker.kill()

    async def starts(self) -> bool:
        """Whether a sandbox starts now and runs an honest program; if so, it is kept for who needs it next."""
        try:
            slot = await self._pair(proven=True)
        except SandboxError:
            return False
        self._unavailable = None
        if len(self._idle) < self.meter.slots:
            self._idle.append(slot)
        else:  # who waits wants a fresh one
            await asyncio.shield(self._end(slot))
        return True

    async def pause(self, error: SandboxUnavailable, tries: int) -> None:
        """Wait until a sandbox starts and works again, where somebody waits; to be called without a slot.

        Args:
            error: Why one that had started could not go on.
            tries: How often in a row.
        """
        if self.wait is not None:
            await self.wait(error, tries)
        else:
            await self._sleep(_FIRST_PAUSE_S * 2 ** min(tries, 5))

    async def close(self) -> None:
        """End all slots. May be called twice."""
        for slot in list(self._live):
            await self._end(slot)

    def cleanup(self) -> None:
        """Like ``close``, without an event loop, for ``atexit``."""
        for slot in list(self._live):
            slot.sandbox.cleanup()
            slot.worker.kill()
        self._live.clear()
        self._idle.clear()

    # Lending

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        with self.meter.queueing():
            await self._places.acquire()
        self.meter.change(1)
        try:
            yield
        finally:
            self.meter.change(-1)
            self._places.release()

    async def _take_back(self, slot: Slot) -> None:
        if slot.used >= self._recycle_after:
            slot.spoil(f"used {slot.used} times")
        async with self._ended_unless_kept(slot) as keep:
            if slot.spoiled is None and slot.sandbox.suspicion is None:
                if slot.worker_spoiled is not None:
                    await self._replace_worker(slot)
                if slot.spoiled is None and slot in self._live:
                    self._idle.append(slot)
                    keep()

    # Making and ending

    async def _made(self, *, used: bool = False, proven: bool = False) -> Slot:
        """A new pair, waited for if need be; or an idle one, where a used one is good enough."""
        tries = 0
        while True:
            if used and (slot := await self._idle_pair()) is not None:
                return slot
            try:
                if self._unavailable is None or self.wait is None:
                    return await self._tried(proven)
                error = self._unavailable
            except SandboxUnavailable as found:
                if self.wait is None:
                    raise
                error = self._unavailable = found
                tries += 1
            self.meter.change(-1)
            try:
                await self.wait(error, tries)
            finally:
                self.meter.change(1)

    async def _idle_pair(self) -> Slot | None:
        """A pair that waits to be used; what was killed meanwhile is nobody's fault, and replaced before use."""
        while self._idle:
            slot = self._idle.pop()
            async with self._ended_unless_kept(slot) as keep:
                if slot.sandbox.suspicion is None and not slot.worker.is_alive:
                    await self._replace_worker(slot)
                if slot.sandbox.suspicion is None and slot.spoiled is None:
                    keep()
                    return slot
        return None

    @asynccontextmanager
    async def _ended_unless_kept(self, slot: Slot) -> AsyncIterator[Callable[[], object]]:
        """End a pair when the block is left, however that is, unless what this gives was called."""
        async with AsyncExitStack() as otherwise:
            otherwise.push_async_callback(self._end_shielded, slot)
            yield otherwise.pop_all

    async def _tried(self, proven: bool) -> Slot:
        pause = _FIRST_PAUSE_S
        for _ in range(_START_TRIES - 1):
            try:
                return await self._pair(proven)
            except SandboxError:
                await self._sleep(pause)
                pause *= 2
        try:
            return await self._pair(proven)
        except SandboxError as error:
            raise SandboxUnavailable(f"no sandbox can be started ({_START_TRIES} tries): {error}") from error

    async def _pair(self, proven: bool) -> Slot:
        worker = await self._fork()
        with ExitStack() as undo:
            undo.callback(worker.kill)
            sandbox = await self._sandbox()
            if proven:
                await _prove(sandbox)
            undo.pop_all()
        slot = Slot(self, sandbox, worker)
        self._live.add(slot)
        return slot

    async def _sandbox(self) -> Sandbox:
        if self._backend is None:
            raise UsageError("this evaluator has no sandbox; it scores data only")
        with boundary("making a sandbox", SandboxError):
            sandbox = self._backend.create(self._spec)
        with ExitStack() as undo:
            undo.callback(sandbox.cleanup)
            with boundary("starting a sandbox", SandboxError):
                await sandbox.start()
            undo.pop_all()
        self.made += 1
        return sandbox

    async def _fork(self) -> ScorerWorker:
        with boundary("starting a scorer's process", SandboxError):
            try:
                return await self._host.fork()
            except ScoringError as error:
                raise SandboxError(f"no scorer's process can be started: {error}") from error

    async def _replace_sandbox(self, slot: Slot) -> None:
        await _close(slot.sandbox)
        try:
            slot.sandbox = await self._sandbox()
        except SandboxError as error:
            # That a new one does not start is not the program's fault.
            raise SandboxUnavailable(
                f"no sandbox can be started in place of one that was odd: {error}"
            ) from error

    async def _replace_worker(self, slot: Slot) -> None:
        slot.worker.kill()
        try:
            slot.worker = await self._fork()
        except (SandboxError, UsageError) as error:
            slot.spoil(str(error))
        slot.worker_spoiled = None

    async def _end_shielded(self, slot: Slot) -> None:
        await asyncio.shield(self._end(slot))

    async def _end(self, slot: Slot) -> None:
        self._live.discard(slot)
        slot.worker.kill()
        await _close(slot.sandbox)


async def _prove(sandbox: Sandbox) -> None:
    """Run an honest program in a new sandbox, which is ended if that does not work."""
    async with AsyncExitStack() as undo:
        undo.push_async_callback(_close, sandbox)
        result = await sandbox.run(_PROBE)
        if result.data is None:
            raise SandboxError(f"a program that only returns 1 failed in a new sandbox: {result.failure}")
        undo.pop_all()


async def _close(sandbox: Sandbox) -> None:
    # What cannot be ended now is swept later.
    with suppress(SandboxError), boundary("ending a sandbox", SandboxError):
        await sandbox.close()
