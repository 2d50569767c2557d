"""The losses of several passes, against torch's divergences and cross-entropies."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from thinnet.methods.losses.consistency import consistency_loss
from thinnet.methods.losses.fraternal import fraternal_loss
from thinnet.methods.losses.r_drop import r_drop_loss

Loss = Callable[..., Tensor]
PAIRS = pytest.mark.parametrize(("loss", "weight"), [(r_drop_loss, "alpha"), (fraternal_loss, "kappa")])
SHAPES = pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (2, 3, 4, 2)], ids=str)
CE = F.cross_entropy


def case(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    first, second = torch.randn(2, *shape, dtype=torch.float64)
    target = torch.randint(shape[1], (shape[0], *shape[2:]))
    target.flatten()[::3] = -100
    return first.requires_grad_(), second.requires_grad_(), target


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(softmax(p) || softmax(q)) at each position."""
    return F.kl_div(q.log_softmax(1), p.log_softmax(1), log_target=True, reduction="none").sum(1)


@SHAPES
def test_r_drop_equals_the_formula_of_the_paper_averaged_without_padding(shape: tuple[int, ...]) -> None:
    first, second, target = case(shape)
    real = target != -100
    apart = (divergence(first, second) + divergence(second, first)) / 2
    expected = CE(first, target) + CE(second, target) + 0.7 * apart[real].mean()
    torch.testing.assert_close(r_drop_loss(first, second, target, 0.7), expected)
    ours, theirs = (torch.autograd.grad(loss, (first, second)) for loss in (r_drop_loss(first, second, target, 0.7), expected))
    torch.testing.assert_close(ours, theirs)
    total = r_drop_loss(first, second, target, 0.7, reduction="sum")
    torch.testing.assert_close(total / real.sum(), expected)
    places = r_drop_loss(first, second, target, 0.7, reduction="none")
    assert places.shape == target.shape and not places[~real].any()
    torch.testing.assert_close(places.sum(), total)


@SHAPES
def test_fraternal_equals_its_formula_averaged_without_padding(shape: tuple[int, ...]) -> None:
    first, second, target = case(shape)
    square = (first - second).square().mean(1)[target != -100].mean()
    expected = (CE(first, target) + CE(second, target)) / 2 + 0.15 * square
    torch.testing.assert_close(fraternal_loss(first, second, target), expected)


def test_half_of_the_loss_of_the_paper_is_that_of_the_readme_at_half_of_alpha() -> None:
    first, second, target = case((6, 4))
    real = target != -100
    apart = ((divergence(first, second) + divergence(second, first)) / 2)[real].mean()
    readme = (CE(first, target) + CE(second, target)) / 2 + 0.5 * apart
    torch.testing.assert_close(r_drop_loss(first, second, target, alpha=1.0) / 2, readme)


@PAIRS
def test_equal_passes_have_no_penalty_and_the_order_does_not_matter(loss: Loss, weight: str) -> None:
    first, second, target = case((6, 4))
    torch.testing.assert_close(loss(first, first, target, 3.0), loss(first, first, target, 0.0))
    torch.testing.assert_close(loss(first, second, target), loss(second, first, target))
    assert loss(first, second, target, 3.0) > loss(first, second, target, 0.0)
    torch.autograd.gradcheck(lambda *z: loss(*z, target, **{weight: 0.7}), (first, second))


@PAIRS
def test_targets_may_be_probabilities_and_padding_may_have_any_class(loss: Loss, weight: str) -> None:
    first, second, target = case((3, 4, 5))
    whole = target.clamp(min=0)
    soft = F.one_hot(whole, 4).movedim(-1, 1).double()
    torch.testing.assert_close(loss(first, second, soft), loss(first, second, whole))
    torch.testing.assert_close(
        loss(first, second, target.where(target >= 0, 2), ignore_index=2), loss(first, second, target.where(target != 2, -100))
    )


