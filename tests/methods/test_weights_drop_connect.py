"""DropConnect: one decision per weight, exact moments by enumeration, every layer class against its definition."""

import itertools

import pytest
import torch
from assertions import assert_same_bits
from torch import Tensor, nn

import thinnet
from thinnet.methods.weights import drop_connect
from thinnet.methods.weights.drop_connect import DropConnect

LAYERS = (
    (nn.Linear(5, 3), (4, 5)),
    (nn.Linear(5, 3, bias=False), (4, 2, 3, 5)),
    (nn.Conv1d(4, 6, 3, stride=2, dilation=2, groups=2, padding=1), (4, 4, 9)),
    (nn.Conv2d(2, 3, (3, 2), padding="same", padding_mode="reflect"), (4, 2, 5, 4)),
    (nn.Conv2d(2, 3, 3, padding="same", bias=False), (4, 2, 5, 4)),
    (nn.Conv3d(2, 2, 2, padding_mode="replicate", padding=1), (4, 2, 3, 3, 2)),
    (nn.ConvTranspose1d(4, 6, 3, stride=2, output_padding=1, groups=2), (4, 4, 5)),
    (nn.ConvTranspose2d(2, 3, 3, dilation=2, padding=1), (4, 2, 4, 3)),
    (nn.ConvTranspose3d(2, 1, 2), (4, 2, 2, 2, 3)),
)


def named(layer: nn.Module, p: float = 0.5, **options: object) -> tuple[nn.Module, thinnet.DropoutRNG]:
    model = nn.Sequential(DropConnect(layer, p, **options))
    return model, thinnet.DropoutRNG(seed=5).bind(model)


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: getattr(value, "_get_name", lambda: "")())
@pytest.mark.parametrize("shared", (False, True))
def test_each_weight_of_each_sample_is_dropped_independently(layer: nn.Module, shape: tuple[int, ...], shared: bool) -> None:
    model, rng = named(layer.double(), shared=shared)
    ids, units = [7, 3, 11, 4], sum(weight.numel() for weight in layer.parameters())
    kept = rng.mask("0", step=2, samples=[0] if shared else ids, shape=(units,))
    u = kept.double()  # kept where u >= 0.5
    x, parameters = torch.randn(shape).double().requires_grad_(), [*layer.parameters()]
    ours = rng.at(2, None if shared else ids) and model(x)
    theirs = drop_connect.definition(x, u, 0.5, layer, shared)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    gradients = [torch.autograd.grad((y * weight).sum(), [x, *parameters]) for y in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_the_size_of_the_chunks_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(6, 4)
    x = torch.randn(9, 6)
    outputs = []
    for chunk in (1, 60, 1 << 22):
        monkeypatch.setattr(drop_connect, "CHUNK", chunk)
        model, rng = named(layer)
        torch.manual_seed(1)
        unnamed = DropConnect(layer, 0.5)(x)
        y = [unnamed, rng.at(1) and model(x), rng.at(1, 40) and model(x), rng.at(1, range(40, 49)) and model(x)]
        outputs.append([*y, *torch.autograd.grad(torch.stack(y).square().sum(), [*layer.parameters()])])
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])
    assert torch.equal(outputs[0][2], outputs[0][3]) and not torch.equal(outputs[0][1], outputs[0][2])


def masks(units: int) -> Tensor:
    """All 2^n masks, `(2^n, n)`."""
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=units)), dtype=torch.float64)


@pytest.mark.parametrize("p", (0.25, 0.5, 0.875))
@pytest.mark.parametrize("make", (lambda: nn.Linear(3, 2), lambda: nn.Conv1d(2, 2, 2, bias=False)))
def test_mean_and_variance_are_exact_over_all_masks(p: float, make) -> None:
    layer = make().double()
    x = torch.randn((1, 3) if isinstance(layer, nn.Linear) else (1, 2, 3)).double()
    u = masks(sum(weight.numel() for weight in layer.parameters()))
    outputs = drop_connect.definition(x.expand(len(u), *x.shape[1:]), u, p, layer)
    chance = (u * (1 - p) + (1 - u) * p).prod(1).reshape(-1, *[1] * (outputs.ndim - 1))
    mean = (chance * outputs).sum(0)
    variance = (chance * (outputs - mean) ** 2).sum(0)
    found = DropConnect(layer, p).gaussian(x)
    torch.testing.assert_close((found.mean[0], found.variance[0]), (mean, variance))


