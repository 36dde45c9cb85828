"""Group-relative policy optimisation against the live scorer, by TRL's trainer.

The model answers each prompt ``group`` times, every answer is scored by the problem's own scorer in a sandbox
(:mod:`discovery.training.reward`), and each is made more or less likely by how it compares with the others (Shao et
al., arXiv 2402.03300; the exact loss is TRL's default). Rows of an optimiser step are completions here, so
``batch_rows`` must hold whole groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from discovery.errors import ConfigError, UsageError
from discovery.training.base import Base, new_adapters
from discovery.training.config import TrainConfig
from discovery.training.dataset import TOO_LONG, require_template
from discovery.training.reward import LiveReward
from discovery.training.watch import Watch


def require_groups(config: TrainConfig) -> None:
    """Refuse a configuration whose optimiser steps do not hold whole groups.

    Raises:
        ConfigError: They do not.
    """
    if config.batch_rows % config.group:
        raise ConfigError(
            f"batch_rows is {config.batch_rows}, which does not hold whole groups of {config.group}; with grpo rows "
            f"are completions: --batch-rows {-(-config.batch_rows // config.group) * config.group}"
        )


def prompts(
    tokenizer: Any, rows: Iterable[Mapping[str, Any]], *, config: TrainConfig
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Rows of format ``trl-grpo`` as TRL's trainer takes them, and how many are left out, by reason.

    Raises:
        UsageError: A row lacks its prompt or its problem.
    """
    require_template(tokenizer)
    found, too_long = [], 0
    for number, row in enumerate(rows, 1):
        if not row.get("prompt") or not (row.get("problem_path") or row.get("problem")):
            raise UsageError(f"row {number} lacks its prompt or its problem; export as trl-grpo")
        text = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        tokens = len(tokenizer(text, add_special_tokens=False)["input_ids"])
        if tokens + config.completion_tokens > config.max_tokens:
            too_long += 1
            continue
        where = row.get("problem_path") or row["problem"]
        found.append({"prompt": row["prompt"], "problem_path": where, "main": row.get("main") or ""})
    return found, {TOO_LONG: too_long} if too_long else {}


def grpo_trainer(
    model: Any,
    tokenizer: Any,
    options: Mapping[str, Any],
    train: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    watch: Watch,
    *,
    config: TrainConfig,
    base: Base,
    reward: LiveReward,
) -> Any:
    """A trainer that is ready to train.

    Args:
        model: Without new adapters; these are the trainer's to add.
        tokenizer: Its tokenizer.
        options: What any trainer is told.
        train: Rows with prompts.
        validation: Rows to validate by; may be empty.
        watch: Called back.
        config: How it trains.
        base: What it starts from.
        reward: Scores completions.
    """
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    arguments = GRPOConfig(
        **{**options, "per_device_eval_batch_size": config.group},
        beta=config.beta,
        num_generations=config.group,
        max_completion_length=config.completion_tokens,
        temperature=config.temperature,
    )
    return GRPOTrainer(
        model=model,
        reward_funcs=[reward],
        args=arguments,
        train_dataset=Dataset.from_list([dict(row) for row in train]),
        eval_dataset=Dataset.from_list([dict(row) for row in validation]) if validation else None,
        processing_class=tokenizer,
        peft_config=new_adapters(base, config),
        callbacks=[watch],
    )
