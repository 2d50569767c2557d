"""LayerDrop: which layers run, gradients of skipped ones, checkpoints, compiled code and pruned stacks."""

import copy
import pickle

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_rate, assert_same_bits
from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.methods.residual import layer_drop
from thinnet.methods.residual.layer_drop import LayerDrop

DEPTH = 6


class Digit(nn.Module):
    """Appends its digit to a number, which so lists the layers that ran, in order."""

    def __init__(self, digit: int) -> None:
        super().__init__()
        self.digit = nn.Parameter(torch.tensor(float(digit), dtype=torch.float64))

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return 10 * x + scale * self.digit


def digits(p: float) -> LayerDrop:
    return LayerDrop([Digit(index) for index in range(1, DEPTH + 1)], p)


def read(y: Tensor) -> list[int]:
    """The layers that ran."""
    return [int(digit) - 1 for digit in str(int(y))] if int(y) else []


ZERO = torch.zeros(1, dtype=torch.float64)


def test_each_layer_runs_independently_at_the_rate() -> None:
    layers, steps = digits(0.3), 4000
    ran = torch.zeros(steps, DEPTH, dtype=torch.bool)
    for row in ran:
        row[read(layers(ZERO))] = True
    p = layer_drop.FACTS.expected_drop(thinnet.rng.rates.count(0.3) / 65536)
    for index in range(DEPTH):
        assert_rate(~ran[:, index], p)
    for index in range(DEPTH - 1):  # neighbours are independent
        assert_rate(~ran[:, index] & ~ran[:, index + 1], p * p)
    assert_rate(~ran, p)  # the number of layers that run is binomial


def test_nothing_is_scaled_and_eval_runs_every_layer() -> None:
    layers = digits(0.5)
    for _ in range(20):
        ran = read(layers(ZERO))
        assert ran == sorted(ran)  # each appended exactly its digit
    assert read(layers.eval()(ZERO)) == list(range(DEPTH))
    assert list(layers) == list(layers.children())
    assert read(digits(0.0)(ZERO)) == list(range(DEPTH))
    assert read(digits(1.0)(ZERO)) == []


def test_a_loop_iterates_over_the_layers_that_run() -> None:
    layers = digits(0.5)
    torch.manual_seed(3)
    ran = read(layers(ZERO))
    torch.manual_seed(3)
    assert list(layers) == [layers[index] for index in ran]
    torch.manual_seed(3)
    assert [index for index, kept in enumerate(layers.decide()) if kept] == ran
    torch.manual_seed(3)
    assert layer_drop.layer_drop(layers.children(), 0.5, training=True) == [layers[index] for index in ran]
    generator = torch.Generator().manual_seed(3)
    assert layer_drop.layer_drop(layers.children(), 0.5, training=True, generator=generator) == [layers[i] for i in ran]
    assert layer_drop.layer_drop(layers.children(), 0.5, training=False) == list(layers.children())
    assert repr(layers).count("Digit") == DEPTH and len(layers) == DEPTH


def test_layers_get_the_arguments_of_the_stack() -> None:
    layers = digits(0.5)
    torch.manual_seed(3)
    once = layers(ZERO)
    torch.manual_seed(3)
    assert layers(ZERO, scale=2.0) == 2 * once


@pytest.mark.parametrize("by_hand", [False, True], ids=["called", "in a loop"])
def test_skipped_layers_have_zero_gradients_and_others_their_own(by_hand: bool) -> None:
    layers = digits(0.5)
    rng = thinnet.DropoutRNG(1).bind(layers).at(4)
    kept = layers.decide()
    x = ZERO.clone().requires_grad_()
    if by_hand:
        y = x
        for index, runs in enumerate(layers.decide()):
            y = layers[index](y) if runs else layers.tie(y, index)
    else:
        y = layers(x)
    y.backward()
    places = [10 ** sum(kept[index + 1 :]) if kept[index] else 0 for index in range(DEPTH)]
    assert [float(layer.digit.grad) for layer in layers.children()] == places
    assert x.grad == 10 ** sum(kept) and 0 < sum(kept) < DEPTH
    assert rng.context.calls.depth == 0


def test_it_equals_its_definition() -> None:
    layers = digits(0.5)
    rng = thinnet.DropoutRNG(1).bind(nn.Sequential(layers))
    for step in range(10):
        u = rng.mask("0", step=step, samples=[0], shape=(DEPTH,)).double()  # kept where u >= p
        assert rng.at(step) and layers(ZERO) == layer_drop.definition(ZERO, u, 0.5, list(layers.children()))


