"""Locked dropout: drops a feature of a sequence at all of its time steps."""

from collections.abc import Sequence
from typing import overload

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from thinnet.methods.call import call, no_tensor
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.recurrent.packed import padded, repacked
from thinnet.rng import Site


def _noise_shape(shape: Sequence[int], batch_first: bool = False) -> tuple[int, ...]:
    """Returns the noise shape of `(T, B, D)`, or of `(B, T, D)`: time is a shared axis.

    >>> _noise_shape((7, 4, 3)), _noise_shape((4, 7, 3), batch_first=True)
    ((1, 4, 3), (4, 1, 3))
    """
    time = 1 if batch_first else 0
    return (*shape[:time], 1, *shape[time + 1 :])


FACTS = Facts(
    expected_drop=lambda p, **_: p,
    mean=lambda x, p, **_: dropout.FACTS.mean(x, p),  # type: ignore[misc]
    variance=lambda x, p, **_: dropout.FACTS.variance(x, p),  # type: ignore[misc]
    definition=lambda x, u, p, **_: dropout.definition(x, u, p),
    noise_shape=_noise_shape,
    used_by=(
        Use("fastai, AWD-LSTM", "RNNDropout(p)"),
        Use("pytorch-nlp", "torchnlp.nn.LockedDropout(p)"),
    ),
)


def _batch_first(function: str, x: Tensor, batch_first: bool) -> Tensor:
    """Returns `x` with the batch in axis 0, where addressed masks count samples."""
    if x.ndim < 3:
        shape = "(B, T, D)" if batch_first else "(T, B, D)"
        raise ValueError(f"{function}: x must be {shape}; got shape {tuple(x.shape)}. Add the axis of the batch.")
    return x if batch_first else x.transpose(0, 1)


def locked_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    batch_first: bool = False,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `LockedDropout`.

    Args:
        x: `(T, B, D)`, or `(B, T, D)` with `batch_first`; every element of further axes is a feature.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> kept = locked_dropout(torch.ones(7, 4, 8), 0.5, training=True).count_nonzero(dim=0)
    >>> bool(((kept == 0) | (kept == 7)).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(locked_dropout, locals())
    rows = _batch_first("locked_dropout", x, batch_first)
    y = call("locked_dropout", rows, p, training, inplace, generator, shared_axes=(1,))
    return x if y is rows else y if batch_first else y.transpose(0, 1)


class LockedDropout(Site):
    """Drops each feature of a sequence at all of its time steps, and scales the kept ones by 1 / (1 - p).

        y[t, b, d] = x[t, b, d] m[b, d] / (1 - p),  m ~ Bernoulli(1 - p)

    A packed sequence has the masks of the padded one: samples are counted in the order of the batch, not of the packing.

    Noise shape: one decision per feature of a sequence.
    Use when: on the input of a recurrent layer, between two layers, and on the output of the last.
    Avoid when: a feature matters at single time steps only. On (N, C, L), Dropout1d is the same with the axes named otherwise.
    Start with: p from 0.4 to 0.65 on embedded words, 0.25 to 0.3 between layers, 0.4 on the output.
    Cost: one to two times dropout, because the mask is drawn again at each step. Packed input is padded.
    Other implementations: LockedDropout of awd-lstm-lm and LockDropout of torchnlp, for (T, B, D); RNNDropout of fastai, for
        (B, T, D).

    Args:
        p: probability that a feature is dropped, rounded to 1/65536.
        batch_first: whether the batch comes before the time.
        inplace: write the result into the input.

    Shapes: `(T, B, D)`, or `(B, T, D)` with `batch_first`; or a `PackedSequence`. The output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1], or the input has fewer than three axes.

    Source: Merity, Keskar, Socher 2018, arXiv:1708.02182 (AWD-LSTM); the input mask of Gal, Ghahramani 2016, arXiv:1512.05287.

    >>> LockedDropout(0.5)(torch.ones(7, 4, 8)).shape
    torch.Size([7, 4, 8])
    """

    def __init__(self, p: float = 0.5, batch_first: bool = False, inplace: bool = False) -> None:
        super().__init__(p, inplace)
        self.batch_first = batch_first

    @overload
    def forward(self, input: Tensor) -> Tensor: ...

    @overload
    def forward(self, input: PackedSequence) -> PackedSequence: ...

    def forward(self, input: Tensor | PackedSequence) -> Tensor | PackedSequence:
        if not isinstance(input, PackedSequence):
            return super().forward(input)
        if not self.training:
            return input
        rows, lengths = padded(input)
        return repacked(self.apply_noise(rows.transpose(0, 1), shared_axes=(1,)).transpose(0, 1), lengths, input)

    def drop(self, x: Tensor) -> Tensor:
        rows = _batch_first("LockedDropout", x, self.batch_first)
        y = self.apply_noise(rows, shared_axes=(1,))
        return x if y is rows else y if self.batch_first else y.transpose(0, 1)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, batch_first={self.batch_first}"


METHODS = (Method(FACTS, LockedDropout, locked_dropout, lambda x: locked_dropout(x[:, None], 0.3, training=True)[:, 0]),)
