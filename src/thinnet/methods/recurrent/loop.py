"""The loop over the time steps of an LSTM and of a GRU with noise, forward and backward.

With the input's part a_t = W_ih x_t + b of all steps computed before the loop, one step of an LSTM is

    i, f, g, o = a_t + W_hh (m h_{t-1})          m: `read`, on the state that the gates read
    c~ = f c_{t-1} + i (u g)                     u: `update`, on what is written
    h~ = W_hr (k o tanh c~)                      k: `memory`, on the output of the cell
    c_t = z c_{t-1} + (1 - z) c~                 z: `zone_c`, and `zone_h` for h

and of a GRU r, z, n as in `torch.nn.GRU`, with m, u and the zone of h. Work without time dependence is one call for all steps:
the factors of the gates' derivatives before the backward loop, the gradient of the weights after it. Padding is a zone too:
after the end of a sequence its state is copied.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from thinnet.methods.numbers import times
from thinnet.methods.recurrent.reader import Reader

sigmoid_backward = torch.ops.aten.sigmoid_backward
tanh_backward = torch.ops.aten.tanh_backward


class Noise(NamedTuple):
    """The noise of one direction of one layer; None where there is none. Numbers have at least float32.

    Args:
        read: `(B, P)`, or `(gates, B, P)` with a mask per gate; a kept unit holds the scale.
        update: `(T, B, H)`; a kept unit holds the scale.
        memory: `(B, H)`; a kept unit holds the scale.
        zone_c: `(T, B, H)`, or broadcastable to it after T; the share of the old cell: bool, or a number.
        zone_h: `(T, B, P)`, the same for the old state.
    """

    read: Tensor | None = None
    update: Tensor | None = None
    memory: Tensor | None = None
    zone_c: Tensor | None = None
    zone_h: Tensor | None = None


@dataclass(frozen=True)
class Order:
    """The order of the steps and the slots of their states: t and t + 1 around step t, in reverse t + 1 and t."""

    steps: int
    reverse: bool

    def walk(self) -> list[tuple[int, int, int]]:
        """Returns each step with the slots of the state before and after it."""
        if self.reverse:
            return [(t, t + 1, t) for t in reversed(range(self.steps))]
        return [(t, t, t + 1) for t in range(self.steps)]

    def states(self, first: Tensor) -> Tensor:
        """Returns memory for all states with the first one written."""
        slots = first.new_empty(self.steps + 1, *first.shape)
        slots[self.first] = first
        return slots

    @property
    def first(self) -> int:
        """The slot of the initial state."""
        return self.steps if self.reverse else 0

    def before(self, slots: Tensor) -> Tensor:
        """Returns the state before each step, by step."""
        return slots[1:] if self.reverse else slots[:-1]


def blocks(gates: Tensor, count: int) -> tuple[Tensor, ...]:
    """Splits `(T, B, count * H)` into its gates."""
    return gates.unflatten(-1, (count, -1)).unbind(2)


def by_step(tensor: Tensor | None, like: Tensor) -> tuple[Tensor, ...] | None:
    """Splits a mask into steps; bool becomes numbers in the dtype of `like`."""
    return None if tensor is None else (tensor.to(like.dtype) if tensor.dtype == torch.bool else tensor).unbind(0)


def blend(new: Tensor, old: Tensor, zone: Tensor) -> None:
    """Writes the zone's share of the old state into the new one."""
    if zone.dtype == new.dtype:
        new.lerp_(old, zone)
    else:
        new.copy_(torch.lerp(new.to(zone.dtype), old.to(zone.dtype), zone))


