"""The loops as PyTorch operations: one graph node for all steps, in eager and compiled code.

Stored for backward are the states, gates and tanh c of each step, as in `torch.nn.LSTM`, and the noise of a step if there is
any. They support first derivatives only.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thinnet.methods.recurrent import loop
from thinnet.methods.recurrent.loop import Noise

Maybe = Tensor | None
library = torch.library.Library("thinnet", "FRAGMENT")


def operation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Registers a function as an operation of its name; `torch.library.custom_op` would import the compiler."""
    name = function.__name__
    library.define(name + torch.library.infer_schema(function, mutates_args=()), tags=(torch.Tag.pt2_compliant_tag,))
    library.impl(name, function, "CompositeExplicitAutograd")
    return getattr(torch.ops.thinnet, name).default


@operation
def lstm(
    a: Tensor,
    w: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_hr: Tensor | None,
    read: Tensor | None,
    update: Tensor | None,
    memory: Tensor | None,
    zone_c: Tensor | None,
    zone_h: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns all states h in their slots, the last c, and for backward: all c, the gates and tanh c~."""
    hs, cs, gates, tanhs = loop.lstm(a, w, h0, c0, w_hr, Noise(read, update, memory, zone_c, zone_h), reverse)
    return hs, cs[0 if reverse else -1].clone(), cs, gates, tanhs


@torch.library.register_fake("thinnet::lstm", lib=library)
def _(a: Tensor, w: Tensor, h0: Tensor, c0: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    slots = a.shape[0] + 1
    shown = a.new_empty(a.shape[0], *c0.shape)
    return h0.new_empty(slots, *h0.shape), torch.empty_like(c0), c0.new_empty(slots, *c0.shape), torch.empty_like(a), shown


@operation
def lstm_backward(
    d_hs: Tensor,
    d_c: Tensor,
    w: Tensor,
    w_hr: Tensor | None,
    hs: Tensor,
    cs: Tensor,
    gates: Tensor,
    tanhs: Tensor,
    read: Tensor | None,
    update: Tensor | None,
    memory: Tensor | None,
    zone_c: Tensor | None,
    zone_h: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of a, W_hh, h0, c0 and W_hr (empty if there is none)."""
    noise = Noise(read, update, memory, zone_c, zone_h)
    return loop.lstm_backward(d_hs, d_c.clone(), w, w_hr, (hs, cs, gates, tanhs), noise, reverse)


@torch.library.register_fake("thinnet::lstm_backward", lib=library)
def _(d_hs: Tensor, d_c: Tensor, w: Tensor, w_hr: Maybe, hs: Tensor, cs: Tensor, gates: Tensor, *_: Any) -> tuple[Tensor, ...]:
    d_hr = gates.new_empty(0) if w_hr is None else torch.empty_like(w_hr)
    return torch.empty_like(gates), torch.empty_like(w), torch.empty_like(hs[0]), torch.empty_like(cs[0]), d_hr


@operation
def gru(
    a: Tensor,
    w: Tensor,
    b: Tensor,
    h0: Tensor,
    read: Tensor | None,
    update: Tensor | None,
    zone_h: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """Returns all states h in their slots, and for backward: r, z, W_hn h + b_hn and n."""
    return loop.gru(a, w, b, h0, Noise(read=read, update=update, zone_h=zone_h), reverse)


@torch.library.register_fake("thinnet::gru", lib=library)
def _(a: Tensor, w: Tensor, b: Tensor, h0: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    return h0.new_empty(a.shape[0] + 1, *h0.shape), a.new_empty(*a.shape[:2], 4 * h0.shape[1])


@operation
def gru_backward(
    d_hs: Tensor,
    w: Tensor,
    hs: Tensor,
    gates: Tensor,
    read: Tensor | None,
    update: Tensor | None,
    zone_h: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of a, W_hh, b_hh and h0."""
    return loop.gru_backward(d_hs, w, hs, gates, Noise(read=read, update=update, zone_h=zone_h), reverse)


@torch.library.register_fake("thinnet::gru_backward", lib=library)
def _(d_hs: Tensor, w: Tensor, hs: Tensor, gates: Tensor, *_: Any) -> tuple[Tensor, ...]:
    size = 3 * hs.shape[-1]
    return gates.new_empty(*gates.shape[:2], size), torch.empty_like(w), w.new_empty(size), torch.empty_like(hs[0])


def _keep_lstm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    _, w, _, _, w_hr, *noise, ctx.reverse = inputs
    hs, _, cs, gates, tanhs = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(w, w_hr, hs, cs, gates, tanhs, *noise)


def _back_lstm(ctx: Any, d_hs: Maybe, d_c: Maybe, *_: Any) -> tuple[Maybe, ...]:
    w, w_hr, hs, cs, *rest = ctx.saved_tensors
    d_hs = torch.zeros_like(hs) if d_hs is None else d_hs
    d_c = torch.zeros_like(cs[0]) if d_c is None else d_c
    *found, d_hr = lstm_backward(d_hs, d_c, w, w_hr, hs, cs, *rest, ctx.reverse)
    return *found, None if w_hr is None else d_hr, *(None,) * 6


def _keep_gru(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, w, _, _, *noise, ctx.reverse = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(w, *output, *noise)


def _back_gru(ctx: Any, d_hs: Maybe, *_: Any) -> tuple[Maybe, ...]:
    w, hs, *rest = ctx.saved_tensors
    d_hs = torch.zeros_like(hs) if d_hs is None else d_hs
    return *gru_backward(d_hs, w, hs, *rest, ctx.reverse), *(None,) * 4


def _once(ctx: Any, *gradients: Any) -> None:
    raise RuntimeError("thinnet: the recurrent layers can be differentiated once; got a gradient of a gradient.")


torch.library.register_autograd("thinnet::lstm", _back_lstm, setup_context=_keep_lstm, lib=library)
torch.library.register_autograd("thinnet::gru", _back_gru, setup_context=_keep_gru, lib=library)
torch.library.register_autograd("thinnet::lstm_backward", _once, lib=library)
torch.library.register_autograd("thinnet::gru_backward", _once, lib=library)