def test_addressed_decisions_do_not_depend_on_the_batch_or_recomputation() -> None:
    layers = LayerDrop([nn.Linear(3, 3) for _ in range(DEPTH)], 0.5)
    rng, x = thinnet.DropoutRNG(1).bind(layers), torch.randn(4, 3, requires_grad=True)
    whole = rng.at(3, [5, 2, 9, 1]) and layers(x)
    torch.testing.assert_close(rng.at(3, [9]) and layers(x[2:3]), whole[2:3])
    assert not torch.equal(rng.at(4) and layers(x), whole)
    rng.at(3)
    plain = torch.autograd.grad(layers(x).square().sum(), [x, *layers.parameters()])
    for options in ({"use_reentrant": False}, {"use_reentrant": False, "context_fn": rng.recompute}):
        again = torch.autograd.grad(checkpoint(layers, x, **options).square().sum(), [x, *layers.parameters()])
        for one, other in zip(plain, again, strict=True):
            assert_same_bits(one, other)
    rng.unbind()
    torch.manual_seed(0)
    plain = torch.autograd.grad(layers(x).square().sum(), x)
    torch.manual_seed(0)
    again = torch.autograd.grad(checkpoint(layers, x, use_reentrant=False).square().sum(), x)
    assert_same_bits(plain[0], again[0])


def test_checkpoints_equal_those_of_a_plain_stack_and_load_into_a_pruned_one() -> None:
    layers = LayerDrop([nn.Linear(3, 3) for _ in range(DEPTH)], 0.5).eval()
    plain = nn.ModuleList([nn.Linear(3, 3) for _ in range(DEPTH)])
    assert list(layers.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(layers.state_dict())
    layers.load_state_dict(plain.state_dict())
    pruned = layers.prune(range(0, DEPTH, 2))
    assert list(pruned) == [layers[0], layers[2], layers[4]]
    assert list(pruned.state_dict()) == list(plain[:3].state_dict())


def test_it_copies_and_pickles() -> None:
    layers = digits(0.5)
    for twin in (copy.deepcopy(layers), pickle.loads(pickle.dumps(layers))):
        torch.manual_seed(1)
        y = layers(ZERO)
        torch.manual_seed(1)
        assert (twin(ZERO), twin.p) == (y, 0.5)
    assert layers.half()(torch.zeros(1, dtype=torch.float16)).dtype == torch.float16


def test_compiled_code_selects_and_separately_compiled_layers_are_skipped() -> None:
    layers = digits(0.5)
    rng = thinnet.DropoutRNG(1).bind(layers)
    whole = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layers, backend=whole, fullgraph=True)
    for step in range(8):
        layers.p = step / 8
        rng.at(step)
        runs = [run(ZERO) for run in (layers, compiled)]
        assert runs[0] == runs[1]
        one, other = (torch.autograd.grad(y, list(layers.parameters())) for y in runs)
        torch.testing.assert_close(one, other)
    assert whole.frame_count == 1
    parts = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    expected = [rng.at(step) and layers(ZERO) for step in range(8)]
    for layer in layers.children():
        layer.compile(backend=parts, fullgraph=True)
    assert [rng.at(step) and layers(ZERO) for step in range(8)] == expected
    assert parts.frame_count <= 2  # with and without gradients of x


def test_a_symbolic_trace_keeps_a_stack_as_one_node() -> None:
    traced = fx.symbolic_trace(nn.Sequential(digits(0.5)))
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "output"]


def test_bad_rates_are_refused() -> None:
    for p in (-0.1, 1.5, float("nan"), True, 40):
        with pytest.raises(ValueError, match=r"^LayerDrop: p must be a number in \[0, 1\]"):
            digits(p)
        with pytest.raises(ValueError, match=r"^layer_drop: p must be"):
            layer_drop.layer_drop([], p, training=True)
    with pytest.raises(TypeError, match="training"):
        layer_drop.layer_drop([], 0.5)


def test_a_layer_that_occurs_several_times_counts_each_time() -> None:
    layer = nn.Linear(4, 4)
    layers, x = LayerDrop([layer] * 3, 0.5), torch.randn(2, 4)
    assert len(layers) == len(layers.decide()) == len(list(layers.eval())) == 3
    torch.testing.assert_close(layers(x), layer(layer(layer(x))))


def test_a_loop_needs_one_mask_under_vmap_and_a_call_does_not() -> None:
    layers, x = LayerDrop([nn.Linear(4, 4)], 0.5), torch.ones(8, 2, 4)
    with pytest.raises(RuntimeError, match=r"LayerDrop: the host must read one mask; got one for each index of torch\.vmap"):
        torch.func.vmap(lambda x: [layer(x) for layer in layers], randomness="different")(x)
    torch.func.vmap(lambda x: torch.stack([x, *(layer(x) for layer in layers)]).sum(0), randomness="same")(x)
    assert len(torch.func.vmap(layers, randomness="different")(x).unique(dim=0)) > 1
