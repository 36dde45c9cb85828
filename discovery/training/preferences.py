"""Direct preference optimisation among siblings, by TRL's trainer.

Loss and reference are TRL's own (Rafailov et al., arXiv 2305.18290; ``beta`` weighs the distance to the reference). The
reference is the base: its adapters turned off, or a second copy where all weights are trained. Token ids are ours, as
for supervised training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from discovery.errors import UsageError
from discovery.training.base import Base, load_plain, new_adapters
from discovery.training.config import TrainConfig
from discovery.training.dataset import NO_KEY, TOO_LONG, encode_row, require_template
from discovery.training.watch import Watch

_COLUMNS = ("prompt", "chosen", "rejected")


def pairs(
    tokenizer: Any, rows: Iterable[Mapping[str, Any]], *, max_tokens: int
) -> tuple[list[dict[str, list[int]]], dict[str, int]]:
    """Rows of format ``trl-dpo`` as token ids, as TRL's trainer names them, and how many are left out, by reason.

    The ids are made as for supervised training, since TRL's own way drops reasoning that the template has another key
    for without a word.

    Raises:
        UsageError: A row lacks one of its parts, or cannot be learned from.
    """
    require_template(tokenizer)
    found: list[dict[str, list[int]]] = []
    left_out: Counter[str] = Counter()
    for number, row in enumerate(rows, 1):
        if any(not row.get(column) for column in _COLUMNS):
            raise UsageError(f"row {number} lacks one of {', '.join(_COLUMNS)}; export as trl-dpo")
        (chosen, lost), (rejected, lost_too) = (
            encode_row(tokenizer, {**row, "completion": row[column]}, number) for column in _COLUMNS[1:]
        )
        if max(len(chosen.ids), len(rejected.ids)) > max_tokens:
            left_out[TOO_LONG] += 1
            continue
        left_out[NO_KEY] += lost or lost_too
        found.append(
            {
                "prompt_ids": list(chosen.ids[: chosen.learned]),
                "chosen_ids": list(chosen.ids[chosen.learned :]),
                "rejected_ids": list(rejected.ids[rejected.learned :]),
            }
        )
    return found, {reason: count for reason, count in left_out.items() if count}


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

    class Ready(DPOTrainer):  # type: ignore[misc]  # of an untyped library
        """Takes rows that are token ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    adapters = new_adapters(base, config)
    reference = load_plain(base, config) if config.lora.rank == 0 else None
    return Ready(
        model=model,
        ref_model=reference,
        args=DPOConfig(**options, beta=config.beta, max_length=None),
        train_dataset=Dataset.from_list([dict(row) for row in train]),
        eval_dataset=Dataset.from_list([dict(row) for row in validation]) if validation else None,
        processing_class=tokenizer,
        peft_config=adapters,
        callbacks=[watch],
    )
