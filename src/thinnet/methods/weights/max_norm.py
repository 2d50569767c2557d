"""Max-norm: after each step of the optimiser, the incoming weights of a unit that got too long are shortened to a norm c.

    w <- w min(1, c / ||w||_2)  for the incoming vector w of each unit

Srebro and Shraibman 2005, COLT; with dropout: Srivastava et al. 2014, JMLR 15:1929, section 5.1.
"""

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from thinnet.methods.facts import Facts, Method
from thinnet.methods.weights.affine import AFFINE


def definition(weight: Tensor, norm: float) -> Tensor:
    """Returns the vectors `weight[i]` with none longer than `norm`."""
    length = weight.flatten(1).square().sum(1).sqrt().reshape(-1, *[1] * (weight.ndim - 1))
    return torch.where(length > norm, weight * (norm / length), weight)


FACTS = Facts(
    name="Max-norm",
    summary="Bounds the length of each unit's incoming weight vector after every step of the optimiser.",
    equation="w <- w min(1, c / ||w||_2)",
    paper="Srivastava et al. 2014, JMLR 15:1929, section 5.1",
    grain="incoming weights of a unit; no coin",
    place="hidden layers of a network that trains with dropout and a high learning rate; after optimizer.step()",
    avoid="layers before a normalisation, which takes the length away again",
    default="3 to 4",
    cost="one pass over the weights a step; nothing is kept",
    elsewhere="Keras MaxNorm; torch.renorm does it for one axis of a tensor; torch.nn.Embedding(max_norm=) for rows"
    " that are looked up",
    domain="a norm c > 0; no rate",
)


@torch.no_grad()
def max_norm_(target: nn.Module | Tensor | Iterable[Tensor], norm: float = 3.0, *, names: str = "*") -> Tensor:
    """Shortens, in place, each unit's incoming weight vector that is longer than `norm`; call it after `optimizer.step()`.

    w <- w min(1, c / ||w||_2). Vectors that are short enough keep their bits. A vector is `weight[i]` of a Linear or Conv
    layer, all input channels and places of the kernel; in transposed convolutions it is `weight[:, i]` of the unit's group.
    Sharded weights (DTensor, as FSDP2 makes them) are measured whole; the flat shards of FSDP1 are not supported.

    Args:
        target: a module, whose Linear, Conv and ConvTranspose layers are taken, tied weights once and biases not at all; or a
            weight, or several, of two axes or more, whose axis 0 counts units.
        norm: the largest length, c.
        names: which weights of a module, as an `fnmatch` pattern over their names: `"encoder.*"`.

    Returns: how many vectors were shortened: a 0-d int64 tensor, so that nothing waits for a GPU.

    Raises:
        ValueError: `norm` is not a positive number, no weight has a name that fits, a weight is computed by a
            parametrization, or has fewer than two axes.
        TypeError: `target` is something else.

    Source: Srivastava et al. 2014, JMLR 15:1929, section 5.1.

    >>> layer = nn.Linear(2, 2)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> int(max_norm_(layer, 1.0)), layer.weight.norm(dim=1).tolist()
    (2, [1.0, 1.0])
    """
    if isinstance(norm, (bool, str, bytes)) or not 0 < norm < math.inf:
        raise ValueError(f"max_norm_: norm must be a positive number; got {norm!r}. 3 is usual.")
    counts = [_shorten(view, dims, norm) for view, dims in _vectors(target, names)]
    return torch.stack([count.to(counts[0].device) for count in counts]).sum()


def _vectors(target: nn.Module | Tensor | Iterable[Tensor], names: str) -> list[tuple[Tensor, tuple[int, ...]]]:
    """Returns weights, and the axes over which their units' vectors run."""
    if isinstance(target, nn.Module):
        return _of_module(target, names)
    weights = [target] if isinstance(target, Tensor) else list(target) if isinstance(target, Iterable) else None
    if not weights or not all(isinstance(weight, Tensor) for weight in weights):
        raise TypeError(f"max_norm_: target must be a module, a weight or several weights; got {target!r}.")
    for weight in weights:
        if weight.ndim < 2:
            raise ValueError(f"max_norm_: a weight must have two axes or more; got shape {tuple(weight.shape)}. Leave it out.")
    return [(weight, tuple(range(1, weight.ndim))) for weight in weights]


def _of_module(model: nn.Module, names: str) -> list[tuple[Tensor, tuple[int, ...]]]:
    found: dict[int, tuple[Tensor, tuple[int, ...]]] = {}
    for path, layer in model.named_modules():
        name = f"{path}.weight".removeprefix(".")
        if not isinstance(layer, AFFINE) or not fnmatchcase(name, names):
            continue
        weight = layer._parameters.get("weight")
        if weight is None:
            raise ValueError(f"max_norm_: {name!r} is computed by a parametrization. Leave it out by its name.")
        found.setdefault(id(weight), _of_layer(layer, weight))
    if not found:
        raise ValueError(f"max_norm_: target must have Linear or Conv weights with names like {names!r}; it has none.")
    return list(found.values())


def _of_layer(layer: nn.Module, weight: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    if not getattr(layer, "transposed", False):
        return weight, tuple(range(1, weight.ndim))
    if layer.groups == 1:
        return weight, (0, *range(2, weight.ndim))
    grouped = weight.unflatten(0, (layer.groups, -1))  # type: ignore[arg-type]
    return grouped, (1, *range(3, grouped.ndim))


def _shorten(weight: Tensor, dims: tuple[int, ...], norm: float) -> Tensor:
    exact = torch.promote_types(weight.dtype, torch.float32)
    length = torch.linalg.vector_norm(weight, dim=dims, keepdim=True, dtype=exact)
    long = length > norm
    weight.copy_(torch.where(long, (weight * (norm / length)).to(weight.dtype), weight))
    return long.sum()


METHODS = (Method(FACTS, None, max_norm_),)
