"""What a comparison is told: which settings, at which budgets, over which seeds.

Only settings that spend the same number N of evaluations are compared with each other: a *budget* of the comparison.
How they come to spend the same is one of two ways. With ``steps`` left out, L follows from N, C and K, and all settings
spend each N that is asked for. With ``steps`` given, a setting spends C x L x K; those that come to the same N are
compared, and a grid of C, L and K is several comparisons at growing N, which a scaling law is read from.

The id is made of the problem and of the settings that were asked for, those of its runs of the setting and the seed:
the same command again goes on with the same runs, and further seeds or another baseline are added to those that are
there.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from discovery.config import RunConfig, from_dict, in_range, to_dict
from discovery.errors import ConfigError, UsageError
from discovery.problem import Problem

COMPARISON, SETTING = "comparison", "setting"
"""Facts of a run that say which comparison and which setting of it the run is of; its seed is in ``seed``."""
SEED = "seed"

_SAID = {
    "search.chains": "C",
    "search.steps": "L",
    "search.candidates": "K",
    "search.selector": "",
    "generator.kind": "",
    "generator.model": "",
    "arms.choice": "",
    "budget.max_evaluations": "",
}
"""How a setting's name tells a value: with a letter, or by itself; others by the last part of their path."""
_NOT_OURS = ("problem", "seed", "slots", "sandbox", "prices")
"""What is no part of a setting: it is the same for all, or does not change what a run finds."""
_MOST_RUNS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One thing that settings differ in.

    Args:
        path: Dotted place in the configuration, such as ``search.chains``.
        values: What it takes, at least one.
    """

    path: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError(f"{self.path} has no value; give at least one")
        if len({repr(value) for value in self.values}) < len(self.values):
            said = ",".join(str(value) for value in self.values)
            raise ConfigError(f"{self.path} has a value twice: {said}; name each once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One configuration that is compared, at one budget.

    Args:
        name: Unique in the comparison, for people.
        config: How its runs are configured; seed, slots and sandbox are put in.
        is_baseline: Whether the others of its budget are compared with it.
    """

    name: str
    config: RunConfig
    is_baseline: bool = False

    @property
    def budget(self) -> int:
        """N, the evaluations that each of its runs spends."""
        return self.config.planned_evaluations


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A plan of runs.

    Args:
        id: Of the comparison.
        problem: As the user named it.
        problem_name: Its name.
        version: Of the problem: scores of another would not compare.
        settings: What is compared, in order.
        seeds: Of the runs of each setting.
    """

    id: str
    problem: str
    problem_name: str
    version: str
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """All runs: every setting with the first seed, then with the next."""
        marks = [_hashed(_canonical(setting.config)) for setting in self.settings]
        return tuple(
            PlannedRun(id=f"{self.id}-{mark}-{seed}", setting=setting, seed=seed)
            for seed in self.seeds
            for mark, setting in zip(marks, self.settings, strict=True)
        )

    @property
    def budgets(self) -> dict[int, tuple[Setting, ...]]:
        """The settings of each budget N, the smallest first."""
        ordered = sorted(self.settings, key=lambda setting: setting.budget)
        return {n: tuple(of) for n, of in itertools.groupby(ordered, key=lambda setting: setting.budget)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One run of a comparison, which may be stored or not.

    Args:
        id: Known before it starts.
        setting: What it is a run of.
        seed: Its seed.
    """

    id: str
    setting: Setting
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the user asked to be compared.

    Args:
        base: What all settings share; its problem is the comparison's.
        axes: What they differ in; ``search.steps`` among them gives each its own budget C x L x K.
        named: Names to tables of settings that are merged into the base, each of which is taken at each point of
            the axes.
        budgets: N of each budget; empty takes C x L x K of each setting.
        baseline: Name of a setting or a selector that the others are compared with.
    """

    base: RunConfig
    axes: tuple[Axis, ...] = ()
    named: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    budgets: tuple[int, ...] = ()
    baseline: str | None = None


def planned(asked: Asked, problem: Problem, seeds: Sequence[int]) -> Comparison:
    """The comparison that was asked for.

    Args:
        asked: What to compare.
        problem: What it is of, loaded.
        seeds: Of the runs of each setting.

    Raises:
        ConfigError: A value is unknown or out of range, or two settings are the same.
        UsageError: A setting cannot spend its budget, or there is nothing to compare.
    """
    own = _settings(asked)
    settings = _with_baselines(own, asked.baseline)
    _refuse_alone(settings)
    if len(settings) * len(seeds) > _MOST_RUNS:
        raise UsageError(
            f"{len(settings)} settings x {len(seeds)} seeds are more than {_MOST_RUNS:,} runs; ask for fewer"
        )
    if not seeds:
        raise UsageError(
            "there are no seeds; give at least 1, and 6 or more to tell a difference at p < 0.05"
        )
    return Comparison(
        id=f"{problem.name}-{_hashed(problem.version, *sorted(_canonical(s.config) for s in own))}",
        problem=asked.base.problem,
        problem_name=problem.name,
        version=problem.version,
        settings=tuple(settings),
        seeds=tuple(seeds),
    )


def _settings(asked: Asked) -> list[Setting]:
    axes = list(asked.axes)
    has_steps = any(axis.path == "search.steps" for axis in axes)
    if has_steps and len(asked.budgets) > 1:
        raise UsageError(
            "both steps and several budgets are given; leave the steps out, and L follows from each budget"
        )
    if asked.budgets:
        axes.append(Axis(path="budget.max_evaluations", values=asked.budgets))
    varied = [axis for axis in axes if len(axis.values) > 1]
    found: dict[str, Setting] = {}
    for name, table in (asked.named or {"": {}}).items():
        for values in itertools.product(*(axis.values for axis in axes)):
            chosen = dict(zip((axis.path for axis in axes), values, strict=True))
            said = [_said(axis.path, chosen[axis.path]) for axis in varied]
            full = " ".join([name, *said]).strip() or "as given"
            data = _merged(to_dict(asked.base), table)
            for path, value in chosen.items():
                _put(data, path, value)
            depth_follows = not has_steps and "steps" not in table.get("search", {})
            try:
                config = _spending(from_dict(RunConfig, data), full, depth_follows)
            except ConfigError as error:
                raise ConfigError(f"setting {full!r}: {error}") from error
            found[full] = Setting(name=full, config=config)
    return list(found.values())


def _spending(config: RunConfig, name: str, depth_follows: bool) -> RunConfig:
    """A configuration whose depth is what its budget needs.

    Raises:
        UsageError: It cannot spend its budget.
    """
    search, cap = config.search, config.budget.max_evaluations
    wide = search.chains * search.candidates
    shape = wide * search.steps
    wanted = cap if cap is not None else shape
    if wide > wanted:
        raise UsageError(
            f"setting {name!r} cannot spend {wanted:,} evaluations as asked: one step of its {search.chains} chains "
            f"with {search.candidates} candidates each takes {wide:,}; give --max-evaluations {wide} or more, or fewer "
            "--chains or --candidates"
        )
    depth = math.ceil(math.ceil(wanted / search.chains) / search.candidates)
    if shape < wanted and not depth_follows:
        raise UsageError(
            f"setting {name!r} cannot spend {wanted:,} evaluations: C x L x K = {search.chains} x {search.steps} x "
            f"{search.candidates} = {shape:,}; let L follow (--steps auto: {depth} here), or leave --max-evaluations "
            "out, and each setting spends C x L x K and is compared with those that spend as many"
        )
    if shape > wanted and not depth_follows and depth < search.steps:
        raise UsageError(
            f"setting {name!r} would be cut off at {wanted:,} of its C x L x K = {shape:,} evaluations, at a depth of "
            f"{depth}; let L follow (--steps auto), or leave --max-evaluations out"
        )
    settled = replace(search, steps=depth, overlap=config.overlap)
    return replace(config, search=settled, budget=replace(config.budget, max_evaluations=wanted))


def _with_baselines(settings: list[Setting], baseline: str | None) -> list[Setting]:
    """The settings with one of each budget marked as baseline, which is added where there is none."""
    if baseline is None:
        return settings
    result, seen = list(settings), set[int]()
    for setting in settings:
        if setting.budget in seen:
            continue
        seen.add(setting.budget)
        of = [s for s in settings if s.budget == setting.budget]
        fits = [s for s in of if s.name == baseline or s.name.startswith(f"{baseline} ")]
        fits = fits or [s for s in of if s.config.search.selector == baseline]
        if fits:
            result[result.index(fits[0])] = replace(fits[0], is_baseline=True)
            continue
        search = replace(setting.config.search, selector=baseline, selector_params={})
        several = len({s.budget for s in settings}) > 1
        name = f"{baseline} N={setting.budget}" if several else baseline
        result.append(Setting(name=name, config=replace(setting.config, search=search), is_baseline=True))
    return result


def _refuse_alone(settings: Sequence[Setting]) -> None:
    """Refuse what has nothing to compare, and settings that are the same under two names."""
    seen: dict[str, str] = {}
    for setting in settings:
        same = seen.setdefault(_canonical(setting.config), setting.name)
        if same != setting.name:
            raise UsageError(
                f"settings {same!r} and {setting.name!r} are the same, so that nothing could tell them apart; "
                "leave one of them out"
            )
    if len(settings) < 2:
        raise UsageError(
            "there is one setting and nothing to compare it with; give several values to an option, such as --selector "
            "rpucg,balance or --candidates 1,4,16, or name a --baseline, such as best-of-n"
        )


def _canonical(config: RunConfig) -> str:
    """What makes a setting: what is not as it is by default, so that new settings of later versions change nothing."""
    data = _other_than(_unpriced(to_dict(config)), to_dict(RunConfig(problem="")))
    return json.dumps({name: value for name, value in data.items() if name not in _NOT_OURS}, sort_keys=True)


def _unpriced(data: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the prices of a mixture's members, which a run finds out when it starts."""
    generator = data["generator"]
    members = [{**member, "prices": None} for member in generator["members"]]
    return {**data, "generator": {**generator, "members": members}}


