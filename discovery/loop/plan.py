"""What a closed loop is told: settled once, stored before anything is done, the same for all processes that go on."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from discovery.config import RunConfig, from_dict, in_range, to_dict
from discovery.errors import ConfigError, ProblemError, UsageError, WeightsError
from discovery.generation.vllm import ENGINES, TORCH, VLLM
from discovery.generation.weights import Kind, fingerprint, read_weights
from discovery.plugins import load_problem
from discovery.training.config import TrainConfig
from discovery.trajectories.records import Filter, Keep

STARTS = ("previous", "base")
"""Which weights a round trains on: those of the round before, or those that the loop began with."""

_MOST_SEED = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsConfig:
    """How often, and on what.

    Args:
        rounds: Trainings at most, 1 to 100.
        seeds: Runs of each problem for each revision, 1 to 1,000: the same seeds for each.
        replay: How many earlier revisions' runs are trained on beside the latest; None for all, 0 for none.
        start: One of :data:`STARTS`; None takes the previous weights, and the base for adapters, which are for one
            model.
        all_rounds: Whether to go on after a round that does not help; the result is the last one that did.
    """

    rounds: int = 2
    seeds: int = 3
    replay: int | None = None
    start: str | None = None
    all_rounds: bool = False

    def __post_init__(self) -> None:
        in_range("rounds", self.rounds, 1, 100)
        in_range("seeds", self.seeds, 1, 1000)
        if self.replay is not None:
            in_range("replay", self.replay, 0, 100)
        if self.start is not None and self.start not in STARTS:
            raise ConfigError(f"start is {self.start!r}; it must be one of {', '.join(STARTS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPlan:
    """Everything that defines a loop, stored with it.

    Args:
        id: Short and unique: part of the ids of its runs, which are therefore known before they start.
        model: Folder of the weights that it begins with, absolute.
        name: What requests call the model, whatever its weights.
        fingerprint: Of those weights: they must stay what they were.
        problems: Those that it learns from, by name or absolute path.
        held_out: Those that it is judged by and never learns from.
        versions: Version of each of them: scores of others would not compare.
        rounds: How often, and on what.
        run: Configuration of each run; problem, seed and server are put in.
        filter: Which steps are worth training on.
        train: How to train; its seed is put in.
        engine: One of :data:`discovery.generation.vllm.ENGINES`.
        serve: Further arguments of the server's program.
        storage: Where runs live; None where that holds a password, and has to be named again.
    """

    id: str
    model: str
    name: str
    fingerprint: str
    problems: tuple[str, ...]
    held_out: tuple[str, ...]
    versions: Mapping[str, str]
    rounds: RoundsConfig = field(default_factory=RoundsConfig)
    run: RunConfig
    filter: Filter = field(default_factory=Filter)
    train: TrainConfig = field(default_factory=TrainConfig)
    engine: str = VLLM
    serve: tuple[str, ...] = ()
    storage: str | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"engine is {self.engine!r}; it must be one of {', '.join(ENGINES)}")
        if self.train.method != "sft":
            raise ConfigError(
                f"method is {self.train.method!r}; a loop trains by sft on its best trajectories. "
                "`discovery train` knows the other methods, for one training at a time"
            )
        is_adapter = self.train.lora.rank > 0
        if is_adapter and self.rounds.start == "previous":
            raise ConfigError(
                "start is 'previous' and adapters are trained, which are for the base; leave start out, or train all "
                "weights (rank = 0)"
            )
        if is_adapter and self.engine == TORCH:
            raise ConfigError(
                f"rank is {self.train.lora.rank}, and the torch engine serves no adapters; train all weights "
                "(rank = 0), or take --engine vllm"
            )
        if self.run.budget.until is not None:
            raise ConfigError(
                f"until is {self.run.budget.until:g}; a loop compares runs of equal budgets, which that would cut "
                "short. Leave it out"
            )

    @property
    def all_problems(self) -> tuple[str, ...]:
        """Those that are learnt from, then those that are held out."""
        return (*self.problems, *self.held_out)

    @property
    def starts_from_base(self) -> bool:
        """Whether each round trains on the weights that the loop began with."""
        return self.rounds.start == "base" or (self.rounds.start is None and self.train.lora.rank > 0)

    def run_id(self, revision: int, problem: str, seed: int) -> str:
        """The id of a run, known before it starts: a process that is killed in between starts no second one.

        Args:
            revision: Of the weights.
            problem: The problem's own name.
            seed: Its number, from 0.
        """
        return f"{problem}-{self.id}-r{revision}-s{seed}"

    def run_config(self, problem: str, seed: int) -> RunConfig:
        """What a run is told, but for its server.

        Args:
            problem: As the plan names it.
            seed: Its number, from 0.
        """
        return replace(self.run, problem=problem, seed=(self.run.seed + seed) % _MOST_SEED)

    def drawn(self, purpose: str, round_: int) -> int:
        """A seed for something of a round, made of the loop's own seed.

        Args:
            purpose: What for.
            round_: Its number, from 1.
        """
        return zlib.crc32(f"{self.run.seed} {purpose} {round_}".encode()) % _MOST_SEED

    def learnt_from(self, round_: int) -> range:
        """The revisions whose runs a round is trained on.

        Args:
            round_: Its number, from 1: it makes the revision of that number.
        """
        replay = self.rounds.replay
        return range(0 if replay is None else max(0, round_ - 1 - replay), round_)

    def check(self) -> None:
        """Refuse to go on where what the plan names is not what it was.

        Raises:
            WeightsError: The model's folder is gone, or was written over.
            ProblemError: A problem is gone, or has changed.
        """
        if fingerprint(read_weights(Path(self.model))) != self.fingerprint:
            raise WeightsError(
                f"{self.model} was written over since this loop began; put the weights back, or start a new loop"
            )
        for name in self.all_problems:
            version = load_problem(name).version
            if version != self.versions[name]:
                raise ProblemError(
                    f"problem {name!r} has changed since this loop began (version {self.versions[name][:12]}, now "
                    f"{version[:12]}); its scores would not compare. Restore the files, or start a new loop"
                )


def make_plan(
    model: Path, problems: tuple[str, ...], held_out: tuple[str, ...], run: RunConfig, **settings: Any
) -> LoopPlan:
    """Settle what a loop will do.

    Args:
        model: Folder of the weights to begin with.
        problems: Those to learn from.
        held_out: Those to judge by.
        run: Configuration of each run.
        **settings: Further fields of the plan.

    Raises:
        UsageError: There is no such model or problem, or too few problems, or one twice.
        ConfigError: A setting is out of range.
    """
    if not problems or not held_out:
        raise UsageError(
            f"a loop needs problems to learn from and others to be judged by, and got {len(problems)} and "
            f"{len(held_out)}; name them: --problem P --held-out H, each may be repeated"
        )
    weights = read_weights(model)
    if weights.kind is Kind.ADAPTER:
        base = weights.config.get("base_model_name_or_path") or "its model"
        raise UsageError(
            f"{model} is an adapter; a loop begins with whole weights: merge it into {base} first"
        )
    loaded = {_lasting(name): load_problem(name) for name in (*problems, *held_out)}
    names = [problem.name for problem in loaded.values()]
    if len(loaded) < len(problems) + len(held_out) or len(set(names)) < len(names):
        raise UsageError(
            f"a problem is named twice among {', '.join((*problems, *held_out))}; name each once"
        )
    return LoopPlan(
        id=f"loop{secrets.token_hex(3)}",
        model=str(weights.folder),
        name=weights.folder.resolve().name,
        fingerprint=fingerprint(weights),
        problems=tuple(_lasting(name) for name in problems),
        held_out=tuple(_lasting(name) for name in held_out),
        versions={name: problem.version for name, problem in loaded.items()},
        run=replace(run, problem=_lasting(problems[0])),
        **settings,
    )


def _lasting(problem: str) -> str:
    """A problem's name that means the same in every folder."""
    path, colon, name = problem.partition(":")
    return f"{Path(path).absolute()}{colon}{name}" if Path(path).exists() else problem


def plan_to_dict(plan: LoopPlan) -> dict[str, Any]:
    """A plan as plain JSON data."""
    return to_dict(plan)


def plan_from_dict(data: Mapping[str, Any]) -> LoopPlan:
    """The inverse of :func:`plan_to_dict`.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """
    return from_dict(LoopPlan, {**data, "filter": to_dict(filter_from_dict(data.get("filter", {})))})


def filter_from_dict(data: Mapping[str, Any]) -> Filter:
    """A filter from plain data.

    Raises:
        ConfigError: A setting is unknown or out of range.
    """
    kept = data.get("keep", Keep.TRAJECTORY)
    if kept not in list(Keep):
        raise ConfigError(f"keep is {kept!r}; it must be one of {', '.join(Keep)}")
    return from_dict(Filter, {**data, "keep": Keep(kept)})
