"""One chain: the order of its steps. Plan, commit, replay; what happens inside a step is :mod:`discovery.step`.

Up to ``overlap`` + 1 steps are open at once, so that the slots of a step that waits for its last completion are used by
the next one. Step s is planned from the committed steps up to s - 1 - overlap, *always*: where more happen to be
committed by then, they are held back. Steps are committed in their order, whichever is complete first. So all that a
step depends on is its number, the chain's own history, the run's seed and the generator, never the timing of its
neighbours or of other chains.

A process may end anywhere: :meth:`Chain.replay` folds the committed steps back, holding back what a live chain would,
and :meth:`Chain.run` takes all open steps up where their records end before it plans another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

from discovery.briefing import Briefing
from discovery.counsel import Counsel
from discovery.errors import cause
from discovery.outcomes import best_of, refuted
from discovery.parents import ParentViews
from discovery.past import Past
from discovery.ports import Ports
from discovery.records import (
    INITIAL,
    Candidate,
    CandidateKey,
    CommittedStep,
    Evaluation,
    Failure,
    Outcome,
    Prompt,
    Step,
    StepState,
)
from discovery.selection.base import metrics_of
from discovery.step import OpenStep, StepRunner
from discovery.storage.base import Lease, StoredStep


class Chain:
    """One chain of a run.

    Args:
        ports: What it shares with the others.
        lease: Its right to write.
        allotment: Evaluations that it may spend in all, those of earlier processes included.
        disagreed: Candidates of the run whose verification failed earlier.
    """

    def __init__(
        self,
        ports: Ports,
        lease: Lease,
        allotment: int,
        disagreed: Mapping[CandidateKey, Failure] | None = None,
    ) -> None:
        self.number = lease.chain
        self._ports = ports
        self._lease = lease
        self._allotment = allotment
        self._disagreed: Mapping[CandidateKey, Failure] = disagreed or {}
        self._direction = ports.problem.direction
        self._parents = ParentViews(ports.run, ports.storage)
        elites = ports.prompt.elites + ports.search.parents if ports.prompt.elites else 0
        self._past = Past(ports.selector, self._direction, ports.overlap, elites)
        self._briefing = Briefing(ports, self.number, self._parents)
        self._counsel = Counsel(ports, lease, self._parents)
        self._best: float | None = None
        self._steps = 0
        self._planned = 0
        # Evaluations of committed steps, and those that the open ones have or are to have.
        self._promised = 0
        # Why a step stays open; nothing after it can be committed.
        self._cut: str | None = None
        self._left_open: deque[OpenStep] = deque()
        self._working: deque[tuple[OpenStep, asyncio.Task[None]]] = deque()

    # Resuming

    def replay(self, initial: Candidate, evaluation: Evaluation) -> None:
        """Fold the initial candidate and all stored steps into this process's state.

        Args:
            initial: The run's initial candidate.
            evaluation: Its scored evaluation.
        """
        if evaluation.score is None:
            raise ValueError("the initial candidate has no score")
        self._parents.keep(initial, evaluation.score)
        progress = self._ports.progress.chains[self.number]
        progress.best, progress.best_key = evaluation.score.value, INITIAL
        self._take_in(
            CommittedStep(
                chain=self.number,
                step=0,
                parents=(),
                outcomes=(self._ports.outcome(evaluation, initial.source_hash),),
                committed=INITIAL,
            )
        )
        storage, run = self._ports.storage, self._ports.run
        for step in storage.committed_steps(run, self.number, metrics_of(self._ports.selector)):
            outcomes = tuple(self._after_disagreement(outcome) for outcome in step.outcomes)
            for outcome in outcomes:
                self._ports.count(outcome)
                self._ports.settle(outcome)
            committed = None if step.committed in self._disagreed else step.committed
            self._promised += len(outcomes)
            self._counsel.replayed(step.step)
            self._take_in(replace(step, outcomes=outcomes, committed=committed))
        self._planned = self._steps
        self._recall(storage.open_steps(run, self.number))

    def _recall(self, left_open: list[StoredStep]) -> None:
        """Divide what is left of the allotment among the steps that were left open, the first ones first.

        What is evaluated is spent. Of the rest each gets as much as the budget, which may be smaller now, has room for;
        one that gets nothing at all cannot be committed, nor those after it: they stay open for a larger budget.
        """
        self._promised += sum(len(stored.evaluations) for stored in left_open)
        is_blocked = False
        for stored in left_open:
            spent = len(stored.evaluations)
            more = max(0, min(self._ports.search.candidates - spent, self._allotment - self._promised))
            number = self._planned = stored.step.step
            self._past.see(number - 1 - self._ports.overlap)
            self._counsel.replayed(number)
            step = OpenStep(self._ports, self._lease, self._parents, number, spent + more)
            step.recall(stored, self._disagreed)
            is_blocked = is_blocked or not step.count
            if not is_blocked:
                self._promised += more
                self._left_open.append(step)

    # Running

    async def run(self, runner: StepRunner) -> str:
        """Finish the steps that an earlier process left open, then take new ones until none may start.

        Args:
            runner: Completes one step; it is called for each, for up to ``overlap`` + 1 at once.

        Returns:
            Why no further step may start; none is open any more, but where the budget ended while the generator was
            gone: what such a step lacks, a resume asks for.

        Raises:
            GeneratorRefused: The generator refuses for good.
            SandboxError: The runner gave a step up.
            UsageError: No sandbox could ever be started.
            StorageError: A record could not be stored; LeaseLost when another process has the chain.
        """
        try:
            self._counsel.resume()
            async with asyncio.TaskGroup() as group:
                reason = await self._open_all(group, runner)
            if self._cut is None:
                await self._counsel.finish()
        except BaseExceptionGroup as errors:
            raise cause(errors) from errors
        finally:
            for step, _ in self._working:
                step.settle()
            self._working.clear()
            await self._counsel.close()
        reason = self._cut or reason
        if reason is not None:
            return reason
        # Not the number of steps: one that a smaller budget cut short is made up for by one more.
        return "all steps taken" if self._steps >= self._ports.search.steps else "its evaluations are spent"

    async def _open_all(self, group: asyncio.TaskGroup, runner: StepRunner) -> str | None:
        """Open one step after the other; returns why no more, None when the chain's evaluations are all promised."""
        while self._left_open:
            self._start(self._left_open.popleft(), group, runner)
        while True:
            while len(self._working) > self._ports.overlap:
                _, oldest = self._working[0]
                await asyncio.wait([oldest])
                self._working.popleft()
            count = min(self._ports.search.candidates, self._allotment - self._promised)
            if count <= 0:
                return None
            step = OpenStep(self._ports, self._lease, self._parents, self._planned + 1, count)
            reason = await step.admit()
            if reason is not None:
                return reason
            with ExitStack() as undo:
                undo.callback(step.settle)
                await self._plan(step)
                undo.pop_all()
            self._start(step, group, runner)

    def _start(self, step: OpenStep, group: asyncio.TaskGroup, runner: StepRunner) -> None:
        before = self._working[-1][1] if self._working else None
        self._working.append((step, group.create_task(self._take(step, runner, before))))

    async def _take(self, step: OpenStep, runner: StepRunner, before: asyncio.Task[None] | None) -> None:
        await runner(step)
        if before is not None:
            await asyncio.wait([before])
        self._cut = self._cut or step.given_up
        if self._cut is None:
            await self._commit(step)

    # Planning

    async def _plan(self, opened: OpenStep) -> None:
        """Choose parents and store it, at once for each step: the next one sees more."""
        ports, number = self._ports, opened.number
        self._past.see(number - 1 - ports.overlap)
        seed = (ports.seed, self.number, number)
        selection = await self._counsel.choose(number, ports.search.parents, seed)
        step = Step(
            chain=self.number,
            step=number,
            state=StepState.PLANNED,
            parents=selection.parents,
            selector=ports.selector.name,
            selection={"params": dict(ports.selector.params), "values": dict(selection.values)},
            best_before=self._past.best,
            planned_at=datetime.now(UTC),
        )
        messages = await self._briefing.messages(
            number, self._past, selection.parents, self._counsel.insights
        )
        prompt = Prompt(chain=self.number, step=number, messages=messages, parents=selection.parents)
        await opened.begin(step, prompt)
        self._planned = number
        self._promised += opened.count

    # Committing

    async def _commit(self, opened: OpenStep) -> None:
        assert opened.number == self._steps + 1
        step, outcomes = opened.record, opened.outcomes
        valid = [outcome for outcome in outcomes if outcome.score is not None]
        best = best_of(valid, self._direction)
        after = self._best
        if best is not None and best.score is not None and self._direction.better(best.score, after):
            after = best.score
        committed = CommittedStep(
            chain=self.number,
            step=step.step,
            parents=step.parents,
            outcomes=outcomes,
            committed=best.key if best else None,
        )
        await self._ports.journal.append(
            self._lease,
            replace(
                step,
                state=StepState.COMMITTED,
                committed=committed.committed,
                reason=f"best of {len(valid)} valid among {len(outcomes)}" if best else "none was valid",
                best_after=after,
                committed_at=datetime.now(UTC),
            ),
        )
        self._take_in(committed)
        self._counsel.reflect()

    def _take_in(self, step: CommittedStep) -> None:
        """The fold: live steps and replayed ones go through here alike."""
        self._past.take_in(step)
        self._counsel.take_in(step)
        for outcome in step.outcomes:
            if outcome.score is not None and self._direction.better(outcome.score, self._best):
                self._best = outcome.score
        self._steps = step.step
        self._ports.progress.chains[self.number].committed(step.step)

    def _after_disagreement(self, outcome: Outcome) -> Outcome:
        failure = self._disagreed.get(outcome.key)
        return outcome if failure is None else refuted(outcome, failure)
