"""Scoring data directly: a problem's scorer, called in this process on what its entry function could have returned.

For checks and tests of a problem: what is scored there was written by the problem's author, and so was the scorer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from discovery.data import Data, loads
from discovery.errors import DataError, ProblemError, ProgramFailed
from discovery.problem import Problem
from discovery.program import Program, ProgramOutput
from discovery.records import FailureKind, Score


class Returns:
    """A channel whose program returns one value, whatever is called.

    Args:
        value: Plain data; what is not finite gets through here, as a sandbox would not let it.
    """

    def __init__(self, value: Data) -> None:
        self._value = value

    def call(
        self, function: str, args: tuple[Data, ...], kwargs: Mapping[str, Data], timeout_s: float | None
    ) -> Data:
        """The value."""
        return self._value

    def run(self, args: tuple[str, ...], stdin: bytes, timeout_s: float | None) -> ProgramOutput:
        """There is no process here."""
        raise ProblemError("this scorer runs its program as a process; give it a program, not data")


def score_directly(problem: Problem, solution: Data, source: str = "") -> Score:
    """What a problem's quick scorer says of a solution, as if the entry function had returned it.

    Args:
        problem: The problem.
        solution: Plain data.
        source: What the scorer may read of the candidate: the solution itself, where nothing runs.

    Raises:
        Invalid: It refuses the solution.
        ProgramFailed: A stage does.
        ProblemError: Its score is out of bounds, or cannot be stored.
    """
    for stage in problem.settings.stages:
        refusal = stage.refusal(problem.checked(stage.scorer(Program(source, Returns(solution)))))
        if refusal is not None:
            raise ProgramFailed(FailureKind.STAGE, refusal)
    score = problem.checked(problem.scorer(Program(source, Returns(solution))))
    if not problem.in_bounds(score.value):
        raise ProblemError(f"the score {score.value!r} is out of the bounds {problem.settings.bounds}")
    try:
        json.dumps([dict(score.metrics), dict(score.private), score.artifact], allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ProblemError(f"the score's metrics or artifact are not plain finite data: {error}") from error
    return score


def reference_solutions(problem: Problem) -> list[tuple[str, Data, str | None]]:
    """Of each reference that is data: its file, the solution, its exact score as declared.

    Raises:
        ProblemError: A file is not there, or is no strict JSON.
    """
    found = []
    for reference in problem.settings.references:
        path = problem.path.with_name(reference.file)
        try:
            if path.suffix == ".json":
                found.append((reference.file, loads(path.read_text(encoding="utf-8")), reference.exact))
            elif not path.is_file():
                raise ProblemError(f"there is no {path}, which is declared as a reference; put it there")
        except (OSError, UnicodeDecodeError, DataError) as error:
            raise ProblemError(f"the reference {path} cannot be read: {error}; mend the file") from error
    return found
