"""A chain's history: each program once, and each result where equal solutions are known."""

from dataclasses import replace

import numpy as np
import pytest

from discovery.records import INITIAL, CandidateKey, CommittedStep, Direction, Outcome
from discovery.selection import make_selector, selector_names
from discovery.selection.history import History
from discovery.testing.selector import committed_step


def steps(*told):
    """One candidate per step, committed: its program, its score, its solution, and a metric."""
    for number, (program, score, solution, *metric) in enumerate(told):
        key = CandidateKey(0, number, 0) if number else INITIAL
        metrics = {"size": metric[0]} if metric else {}
        outcome = Outcome(key=key, program_hash=program, score=score, solution=solution, metrics=metrics)
        yield CommittedStep(chain=0, step=number, parents=(), outcomes=(outcome,), committed=key)


def test_equal_programs_and_equal_results_add_nothing_but_count_as_expansions():
    history = History(Direction.MAXIMIZE)
    told = [
        ("a", 1.0, "x"),
        ("a", 2.0, "y"),  # an equal program
        ("b", 1.0, "x"),  # an equal result
        ("c", 1.5, "x"),  # the same solution, scored otherwise
        ("d", 1.0, "z"),
        ("e", 1.0, None),  # nothing is known of these two
        ("f", 1.0, None),
        ("g", 1.0, "x", 7.0),  # told apart by what the selector asks for
        ("h", 1.0, "x", 7.0),
    ]
    added = [history.observe(step) for step in steps(*told)]
    assert added == [0, None, None, 1, 2, 3, 4, 5, None]
    assert (len(history), history.expansions) == (6, 8)


@pytest.mark.parametrize(
    "name", [n for n in selector_names() if n not in ("llm-rerank", "best-of-n", "greedy", "pareto")]
)
def test_no_selector_shows_one_result_twice(name):
    selector = make_selector(name, Direction.MAXIMIZE, {})
    first = committed_step(0, 0, (), [0.0])
    selector.observe(replace(first, outcomes=(replace(first.outcomes[0], solution="x"),)))
    for number in range(1, 12):
        step = committed_step(0, number, [INITIAL], [0.0 if number % 2 else number / 2])
        solution = "x" if number % 2 else f"solution {number}"
        selector.observe(replace(step, outcomes=(replace(step.outcomes[0], solution=solution),)))
    for seed in range(20):
        shown = selector.choose(0, 12, np.random.default_rng(seed)).parents
        assert not {key for key in shown if key.step % 2}
