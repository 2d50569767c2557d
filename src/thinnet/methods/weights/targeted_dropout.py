"""Targeted dropout: only weights, or units, that pruning would remove are dropped."""

import copy
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from thinnet import ops
from thinnet.methods.call import draw_key as key_for
from thinnet.methods.call import no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import part_of, real
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey

Per = Literal["weight", "unit"]


def candidates(weight: Tensor, targeted: float = 0.5, per: Per = "weight") -> Tensor:
    """Returns which weights `(out, ...)` may be dropped, or which units `(out, 1, ...)`: exactly int(targeted n) of each n.

    >>> candidates(torch.tensor([[3.0, -1.0, 2.0, 0.5], [1.0, 1.0, 1.0, 1.0]]))
    tensor([[False,  True, False,  True],
            [ True,  True, False, False]])
    """
    rows = weight.detach().flatten(1)
    size = rows.abs() if per == "weight" else torch.linalg.vector_norm(rows, dim=1)[None]
    weakest = size.sort(dim=1, stable=True).indices[:, : part_of(size.shape[1], targeted)]
    chosen = torch.zeros_like(size, dtype=torch.bool).scatter(1, weakest, True)
    return chosen.reshape(weight.shape if per == "weight" else (-1, *[1] * (weight.ndim - 1)))


def definition(x: Tensor, u: Tensor, p: float, *, targeted: float = 0.5, per: Per = "weight") -> Tensor:
    """Returns the weights `x` with zeros at the candidates where u < p."""
    return torch.where(candidates(x, targeted, per) & (u < p), 0, x)


def mean(x: Tensor, p: float, *, targeted: float = 0.5, per: Per = "weight") -> Tensor:
    """Returns (1 - p) w for the candidates and w for the others."""
    return torch.where(candidates(x, targeted, per), (1 - p) * x, x)


def variance(x: Tensor, p: float, *, targeted: float = 0.5, per: Per = "weight") -> Tensor:
    """Returns p (1 - p) w^2 for the candidates and 0 for the others."""
    return torch.where(candidates(x, targeted, per), p * (1 - p) * x * x, 0)


def _noise_shape(shape: tuple[int, ...], *, per: Per = "weight", **_: object) -> tuple[int, ...]:
    """Returns the shape of the mask of a weight."""
    return tuple(shape) if per == "weight" else (shape[0], *[1] * (len(shape) - 1))


FACTS = Facts(
    mean=mean,
    variance=variance,
    definition=definition,
    noise_shape=_noise_shape,
    per_batch=True,
)


def _check(function: str, targeted: float, per: str) -> None:
    if not 0 <= real(targeted) <= 1:
        raise ValueError(f"{function}: targeted must be in [0, 1]; got {targeted!r}. It is the part that may be dropped.")
    if per not in get_args(Per):
        raise ValueError(f"{function}: per must be 'weight' or 'unit'; got {per!r}. A unit is a row of the weight.")


def _drop(key: NoiseKey, weight: Tensor, targeted: float, per: Per) -> Tensor:
    dropped = ~key.mask(_noise_shape(tuple(weight.shape), per=per))
    return torch.where(candidates(weight, targeted, per) & dropped, 0, weight)


