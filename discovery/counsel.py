"""One chain's counsel: what is asked of the adviser, when, and what is folded of its answers.

Everything here goes by step numbers. Before step s is planned, the reflections on the steps up to s - 1 - overlap -
:data:`~discovery.reflection.LAG` are waited for and folded, and no other; then a selector that asks a model gets its
answer. So prompts and choices depend neither on which answer came first nor on how slow the adviser is, and a resumed
chain, which folds the stored answers in the same order, plans what an undisturbed one would.

Whether a chain's share of tokens has room for a question is decided by what it knew when the question's step was
planned.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from discovery.adviser import Question
from discovery.generation.base import ParentView
from discovery.generation.insights import Insight, Insights
from discovery.parents import ParentViews
from discovery.ports import Ports
from discovery.ranking import names_nothing, shortlist_question
from discovery.records import AdvicePurpose, Answer, CandidateKey, CommittedStep, Message, Outcome
from discovery.reflection import LAG, insight_of, reflection_question, teaches_nothing
from discovery.selection.base import AdvisedSelector, Selection, Shortlist
from discovery.storage.base import Lease


@dataclass(frozen=True, slots=True)
class _Due:
    """A committed step whose reflection is to be folded once its turn comes."""

    step: CommittedStep
    outcome: Outcome
    is_improvement: bool


class Counsel:
    """A chain's side of the adviser. Does nothing where the run has none.

    Args:
        ports: What the chains share.
        lease: Of its chain.
        parents: The chain's candidates as prompts show them.
    """

    def __init__(self, ports: Ports, lease: Lease, parents: ParentViews) -> None:
        self._ports = ports
        self._lease = lease
        self._parents = parents
        self._adviser = ports.adviser
        self._reflects = self._adviser is not None and self._adviser.reflects
        selector = ports.selector
        self._selector = selector if self._adviser and isinstance(selector, AdvisedSelector) else None
        self._insights = Insights()
        self._best: float | None = None
        self._due: deque[_Due] = deque()
        self._asked: dict[int, asyncio.Task[Answer]] = {}
        # What the chain's questions have cost, as far as it is folded, and as it was when each open step was planned.
        self._spent = 0
        self._spent_at: dict[int, int] = {}
        # Stored answers that are not folded yet; read as the replay goes on.
        self._stored: Iterator[Answer] | None = None
        self._ahead: dict[tuple[int, AdvicePurpose], Answer] = {}
        self._read_to = 0

    @property
    def insights(self) -> tuple[Insight, ...]:
        """What a prompt that is planned now may show."""
        return self._insights.shown

    # Folding

    def take_in(self, step: CommittedStep) -> None:
        """Take in a committed step of the chain, live or replayed, after its candidates were settled."""
        outcome = step.outcome(step.committed) if step.committed is not None else None
        better = self._ports.problem.direction.better
        is_improvement = (
            outcome is not None and outcome.score is not None and better(outcome.score, self._best)
        )
        for each in step.outcomes:
            if each.score is not None and better(each.score, self._best):
                self._best = each.score
        if self._reflects and step.step and outcome is not None:
            self._due.append(_Due(step, outcome, is_improvement))

    def replayed(self, number: int) -> None:
        """Fold what a live chain had folded when it planned a step that is stored; before that step is taken in."""
        if self._adviser is None:
            return
        horizon = self._horizon(number)
        while self._due and self._due[0].step.step <= horizon:
            due = self._due.popleft()
            answer = self._recalled(due.step.step, AdvicePurpose.REFLECT)
            if answer is not None:
                self._fold(due, answer)
        self._note(number)
        for purpose in (AdvicePurpose.RERANK, AdvicePurpose.ELITE):
            answer = self._recalled(number, purpose)
            if answer is not None:
                self._spent += answer.tokens
                if self._selector is not None:
                    self._selector.heed(self._lease.chain, answer.text)

    def resume(self) -> None:
        """Ask again what was not answered yet of the steps that are committed; the fold of stored answers is over."""
        self._stored, self._ahead = None, {}
        for due in self._due:
            self._ask(due)

    def _recalled(self, number: int, purpose: AdvicePurpose) -> Answer | None:
        if self._stored is None:
            self._stored = iter(self._ports.storage.answers(self._ports.run, self._lease.chain))
        while self._read_to <= number:
            answer = next(self._stored, None)
            if answer is None:
                break
            self._read_to = answer.step
            self._ahead[answer.step, answer.purpose] = answer
        return self._ahead.pop((number, purpose), None)

    def _fold(self, due: _Due, answer: Answer) -> None:
        self._spent += answer.tokens
        insight = insight_of(answer.text, due.outcome, is_improvement=due.is_improvement)
        if insight is not None:
            self._insights.add(insight)

    def _note(self, number: int) -> None:
        self._spent_at[number] = self._spent
        # By now that one is committed, and its reflection is asked.
        self._spent_at.pop(self._horizon(number) - 1, None)

    def _horizon(self, number: int) -> int:
        return number - 1 - self._ports.overlap - LAG

    # Asking

    async def choose(self, number: int, count: int, seed: tuple[int, ...]) -> Selection:
        """Choose the parents of a step, with what may be known of the steps before it.

        Args:
            number: The step that is to be planned.
            count: How many are wanted.
            seed: Of the choice.

        Raises:
            StorageError: An answer could not be stored; LeaseLost when another process has the chain.
        """
        if self._adviser is not None:
            await self._catch_up(self._horizon(number))
            self._note(number)
        chain = self._lease.chain

        def rng() -> np.random.Generator:
            return np.random.default_rng(np.random.SeedSequence(seed))

        if self._selector is None or self._adviser is None:
            return self._ports.selector.choose(chain, count, rng())
        shortlist = self._selector.shortlist(chain, count, rng())
        if shortlist is None:
            return self._selector.choose(chain, count, rng())
        question = Question(
            step=number,
            purpose=shortlist.purpose,
            messages=lambda: self._about(shortlist, self._horizon(number)),
            flaw=lambda text: names_nothing(text, len(shortlist.candidates)),
        )
        asked = await self._adviser.ask(self._lease, question, self._spent)
        self._spent += asked.answer.tokens
        selection = self._selector.decide(chain, count, shortlist, asked.text, rng())
        self._selector.heed(chain, asked.text)
        return selection

    def more(self, count: int, seed: tuple[int, ...]) -> tuple[CandidateKey, ...]:
        """Whom the selector chooses if it is asked for so many, without a model; changes nothing.

        Args:
            count: How many are wanted.
            seed: Of the choice.
        """
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        return self._ports.selector.choose(self._lease.chain, count, rng).parents

    def reflect(self) -> None:
        """Have the step that was taken in last reflected on, beside everything else."""
        if self._due and self._due[-1].step.step not in self._asked:
            self._ask(self._due[-1])

    async def finish(self) -> None:
        """Wait for all reflections.

        Raises:
            StorageError: One could not be stored; LeaseLost when another process has the chain.
        """
        if self._asked:
            await asyncio.gather(*self._asked.values())

    async def close(self) -> None:
        """Ask nothing more; what is not answered yet, a later process asks again. May be called twice."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    def _ask(self, due: _Due) -> None:
        self._asked[due.step.step] = asyncio.create_task(self._reflected(due))

    async def _reflected(self, due: _Due) -> Answer:
        assert self._adviser is not None
        number, key = due.step.step, due.outcome.key
        question = Question(
            step=number,
            purpose=AdvicePurpose.REFLECT,
            subject=key,
            messages=lambda: self._on(due),
            flaw=lambda text: teaches_nothing(text, due.outcome),
        )
        asked = await self._adviser.ask(self._lease, question, self._spent_at.get(number, self._spent))
        return asked.answer

    async def _catch_up(self, horizon: int) -> None:
        while self._due and self._due[0].step.step <= horizon:
            due = self._due[0]
            answer = await self._asked[due.step.step]
            self._due.popleft()
            del self._asked[due.step.step]
            self._fold(due, answer)

    # What is asked

    def _on(self, due: _Due) -> tuple[Message, ...]:
        parents = [self._parents.get(key) for key in due.step.parents]
        own, most = self._parents.get(due.outcome.key), self._adviser.room if self._adviser else None
        return reflection_question(self._ports.problem, own, parents, due.step, most=most)

    def _about(self, shortlist: Shortlist, horizon: int) -> tuple[Message, ...]:
        views = [self._parents.get(key) for key in shortlist.candidates]
        insights = {view.key: said for view in views if (said := self._said_of(view, horizon)) is not None}
        most = self._adviser.room if self._adviser else None
        return shortlist_question(self._ports.problem, shortlist, views, insights, most=most)

    def _said_of(self, view: ParentView, horizon: int) -> Insight | None:
        """What was said of a candidate, where a prompt of this step might show it."""
        key: CandidateKey = view.key
        if not self._reflects or not 1 <= key.step <= horizon:
            return None
        asked = self._ports.storage.consultation(self._ports.run, key.chain, key.step, AdvicePurpose.REFLECT)
        if asked is None or asked.subject != key:
            return None
        outcome = Outcome(key=key, program_hash=None, score=view.score)
        return insight_of(asked.text, outcome, is_improvement=False)
