"""The same loops in plain operations of PyTorch, which the transforms of `torch.func` and forward mode differentiate.

They take the arguments of `operations`, and return all states h in their slots, and the last c of an LSTM.
"""

import torch
from torch import Tensor

from thinnet.methods.numbers import times

Maybe = Tensor | None


def lstm(
    a: Tensor,
    w: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_hr: Maybe,
    read: Maybe,
    update: Maybe,
    memory: Maybe,
    zone_c: Maybe,
    zone_h: Maybe,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """Returns all states h in their slots, and the last c."""
    h, c, states = h0, c0, [h0]
    for t in _steps(a, reverse):
        i, f, g, o = (a[t] + _read(w, h, read)).unflatten(-1, (4, -1)).unbind(-2)
        written = _masked(g.tanh(), update, t)
        new = f.sigmoid() * c + i.sigmoid() * written
        shown = o.sigmoid() * new.tanh()
        shown = shown if memory is None else times(shown, memory)
        shown = shown if w_hr is None else shown @ w_hr.t()
        c, h = _zoned(new, c, zone_c, t), _zoned(shown, h, zone_h, t)
        states.append(h)
    return _slots(states, reverse), c


def gru(
    a: Tensor, w: Tensor, b: Tensor, h0: Tensor, read: Maybe, update: Maybe, zone_h: Maybe, reverse: bool
) -> tuple[Tensor, None]:
    """Returns all states h in their slots."""
    h, states = h0, [h0]
    for t in _steps(a, reverse):
        (x_r, x_z, x_n), (r, z, hidden) = (part.unflatten(-1, (3, -1)).unbind(-2) for part in (a[t], _read(w, h, read) + b))
        n = (x_n + (x_r + r).sigmoid() * hidden).tanh()
        new = torch.lerp(_masked(n, update, t), h, (x_z + z).sigmoid())
        h = _zoned(new, h, zone_h, t)
        states.append(h)
    return _slots(states, reverse), None


def _steps(a: Tensor, reverse: bool) -> list[int]:
    return list(range(len(a)))[:: -1 if reverse else 1]


def _slots(states: list[Tensor], reverse: bool) -> Tensor:
    return torch.stack(states[::-1] if reverse else states)


def _read(w: Tensor, h: Tensor, mask: Maybe) -> Tensor:
    """Returns W_hh (m h), with one mask or with one per gate."""
    if mask is None:
        return h @ w.t()
    if mask.ndim == 2:
        return times(h, mask) @ w.t()
    return torch.einsum("gbp,ghp->bgh", times(h, mask), w.unflatten(0, (len(mask), -1))).flatten(-2)


def _masked(x: Tensor, mask: Maybe, t: int) -> Tensor:
    return x if mask is None else times(x, mask[t])


def _zoned(new: Tensor, old: Tensor, zone: Maybe, t: int) -> Tensor:
    """Returns the new state with the zone's share of the old one."""
    if zone is None:
        return new
    if zone.dtype == torch.bool:
        return torch.where(zone[t], old, new)
    return torch.lerp(new.to(zone.dtype), old.to(zone.dtype), zone[t]).to(new.dtype)
