"""Weight scaling: one network without dropout that stands for the average of all thinned networks.

    inverted   trained as y = x m / q     at inference  W x + b
    classic    trained as y = x m         at inference  (q W) x + b

Both have the expectation of what they were trained with: E[m] / q = 1, and E[m] = q.

Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014, JMLR 15:1929, section 4.
"""

from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from thinnet.inference.deterministic.copying import free_copy, norms_still
from thinnet.inference.deterministic.readers import scale_readers
from thinnet.inference.deterministic.undropped import Undropped
from thinnet.models.edit import strip
from thinnet.models.edit.order import call_with
from thinnet.models.found import FoundSite
from thinnet.models.sites import sites
from thinnet.rng import Site


def weight_scaled(model: nn.Module, example: Any = None, *, classic: bool = False) -> nn.Module:
    """Returns a copy of a model without dropout, in eval: what is deployed in the place of the ensemble.

    A model of today's inverted dropout has its weights scaled already, as what is kept was scaled up in training: the copy
    computes, to the bit, what the model computes in eval, and has no operation of dropout left, in whatever mode. Its modules,
    parameters and the keys of its `state_dict` are those of the model; tied parameters stay tied.

    A model that was trained with the masks alone, y = x m, as in Srivastava et al. and in the frameworks before 2014, gives the
    right expectation only where what reads dropped units has its weights times q = 1 - p. `classic=True` does that: the weights
    of each `Linear` and convolution that reads a site, through ReLU, pooling, reshaping or another site, are scaled, and
    their biases are not. Where something else reads the site too, or the weights are tied or read elsewhere, the
    multiplication stays, as a module `Scale(q)` in the place of the site.

    Args:
        model: any module; it is not changed.
        example: what the model is called with: a tensor, a tuple of arguments, or a mapping of named ones. With it, dropout
            that a forward method calls as a function goes too, and that nothing random is left is seen by running the copy.
        classic: whether the model was trained with masks that do not scale; needs an example.

    Returns: the copy.

    Raises:
        ValueError: something random is left, and the message names it; or, for `classic`, there is no example, or dropout that
            is inside of another module or a function, or of another kind than masks.
        TypeError: `model` is no module.

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
    alone = isinstance(copied, (Site, _DropoutNd))  # what is replaced has to be held by something
    copied = nn.Sequential(copied) if alone else copied
    if classic:
        if example is None:
            raise ValueError("weight_scaled: classic=True must have an example, to see what reads each site; got None.")
        scale_readers(copied, example)
    strip(copied)
    copied = copied[0] if alone else copied  # type: ignore[index]
    if example is not None:
        _still(copied, example)
    return copied.eval()


def _still(model: nn.Module, example: Any) -> None:
    """Takes out dropout that is called as a function, and names what is random all the same."""
    if not _random(model, example):
        return
    Undropped(model).put()
    for place in _random(model, example):
        where = f"{place.name or 'the model'} ({place.op}{f' at {place.line}' if place.line else ''})"
        raise ValueError(f"weight_scaled: nothing random may be left; {where} is. Make it a site of thinnet.")


def _random(model: nn.Module, example: Any) -> list[FoundSite]:
    with norms_still(model):
        found = sites(model, run=lambda model: call_with(model, example), passes=2)
    return [place for place in found if place.on_in_train or place.on_in_eval]
