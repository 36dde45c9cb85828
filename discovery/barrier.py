"""Where chains wait for each other: at the rungs at which the worst of them are pruned.

What is decided there is a fold over committed steps (:mod:`discovery.rungs`); this only waits until they are there. A
rung is never decided without a chain that is still to come: where one stops before it, because the money is spent or
the time is up, those that wait for it stop as well, and a resume takes all of them up where they stand.

Chains that another process runs cannot be heard of; a process that waits for one looks into the storage now and then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

from discovery.config import RunConfig
from discovery.past import Course
from discovery.progress import Progress
from discovery.records import CommittedStep, Direction
from discovery.rungs import Rungs

_LOOK_S = 5.0


def rungs_of(config: RunConfig, direction: Direction, spent: Mapping[int, int]) -> Rungs:
    """The rungs of a run, at the beginning.

    Args:
        config: The run's.
        direction: Which scores are better.
        spent: Chain to its finished evaluations, those of steps that are open included.
    """
    return Rungs(
        config.rungs_at,
        config.adapt.keep,
        direction,
        total=config.planned_evaluations,
        spent=[spent.get(number, 0) for number in range(config.search.chains)],
    )


class Barrier:
    """The rungs of a run, as its chains come to them.

    Args:
        rungs: Decides.
        progress: Told which chains wait and which are pruned.
        held: The chains that this process runs.
        look: The stored committed steps of a chain that another process runs, from the initial one, as they count.
        course: Makes the fold of a chain's committed steps.
        ends: Why nothing more may start, None if it may; asked while such a chain is waited for.
        notice: Told why all waits, where that is a chain of another process; with None that it is over.
        look_s: Seconds between two looks at such chains.
    """

    def __init__(
        self,
        rungs: Rungs,
        progress: Progress,
        *,
        held: Callable[[], Collection[int]],
        look: Callable[[int], Iterable[CommittedStep]],
        course: Callable[[], Course],
        ends: Callable[[], str | None],
        notice: Callable[[str | None], Awaitable[None]],
        look_s: float = _LOOK_S,
    ) -> None:
        self._rungs = rungs
        self._progress = progress
        self._held = held
        self._look = look
        self._course = course
        self._ends = ends
        self._notice = notice
        self._look_s = look_s
        self._stopped: str | None = None
        self._decided = asyncio.Event()
        self._is_waiting_for_others = False

    def share(self, chain: int) -> int:
        """Evaluations that a chain may spend in all, by what is decided so far."""
        return self._rungs.share(chain)

    def observe(self, chain: int, course: Course) -> None:
        """Take in how far a chain has come with its next committed step; live and on replay alike."""
        if self._rungs.observe(chain, course.evaluations, course.best, has_ended=course.has_ended):
            for number, rung in self._rungs.pruned.items():
                where = f"rung {rung} of {len(self._rungs.at)}"
                self._progress.chains[number].end = f"pruned at {where}"
                self._progress.chains[number].pruned_at = rung
            self._wake()

    async def wait(self, chain: int) -> str | None:
        """Wait at the rung to which a chain has come until it is decided.

        Returns:
            Why the chain goes no further, or None where it goes on, if with no more than it had: then there is no
            rung before it.
        """
        note = self._progress.chains[chain]
        try:
            while self._rungs.stands(chain) and self._stopped is None:
                note.waits_at = self._rungs.passed + 1
                decided = self._decided
                try:
                    async with asyncio.timeout(self._look_s):
                        await decided.wait()
                except TimeoutError:
                    await self._wait_for_others()
        finally:
            note.waits_at = None
        if self._rungs.stands(chain):
            return self._stopped
        return note.end if self._rungs.pruned_at(chain) is not None else None

    def leave(self, chain: int, reason: str) -> None:
        """Note that a chain takes no more steps in this process."""
        if chain in self._rungs.missing:
            self._stop(reason)

    def _stop(self, reason: str | None) -> None:
        if self._stopped is None and reason is not None:
            self._stopped = reason
            self._wake()

    def look_at_others(self) -> None:
        """Take in what chains that other processes run have in storage; once the own ones are replayed."""
        for chain in self._others():
            self._take_in(chain, self._looked(chain))

    def _others(self) -> list[int]:
        return [chain for chain in self._rungs.missing if chain not in self._held()]

    def _looked(self, chain: int) -> list[CommittedStep]:
        return list(self._look(chain))

    def _take_in(self, chain: int, steps: Iterable[CommittedStep]) -> None:
        course = self._course()
        for step in steps:
            course.take_in(step)
            self.observe(chain, course)

    async def _wait_for_others(self) -> None:
        others = self._others()
        if others:
            self._stop(self._ends())
            self._is_waiting_for_others = True
            listed = ", ".join(map(str, others))
            await self._notice(
                f"rung {self._rungs.passed + 1} waits for chains that another process runs: {listed}"
            )
        for chain in others:
            self._take_in(chain, await asyncio.to_thread(self._looked, chain))
        if self._is_waiting_for_others and not self._others():
            self._is_waiting_for_others = False
            await self._notice(None)

    def _wake(self) -> None:
        decided, self._decided = self._decided, asyncio.Event()
        decided.set()
