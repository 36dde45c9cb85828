"""What a training takes of a GPU's memory, from a model's config.json and a configuration. No torch, no GPU.

What stays is exact: parameters times bytes. What comes and goes is estimated, from the tensors that autograd keeps of a
decoder layer (a count in the manner of Korthikanti et al., arXiv 2205.05198, section 4, for layers as they are today):

==================  ====================================================================================
base weights        bytes of the type they are kept in. All weights are trained in float32 with bfloat16
                    copies for computing (mixed precision, Micikevicius et al., arXiv 1710.03740, section 3.1),
                    since bfloat16 alone loses updates below 1/256 of a weight; under adapters the base is kept
                    in the type of computing
adapters            rank x (inputs + outputs) for each linear layer, in float32
gradients           4 bytes for each trained parameter
optimiser           8 bytes for each: AdamW's two moments in float32
reference           another copy of the base, where the method compares with it and there is no adapter to turn off
kept activations    recomputed: the input of each layer, and one layer at work; else all of all layers
cache               keys and values of all answers of an optimiser step: grpo has them made at one time
attention scores    tokens^2 x heads of one layer, where attention is computed without a fused kernel
logits              a piece at a time in supervised training; all at once in the other methods
reserve             the device's context and what lies idle between blocks: 1 GiB and 5 %
==================  ====================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

from discovery.errors import UsageError
from discovery.training.config import TrainConfig
from discovery.training.shape import Linear, Shape

GIB = 1 << 30
HEAD_TOKENS = 1024
"""Tokens whose logits exist at one time in supervised training."""

_MXFP4_BITS = 4.25
"""Four bits a weight, and eight bits of scale for each 32 of them: OCP Microscaling Formats 1.0, section 5."""
_RESERVE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One line of the table.

    Args:
        name: What takes the memory.
        bytes: How much.
        how: The arithmetic, in words.
    """

    name: str
    bytes: int
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training takes.

    Args:
        parameters: Of the model.
        trained: How many of them, or of the adapters, are trained.
        parts: Where the memory goes.
    """

    parameters: int
    trained: int
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return sum(part.bytes for part in self.parts)


def plan(shape: Shape, config: TrainConfig, *, on_gpu: bool = True) -> Plan:
    """What a training of a model takes.

    Args:
        shape: The model's.
        config: How it is trained.
        on_gpu: Whether ``dtype = "auto"`` means bfloat16.

    Raises:
        UsageError: An adapter's target is no linear layer of the model.
    """
    size = 4 if config.dtype == "float32" or (config.dtype == "auto" and not on_gpu) else 2
    adapters = lora_parameters(shape, config)
    trained = adapters or shape.parameters
    parts = [_base(shape, size, is_trained=not adapters, packed=config.packed)]
    if adapters:
        parts.append(Part(name="adapters", bytes=4 * adapters, how=f"{adapters:,} x 4 bytes"))
    elif config.method == "dpo" or (config.method == "grpo" and config.beta):
        reference = Part(
            name="reference model", bytes=4 * shape.parameters, how=f"{shape.parameters:,} x 4 bytes"
        )
        parts.append(reference)
    parts.append(Part(name="gradients", bytes=4 * trained, how=f"{trained:,} x 4 bytes"))
    parts.append(Part(name="optimiser", bytes=8 * trained, how=f"{trained:,} x 8 bytes, AdamW"))
    if config.method == "grpo":
        parts.append(_cache(shape, config, size))
    parts += _activations(shape, config, size)
    parts.append(_logits(shape, config, size))
    sum_ = sum(part.bytes for part in parts)
    reserve = int(GIB + _RESERVE * sum_) if on_gpu else 0
    parts.append(Part(name="reserve", bytes=reserve, how="1 GiB and 5 %" if on_gpu else "none without a GPU"))
    return Plan(parameters=shape.parameters, trained=trained, parts=tuple(parts))


def lora_parameters(shape: Shape, config: TrainConfig) -> int:
    """Parameters of the adapters; 0 where all weights are trained.

    Raises:
        UsageError: A target is no linear layer of the model.
    """
    if config.lora.rank == 0:
        return 0
    return shape.layers * sum(
        config.lora.rank * (linear.inputs + linear.outputs) for linear in _targets(shape, config)
    )


def _targets(shape: Shape, config: TrainConfig) -> tuple[Linear, ...]:
    known = {linear.name: linear for linear in shape.linears}
    names = config.lora.targets or tuple(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"lora targets {unknown[0]!r}, which is none of {', '.join(known)}")
    return tuple(known[name] for name in names)


def _base(shape: Shape, size: int, *, is_trained: bool, packed: bool) -> Part:
    count = shape.parameters
    if is_trained:
        copies = 2 if size == 2 else 0
        how = f"{count:,} x 4 bytes" + (", and 2 for the copies that compute" if copies else "")
        return Part(name="weights", bytes=(4 + copies) * count, how=how)
    if packed and shape.experts:
        weights = shape.expert_weights
        unpacked = weights // shape.layers * size
        held = int(weights * _MXFP4_BITS / 8) + (count - weights) * size
        how = f"{weights:,} x 4.25 bits, {count - weights:,} x {size} bytes, one layer unpacked"
        return Part(name="base weights", bytes=held + unpacked, how=how)
    return Part(name="base weights", bytes=size * count, how=f"{count:,} x {size} bytes")


def _activations(shape: Shape, config: TrainConfig, size: int) -> list[Part]:
    """What is kept for the way back, and the scores of attention where they exist at all."""
    tokens = _tokens(config)
    layer = tokens * _kept_per_token(shape, size)
    if config.checkpoint_activations:
        kept = shape.layers * tokens * shape.hidden * size + 2 * layer
        how = f"{tokens:,} tokens x {shape.hidden:,} x {size} bytes x {shape.layers} layers, and one layer at work"
    else:
        kept = (shape.layers + 1) * layer
        how = f"{tokens:,} tokens x {layer // tokens:,} bytes x {shape.layers} layers"
    parts = [Part(name="activations", bytes=kept, how=how)]
    if is_eager(shape, config):
        rows = tokens // config.max_tokens
        at_once = 1 if config.checkpoint_activations else shape.layers
        # Scores, with the sinks appended, shifted, their softmax, and the gradient of one of them.
        scores = 5 * rows * shape.heads * config.max_tokens**2 * size * at_once
        parts.append(
            Part(
                name="attention scores",
                bytes=scores,
                how=f"5 x {rows} x {shape.heads} heads x {config.max_tokens:,}^2 x {size} bytes x {at_once}",
            )
        )
    return parts


def is_eager(shape: Shape, config: TrainConfig) -> bool:
    """Whether attention is computed with all its scores in memory: what ``auto`` means for gpt-oss."""
    return config.attention == "eager" or (config.attention == "auto" and shape.kind == "gpt_oss")


def _tokens(config: TrainConfig) -> int:
    """Tokens of one forward pass at its largest; pairs are two rows."""
    return config.micro_rows * config.max_tokens * (2 if config.method == "dpo" else 1)


def _kept_per_token(shape: Shape, size: int) -> int:
    """Bytes that autograd keeps of one token in one layer."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    # Queries and keys before and after rotation, values, what attention gives, and what it projects to.
    attention = (3 * queries + 3 * keys + shape.hidden) * size
    # Two norms: what goes in and comes out, and the normalised input in float32.
    norms = 2 * shape.hidden * (2 * size + 4)
    if shape.experts:
        routed = shape.experts_per_token * (2 * shape.hidden + 9 * shape.inner) * size
        return attention + norms + routed + 3 * shape.experts * size
    return attention + norms + 4 * shape.inner * size


def _cache(shape: Shape, config: TrainConfig, size: int) -> Part:
    """Keys and values while answers are generated: of all rows of a step together."""
    tokens = config.batch_rows * config.max_tokens
    width = 2 * shape.kv_heads * shape.head_dim
    return Part(
        name="cache of answers",
        bytes=tokens * shape.layers * width * size,
        how=f"{tokens:,} tokens of {config.batch_rows:,} answers x {width:,} x {size} bytes x {shape.layers} layers",
    )


def _logits(shape: Shape, config: TrainConfig, size: int) -> Part:
    if config.method == "sft":
        at_once = min(HEAD_TOKENS, _tokens(config))
        # In the type of computing, in float32, and the gradients of both.
        count = at_once * shape.vocabulary * (2 * size + 8)
        return Part(name="logits", bytes=count, how=f"{at_once:,} tokens at a time x {shape.vocabulary:,}")
    tokens = _tokens(config)
    if config.method == "grpo":
        tokens = config.micro_rows * config.completion_tokens
    count = tokens * shape.vocabulary * (2 * size + 8)
    return Part(name="logits", bytes=count, how=f"{tokens:,} tokens x {shape.vocabulary:,}")
