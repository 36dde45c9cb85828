"""A model's shape, read from its config.json: how many parameters, in which parts. No torch.

Known are dense decoders with grouped-query attention and a gated MLP (Llama, Mistral, Qwen 2 and 3), and gpt-oss, whose
MLP is a mixture of experts. The counts are exact; tests hold them to models that transformers makes of the same file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from discovery.errors import UsageError

_QKV_BIASED = ("qwen2",)
"""Always with biases for query, key and value, and with none for the output."""
_QK_NORMED = ("qwen3",)
KNOWN = ("gpt_oss", "llama", "mistral", "qwen2", "qwen3")
"""Values of ``model_type`` whose parameters can be counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One linear layer of every decoder layer.

    Args:
        name: As transformers calls the module.
        inputs: Features that go in.
        outputs: Features that come out.
        bias: Whether there is one for each output.
    """

    name: str
    inputs: int
    outputs: int
    bias: bool

    @property
    def parameters(self) -> int:
        """How many it has."""
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder's shape.

    Args:
        kind: Its ``model_type``.
        layers: Decoder layers.
        hidden: Width of the residual stream.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of each.
        inner: Width of the MLP; of one expert where there are several.
        vocabulary: Rows of the embedding.
        is_tied: Whether the output head is the embedding.
        linears: The linear layers of one decoder layer: those of attention, and of a dense MLP.
        experts: Experts in each layer; 0 for a dense MLP.
        experts_per_token: How many of them each token goes through.
        others: Parameters of a layer that are in no linear layer and no expert: norms, sinks, the router.
    """

    kind: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    is_tied: bool
    linears: tuple[Linear, ...]
    experts: int
    experts_per_token: int
    others: int

    @property
    def expert_weights(self) -> int:
        """Weights of all experts of all layers, without their biases: what MXFP4 packs."""
        return self.layers * self.experts * 3 * self.hidden * self.inner

    @property
    def parameters(self) -> int:
        """All parameters."""
        biases = self.experts * (2 * self.inner + self.hidden)
        layer = sum(linear.parameters for linear in self.linears) + self.others + biases
        embeddings = self.vocabulary * self.hidden * (1 if self.is_tied else 2)
        return embeddings + self.layers * layer + self.expert_weights + self.hidden


def read_shape(config: Mapping[str, Any]) -> Shape:
    """The shape that a model's config.json tells.

    Raises:
        UsageError: It is of no kind that is known here, or lacks a number.
    """
    kind = config.get("model_type")
    if kind not in KNOWN:
        raise UsageError(
            f"model_type {kind!r}: parameters are counted for {', '.join(KNOWN)} only; train it without --plan"
        )
    hidden, heads = _number(config, "hidden_size"), _number(config, "num_attention_heads")
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or hidden // heads)
    inner, experts = _number(config, "intermediate_size"), 0
    if kind == "gpt_oss":
        experts = _number(config, "num_local_experts")
    qkv, out = _biases(kind, config)
    linears = [
        Linear(name="q_proj", inputs=hidden, outputs=heads * head_dim, bias=qkv),
        Linear(name="k_proj", inputs=hidden, outputs=kv_heads * head_dim, bias=qkv),
        Linear(name="v_proj", inputs=hidden, outputs=kv_heads * head_dim, bias=qkv),
        Linear(name="o_proj", inputs=heads * head_dim, outputs=hidden, bias=out),
    ]
    others = 2 * hidden + (2 * head_dim if kind in _QK_NORMED else 0)
    if experts:
        others += heads + experts * (hidden + 1)  # sinks, and the router with its biases
    else:
        bias = bool(config.get("mlp_bias", False))
        linears += [
            Linear(name="gate_proj", inputs=hidden, outputs=inner, bias=bias),
            Linear(name="up_proj", inputs=hidden, outputs=inner, bias=bias),
            Linear(name="down_proj", inputs=inner, outputs=hidden, bias=bias),
        ]
    return Shape(
        kind=kind,
        layers=_number(config, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        inner=inner,
        vocabulary=_number(config, "vocab_size"),
        is_tied=bool(config.get("tie_word_embeddings", False)),
        linears=tuple(linears),
        experts=experts,
        experts_per_token=int(config.get("num_experts_per_tok") or 4) if experts else 0,
        others=others,
    )


def _biases(kind: str, config: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether query, key and value have biases, and whether the output has."""
    if kind in _QKV_BIASED:
        return True, False
    if kind == "mistral":
        return False, False
    both = bool(config.get("attention_bias", kind == "gpt_oss"))
    return both, both


def _number(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"config.json says {name} {value!r}; expected a whole number from 1")
    return value
