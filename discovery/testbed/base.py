"""What a landscape is: what each solution is truly worth, and what is known of that.

*Worth* is what a solution is worth, the larger the better, whichever way the scores go; the *score* is the worth as
the direction has it, so that every landscape can be climbed or descended. *Regret* is how much worth is missing to
the optimum: 0 or more, the smaller the better, in either direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from discovery.declared import Feature, Objective
from discovery.records import Direction
from discovery.testbed.spaces import Solution, Space


class Landscape(Protocol):
    """What a solution is worth, and what is known of that."""

    name: ClassVar[str]
    about: ClassVar[str]
    """Its structure, in one line."""
    greed: ClassVar[str]
    """Whether greed is right, in one line."""
    features: ClassVar[tuple[Feature, ...]]
    """Metrics that tell kinds of solutions apart."""
    objectives: ClassVar[tuple[Objective, ...]]
    """Two metrics, from 0 to 1, that are to be minimised at once; empty where the score is all that counts."""
    area: ClassVar[float]
    """What their Pareto front and the point (1, 1) enclose; 0 where there is none."""

    @property
    def direction(self) -> Direction:
        """Which scores are better."""
        ...

    @property
    def space(self) -> Space:
        """Where solutions lie."""
        ...

    @property
    def initial(self) -> Solution:
        """Where every chain starts."""
        ...

    @property
    def best(self) -> float:
        """Worth of the optimum."""
        ...

    @property
    def near(self) -> float:
        """Regret up to which a solution is in the optimum's neighbourhood."""
        ...

    @property
    def noise(self) -> float:
        """Standard deviation of what is added to each observed score; 0 for none."""
        ...

    def worth(self, solution: Solution) -> float:
        """What a solution is truly worth; finite."""
        ...

    def metrics(self, solution: Solution) -> Mapping[str, float]:
        """Public metrics: the features, and the objectives where there are any."""
        ...
