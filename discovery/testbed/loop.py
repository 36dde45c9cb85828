"""The loop without processes: chains, steps and candidates as in a run, in microseconds each.

What a selector sees is what it would see in a run: the same records, folded by the same
:class:`~discovery.past.Past`, held back by the same lag, with draws from the same seeds. There is no model, no
sandbox and no storage; candidates are solutions of a landscape, written as programs for their hashes' sake.

Steps are taken in rounds, step s of each chain before step s + 1 of any. Seconds are counted as if every completion
of a step were made at once, with a step opened as soon as the lag allows: no slots are waited for
(``discovery plan`` does that).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from discovery.config import in_range
from discovery.outcomes import best_of, numbers
from discovery.past import Past
from discovery.records import INITIAL, CandidateKey, CommittedStep, FailureKind, Outcome, text_hash
from discovery.selection.base import Selector, metrics_of
from discovery.testbed.base import Landscape
from discovery.testbed.found import Found
from discovery.testbed.generator import Ability, Proposal, SimulatedGenerator, drawing
from discovery.testbed.spaces import Solution

Watch = Callable[[CommittedStep], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the budget of C x L x K evaluations is divided.

    Args:
        chains: C, 1 to 10,000.
        steps: L, 1 to 1,000,000.
        candidates: K, 1 to 1,024.
        parents: How many solutions a step shows, 1 to 32.
        overlap: How many steps of a chain may be open beside its oldest open one, 0 to 8.
    """

    chains: int = 4
    steps: int = 100
    candidates: int = 4
    parents: int = 3
    overlap: int = 0

    def __post_init__(self) -> None:
        in_range("chains", self.chains, 1, 10_000)
        in_range("steps", self.steps, 1, 1_000_000)
        in_range("candidates", self.candidates, 1, 1024)
        in_range("parents", self.parents, 1, 32)
        in_range("overlap", self.overlap, 0, 8)

    @property
    def evaluations(self) -> int:
        """The budget."""
        return self.chains * self.steps * self.candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """What came out.

    Args:
        regrets: After each evaluation, in their order, what was missing to the optimum; they never grow.
        handed_out: Regret of what one would hand out at the end: of the solution with the best *observed* score.
            Without noise it is the last of ``regrets``, and so it is where a front is looked for.
        score: The best observed score.
        failures: How many candidates failed.
        duplicates: How many equalled one before them, whose result they took over.
        tokens: What all completions cost.
        seconds: How long they would have taken.
    """

    regrets: tuple[float, ...]
    handed_out: float
    score: float
    failures: int
    duplicates: int
    tokens: float
    seconds: float


def play(
    landscape: Landscape,
    selector: Selector,
    *,
    shape: Shape,
    ability: Ability,
    seed: int,
    watch: Watch | None = None,
) -> Game:
    """Spend a budget on a landscape.

    Args:
        landscape: What is searched.
        selector: One for the landscape's direction that has observed nothing.
        shape: The budget's.
        ability: The generator's.
        seed: Of all draws.
        watch: Is told of each committed step, step 0 of each chain too.
    """
    ledger = _Ledger(landscape, seed, metrics_of(selector))
    generator = SimulatedGenerator(landscape, ability, seed)
    chains = [_Chain(number, landscape, selector, shape, ledger, watch) for number in range(shape.chains)]
    for step in range(1, shape.steps + 1):
        for chain in chains:
            chain.take(step, generator, seed)
    handed_out = ledger.found.regret
    if landscape.noise and not landscape.objectives:
        handed_out = max(0.0, landscape.best - landscape.worth(ledger.claimed))
    return Game(
        regrets=tuple(ledger.regrets),
        handed_out=handed_out,
        score=ledger.score,
        failures=ledger.failures,
        duplicates=ledger.duplicates,
        tokens=ledger.tokens,
        seconds=max(chain.committed_s for chain in chains),
    )


