"""Recurrent layers: equal to PyTorch without noise, to their papers with it, and one mask per sequence."""

import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_same_bits
from methods.test_recurrent_loop import gru, lstm
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import thinnet
from thinnet.methods.recurrent.loop import Noise
from thinnet.methods.recurrent.recurrent_dropout import RecurrentDropoutGRU, RecurrentDropoutLSTM
from thinnet.methods.recurrent.rnn_drop import RNNDropLSTM
from thinnet.methods.recurrent.variational import VariationalGRU, VariationalLSTM
from thinnet.methods.recurrent.zoneout import ZoneoutGRU, ZoneoutLSTM

RATES: dict[type[Any], tuple[str, ...]] = {
    VariationalLSTM: ("p_input", "p_hidden", "p_output"),
    VariationalGRU: ("p_input", "p_hidden", "p_output"),
    RecurrentDropoutLSTM: ("p",),
    RecurrentDropoutGRU: ("p",),
    RNNDropLSTM: ("p",),
    ZoneoutLSTM: ("p_cell", "p_hidden"),
    ZoneoutGRU: ("p",),
}
STEPS, INPUT, HIDDEN = 5, 4, 6
LENGTHS = (2, 5, 3)
NO_DROP = 1e-9  # rounds to rate 0, but goes through the loop
each = pytest.mark.parametrize("kind", RATES, ids=lambda kind: kind.__name__)


def theirs(kind: type[Any]) -> type[Any]:
    return nn.GRU if kind.__name__.endswith("GRU") else nn.LSTM


def make(kind: type[Any], p: float, *sizes: int, **settings: Any) -> Any:
    return kind(*(sizes or (INPUT, HIDDEN)), **dict.fromkeys(RATES[kind], p), **settings)


def states(layer: Any, batch: int | None) -> Any:
    """Random initial states."""
    rows = (layer.num_layers * (1 + layer.bidirectional), *(() if batch is None else (batch,)))
    h, c = torch.randn(*rows, layer.proj_size or layer.hidden_size), torch.randn(*rows, layer.hidden_size)
    return (h, c) if layer.mode == "LSTM" else h


def inputs(batch_first: bool) -> list[tuple[Any, int | None]]:
    """A batch, one sequence alone, and a packed batch, with their batch sizes."""
    x = torch.randn(len(LENGTHS), STEPS, INPUT)
    packed = pack_padded_sequence(x, list(LENGTHS), batch_first=True, enforce_sorted=False)
    ordered = pack_padded_sequence(x, sorted(LENGTHS, reverse=True), batch_first=True)
    return [(x if batch_first else x.transpose(0, 1), 3), (x[0], None), (packed, 3), (ordered, 3)]


def all_settings(kind: type[Any]) -> list[dict[str, Any]]:
    projections = (0, 2) if theirs(kind) is nn.LSTM else (0,)
    found = itertools.product((1, 2), (False, True), (False, True), (False, True), projections)
    names = "num_layers", "bias", "batch_first", "bidirectional", "proj_size"
    return [
        {name: value for name, value in zip(names, values, strict=True) if value or name != "proj_size"} for values in found
    ]


@each
def test_inputs_and_outputs_are_those_of_pytorch(kind: type[Any]) -> None:
    for settings in all_settings(kind):
        reference = theirs(kind)(INPUT, HIDDEN, **settings)
        for p in (0.0, NO_DROP):
            layer = make(kind, p, **settings)
            assert list(layer.state_dict()) == list(reference.state_dict())
            layer.load_state_dict(reference.state_dict())
            for x, batch in inputs(settings["batch_first"]):
                for hx in (None, states(reference, batch)):
                    torch.testing.assert_close(layer(x, hx), reference(x, hx))


@each
@pytest.mark.parametrize("seed", [3])
def test_initial_weights_and_checkpoints_are_those_of_pytorch(kind: type[Any], seed: int) -> None:
    torch.manual_seed(seed)
    layer = make(kind, 0.5, INPUT, HIDDEN, 2)
    torch.manual_seed(seed)
    reference = theirs(kind)(INPUT, HIDDEN, 2)
    for name, value in reference.state_dict().items():
        assert_same_bits(layer.state_dict()[name], value)
    theirs(kind)(INPUT, HIDDEN, 2).load_state_dict(layer.state_dict())


@each
def test_eval_and_rate_zero_equal_pytorch_bit_for_bit(kind: type[Any]) -> None:
    reference, x = theirs(kind)(INPUT, HIDDEN), torch.randn(STEPS, 3, INPUT)
    zero, off = make(kind, 0.0), make(kind, 0.0 if "Zoneout" in kind.__name__ else 0.5).eval()
    for layer in (zero, off):
        layer.load_state_dict(reference.state_dict())
        assert_same_bits(layer(x)[0], reference(x)[0])


