"""A run's wall time, tokens, cost and utilisation before it is made, and what would make it shorter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from discovery.bottleneck import Finding, bottleneck
from discovery.budget import Prices
from discovery.config import RunConfig
from discovery.errors import ConfigError
from discovery.forecast.draws import Draws
from discovery.forecast.pilot import Pilot
from discovery.forecast.shape import Machine, Shape, members_of
from discovery.forecast.simulation import simulate, simulated
from discovery.forecast.spending import spending
from discovery.forecast.trace import Trace
from discovery.pulse import Quantity
from discovery.rungs import refuse_out_of_reach

MOST_SIMULATED = 5_000
"""Evaluations of one simulation; see :func:`~discovery.forecast.simulation.simulate`."""
_REPLICATES, _WORK = 20, 60_000
"""So many simulations make an interval, or fewer where they are large, so that all have about so many evaluations."""
_FEWEST_REPLICATES = 5
_ALIKE = 3
"""So many simulations with and without a change tell what it brings; one where they are large."""
_CONFIDENCE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number that is not known yet.

    Args:
        value: What is expected.
        low: It is rarely less.
        high: It is rarely more.
    """

    value: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Estimate:
        """From several simulations: their mean, and where nine of ten lie."""
        rest = (1.0 - _CONFIDENCE) / 2
        low, high = np.quantile(values, (rest, 1.0 - rest))
        mean = float(np.mean(values))
        return Estimate(value=mean, low=min(mean, float(low)), high=max(mean, float(high)))


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The same number of evaluations with something changed.

    Args:
        change: What, as options of ``discovery run``, or in words.
        wall_s: Wall time then, in seconds.
        generator_busy: Busy share of the places for completions.
        evaluator_busy: Busy share of the evaluation slots.
    """

    change: str
    wall_s: float
    generator_busy: float
    evaluator_busy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens of a run; None where its servers do not count them.

    Args:
        prompt: Of its prompts.
        completion: Of its completions.
        advice: Of questions to an adviser, with the answers; None where none are asked as well.
    """

    prompt: Estimate | None
    completion: Estimate | None
    advice: Estimate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run will take.

    Args:
        evaluations: How many it will make.
        wall_s: Of the run's process, as runs are charged for it: once model and sandboxes are there.
        tokens: What they hold.
        cost: Money, in the currency of the prices; None where none are known.
        values: Means over its time, by :class:`~discovery.pulse.Quantity`; of its steps, but for the evaluators' share.
        finding: What it waits for most.
        what_ifs: What would change it, the shortest first.
        assumed: What this rests on, a line each.
    """

    evaluations: int
    wall_s: Estimate
    tokens: Tokens
    cost: Estimate | None
    values: Mapping[str, float]
    finding: Finding | None
    what_ifs: tuple[WhatIf, ...]
    assumed: tuple[str, ...]


def forecast(
    pilot: Pilot, config: RunConfig, machine: Machine, *, prices: Prices | None = None, seed: int = 0
) -> Forecast:
    """Foretell a run.

    Args:
        pilot: What was measured of a smaller one, or of one like it.
        config: The run.
        machine: Where it goes on.
        prices: What the model costs; None: as the configuration says.
        seed: Of the simulations; the same seed gives the same forecast.
    """
    prices = prices or config.prices
    told = _Foretold(pilot, config, machine, prices, seed)
    ended = None
    cap = _ended_by(told, config)
    if cap is not None:
        ended, evaluations = cap
        budget = replace(config.budget, max_evaluations=evaluations)
        told = _Foretold(pilot, replace(config, budget=budget), machine, prices, seed)
    return Forecast(
        evaluations=told.config.planned_evaluations,
        wall_s=Estimate.of(told.walls_s),
        tokens=Tokens(
            prompt=Estimate.of(told.prompts) if told.prompts else None,
            completion=Estimate.of(told.completions) if told.completions else None,
            advice=Estimate.of(told.advice) if any(told.advice) else None,
        ),
        cost=Estimate.of(told.costs) if told.costs else None,
        values=told.values | {Quantity.EVALUATOR_BUSY: told.evaluators_busy},
        finding=bottleneck(told.values),
        what_ifs=_what_ifs(told),
        assumed=_assumed(told, ended),
    )


class _Foretold:
    """Several simulations of one run, each from a pilot that might have been."""

    def __init__(self, pilot: Pilot, config: RunConfig, machine: Machine, prices: Prices, seed: int) -> None:
        self.pilot = pilot
        self.config = config
        self.machine = machine
        self.seed = seed
        self.simulated = simulated(Shape.of(config, machine), MOST_SIMULATED)
        """Evaluations of each simulation."""
        count = max(_FEWEST_REPLICATES, min(_REPLICATES, _WORK // self.simulated))
        self.traces = [self.trace(config, number) for number in range(count)]
        start_s = pilot.overheads.start_s + pilot.overheads.end_s
        self.walls_s = [start_s + trace.wall_s for trace in self.traces]
        self.values = _means(self.traces)
        spent = spending(pilot, config, prices, self.traces, self.walls_s)
        self.prompts = [spent.prompt] * count if spent.prompt is not None else []
        self.completions, self.advice, self.costs = spent.completions, spent.advice, spent.costs

    @property
    def evaluators_busy(self) -> float:
        """Over the whole of the run, as its meter has it: the slots are there, and idle, before the first step."""
        searched_s = float(np.mean([trace.wall_s for trace in self.traces]))
        return self.values[Quantity.EVALUATOR_BUSY] * searched_s / (searched_s + self.pilot.overheads.start_s)

    def trace(self, config: RunConfig, number: int, machine: Machine | None = None) -> Trace:
        """One simulation of the run, or of another with the same draws."""
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, number)))
        shape = Shape.of(config, machine or self.machine)
        most = min(shape.evaluations, 4 * MOST_SIMULATED)
        draws = Draws(self.pilot, most, rng, is_resampled=number > 0, members=shape.members)
        return simulate(self.pilot, shape, draws, most=MOST_SIMULATED)


def _means(traces: Sequence[Trace]) -> dict[str, float]:
    return {name: float(np.mean([t.values[name] for t in traces])) for name in traces[0].values}


def _ended_by(told: _Foretold, config: RunConfig) -> tuple[str, int] | None:
    """Which cap ends the run before its evaluations are made, and how many it makes then."""
    budget, wall_s = config.budget, float(np.mean(told.walls_s))
    tokens = sum(float(np.mean(each or [0.0])) for each in (told.prompts, told.completions, told.advice))
    caps: list[tuple[str, float | None, float]] = [
        ("--max-seconds", budget.max_seconds, wall_s),
        ("--max-tokens-total", budget.max_tokens, tokens),
        ("--max-cost", budget.max_cost, float(np.mean(told.costs or [0.0]))),
    ]
    shares = [
        (cap / needed, f"{name} {cap:g}") for name, cap, needed in caps if cap is not None and needed > cap
    ]
    if not shares:
        return None
    share, name = min(shares)
    return name, max(1, int(share * config.planned_evaluations))


# What would change it


def _what_ifs(told: _Foretold) -> tuple[WhatIf, ...]:
    config, search, slots = told.config, told.config.search, told.config.slots
    evaluators = slots.evaluation or told.machine.evaluation_slots
    tried: list[tuple[str, RunConfig, Machine]] = []

    def slot_change(option: str, **changed: int) -> None:
        tried.append((option, replace(config, slots=replace(slots, **changed)), told.machine))

    slot_change(f"--evaluation-slots {2 * evaluators}", evaluation=2 * evaluators)
    if slots.generation is not None:
        slot_change(f"--generation-slots {2 * slots.generation}", generation=2 * slots.generation)
    if config.overlap < 8 and search.steps > 1:
        more = config.overlap + 1
        tried.append(
            (f"--overlap {more}", replace(config, search=replace(search, overlap=more)), told.machine)
        )
    if search.steps > 1 and search.chains <= 5_000:
        # As many evaluations: chains that are shorter.
        budget = replace(config.budget, max_evaluations=config.planned_evaluations)
        depth = math.ceil(search.steps / 2)
        wider = replace(search, chains=2 * search.chains, steps=depth)
        change = f"--chains {wider.chains} --steps {depth}"
        adapt = replace(config.adapt, at=())
        other = replace(config, search=wider, budget=budget, adapt=adapt)
        with suppress(ConfigError):  # there are rungs that fit the chains as they are alone
            refuse_out_of_reach(other.rungs_at, other.planned_evaluations, wider.chains, adapt.keep)
            tried.append((change, other, told.machine))
    if (servers := told.machine.server_slots or told.pilot.servers.slots) is not None:
        machine = replace(told.machine, server_slots=2 * servers)
        tried.append((f"servers for {2 * servers} completions at once", config, machine))
    alike = _ALIKE if told.simulated < MOST_SIMULATED else 1
    known_s = float(np.mean(told.walls_s[:alike]))
    ahead_s = told.walls_s[0] - told.traces[0].wall_s
    found = []
    for change, other, machine in tried:
        traces = [told.trace(other, number, machine) for number in range(alike)]
        values = _means(traces)
        changed_s = ahead_s + float(np.mean([trace.wall_s for trace in traces]))
        found.append(
            WhatIf(
                change=change,
                wall_s=changed_s / known_s * float(np.mean(told.walls_s)),
                generator_busy=values[Quantity.GENERATOR_BUSY],
                evaluator_busy=values[Quantity.EVALUATOR_BUSY],
            )
        )
    return tuple(sorted(found, key=lambda what_if: what_if.wall_s))


# What it rests on


def _assumed(told: _Foretold, ended: str | None) -> tuple[str, ...]:
    pilot, config = told.pilot, told.config
    seen = pilot.servers
    said = [
        f"completions and evaluations take what {len(pilot.spoken)} of the pilot took, all through the run"
    ]
    in_flight = told.values.get(Quantity.SERVER_RUNNING, 0.0)
    if seen.slowdown > 0.0:
        said.append(
            f"each completion in flight makes the others {100 * seen.slowdown:.1f} % slower, as in the pilot at up to "
            f"{seen.most}"
        )
    elif in_flight > 1.5 * seen.most:
        said.append(
            f"the servers are as fast with {in_flight:.0f} completions in flight as in the pilot with up to {seen.most}"
        )
    slots = told.machine.server_slots or seen.slots
    if slots is not None:
        said.append(f"the servers run {slots} completions at once; more wait there")
    elif in_flight > 1.5 * seen.most:
        said.append(
            "the servers run as many completions at once as they are sent (--server-slots says otherwise)"
        )
    shares = [each.cpu_share for each in pilot.judged if each.slot_s is not None]
    wanted = told.values.get(Quantity.EVALUATION_SLOTS, 0.0) * float(np.mean(shares or [0.0]))
    if wanted > told.machine.cpus:
        said.append(f"evaluations share {told.machine.cpus} CPUs, and so slow each other down")
    if told.prompts:
        said.append("prompts grow with the number of parents they show, and no further")
    said += _assumed_of_others(pilot, config)
    if config.adapt.patience is not None:
        said.append("no chain begins anew or ends early")
    if config.budget.until is not None:
        said.append(f"the target of {config.budget.until:g} is not reached before the end")
    if ended is not None:
        said.append(f"{ended} ends it after about {config.planned_evaluations} evaluations")
    if config.planned_evaluations > told.simulated:
        said.append(
            f"{told.simulated:,} evaluations were simulated, the rest goes on like the middle of those"
        )
    return tuple(said)


def _assumed_of_others(pilot: Pilot, config: RunConfig) -> list[str]:
    """Of members of a mixture, an adviser, and rungs."""
    said = []
    members = members_of(config)
    if members:
        shares = ", ".join(f"{member.name} {100 * member.share:.0f} %" for member in members)
        even = config.arms.choice != "weights"
        said.append(
            f"completions come from {shares}" + (": what ucb will learn is not known" if even else "")
        )
        unheard = [m.name for m in members if not any(each.maker == m.name for each in pilot.spoken)]
        if unheard:
            said.append(f"{', '.join(unheard)} made nothing in the pilot, and is taken to be like all others")
    if pilot.advice:
        asked = ", ".join(f"{seen.per_step:.2g} {purpose}" for purpose, seen in pilot.advice.items())
        said.append(
            f"each step asks the adviser as often as in the pilot ({asked}), {config.adviser.slots} at once"
        )
    elif config.adviser.reflect:
        said.append("nothing is asked of the adviser: the pilot has no answer that would tell what one takes")
    if config.adapt.rungs:
        said.append("which chains are pruned at a rung does not change what a step takes")
    return said
