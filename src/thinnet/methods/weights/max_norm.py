"""Max-norm: bounds the norm of each unit's incoming weights."""

import math
from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import real
from thinnet.methods.weights.affine import AFFINE


def definition(weight: Tensor, norm: float) -> Tensor:
    """Returns the vectors `weight[i]` with none longer than `norm`."""
    length = weight.flatten(1).square().sum(1).sqrt().reshape(-1, *[1] * (weight.ndim - 1))
    return torch.where(length > norm, weight * (norm / length), weight)


FACTS = Facts(
    domain="a norm c > 0; no rate",
)


@torch.no_grad()
def max_norm_(target: nn.Module | Tensor | Iterable[Tensor], norm: float = 3.0, *, names: str = "*") -> Tensor:
    """Shortens, in place, the incoming weight vector of each unit to at most `norm`; call it after `optimizer.step()`.

        w <- w min(1, c / ||w||_2)

    Shorter vectors keep their bits. A vector is `weight[i]` of a Linear or Conv layer: all input channels and positions of the
    kernel. In transposed convolutions it is `weight[:, i]` of the unit's group. Sharded weights (DTensor, as FSDP2 makes them)
    are measured whole; the flat shards of FSDP1 are not supported.

    Noise shape: no noise; one norm per unit.
    Use when: hidden layers of a network that trains with dropout and a high learning rate.
    Avoid when: layers before a normalisation, which cancels the norm.
    Start with: 3 to 4.
    Cost: one pass over the weights per step; nothing is kept.
    Other implementations: Keras MaxNorm; torch.renorm for one axis of a tensor; torch.nn.Embedding(max_norm=) for the rows in
        use.

    Args:
        target: a module, whose Linear, Conv and ConvTranspose weights are bounded, tied weights once and biases not at all; or
            one
            or several weights of at least two axes, whose axis 0 counts units.
        norm: the largest length, c.
        names: an `fnmatch` pattern for the names of a module's weights, such as `"encoder.*"`.

    Returns: the number of shortened vectors as a 0-d int64 tensor, so that nothing waits for a GPU.

    Raises:
        ValueError: `norm` is not a positive number, no weight matches `names`, a weight is computed by a parametrization, or
            has
            fewer than two axes.
        TypeError: `target` is something else.

    Source: Srivastava et al. 2014, JMLR 15:1929, section 5.1; Srebro and Shraibman 2005, COLT.

    >>> layer = nn.Linear(2, 2)
    >>> _ = nn.init.constant_(layer.weight, 3.0)
    >>> int(max_norm_(layer, 1.0)), layer.weight.norm(dim=1).tolist()
    (2, [1.0, 1.0])
    """
    if not 0 < real(norm) < math.inf:
        raise ValueError(f"max_norm_: norm must be a positive number; got {norm!r}. 3 is usual.")
    counts = [_shorten(view, dims, norm) for view, dims in _vectors(target, names)]
    return torch.stack([count.to(counts[0].device) for count in counts]).sum()


def _vectors(target: nn.Module | Tensor | Iterable[Tensor], names: str) -> list[tuple[Tensor, tuple[int, ...]]]:
    """Returns each weight with the axes of its units' vectors."""
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


METHODS = (Method(FACTS, None, max_norm_, title="Max-norm"),)