Drawn = Callable[..., Tensor]


def scaled(mask: Tensor) -> Tensor:
    return mask.double() * 2


def whole(masks: Tensor) -> Tensor:
    """`(B, T, ...)` with the steps first."""
    return masks.transpose(0, 1)


NOISE: dict[tuple[type[Any], tuple[tuple[str, Any], ...]], Callable[[Drawn, int], Noise]] = {
    (VariationalLSTM, ()): lambda drawn, k: Noise(read=scaled(drawn("hidden0", 2, HIDDEN)[:, k])),
    (VariationalGRU, ()): lambda drawn, k: Noise(read=scaled(drawn("hidden0", 2, HIDDEN)[:, k])),
    (VariationalLSTM, (("tied", False),)): lambda drawn, k: Noise(
        read=whole(scaled(drawn("hidden0", 2, 4, HIDDEN)[:, k])),
    ),
    (VariationalGRU, (("tied", False),)): lambda drawn, k: Noise(read=whole(scaled(drawn("hidden0", 2, 3, HIDDEN)[:, k]))),
    (RecurrentDropoutLSTM, ()): lambda drawn, k: Noise(update=whole(scaled(drawn("update0", STEPS, 2, HIDDEN)[:, :, k]))),
    (RecurrentDropoutGRU, (("per_step", False),)): lambda drawn, k: Noise(
        update=scaled(drawn("update0", 2, HIDDEN)[:, k]).expand(STEPS, -1, -1)
    ),
    (RNNDropLSTM, ()): lambda drawn, k: Noise(memory=scaled(drawn("memory0", 2, HIDDEN)[:, k])),
    (ZoneoutLSTM, ()): lambda drawn, k: Noise(
        zone_c=whole(~drawn("cell0", STEPS, 2, HIDDEN)[:, :, k]), zone_h=whole(~drawn("hidden0", STEPS, 2, HIDDEN)[:, :, k])
    ),
    (ZoneoutGRU, ()): lambda drawn, k: Noise(zone_h=whole(~drawn("hidden0", STEPS, 2, HIDDEN)[:, :, k])),
}


