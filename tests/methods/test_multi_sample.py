"""Multi-sample dropout: its masks, its batch, its gradient, and eval."""

import copy
import pickle

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_keeps_nothing, assert_rate, assert_same_bits
from torch import nn
from torch.nn import functional as F

import thinnet
from thinnet.methods.losses.multi_sample import MultiSample, multi_sample_loss

IDS = torch.tensor([4, 9, 2, 7])


def bound(p: float = 0.5, masks: int = 3, head: nn.Module | None = None) -> tuple[MultiSample, thinnet.DropoutRNG]:
    layer = MultiSample(head or nn.Linear(6, 3), p, masks=masks)
    return layer, thinnet.DropoutRNG(3).bind(nn.Sequential(layer)).at(8, IDS)


def test_each_element_of_each_copy_is_dropped_independently() -> None:
    kept = MultiSample(nn.Identity(), 0.3, masks=4)(torch.ones(5000, 6)) != 0
    assert kept.shape == (4, 5000, 6)
    p = thinnet.rng.rates.count(0.3) / 65536
    assert_rate(~kept, p)
    for other in range(1, 4):
        assert_rate(~kept[0] & ~kept[other], p * p)
    torch.testing.assert_close(MultiSample(nn.Identity(), 0.3)(torch.ones(5, 6)).amax(), torch.tensor(1 / (1 - p)))


def test_its_masks_are_addressed_and_belong_to_the_samples() -> None:
    layer, rng = bound(head=nn.Identity())
    expected = rng.mask("0", step=8, samples=IDS, shape=(3, 6)).transpose(0, 1)
    x = torch.randn(4, 6)
    assert torch.equal(layer(x) != 0, expected)
    rng.at(8, IDS[2:])
    assert torch.equal(layer(x[2:]) != 0, expected[:, 2:])


def test_the_gradient_is_the_mean_over_single_masks() -> None:
    layer, rng = bound(head=nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)))
    layer.double()
    x, y = torch.randn(4, 6, dtype=torch.float64, requires_grad=True), torch.tensor([0, 2, 1, 1])
    masks = rng.mask("0", step=8, samples=IDS, shape=(3, 6)).transpose(0, 1)
    wanted = [x, *layer.parameters()]
    together = multi_sample_loss(layer(x), y)
    singles = [F.cross_entropy(layer.layer(torch.where(mask, x * 2, 0)), y) for mask in masks]
    torch.testing.assert_close(together, torch.stack(singles).mean())
    each = [torch.autograd.grad(single, wanted) for single in singles]
    for ours, theirs in zip(torch.autograd.grad(together, wanted), zip(*each, strict=True), strict=True):
        torch.testing.assert_close(ours, torch.stack(theirs).mean(0))


def test_any_loss_works_with_any_reduction() -> None:
    z, y = torch.randn(3, 4, 2), torch.randn(4, 2)
    torch.testing.assert_close(multi_sample_loss(z, y, F.mse_loss), (z - y).square().mean())
    cases = multi_sample_loss(z, y, lambda z, y: F.mse_loss(z, y, reduction="none"))
    torch.testing.assert_close(cases, (z - y).square().mean(0))


def test_eval_is_one_pass_of_the_head() -> None:
    layer, x = MultiSample(nn.Linear(6, 3)).eval(), torch.randn(4, 6)
    assert_same_bits(layer(x), layer.layer(x))
    kept = MultiSample(nn.Identity(), 0.0, masks=2)(x)
    assert torch.equal(kept, x.expand(2, 4, 6))
    assert not MultiSample(nn.Identity(), 1.0, masks=2)(x).any()


def test_the_head_is_called_once_and_no_mask_is_kept() -> None:
    calls = []
    layer = MultiSample(nn.Identity(), 0.5, masks=4)
    layer.layer.register_forward_hook(lambda _, inputs, y: calls.append(inputs[0].shape))
    x = torch.randn(64, 6, requires_grad=True)
    assert_keeps_nothing(lambda: layer(x), x)
    assert calls == [(256, 6)]


def test_it_has_the_keys_of_the_head_and_copies_draw_the_same_masks() -> None:
    layer = MultiSample(nn.Linear(6, 3), 0.25, masks=5)
    assert list(layer.state_dict()) == ["weight", "bias"]
    x = torch.randn(4, 6)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(1)
        y = layer(x)
        torch.manual_seed(1)
        assert_same_bits(twin(x), y)
    assert layer.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


def test_one_compiled_graph_serves_all_rates_and_steps() -> None:
    layer, rng = bound()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, backend=counter, fullgraph=True)
    for step in range(5):
        layer.p, x = step / 6, torch.randn(4, 6)
        rng.at(step, IDS)
        torch.testing.assert_close(compiled(x), layer(x))
    assert counter.frame_count == 1


def test_invalid_arguments_are_refused() -> None:
    for masks in (0, True, 2.0):
        with pytest.raises(ValueError, match=r"^MultiSample: masks must be a positive integer"):
            MultiSample(nn.Identity(), 0.5, masks=masks)
    with pytest.raises(ValueError, match=r"^MultiSample: p must be"):
        MultiSample(nn.Identity(), 5)
    with pytest.raises(TypeError, match="MultiSample"):
        MultiSample(F.relu)
    for logits in (torch.ones(3), torch.ones(0, 3)):
        with pytest.raises(ValueError, match=r"^multi_sample_loss: logits must be \(M, N, ...\)"):
            multi_sample_loss(logits, torch.zeros(1))