@PAIRS
def test_a_constant_added_to_the_logits_changes_only_the_fraternal_loss(loss: Loss, weight: str) -> None:
    first, second, target = case((6, 4))
    shifted = loss(first, second + 5, target)
    assert bool(torch.isclose(shifted, loss(first, second, target))) is (loss is r_drop_loss)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    first, second, target = case((6, 4))
    z, w = first.detach().to(dtype), second.detach().to(dtype)
    for ours, exact in (
        (r_drop_loss(z, w, target), r_drop_loss(z.double(), w.double(), target)),
        (fraternal_loss(z, w, target), fraternal_loss(z.double(), w.double(), target)),
        (consistency_loss(torch.stack([z, w])), consistency_loss(torch.stack([z, w]).double())),
    ):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_a_class_that_is_masked_in_all_passes_does_not_matter() -> None:
    first, second, _ = case((6, 4))
    target = torch.randint(4, (6,))
    closed = torch.full((6, 1), -torch.inf, dtype=torch.float64)
    one, two = (torch.cat([z, closed], 1) for z in (first, second))
    torch.testing.assert_close(r_drop_loss(one, two, target), r_drop_loss(first, second, target))
    pair, wide = torch.stack([first, second]), torch.stack([one, two])
    torch.testing.assert_close(consistency_loss(wide), consistency_loss(pair))
    squares = fraternal_loss(one, two, target, kappa=1.0)  # their mean counts the masked class
    torch.testing.assert_close(squares, fraternal_loss(first, second, target, kappa=4 / 5))
    for gradient in torch.autograd.grad(r_drop_loss(one, two, target) + consistency_loss(wide) + squares, (first, second)):
        assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_consistency_equals_the_mean_divergence_from_the_mean(count: int) -> None:
    logits = torch.randn(count, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    p = logits.softmax(2)
    q = p.mean(0)
    expected = torch.stack([(each * (each / q).log()).sum(1) for each in p]).mean(0)
    torch.testing.assert_close(consistency_loss(logits, reduction="none"), expected)
    torch.testing.assert_close(consistency_loss(logits), expected.mean())
    torch.testing.assert_close(consistency_loss(logits, reduction="sum"), expected.sum())
    torch.testing.assert_close(consistency_loss(logits.flip(0)), expected.mean())
    torch.autograd.gradcheck(consistency_loss, logits)


def test_consistency_is_zero_for_equal_predictions_and_log_m_for_disjoint_ones() -> None:
    same = torch.randn(1, 3, 4, dtype=torch.float64).expand(5, 3, 4)
    assert float(consistency_loss(same).abs()) < 1e-12
    for count in (2, 3, 8):
        apart = 1000 * torch.eye(count, dtype=torch.float64)[:, None]
        assert float(consistency_loss(apart)) == pytest.approx(math.log(count))
        assert float(consistency_loss(torch.randn(count, 50, 4))) < math.log(count)


def test_invalid_arguments_are_refused() -> None:
    z, y = torch.randn(3, 4), torch.zeros(3, dtype=torch.int64)
    for loss, name in ((r_drop_loss, "alpha"), (fraternal_loss, "kappa")):
        for weight in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=rf"^{loss.__name__}: {name} must be at least 0 and finite"):
                loss(z, z, y, weight)
        for other in (z[:2], z[:, 0]):
            with pytest.raises(ValueError, match=rf"^{loss.__name__}: first and second must have one shape"):
                loss(z, other, y)
        with pytest.raises(ValueError, match=rf"^{loss.__name__}: reduction must be 'mean', 'sum' or 'none'"):
            loss(z, z, y, reduction="batchmean")
    with pytest.raises(ValueError, match=r"^consistency_loss: reduction must be"):
        consistency_loss(z[None], reduction="batchmean")
    for logits in (z, z[None][:0]):
        with pytest.raises(ValueError, match=r"^consistency_loss: logits must be \(M, N, C, ...\)"):
            consistency_loss(logits)
