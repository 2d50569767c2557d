"""Targeted dropout: only the weights, or units, that pruning would take are dropped, so that the network learns to do without.

    w' = w (1 - t d),  t = 1 for the `targeted` part with the smallest |w| of each output unit,  d ~ Bernoulli(p)

For units the candidates are the `targeted` part of all output units, those with the smallest norm of their weights, and one
coin drops a unit's weights together. Nothing is scaled: in training the candidates' mean is (1 - p) w.
Gomez, Zhang, Kamalakara, Madaan, Swersky, Gal, Hinton 2019, arXiv:1905.13678.
"""

import copy
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from thinnet import ops
from thinnet.methods.call import draw_key as key_for
from thinnet.methods.facts import Facts, Method
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey

Grain = Literal["weight", "unit"]


def candidates(weight: Tensor, targeted: float = 0.5, grain: Grain = "weight") -> Tensor:
    """Returns which weights `(out, ...)` may be dropped, or which units `(out, 1, ...)`: exactly int(targeted n) of each n.

    >>> candidates(torch.tensor([[3.0, -1.0, 2.0, 0.5], [1.0, 1.0, 1.0, 1.0]]))
    tensor([[False,  True, False,  True],
            [ True,  True, False, False]])
    """
    rows = weight.detach().flatten(1)
    size = rows.abs() if grain == "weight" else torch.linalg.vector_norm(rows, dim=1)[None]
    weakest = size.sort(dim=1, stable=True).indices[:, : int(targeted * size.shape[1])]
    chosen = torch.zeros_like(size, dtype=torch.bool).scatter(1, weakest, True)
    return chosen.reshape(weight.shape if grain == "weight" else (-1, *[1] * (weight.ndim - 1)))


def definition(x: Tensor, u: Tensor, p: float, *, targeted: float = 0.5, grain: Grain = "weight") -> Tensor:
    """Returns the weights `x` with zeros at the candidates whose coin drops them (u < p)."""
    return torch.where(candidates(x, targeted, grain) & (u < p), 0, x)


def mean(x: Tensor, p: float, *, targeted: float = 0.5, grain: Grain = "weight") -> Tensor:
    """Returns (1 - p) w for the candidates and w for the others."""
    return torch.where(candidates(x, targeted, grain), (1 - p) * x, x)


def variance(x: Tensor, p: float, *, targeted: float = 0.5, grain: Grain = "weight") -> Tensor:
    """Returns p (1 - p) w^2 for the candidates and 0 for the others."""
    return torch.where(candidates(x, targeted, grain), p * (1 - p) * x * x, 0)


def _noise_shape(shape: tuple[int, ...], *, grain: Grain = "weight", **_: object) -> tuple[int, ...]:
    """Returns the shape of the coins of a weight."""
    return tuple(shape) if grain == "weight" else (shape[0], *[1] * (len(shape) - 1))


FACTS = Facts(
    name="Targeted dropout",
    summary="Drops, at rate p, only the weights or units that are the smallest and would be pruned; nothing is scaled.",
    equation="w' = w (1 - t d),  t = 1 for the smallest |w|,  d ~ Bernoulli(p)",
    paper="Gomez et al. 2019, arXiv:1905.13678",
    grain="weight, or output unit; the whole batch has one mask",
    place="in layers that will be pruned after training, with the part that will be pruned as `targeted`",
    avoid="as a regulariser alone: the weights that carry the network are never dropped",
    default="targeted 0.5 to 0.75, p 0.33 to 0.66, p rising from 0 by a schedule",
    cost="a sort of each unit's weights and one coin a weight for every forward pass",
    elsewhere="the authors' TensorFlow code, whose unit form tosses a coin for each weight of a candidate unit, and which"
    " prunes the candidates in eval; here that is asked for, prune_in_eval=True",
    mean=mean,
    variance=variance,
    definition=definition,
    noise_shape=_noise_shape,
    per_batch=True,
)


def _check(function: str, targeted: float, grain: str) -> None:
    if isinstance(targeted, (bool, str)) or not 0 <= targeted <= 1:
        raise ValueError(f"{function}: targeted must be in [0, 1]; got {targeted!r}. It is the part that may be dropped.")
    if grain not in get_args(Grain):
        raise ValueError(f"{function}: grain must be 'weight' or 'unit'; got {grain!r}. A unit is a row of the weight.")


