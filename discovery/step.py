"""One open step: generate, extract, evaluate, until each of its candidates has an outcome.

The way of the data through it, each arrow a record on disk before the next begins::

    Step(planned) + Prompt -> generator.sample -> Completion -> extract -> Candidate -> evaluator.evaluate -> Evaluation

A step knows neither how its parents were chosen nor when it is committed. Several steps of a chain may be open at
once, and each keeps account of its own: what the tally and the ledger know of it, and what it has reserved. So an
attempt that fails disturbs no other step; it leaves records, and the next attempt, of this process or of a later one,
takes the step up where they end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from discovery.budget import NO_TOKENS, Tokens
from discovery.errors import GeneratorRefused, GeneratorUnavailable, StorageError, cause
from discovery.generation.base import GenerationRequest
from discovery.generation.extract import extract
from discovery.outcomes import makers, refuted
from discovery.parents import ParentViews
from discovery.ports import Ports
from discovery.records import (
    Candidate,
    CandidateKey,
    Completion,
    Evaluation,
    EvaluationState,
    Failure,
    Outcome,
    Prompt,
    Step,
    TokenUsage,
)
from discovery.storage.base import Lease, StoredStep
from discovery.trail import stored_trail
from discovery.warm import stored_warm_start

_FRUITLESS_TRIES = 8


class OpenStep:
    """A step of a chain that is planned and not yet committed.

    Args:
        ports: What the chains share.
        lease: Of its chain.
        parents: The chain's candidates as prompts show them.
        number: Step number, from 1.
        count: How many outcomes it is to have: K, or fewer where the budget has no room for more.
    """

    def __init__(self, ports: Ports, lease: Lease, parents: ParentViews, number: int, count: int) -> None:
        self.chain = lease.chain
        self.number = number
        self.count = count
        self.given_up: str | None = None
        """Why it stays open: the budget ended while the generator was gone. None where that did not happen."""
        self._ports = ports
        self._lease = lease
        self._parents = parents
        self._record: Step | None = None
        self._outcomes: Mapping[int, Outcome] | None = None
        self._fresh: StoredStep | None = (
            None  # as it was planned here; None when records are to be read first
        )
        self._disagreed: Mapping[CandidateKey, Failure] = {}
        # What the tally and the ledger know already, for when it is taken up again.
        self._counted: set[int] = set()
        self._settled: set[int] = set()
        self._charged: set[int] = set()
        self._reserved = NO_TOKENS

    @property
    def is_complete(self) -> bool:
        """Whether all of its outcomes are there."""
        return self._outcomes is not None

    @property
    def record(self) -> Step:
        """Its record as it was planned.

        Raises:
            ValueError: It was neither planned nor taken up.
        """
        if self._record is None:
            raise ValueError(f"step {self.chain}.{self.number} is not planned")
        return self._record

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Its outcomes in order of their index.

        Raises:
            ValueError: It is not complete.
        """
        if self._outcomes is None:
            raise ValueError(f"step {self.chain}.{self.number} is not complete; await its complete() first")
        return tuple(self._outcomes[index] for index in sorted(self._outcomes))

    async def admit(self) -> str | None:
        """Reserve what it is expected to spend, or say why it may not be opened.

        Waits while only requests in flight stand between the step and the budget.
        """
        # Its prompt is not made yet; it will hold the statement and a program.
        problem = self._ports.problem
        characters = len(problem.statement) + max(map(len, problem.initials))
        arms = self._ports.arms
        requests = 1 if arms is None else min(self.count, len(arms.arms))
        while True:
            ahead = self._ahead(self.count, characters, requests)
            reason = await self._ports.ledger.admit(ahead)
            if reason is None:
                self._reserved += ahead
                return None
            # Requests that it waited for may have shown that less is needed.
            if self._ahead(self.count, characters, requests) == ahead:
                return reason

    async def begin(self, step: Step, prompt: Prompt) -> None:
        """Store how it was planned.

        Raises:
            StorageError: It could not be stored; LeaseLost when another process has the chain.
        """
        await self._ports.journal.append(self._lease, step, prompt)
        self._record = step
        self._fresh = StoredStep(step=step, prompt=prompt, completions={}, candidates={}, evaluations={})

    def recall(self, stored: StoredStep, disagreed: Mapping[CandidateKey, Failure]) -> None:
        """Tell the tally what an earlier process has stored of it; nothing of that is kept.

        Args:
            stored: All that is stored of it.
            disagreed: Candidates of the run whose second scoring disagreed.
        """
        self._disagreed = disagreed
        for index, evaluation in stored.evaluations.items():
            candidate = stored.candidates.get(index)
            outcome = self._after_disagreement(self._ports.outcome(evaluation, candidate))
            self._ports.count(outcome)
            # One in doubt may be so still: it is settled when the step is taken up.
            if evaluation.suspicion is None or evaluation.key in disagreed:
                self._ports.settle(outcome)
                self._settled.add(index)
        self._counted.update(stored.evaluations)
        self._charged.update(stored.completions)

    async def complete(self) -> None:
        """Generate and evaluate what is missing. After a failure it may be called again.

        Where the budget ends while the generator is gone, what has come is evaluated, and the step stays open.

        Raises:
            GeneratorRefused: The generator refuses for good.
            SandboxError: Infrastructure failed; worth another call.
            UsageError: No sandbox could ever be started.
            StorageError: A record could not be stored; LeaseLost when another process has the chain.
        """
        if self._outcomes is not None:
            return
        stored, self._fresh = self._fresh, None
        self.given_up = None
        try:
            if stored is None:
                stored = await self._taken_up()
            outcomes = await self._fill(stored)
            self._outcomes = outcomes if self.given_up is None else None
        finally:
            self.settle()

    def settle(self) -> None:
        """Take back what is reserved of the budget. May be called twice."""
        self._reserve(NO_TOKENS)

    async def _taken_up(self) -> StoredStep:
        ports = self._ports
        # Records of a failed attempt may still be on their way to the disk; they are waited for.
        await ports.journal.append(self._lease)
        stored = ports.storage.step(ports.run, self.chain, self.number)
        if stored is None:
            raise StorageError(f"step {self.chain}.{self.number} of run {ports.run} is not stored any more")
        self._disagreed = ports.storage.disagreements(ports.run)
        self._record = stored.step
        return stored

    def _reserve(self, tokens: Tokens) -> None:
        ledger, before, self._reserved = self._ports.ledger, self._reserved, tokens
        ledger.reserve(tokens)
        ledger.settle(before)

    def _ahead(self, choices: int, characters: int, requests: int) -> Tokens:
        ledger, limit = self._ports.ledger, self._ports.generator.max_tokens
        return ledger.expected_tokens(choices, limit, characters, requests)

    # Generating

    async def _fill(self, stored: StoredStep) -> dict[int, Outcome]:
        if stored.prompt is None:
            raise StorageError(f"step {self.chain}.{self.number} is stored without its prompt")
        prompt = stored.prompt
        unjudged = [index for index in stored.completions if index not in stored.evaluations]
        given = [*stored.evaluations, *unjudged][: self.count]
        every = range(self._ports.search.candidates)
        missing = tuple(index for index in every if index not in stored.completions)
        missing = missing[: self.count - len(given)]
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
            raise cause(errors) from errors
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
        trail = tuple(self._parents.get(key) for key in stored_trail(self.record.selection))
        seed = _step_seed(ports.seed, prompt.chain, prompt.step)
        members = makers(self.record.selection)
        left = set(missing)
        fruitless = 0
        while left:
            wanted = tuple(sorted(left))
            request = GenerationRequest(
                prompt=prompt, parents=parents, indices=wanted, seed=seed, trail=trail, members=members
            )
            outage: GeneratorUnavailable | None = None
            characters = sum(len(message.content) for message in prompt.messages)
            untold = {members.get(index) for index in wanted}  # whose prompt is not counted yet
            self._reserve(self._ahead(len(left), characters, len(untold)))
            async with ports.gate.request(len(wanted)) as places:
                try:
                    async with aclosing(ports.generator.sample(request)) as completions:
                        async for completion in completions:
                            await ports.journal.append(self._lease, completion)
                            places.leave()
                            left.discard(completion.key.index)
                            self._charge(completion)
                            if _tells_prompt(completion):
                                untold.discard(members.get(completion.key.index))
                            self._reserve(self._ahead(len(left), characters, len(untold)))
                            group.create_task(judge(completion))
                except GeneratorUnavailable as error:
                    outage = error
            # One that has too much to do lives, and is waited for however long that lasts.
            if len(left) < len(wanted) or (outage is not None and outage.is_overload):
                fruitless = 0
            else:
                fruitless += 1
            if fruitless == _FRUITLESS_TRIES:
                raise GeneratorRefused(
                    f"the generator says that it is ready, but failed {fruitless} times in a row on the prompt "
                    f"of step {prompt.chain}.{prompt.step}; the last time: {outage or 'it yielded nothing'}"
                ) from outage
            if outage is not None and not await ports.outage.wait(outage, fruitless):
                self.given_up = ports.ledger.stop_reason(in_flight=False) or str(outage)
                return

    def _charge(self, completion: Completion) -> None:
        self._charged.add(completion.key.index)
        usage = completion.tokens or TokenUsage()
        prompt, answer = usage.prompt or 0, usage.completion or 0
        if completion.tokens is not None:
            self._ports.ledger.add_tokens(
                usage.prompt,
                answer,
                usage.cached or 0,
                is_forced=completion.forced is not None,
                model=completion.model.model,
            )
        self._ports.progress.completed(prompt, answer)

    # Evaluating

    async def _judge(self, completion: Completion, stored: StoredStep) -> Outcome:
        index = completion.key.index
        candidate, evaluation = stored.candidates.get(index), stored.evaluations.get(index)
        if evaluation is None and candidate is None:
            is_part = self._ports.prompt.edits == "diff" or self._ports.problem.files
            main = self._parents.get(stored.step.parents[0]).source if is_part else None
            extracted = extract(completion, self._ports.problem, main=main)
            if isinstance(extracted, Failure):
                evaluation = await self._keep(self._failed(completion.key, extracted))
            else:
                candidate = Candidate(
                    key=completion.key,
                    source=extracted,
                    parents=stored.step.parents,
                    created_at=datetime.now(UTC),
                    warm_start=stored_warm_start(stored.step.selection),
                    form=self._ports.form(extracted),
                )
                await self._ports.journal.append(self._lease, candidate)
        if evaluation is None:
            assert candidate is not None
            evaluation = await self._ports.evaluator.evaluate(candidate, self._keep)
        outcome = self._ports.outcome(evaluation, candidate)
        if self._ports.asks_spending:
            made_by = makers(stored.step.selection).get(index)
            tokens = completion.tokens.completion if completion.tokens else None
            outcome = replace(outcome, generator=made_by, tokens=tokens)
        if index not in self._counted:
            self._counted.add(index)
            self._ports.ledger.add_evaluation()
            self._ports.count(outcome)
        outcome = await self._confirmed(candidate, evaluation, outcome)
        if index not in self._settled:
            self._settled.add(index)
            self._ports.settle(outcome)
        return outcome

    def _failed(self, key: CandidateKey, failure: Failure) -> Evaluation:
        """Of a completion without a program."""
        now = datetime.now(UTC)
        return Evaluation(
            key=key,
            state=EvaluationState.FAILED,
            failure=failure,
            scorer_version=self._ports.problem.version,
            started_at=now,
            finished_at=now,
        )

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
            return refuted(outcome, counts.failure)
        if evaluation.score is not None:
            self._parents.keep(candidate, evaluation.score)
        return outcome

    def _after_disagreement(self, outcome: Outcome) -> Outcome:
        failure = self._disagreed.get(outcome.key)
        return outcome if failure is None else refuted(outcome, failure)


StepRunner = Callable[[OpenStep], Awaitable[None]]
"""Completes an open step; whoever schedules steps wraps :meth:`OpenStep.complete` in one."""


def _tells_prompt(completion: Completion) -> bool:
    """Whether the tokens of its request's prompt, and of no other, are counted with it."""
    return (
        completion.forced is None and completion.tokens is not None and completion.tokens.prompt is not None
    )


def _step_seed(seed: int, chain: int, step: int) -> int:
    """48 bits, so that adding a choice's index stays within every server's seed range."""
    state = np.random.SeedSequence((seed, chain, step, 1)).generate_state(1, np.uint64)
    return int(state[0]) & ((1 << 48) - 1)
