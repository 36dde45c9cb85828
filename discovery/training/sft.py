"""Weighted supervised fine-tuning: a Trainer of transformers with the loss of :mod:`discovery.training.losses`.

The trainer brings the optimiser, the schedule, accumulation and checkpoints; ours are the rows, the loss, and that both
its numerator and its denominator are of the whole optimiser step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from discovery.training.dataset import Encoded, collate
from discovery.training.losses import backbone, weighted_nll, weighted_tokens
from discovery.training.watch import Watch


def sft_trainer(
    model: Any,
    tokenizer: Any,
    options: Mapping[str, Any],
    train: Sequence[Encoded],
    validation: Sequence[Encoded],
    watch: Watch,
) -> Any:
    """A trainer that is ready to train.

    Args:
        model: In float32, or with adapters.
        tokenizer: Its tokenizer.
        options: What any trainer is told.
        train: Rows to learn.
        validation: Rows to validate by; may be empty.
        watch: Called back.
    """
    import torch
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(**options)
    parts = backbone(model.to(arguments.device))

    class Weighted(Trainer):  # type: ignore[misc]  # of an untyped library
        """Normalises by the weights and tokens of the whole optimiser step."""

        loss_is_scaled_for_ga = True

        def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
            samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
            watch.tokens += sum(int(batch["attention_mask"].sum()) for batch in samples)
            watch.rows += sum(len(batch["input_ids"]) for batch in samples)
            return samples, sum(weighted_tokens(batch) for batch in samples)

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            return self._numerator(inputs) / num_items_in_batch.to(self.args.device)

        def _numerator(self, inputs: Any) -> Any:
            device = self.args.device.type
            with torch.autocast(device, dtype=torch.bfloat16, enabled=self.args.bf16):
                return weighted_nll(parts, inputs)

        def _told(self, metrics: Any) -> None:
            handler: Any = self.callback_handler
            self.control: Any = handler.on_evaluate(self.args, self.state, self.control, metrics)

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            self.model.eval()
            above = below = 0.0
            with torch.no_grad():
                for batch in self.get_eval_dataloader():
                    inputs = self._prepare_inputs(batch)
                    above += float(self._numerator(inputs))
                    below += float(weighted_tokens(inputs))
            metrics = {"eval_loss": above / below}
            self.log(metrics)
            self._told(metrics)
            return metrics

    return Weighted(
        model=model,
        args=arguments,
        data_collator=partial(collate, padding=tokenizer.pad_token_id),
        train_dataset=list(train),
        eval_dataset=list(validation) or None,
        processing_class=tokenizer,
        callbacks=[watch],
    )
