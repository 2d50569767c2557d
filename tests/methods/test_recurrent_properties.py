"""Properties of each recurrent method: by time step, by sequence and in expectation."""

import torch
from assertions import FALSE_ALARM, assert_mean, assert_rate, assert_same_bits
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import thinnet
from thinnet.methods.recurrent.locked_dropout import LockedDropout, locked_dropout
from thinnet.methods.recurrent.recurrent_dropout import RecurrentDropoutGRU, RecurrentDropoutLSTM
from thinnet.methods.recurrent.rnn_drop import RNNDropLSTM
from thinnet.methods.recurrent.variational import VariationalLSTM
from thinnet.methods.recurrent.zoneout import ZoneoutGRU, ZoneoutLSTM

assert FALSE_ALARM <= 1e-9


def test_a_locked_mask_is_constant_over_time_and_differs_over_the_batch() -> None:
    for batch_first, time in ((False, 0), (True, 1)):
        y = LockedDropout(0.5, batch_first=batch_first)(torch.ones(40, 40, 64))
        assert bool((y == y.narrow(time, 0, 1)).all())
        assert_rate(y.select(time, 0) == 0, 0.5)


def test_both_orders_of_the_axes_have_the_same_masks() -> None:
    x = torch.randn(7, 4, 5)
    torch.manual_seed(0)
    y = locked_dropout(x, 0.5, training=True)
    torch.manual_seed(0)
    other = locked_dropout(x.transpose(0, 1), 0.5, training=True, batch_first=True).transpose(0, 1)
    assert_same_bits(y, other)
    torch.manual_seed(0)
    assert locked_dropout(x, 0.5, training=True, inplace=True) is x
    assert_same_bits(x, y)


def test_a_packed_sequence_has_the_masks_of_the_padded_one() -> None:
    layer = LockedDropout(0.5)
    rng, ids = thinnet.DropoutRNG(seed=5).bind(layer), torch.tensor([30, 10, 20])
    x = torch.randn(5, 3, 4).requires_grad_()
    packed = pack_padded_sequence(x, [2, 5, 3], enforce_sorted=False)
    y = rng.at(3, ids) and layer(packed)
    assert isinstance(y, PackedSequence)
    assert all(torch.equal(one, other) for one, other in zip(y[1:], packed[1:], strict=True))
    rows, lengths = pad_packed_sequence(y)
    inside = torch.arange(5)[:, None, None] < lengths[:, None]
    torch.testing.assert_close(rows, (rng.at(3, ids) and layer(x)) * inside)
    assert layer.eval()(packed) is packed


def test_a_variational_mask_is_read_at_every_step() -> None:
    """The gradient by the previous state is zero at the dropped features, the same at each step."""
    layer = VariationalLSTM(3, 16, p_input=0.0, p_hidden=0.5)
    rng, ids = thinnet.DropoutRNG(seed=5).bind(layer), torch.arange(8)
    kept = rng.mask("hidden0", step=0, samples=ids, shape=(16,))
    state = torch.randn(1, 8, 16), torch.randn(1, 8, 16)
    for _ in range(4):
        h = state[0].detach().requires_grad_()
        rng.at(0, ids)
        _, state = layer(torch.randn(1, 8, 3), (h, state[1].detach()))
        (gradient,) = torch.autograd.grad(state[0].sum(), h)
        assert torch.equal(gradient[0] != 0, kept)


def test_a_dropped_unit_of_rnndrop_has_no_memory_at_any_step() -> None:
    layer = RNNDropLSTM(3, 64, p=0.5)
    y, (h, c) = layer(torch.randn(9, 50, 3), (torch.randn(1, 50, 64), torch.randn(1, 50, 64)))
    dead = c[0] == 0
    assert bool(((y == 0) == dead).all()) and bool(((h[0] == 0) == dead).all())
    assert_rate(dead, 0.5)


