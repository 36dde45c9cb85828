"""The contract of ``Selector`` as tests, for any implementation.

Needs pytest and hypothesis. Give a fixture ``selector_factory`` that returns a callable: each call makes a new selector
for a direction, always with the same parameters. Then::

    class TestMySelector(SelectorContract):
        pass
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from discovery.records import INITIAL, CandidateKey, CommittedStep, Direction, Outcome, initial_key
from discovery.selection.base import Selection, Selector, metrics_of

SelectorFactory = Callable[[Direction], Selector]
Landscape = Callable[[np.random.Generator], float]

LANDSCAPES: dict[str, Landscape] = {
    "continuous": lambda rng: float(rng.normal()),
    "negative": lambda rng: float(-np.exp(rng.normal())),
    "tied": lambda rng: float(rng.integers(3)),
    "huge": lambda rng: float(rng.choice([-1e308, -1.0, 0.0, 1.0, 1e308])),
    "tiny": lambda rng: 1.0 + float(rng.integers(4)) * 2.0**-52,
}
"""Where a score comes from, by what is awkward about it."""


def committed_step(
    chain: int,
    step: int,
    parents: Sequence[CandidateKey],
    scores: Sequence[float | None],
    direction: Direction = Direction.MAXIMIZE,
    metrics: Sequence[Mapping[str, float]] = (),
    initial: int = 0,
) -> CommittedStep:
    """A finished step with one candidate per score, None for a failed one; the best is committed.

    Step 0 is that of the initial candidate of a number. Metrics are those of its candidates in
    their order, with none for those that are left over and for failures.
    """
    outcomes = []
    committed: CandidateKey | None = None
    best: float | None = None
    for index, score in enumerate(scores):
        key = initial_key(initial) if step == 0 else CandidateKey(chain, step, index)
        told = metrics[index] if score is not None and index < len(metrics) else {}
        outcomes.append(Outcome(key=key, program_hash=f"source of {key}", score=score, metrics=told))
        if score is not None and direction.better(score, best):
            committed, best = key, score
    return CommittedStep(
        chain=chain, step=step, parents=tuple(parents), outcomes=tuple(outcomes), committed=committed
    )


def play(
    selector: Selector,
    landscape: Landscape,
    *,
    seed: int,
    steps: int = 60,
    chain: int = 0,
    direction: Direction = Direction.MAXIMIZE,
) -> Iterator[tuple[Selection | None, CommittedStep]]:
    """Run one chain without a model: parents as chosen, scores from the landscape, failures now and then.

    Args:
        selector: Chooses and observes.
        landscape: Scores as if they were to be maximised; negated for minimisation.
        seed: Of everything drawn.
        steps: Steps after the initial one.
        chain: Chain number.
        direction: The selector's.

    Yields:
        Each step, observed already, with the choice that it began with (None for step 0).
    """
    rng, metrics = np.random.default_rng([seed, chain]), Metrics(selector, seed)
    start = [direction.key(landscape(rng))]
    first = committed_step(chain, 0, (), start, direction, metrics.drawn(1), initial=chain % 2)
    selector.observe(first)
    yield None, first
    for number in range(1, steps + 1):
        selection = selector.choose(chain, int(rng.integers(1, 5)), np.random.default_rng([seed, number]))
        scores = [
            direction.key(landscape(rng)) if rng.random() < 0.6 else None
            for _ in range(int(rng.integers(1, 4)))
        ]
        told = metrics.drawn(len(scores))
        step = committed_step(chain, number, selection.parents, scores, direction, told)
        selector.observe(step)
        yield selection, step


class Metrics:
    """Draws the metrics that a selector asks for, now and then without one.

    Args:
        selector: Who asks.
        seed: Of the draws.
    """

    def __init__(self, selector: Selector, seed: int) -> None:
        self._names = metrics_of(selector)
        self._rng = np.random.default_rng([seed, 1])

    def drawn(self, count: int) -> list[dict[str, float]]:
        """The metrics of some candidates."""
        drawn = (zip(self._names, self._rng.normal(size=len(self._names)), strict=True) for _ in range(count))
        return [{name: float(value) for name, value in each if self._rng.random() < 0.9} for each in drawn]


@pytest.mark.parametrize("landscape", LANDSCAPES.values(), ids=LANDSCAPES.keys())
class SelectorContract:
    """Every promise of the port. See the module docstring for what to provide."""

    def test_a_choice_before_the_initial_candidate_is_refused(
        self, selector_factory: SelectorFactory, landscape: Landscape
    ) -> None:
        """Nothing observed on the chain, or no parent asked for: ``ValueError``."""
        selector = selector_factory(Direction.MAXIMIZE)
        with pytest.raises(ValueError):
            selector.choose(0, 1, np.random.default_rng(0))
        list(play(selector, landscape, seed=0, steps=3))
        with pytest.raises(ValueError):
            selector.choose(1, 1, np.random.default_rng(0))
        with pytest.raises(ValueError):
            selector.choose(0, 0, np.random.default_rng(0))

    def test_the_first_parent_is_the_initial_candidate(
        self, selector_factory: SelectorFactory, landscape: Landscape
    ) -> None:
        """Whatever is asked for, there is only one yet."""
        selector = selector_factory(Direction.MAXIMIZE)
        list(play(selector, landscape, seed=1, steps=0))
        assert selector.choose(0, 4, np.random.default_rng(0)).parents == (INITIAL,)

    @pytest.mark.parametrize("direction", Direction)
    def test_parents_are_distinct_scored_candidates_of_the_chain(
        self, selector_factory: SelectorFactory, landscape: Landscape, direction: Direction
    ) -> None:
        """And at most as many as were asked for, in both directions."""
        selector = selector_factory(direction)
        scored: set[CandidateKey] = set()
        for selection, step in play(selector, landscape, seed=2, direction=direction):
            if selection is not None:
                assert 1 <= len(selection.parents) <= 4
                assert len(set(selection.parents)) == len(selection.parents)
                assert set(selection.parents) <= scored
            scored |= {outcome.key for outcome in step.outcomes if outcome.score is not None}

    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        seed=st.integers(0, 10**6),
        lag=st.integers(0, 3),
        failing=st.sampled_from([0.0, 0.5, 0.95, 1.0]),
        copying=st.sampled_from([0.0, 0.3]),
        counts=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 4)), min_size=1, max_size=25),
    )
    def test_any_history_has_parents_that_exist_and_its_replay_the_same(
        self,
        selector_factory: SelectorFactory,
        landscape: Landscape,
        seed: int,
        lag: int,
        failing: float,
        copying: float,
        counts: list[tuple[int, int]],
    ) -> None:
        """However much fails or is a copy, and however late it is told: no chain is left without a parent."""
        live = selector_factory(Direction.MINIMIZE)
        rng, metrics = np.random.default_rng(seed), Metrics(live, seed)
        made: list[list[CommittedStep]] = [[], []]
        shown: list[set[CandidateKey]] = [set(), set()]
        first = committed_step(0, 0, (), [landscape(rng)], Direction.MINIMIZE, metrics.drawn(1))
        known = [first.outcomes[0]]
        for number in range(len(counts) + 1):
            for chain in range(2):
                step = replace(first, chain=chain)
                if number:
                    count, siblings = counts[number - 1]
                    chosen = live.choose(chain, count, np.random.default_rng([seed, number, chain])).parents
                    assert 1 <= len(chosen) <= count
                    assert len(set(chosen)) == len(chosen)
                    assert set(chosen) <= shown[chain]
                    scores = [None if rng.random() < failing else landscape(rng) for _ in range(siblings)]
                    told = metrics.drawn(siblings)
                    step = committed_step(chain, number, chosen, scores, Direction.MINIMIZE, told)
                    copies = [rng.random() < copying for _ in step.outcomes]
                    outcomes = [
                        _copied(outcome, known[int(rng.integers(len(known)))], rng) if copied else outcome
                        for outcome, copied in zip(step.outcomes, copies, strict=True)
                    ]
                    step = replace(step, outcomes=tuple(outcomes))
                    known += outcomes
                made[chain].append(step)
                due = number - lag if number else 0
                if due > 0 or not number:
                    live.observe(made[chain][due])
                    shown[chain] |= {o.key for o in made[chain][due].outcomes if o.score is not None}
        replayed = selector_factory(Direction.MINIMIZE)
        for chain in range(2):
            for step in made[chain][: max(1, len(made[chain]) - lag)]:
                replayed.observe(step)
            for asked in (1, 4):
                one, other = (
                    each.choose(chain, asked, np.random.default_rng(seed)) for each in (live, replayed)
                )
                assert one == other

    def test_values_and_parameters_are_small_finite_json(
        self, selector_factory: SelectorFactory, landscape: Landscape
    ) -> None:
        """They are stored with every step."""
        selector = selector_factory(Direction.MAXIMIZE)
        assert json.loads(json.dumps(dict(selector.params), allow_nan=False)) == dict(selector.params)
        for selection, _ in play(selector, landscape, seed=3):
            if selection is not None:
                assert len(json.dumps(dict(selection.values), allow_nan=False)) < 2000

    def test_a_replayed_selector_chooses_like_the_live_one(
        self, selector_factory: SelectorFactory, landscape: Landscape
    ) -> None:
        """State is a fold over committed steps."""
        live = selector_factory(Direction.MAXIMIZE)
        steps = []
        for number, (_, step) in enumerate(play(live, landscape, seed=4)):
            steps.append(step)
            if number % 7 == 0:
                replayed = selector_factory(Direction.MAXIMIZE)
                for earlier in steps:
                    replayed.observe(earlier)
                for count in (1, 3, 8):
                    assert _chosen(replayed, count) == _chosen(live, count)

    def test_choosing_changes_nothing(self, selector_factory: SelectorFactory, landscape: Landscape) -> None:
        """State comes through ``observe`` only."""
        asked = selector_factory(Direction.MAXIMIZE)
        quiet = selector_factory(Direction.MAXIMIZE)
        for _, step in play(asked, landscape, seed=5):
            quiet.observe(step)
            for count in (2, 1, 5):
                asked.choose(0, count, np.random.default_rng(count))
        assert [_chosen(asked, n) for n in (1, 2, 3, 9)] == [_chosen(quiet, n) for n in (1, 2, 3, 9)]

    def test_chains_do_not_touch_each_other(
        self, selector_factory: SelectorFactory, landscape: Landscape
    ) -> None:
        """What is observed on one chain changes no choice on another."""
        both = selector_factory(Direction.MAXIMIZE)
        alone = selector_factory(Direction.MAXIMIZE)
        games = [play(both, landscape, seed=6, chain=0), play(both, landscape, seed=7, chain=1)]
        for first, _ in zip(*games, strict=True):
            alone.observe(first[1])
            assert _chosen(alone, 3) == _chosen(both, 3)

    def test_minimising_mirrors_maximising(
        self, selector_factory: SelectorFactory, landscape: Landscape
    ) -> None:
        """Scores are compared through the direction only."""
        up = play(selector_factory(Direction.MAXIMIZE), landscape, seed=8)
        low = Direction.MINIMIZE
        down = play(selector_factory(low), landscape, seed=8, direction=low)
        for (a, _), (b, _) in zip(up, down, strict=True):
            assert (a and a.parents) == (b and b.parents)


def _copied(outcome: Outcome, known: Outcome, rng: np.random.Generator) -> Outcome:
    """A candidate with the program, or the solution, of one before."""
    if rng.random() < 0.5:
        return replace(outcome, program_hash=known.program_hash)
    return replace(outcome, solution=known.solution or f"solution of {known.program_hash}")


def _chosen(selector: Selector, count: int) -> Selection:
    return selector.choose(0, count, np.random.default_rng(99))
