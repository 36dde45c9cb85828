"""What post-training is told: small frozen configurations, loaded from TOML like a run's."""

from __future__ import annotations

from dataclasses import dataclass, field

from discovery.config import in_range
from discovery.errors import ConfigError

METHODS = ("sft", "dpo", "grpo")
"""Weighted supervised fine-tuning; preferences among siblings; group-relative against the live scorer."""

DTYPES = ("auto", "float32", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters instead of all weights.

    Args:
        rank: Of the adapters, 1 to 1,024; 0 trains all weights.
        alpha: Scale; None takes twice the rank.
        dropout: 0 to below 1.
        targets: Names of the linear layers; empty takes all linear layers of attention and MLP that the model has.
    """

    rank: int = 0
    alpha: int | None = None
    dropout: float = 0.0
    targets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        in_range("rank", self.rank, 0, 1024)
        if self.alpha is not None:
            in_range("alpha", self.alpha, 1, 1_000_000)
        in_range("dropout", self.dropout, 0, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training.

    Args:
        method: One of :data:`METHODS`.
        epochs: Passes over the training rows.
        max_steps: Most optimiser steps; None for no cap beside ``epochs``.
        learning_rate: Peak, after warm-up.
        warmup: Share of the steps in which it rises, 0 to 1.
        batch_rows: Rows per optimiser step, in all.
        micro_rows: Rows per forward pass.
        max_tokens: Longest row; longer ones are left out and counted, never cut.
        weight_decay: Of the optimiser.
        clip_norm: Largest gradient norm.
        dtype: One of :data:`DTYPES`; ``auto`` is bfloat16 on a GPU and float32 elsewhere.
        checkpoint_activations: Whether activations are recomputed to save memory.
        attention: How transformers computes attention (``eager``, ``sdpa``, ``flex_attention``, the name of a kernel);
            ``auto`` leaves it the choice.
        packed: Whether experts that a checkpoint has packed as MXFP4 (gpt-oss) stay so while adapters are trained, each
            layer's unpacked while it works: slower, at little more than a quarter of the memory.
        lora: Adapters.
        validate_every: Optimiser steps between two validations; None: once per epoch.
        patience: Validations without improvement after which it stops; 0 never stops early.
        save_every: Optimiser steps between two checkpoints to resume from; None: with each validation.
        beta: DPO's and GRPO's weight of the distance to the reference model.
        group: GRPO's completions per prompt.
        completion_tokens: GRPO's longest completion.
        temperature: GRPO's sampling temperature.
        seed: Of order, dropout and sampling.
    """

    method: str = "sft"
    epochs: float = 1.0
    max_steps: int | None = None
    learning_rate: float = 1e-5
    warmup: float = 0.05
    batch_rows: int = 16
    micro_rows: int = 1
    max_tokens: int = 32_768
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    dtype: str = "auto"
    checkpoint_activations: bool = True
    attention: str = "auto"
    packed: bool = False
    lora: LoraConfig = field(default_factory=LoraConfig)
    validate_every: int | None = None
    patience: int = 3
    save_every: int | None = None
    beta: float = 0.1
    group: int = 8
    completion_tokens: int = 4096
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method is {self.method!r}; it must be one of {', '.join(METHODS)}")
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype is {self.dtype!r}; it must be one of {', '.join(DTYPES)}")
        in_range("epochs", self.epochs, 0.01, 10_000)
        in_range("learning_rate", self.learning_rate, 1e-9, 10)
        in_range("warmup", self.warmup, 0, 1)
        in_range("batch_rows", self.batch_rows, 1, 1_000_000)
        in_range("micro_rows", self.micro_rows, 1, self.batch_rows)
        if self.batch_rows % self.micro_rows:
            raise ConfigError(
                f"micro_rows is {self.micro_rows}, which does not divide batch_rows, {self.batch_rows}; "
                "an optimiser step is made of whole forward passes"
            )
        if self.packed and not (self.lora.rank and self.checkpoint_activations):
            raise ConfigError(
                "packed weights cannot be trained, and are unpacked again for activations that are recomputed; "
                "it needs adapters (rank 1 or more) and checkpoint_activations"
            )
        for name in ("max_steps", "validate_every", "save_every"):
            if (value := getattr(self, name)) is not None:
                in_range(name, value, 1, 1_000_000_000)
        in_range("max_tokens", self.max_tokens, 8, 10_000_000)
        in_range("weight_decay", self.weight_decay, 0, 100)
        in_range("clip_norm", self.clip_norm, 1e-6, 1e6)
        in_range("patience", self.patience, 0, 1_000_000)
        in_range("beta", self.beta, 0, 1000)
        in_range("seed", self.seed, 0, 2**32 - 1)
        in_range("group", self.group, 2, 1024)
        in_range("completion_tokens", self.completion_tokens, 1, 10_000_000)
        in_range("temperature", self.temperature, 0.01, 2)