@dataclass(slots=True)
class _Ledger:
    """What all chains of a game share: what was scored, found and spent."""

    landscape: Landscape
    seed: int
    metrics: tuple[str, ...]
    found: Found = field(init=False)
    initial: Outcome = field(init=False)
    score: float = field(init=False)
    claimed: Solution = field(init=False)
    regrets: list[float] = field(default_factory=list)
    failures: int = 0
    duplicates: int = 0
    tokens: float = 0.0
    _scored: dict[str, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.found = Found(self.landscape)
        self.claimed = self.landscape.initial
        self.initial = self.scored(INITIAL, self.claimed)
        assert self.initial.score is not None
        self.score = self.initial.score

    def scored(self, key: CandidateKey, solution: Solution) -> Outcome:
        """The outcome of a solution; of an equal one, where there is no noise, as in a run."""
        landscape = self.landscape
        source_hash = text_hash(landscape.space.text(solution))
        first = self._scored.get(source_hash)
        if first is not None:
            self.duplicates += 1
            return Outcome(
                key=key,
                program_hash=source_hash,
                score=first.score,
                duplicate_of=first.key,
                metrics=first.metrics,
            )
        worth = landscape.worth(solution)
        self.found.add(solution, worth)
        if landscape.noise:
            worth += drawing("noise", self.seed, key).gauss(0.0, landscape.noise)
        outcome = Outcome(
            key=key,
            program_hash=source_hash,
            score=landscape.direction.key(worth),
            metrics=numbers(landscape.metrics(solution), self.metrics) if self.metrics else {},
        )
        if not landscape.noise:
            self._scored[source_hash] = outcome
        return outcome

    def spent(self, outcome: Outcome, solution: Solution | None, tokens: float) -> None:
        """Count an evaluation."""
        self.tokens += tokens
        self.failures += outcome.score is None
        if outcome.score is not None and self.landscape.direction.better(outcome.score, self.score):
            assert solution is not None
            self.score, self.claimed = outcome.score, solution
        self.regrets.append(self.found.regret)


class _Chain:
    """One chain: what :class:`discovery.chain.Chain` does, with nothing to wait for."""

    def __init__(
        self,
        number: int,
        landscape: Landscape,
        selector: Selector,
        shape: Shape,
        ledger: _Ledger,
        watch: Watch | None,
    ) -> None:
        self._number = number
        self._selector = selector
        self._shape = shape
        self._ledger = ledger
        self._watch = watch
        self._direction = landscape.direction
        self._past = Past(selector, landscape.direction, shape.overlap)
        self._solutions: dict[CandidateKey, Solution] = {INITIAL: landscape.initial}
        # When each of the latest steps was committed, the newest last; they may be opened from the oldest on.
        self._committed_s = [0.0] * (shape.overlap + 1)
        self._take_in(0, (), (ledger.initial,))

    @property
    def committed_s(self) -> float:
        """When the last step was committed."""
        return self._committed_s[-1]

    def take(self, step: int, generator: SimulatedGenerator, seed: int) -> None:
        """Plan, make, score and commit one step."""
        self._past.see(step - 1 - self._shape.overlap)
        rng = np.random.default_rng(np.random.SeedSequence((seed, self._number, step)))
        parents = self._selector.choose(self._number, self._shape.parents, rng).parents
        shown = [self._solutions[key] for key in parents]
        outcomes, slowest_s = [], 0.0
        for index in range(self._shape.candidates):
            key = CandidateKey(self._number, step, index)
            proposal = generator.propose(key, shown)
            slowest_s = max(slowest_s, proposal.latency_s)
            if proposal.solution is None:
                outcome = _failed(key, proposal)
            else:
                self._solutions[key] = proposal.solution
                outcome = self._ledger.scored(key, proposal.solution)
            self._ledger.spent(outcome, proposal.solution, proposal.tokens)
            outcomes.append(outcome)
        opened_s = self._committed_s.pop(0)
        self._committed_s.append(max(self.committed_s if self._committed_s else 0.0, opened_s + slowest_s))
        self._take_in(step, parents, tuple(outcomes))

    def _take_in(self, step: int, parents: tuple[CandidateKey, ...], outcomes: tuple[Outcome, ...]) -> None:
        best = best_of(outcomes, self._direction)
        committed = CommittedStep(
            chain=self._number,
            step=step,
            parents=parents,
            outcomes=outcomes,
            committed=best.key if best else None,
        )
        self._past.take_in(committed)
        if self._watch is not None:
            self._watch(committed)


def _failed(key: CandidateKey, proposal: Proposal) -> Outcome:
    """What failed has a program of its own, but where there is none."""
    has_program = proposal.failure is not FailureKind.NO_PROGRAM
    return Outcome(
        key=key,
        program_hash=text_hash(f"failed {key}") if has_program else None,
        score=None,
        failure=proposal.failure,
        message=proposal.message,
    )