def shares(x: Tensor, layer: Any, k: int, drawn: Drawn, gates: int) -> tuple[Tensor, ...]:
    """W_ih x + b_ih, with the input's mask if there is one, W_hh and b_hh."""
    end = "_l0_reverse" if k else "_l0"
    w, w_hh, b, b_hh = (getattr(layer, name + end) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    if not hasattr(layer, "input0"):
        return x @ w.t() + b, w_hh, b_hh
    tied = layer.hidden0.gates == 1
    masks = scaled(drawn("input0", INPUT))[:, None].expand(-1, gates, -1) if tied else scaled(drawn("input0", gates, INPUT))
    return torch.cat([(x * masks[:, i]) @ part.t() for i, part in enumerate(w.chunk(gates))], -1) + b, w_hh, b_hh


@pytest.mark.parametrize("case", NOISE, ids=lambda case: f"{case[0].__name__}{dict(case[1]) or ''}")
def test_it_equals_its_paper_with_addressed_masks(case: tuple[type[Any], Any]) -> None:
    kind, settings = case
    layer = make(kind, 0.5, bidirectional=True, **dict(settings)).double()
    rng, ids = thinnet.DropoutRNG(seed=5).bind(layer), torch.tensor([30, 10, 20])
    x = torch.randn(STEPS, 3, INPUT, dtype=torch.float64, requires_grad=True)

    def drawn(site: str, *shape: int) -> Tensor:
        return rng.mask(site, step=7, samples=ids, shape=shape)

    def definition(x: Tensor) -> tuple[Tensor, ...]:
        found, h = [], torch.zeros(3, HIDDEN, dtype=torch.float64)
        for k in range(2):
            a, w, b = shares(x, layer, k, drawn, layer.gates)
            noise = NOISE[case](drawn, k)
            found.append(lstm(a + b, w, h, h, None, noise, bool(k)) if layer.gates == 4 else gru(a, w, b, h, noise, bool(k)))
        y = torch.cat((found[0][0], found[1][0]), -1)
        y = y * scaled(drawn("output", 2 * HIDDEN)) if hasattr(layer, "output") else y
        return y, torch.stack((found[0][1], found[1][1]))

    y, last = rng.at(7, ids) and layer(x)
    ours, written = (y, last[0] if isinstance(last, tuple) else last), definition(x)
    torch.testing.assert_close(ours, written, check_dtype=True)
    gradients = [torch.autograd.grad(sum(each.sin().sum() for each in ys), [x, *layer.parameters()]) for ys in (ours, written)]
    torch.testing.assert_close(*gradients)


@each
def test_a_sequence_keeps_its_masks_in_any_batch_and_packing(kind: type[Any]) -> None:
    model = nn.ModuleDict({"rnn": make(kind, 0.5, INPUT, HIDDEN, 2, batch_first=True, bidirectional=True)})
    rng, layer = thinnet.DropoutRNG(seed=5).bind(model), model["rnn"]
    x, ids = torch.randn(3, STEPS, INPUT), torch.tensor([30, 10, 20])
    y, _ = rng.at(3, ids) and layer(x)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close((rng.at(3, ids[order]) and layer(x[order]))[0], y[order])
    torch.testing.assert_close((rng.at(3, ids[1:2]) and layer(x[1:2]))[0], y[1:2])
    for training in (True, False):
        layer.train(training)
        rng.at(3, ids)
        packed, last = layer(pack_padded_sequence(x, list(LENGTHS), batch_first=True, enforce_sorted=False))
        rows, lengths = pad_packed_sequence(packed, batch_first=True)
        for row, length in enumerate(lengths.tolist()):
            rng.at(3, ids[row : row + 1])
            alone, end = layer(x[row : row + 1, :length])
            torch.testing.assert_close(rows[row : row + 1, :length], alone)
            h, h_alone = (states if isinstance(states, Tensor) else states[0] for states in (last, end))
            torch.testing.assert_close(h[:, row : row + 1], h_alone)


@each
def test_one_graph_for_all_rates_and_steps(kind: type[Any]) -> None:
    layer = make(kind, 0.5, INPUT, HIDDEN, 2)
    rng = thinnet.DropoutRNG(seed=5).bind(layer)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled, x = torch.compile(layer, backend=counter, fullgraph=True), torch.randn(STEPS, 3, INPUT, requires_grad=True)
    sites = [site for site in layer.modules() if isinstance(site, thinnet.rng.Site)]
    for step in range(3):
        for site in sites:
            site.p = 0.1 + step / 4
        rng.at(step, torch.tensor([30, 10, 20]))
        found = [(y, torch.autograd.grad(y.sin().sum(), [x, *layer.parameters()])) for y, _ in (compiled(x), layer(x))]
        torch.testing.assert_close(*found)
    assert counter.frame_count == 1
    layer.eval()
    torch.testing.assert_close(compiled(x), layer(x))
    assert counter.frame_count == 2


@each
def test_copies_and_other_dtypes(kind: type[Any]) -> None:
    layer, x = make(kind, 0.3), torch.randn(STEPS, 3, INPUT)
    torch.manual_seed(5)
    expected, _ = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(5)
        assert_same_bits(twin(x)[0], expected)
    torch.manual_seed(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _ = layer(x)
        y.float().sum().backward()
    torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0.05)
    for dtype in (torch.bfloat16, torch.float64):
        assert layer.to(dtype)(x.to(dtype))[0].dtype == dtype


@each
def test_bad_arguments_are_refused(kind: type[Any]) -> None:
    for name, p in itertools.product(RATES[kind], (-0.1, 1.5, float("nan"), True)):
        with pytest.raises(ValueError, match=rf"^{kind.__name__}: {name} must be a number in \[0, 1\]"):
            kind(INPUT, HIDDEN, **{name: p})
    with pytest.raises(TypeError, match="dropout"):
        kind(INPUT, HIDDEN, dropout=0.5)
    if kind.cell == "GRU":
        with pytest.raises(TypeError, match=rf"^{kind.__name__}: proj_size must be left out; got 2"):
            kind(INPUT, HIDDEN, proj_size=2)
    layer = make(kind, 0.5)
    with pytest.raises(ValueError, match="got 4 axes"):
        layer(torch.randn(1, STEPS, 3, INPUT))
    with pytest.raises(RuntimeError, match="at least one step"):
        layer(torch.randn(0, 3, INPUT))
    with pytest.raises(RuntimeError, match="must be equal to input_size"):
        layer(torch.randn(STEPS, 3, INPUT + 1))
    with pytest.raises(RuntimeError, match="Expected hidden"):
        layer(torch.randn(STEPS, 3, INPUT), states(layer, 2))


@each
def test_sites_can_drop_in_a_model_in_eval(kind: type[Any]) -> None:
    """Samples sub-networks: the model is in eval, its sites are in training mode."""
    layer, x = make(kind, 0.5).eval(), torch.randn(STEPS, 3, INPUT)
    for site in layer.children():
        site.train()
    assert not torch.equal(layer(x)[0], layer(x)[0])
