"""A loop from its first run to its report.

What is done already is read from the folder and from storage, at every start: a stage whose record is there is never
done again, and one whose record is not is begun again, by parts that go on from where they were. Runs have ids that the
plan settles, so that one that was started is found again, and none is started twice. How a piece of work is carried out
is a parameter, so that a scheduler can wrap each; nothing here knows of any.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from discovery.errors import WeightsError
from discovery.loop.folder import LoopFolder
from discovery.loop.plan import LoopPlan
from discovery.loop.ports import Choice, Exporter, Job, Place, Runs, Served, Trainer, Training
from discovery.loop.stages import Exported, Measured, Trained
from discovery.loop.verdict import judged
from discovery.plugins import load_problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A piece of work that may be carried out again: what is done of it already is not repeated.

    Args:
        name: For people.
        complete: Does it.
    """

    name: str
    complete: Callable[[], Awaitable[None]]


Perform = Callable[[Work], Awaitable[None]]


async def perform_here(work: Work) -> None:
    """Carry out a piece of work in this process, at once."""
    await work.complete()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a loop is made of.

    Args:
        served: Serves weights.
        runs: Runs on what is served.
        exporter: Makes training data.
        trainer: Makes weights.
    """

    served: Served
    runs: Runs
    exporter: Exporter
    trainer: Trainer


class ClosedLoop:
    """One process's work on a loop.

    Args:
        folder: Where it is kept.
        plan: What it was told.
        parts: What it is made of.
        say: Told in one line what happens.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        folder: LoopFolder,
        plan: LoopPlan,
        parts: Parts,
        *,
        say: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self.plan = plan
        self._parts = parts
        self._say = say
        self._clock = clock
        self._lock: int | None = None

    async def execute(self, perform: Perform = perform_here) -> None:
        """Go on to the end of the loop. What came of it, :func:`discovery.loop.report.make_report` reads of the folder.

        Args:
            perform: Carries out each piece of work.

        Raises:
            UsageError: Another process works on this loop, or what the plan names has changed.
            DiscoveryError: A stage fails; the next process begins with it.
        """
        with self.folder.locked(say=self._say) as self._lock:
            self.plan.check()
            best = await self._measured(0, perform)
            for number in range(1, self.plan.rounds.rounds + 1):
                exported = await self._exported(number, perform)
                if not exported.rows.get("train"):
                    self._say(
                        f"round {number}: nothing is worth training on; revision {number - 1} is the result"
                    )
                    return
                await self._trained(number, perform)
                after = await self._measured(number, perform)
                verdict = judged(best, after, self.plan.held_out)
                self._say(str(verdict))
                if verdict.helps:
                    best = after
                elif not self.plan.rounds.all_rounds:
                    return

    def weights(self, revision: int) -> Path:
        """The folder of a revision's weights.

        Raises:
            WeightsError: It was not trained yet.
        """
        if revision == 0:
            return Path(self.plan.model)
        trained = self.folder.stage(Trained, revision)
        if trained is None:
            raise WeightsError(f"revision {revision} of {self.folder.path} is not trained yet")
        return self.folder.path / trained.weights

    # Measuring

    async def _measured(self, revision: int, perform: Perform) -> Measured:
        found = self.folder.stage(Measured, revision)
        if found is not None:
            return found
        self.plan.check()
        begun, weights = self._clock(), self.weights(revision)
        jobs = self._jobs(revision)
        left = [job for job in jobs if not self._parts.runs.is_finished(job)]
        self._say(
            f"round {revision} of {self.plan.rounds.rounds}: measuring revision {revision} by {len(jobs)} runs"
            f"{f', {len(jobs) - len(left)} of them done' if len(left) < len(jobs) else ''}"
        )
        if left:
            async with self._parts.served.serving(weights) as place:
                await self._run_all(left, len(jobs), place, perform)
        measured = Measured(
            revision=revision,
            weights=str(weights),
            runs=tuple(self._parts.runs.measured(job) for job in jobs),
            seconds=self._clock() - begun,
        )
        _require_one_speaker(measured, self.folder.measured())
        self.folder.done(measured)
        return measured

    def _jobs(self, revision: int) -> list[Job]:
        return [
            Job(
                id=self.plan.run_id(revision, load_problem(name).name, seed),
                problem=name,
                seed=seed,
                revision=revision,
            )
            for name in self.plan.all_problems
            for seed in range(self.plan.rounds.seeds)
        ]

    async def _run_all(self, jobs: list[Job], total: int, place: Place, perform: Perform) -> None:
        """Runs that are not done yet, of so many in all."""
        known_s = self._seconds_per_run()
        begun = self._clock()
        for number, job in enumerate(jobs):
            if number:
                known_s = (self._clock() - begun) / number
            left = (
                ""
                if known_s is None
                else f"; about {_about(known_s * (len(jobs) - number))} left of this stage"
            )
            title = (
                f"revision {job.revision}, run {total - len(jobs) + number + 1} of {total}: {_called(job)}"
            )
            self._say(f"{title}{left}")
            await perform(Work(name=job.id, complete=partial(self._parts.runs.run, job, place, title)))

    def _seconds_per_run(self) -> float | None:
        """How long a run took in the last measurement, the server's start included; None before there is one."""
        measured = self.folder.measured()
        return measured[-1].seconds / len(measured[-1].runs) if measured else None

    # Learning

    async def _exported(self, number: int, perform: Perform) -> Exported:
        async def export() -> None:
            if self.folder.stage(Exported, number) is not None:
                return
            target = self.folder.emptied(number)
            revisions = tuple(
                tuple(job.id for job in self._jobs(revision) if job.problem in self.plan.problems)
                for revision in self.plan.learnt_from(number)
            )
            chosen = replace(self.plan.filter, seed=self.plan.drawn("filter", number))
            choice = Choice(round=number, revisions=revisions, filter=chosen, folder=target)
            exported = await self._parts.exporter.export(choice)
            self.folder.done(replace(exported, folder=self.folder.inside(exported.folder)))

        found = self.folder.stage(Exported, number)
        if found is not None:
            return found
        self._say(
            f"round {number} of {self.plan.rounds.rounds}: scoring the best again, and choosing what to learn from"
        )
        await perform(Work(name=f"export for round {number}", complete=export))
        found = self.folder.stage(Exported, number)
        assert found is not None
        self._say(
            f"round {number}: {found.rows.get('train', 0)} steps of {found.trajectories} trajectories to learn from"
            f"{f'; {len(found.refuted)} refuted' if found.refuted else ''}"
        )
        return found

    async def _trained(self, number: int, perform: Perform) -> Trained:
        async def train() -> None:
            if self.folder.stage(Trained, number) is not None:
                return
            exported = self.folder.stage(Exported, number)
            assert exported is not None
            trained = await self._parts.trainer.train(
                Training(
                    round=number,
                    exports=(self.folder.path / exported.folder,),
                    base=self.weights(0 if self.plan.starts_from_base else number - 1),
                    out=self.folder.revision(number),
                    config=replace(self.plan.train, seed=self.plan.drawn("train", number)),
                    notes=self.folder.round(number),
                    lock=self._lock,
                )
            )
            self.folder.done(replace(trained, weights=self.folder.inside(trained.weights)))

        found = self.folder.stage(Trained, number)
        if found is not None:
            return found
        before = self.folder.stage(Trained, number - 1) if number > 1 else None
        about = "" if before is None else f" (about {_about(before.seconds)}, as the last time)"
        self._say(f"round {number} of {self.plan.rounds.rounds}: training revision {number}{about}")
        await perform(Work(name=f"train revision {number}", complete=train))
        found = self.folder.stage(Trained, number)
        assert found is not None
        return found


def _require_one_speaker(measured: Measured, earlier: list[Measured]) -> None:
    """Refuse a measurement whose completions are not all by one revision, or by that of another measurement.

    Raises:
        WeightsError: They are not by the weights that were measured.
    """
    spoke = _spoke(measured)
    if len(spoke) > 1:
        raise WeightsError(
            f"the runs of revision {measured.revision} hold completions of {' and of '.join(sorted(spoke))}: they were "
            "not by one model, and say nothing of it. Start a new loop, on a server of its own"
        )
    for before in earlier:
        if before.revision != measured.revision and (same := spoke & _spoke(before)):
            raise WeightsError(
                f"the runs of revision {measured.revision} were by {sorted(same)[0]}, as those of revision "
                f"{before.revision}: the new weights were not served. Start a new loop"
            )


def _spoke(measured: Measured) -> set[str]:
    """Who spoke in a measurement, as far as servers told."""
    return {revision for run in measured.runs for revision in run.spoke if revision}


def _called(job: Job) -> str:
    return f"{Path(job.problem).stem if '/' in job.problem else job.problem}, seed {job.seed}"


def _about(seconds: float) -> str:
    """A duration that is only guessed."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
