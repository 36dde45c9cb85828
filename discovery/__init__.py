"""Evaluation-driven discovery: a generator proposes programs, sandboxes score them, the best are refined.

What a problem plugin needs, the records that everything speaks of, and nothing heavy: importing this package
loads no database, web, model or plotting library. ``discovery.problem`` as an attribute is the decorator; its
module is reached by ``from discovery.problem import ...``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discovery.declared import Feature, KnownBest, Limits, Objective, Reference, Repeats, Stage, Wrong
from discovery.errors import DiscoveryError, Invalid, ProblemError, ProgramFailed
from discovery.family import family
from discovery.problem import Problem, problem
from discovery.program import Program, ProgramOutput
from discovery.records import (
    Candidate,
    CandidateKey,
    Completion,
    Direction,
    Evaluation,
    Failure,
    FailureKind,
    Prompt,
    Score,
    Step,
)

if TYPE_CHECKING:
    from discovery.plugins import load_problem

__version__ = "0.1.0"

__all__ = [
    "Candidate",
    "CandidateKey",
    "Completion",
    "Direction",
    "DiscoveryError",
    "Evaluation",
    "Failure",
    "FailureKind",
    "Feature",
    "Invalid",
    "KnownBest",
    "Limits",
    "Objective",
    "Problem",
    "ProblemError",
    "Program",
    "ProgramFailed",
    "ProgramOutput",
    "Prompt",
    "Reference",
    "Repeats",
    "Score",
    "Stage",
    "Step",
    "Wrong",
    "__version__",
    "family",
    "load_problem",
    "problem",
]


def __getattr__(name: str) -> Any:
    if name == "load_problem":
        from discovery.plugins import load_problem

        return load_problem
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
