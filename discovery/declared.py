"""What a problem declares beside its scorer: limits, repeats, the best that is known, what tells candidates apart."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from discovery.data import Data
from discovery.errors import ProblemError
from discovery.program import Program
from discovery.records import Direction, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one use of a candidate's program may take; hitting one ends its whole process tree.

    Args:
        wall_s: Wall-clock seconds of one ``call`` or ``run``.
        cpu_s: CPU seconds of one process; None: the same as ``wall_s``, rounded up.
        memory_bytes: Address space of one process.
        processes: Processes and threads at once. With 1 a program can start nothing, and its CPU time is told exactly:
            of more, a sandbox with control groups adds up to 10 ms of its own.
        file_bytes: Largest file, and all of the private temporary directory.
        output_bytes: Kept of standard output and error together; more is dropped.
        result_bytes: Largest returned data or output of ``run``.
    """

    wall_s: float = 10.0
    cpu_s: float | None = None
    memory_bytes: int = 1 << 30
    processes: int = 64
    file_bytes: int = 64 << 20
    output_bytes: int = 64 << 10
    result_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        for name in ("wall_s", "cpu_s"):
            value = getattr(self, name)
            if not (name == "cpu_s" and value is None) and not (is_number(value) and value > 0):
                raise ProblemError(f"limit {name} is {value!r}; it must be a positive number")
        for name in ("memory_bytes", "processes", "file_bytes", "output_bytes", "result_bytes"):
            value = getattr(self, name)
            if type(value) is not int or value <= 0:
                raise ProblemError(f"limit {name} is {value!r}; it must be a positive whole number")

    @property
    def cpu_limit_s(self) -> int:
        """CPU seconds as the kernel takes them: whole, at least 1."""
        return max(1, math.ceil(self.cpu_s if self.cpu_s is not None else self.wall_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBest:
    """The best value known for a problem, and who says so.

    Args:
        value: Score in the problem's units.
        source: Publication or person.
        exact: Whether the value was recomputed from the published solution.
    """

    value: float
    source: str
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A solution that is shipped with a problem, to check the scorer by and to compare with.

    Args:
        file: Its name beside ``problem.py``: JSON data that the entry function could have returned, or a program.
        source: Whose it is, or how it was found.
        exact: Its exact score to 20 digits, as ``discovery score`` prints it; None where the problem has no verifier.
        value: Its score where there is no exact one; None where it depends on the machine.
    """

    file: str
    source: str
    exact: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A wrong solution that a problem's ``adversarial.py`` yields: its scorers must refuse it.

    Args:
        name: What is wrong with it, in a few words.
        says: A part of the reason that must be given.
        solution: Plain data as the entry function would return it; it may hold what is not finite.
        program: A program's source instead, where solutions are programs.
    """

    name: str
    says: str
    solution: Data = None
    program: str | None = None


STATISTICS = ("median", "mean", "min", "max")
"""What a score of several repeats can be."""


COMPARISONS = ("ratio", "difference")
"""How a score is compared with the baseline's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """How a noisy or timed problem is scored: several times, and the score is a statistic of them.

    What else a score carries (metrics, feedback, artifact) is that of the repeat that comes closest to it. ``bounds``,
    ``max_jump`` and ``known_best`` are about the score, so with a baseline about the comparison; ``scorer_timeout_s``
    holds for each scoring. A repeat that fails fails the evaluation, and all of them together are one evaluation.
    Two scorings of one candidate may differ; they agree when their intervals overlap.

    Args:
        count: How often the scorer runs on each candidate, 1 to 1,000.
        statistic: The score: ``median``, ``mean``, ``min`` or ``max`` of the repeats.
        confidence: Of the interval that is stored with it, above 0 and below 1.
        cores: CPUs that each evaluation has for itself while it is scored; 0 for no pinning. No more evaluations run
            at once than there are cores for, and one CPU is kept for everything else where there is more than one.
        baseline: Score the initial candidate, or the program of that name beside ``problem.py``, in turn with the
            candidate, and let each repeat be the comparison of the two: what disturbs both cancels out, the better
            the more alike they are. False for none.
        comparison: With a baseline: ``ratio`` (candidate / baseline) or ``difference`` (candidate - baseline).
    """

    count: int = 5
    statistic: str = "median"
    confidence: float = 0.95
    cores: int = 0
    baseline: bool | str = False
    comparison: str = "ratio"

    def __post_init__(self) -> None:
        if type(self.count) is not int or not 1 <= self.count <= 1000:
            raise ProblemError(f"repeats: count is {self.count!r}; it must be a whole number from 1 to 1000")
        if self.statistic not in STATISTICS:
            raise ProblemError(
                f"repeats: statistic is {self.statistic!r}; it must be one of {', '.join(STATISTICS)}"
            )
        if not is_number(self.confidence) or not 0 < self.confidence < 1:
            raise ProblemError(f"repeats: confidence is {self.confidence!r}; it must lie between 0 and 1")
        if type(self.cores) is not int or not 0 <= self.cores <= 1024:
            raise ProblemError(f"repeats: cores is {self.cores!r}; it must be a whole number from 0 to 1024")
        if not isinstance(self.baseline, (bool, str)) or self.baseline == "":
            raise ProblemError(
                f"repeats: baseline is {self.baseline!r}; it must be True, False or the name of a program's file"
            )
        if self.comparison not in COMPARISONS:
            raise ProblemError(
                f"repeats: comparison is {self.comparison!r}; it must be one of {', '.join(COMPARISONS)}"
            )


@dataclass(frozen=True, slots=True)
class Stage:
    """A cheap first score that a candidate must reach before the costly one is asked for.

    It is scored in the same process and sandbox as the rest, once per scoring and before all repeats. A candidate that
    does not pass has a failure of kind ``stage``, which tells the cheap score, its metrics and its feedback, so that
    the model learns from it. One that passes has the cheap score among its metrics, as ``stage_NAME``.

    Args:
        scorer: Like the problem's own: gets the program, returns a number or a ``Score``, raises ``Invalid``.
        name: Lower-case letters, digits and underscores.
        least: The least value that passes; None: however low.
        most: The largest value that passes; None: however high. One of the two is given.
        timeout_s: For this scoring, the candidate's time included, in seconds; None: as for the scorer.
    """

    scorer: Callable[[Program], Score | float]
    name: str = field(default="quick", kw_only=True)
    least: float | None = field(default=None, kw_only=True)
    most: float | None = field(default=None, kw_only=True)
    timeout_s: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not callable(self.scorer):
            raise ProblemError(f"stage: the scorer is {self.scorer!r}; it must be a function of the program")
        if not isinstance(self.name, str) or not _STAGE_NAME.fullmatch(self.name):
            raise ProblemError(
                f"stage {self.name!r}: the name must be lower-case letters, digits and underscores"
            )
        ends = [end for end in (self.least, self.most) if end is not None]
        if not ends or not all(is_number(end) for end in ends) or sorted(ends) != ends:
            raise ProblemError(
                f"stage {self.name!r}: least is {self.least!r} and most {self.most!r}; give one of them, or both "
                "with the lower first"
            )
        if self.timeout_s is not None and not (is_number(self.timeout_s) and self.timeout_s > 0):
            raise ProblemError(
                f"stage {self.name!r}: timeout_s is {self.timeout_s!r}; it must be a positive number"
            )

    @property
    def metric(self) -> str:
        """The name of its score among the metrics of a candidate that passes."""
        return f"stage_{self.name}"

    def refusal(self, score: Score) -> str | None:
        """Why a candidate of this cheap score does not pass, with all that the model may know; None where it does."""
        if self.least is not None and score.value < self.least:
            short = f"below {self.least!r}"
        elif self.most is not None and score.value > self.most:
            short = f"above {self.most!r}"
        else:
            return None
        metrics = ", ".join(f"{name} {value!r}" for name, value in score.metrics.items())
        told = "; ".join(filter(None, (metrics, score.feedback)))
        return f"stage {self.name!r} scored {score.value!r}, {short}{f': {told}' if told else ''}"


_STAGE_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")

MOST_BINS = 1000
"""Of one feature."""


@dataclass(frozen=True, slots=True)
class Feature:
    """A public metric by which candidates differ in kind, for selectors that keep the best of each kind.

    Its range is divided into bins of equal width; what lies outside belongs to the first or the last one.

    Args:
        name: The metric's.
        low: Where the first bin begins.
        high: Where the last bin ends, above ``low``.
        bins: How many, 2 to 1,000.
    """

    name: str
    low: float
    high: float
    bins: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ProblemError(f"feature {self.name!r}: the name must be that of a metric")
        if not (is_number(self.low) and is_number(self.high) and self.low < self.high):
            raise ProblemError(
                f"feature {self.name!r}: its range is {self.low!r} to {self.high!r}; give two numbers, the lower first"
            )
        if type(self.bins) is not int or not 2 <= self.bins <= MOST_BINS:
            raise ProblemError(
                f"feature {self.name!r}: bins is {self.bins!r}; it must be a whole number from 2 to {MOST_BINS}"
            )

    def bin(self, value: float) -> int:
        """The bin of a finite value, from 0."""
        if value <= self.low:
            return 0
        if value >= self.high:
            return self.bins - 1
        # Halved, because the difference of two large floats may overflow.
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return min(self.bins - 1, int(share * self.bins))


@dataclass(frozen=True, slots=True)
class Objective:
    """A public metric that counts beside the score, for selectors that keep what nothing beats in all of them.

    Args:
        metric: Its name.
        direction: ``maximize`` or ``minimize``.
    """

    metric: str
    direction: str = "maximize"

    def __post_init__(self) -> None:
        if not isinstance(self.metric, str) or not self.metric:
            raise ProblemError(f"objective {self.metric!r}: it must be the name of a metric")
        if self.direction not in tuple(Direction):
            raise ProblemError(
                f"objective {self.metric!r}: its direction is {self.direction!r}; use 'maximize' or 'minimize'"
            )


def is_number(value: object) -> bool:
    """Whether it is a finite number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
