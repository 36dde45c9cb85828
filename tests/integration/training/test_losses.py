import pytest

from discovery.errors import UsageError
from discovery.training.dataset import Encoded, collate
from discovery.training.losses import backbone, weighted_nll, weighted_tokens

pytestmark = pytest.mark.train
ROWS = [
    Encoded(ids=(3, 9, 8, 7, 6, 1), learned=2, weight=1.0),
    Encoded(ids=(3, 9, 8, 1), learned=3, weight=0.5),
    Encoded(ids=(3, 5, 8, 12, 7, 20, 21, 1), learned=4, weight=4.0),
]


@pytest.fixture
def model(tiny_model):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model)


def by_hand(model, rows):
    """The formula as it is written, one token at a time."""
    import torch

    above = below = 0.0
    for row in rows:
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([row.ids])).logits[0].double().log_softmax(-1)
        for place in range(row.learned, len(row.ids)):
            above -= row.weight * float(logprobs[place - 1, row.ids[place]])
            below += row.weight
    return above, below


@pytest.mark.parametrize("piece", [1, 3, 1024])
def test_the_loss_is_the_formula_whatever_the_pieces(model, piece):
    batch = collate(ROWS, padding=0)
    above, below = by_hand(model, ROWS)
    assert weighted_nll(backbone(model), batch, piece).item() == pytest.approx(above, rel=1e-5)
    assert float(weighted_tokens(batch)) == below


def test_with_equal_weights_it_is_the_loss_of_the_library(model):
    rows = [Encoded(ids=row.ids, learned=row.learned, weight=2.0) for row in ROWS]
    batch = collate(rows, padding=0)
    theirs = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]
    ).loss
    ours = weighted_nll(backbone(model), batch) / weighted_tokens(batch)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_gradients_go_through_the_pieces(model):
    import torch

    batch = collate(ROWS, padding=0)
    parts = backbone(model)
    found = []
    for piece in (2, 1024):
        model.zero_grad()
        weighted_nll(parts, batch, piece).backward()
        found.append([p.grad.clone() for p in model.parameters()])
    for ours, whole in zip(*found, strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-6)
    assert all(gradient.abs().sum() > 0 for gradient in found[0])


def test_a_model_that_caps_its_logits_is_refused():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        final_logit_softcapping=0.05,
    )
    with pytest.raises(UsageError, match="does more to its logits"):
        backbone(Gemma2ForCausalLM(config))