def _other_than(data: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in data.items():
        as_usual = usual.get(name)
        if isinstance(value, Mapping) and isinstance(as_usual, Mapping):
            value = _other_than(value, as_usual) or as_usual
        if value != as_usual:
            found[name] = value
    return found


def is_same(config: RunConfig, other: RunConfig) -> bool:
    """Whether two configurations are one setting: they differ at most in seed, slots, sandbox and prices."""
    return _canonical(config) == _canonical(other)


def _hashed(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:6]


def _said(path: str, value: Any) -> str:
    if path == "budget.max_evaluations":
        return f"N={value}"
    label = _SAID.get(path, path.rpartition(".")[2])
    return f"{label}={value}" if label else str(value)


def _merged(data: dict[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as data with a table of further settings laid over it."""
    result = dict(data)
    for name, value in table.items():
        below = result.get(name)
        result[name] = (
            _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
        )
    return result


def _put(data: dict[str, Any], path: str, value: Any) -> None:
    *parts, last = path.split(".")
    table = data
    for part in parts:
        below = table.get(part)
        if not isinstance(below, Mapping):
            raise ConfigError(
                f"there is no table {part!r} in {path!r}; known here: {', '.join(sorted(table))}"
            )
        table[part] = dict(below)
        table = table[part]
    table[last] = value


def seeds_of(count: int, first: int) -> tuple[int, ...]:
    """So many seeds, one after the other.

    Raises:
        ConfigError: There are too few or too many.
    """
    in_range("seeds", count, 1, 1000)
    in_range("first seed", first, 0, 2**31)
    return tuple(range(first, first + count))
