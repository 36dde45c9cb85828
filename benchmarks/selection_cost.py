"""What choosing parents costs: CPU of one committed step (observe and choose) in a long chain against a short one."""

import time
from statistics import median

import numpy as np

from benchmarks.report import Figure, Report
from discovery.declared import Feature, Objective
from discovery.records import INITIAL, CandidateKey, CommittedStep, Direction, Outcome
from discovery.selection import Selector, make_selector, selector_names
from discovery.selection.base import metrics_of

SHORT, LONG = 1_000, 50_000
SPAN = 100
"""Steps that are timed at once."""
REPEATS = 5
"""Short chains; each gives ``SPANS`` spans."""
SPANS = 4
PARENTS, SIBLINGS = 3, 4
FEATURES = (Feature("size", 0, 1, bins=16), Feature("depth", 0, 1, bins=16))
OBJECTIVES = (Objective("size", "minimize"), Objective("depth"))


def run() -> Report:
    figures, raw = [], {}
    for name in selector_names():
        short_ms, long_ms = measured(name)
        figures += [
            Figure(
                name=f"{name}: a step at {LONG:,} / at {SHORT:,}",
                value=median(late / early for early, late in zip(short_ms, long_ms, strict=True)),
                unit="ratio",
                at_most=1.5,
            ),
            Figure(name=f"{name}: a step at {LONG:,}", value=median(long_ms), unit="ms"),
        ]
        raw[name] = {"short_ms": short_ms, "long_ms": long_ms}
    return Report(
        title=f"Cost of selection (CPU of observe and choose, {PARENTS} parents, K = {SIBLINGS})",
        figures=figures,
        raw=raw,
    )


def measured(name: str) -> tuple[list[float], list[float]]:
    """CPU milliseconds per step around both lengths, one number per span of steps.

    Spans of both alternate, since what else the machine does changes all of them.
    """
    selector = make_selector(name, Direction.MAXIMIZE, features=FEATURES, objectives=OBJECTIVES)
    shorts = [Game(selector, chain) for chain in range(REPEATS)]
    for short in shorts:
        short.play(SHORT - SPANS * SPAN // 2)
    long = Game(selector, REPEATS)
    long.play(LONG - REPEATS * SPANS * SPAN // 2)
    pairs = [(short.play(SPAN), long.play(SPAN)) for short in shorts for _ in range(SPANS)]
    return [early for early, _ in pairs], [late for _, late in pairs]


class Game:
    """One chain whose scores improve with the logarithm of the step, give or take one."""

    def __init__(self, selector: Selector, chain: int) -> None:
        self._selector = selector
        self._chain = chain
        self._rng = np.random.default_rng(chain)
        self._is_told = bool(metrics_of(selector))
        self._number = 0
        selector.observe(self._step((), (self._outcome(INITIAL, 0.0),)))

    def play(self, steps: int) -> float:
        """Take steps; CPU milliseconds of each that the selector took."""
        spent_ns = 0
        for first in range(0, steps, SPAN):
            span = [self._made(self._number + 1 + at) for at in range(min(SPAN, steps - first))]
            start_ns = time.process_time_ns()
            for rng, outcomes in span:
                self._number += 1
                parents = self._selector.choose(self._chain, PARENTS, rng).parents
                self._selector.observe(self._step(parents, outcomes))
            spent_ns += time.process_time_ns() - start_ns
        return spent_ns / steps / 1e6

    def _made(self, number: int) -> tuple[np.random.Generator, tuple[Outcome, ...]]:
        scores = np.log1p(number) + self._rng.normal(size=SIBLINGS)
        outcomes = (
            self._outcome(CandidateKey(self._chain, number, index), score)
            for index, score in enumerate(scores.tolist())
        )
        return np.random.default_rng((self._chain, number)), tuple(outcomes)

    def _outcome(self, key: CandidateKey, score: float) -> Outcome:
        size, depth = self._rng.random(2).tolist()
        metrics = {"size": size, "depth": depth} if self._is_told else {}
        return Outcome(key=key, program_hash=str(key), score=score, metrics=metrics)

    def _step(self, parents: tuple[CandidateKey, ...], outcomes: tuple[Outcome, ...]) -> CommittedStep:
        return CommittedStep(
            chain=self._chain,
            step=self._number,
            parents=parents,
            outcomes=outcomes,
            committed=max(outcomes, key=_score).key,
        )


def _score(outcome: Outcome) -> float:
    assert outcome.score is not None
    return outcome.score
