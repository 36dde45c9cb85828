"""Tokens and money of a run that is foretold.

A request of a step goes to each member of a mixture that makes some of its completions, with the prompt each time.
Questions to an adviser are counted apart, as `discovery show` does, and paid for with the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from discovery.budget import Prices, Tokens
from discovery.config import RunConfig
from discovery.forecast.pilot import Pilot, PromptTokens
from discovery.forecast.shape import MemberShape, members_of
from discovery.forecast.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What a run takes; None where its servers do not count.

    Args:
        prompt: Tokens of its prompts.
        completions: Tokens of its completions, by simulation; empty where they are not known.
        advice: Tokens of questions and their answers, by simulation.
        costs: Money, by simulation; empty where no price is known.
    """

    prompt: float | None
    completions: Sequence[float]
    advice: Sequence[float]
    costs: Sequence[float]


def spending(
    pilot: Pilot, config: RunConfig, prices: Prices, traces: Sequence[Trace], walls_s: Sequence[float]
) -> Spending:
    """What a run takes.

    Args:
        pilot: What was measured of a smaller one.
        config: The run.
        prices: Of its model, or where it has several of those that have none of their own.
        traces: Simulations of it.
        walls_s: Their wall times, in seconds.
    """
    members = members_of(config) or (MemberShape(name="", share=1.0),)
    parts = [_Part.of(pilot, config, prices, member) for member in members]
    known = [part.prompt for part in parts if part.prompt is not None]
    completions = [trace.tokens * trace.evaluations for trace in traces if trace.tokens is not None]
    costs = []
    is_counted = bool(known) and len(completions) == len(traces)
    if all(p.prices.is_known and (is_counted or p.prices.prompt is None) for p in parts):
        costs = [
            _cost(pilot, parts, prices, trace, wall_s) for trace, wall_s in zip(traces, walls_s, strict=True)
        ]
    return Spending(
        prompt=sum(known) if known else None,
        completions=completions,
        advice=[sum(_advice(pilot, trace)) for trace in traces],
        costs=costs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One member's: its name in a trace, its share, its prices, tokens of its prompts, and how many lie in a cache."""

    name: str | None
    share: float
    prices: Prices
    prompt: float | None
    cached: float

    @staticmethod
    def of(pilot: Pilot, config: RunConfig, prices: Prices, member: MemberShape) -> _Part:
        name = member.name or None
        own = next((each.prices for each in config.generator.members if each.name == name), None)
        seen = pilot.seen_of(name).prompts
        prompt = None if member.is_embedded else _prompt_tokens(pilot, config, seen)
        asked = min(1.0, config.search.candidates * member.share)
        prompt = prompt if prompt is None else asked * prompt
        return _Part(
            name=name,
            share=member.share,
            prices=own or prices,
            prompt=prompt,
            cached=(prompt or 0.0) * seen.cached_share,
        )


def _cost(pilot: Pilot, parts: Sequence[_Part], prices: Prices, trace: Trace, wall_s: float) -> float:
    cost = 0.0
    for part in parts:
        completion = (trace.tokens_of.get(part.name) or 0.0) * part.share * trace.evaluations
        tokens = Tokens(prompt=round(part.prompt or 0.0), completion=round(completion))
        cost += part.prices.with_cache(tokens, round(part.cached))
    asker = next((part.prices for part in parts if part.prompt is not None), prices)
    prompt, answers = _advice(pilot, trace)
    cached = sum(
        pilot.advice[p].cached_share * (pilot.advice[p].prompt or 0.0) * n for p, n in trace.asked.items()
    )
    cost += asker.with_cache(Tokens(prompt=round(prompt), completion=round(answers)), round(cached))
    return cost + (prices.hour or 0.0) * wall_s / 3600


def _advice(pilot: Pilot, trace: Trace) -> tuple[float, float]:
    """Tokens of a simulated run's questions, and of the answers."""
    asked = sum(count * (pilot.advice[purpose].prompt or 0.0) for purpose, count in trace.asked.items())
    return asked, trace.advice


def _prompt_tokens(pilot: Pilot, config: RunConfig, seen: PromptTokens) -> float | None:
    """Of one prompt for each step: they grow until there are as many parents as are asked for."""
    search = config.search
    valid = sum(1 for each in pilot.judged if each.slot_s is not None) / len(pilot.judged)
    steps = config.planned_evaluations / search.candidates / search.chains
    total = 0.0
    settled = 2 + config.overlap + math.ceil(search.parents / max(search.candidates * valid, 0.1))
    for number in range(1, min(settled, math.ceil(steps)) + 1):
        made = max(0, number - 1 - config.overlap) * search.candidates * valid
        tokens = seen.of(min(float(search.parents), 1.0 + made))
        if tokens is None:
            return None
        total += tokens * min(1.0, steps - (number - 1))
    return search.chains * (total + max(0.0, steps - settled) * (seen.of(search.parents) or 0.0))
