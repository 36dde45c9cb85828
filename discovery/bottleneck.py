"""Who waits for whom in a run, from a window of its time series.

Work goes round: a chain plans a step, its request waits at the gate for places, the servers generate, each completion
waits for an evaluation slot and is evaluated, each record is written, the step is committed. Wherever most of the work
stands is what limits the run. A run is as it should be when that is the generator, its costliest part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from discovery.pulse import Quantity

_FULL = 0.9
"""Slots that are so busy on average are full: none is idle but between one user and the next."""
_SOME = 0.5
"""A mean of so many that wait is a queue, not a coincidence."""


class Bottleneck(StrEnum):
    """What a run waits for."""

    OUTAGE = "outage"
    """Generator or sandboxes are gone."""
    STORAGE = "storage"
    """Records wait for the disk."""
    GENERATOR = "generator"
    """Requests wait for places or at the servers, or all places are busy."""
    EVALUATION = "evaluation"
    """Completions wait for evaluation slots while the generator has free places."""
    BUDGET = "budget"
    """Requests wait until the tokens of others in flight are counted."""
    CHAINS = "chains"
    """Neither is busy: each step waits for its slowest completion, and there are too few to fill the gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a run waits for, in words.

    Args:
        kind: What it is.
        what: What is waited for and how much of it, to be read after "waits for".
        fix: What would make the run faster.
    """

    kind: Bottleneck
    what: str
    fix: str

    @property
    def thing(self) -> str:
        """What is waited for, without how much of it."""
        return self.what.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


def bottleneck(values: Mapping[str, float]) -> Finding | None:
    """What a run waited for.

    Args:
        values: A window's, by :class:`~discovery.pulse.Quantity`; what is missing is taken as nothing.

    Returns:
        What it waited for most, or None where the window does not say how busy the generator was.
    """
    if Quantity.GENERATOR_BUSY not in values:
        return None
    has = _Window(values)
    for found in (_outage, _storage, _generator, _evaluation, _budget):
        if (finding := found(has)) is not None:
            return finding
    return _chains(has)


class _Window:
    """Values by name, zero for what is missing."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = values

    def __call__(self, quantity: Quantity) -> float:
        return self._values.get(quantity, 0.0)

    def knows(self, quantity: Quantity) -> bool:
        return quantity in self._values


def _outage(has: _Window) -> Finding | None:
    if has(Quantity.OUTAGE) < 0.5:
        return None
    return Finding(
        kind=Bottleneck.OUTAGE,
        what="what is gone: generator or sandboxes",
        fix="it goes on by itself when they are back",
    )


def _storage(has: _Window) -> Finding | None:
    """A request's completions are written one by one, so writes compare with requests, not with completions."""
    writes = has(Quantity.WRITES_WAITING)
    elsewhere = has(Quantity.REQUESTS_SENT) + has(Quantity.EVALUATING) + has(Quantity.COMPLETIONS_WAITING)
    if writes < max(_SOME, 0.5 * elsewhere):
        return None
    return Finding(
        kind=Bottleneck.STORAGE,
        what=f"the storage: {_mean(writes)} writes are not on disk yet",
        fix="a faster disk for --storage, or PostgreSQL",
    )


def _generator(has: _Window) -> Finding | None:
    busy, gate = has(Quantity.GENERATOR_BUSY), has(Quantity.REQUESTS_WAITING)
    servers, running = has(Quantity.SERVER_WAITING), has(Quantity.SERVER_RUNNING)
    queues_there = servers >= max(1.0, 0.1 * running)
    queues_here = gate >= _SOME and busy >= 0.5
    if not (queues_there or queues_here or busy >= _FULL):
        return None
    if queues_there:
        queue, fix = f"{_mean(servers)} completions wait at the servers", "only more or faster servers help"
        if queues_here:
            queue = f"{_mean(gate)} requests wait here, {_mean(servers)} completions there"
    elif queues_here:
        queue = f"{_mean(gate)} requests wait for one of {_mean(has(Quantity.GENERATION_SLOTS))} places"
        fix = "more --generation-slots, if the server has room"
        if has.knows(Quantity.SERVER_WAITING):
            fix = "nothing waits at the servers: more --generation-slots may help"
    else:
        queue = (
            f"{_percent(busy)} of {_mean(has(Quantity.GENERATION_SLOTS))} places are busy, no request waits"
        )
        fix = "more --chains or --candidates, if the server has room"
    return Finding(kind=Bottleneck.GENERATOR, what=f"the model: {queue}", fix=fix)


def _evaluation(has: _Window) -> Finding | None:
    busy, waiting = has(Quantity.EVALUATOR_BUSY), has(Quantity.COMPLETIONS_WAITING)
    if busy < _FULL and waiting < max(_SOME, has(Quantity.IN_FLIGHT)):
        return None
    slots, generator = has(Quantity.EVALUATION_SLOTS), has(Quantity.GENERATOR_BUSY)
    return Finding(
        kind=Bottleneck.EVALUATION,
        what=f"evaluations: {_mean(waiting)} wait for {_mean(slots)} slots, generator {_percent(generator)} busy",
        fix="more --evaluation-slots, if there are CPUs for them",
    )


def _budget(has: _Window) -> Finding | None:
    waiting = has(Quantity.BUDGET_WAITING)
    if waiting < _SOME:
        return None
    return Finding(
        kind=Bottleneck.BUDGET,
        what=f"the budget: {_mean(waiting)} requests, until what is in flight is counted",
        fix="a larger --max-tokens-total or --max-cost",
    )


def _chains(has: _Window) -> Finding:
    generator, evaluators = has(Quantity.GENERATOR_BUSY), has(Quantity.EVALUATOR_BUSY)
    return Finding(
        kind=Bottleneck.CHAINS,
        what=f"each step's slowest: generator {_percent(generator)}, evaluators {_percent(evaluators)} busy",
        fix="more --chains or --candidates, or --overlap 1",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _mean(value: float) -> str:
    """A mean count for people: ``0.7``, ``3.2``, ``45``."""
    return f"{value:.1f}".removesuffix(".0") if value < 9.95 else f"{value:,.0f}"
