r"""Formulas on tensors.

Weighted supervised loss, with rows i of weight w_i and learned tokens t of row i::

    L = - sum_i w_i sum_t log pi(y_it | x_i, y_i<t)  /  sum_i w_i T_i

Both sums go over all rows of an optimiser step, however they are spread over forward passes, so that L is the mean
negative log-likelihood of a token where all weights are 1, a row of weight 2 counts as two equal rows, and accumulating
gradients changes nothing.

Source: the numerator is the loss of iterative rejection-sampling fine-tuning in "Evaluation-driven Scaling for
Scientific Discovery" (arXiv 2604.19341). The denominator is ours: the paper does not tell its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from discovery.errors import UsageError
from discovery.training.memory import HEAD_TOKENS

_TOLERANCE = 1e-3
_LOOKED_AT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A causal language model in its two parts.

    Args:
        body: Token ids to hidden states.
        head: Hidden states to logits.
    """

    body: Any
    head: Any


def backbone(model: Any) -> Backbone:
    """A model's body and head, for logits of chosen places only.

    Raises:
        UsageError: The model does more to its logits than a linear layer, so that they cannot be made piece by piece.
    """
    import torch

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    parts = Backbone(body=inner.base_model, head=inner.get_output_embeddings())
    device = next(inner.parameters()).device
    ids = torch.arange(_LOOKED_AT, device=device)[None] % inner.config.get_text_config().vocab_size
    was_training = model.training
    model.eval()
    with torch.no_grad():
        whole = model(input_ids=ids).logits.float().log_softmax(-1)
        pieces = parts.head(parts.body(input_ids=ids).last_hidden_state).float().log_softmax(-1)
    model.train(was_training)
    if whole.shape != pieces.shape or not torch.allclose(whole, pieces, atol=_TOLERANCE):
        raise UsageError(
            f"{type(inner).__name__} does more to its logits than one linear layer (scales or caps them); "
            "such models cannot be trained by sft here"
        )
    return parts


def weighted_nll(parts: Backbone, batch: Any, piece: int = HEAD_TOKENS) -> Any:
    """The numerator of the loss: the weighted sum of -log pi over the learned tokens of a batch.

    Logits exist for ``piece`` tokens at a time and are made again on the way back, so that a long row and a large
    vocabulary cost no more than a short one.

    Args:
        parts: The model.
        batch: As :func:`discovery.training.dataset.collate` makes it.
        piece: Tokens whose logits exist at one time.

    Returns:
        A scalar tensor, float32.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    states = parts.body(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).last_hidden_state
    targets = batch["labels"][:, 1:]
    learned = targets != -100
    chosen, wanted = states[:, :-1][learned], targets[learned]
    weights = batch["weights"][:, None].expand_as(targets)[learned]

    def of_piece(states: Any, wanted: Any, weights: Any) -> Any:
        logits = parts.head(states).float()
        return (torch.nn.functional.cross_entropy(logits, wanted, reduction="none") * weights).sum()

    total = states.new_zeros((), dtype=torch.float32)
    for begin in range(0, len(wanted), piece):
        cut = slice(begin, begin + piece)
        total = total + checkpoint(of_piece, chosen[cut], wanted[cut], weights[cut], use_reentrant=False)
    return total


def weighted_tokens(batch: Any) -> Any:
    """The denominator of the loss: the sum of weights over the learned tokens of a batch; a scalar tensor."""
    return (batch["weights"] * (batch["labels"][:, 1:] != -100).sum(1)).sum()
