"""Weight-drop against PyTorch's recurrent layers with masked weights, and the failures of other packages."""

import copy
import gc
import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
from assertions import assert_rate, assert_same_bits
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import thinnet
from thinnet.methods.weights.weight_drop import WeightDrop

Make = Callable[[], nn.RNNBase]
LAYERS: dict[str, Make] = {
    "LSTM": lambda: nn.LSTM(3, 4),
    "bidirectional": lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True),
    "projected": lambda: nn.LSTM(3, 4, num_layers=2, proj_size=2),
    "GRU": lambda: nn.GRU(3, 4, num_layers=2),
    "GRU without bias": lambda: nn.GRU(3, 4, bias=False),
    "RNN": lambda: nn.RNN(3, 4, nonlinearity="relu", bidirectional=True),
}
each = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())


def tensors(output: object) -> list[Tensor]:
    """All tensors that a recurrent layer returns."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, PackedSequence):
        return [output.data]
    return [tensor for part in output for tensor in tensors(part)]  # type: ignore[attr-defined]


def named(layer: nn.Module, p: float = 0.5, **options: object) -> tuple[WeightDrop, thinnet.DropoutRNG]:
    wrapped = WeightDrop(layer, p, **options)
    return wrapped, thinnet.DropoutRNG(seed=5).bind(wrapped)


def masked_by_hand(wrapped: WeightDrop, rng: thinnet.DropoutRNG, step: int) -> tuple[nn.Module, dict[str, Tensor]]:
    """A copy of the bare layer with masked weights, and the masks."""
    weights = [wrapped.get_parameter("layer." + name) for name in wrapped.weights]
    kept = rng.mask("", step=step, samples=[0], shape=(sum(weight.numel() for weight in weights),))[0]
    parts = kept.split([weight.numel() for weight in weights])
    masks = {name: part.reshape(w.shape) for name, part, w in zip(wrapped.weights, parts, weights, strict=True)}
    layer = copy.deepcopy(wrapped.layer)
    for name, mask in masks.items():
        layer.get_parameter(name).data.mul_(mask * 2)
    return layer, masks


@each
def test_it_runs_the_layer_with_masked_weights_and_gradients_reach_the_parameters(make: Make) -> None:
    wrapped, rng = named(make())
    layer, masks = masked_by_hand(wrapped, rng, 3)
    assert len(masks) == sum(name.startswith("weight_hh") for name, _ in layer.named_parameters())
    x = torch.randn(2, 5, 3)
    ours, theirs = tensors(rng.at(3) and wrapped(x)), tensors(layer(x))
    torch.testing.assert_close(ours, theirs)
    for outputs in (ours, theirs):
        sum(tensor.square().sum() for tensor in outputs).backward()  # type: ignore[union-attr]
    for name, parameter in layer.named_parameters():
        expected = parameter.grad * masks[name] * 2 if name in masks else parameter.grad
        torch.testing.assert_close(wrapped.layer.get_parameter(name).grad, expected)


@each
def test_packed_sequences_states_and_unbatched_inputs_work(make: Make) -> None:
    wrapped, rng = named(make())
    layer, _ = masked_by_hand(wrapped, rng, 3)
    packed = pack_sequence([torch.randn(n, 3) for n in (2, 4, 3)], enforce_sorted=False)
    for inputs in ((packed,), (torch.randn(6, 3),)):
        torch.testing.assert_close(tensors(rng.at(3) and wrapped(*inputs)), tensors(layer(*inputs)))
    x = torch.randn(3, 3, 3)
    state = layer(x)[1]
    torch.testing.assert_close(tensors(rng.at(3) and wrapped(x, hx=state)), tensors(layer(x, state)))


@each
def test_switching_modes_copies_and_pickles_keep_the_masks(make: Make) -> None:
    bare, x = make(), torch.randn(2, 5, 3)
    expected = tensors(bare(x))
    keys, before = list(bare.state_dict()), [weight.detach().clone() for weight in bare.parameters()]
    wrapped = WeightDrop(bare, 0.5)
    first, second = tensors(wrapped(x)), tensors(wrapped(x))
    assert not torch.equal(first[0], second[0])
    torch.testing.assert_close(tensors(wrapped.eval()(x)), expected, rtol=0, atol=0)
    wrapped.train()(x)
    for twin in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        torch.testing.assert_close(tensors(twin.eval()(x)), expected, rtol=0, atol=0)
        torch.manual_seed(4)
        ours = tensors(twin.train()(x))
        torch.manual_seed(4)
        torch.testing.assert_close(tensors(wrapped(x)), ours, rtol=0, atol=0)
    assert list(wrapped.state_dict()) == keys
    assert [name for name, _ in wrapped.named_parameters()] == ["layer." + key for key in keys]
    for weight, old in zip(bare.parameters(), before, strict=True):
        assert_same_bits(weight.detach(), old)
    fresh = make()
    fresh.load_state_dict(wrapped.state_dict())
    torch.testing.assert_close(tensors(fresh(x)), expected)


def test_a_forward_pass_does_not_change_the_layer() -> None:
    wrapped = WeightDrop(nn.LSTM(3, 4), 0.5)
    flat = list(wrapped.layer._flat_weights)
    wrapped(torch.randn(2, 5, 3))
    gc.collect()
    assert all(one is other for one, other in zip(wrapped.layer._flat_weights, flat, strict=True))
    assert all(isinstance(weight, nn.Parameter) for weight in wrapped.layer._parameters.values())


def test_masks_act_from_the_second_time_step_on() -> None:
    wrapped, x = WeightDrop(nn.LSTM(3, 8), 0.5), torch.randn(6, 2, 3)
    draws = torch.stack([wrapped(x)[0] for _ in range(20)])
    torch.testing.assert_close(draws[:, 0], draws[:1, 0].expand(20, -1, -1), rtol=0, atol=0)
    assert bool((draws[:, 1:].std(0) > 0).all())


def test_one_mask_serves_all_samples_and_steps() -> None:
    wrapped, x = WeightDrop(nn.RNN(3, 8), 0.5), torch.randn(6, 1, 3)
    y = wrapped(x.expand(-1, 5, -1))[0]
    torch.testing.assert_close(y, y[:, :1].expand(-1, 5, -1))


@pytest.mark.parametrize("p", (0.1, 0.5))
def test_the_delivered_rate_equals_the_stated_one(p: float) -> None:
    wrapped = WeightDrop(nn.LSTM(3, 64), p)
    dropped = []
    for _ in range(8):
        wrapped.zero_grad()
        wrapped(torch.randn(4, 2, 3))[0].sum().backward()
        dropped.append(wrapped.weight_hh_l0.grad == 0)
    assert_rate(torch.stack(dropped), round(p * 65536) / 65536)


def test_rates_zero_and_one_are_exact() -> None:
    bare, x = nn.LSTM(3, 4), torch.randn(5, 2, 3)
    assert_same_bits(WeightDrop(bare, 0.0)(x)[0], bare(x)[0])
    whole = WeightDrop(bare, 1.0)(x)[0]
    whole.sum().backward()
    assert bool(whole.isfinite().all()) and not bare.weight_hh_l0.grad.any()


def test_any_weights_of_any_module_can_be_dropped() -> None:
    two = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    wrapped, rng = named(two, weights=("1.*", "0.weight"))
    assert wrapped.weights == ("0.weight", "1.weight", "1.bias")
    layer, _ = masked_by_hand(wrapped, rng, 1)
    x = torch.randn(5, 3)
    torch.testing.assert_close(rng.at(1) and wrapped(x), layer(x))
    cell = WeightDrop(nn.LSTMCell(3, 4))
    assert cell.weights == ("weight_hh",) and cell(torch.randn(2, 3))[0].shape == (2, 4)


def test_names_without_a_weight_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^WeightDrop: weights must name parameters of the layer.*got \['weight_hi'\]\."):
        WeightDrop(nn.LSTM(2, 2), weights=["weight_hh_l0", "weight_hi"])
    with pytest.raises(ValueError, match=r"^WeightDrop: weights must name parameters"):
        WeightDrop(nn.LSTM(2, 2), weights=[])
    with pytest.raises(ValueError, match=r"^WeightDrop: weights must name parameters.*got \('weight',\)\.|\['weight'\]"):
        WeightDrop(nn.ReLU())


def test_an_optimiser_made_before_still_trains_it() -> None:
    bare = nn.LSTM(3, 4)
    optimiser = torch.optim.SGD(bare.parameters(), lr=0.1)
    wrapped, before = WeightDrop(bare, 0.5), bare.weight_hh_l0.detach().clone()
    wrapped(torch.randn(5, 2, 3))[0].sum().backward()
    optimiser.step()
    assert not torch.equal(wrapped.weight_hh_l0, before)


def test_no_warnings_and_other_dtypes_work() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wrapped = WeightDrop(nn.LSTM(3, 4), 0.5).to(torch.float64).to(torch.bfloat16)
        assert wrapped(torch.randn(5, 2, 3, dtype=torch.bfloat16))[0].dtype == torch.bfloat16
        wrapped.double().eval()(torch.randn(5, 2, 3).double())


def test_compiled_code_draws_the_same_masks() -> None:
    model = nn.Sequential(WeightDrop(nn.LSTM(3, 4), 0.5))
    rng = thinnet.DropoutRNG(0).bind(model)
    compiled, x = torch.compile(model, backend="aot_eager"), torch.randn(5, 2, 3)
    for step in range(3):
        torch.testing.assert_close(tensors(rng.at(step) and compiled(x)), tensors(rng.at(step) and model(x)))


def test_checkpointed_layers_draw_the_same_masks_again() -> None:
    wrapped, x = WeightDrop(nn.LSTM(3, 4), 0.5), torch.randn(5, 2, 3)
    gradients = []
    for run in (wrapped, lambda x: torch.utils.checkpoint.checkpoint(wrapped, x, use_reentrant=False)):
        torch.manual_seed(2)
        gradients.append(torch.autograd.grad(run(x)[0].sum(), wrapped.weight_hh_l0)[0])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_symbolic_trace_keeps_it_as_one_module() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = WeightDrop(nn.LSTM(3, 4), 0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.rnn(x)[0]

    traced = fx.symbolic_trace(Model())
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["rnn"]
    assert traced(torch.randn(5, 2, 3)).shape == (5, 2, 4)
