"""What the chains of a run, and the steps of a chain, share: the ports of the run and what it has spent and found."""

from __future__ import annotations

from dataclasses import dataclass, field

from discovery.adviser import Adviser
from discovery.best import BestKeeper
from discovery.budget import Ledger
from discovery.config import AdaptConfig, PromptConfig, SearchConfig
from discovery.evaluator import Evaluator
from discovery.form import form_of
from discovery.generation.arms import Arms
from discovery.generation.base import Generator
from discovery.outcomes import outcome_of
from discovery.pace import GenerationGate, Outage
from discovery.problem import Problem
from discovery.progress import Progress
from discovery.records import Candidate, Evaluation, Outcome
from discovery.selection.base import Selector, metrics_of
from discovery.storage.base import Storage
from discovery.storage.journal import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the chains of a run share.

    Args:
        run: Run id.
        problem: The problem.
        search: Shape of the search.
        overlap: Steps of a chain that may be open beside its oldest open one.
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
        prompt: What prompts show and ask for.
        adviser: Whom chains ask what is no candidate; None where nobody is asked.
        adapt: How the budget moves to where it pays.
        arms: The members of a mixture, and how they are chosen; None where there is one generator.
    """

    run: str
    problem: Problem
    search: SearchConfig
    overlap: int
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
    prompt: PromptConfig = field(default_factory=PromptConfig)
    adviser: Adviser | None = None
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    arms: Arms | None = None

    def form(self, source: str) -> str | None:
        """By what a new candidate is known beside its source; None for nothing, or where the run goes by sources."""
        return None if self.search.duplicates == "source" else form_of(self.problem, source)

    def outcome(self, evaluation: Evaluation, candidate: Candidate | None) -> Outcome:
        """What the run's selector learns of an evaluated candidate, which is None where no program was found."""
        return outcome_of(evaluation, candidate, metrics_of(self.selector))

    @property
    def asks_spending(self) -> bool:
        """Whether outcomes are to tell who made them, and what that took."""
        return self.arms is not None and self.arms.learns

    def count(self, outcome: Outcome) -> None:
        """Tell the tally and the duplicate index of a stored evaluation."""
        self.progress.finished(duplicate=outcome.duplicate_of is not None)
        if outcome.program_hash is not None:
            self.evaluator.remember(outcome.program_hash)

    def settle(self, outcome: Outcome) -> None:
        """Tell the tally of a result that counts."""
        self.progress.settled(outcome.key, outcome.score, outcome.failure)
