"""One chain: the order of its steps. Plan, commit, replay; what happens inside a step is :mod:`discovery.step`.

Up to ``overlap`` + 1 steps are open at once, so that the slots of a step that waits for its last completion are used by
the next one. Step s is planned from the committed steps up to s - 1 - overlap, *always*: where more happen to be
committed by then, they are held back. Steps are committed in their order, whichever is complete first. So all that a
step depends on is its number, the chain's own history, the run's seed and the generator, never the timing of its
neighbours or of other chains.

A process may end anywhere: :meth:`Chain.replay` folds the committed steps back, holding back what a live chain would,
:meth:`Chain.recall` finds the open ones, and :meth:`Chain.run` takes those up where their records end before it plans
another.

How many evaluations a chain may spend, the run's barrier says: more of them each time that it passes a rung.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from discovery import trail, warm
from discovery.barrier import Barrier
from discovery.briefing import TOO_LONG, Briefing
from discovery.counsel import Counsel
from discovery.errors import cause
from discovery.outcomes import after_disagreements, beginning, best_of
from discovery.parents import ParentViews
from discovery.past import Course, Past
from discovery.ports import Ports
from discovery.records import (
    INITIAL,
    Candidate,
    CandidateKey,
    CommittedStep,
    Evaluation,
    Failure,
    Json,
    Outcome,
    Prompt,
    Step,
    StepState,
)
from discovery.selection.base import metrics_of
from discovery.step import OpenStep, StepRunner
from discovery.storage.base import Lease, StoredStep

OF_ITSELF = ("all steps taken", "its evaluations are spent")
"""Why a chain ends that comes to its end as planned."""


def ended_by(reasons: Mapping[int, str], fates: Collection[int]) -> str | None:
    """Why a run ended, whichever of its chains was the last: what cut one short, else that all was done.

    A chain that was pruned or did not improve says something of itself alone; of several that tell as much the first
    speaks.

    Args:
        reasons: Why each chain took no more steps, by its number.
        fates: Those that ended by a rule of their own while the run went on.

    Returns:
        None where there is no chain.
    """

    def rank(number: int) -> tuple[bool, bool, int]:
        return number in fates, reasons[number] in OF_ITSELF, number

    return reasons[min(reasons, key=rank)] if reasons else None


class Chain:
    """One chain of a run.

    Args:
        ports: What it shares with the others.
        lease: Its right to write.
        barrier: Knows how many evaluations it may spend in all, those of earlier processes included.
        disagreed: Candidates of the run whose verification failed earlier.
    """

    def __init__(
        self,
        ports: Ports,
        lease: Lease,
        barrier: Barrier,
        disagreed: Mapping[CandidateKey, Failure] | None = None,
    ) -> None:
        self.number = lease.chain
        self._ports = ports
        self._lease = lease
        self._barrier = barrier
        self._disagreed: Mapping[CandidateKey, Failure] = disagreed or {}
        self._direction = ports.problem.direction
        self._parents = ParentViews(ports.run, ports.storage)
        elites = ports.prompt.elites + ports.search.parents if ports.prompt.elites else 0
        dealer = ports.arms.dealer(self._direction) if ports.arms is not None else None
        self._past = Past(ports.selector, self._direction, ports.overlap, elites, dealer)
        self._handout = warm.Handout(ports.storage, ports.run)
        self._briefing = Briefing(ports, self.number, self._parents)
        self._counsel = Counsel(ports, lease, self._parents)
        self._initial = INITIAL  # till the replay says otherwise
        self._course = Course(self._direction, ports.overlap, ports.adapt.stops_after)
        self._planned = 0
        # Evaluations of committed steps, and those that the open ones have or are to have.
        self._promised = 0
        # Why a step stays open; nothing after it can be committed.
        self._cut: str | None = None
        self._left_open: deque[OpenStep] = deque()
        self._working: deque[tuple[OpenStep, asyncio.Task[None]]] = deque()

    # Resuming

    def replay(self, initial: Candidate, evaluation: Evaluation) -> None:
        """Fold the initial candidate and all committed steps into this process's state.

        Args:
            initial: The initial candidate that the chain starts from.
            evaluation: Its scored evaluation.
        """
        if evaluation.score is None:
            raise ValueError("the initial candidate has no score")
        self._initial = initial.key
        self._parents.keep(initial, evaluation.score)
        progress = self._ports.progress.chains[self.number]
        progress.best, progress.best_key = evaluation.score.value, initial.key
        self._take_in(beginning(self.number, self._ports.outcome(evaluation, initial)))
        storage, run = self._ports.storage, self._ports.run
        metrics, spending = metrics_of(self._ports.selector), self._ports.asks_spending
        for step in storage.committed_steps(run, self.number, metrics, spending=spending):
            counts = after_disagreements(step, self._disagreed)
            for outcome in counts.outcomes:
                self._ports.count(outcome)
                self._ports.settle(outcome)
            self._counsel.replayed(step.step)
            self._take_in(counts)
        self._promised = self._course.evaluations
        self._planned = self._course.steps

    def recall(self) -> None:
        """Take up the steps that were left open, once all chains of the run are replayed: till then shares may grow.

        What is left of the chain's share is divided among them, the first ones first. What is evaluated is spent. Of
        the rest each gets as much as the budget, which may be smaller now, has room for; one that gets nothing at all
        cannot be committed, nor those after it: they stay open for a larger budget.
        """
        left_open: list[StoredStep] = self._ports.storage.open_steps(self._ports.run, self.number)
        share = self._barrier.share(self.number)
        self._promised += sum(len(stored.evaluations) for stored in left_open)
        is_blocked = False
        for stored in left_open:
            spent = len(stored.evaluations)
            more = max(0, min(self._ports.search.candidates - spent, share - self._promised))
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
        reason = await self._finish(runner)
        self._barrier.leave(self.number, reason)
        return reason

    async def _finish(self, runner: StepRunner) -> str:
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
        is_deep = self._course.steps >= self._ports.search.steps
        return OF_ITSELF[not is_deep]

    async def _open_all(self, group: asyncio.TaskGroup, runner: StepRunner) -> str | None:
        """Open one step after the other; returns why no more, None when the chain's evaluations are all promised."""
        while self._left_open:
            self._start(self._left_open.popleft(), group, runner)
        while True:
            await self._work_off(self._ports.overlap)
            if self._course.ends_before(self._planned + 1):
                await self._work_off(0)
                return self._stalled()
            count = min(self._ports.search.candidates, self._barrier.share(self.number) - self._promised)
            if count <= 0:
                await self._work_off(0)
                reason = await self._barrier.wait(self.number)
                if reason is not None or self._barrier.share(self.number) <= self._promised:
                    return reason
                continue
            step = OpenStep(self._ports, self._lease, self._parents, self._planned + 1, count)
            reason = await step.admit()
            if reason is not None:
                return reason
            with ExitStack() as undo:
                undo.callback(step.settle)
                await self._plan(step)
                undo.pop_all()
            self._start(step, group, runner)

    async def _work_off(self, most: int) -> None:
        """Wait until so many steps are open at most."""
        while len(self._working) > most:
            _, oldest = self._working[0]
            await asyncio.wait([oldest])
            self._working.popleft()

    def _stalled(self) -> str:
        patience = self._ports.adapt.stops_after
        reason = f"no improvement in {patience} step{'' if patience == 1 else 's'}"
        self._ports.progress.chains[self.number].end = reason
        return reason

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
        given = self._handout.of(self._past.leading.leader) if ports.problem.settings.warm_start else None
        brief = await self._briefing.brief(
            number,
            self._past,
            selection.parents,
            self._counsel.insights,
            given,
            initial=self._initial,
            more=lambda count: self._counsel.more(count, seed),
        )
        step = Step(
            chain=self.number,
            step=number,
            state=StepState.PLANNED,
            parents=brief.parents,
            selector=ports.selector.name,
            selection={
                "params": dict(ports.selector.params),
                "values": dict(selection.values),
                trail.NAME: trail.as_json(self._past.trail.keys()),
                **({warm.NAME: str(given.key)} if given is not None else {}),
                **({TOO_LONG: [str(key) for key in brief.too_long]} if brief.too_long else {}),
                **self._dealt(seed),
            },
            best_before=self._past.best,
            planned_at=datetime.now(UTC),
        )
        prompt = Prompt(chain=self.number, step=number, messages=brief.messages, parents=brief.parents)
        await opened.begin(step, prompt)
        if selection.parents[0] in brief.too_long:
            ports.progress.passed_over(number, selection.parents[0], brief.parents[0])
        self._planned = number
        self._promised += opened.count

    def _dealt(self, seed: tuple[int, ...]) -> dict[str, Json]:
        """Who makes each of a step's completions, as it is stored with it: all K, however many there is room for."""
        if self._past.dealer is None:
            return {}
        rng = np.random.default_rng(np.random.SeedSequence((*seed, 2)))
        return self._past.dealer.deal(self._ports.search.candidates, rng).selection

    # Committing

    async def _commit(self, opened: OpenStep) -> None:
        assert opened.number == self._course.steps + 1
        step, outcomes = opened.record, opened.outcomes
        valid = [outcome for outcome in outcomes if outcome.score is not None]
        best = best_of(valid, self._direction)
        shown = await self._showable(opened.number, valid)
        after = self._course.best
        if best is not None and best.score is not None and self._direction.better(best.score, after):
            after = best.score
        committed = CommittedStep(
            chain=self.number,
            step=step.step,
            parents=step.parents,
            outcomes=outcomes,
            committed=shown.key if shown else None,
        )
        await self._ports.journal.append(
            self._lease,
            replace(
                step,
                state=StepState.COMMITTED,
                committed=committed.committed,
                reason=_reason(outcomes, best, shown),
                best_after=after,
                committed_at=datetime.now(UTC),
            ),
        )
        self._take_in(committed)
        self._counsel.reflect()

    async def _showable(self, number: int, valid: Sequence[Outcome]) -> Outcome | None:
        """The best of a step's candidates that a prompt can show as its main parent; the best where none can be."""
        left = list(valid)
        while (best := best_of(left, self._direction)) is not None:
            if await self._briefing.can_show(number, best.key, self._initial):
                return best
            left.remove(best)
        return best_of(valid, self._direction)

    def _take_in(self, step: CommittedStep) -> None:
        """The fold: live steps and replayed ones go through here alike."""
        self._past.take_in(step)
        self._counsel.take_in(step)
        course = self._course
        course.take_in(step)
        progress = self._ports.progress.chains[self.number]
        progress.committed(step.step)
        progress.restarts = self._past.restarts
        if step.step:
            self._barrier.observe(self.number, course)


def _reason(outcomes: Sequence[Outcome], best: Outcome | None, committed: Outcome | None) -> str:
    """Why a step's candidate was committed."""
    if best is None or committed is None:
        return "none was valid"
    count = sum(outcome.score is not None for outcome in outcomes)
    if committed is not best:
        return f"best of {count} valid among {len(outcomes)} that a prompt can show; {best.key} is better and too long"
    return f"best of {count} valid among {len(outcomes)}"
