"""What became of a simulated run: its time, and means over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from discovery.pulse import Quantity
from discovery.records import AdvicePurpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What became of a simulated run.

    Args:
        wall_s: From the first plan to the last commit, in seconds.
        evaluations: How many were made.
        values: Means over that time, by :class:`~discovery.pulse.Quantity`.
        tokens: Mean tokens of its completions; None where they are not known.
        tokens_of: The same by the member of a mixture that made them.
        asked: Questions to an adviser, by purpose.
        advice: Tokens of their answers.
    """

    wall_s: float
    evaluations: int
    values: Mapping[str, float]
    tokens: float | None = None
    tokens_of: Mapping[str | None, float | None] = field(default_factory=dict)
    asked: Mapping[AdvicePurpose, float] = field(default_factory=dict)
    advice: float = 0.0


LEVELS = (
    *(Quantity.GENERATION_SLOTS, Quantity.IN_FLIGHT, Quantity.REQUESTS_SENT, Quantity.REQUESTS_WAITING),
    *(Quantity.EVALUATION_SLOTS, Quantity.EVALUATING, Quantity.COMPLETIONS_WAITING),
    *(Quantity.SERVER_RUNNING, Quantity.SERVER_WAITING),
)


def values_of(sums: list[float], wall_s: float, evaluations: int) -> dict[str, float]:
    """Means over a run's time, from sums over it.

    Args:
        sums: Seconds times busy places, then seconds times each of :data:`LEVELS`.
        wall_s: The run's time, in seconds.
        evaluations: How many it made.
    """
    if wall_s <= 0.0:
        return {}
    busy, levels = sums[0], dict(zip(LEVELS, sums[1:], strict=True))
    values = {str(name): total / wall_s for name, total in levels.items()}
    places, slots = levels[Quantity.GENERATION_SLOTS], levels[Quantity.EVALUATION_SLOTS]
    values[Quantity.GENERATOR_BUSY] = min(1.0, busy / places)
    values[Quantity.EVALUATOR_BUSY] = min(1.0, levels[Quantity.EVALUATING] / slots)
    values[Quantity.EVALUATIONS_PER_S] = evaluations / wall_s
    values[Quantity.WINDOW_S] = wall_s
    return values
