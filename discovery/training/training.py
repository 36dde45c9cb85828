"""One training, from exports to a folder of weights: put together, resumed, ended, described.

Each method has a module that makes its trainer; what is here is the same for all of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from discovery.config import to_dict
from discovery.errors import TrainingFailed, UsageError
from discovery.generation.weights import fingerprint
from discovery.training import lineage as lineages
from discovery.training.base import (
    Base,
    computes_in_bfloat16,
    find_base,
    load_model,
    load_tokenizer,
    on_gpu,
    quiet,
    require_libraries,
    save,
    with_adapters,
    words_of,
)
from discovery.training.config import TrainConfig
from discovery.training.dataset import encode_rows
from discovery.training.exports import TRAIN, VALIDATION, Exports, read_exports
from discovery.training.grpo import grpo_trainer, prompts, require_groups
from discovery.training.lineage import Lineage
from discovery.training.place import Place
from discovery.training.preferences import dpo_trainer, pairs
from discovery.training.reward import LiveReward
from discovery.training.sft import sft_trainer
from discovery.training.watch import Line, Measure, Watch, best_of, is_enough, validations


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be trained on what.

    Args:
        exports: Folders of exports.
        model: Folder of the base, or its name on the Hugging Face Hub.
        out: Folder of the training.
        config: How.
    """

    exports: tuple[Path, ...]
    model: str
    out: Path
    config: TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training made.

    Args:
        weights: Folder of the result.
        lineage: What is told about it.
        was_finished: Whether it was there already, and nothing was done.
    """

    weights: Path
    lineage: Lineage
    was_finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What a method trains on.

    Args:
        train: Rows to learn, as the method's trainer takes them.
        validation: Rows to validate by.
        left_out: How many rows are not used, or lost something, by file and reason.
    """

    train: Sequence[Any]
    validation: Sequence[Any]
    left_out: Mapping[str, int]


def train(request: Request, tell: Callable[[Line], None]) -> Trained:
    """Train, or go on training, until the result is there.

    Args:
        request: What on what.
        tell: Gets a line for each step.

    Raises:
        UsageError: An export, the base or the folder cannot be used.
        MissingComponent: A library is missing.
        TrainingFailed: The loss is no number any more.
    """
    require_libraries()
    if request.config.method == "grpo":
        require_groups(request.config)
    place = Place(request.out)
    exports = read_exports(request.exports, request.config.method)
    base = find_base(request.model)
    base_hash, parent = lineages.of_base(base.folder)
    with place.held():
        place.begin(_identity(request, exports, base, base_hash))
        if place.is_finished:
            place.tidy()
            found = lineages.read(place.weights)
            return Trained(weights=place.weights, lineage=found, was_finished=True)
        quiet()
        metrics = _train(request.config, base, exports, place, tell)
        lineage = Lineage(
            base=base.name,
            base_hash=base_hash,
            exports=exports.sources,
            method=request.config.method,
            config=request.config,
            versions=lineages.versions(),
            metrics=metrics,
            created_at=datetime.now(UTC),
            parent=parent,
        )
        place.finish(lambda folder: lineages.write(folder, lineage))
    return Trained(weights=place.weights, lineage=lineage, was_finished=False)


def _identity(request: Request, exports: Exports, base: Base, base_hash: str) -> Mapping[str, Any]:
    """What must be the same for a training to go on."""
    return {
        "base": base_hash,
        "model": {"tensors": fingerprint(base.model), "words": words_of(base.model)},
        "exports": {source.id: dict(source.files) for source in exports.sources},
        "config": to_dict(request.config),
    }


def _train(
    config: TrainConfig, base: Base, exports: Exports, place: Place, tell: Callable[[Line], None]
) -> Mapping[str, Any]:
    """Train to the end; returns what came out."""
    tokenizer = load_tokenizer(base)
    rows = _rows(config, tokenizer, exports)
    if not rows.train:
        raise UsageError(
            f"no row is left to train on: {dict(rows.left_out)}; raise max_tokens, or export more"
        )
    steps = total_steps(config, len(rows.train))
    measure = Measure(key="eval_reward", grows=True) if config.method == "grpo" else Measure()
    found = place.last_checkpoint()
    history = _history(found[0]) if found is not None else []
    place.rewind(found[1] if found is not None else -1)
    is_over = is_enough(validations(history, measure), measure, config.patience)
    if found is None or (found[1] < steps and not is_over):
        history = _run(config, base, tokenizer, rows, place, tell, measure, found[0] if found else None)
    return _metrics(config, rows, history, measure, place)


def _rows(config: TrainConfig, tokenizer: Any, exports: Exports) -> Rows:
    """The rows of both files as the method's trainer takes them."""
    found: dict[str, Sequence[Any]] = {}
    left_out: dict[str, int] = {}
    for file in (TRAIN, VALIDATION):
        rows, out = _of_file(config, tokenizer, exports.rows(file))
        found[file] = rows
        left_out |= {f"{file}: {reason}": count for reason, count in out.items()}
    return Rows(train=found[TRAIN], validation=found[VALIDATION], left_out=left_out)


