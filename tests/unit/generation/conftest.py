"""Problems and completions for the tests of this folder."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from discovery.problem import Problem, ProblemSettings
from discovery.records import CandidateKey, Completion, Direction, ModelIdentity

FRAMED = """\
import math

# EVOLVE-BLOCK-START
def solve():
    return [0.0, 1.5, -2.25]
# EVOLVE-BLOCK-END


def main():
    return solve()
"""
FREE = "def solve():\n    return 0.5\n"


def _problem_of(initial=FRAMED, *, statement="Find the numbers.", direction=Direction.MAXIMIZE, **settings):
    return Problem(
        name="numbers",
        statement=statement,
        initial=initial,
        scorer=lambda program: 0.0,
        direction=direction,
        settings=ProblemSettings(**settings),
        path=Path("problem.py"),
        version="0",
    )


def _completion_of(text, *, finish_reason="stop", generator="openai", reasoning=None):
    return Completion(
        key=CandidateKey(0, 1, 0),
        text=text,
        reasoning=reasoning,
        finish_reason=finish_reason,
        model=ModelIdentity(generator=generator),
        created_at=datetime.now(UTC),
    )


@pytest.fixture(scope="session")
def problem_of():
    return _problem_of


@pytest.fixture(scope="session")
def completion_of():
    return _completion_of


@pytest.fixture(scope="session")
def framed():
    return FRAMED