def lstm(a: Tensor, w: Tensor, h0: Tensor, c0: Tensor, w_hr: Tensor | None, noise: Noise, reverse: bool) -> tuple[Tensor, ...]:
    """Returns the states h and c in their slots, the gates, and tanh c~ of every step."""
    order, reader = Order(len(a), reverse), Reader(w, noise.read)
    hs, cs, gates, tanhs = order.states(h0), order.states(c0), torch.empty_like(a), a.new_empty(len(a), *c0.shape)
    shown = None if w_hr is None else torch.empty_like(c0)
    room = None if noise.update is None else torch.empty_like(c0)
    x, h, c, gate, tanh = (tensor.unbind(0) for tensor in (a, hs, cs, gates, tanhs))
    i, f, g, o = (part.unbind(0) for part in blocks(gates, 4))
    i_f = gates[..., : 2 * c0.shape[1]].unbind(0)
    update, zone_c, zone_h = (by_step(mask, a) for mask in (noise.update, noise.zone_c, noise.zone_h))
    for t, before, after in order.walk():
        reader.read(h[before], x[t], out=gate[t])
        i_f[t].sigmoid_()
        g[t].tanh_()
        o[t].sigmoid_()
        written = g[t] if update is None else torch.mul(g[t], update[t], out=room)
        torch.mul(f[t], c[before], out=c[after]).addcmul_(i[t], written)
        torch.tanh(c[after], out=tanh[t])
        show = torch.mul(o[t], tanh[t], out=h[after] if shown is None else shown)
        if noise.memory is not None:
            show.mul_(noise.memory)
        if w_hr is not None:
            torch.mm(show, w_hr.t(), out=h[after])
        for state, zone in ((c, zone_c), (h, zone_h)):
            if zone is not None:
                blend(state[after], state[before], zone[t])
    return hs, cs, gates, tanhs


