"""Drop-path of FractalNet: joins parallel columns by the mean of those that survive."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from thinnet.methods.call import draw_key as key_for
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import wide
from thinnet.rng import NoiseKey, Site


def _weights(u: Tensor, p: float | Tensor) -> Tensor:
    """Returns the weights of K columns, `(N, K)`, from u, `(N, K + 1)`: one per column, and one for the last survivor."""
    kept, columns = u[:, :-1] >= p, u.shape[1] - 1
    last = (u[:, -1:] * columns).floor() == torch.arange(columns, device=u.device)
    kept = torch.where(kept.any(1, keepdim=True), kept, last)
    return kept / kept.sum(1, keepdim=True).to(u.dtype)


def _join(columns: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Returns the weighted sum of the columns; columns without weight are selected to zero."""
    y = torch.zeros((), device=weights.device)
    for column, weight in zip(columns, weights.to(wide(columns[0])).unbind(1), strict=True):
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
    first, *others = (column.to(torch.promote_types(column.dtype, torch.float32)) for column in columns)
    return (sum(others, first) / len(columns)).to(columns[0].dtype)


FACTS = Facts(
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
    """Functional form of `FractalJoin`, without a path.

    Args:
        columns: the outputs of the parallel paths, each `(N, ...)`.
        training: whether to drop; the mean of all columns is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> fractal_join([torch.zeros(2), torch.ones(2)], 0.15, training=False)
    tensor([0.5000, 0.5000])
    """
    _check("fractal_join", columns)
    key = key_for("fractal_join", columns[0], p, training, generator)
    return _mean(columns) if key is None else _join(columns, _local(key, columns))


def _local(key: NoiseKey, columns: Sequence[Tensor]) -> Tensor:
    return _weights(key.uniform((len(columns[0]), len(columns) + 1)).to(wide(columns[0])), key.p)


class FractalPath(Site):
    """Decides per forward pass whether every `FractalJoin` of a network joins locally or uses one single column.

        column = -1 with probability 1 - p, else one of 0 .. columns - 1, chosen uniformly

    The decision is one for the batch. Put it in front of the network and pass it to the joins. It returns its input.

    Args:
        columns: number of columns of the network.
        p: probability that a forward pass uses a single column; one half in the paper.

    Shapes: any; the output is the input.

    Raises: ValueError if `p` is not in [0, 1] or `columns` is no positive integer.

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
        self.column: Tensor | None = None  # of the current forward pass, or of the last one

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
    """Joins the columns of a fractal network by the mean of those that survive; in eval by the mean of all.

        y = sum_k m_k x_k / sum_k m_k
        local:   m_k ~ Bernoulli(1 - p) per column and sample; if all drop, one of them, chosen uniformly, survives
        global:  m_k = 1 for one column, the same at every join and for the whole batch

    Joins are local, except in the forward passes in which `path` chooses a single column. The expectation of a local join is
    the mean of all columns at every rate.

    Noise shape: one decision per column of a sample (local), or one per forward pass of the network (global).
    Use when: parallel paths of a network join by their mean.
    Avoid when: paths are summed: the mean keeps the scale for every set of survivors.
    Start with: p = 0.15, local in half of the steps and global in the other half.
    Cost: one number per column and sample. All columns are computed.
    Other implementations: the authors' Caffe code and ports of it; no maintained library.

    Args:
        p: probability that a column drops in a local join, rounded to 1/65536.
        path: the `FractalPath` that all joins of a network share; None for local joins only. A join of fewer columns than the
            network has joins the last ones. If the single column is not among them it returns zeros, which no other join uses.

    Shapes: a sequence of K tensors `(N, ...)` to `(N, ...)`.

    Raises: ValueError if `p` is not in [0, 1], or there are no columns, columns of several shapes, or more than the path has.

    Source: Larsson, Maire, Shakhnarovich 2017, ICLR, arXiv:1605.07648.

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
    Method(FACTS, FractalJoin, fractal_join, title="Drop-path of FractalNet"),
    Method(FACTS, FractalPath),
)
