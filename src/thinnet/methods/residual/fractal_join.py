"""Drop-path of FractalNet: where columns join by their mean, some are left out; now and then all but one in the whole network.

    y = sum_k m_k x_k / sum_k m_k

    local:   m_k ~ Bernoulli(1 - p) for each column of each sample; where all fall, one of them, chosen uniformly, survives
    global:  m_k = 1 for one column, the same at every join and for the whole batch

Larsson, Maire, Shakhnarovich 2017, ICLR, arXiv:1605.07648.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from thinnet.methods.call import draw_key as key_for
from thinnet.methods.facts import Facts, Method
from thinnet.rng import NoiseKey, Site


def _weights(u: Tensor, p: float | Tensor) -> Tensor:
    """Returns the weights of K columns, `(N, K)`, from u, `(N, K + 1)`: a coin for each, and who survives where all fall."""
    kept, columns = u[:, :-1] >= p, u.shape[1] - 1
    last = (u[:, -1:] * columns).floor() == torch.arange(columns, device=u.device)
    kept = torch.where(kept.any(1, keepdim=True), kept, last)
    return kept / kept.sum(1, keepdim=True)


def _join(columns: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Returns the weighted sum of the columns, each selected to zero where it has no weight."""
    rows = weights.to(torch.promote_types(columns[0].dtype, torch.float32))
    y = torch.zeros((), dtype=rows.dtype, device=rows.device)
    for column, weight in zip(columns, rows.unbind(1), strict=True):
        weight = weight.reshape(-1, *(1,) * (column.ndim - 1))
        y = y + torch.where(weight > 0, column * weight, 0)
    return y.to(columns[0].dtype)


def definition(columns: Sequence[Tensor], u: Tensor, p: float) -> Tensor:
    """Returns the local join; u is `(N, K + 1)`."""
    return _join(columns, _weights(u, p))


def _inverse(p: float, columns: int) -> float:
    """Returns E[1 / S] for S surviving columns."""
    return sum(math.comb(columns, s) * (1 - p) ** s * p ** (columns - s) / max(s, 1) for s in range(columns + 1))


def _variance(columns: Sequence[Tensor], p: float) -> Tensor:
    count = len(columns)
    if count == 1:
        return torch.zeros_like(columns[0])
    return torch.stack(list(columns)).var(0, correction=0) * (count * _inverse(p, count) - 1) / (count - 1)


def _mean(columns: Sequence[Tensor], p: float = 0.0) -> Tensor:
    return sum(columns[1:], columns[0]) / len(columns)


FACTS = Facts(
    name="Drop-path of FractalNet",
    summary="Joins columns by the mean of those that survive; each falls by a coin of its own, or all but one in the network.",
    equation="y = sum_k m_k x_k / sum_k m_k",
    paper="Larsson et al. 2017, arXiv:1605.07648",
    grain="column of a sample (local), columns of the network (global)",
    place="where parallel paths of one network join by their mean",
    avoid="where paths are summed: the mean is what keeps the scale whatever survives",
    default="p = 0.15, local in one half of the steps and global in the other",
    cost="one number a column and sample; all columns are computed",
    elsewhere="the authors' Caffe code and ports of it; no maintained library",
    expected_drop=lambda p, columns: p - p**columns / columns,
    mean=_mean,
    variance=_variance,
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, columns: (shape[0], columns + 1),
    independent=False,
    in_eval=_mean,
)


def _check(function: str, columns: Sequence[Tensor]) -> None:
    if not columns or any(column.shape != columns[0].shape or column.ndim == 0 for column in columns):
        shapes = [tuple(column.shape) for column in columns]
        raise ValueError(f"{function}: columns must be tensors of one shape, (N, ...); got {shapes}. Bring them to one shape.")