def lstm_factors(cs: Tensor, gates: Tensor, tanhs: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Returns the factors of the gradients of c (for i, f, g) and of o tanh c (for o), and the gradient of c by the latter."""
    i, f, g, o = blocks(gates, 4)
    factors = torch.empty_like(gates)
    to_i, to_f, to_g, to_o = blocks(factors, 4)
    written, share = (g, i) if noise.update is None else (times(g, noise.update), times(i, noise.update))
    shown, out = (tanhs, o) if noise.memory is None else (times(tanhs, noise.memory), times(o, noise.memory))
    sigmoid_backward.grad_input(written, i, grad_input=to_i)
    sigmoid_backward.grad_input(cs, f, grad_input=to_f)
    tanh_backward.grad_input(share, g, grad_input=to_g)
    sigmoid_backward.grad_input(shown, o, grad_input=to_o)
    return factors, tanh_backward(out, tanhs)


def lstm_backward(
    d_hs: Tensor,
    d_c: Tensor,
    w: Tensor,
    w_hr: Tensor | None,
    saved: tuple[Tensor, ...],
    noise: Noise,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of a, W_hh, h0, c0 and W_hr; overwrites `d_c`, that of the last c."""
    hs, cs, gates, tanhs = saved
    order, reader = Order(len(gates), reverse), Reader(w, noise.read)
    d, show = lstm_factors(order.before(cs), gates, tanhs, noise)
    d_ifg, d_o = d.unflatten(-1, (4, -1))[:, :, :3].unbind(0), blocks(d, 4)[3].unbind(0)
    d_gate, f, to_c, given = d.unbind(0), blocks(gates, 4)[1].unbind(0), show.unbind(0), d_hs.unbind(0)
    zone_c, zone_h = (by_step(mask, gates) for mask in (noise.zone_c, noise.zone_h))
    d_h, d_c_wide = torch.zeros_like(hs[0]), d_c.unsqueeze(1)
    d_projected = torch.empty_like(hs[1:]) if w_hr is not None else hs
    for t, _, after in reversed(order.walk()):
        d_h.add_(given[after])
        old_c, old_h = part(d_c, zone_c, t), part(d_h, zone_h, t)
        d_shown = d_h if w_hr is None else torch.mm(d_projected[t].copy_(d_h), w_hr)
        d_c.addcmul_(d_shown, to_c[t])
        d_o[t].mul_(d_shown)
        d_ifg[t].mul_(d_c_wide)
        add(d_c.mul_(f[t]), old_c)
        add(reader.back(d_gate[t], out=d_h), old_h)
    d_hr = gates.new_empty(0) if w_hr is None else d_projected.flatten(0, 1).t() @ show_of(gates, tanhs, noise)
    return d, reader.weight_gradient(d, order.before(hs)), d_h.add_(given[order.first]), d_c, d_hr


def show_of(gates: Tensor, tanhs: Tensor, noise: Noise) -> Tensor:
    """Returns o tanh c of all steps, `(T * B, H)`: the input of the projection."""
    shown = blocks(gates, 4)[3] * tanhs
    return (shown if noise.memory is None else times(shown, noise.memory)).flatten(0, 1)


def part(d: Tensor, zone: tuple[Tensor, ...] | None, t: int) -> Tensor | None:
    """Subtracts the share of the gradient that belongs to the old state from `d`, and returns it."""
    if zone is None:
        return None
    old = d * zone[t]
    d.sub_(old)
    return old


def add(d: Tensor, old: Tensor | None) -> None:
    """Adds that share one step earlier."""
    if old is not None:
        d.add_(old)


def gru(a: Tensor, w: Tensor, b: Tensor, h0: Tensor, noise: Noise, reverse: bool) -> tuple[Tensor, Tensor]:
    """Returns the states h in their slots, and r, z, W_hn h + b_hn and n of every step."""
    size, order, reader = h0.shape[1], Order(len(a), reverse), Reader(w, noise.read)
    hs, gates = order.states(h0), a.new_empty(*a.shape[:2], 4 * size)
    h, read, r_z = hs.unbind(0), gates[..., : 3 * size].unbind(0), gates[..., : 2 * size].unbind(0)
    r, z, hidden, n = (part.unbind(0) for part in blocks(gates, 4))
    x_r_z, x_n = a[..., : 2 * size].unbind(0), a[..., 2 * size :].unbind(0)
    update, zone = by_step(noise.update, a), by_step(noise.zone_h, a)
    room = None if update is None else torch.empty_like(h0)
    for t, before, after in order.walk():
        reader.read(h[before], b, out=read[t])
        r_z[t].add_(x_r_z[t]).sigmoid_()
        torch.addcmul(x_n[t], r[t], hidden[t], out=n[t]).tanh_()
        written = n[t] if update is None else torch.mul(n[t], update[t], out=room)
        torch.lerp(written, h[before], z[t], out=h[after])
        if zone is not None:
            blend(h[after], h[before], zone[t])
    return hs, gates


def gru_factors(hs: Tensor, gates: Tensor, noise: Noise) -> Tensor:
    """Returns the factors that turn the gradient of h into those of r, z, W_hn h + b_hn and n."""
    r, z, hidden, n = blocks(gates, 4)
    factors = torch.empty_like(gates)
    to_r, to_z, to_hidden, to_n = blocks(factors, 4)
    written, share = (n, 1 - z) if noise.update is None else (times(n, noise.update), times(1 - z, noise.update))
    tanh_backward.grad_input(share, n, grad_input=to_n)
    sigmoid_backward.grad_input(hs - written, z, grad_input=to_z)
    torch.mul(to_n, r, out=to_hidden)
    sigmoid_backward.grad_input(to_n * hidden, r, grad_input=to_r)
    return factors


def gru_backward(
    d_hs: Tensor,
    w: Tensor,
    hs: Tensor,
    gates: Tensor,
    noise: Noise,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of a, W_hh, b_hh and h0."""
    size, order, reader = hs.shape[-1], Order(len(gates), reverse), Reader(w, noise.read)
    before = order.before(hs)
    d = gru_factors(before, gates, noise)
    d_read = d[..., : 3 * size]
    wide, d_gate, z = d.unflatten(-1, (4, -1)).unbind(0), d_read.unbind(0), blocks(gates, 4)[1].unbind(0)
    given, zone = d_hs.unbind(0), by_step(noise.zone_h, gates)
    d_h = torch.zeros_like(hs[0])
    for t, _, after in reversed(order.walk()):
        d_h.add_(given[after])
        old = part(d_h, zone, t)
        wide[t].mul_(d_h.unsqueeze(1))
        carried = d_h * z[t]
        add(reader.back(d_gate[t], out=d_h).add_(carried), old)
    d_a = torch.cat((d[..., : 2 * size], d[..., 3 * size :]), -1)
    return d_a, reader.weight_gradient(d_read, before), d_read.sum((0, 1)), d_h.add_(given[order.first])
