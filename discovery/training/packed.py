"""Experts whose weights stay packed as MXFP4 while adapters beside them are trained.

The libraries train gpt-oss with its experts unpacked to bfloat16 only, nearly four times their packed size: 218 GiB for
gpt-oss-120b. Frozen weights need no gradients, though, so that they can stay as they are and be unpacked for as long as
one layer is at work: on the way forward, and again where its activations are recomputed on the way back. Each unpacks
the same bytes, so that nothing differs from a model that was unpacked as a whole.

Source of the format: OCP Microscaling Formats (MX) 1.0, section 5: 32 values E2M1 with a shared scale E8M0. Where they
lie: the files of openai/gpt-oss-20b, `*_blocks` (experts x outputs x groups x 16 bytes, the lower half of each byte
first) and `*_scales` (experts x outputs x groups).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from discovery.errors import UsageError
from discovery.generation.weights import Weights

METHOD = "mxfp4"
_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_SCALE_OF_ONE = 127
_PACKED = ("gate_up_proj", "down_proj")


def is_packed(weights: Weights) -> bool:
    """Whether a checkpoint's experts are packed as MXFP4."""
    return (weights.config.get("quantization_config") or {}).get("quant_method") == METHOD


def load_packed(weights: Weights, *, dtype: Any, device: Any, **options: Any) -> Any:
    """A model whose experts stay packed, all other weights in the type given.

    Args:
        weights: A checkpoint of gpt-oss, packed.
        dtype: Of all other weights, and of what the experts compute in.
        device: Where to.
        **options: For transformers, as its ``attn_implementation``.

    Raises:
        UsageError: The checkpoint is not packed, or lacks a tensor.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    if not is_packed(weights):
        raise UsageError(f"{weights.folder} holds no experts packed as MXFP4; train it without packed = true")
    config = AutoConfig.from_pretrained(weights.folder, local_files_only=True)
    del config.quantization_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, **options)
    for experts in _experts(model):
        _keep_packed(experts, dtype)
    missing = set(model.state_dict())
    for path in sorted(weights.folder.glob("*.safetensors")):
        found = load_file(path, device=str(device))
        found = {
            name: tensor if tensor.dtype == torch.uint8 else tensor.to(dtype)
            for name, tensor in found.items()
        }
        model.load_state_dict(found, strict=False, assign=True)
        missing -= found.keys()
    if missing:
        raise UsageError(f"{weights.folder} lacks {min(missing)}; copy or save the checkpoint again")
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config).to(device)  # in no file
    if model.can_generate():
        model.generation_config = GenerationConfig.from_model_config(config)
    model.config.name_or_path = str(weights.folder)
    return model.eval()


def unpack(blocks: Any, scales: Any, dtype: Any) -> Any:
    """Weights as numbers.

    Args:
        blocks: Experts x outputs x groups x 16, bytes.
        scales: Experts x outputs x groups, bytes.
        dtype: Of the result.

    Returns:
        Experts x inputs x outputs.
    """
    import torch

    table = torch.tensor([*_VALUES, *(-value for value in _VALUES)], dtype=dtype, device=blocks.device)
    count, outputs, groups, half = blocks.shape
    weights = torch.empty((count, outputs, groups, 2 * half), dtype=dtype, device=blocks.device)
    for expert in range(count):  # one at a time: the indices are four times as large as what they pick
        bytes_ = blocks[expert].int()
        weights[expert, ..., 0::2] = table[bytes_ & 15]
        weights[expert, ..., 1::2] = table[bytes_ >> 4]
        torch.ldexp(weights[expert], scales[expert].int()[..., None] - _SCALE_OF_ONE, out=weights[expert])
    return weights.view(count, outputs, groups * 2 * half).transpose(1, 2)


def _experts(model: Any) -> Iterator[Any]:
    for module in model.modules():
        if type(module).__name__ == "GptOssExperts":
            yield module


def _keep_packed(experts: Any, dtype: Any) -> None:
    """Put bytes in the place of an experts module's weights, and numbers there while it works."""
    import torch

    for name in _PACKED:
        count, inputs, outputs = getattr(experts, name).shape
        delattr(experts, name)
        groups = (count, outputs, inputs // 32)
        for part, shape in (("blocks", (*groups, 16)), ("scales", groups)):
            buffer = torch.empty(shape, dtype=torch.uint8, device="meta")
            experts.register_buffer(f"{name}_{part}", buffer)

    def forward(*args: Any, **kwargs: Any) -> Any:
        try:
            for name in _PACKED:
                blocks, scales = getattr(experts, f"{name}_blocks"), getattr(experts, f"{name}_scales")
                setattr(experts, name, unpack(blocks, scales, dtype))
            return type(experts).forward(experts, *args, **kwargs)
        finally:
            for name in _PACKED:
                experts.__dict__.pop(name, None)

    experts.forward = forward