def targeted_dropout(
    weight: Tensor,
    p: float | Tensor = 0.5,
    *,
    targeted: float = 0.5,
    per: Per = "weight",
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `TargetedDropout`, applied to a weight instead of a layer.

    Args:
        weight: `(out, ...)`, as linear and convolutional layers have it; it is not changed.
        training: whether to drop; `weight` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    Returns: a tensor like `weight`.

    Raises:
        ValueError: `p` or `targeted` is not in [0, 1], or `per` is invalid.
        TypeError: `weight` is an integer, bool, quantised or sparse tensor.

    >>> weight = torch.tensor([[3.0, -1.0, 2.0, 0.5]])
    >>> targeted_dropout(weight, 1.0, targeted=0.5, training=True)
    tensor([[3., 0., 2., 0.]])
    """
    if not isinstance(weight, Tensor):
        return no_tensor(targeted_dropout, locals())
    _check("targeted_dropout", targeted, per)
    ops.check_input(weight, "targeted_dropout")
    key = key_for("targeted_dropout", weight, p, training, generator)
    return weight if key is None else _drop(key, weight, targeted, per)


class TargetedDropout(Wrapped):
    """Drops only the smallest weights of a layer, or its weakest units, so that they can be pruned after training.

        w' = w (1 - t d),  t = 1 for the `targeted` part with the smallest |w| of each output unit,  d ~ Bernoulli(p)

    With `per="unit"` the candidates are the units with the smallest norm of their weights, and a unit's weights are dropped
    together. Nothing is scaled: in training the mean of a candidate is (1 - p) w. The bias is not dropped.

    In eval the layer is whole, so a checkpoint means the same with and without the wrapper; the `state_dict` has the keys of
    the bare layer. `prune()` returns the pruned layer; `prune_in_eval=True` evaluates the pruned one while training goes on.

    Noise shape: one decision per weight, or per output unit, for the whole batch.
    Use when: in layers that will be pruned after training, with `targeted` the part that will be pruned.
    Avoid when: as a regulariser alone: the largest weights are never dropped.
    Start with: targeted 0.5 to 0.75, p 0.33 to 0.66; a schedule raises p from 0.
    Cost: a sort of each unit's weights and a mask of the weights for every forward pass.
    Other implementations: the authors' TensorFlow code, which drops single weights of candidate units, and prunes in eval.

    Args:
        layer: `Linear`, `Conv1d`, `Conv2d` or `Conv3d`.
        p: probability that a candidate is dropped; rounded to 1/65536.
        targeted: the part of the weights of each output unit, or of the units, that are candidates; rounded down.
        per: "weight", or "unit" for whole rows of the weight.
        prune_in_eval: whether eval runs without all candidates.

    Shapes: those of the layer.

    Raises:
        TypeError: `layer` is of another class.
        ValueError: `p` or `targeted` is not in [0, 1], `per` is invalid, or the weight is computed by a parametrization.

    Source: Gomez et al. 2019, arXiv:1905.13678.

    >>> layer = TargetedDropout(nn.Linear(4, 2), p=0.5, targeted=0.75)
    >>> layer(torch.randn(8, 4)).shape
    torch.Size([8, 2])
    >>> (layer.prune().weight == 0).sum(1).tolist()
    [3, 3]
    """

    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

    def __init__(
        self,
        layer: nn.Module,
        p: float = 0.5,
        *,
        targeted: float = 0.5,
        per: Per = "weight",
        prune_in_eval: bool = False,
    ) -> None:
        super().__init__(layer, p)
        _check("TargetedDropout", targeted, per)
        if "weight" not in layer._parameters:
            step = "Call torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') first."
            raise ValueError(f"TargetedDropout: the weight must be a parameter; got a parametrization of one. {step}")
        self.targeted, self.prune_in_eval = targeted, prune_in_eval
        self.per: Per = per

    def bare_in_eval(self) -> bool:
        return not self.prune_in_eval

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x, batch=None)
        if key is None and not self.prune_in_eval:
            return self.layer(x)
        weight = self._pruned() if key is None else _drop(key, self.layer.weight, self.targeted, self.per)
        return torch.func.functional_call(self.layer, {"weight": weight}, (x,))

    def _pruned(self) -> Tensor:
        weight = self.layer.weight
        return torch.where(candidates(weight, self.targeted, self.per), 0, weight)

    def prune(self) -> nn.Module:
        """Returns a copy of the bare layer with zeros for all candidates."""
        layer = copy.deepcopy(self.layer)
        with torch.no_grad():
            layer.weight.copy_(self._pruned())
        return layer

    def extra_repr(self) -> str:
        return f"p={self.p}, targeted={self.targeted}, per={self.per!r}, prune_in_eval={self.prune_in_eval}"


METHODS = (Method(FACTS, TargetedDropout, targeted_dropout, lambda x: targeted_dropout(x, 0.6, training=True)),)