def _of_file(
    config: TrainConfig, tokenizer: Any, rows: Iterator[Mapping[str, Any]]
) -> tuple[Sequence[Any], Mapping[str, int]]:
    if config.method == "dpo":
        return pairs(tokenizer, rows, max_tokens=config.max_tokens)
    if config.method == "grpo":
        return prompts(tokenizer, rows, config=config)
    made = encode_rows(tokenizer, rows, max_tokens=config.max_tokens)
    return made.rows, made.left_out


def _run(
    config: TrainConfig,
    base: Base,
    tokenizer: Any,
    rows: Rows,
    place: Place,
    tell: Callable[[Line], None],
    measure: Measure,
    checkpoint: Path | None,
) -> list[dict[str, Any]]:
    """Train from the beginning or a checkpoint; returns the trainer's history."""
    import torch
    from transformers import PrinterCallback

    with ExitStack() as stack:
        watch = Watch(
            place, config, lambda folder: save(trainer.model, tokenizer, folder, base), tell, measure=measure
        )
        trainer = _trainer(config, base, tokenizer, rows, place, watch, stack)
        trainer.remove_callback(PrinterCallback)
        try:
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        except torch.OutOfMemoryError as error:
            raise TrainingFailed(
                f"the GPU's memory ran out after step {trainer.state.global_step} ({error}); lower --micro-rows or "
                "--max-tokens, or train adapters (--rank 32); --plan shows where it goes"
            ) from error
        history: list[dict[str, Any]] = trainer.state.log_history
    return history


def _trainer(
    config: TrainConfig,
    base: Base,
    tokenizer: Any,
    rows: Rows,
    place: Place,
    watch: Watch,
    stack: ExitStack,
) -> Any:
    """The method's trainer; what it needs beside lives on the stack."""
    options = arguments(config, len(rows.train), bool(rows.validation), place.checkpoints)
    reward = None
    if config.method == "grpo":  # before the model: without a sandbox there is nothing to load it for
        reward = stack.enter_context(LiveReward(longest=config.completion_tokens))
    model = load_model(base, config)
    given = (rows.train, rows.validation, watch)
    if config.method == "dpo":
        return dpo_trainer(model, tokenizer, options, *given, config=config, base=base)
    if reward is not None:
        return grpo_trainer(model, tokenizer, options, *given, config=config, base=base, reward=reward)
    return sft_trainer(with_adapters(model, base, config), tokenizer, options, *given)


def total_steps(config: TrainConfig, rows: int) -> int:
    """Optimiser steps of a training at most."""
    by_epochs = math.ceil(config.epochs * steps_per_epoch(config, rows))
    return by_epochs if config.max_steps is None else min(by_epochs, config.max_steps)


def steps_per_epoch(config: TrainConfig, rows: int) -> int:
    """Optimiser steps of one pass over the rows; with grpo each of them is answered by a group."""
    return math.ceil(rows * (config.group if config.method == "grpo" else 1) / config.batch_rows)


def arguments(config: TrainConfig, rows: int, validates: bool, checkpoints: Path) -> dict[str, Any]:
    """What a Trainer of any method is told, as keyword arguments of its configuration.

    Args:
        config: How it trains.
        rows: How many rows there are to learn.
        validates: Whether there are rows to validate by.
        checkpoints: Folder for checkpoints.
    """
    steps = total_steps(config, rows)
    every = min(config.validate_every or steps_per_epoch(config, rows), steps)
    return {
        "output_dir": str(checkpoints),
        "per_device_train_batch_size": config.micro_rows,
        "per_device_eval_batch_size": config.micro_rows,
        "gradient_accumulation_steps": config.batch_rows // config.micro_rows,
        "max_steps": steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": int(config.warmup * steps),
        "optim": "adamw_torch",
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.clip_norm,
        "bf16": computes_in_bfloat16(config),
        "use_cpu": not on_gpu(),
        "activation_checkpointing": config.checkpoint_activations,
        "activation_checkpointing_kwargs": {"use_reentrant": False},
        "eval_strategy": "steps" if validates else "no",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": min(config.save_every or every, steps),
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": on_gpu(),
        "average_tokens_across_devices": False,
        "seed": config.seed,
        "data_seed": config.seed,
    }


def _history(checkpoint: Path) -> list[dict[str, Any]]:
    found = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    history: list[dict[str, Any]] = found["log_history"]
    return history


def _metrics(
    config: TrainConfig, rows: Rows, history: list[dict[str, Any]], measure: Measure, place: Place
) -> Mapping[str, Any]:
    """What came out, for the lineage."""
    best = place.best()
    if best is None:
        raise TrainingFailed(
            f"no validation gave a number, so none of the weights in {place.checkpoints} can be called the best; "
            "look at the validation rows, or lower --learning-rate"
        )
    values = validations(history, measure)
    losses = {line["step"]: line["loss"] for line in history if "loss" in line}
    return {
        "steps": max(losses, default=0),
        "weights_of_step": best[1],
        "train_loss": losses.get(max(losses, default=0)),
        measure.key.replace("eval", "validation"): values.get(best[1]),
        "best_step": best_of(values, measure),
        "ended_early": is_enough(values, measure, config.patience),
        "train_rows": len(rows.train),
        "validation_rows": len(rows.validation),
        "left_out": dict(rows.left_out),
    }