def test_a_memory_is_not_scaled_from_step_to_step() -> None:
    """With gates that do not read the state, the memory of a kept unit equals that without dropout."""
    layer = RNNDropLSTM(3, 64, p=0.5)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
    x = torch.randn(200, 5, 3)
    _, (h, c) = layer(x)
    _, (plain_h, plain_c) = layer.eval()(x)
    kept = c != 0
    torch.testing.assert_close(c[kept], plain_c[kept])
    torch.testing.assert_close(h[kept], 2 * plain_h[kept])


def gates(layer, x: Tensor, h: Tensor) -> list[Tensor]:
    a = x @ layer.weight_ih_l0.t() + layer.bias_ih_l0 + h @ layer.weight_hh_l0.t() + layer.bias_hh_l0
    return list(a.sigmoid().chunk(4 if layer.mode == "LSTM" else 3, 1))


def test_a_dropped_update_leaves_only_the_forget_gate() -> None:
    layer, x, h, c = RecurrentDropoutLSTM(3, 64, p=0.5), torch.randn(20, 3), torch.randn(20, 64), torch.randn(20, 64)
    remembered = gates(layer, x, h)[1] * c
    _, (_, after) = layer(x[None], (h[None], c[None]))
    dropped = (after[0] - remembered).abs() < 1e-6
    assert_rate(dropped, 0.5)
    layer.update0.p = 1.0  # nothing is ever written, and nothing is lost
    torch.testing.assert_close(layer(x[None], (h[None], c[None]))[1][1][0], remembered)


def test_a_dropped_update_of_a_gru_leaves_only_its_gate() -> None:
    layer, x, h = RecurrentDropoutGRU(3, 64, p=1.0), torch.randn(20, 3), torch.randn(20, 64)
    torch.testing.assert_close(layer(x[None], h[None])[1][0], gates(layer, x, h)[1] * h)


def test_masks_are_new_at_each_step_or_shared_by_a_sequence() -> None:
    x = torch.randn(2, 50, 3)
    for per_step in (True, False):
        layer = RecurrentDropoutLSTM(3, 64, p=0.5, per_step=per_step)
        rng = thinnet.DropoutRNG(seed=5).bind(layer).at(0)
        y, _ = layer(x)
        first = y[0] == 0
        assert_rate(first, 0.5)
        second = (rng.at(0) and layer(x[1:], (torch.zeros(1, 50, 64), torch.zeros(1, 50, 64))))[0][0] == 0
        assert torch.equal(first, second)  # the same address, the same mask
        if not per_step:  # what is never written to is 0 at the end as well
            assert bool((y[1][first] == 0).all())
        else:
            assert_rate(y[1][first] == 0, 0.5)


def test_a_zone_of_one_copies_the_states() -> None:
    h, c = torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    for training in (True, False):
        layer = ZoneoutLSTM(3, 8, p_cell=1.0, p_hidden=1.0).train(training)
        y, (last_h, last_c) = layer(torch.randn(6, 4, 3), (h, c))
        assert torch.equal(y, h.expand(6, 4, 8)) and torch.equal(last_h, h) and torch.equal(last_c, c)
        assert torch.equal(ZoneoutGRU(3, 8, p=1.0).train(training)(torch.randn(6, 4, 3), h)[1], h)


def test_zoneout_in_eval_equals_the_expectation_of_a_step() -> None:
    draws, x, h, c = 20_000, torch.randn(1, 1, 3), torch.randn(1, 1, 8), torch.randn(1, 1, 8)
    layer = ZoneoutLSTM(3, 8, p_cell=0.5, p_hidden=0.25)
    wide = [each.expand(1, draws, -1).contiguous() for each in (x, h, c)]
    _, found = layer(wide[0], (wide[1], wide[2]))
    _, expected = layer.eval()(x, (h, c))
    for new, old, mean, p in zip(found, (h, c), expected, (0.25, 0.5), strict=True):
        step = (mean - p * old) / (1 - p)
        assert_mean(new[0].double(), mean[0, 0].double(), (p * (1 - p) * (step - old) ** 2)[0, 0].double())
