"""Direct preference optimisation among siblings, by TRL's trainer.

Loss, reference and tokens are TRL's own (Rafailov et al., arXiv 2305.18290; ``beta`` weighs the distance to the
reference). The reference is the base: its adapters turned off, or a second copy where all weights are trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from discovery.errors import UsageError
from discovery.training.base import Base, load_plain, new_adapters
from discovery.training.config import TrainConfig
from discovery.training.dataset import TOO_LONG, require_template, text_pair
from discovery.training.watch import Watch

_COLUMNS = ("prompt", "chosen", "rejected")


def pairs(
    tokenizer: Any, rows: Iterable[Mapping[str, Any]], *, max_tokens: int
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Rows of format ``trl-dpo`` as TRL's trainer takes them, and how many are left out, by reason.

    Raises:
        UsageError: A row lacks one of its parts.
    """
    require_template(tokenizer)
    found, too_long = [], 0
    for number, row in enumerate(rows, 1):
        if any(not row.get(column) for column in _COLUMNS):
            raise UsageError(f"row {number} lacks one of {', '.join(_COLUMNS)}; export as trl-dpo")
        texts = [text_pair(tokenizer, row, row[column])[1] for column in ("chosen", "rejected")]
        if max(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts) > max_tokens:
            too_long += 1
            continue
        extra = row.get("chat_template_kwargs")
        kept = {column: row[column] for column in _COLUMNS}
        found.append({**kept, "chat_template_kwargs": extra} if extra else kept)
    return found, {TOO_LONG: too_long} if too_long else {}


def dpo_trainer(
    model: Any,
    tokenizer: Any,
    options: Mapping[str, Any],
    train: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    watch: Watch,
    *,
    config: TrainConfig,
    base: Base,
) -> Any:
    """A trainer that is ready to train.

    Args:
        model: Without new adapters; these are the trainer's to add.
        tokenizer: Its tokenizer.
        options: What any trainer is told.
        train: Rows to learn.
        validation: Rows to validate by; may be empty.
        watch: Called back.
        config: How it trains.
        base: What it starts from.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    adapters = new_adapters(base, config)
    reference = load_plain(base, config) if config.lora.rank == 0 else None
    return DPOTrainer(
        model=model,
        ref_model=reference,
        args=DPOConfig(**options, beta=config.beta, max_length=None),
        train_dataset=Dataset.from_list([dict(row) for row in train]),
        eval_dataset=Dataset.from_list([dict(row) for row in validation]) if validation else None,
        processing_class=tokenizer,
        peft_config=adapters,
        callbacks=[watch],
    )