def _drop(key: NoiseKey, weight: Tensor, targeted: float, grain: Grain) -> Tensor:
    dropped = ~key.mask(_noise_shape(tuple(weight.shape), grain=grain))
    return torch.where(candidates(weight, targeted, grain) & dropped, 0, weight)


def targeted_dropout(
    weight: Tensor,
    p: float | Tensor = 0.5,
    *,
    targeted: float = 0.5,
    grain: Grain = "weight",
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Returns a weight with some of its smallest numbers, or of its weakest units, set to zero.

    w' = w (1 - t d), with t = 1 for the `targeted` part with the smallest |w| of each row, and d ~ Bernoulli(p).

    Args:
        weight: `(out, ...)`, as linear and convolutional layers have it; it is not written to.
        p: probability that a candidate is dropped; honoured to 1/65536.
        targeted: the part of the weights of each output unit, or of the units, that are candidates; rounded down.
        grain: "weight", or "unit" for whole rows, by their norm.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `weight`, and `weight` itself where nothing is tossed.

    Raises:
        ValueError: `p` or `targeted` is not in [0, 1], or `grain` is another word.
        TypeError: `weight` is an integer, bool, quantised or sparse tensor.

    Source: Gomez et al. 2019, arXiv:1905.13678.

    >>> weight = torch.tensor([[3.0, -1.0, 2.0, 0.5]])
    >>> targeted_dropout(weight, 1.0, targeted=0.5, training=True)
    tensor([[3., 0., 2., 0.]])
    """
    _check("targeted_dropout", targeted, grain)
    ops.check_input(weight, "targeted_dropout")
    key = key_for("targeted_dropout", weight, p, training, generator)
    return weight if key is None else _drop(key, weight, targeted, grain)


class TargetedDropout(Wrapped):
    """Runs a layer without some of its smallest weights, or weakest units, in training.

    w' = w (1 - t d), with t = 1 for the `targeted` part with the smallest |w| of each output unit, and d ~ Bernoulli(p).

    In eval it is the layer as it was trained, whole, so that a checkpoint means the same with and without the wrapper; what
    the method is for, the pruned layer, is `prune()`, and `prune_in_eval=True` evaluates it while training goes on. The
    `state_dict` has the keys of the bare layer. The bias is not dropped. The rate takes schedules, for the ramps of the paper.

    Args:
        layer: `Linear`, `Conv1d`, `Conv2d` or `Conv3d`.
        p: probability that a candidate is dropped; honoured to 1/65536.
        targeted: the part of the weights of each output unit, or of the units, that are candidates; rounded down.
        grain: "weight", or "unit" for whole rows, by their norm.
        prune_in_eval: whether eval runs without all candidates.

    Shapes: those of the layer.

    Raises:
        TypeError: `layer` is of another kind.
        ValueError: `p` or `targeted` is not in [0, 1], `grain` is another word, or the weight is computed from others.

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
        grain: Grain = "weight",
        prune_in_eval: bool = False,
    ) -> None:
        super().__init__(layer, p)
        _check("TargetedDropout", targeted, grain)
        if "weight" not in layer._parameters:
            step = "Call torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') first."
            raise ValueError(f"TargetedDropout: the weight must be a parameter; got a parametrization of one. {step}")
        self.targeted, self.prune_in_eval = targeted, prune_in_eval
        self.grain: Grain = grain

    def drop(self, x: Tensor) -> Tensor:
        """Runs the layer with the weights that this batch keeps."""
        key = self.key(x, batch=None)
        if key is None and not self.prune_in_eval:
            return self.layer(x)
        weight = self._pruned() if key is None else _drop(key, self.layer.weight, self.targeted, self.grain)
        return torch.func.functional_call(self.layer, {"weight": weight}, (x,))

    def _pruned(self) -> Tensor:
        weight = self.layer.weight
        return torch.where(candidates(weight, self.targeted, self.grain), 0, weight)

    def prune(self) -> nn.Module:
        """Returns a copy of the layer, a plain one, with zeros in place of all candidates."""
        layer = copy.deepcopy(self.layer)
        with torch.no_grad():
            layer.weight.copy_(self._pruned())
        return layer

    def extra_repr(self) -> str:
        """Returns the rate and what it is for."""
        return f"p={self.p}, targeted={self.targeted}, grain={self.grain!r}, prune_in_eval={self.prune_in_eval}"


METHODS = (
    Method(
        FACTS,
        TargetedDropout,
        targeted_dropout,
        lambda x: targeted_dropout(x, 0.6, training=True),
    ),
)
