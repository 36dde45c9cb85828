"""What ``discovery run`` is asked to do, put together from its options and a TOML file."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from discovery.budget import Prices
from discovery.config import RunConfig, from_dict, load_toml
from discovery.errors import ConfigError
from discovery.generators import EMBEDDED
from discovery.prices import PriceTable, priced_members
from discovery.storage.base import ChainSummary

_FIELDS: dict[str, tuple[str, ...]] = {
    "chains": ("search", "chains"),
    "steps": ("search", "steps"),
    "candidates": ("search", "candidates"),
    "parents": ("search", "parents"),
    "overlap": ("search", "overlap"),
    "selector": ("search", "selector"),
    "rungs": ("adapt", "rungs"),
    "keep_chains": ("adapt", "keep"),
    "patience": ("adapt", "patience"),
    "duplicates": ("search", "duplicates"),
    "on_stall": ("adapt", "on_stall"),
    "generator": ("generator", "kind"),
    "base_url": ("generator", "base_url"),
    "model": ("generator", "model"),
    "temperature": ("generator", "sampling", "temperature"),
    "max_tokens": ("generator", "sampling", "max_tokens"),
    "effort": ("generator", "reasoning", "effort"),
    "answer_tokens": ("generator", "reasoning", "answer_tokens"),
    "keep": ("generator", "keep"),
    "mix": ("generator", "members"),
    "mix_by": ("arms", "choice"),
    "edits": ("prompt", "edits"),
    "reflect": ("adviser", "reflect"),
    "adviser_url": ("adviser", "base_url"),
    "generation_slots": ("slots", "generation"),
    "evaluation_slots": ("slots", "evaluation"),
    "sandbox": ("sandbox", "backend"),
    "require_isolation": ("sandbox", "require"),
    "max_evaluations": ("budget", "max_evaluations"),
    "max_tokens_total": ("budget", "max_tokens"),
    "max_cost": ("budget", "max_cost"),
    "max_seconds": ("budget", "max_seconds"),
    "until": ("budget", "until"),
}


def make_config(problem: str, file: Path | Mapping[str, Any] | None, **options: Any) -> RunConfig:
    """The configuration from a TOML file and the options given, options winning.

    Args:
        problem: As the user named it.
        file: TOML with the fields of ``RunConfig``, what was read of one, or None.
        **options: Option names to values; None means not given.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """
    settings = load_toml(file) if isinstance(file, Path) else copy.deepcopy(dict(file or {}))
    settings["problem"] = problem
    for option, value in options.items():
        if value is None:
            continue
        if option in _FIELDS:
            *parts, field = _FIELDS[option]
            table = settings
            for part in parts:
                table = table.setdefault(part, {})
            table[field] = value
        else:
            settings[option] = value
    config = from_dict(RunConfig, settings)
    _refuse_idle(config, options)
    return config


def _refuse_idle(config: RunConfig, options: Mapping[str, Any]) -> None:
    """Refuse options that say how something is done which is not asked for: they would change nothing.

    Raises:
        ConfigError: One is given.
    """
    keep, stall = options.get("keep_chains"), options.get("on_stall")
    if keep is not None and not config.adapt.rungs:
        raise ConfigError(
            f"--keep-chains {keep} is for rungs, and there are none; add --rungs 1 or more, or leave it out"
        )
    if stall is not None and config.adapt.patience is None:
        raise ConfigError(
            f"--on-stall {stall} is for when patience is over, and none is given; add --patience STEPS, or leave it out"
        )


def refuse_model_options(**options: float | str | None) -> None:
    """Refuse options that only a model has, given for a run without one.

    Args:
        **options: Their values, by the names of ``run``'s parameters; None means not given.

    Raises:
        ConfigError: One is given.
    """
    for option, value in options.items():
        if value is not None:
            raise ConfigError(
                f"--{option.replace('_', '-')} {value} is for a model, and this run has none; name one by --serve "
                "MODEL or --base-url URL, or leave the option out"
            )


def sets_steps(file: Path | None) -> bool:
    """Whether a TOML file says how deep chains go."""
    return file is not None and "steps" in load_toml(file).get("search", {})


def depth_for(config: RunConfig, evaluations: int, chains: Sequence[ChainSummary] = ()) -> int:
    """Steps that chains need to spend so many evaluations; earlier steps may have been smaller than K."""
    search = config.search
    unused = max((chain.steps * search.candidates - chain.evaluations for chain in chains), default=0)
    share = math.ceil(evaluations / search.chains)
    return math.ceil((share + unused) / search.candidates)


def read_params(pairs: list[str]) -> dict[str, int | float | str]:
    """Parameters of the selector, each given as NAME=VALUE; what is no number is text.

    Raises:
        ConfigError: One is not.
    """
    params: dict[str, int | float | str] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"--selector-param {pair!r}: expected NAME=VALUE, such as c=1.0")
        params[name.replace("-", "_")] = _number_or_text(value)
    return params


def _number_or_text(value: str) -> int | float | str:
    for number in (int, float):
        try:
            return number(value)
        except ValueError:
            continue
    return value


def repriced(config: RunConfig, table: PriceTable, facts: Mapping[str, Any]) -> RunConfig:
    """A stored run's configuration with the prices of a table that was named for it.

    Args:
        config: As stored, or as changed on resume.
        table: The table.
        facts: The run's, which say what its models were.

    Raises:
        ConfigError: The table has none for a model.
    """
    members = config.generator.members
    models = dict(facts.get("models") or {}) if members else {"": facts.get("model")}
    for name, model in models.items():
        is_free = any(member.name == name and member.kind == EMBEDDED for member in members)
        if table.find(model) is None and not is_free:
            raise ConfigError(
                f"{table.path} has no price for model {model!r}; add it there, or leave --prices out"
            )
    if not members:
        entry = table.find(models[""])
        return replace(config, prices=entry.prices if entry is not None else Prices())
    unpriced = tuple(replace(member, prices=None) for member in members)
    config = replace(config, generator=replace(config.generator, members=unpriced), prices=Prices())
    return priced_members(config, models, table)
