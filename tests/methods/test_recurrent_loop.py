"""The hand-written loop equals the same network in autograd, step by step."""

import itertools

import pytest
import torch
from torch import Tensor

from thinnet.methods.recurrent import operations
from thinnet.methods.recurrent.loop import Noise

STEPS, BATCH, HIDDEN, PROJECTED = 5, 3, 6, 2


def numbers(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def mask(*shape: int) -> Tensor:
    return (torch.rand(shape) < 0.5).double() * 2


def read(h: Tensor, w: Tensor, masks: Tensor | None) -> Tensor:
    if masks is None or masks.ndim == 2:
        return (h if masks is None else h * masks) @ w.t()
    return torch.cat([(h * each) @ part.t() for each, part in zip(masks, w.chunk(len(masks)), strict=True)], 1)


def zoned(new: Tensor, old: Tensor, zone: Tensor | None, t: int) -> Tensor:
    share = 0 if zone is None else zone[t].double()
    return share * old + (1 - share) * new


def times(x: Tensor, masks: Tensor | None) -> Tensor:
    return x if masks is None else x * masks


def lstm(a, w, h, c, w_hr, noise: Noise, reverse: bool) -> tuple[Tensor, ...]:
    """One layer as in the papers: the output, and the last h and c."""
    ys = {}
    for t in reversed(range(len(a))) if reverse else range(len(a)):
        i, f, g, o = (a[t] + read(h, w, noise.read)).chunk(4, 1)
        written = times(g.tanh(), None if noise.update is None else noise.update[t])
        new = f.sigmoid() * c + i.sigmoid() * written
        shown = times(o.sigmoid() * new.tanh(), noise.memory)
        shown = shown if w_hr is None else shown @ w_hr.t()
        c, h = zoned(new, c, noise.zone_c, t), zoned(shown, h, noise.zone_h, t)
        ys[t] = h
    return torch.stack([ys[t] for t in range(len(a))]), h, c


def gru(a, w, b, h, noise: Noise, reverse: bool) -> tuple[Tensor, ...]:
    ys = {}
    for t in reversed(range(len(a))) if reverse else range(len(a)):
        (a_r, a_z, a_n), (b_r, b_z, b_n) = a[t].chunk(3, 1), (read(h, w, noise.read) + b).chunk(3, 1)
        z = (a_z + b_z).sigmoid()
        written = times((a_n + (a_r + b_r).sigmoid() * b_n).tanh(), None if noise.update is None else noise.update[t])
        h = zoned((1 - z) * written + z * h, h, noise.zone_h, t)
        ys[t] = h
    return torch.stack([ys[t] for t in range(len(a))]), h


def slots(hs: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    return (hs[:-1], hs[0]) if reverse else (hs[1:], hs[-1])


def our_lstm(a, w, h, c, w_hr, noise: Noise, reverse: bool) -> tuple[Tensor, ...]:
    hs, c, *_ = operations.lstm(a, w, h, c, w_hr, *noise, reverse)
    return *slots(hs, reverse), c


def our_gru(a, w, b, h, noise: Noise, reverse: bool) -> tuple[Tensor, ...]:
    return slots(operations.gru(a, w, b, h, noise.read, noise.update, noise.zone_h, reverse)[0], reverse)


def assert_same(ours, theirs, inputs: list[Tensor]) -> None:
    """Outputs and the gradients of a random sum of them."""
    torch.testing.assert_close(ours, theirs)
    weights = [torch.randn_like(y) for y in theirs]
    found = [torch.autograd.grad([y.mul(v).sum() for y, v in zip(ys, weights, strict=True)], inputs) for ys in (ours, theirs)]
    torch.testing.assert_close(*found)


def noises(gates: int, size: int) -> list[Noise]:
    """Every kind of noise alone, with every other kind, and all at once."""
    kinds = {
        "read": [mask(BATCH, size), mask(gates, BATCH, size)],
        "update": [mask(STEPS, BATCH, HIDDEN), mask(BATCH, HIDDEN).expand(STEPS, -1, -1)],
        "memory": [mask(BATCH, HIDDEN)],
        "zone_c": [torch.rand(STEPS, BATCH, HIDDEN) < 0.5, torch.tensor(0.3).double().expand(STEPS, 1, 1)],
        "zone_h": [torch.rand(STEPS, BATCH, size) < 0.5, torch.rand(STEPS, BATCH, 1) < 0.5],
    }
    alone = [Noise(**{kind: value}) for kind, values in kinds.items() for value in values]
    pairs = [Noise(**{one: kinds[one][0], two: kinds[two][-1]}) for one, two in itertools.combinations(kinds, 2)]
    return [Noise(), *alone, *pairs, Noise(**{kind: values[0] for kind, values in kinds.items()})]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("projected", [False, True])
def test_the_lstm_loop_equals_autograd(projected: bool, reverse: bool) -> None:
    size = PROJECTED if projected else HIDDEN
    for noise in noises(4, size):
        inputs = [numbers(STEPS, BATCH, 4 * HIDDEN), numbers(4 * HIDDEN, size), numbers(BATCH, size), numbers(BATCH, HIDDEN)]
        w_hr = numbers(size, HIDDEN) if projected else None
        leaves = [*inputs, *([w_hr] if w_hr is not None else [])]
        assert_same(our_lstm(*inputs, w_hr, noise, reverse), lstm(*inputs, w_hr, noise, reverse), leaves)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_gru_loop_equals_autograd(reverse: bool) -> None:
    for noise in noises(3, HIDDEN):
        noise = noise._replace(memory=None, zone_c=None)
        inputs = [numbers(STEPS, BATCH, 3 * HIDDEN), numbers(3 * HIDDEN, HIDDEN), numbers(3 * HIDDEN), numbers(BATCH, HIDDEN)]
        assert_same(our_gru(*inputs, noise, reverse), gru(*inputs, noise, reverse), inputs)


def test_gradients_equal_finite_differences() -> None:
    inputs = [numbers(3, 2, 4 * 3), numbers(4 * 3, 2), numbers(2, 2), numbers(2, 3), numbers(2, 3)]
    noise = Noise(mask(4, 2, 2), mask(3, 2, 3), mask(2, 3), torch.rand(3, 2, 3) < 0.5, torch.rand(3, 2, 2) < 0.5)
    torch.autograd.gradcheck(lambda *given: operations.lstm(*given, *noise, True)[:2], inputs)  # all slots, the first as well
    inputs = [numbers(3, 2, 3 * 3), numbers(3 * 3, 3), numbers(3 * 3), numbers(2, 3)]
    noise = Noise(mask(3, 2, 3), mask(3, 2, 3), None, None, torch.rand(3, 2, 3) < 0.5)
    torch.autograd.gradcheck(lambda *given: operations.gru(*given, noise.read, noise.update, noise.zone_h, False)[0], inputs)


def test_the_operations_pass_opcheck() -> None:
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    a, w, h0, c0 = numbers(2, 2, 8), numbers(8, 2), numbers(2, 2), numbers(2, 2)
    noise = Noise(mask(2, 2), mask(2, 2, 2), mask(2, 2), torch.rand(2, 2, 2) < 0.5, torch.rand(2, 2, 2) < 0.5)
    torch.library.opcheck(operations.lstm, (a, w, h0, c0, None, *noise, False), test_utils=tests)
    a, w, b = numbers(2, 2, 6), numbers(6, 2), numbers(6)
    torch.library.opcheck(operations.gru, (a, w, b, h0, noise.read, noise.update, noise.zone_h, True), test_utils=tests)


def test_a_gradient_of_a_gradient_is_refused() -> None:
    a, w, h0, c0 = numbers(2, 2, 8), numbers(8, 2), numbers(2, 2), numbers(2, 2)
    hs, *_ = operations.lstm(a, w, h0, c0, None, *Noise(), False)
    (gradient,) = torch.autograd.grad(hs.sum(), a, create_graph=True)
    with pytest.raises(RuntimeError, match="can be differentiated once"):
        gradient.sum().backward()