def fractal_join(
    columns: Sequence[Tensor],
    p: float | Tensor = 0.15,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Joins columns by the mean of those that survive, sample by sample: local drop-path.

    y = sum_k m_k x_k / sum_k m_k, with m_k ~ Bernoulli(1 - p); where all fall, one of them, chosen uniformly, survives.

    Args:
        columns: what the parallel paths gave, each `(N, ...)`.
        p: probability that a column falls; honoured to 1/65536.
        training: whether coins are tossed; the mean of all columns where not. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like one of the columns. Its expectation is their mean, whatever the rate.

    Raises: ValueError where `p` is not in [0, 1], or the columns are none or of several shapes.

    Source: Larsson et al. 2017, arXiv:1605.07648.

    >>> fractal_join([torch.zeros(2), torch.ones(2)], 0.15, training=False)
    tensor([0.5000, 0.5000])
    """
    _check("fractal_join", columns)
    key = key_for("fractal_join", columns[0], p, training, generator)
    return _mean(columns) if key is None else _join(columns, _local(key, columns))


def _local(key: NoiseKey, columns: Sequence[Tensor]) -> Tensor:
    return _weights(key.uniform((len(columns[0]), len(columns) + 1)), key.p)


class FractalPath(Site):
    """Decides once a forward pass, for a whole network, between local drop-path and a single column: put it in front.

    column = -1 with probability 1 - p, else one of 0 .. columns - 1, chosen uniformly; one for the batch.

    The joins that are made with it ask it. It hands on what it is called with.

    Args:
        columns: the number of columns of the network.
        p: probability that all columns but one are dropped in a forward pass; the paper's is one half.

    Shapes: any, the same out as in.

    Raises: ValueError where `p` is not in [0, 1] or `columns` is no positive integer.

    Source: Larsson et al. 2017, arXiv:1605.07648.

    >>> path = FractalPath(columns=3)
    >>> _ = path(torch.ones(2, 5))
    >>> -1 <= int(path.column) < 3
    True
    """

    def __init__(self, columns: int, p: float | None = 0.5) -> None:
        if isinstance(columns, bool) or not isinstance(columns, int) or columns < 1:
            raise ValueError(f"FractalPath: columns must be a positive integer; got {columns!r}. It counts all columns.")
        super().__init__(p)
        self.columns = columns
        self.column: Tensor | None = None  # of the forward pass that runs, or of the last one

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x, batch=None)
        if key is None:
            self.column = None
            return x
        one, which = key.uniform((2,)).unbind()
        self.column = torch.where(one < key.p, (which * self.columns).floor(), -1)
        return x

    def extra_repr(self) -> str:
        return f"columns={self.columns}, p={self.p}"


class FractalJoin(Site):
    """Joins the columns of a fractal network by the mean of those that survive in training, and of all of them in eval.

    y = sum_k m_k x_k / sum_k m_k, with m_k ~ Bernoulli(1 - p) for each sample; where all fall, one of them, chosen uniformly,
    survives. With a `path`, in the forward passes that it cuts to a single column, y is that column.

    Args:
        p: probability that a column falls in a local join; honoured to 1/65536.
        path: the one object that all joins of a network share, if there are to be single columns. A join of fewer columns than
            the network has joins the last ones; where the single column is not among them it gives zeros, which no join takes.

    Shapes: a sequence of K tensors `(N, ...)` in, `(N, ...)` out.

    Raises: ValueError where `p` is not in [0, 1], or the columns are none, of several shapes, or more than the path has.

    Source: Larsson et al. 2017, arXiv:1605.07648.

    >>> path = FractalPath(columns=2, p=1.0)
    >>> x, join = torch.ones(2, 5), FractalJoin(0.15, path)
    >>> y = join([path(x), 3 * x])
    >>> torch.equal(y, x) or torch.equal(y, 3 * x)
    True
    """

    def __init__(self, p: float | None = 0.15, path: FractalPath | None = None) -> None:
        super().__init__(p)
        self.path = path

    def forward(self, columns: Sequence[Tensor]) -> Tensor:  # type: ignore[override]
        """Returns the join of the columns."""
        _check("FractalJoin", columns)
        if self.path is not None and len(columns) > self.path.columns:
            rule = f"at most the {self.path.columns} of its path"
            raise ValueError(f"FractalJoin: columns must be {rule}; got {len(columns)}. Give FractalPath the number of all.")
        key = self.key(columns[0])
        if key is None:
            return _mean(columns)
        weights = _local(key, columns)
        if self.path is not None and self.path.column is not None:
            column, first = self.path.column.to(weights.device), self.path.columns - len(columns)
            single = column == torch.arange(first, self.path.columns, device=weights.device)
            weights = torch.where(column < 0, weights, single.to(weights.dtype))
        return _join(columns, weights)


METHODS = (
    Method(FACTS, FractalJoin, fractal_join),
    Method(FACTS, FractalPath),
)
