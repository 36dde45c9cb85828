"""One chain, step by step: select, generate K, evaluate each as it arrives, commit the best.

The way of the data through a step, each arrow a record on disk before the next begins::

    selector.choose -> Step(planned) + Prompt -> generator.sample -> Completion
        -> extract -> Candidate -> evaluator.evaluate -> Evaluation -> Step(committed) -> selector.observe

So a process may end anywhere: :meth:`Chain.replay` folds the committed steps back into the selector, and
:meth:`Chain.advance` takes an open step up where its records end.

All that a step depends on is the chain's own history, the run's seed and the generator, never the timing of other
chains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from discovery.best import BestKeeper
from discovery.budget import Ledger
from discovery.config import SearchConfig
from discovery.errors import DiscoveryError, GeneratorRefused, GeneratorUnavailable, StorageError
from discovery.evaluator import Evaluator
from discovery.generation.base import GenerationRequest, Generator
from discovery.generation.extract import extract
from discovery.generation.failures import FailureStatistics
from discovery.generation.prompt import compose
from discovery.pace import GenerationGate, Outage
from discovery.parents import ParentViews
from discovery.problem import Problem
from discovery.progress import Progress
from discovery.records import (
    INITIAL,
    Candidate,
    CandidateKey,
    CommittedStep,
    Completion,
    Evaluation,
    EvaluationState,
    Failure,
    Outcome,
    Prompt,
    Step,
    StepState,
)
from discovery.selection.base import Selector
from discovery.storage.base import Lease, Storage, StoredStep
from discovery.storage.journal import Journal

_FRUITLESS_TRIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the chains of a run share.

    Args:
        run: Run id.
        problem: The problem.
        search: Shape of the search.
        seed: Run seed.
        storage: For reading.
        journal: For writing.
        generator: Makes completions.
        selector: Chooses parents.
        evaluator: Scores candidates.
        ledger: What may be spent.
        gate: Limits completions in flight.
        outage: Where chains wait for a generator that is gone.
        best: Verifies and announces run-bests.
        progress: For whoever watches.
    """

    run: str
    problem: Problem
    search: SearchConfig
    seed: int
    storage: Storage
    journal: Journal
    generator: Generator
    selector: Selector
    evaluator: Evaluator
    ledger: Ledger
    gate: GenerationGate
    outage: Outage
    best: BestKeeper
    progress: Progress


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
        self._failures = FailureStatistics()
        self._parents = ParentViews(ports.run, ports.storage)
        self._best: float | None = None
        self._steps = 0
        self._evaluations = 0
        self._resume_from_storage = True
        self._reserved = 0
        # Of the open step: what the tally and the ledger know already, for a step that is taken up again.
        self._counted: set[int] = set()
        self._settled: set[int] = set()
        self._charged: set[int] = set()

    @property
    def steps(self) -> int:
        """Committed steps."""
        return self._steps

    def replay(self, initial: Candidate, evaluation: Evaluation) -> None:
        """Fold the initial candidate and all stored committed steps into this process's state.

        Args:
            initial: The run's initial candidate.
            evaluation: Its scored evaluation.
        """
        if evaluation.score is None:
            raise ValueError("the initial candidate has no score")
        self._parents.keep(initial, evaluation.score)
        self._observe(
            CommittedStep(
                chain=self.number,
                step=0,
                parents=(),
                outcomes=(_outcome(evaluation, initial.source_hash),),
                committed=INITIAL,
            )
        )
        storage, run = self._ports.storage, self._ports.run
        for step in storage.committed_steps(run, self.number):
            outcomes = tuple(self._after_disagreement(outcome) for outcome in step.outcomes)
            committed = None if step.committed in self._disagreed else step.committed
            self._observe(replace(step, outcomes=outcomes, committed=committed))
            for outcome in outcomes:
                self._count(outcome)
                self._settle(outcome)
        half_done = self._open_step()
        if half_done is not None:
            for index, evaluation in half_done.evaluations.items():
                candidate = half_done.candidates.get(index)
                outcome = self._after_disagreement(
                    _outcome(evaluation, candidate.source_hash if candidate else None)
                )
                self._count(outcome)
                # One in doubt may be so still: the step that is taken up again settles it.
                if evaluation.suspicion is None or evaluation.key in self._disagreed:
                    self._settle(outcome)
                    self._settled.add(index)
            self._counted.update(half_done.evaluations)
            self._charged.update(half_done.completions)

    async def stop_reason(self) -> str | None:
        """Why the chain takes no further step, or None if it does: then its tokens are reserved.

        Waits while only requests in flight stand between the step and the budget.
        """
        search = self._ports.search
        # Not the number of steps: one that a smaller budget cut short is made up for by one more.
        if self._evaluations >= self._allotment:
            return "all steps taken" if self._steps >= search.steps else "its evaluations are spent"
        if self._resume_from_storage and self._open_step() is not None:
            return None
        ahead = self._ahead(search.candidates)
        reason = await self._ports.ledger.admit(ahead)
        if reason is None:
            self._reserved += ahead
        return reason

    async def advance(self) -> None:
        """Take one step, or finish the one that an earlier process or attempt left open.

        Raises:
            GeneratorRefused: The generator refuses for good.
            UsageError: No sandbox could ever be started.
            StorageError: A record could not be stored; LeaseLost when another process has the chain.
        """
        stored: StoredStep | None = None
        if self._resume_from_storage:
            # Records of a failed attempt may still be on their way to the disk; they are waited for.
            await self._ports.journal.append(self._lease)
            stored = self._open_step()
        self._resume_from_storage = True
        try:
            if stored is None:
                stored = await self._plan()
            else:
                self._disagreed = self._ports.storage.disagreements(self._ports.run)
            outcomes = await self._fill(stored)
            await self._commit(stored.step, outcomes)
        finally:
            self.settle()
        self._resume_from_storage = False

    def settle(self) -> None:
        """Take back what is reserved of the budget. May be called twice."""
        self._reserve(0)

    def _reserve(self, tokens: int) -> None:
        ledger, before, self._reserved = self._ports.ledger, self._reserved, tokens
        ledger.reserve(tokens)
        ledger.settle(before)

    def _ahead(self, choices: int) -> int:
        return self._ports.ledger.expected_tokens(choices, self._ports.generator.max_tokens)

    # Selecting

    async def _plan(self) -> StoredStep:
        ports, number = self._ports, self._steps + 1
        rng = np.random.default_rng(np.random.SeedSequence((ports.seed, self.number, number)))
        selection = ports.selector.choose(self.number, ports.search.parents, rng)
        step = Step(
            chain=self.number,
            step=number,
            state=StepState.PLANNED,
            parents=selection.parents,
            selector=ports.selector.name,
            selection={"params": dict(ports.selector.params), "values": dict(selection.values)},
            best_before=self._best,
            planned_at=datetime.now(UTC),
        )
        messages = compose(
            ports.problem,
            parents=[self._parents.get(key) for key in selection.parents],
            best=self._best,
            failures=self._failures,
        )
        prompt = Prompt(chain=self.number, step=number, messages=messages, parents=selection.parents)
        await ports.journal.append(self._lease, step, prompt)
        return StoredStep(step=step, prompt=prompt, completions={}, candidates={}, evaluations={})

    # Generating and evaluating

    async def _fill(self, stored: StoredStep) -> dict[int, Outcome]:
        if stored.prompt is None:
            raise StorageError(f"step {self.number}.{stored.step.step} is stored without its prompt")
        prompt = stored.prompt
        # What is evaluated is spent; of the rest as much as the budget, which may be smaller now, has room for.
        count = max(
            len(stored.evaluations),
            min(self._ports.search.candidates, self._allotment - self._evaluations),
        )
        unjudged = [index for index in stored.completions if index not in stored.evaluations]
        given = [*stored.evaluations, *unjudged][:count]
        every = range(self._ports.search.candidates)
        missing = tuple(index for index in every if index not in stored.completions)[: count - len(given)]
        for index, completion in stored.completions.items():
            if index not in self._charged:
                self._charge(completion)
        outcomes: dict[int, Outcome] = {}

        async def judge(completion: Completion) -> None:
            outcomes[completion.key.index] = await self._judge(completion, stored)

        try:
            async with asyncio.TaskGroup() as group:
                for index in given:
                    group.create_task(judge(stored.completions[index]))
                if missing:
                    await self._generate(prompt, missing, group, judge)
        except BaseExceptionGroup as errors:
            raise _cause(errors) from errors
        return outcomes

    async def _generate(
        self,
        prompt: Prompt,
        missing: tuple[int, ...],
        group: asyncio.TaskGroup,
        judge: Callable[[Completion], Coroutine[None, None, None]],
    ) -> None:
        ports = self._ports
        parents = tuple(self._parents.get(key) for key in prompt.parents)
        seed = _step_seed(ports.seed, prompt.chain, prompt.step)
        left = set(missing)
        fruitless = 0
        while left:
            wanted = tuple(sorted(left))
            request = GenerationRequest(prompt=prompt, parents=parents, indices=wanted, seed=seed)
            outage: GeneratorUnavailable | None = None
            self._reserve(self._ahead(len(left)))
            async with ports.gate.request(len(wanted)) as places:
                try:
                    async with aclosing(ports.generator.sample(request)) as completions:
                        async for completion in completions:
                            await ports.journal.append(self._lease, completion)
                            places.leave()
                            left.discard(completion.key.index)
                            self._charge(completion)
                            self._reserve(self._ahead(len(left)))
                            group.create_task(judge(completion))
                except GeneratorUnavailable as error:
                    outage = error
            fruitless = 0 if len(left) < len(wanted) else fruitless + 1
            if fruitless == _FRUITLESS_TRIES:
                raise GeneratorRefused(
                    f"the generator says that it is ready, but failed {fruitless} times in a row on the prompt "
                    f"of step {prompt.chain}.{prompt.step}; the last time: {outage or 'it yielded nothing'}"
                ) from outage
            if outage is not None:
                await ports.outage.wait(outage, fruitless)

    def _charge(self, completion: Completion) -> None:
        self._charged.add(completion.key.index)
        usage = completion.tokens
        if usage is not None:
            prompt, answer = usage.prompt or 0, usage.completion or 0
            self._ports.ledger.add_tokens(prompt, answer)
            self._ports.progress.prompt_tokens += prompt
            self._ports.progress.completion_tokens += answer

    async def _judge(self, completion: Completion, stored: StoredStep) -> Outcome:
        ports, index = self._ports, completion.key.index
        candidate = stored.candidates.get(index)
        evaluation = stored.evaluations.get(index)
        if evaluation is None:
            if candidate is None:
                extracted = extract(completion, ports.problem)
                if isinstance(extracted, Failure):
                    now = datetime.now(UTC)
                    evaluation = await self._keep(
                        Evaluation(
                            key=completion.key,
                            state=EvaluationState.FAILED,
                            failure=extracted,
                            scorer_version=ports.problem.version,
                            started_at=now,
                            finished_at=now,
                        )
                    )
                else:
                    candidate = Candidate(
                        key=completion.key,
                        source=extracted,
                        parents=stored.step.parents,
                        created_at=datetime.now(UTC),
                    )
                    await ports.journal.append(self._lease, candidate)
            if evaluation is None and candidate is not None:
                evaluation = await ports.evaluator.evaluate(candidate, self._keep)
            assert evaluation is not None
        outcome = _outcome(evaluation, candidate.source_hash if candidate else None)
        if index not in self._counted:
            self._counted.add(index)
            ports.ledger.add_evaluation()
            self._count(outcome)
        outcome = await self._confirmed(candidate, evaluation, outcome)
        if index not in self._settled:
            self._settled.add(index)
            self._settle(outcome)
        return outcome

    async def _keep(self, evaluation: Evaluation) -> Evaluation:
        """Store a finished evaluation, with the reason for doubt where there is one."""
        suspicion = self._ports.best.suspicion(evaluation)
        if suspicion is not None:
            evaluation = replace(evaluation, suspicion=suspicion)
        await self._ports.journal.append(self._lease, evaluation)
        return evaluation

    async def _confirmed(
        self, candidate: Candidate | None, evaluation: Evaluation, outcome: Outcome
    ) -> Outcome:
        """What counts of a stored evaluation, after a second one where it takes one."""
        if candidate is None or evaluation.key in self._disagreed:
            return self._after_disagreement(outcome)
        counts = await self._ports.best.consider(candidate, evaluation, self._lease)
        if counts is not evaluation:
            assert counts.failure is not None
            return _refuted(outcome, counts.failure)
        if evaluation.score is not None:
            self._parents.keep(candidate, evaluation.score)
        return outcome

    # Committing

    async def _commit(self, step: Step, outcomes: Mapping[int, Outcome]) -> None:
        ordered = tuple(outcomes[index] for index in sorted(outcomes))
        valid = [outcome for outcome in ordered if outcome.score is not None]
        best: Outcome | None = None
        for outcome in valid:
            assert outcome.score is not None
            if best is None or self._direction.better(outcome.score, best.score):
                best = outcome
        committed = CommittedStep(
            chain=self.number,
            step=step.step,
            parents=step.parents,
            outcomes=ordered,
            committed=best.key if best else None,
        )
        after = self._best
        if best is not None and best.score is not None and self._direction.better(best.score, after):
            after = best.score
        await self._ports.journal.append(
            self._lease,
            Step(
                chain=step.chain,
                step=step.step,
                state=StepState.COMMITTED,
                parents=step.parents,
                selector=step.selector,
                selection=step.selection,
                committed=committed.committed,
                reason=f"best of {len(valid)} valid among {len(ordered)}" if best else "none was valid",
                best_before=step.best_before,
                best_after=after,
                planned_at=step.planned_at,
                committed_at=datetime.now(UTC),
            ),
        )
        self._observe(committed)
        self._counted.clear()
        self._settled.clear()
        self._charged.clear()

    def _observe(self, step: CommittedStep) -> None:
        """The fold: live steps and replayed ones go through here alike."""
        self._ports.selector.observe(step)
        self._failures.observe(step)
        progress = self._ports.progress.chains[self.number]
        for outcome in step.outcomes:
            if outcome.score is not None and self._direction.better(outcome.score, self._best):
                self._best = outcome.score
                progress.best, progress.best_key = outcome.score, outcome.key
        if step.step > 0:
            self._evaluations += len(step.outcomes)
        self._steps = step.step
        progress.committed(step.step)

    def _count(self, outcome: Outcome) -> None:
        """Tell the tally and the duplicate index of a stored evaluation."""
        self._ports.progress.finished(duplicate=outcome.duplicate_of is not None)
        if outcome.source_hash is not None:
            self._ports.evaluator.remember(outcome.source_hash)

    def _settle(self, outcome: Outcome) -> None:
        """Tell the tally of a result that counts."""
        self._ports.progress.settled(outcome.key, outcome.score, outcome.failure)

    def _after_disagreement(self, outcome: Outcome) -> Outcome:
        failure = self._disagreed.get(outcome.key)
        return outcome if failure is None else _refuted(outcome, failure)

    def _open_step(self) -> StoredStep | None:
        return next(iter(self._ports.storage.open_steps(self._ports.run, self.number)), None)


def _cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group that is one of ours, else just the first."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        inner: list[BaseException] = list(first.exceptions)
        first = next((e for e in inner if isinstance(e, DiscoveryError)), inner[0])
    return first


def _outcome(evaluation: Evaluation, source_hash: str | None) -> Outcome:
    return Outcome(
        key=evaluation.key,
        source_hash=source_hash,
        score=evaluation.score.value if evaluation.score else None,
        failure=evaluation.failure.kind if evaluation.failure else None,
        message=evaluation.failure.message if evaluation.failure else None,
        duplicate_of=evaluation.duplicate_of,
    )


def _refuted(outcome: Outcome, failure: Failure) -> Outcome:
    return Outcome(
        key=outcome.key,
        source_hash=outcome.source_hash,
        score=None,
        failure=failure.kind,
        message=failure.message,
    )


def _step_seed(seed: int, chain: int, step: int) -> int:
    """48 bits, so that adding a choice's index stays within every server's seed range."""
    state = np.random.SeedSequence((seed, chain, step, 1)).generate_state(1, np.uint64)
    return int(state[0]) & ((1 << 48) - 1)
