"""Feature dropout: drops whole columns of a table."""

from dataclasses import replace

import torch
from torch import Tensor

from thinnet.methods.call import call, no_tensor
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Method, Use
from thinnet.methods.noise_shapes import noise_shape_of
from thinnet.rng import Site


def columns(axes: int) -> tuple[int, ...]:
    """Returns the shared axes of `(..., D)` with one decision per feature.

    >>> columns(3)
    (0, 1)
    """
    return tuple(range(axes - 1))


FACTS = replace(
    dropout.FACTS,
    noise_shape=noise_shape_of(columns),
    per_batch=True,
    independent=False,
    used_by=(Use("PyTorch Geometric", "torch_geometric.utils.mask_feature(x, p, mode='col')"),),
)


def feature_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `FeatureDropout`.

    Args:
        x: `(..., D)`; floating point or complex.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> kept = feature_dropout(torch.ones(50, 8), 0.5, training=True).count_nonzero(dim=0)
    >>> bool(((kept == 0) | (kept == 50)).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(feature_dropout, locals())
    return call("feature_dropout", x, p, training, inplace, generator, shared_axes=columns(x.ndim))


class FeatureDropout(Site):
    """Drops whole columns of the batch and scales the kept ones by 1 / (1 - p).

        y[..., d] = x[..., d] m[d] / (1 - p),  m ~ Bernoulli(1 - p) for each feature d

    All samples of a batch see the same columns, so a column is absent for a whole step, as in a sub-sampled table.

    Noise shape: one decision per feature for the batch.
    Use when: on the input of a network for tables or graphs, where features repeat each other; for two views of a graph.
    Avoid when: few features matter and none repeats them; or batches are small, as decisions are few.
    Start with: p from 0.1 to 0.3.
    Cost: D random decisions, and a copy of the input.
    Other implementations: torch_geometric.utils.mask_feature, which does not scale kept columns, so that means shrink by 1 - p
        in training only.

    Args:
        p: probability that a column is dropped, rounded to 1/65536.
        inplace: write the result into the input.

    Shapes: `(..., D)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1]; TypeError if the input is an integer, bool, quantised or sparse tensor.

    Source: You, Chen, Sui, Chen, Wang, Shen 2020, "Graph contrastive learning with augmentations", NeurIPS, arXiv:2010.13902,
        masks attributes; for columns, Zhu et al. 2020, "Deep graph contrastive representation learning", arXiv:2006.04131.

    >>> FeatureDropout(0.2)(torch.randn(50, 8)).shape
    torch.Size([50, 8])
    """

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x, batch=None)
        return x if key is None else key.apply_noise(x, columns(x.ndim), inplace=self.inplace)


METHODS = (Method(FACTS, FeatureDropout, feature_dropout, lambda x: feature_dropout(x, 0.3, training=True)),)
