"""An LSTM and a GRU with dropout sites inside, with the weights, arguments and results of PyTorch's."""

from typing import Any, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from thinnet.methods.recurrent import operations, packed, plain
from thinnet.methods.recurrent.loop import Noise
from thinnet.methods.recurrent.sites import Inner, Input
from thinnet.ops.schema import transformed
from thinnet.rng import rates
from thinnet.rng.site import recorded


class Options(TypedDict, total=False):
    """The keyword arguments that recurrent layers share with PyTorch's; a GRU has no `proj_size`."""

    bias: bool
    batch_first: bool
    bidirectional: bool
    proj_size: int
    device: torch.device | str | None
    dtype: torch.dtype | None


class Layers(nn.RNNBase):
    """Recurrent layers with sites for their noise; PyTorch's own code runs if no site does anything.

    It is a `torch.nn.RNNBase` and no `torch.nn.LSTM`, which the compiler does not trace.
    """

    cell, gates = "", 0

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if proj_size and self.cell != "LSTM":
            raise TypeError(f"{type(self).__name__}: proj_size must be left out; got {proj_size}. Only an LSTM projects.")
        sizes = input_size, hidden_size, num_layers
        super().__init__(self.cell, *sizes, bias, batch_first, 0.0, bidirectional, proj_size, device, dtype)
        self.kinds: list[str] = []
        self.directions = 2 if bidirectional else 1
        self.state_size = proj_size or hidden_size

    def place(self, name: str, argument: str, p: float, kind: type[Inner], *settings: Any) -> None:
        """Gives every layer a site: `name0`, `name1`, ..."""
        self.kinds.append(name)
        for layer in range(self.num_layers):
            self.add_module(f"{name}{layer}", kind(self.checked(argument, p), *settings))

    def checked(self, argument: str, p: float) -> float:
        """Returns the rate, or raises an error that names its argument."""
        function = type(self).__name__
        try:
            return rates.check(function, p)
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace(f"{function}: p ", f"{function}: {argument} ")) from None

    def forward(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Any, Any]:
        """Returns the output and the last states, as `torch.nn.LSTM` and `torch.nn.GRU` do."""
        if not isinstance(input, (Tensor, PackedSequence)):
            return recorded(self, input, hx)
        quiet = not any(site.on() for site in self.children() if isinstance(site, Inner))
        if quiet and not torch.compiler.is_compiling():  # the compiler does not trace PyTorch's layers
            return self.plain(input, hx)
        if isinstance(input, PackedSequence):
            x, lengths = packed.padded(input)
            states = self.states(x, input.data, hx, input.batch_sizes)
            y, last = self.run(x, states, packed.ended(x, lengths))
            return packed.repacked(y, lengths, input), last
        if input.dim() not in (2, 3):
            raise ValueError(f"{type(self).__name__}: input must be (T, B, D), (B, T, D) or (T, D); got {input.dim()} axes.")
        axis = 0 if self.batch_first else 1
        alone = input.dim() == 2
        whole = input.unsqueeze(axis) if alone else input
        x = whole.transpose(0, 1) if self.batch_first else whole
        y, last = self.run(x, self.states(x, whole, hx, None, alone), None)
        y = y.transpose(0, 1) if self.batch_first else y
        return (y.squeeze(axis), self.each(lambda state: state.squeeze(1), last)) if alone else (y, last)

    def states(self, x: Tensor, given: Tensor, hx: Any, batch_sizes: Tensor | None, alone: bool = False) -> tuple[Tensor, ...]:
        """Returns the initial states as a tuple, checked as in PyTorch."""
        if len(x) == 0:
            raise RuntimeError(f"{type(self).__name__}: input must have at least one step; got shape {tuple(given.shape)}.")
        if hx is None:
            hx = self.zeros(x)
        elif alone:
            hx = self.each(lambda state: state.unsqueeze(1), hx)
        self.check_forward_args(given, hx, batch_sizes)
        return hx if isinstance(hx, tuple) else (hx,)

    def run(self, x: Tensor, states: tuple[Tensor, ...], ended: Tensor | None) -> tuple[Tensor, Any]:
        """Returns the output `(T, B, D)` of all layers and their last states."""
        last: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            x = self.locked(f"input{layer}", x)
            noise, found = self.noise(layer, x, ended), []
            for direction in range(self.directions):
                first = [state[layer * self.directions + direction] for state in states]
                y, *end = self.direction(layer, direction, x, first, noise[direction])
                found.append(y)
                last.append(tuple(end))
            x = torch.cat(found, -1) if len(found) > 1 else found[0]
        ends = [torch.stack(each) for each in zip(*last, strict=True)]
        return self.locked("output", x), tuple(ends) if len(ends) > 1 else ends[0]

    def locked(self, name: str, x: Tensor) -> Tensor:
        """Returns the masked input or output, or `x` itself if there is no site for it."""
        site = self._modules.get(name)
        return x if site is None else site(x)

    def noise(self, layer: int, like: Tensor, ended: Tensor | None) -> list[Noise]:
        """Returns the noise of a layer in each direction."""
        fields: dict[str, list[Tensor | None]] = {}
        for kind in self.kinds:
            site = self.get_submodule(f"{kind}{layer}")
            if not isinstance(site, Input):
                fields[site.field] = site(like, self.directions)  # type: ignore[index]
        found = [Noise(**{field: masks[k] for field, masks in fields.items()}) for k in range(self.directions)]
        if ended is None:
            return found
        return [each._replace(zone_c=frozen(each.zone_c, ended), zone_h=frozen(each.zone_h, ended)) for each in found]

    def weights(self, layer: int, direction: int) -> list[Tensor | None]:
        """Returns W_ih, W_hh, b_ih, b_hh and W_hr of one direction of a layer."""
        end = f"_l{layer}{'_reverse' if direction else ''}"
        return [getattr(self, name + end, None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")]

    def direction(self, layer: int, k: int, x: Tensor, first: list[Tensor], noise: Noise) -> tuple[Tensor, ...]:
        """Returns the output of one direction of a layer, and its last states."""
        raise NotImplementedError

    def plain(self, input: Any, hx: Any) -> tuple[Any, Any]:
        """Returns the result of PyTorch's layer."""
        raise NotImplementedError

    def zeros(self, x: Tensor) -> Any:
        """Returns the default initial states."""
        return x.new_zeros(self.num_layers * self.directions, x.shape[1], self.state_size)

    @staticmethod
    def each(change: Any, states: Any) -> Any:
        """Applies a function to the states, one or two."""
        return tuple(map(change, states)) if isinstance(states, tuple) else change(states)


def frozen(zone: Tensor | None, ended: Tensor) -> Tensor:
    """Returns a zone that also copies the state after the end of a sequence."""
    if zone is None or zone.dtype == torch.bool:
        return ended if zone is None else zone | ended
    return torch.where(ended, 1, zone)


def project(x: Tensor, weight: Tensor, bias: Tensor | None, gates: int) -> Tensor:
    """Returns the input's part of the gates of all steps; `x` may be `(T, B, gates, D)`, with a mask per gate."""
    if x.ndim == 3:
        return F.linear(x, weight, bias)
    found = torch.einsum("tbgd,ghd->tbgh", x, weight.unflatten(0, (gates, -1))).flatten(-2)
    return found if bias is None else found + bias.to(found.dtype)


def loops() -> Any:
    """Returns the loops that run here: the transforms of `torch.func` do not see through an operation."""
    return plain if not torch.compiler.is_compiling() and transformed() else operations


class LSTMLayers(Layers):
    cell, gates = "LSTM", 4
    plain: Any = nn.LSTM.forward
    permute_hidden: Any = nn.LSTM.permute_hidden
    check_forward_args: Any = nn.LSTM.check_forward_args
    get_expected_cell_size: Any = nn.LSTM.get_expected_cell_size

    def zeros(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return super().zeros(x), x.new_zeros(self.num_layers * self.directions, x.shape[1], self.hidden_size)

    def direction(self, layer: int, k: int, x: Tensor, first: list[Tensor], noise: Noise) -> tuple[Tensor, ...]:
        """Returns the output of one direction of a layer, the last h and the last c."""
        w_ih, w_hh, b_ih, b_hh, w_hr = self.weights(layer, k)
        bias = None if b_ih is None or b_hh is None else b_ih + b_hh
        a = project(x, w_ih, bias, 4)  # type: ignore[arg-type]
        rest = (None if each is None else each.to(a.dtype) for each in (w_hh, *first, w_hr))  # autocast may have changed a
        hs, c, *_ = loops().lstm(a, *rest, *noise, bool(k))
        if noise.memory is not None:  # a dropped unit has no memory
            c = torch.where(noise.memory == 0, 0, c)
        return (hs[:-1], hs[0], c) if k else (hs[1:], hs[-1], c)


class GRULayers(Layers):
    cell, gates = "GRU", 3
    plain: Any = nn.GRU.forward

    def direction(self, layer: int, k: int, x: Tensor, first: list[Tensor], noise: Noise) -> tuple[Tensor, ...]:
        """Returns the output of one direction of a layer and the last h."""
        w_ih, w_hh, b_ih, b_hh, _ = self.weights(layer, k)
        a = project(x, w_ih, b_ih, 3)  # type: ignore[arg-type]
        bias = a.new_zeros(a.shape[-1]) if b_hh is None else b_hh
        rest = (each.to(a.dtype) for each in (w_hh, bias, *first))  # type: ignore[union-attr]
        hs, _ = loops().gru(a, *rest, noise.read, noise.update, noise.zone_h, bool(k))
        hs = hs.to(x.dtype) if hs.device.type == "cpu" else hs  # as torch.nn.GRU, whose dtype autocast changes on a GPU only
        return (hs[:-1], hs[0]) if k else (hs[1:], hs[-1])
