"""When a second scoring confirms a first one."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from discovery.agreement import compare, confirmed
from discovery.plugins import load_problem
from discovery.records import (
    CandidateKey,
    Evaluation,
    EvaluationState,
    Failure,
    FailureKind,
    Purpose,
    Score,
)

PLUGIN = """
from discovery import Repeats, problem

@problem(name="toy", statement="Return a number.", initial="def solve():\\n    return 1.0\\n", **SETTINGS)
def score(program):
    return program.call("solve")
"""
NOW = datetime.now(UTC)
EXACT, NOISY, REPEATED = "{}", "{'deterministic': False}", "{'repeats': Repeats(count=3)}"


@pytest.fixture
def toy(tmp_path):
    def load(settings):
        path = tmp_path / "toy.py"
        path.write_text(PLUGIN.replace("SETTINGS", settings))
        return load_problem(str(path))

    return load


def gave(result, interval=None):
    """An evaluation with a score, or one that failed."""
    evaluation = Evaluation(
        key=CandidateKey(0, 1, 0), state=EvaluationState.RUNNING, started_at=NOW, finished_at=NOW
    )
    if isinstance(result, FailureKind):
        failure = Failure(kind=result, message=f"it was {result}", detail="line 3")
        return replace(evaluation, state=EvaluationState.FAILED, failure=failure)
    score = Score(value=result, interval=interval)
    return replace(evaluation, state=EvaluationState.SCORED, score=score)


OUT, CRASHED = FailureKind.OUT_OF_BOUNDS, FailureKind.CRASHED


@pytest.mark.parametrize(
    ("settings", "first", "again", "holds"),
    [
        (EXACT, gave(1.0), gave(1.0), True),
        (EXACT, gave(1.0), gave(1.0 + 1e-12), True),
        (EXACT, gave(1.0), gave(1.0 + 1e-6), False),
        (EXACT, gave(1.0), gave(CRASHED), False),
        (EXACT, gave(OUT), gave(OUT), True),
        (EXACT, gave(OUT), gave(CRASHED), False),
        (EXACT, gave(OUT), gave(1.0), False),
        (NOISY, gave(1.0), gave(7.0), True),
        (NOISY, gave(1.0), gave(CRASHED), False),
        (NOISY, gave(OUT), gave(1.0), False),
        (REPEATED, gave(1.0, (0.5, 1.5)), gave(2.0, (1.4, 3.0)), True),
        (REPEATED, gave(1.0, (0.5, 1.5)), gave(2.0, (1.6, 3.0)), False),
        (REPEATED, gave(1.0, (1.0, 1.0)), gave(1.0 + 1e-12, (1.0 + 1e-12, 1.0 + 1e-12)), True),
        (REPEATED, gave(1.0), gave(7.0), True),
    ],
)
def test_what_agrees(toy, settings, first, again, holds):
    assert compare(toy(settings), first, again).holds is holds


def test_a_disagreement_says_both_results(toy):
    first = replace(gave(2.0, (1.5, 2.5)), suspicion="too good")
    stored = confirmed(toy(REPEATED), first, replace(gave(4.0, (3.0, 5.0)), purpose=Purpose.VERIFY))
    assert (stored.purpose, stored.score, stored.suspicion) == (Purpose.VERIFY, None, "too good")
    assert stored.failure.kind is FailureKind.DISAGREEMENT
    assert stored.failure.message == (
        "scored 2.0 [1.5, 2.5] first, but a second scoring from nothing gave: 4.0 [3, 5]: "
        "the intervals do not overlap"
    )
    stored = confirmed(toy(EXACT), gave(2.0), gave(CRASHED))
    assert "2.0 first" in stored.failure.message
    assert "crashed: it was crashed" in stored.failure.message
    assert stored.failure.detail == "line 3"


def test_an_agreement_that_says_little_is_noted_where_it_matters(toy):
    doubted = replace(gave(9.0), suspicion="too good")
    assert confirmed(toy(NOISY), doubted, gave(2.0)).suspicion == (
        "too good; scored 9.0 first and 2.0 again; the problem's scores are noisy and it declares no repeats, so "
        "any valid score confirms it"
    )
    assert confirmed(toy(NOISY), gave(9.0), gave(2.0)).suspicion is None
    assert confirmed(toy(EXACT), doubted, gave(9.0)).suspicion == "too good"
