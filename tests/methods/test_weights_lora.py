"""LoRA dropout: two tensors to an update, for weights of any number of axes."""

import pytest
import torch
from assertions import assert_mean, assert_same_bits, assert_variance
from torch import nn

import thinnet
from thinnet.methods.weights.lora_dropout import FACTS, LoRADropout, lora_dropout

SHAPES = [((2, 5), (3, 2)), ((4, 2, 5), (4, 3, 2)), ((2, 4, 1, 6), (2, 4, 2, 1))]


@pytest.mark.parametrize(("of_a", "of_b"), SHAPES, ids=str)
@pytest.mark.parametrize("p", [0.25, 0.5, 1.0])
def test_mean_and_variance_are_the_stated_ones(of_a: tuple[int, ...], of_b: tuple[int, ...], p: float) -> None:
    a, b, layer = torch.randn(of_a), torch.randn(of_b), LoRADropout(p)
    y = torch.stack([layer(a, b) for _ in range(6000)]).double()
    mean, variance = FACTS.mean(a, p, b=b).double(), FACTS.variance(a, p, b=b).double()
    assert_mean(y, mean, variance)
    assert_variance(y, mean, variance)


def test_the_update_is_dropout_of_the_input_with_one_mask_for_all_tokens() -> None:
    a, b, x = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((3, 2, 7), (3, 4, 2), (3, 9, 7)))
    layer = LoRADropout(0.5)
    rng = thinnet.DropoutRNG(3).bind(layer)
    rng.at(1)
    mask = rng.mask(layer.name, step=1, samples=0, shape=(3, 1, 7))[0]
    ours = x @ layer(a, b).mT
    theirs = (x * mask * 2) @ a.mT @ b.mT
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    torch.testing.assert_close(*(torch.autograd.grad((y * weight).sum(), (a, b, x)) for y in (ours, theirs)))
    for expert in range(3):  # experts drop different features
        assert not torch.equal(mask[expert], mask[expert - 1])


def test_eval_is_the_whole_update_and_the_functional_form_draws_like_the_module() -> None:
    a, b, layer = torch.randn(4, 2, 9), torch.randn(4, 3, 2), LoRADropout(0.5)
    torch.manual_seed(2)
    y = layer(a, b)
    torch.manual_seed(2)
    assert_same_bits(lora_dropout(a, 0.5, b=b, training=True), y)
    assert_same_bits(layer.eval()(a, b), b @ a)


def test_shapes_that_do_not_fit_are_refused() -> None:
    for a, b in ((torch.ones(2, 5), torch.ones(3, 4)), (torch.ones(4, 2, 5), torch.ones(3, 2)), (torch.ones(5), torch.ones(5))):
        with pytest.raises(ValueError, match=r"^LoRADropout: a must be \(\.\.\., R, in\) and b"):
            LoRADropout()(a, b)


def test_peft_has_no_dropout_for_fused_weights() -> None:
    peft = pytest.importorskip("peft")

    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight.mT

    config = peft.LoraConfig(target_modules=[], target_parameters=["0.weight"], lora_dropout=0.1)
    with pytest.raises(ValueError, match="lora_dropout"):
        peft.get_peft_model(nn.Sequential(Experts()), config)
