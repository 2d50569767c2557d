"""Weight scaling: one network without dropout that approximates the average of all sub-networks.

    inverted   trained as y = x m / q     at inference  W x + b
    classic    trained as y = x m         at inference  (q W) x + b

Both have the expectation of what they were trained with: E[m] / q = 1, and E[m] = q.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, JMLR 15:1929, section 4.
"""

from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from thinnet.inference.copies import free_copy, norms_pinned
from thinnet.inference.deterministic.readers import scale_readers
from thinnet.inference.deterministic.undropped import Undropped
from thinnet.models.edit import strip
from thinnet.models.edit.order import call_with
from thinnet.models.found import FoundSite
from thinnet.models.sites import sites
from thinnet.rng import Site


def weight_scaled(model: nn.Module, example: Any = None, *, classic: bool = False) -> nn.Module:
    """Returns a copy of a model without dropout, in eval, for deployment.

    Inverted dropout scales kept units up in training, so the weights need no scaling. The copy computes, bit for bit, what the
    model computes in eval, and has no dropout operation left in any mode. It has the modules, the parameters and the
    `state_dict` keys of the model; tied parameters stay tied.

    Classic dropout (Srivastava et al., and frameworks before 2014) trains with y = x m. Then the layers that read dropped units
    need their weights times q = 1 - p. `classic=True` scales the weights, not the biases, of each `Linear` and convolution that
    reads a site through ReLU, pooling, reshaping or another site. If another layer reads the site too, or the weights are tied
    or used elsewhere, a module `Scale(q)` replaces the site instead.

    Args:
        model: any module; it is unchanged.
        example: an input of the model: a tensor, a tuple of arguments, or a mapping of named ones. With it, functional dropout
            is removed too, and a run of the copy checks that nothing random is left.
        classic: whether the model was trained with masks that do not scale; needs an example.

    Returns: the copy.

    Raises:
        ValueError: a random operation is left, and the message names it; or, for `classic`, there is no example, or dropout is
            inside another module or a function, or is not a mask.
        TypeError: `model` is not a module.

    Source: Srivastava et al. 2014, JMLR 15:1929, section 4.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.25), nn.Linear(8, 2)).eval()
    >>> x = torch.randn(3, 4)
    >>> bool((weight_scaled(model)(x) == model(x)).all())
    True
    >>> classic = weight_scaled(model, x, classic=True)
    >>> bool((classic[3].weight == 0.75 * model[3].weight).all()), classic[2]
    (True, Identity())
    """
    copied = free_copy("weight_scaled", model).eval()
    alone = isinstance(copied, (Site, _DropoutNd))  # `strip` needs a parent module
    copied = nn.Sequential(copied) if alone else copied
    if classic:
        if example is None:
            raise ValueError("weight_scaled: classic=True must have an example, to find the layers that read a site; got None.")
        scale_readers(copied, example)
    strip(copied)
    copied = copied[0] if alone else copied  # type: ignore[index]
    if example is not None:
        _remove_functional(copied, example)
    return copied.eval()


def _remove_functional(model: nn.Module, example: Any) -> None:
    """Removes functional dropout, and refuses any other random operation."""
    if not _random(model, example):
        return
    Undropped(model).put()
    for place in _random(model, example):
        where = f"{place.name or 'the model'} ({place.op}{f' at {place.line}' if place.line else ''})"
        raise ValueError(f"weight_scaled: nothing random may be left; {where} is. Make it a dropout site.")


def _random(model: nn.Module, example: Any) -> list[FoundSite]:
    with norms_pinned(model):
        found = sites(model, run=lambda model: call_with(model, example), passes=2)
    return [place for place in found if place.is_random]