def test_gaussian_inference_is_nearer_to_the_mean_over_masks_than_the_layer() -> None:
    layer, x = nn.Linear(100, 30), torch.rand(1, 100)
    training = DropConnect(layer, 0.5)
    with torch.no_grad():
        brute = training(x.expand(20_000, -1)).relu().mean(0)
        plain = DropConnect(layer, 0.5).eval()(x)[0].relu()
        gaussian = DropConnect(layer, 0.5, inference="gaussian").eval()(x)[0]
    noise = training.gaussian(x).variance.sqrt().max() / 20_000**0.5
    assert bool((gaussian >= 0).all())
    assert float((gaussian - brute).abs().max()) < 6 * noise + 0.005
    assert float((plain - brute).abs().mean()) > 10 * float((gaussian - brute).abs().mean())


def test_gaussian_inference_without_noise_is_the_relu_of_the_layer() -> None:
    layer, x = nn.Linear(5, 4), torch.randn(3, 5)
    torch.testing.assert_close(DropConnect(layer, 0.0, inference="gaussian").eval()(x), layer(x).relu())
    assert not DropConnect(layer, 1.0, inference="gaussian").eval()(x).any()


def test_weights_stay_unchanged() -> None:
    layer = DropConnect(nn.Linear(6, 4), 0.5)
    before = [weight.detach().clone() for weight in layer.parameters()]
    for _ in range(3):
        layer(torch.randn(8, 6)).sum().backward()
    for weight, old in zip(layer.parameters(), before, strict=True):
        assert_same_bits(weight.detach(), old)


def test_a_dropped_weight_gets_no_gradient() -> None:
    model, rng = named(nn.Linear(6, 4), shared=True)
    kept = rng.mask("0", step=0, samples=[0], shape=(28,))[0]
    (rng.at(0) and model(torch.ones(3, 6))).sum().backward()
    gradient = torch.cat([model[0].weight.grad.flatten(), model[0].bias.grad])
    assert torch.equal(gradient, 6.0 * kept)


def test_rates_zero_and_one_are_exact() -> None:
    layer = nn.Linear(3, 2)
    assert DropConnect(layer)(torch.ones(0, 3)).shape == (0, 2)
    assert not DropConnect(layer, 1.0)(torch.ones(4, 3)).any()
    infinite = nn.Linear(1, 1, bias=False)
    nn.init.constant_(infinite.weight, torch.inf)
    assert not DropConnect(infinite, 1.0)(torch.ones(4, 1)).any()


def test_invalid_arguments_are_refused() -> None:
    for make in (
        lambda: DropConnect(nn.LSTM(2, 2)),
        lambda: drop_connect.drop_connect(torch.ones(2, 2), layer=nn.LSTM(2, 2), training=True),
    ):
        with pytest.raises(TypeError, match=r"layer must be one of Linear, Conv1d, .*; got LSTM\."):
            make()
    with pytest.raises(ValueError, match=r"^DropConnect: inference must be 'mean' or 'gaussian'; got 'sample'\."):
        DropConnect(nn.Linear(2, 2), inference="sample")
    for layer, x in ((nn.Linear(2, 2), torch.ones(2)), (nn.Conv1d(2, 2, 1), torch.ones(2, 5))):
        with pytest.raises(ValueError, match=r"^DropConnect: x must count samples in axis 0; got shape .* Add that axis\."):
            DropConnect(layer)(x)
        assert DropConnect(layer, shared=True)(x).shape == x.shape


@pytest.mark.parametrize("layer", (nn.Linear(4, 3), nn.Conv1d(4, 3, 2)))
def test_a_batch_without_samples_has_gradients_of_zero(layer: nn.Module) -> None:
    x = torch.ones(0, 4, *[5] * (layer.weight.ndim - 2))
    y = DropConnect(layer, 0.5)(x)
    y.sum().backward()
    assert y.shape == layer(x).shape and not bool(layer.weight.grad.any())
