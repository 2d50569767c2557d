"""Modality dropout: drops whole inputs of a sample, and never all of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from thinnet.methods import at_least
from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site


def expected_drop(p: float, inputs: int) -> float:
    """Returns the probability of an input to be dropped, which is below p as never all are: (p - p^n) / (1 - p^n)."""
    return at_least.drop_rate(inputs, p, 1)


def definition(inputs: tuple[Tensor, ...], u: Tensor, p: float) -> tuple[Tensor, ...]:
    """Returns the inputs, with zeros for those that are dropped: u[:, 0] chooses how many stay, the others which."""
    rows = [[torch.zeros_like(x[b]) for x in inputs] for b in range(len(u))]
    for b, numbers in enumerate(u.tolist()):
        number = 1 + int((numbers[0] >= at_least.counts(len(inputs), p, 1).cumsum(0)[:-1]).sum())
        for which in sorted(range(len(inputs)), key=lambda i, numbers=numbers: numbers[1 + i])[:number]:
            rows[b][which] = inputs[which][b]
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


FACTS = Facts(
    expected_drop=expected_drop,
    definition=definition,
    noise="uniform",
    independent=False,
    used_by=(Use("AV-HuBERT, pretraining", "modality_dropout=0.5, audio_dropout=0.5"),),
)


def _drop(key: NoiseKey, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    for x in inputs:
        check_input(x, key.function)
    kept = at_least.kept(key.uniform((len(inputs[0]), len(inputs) + 1)), key.p, 1)
    return tuple(torch.where(kept[:, i].reshape(-1, *[1] * (x.ndim - 1)), x, 0) for i, x in enumerate(inputs))


def _checked(function: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Returns the inputs, or raises where they do not count the same samples."""
    kinds = [type(x).__name__ for x in inputs if not isinstance(x, Tensor)]
    if kinds:
        raise TypeError(f"{function}: inputs must be tensors; got {kinds[0]}. Pass one tensor per modality.")
    alike = all(x.ndim and len(x) == len(inputs[0]) for x in inputs)  # a set of sizes would fix them in compiled code
    if len(inputs) < 2 or not alike:
        rule = "inputs must be at least two tensors with the same number of samples on axis 0"
        raise ValueError(f"{function}: {rule}; got shapes {[tuple(x.shape) for x in inputs]}. Pass one tensor per modality.")
    return inputs


def modality_dropout(
    inputs: Sequence[Tensor], p: float | Tensor = 0.3, *, training: bool, generator: torch.Generator | None = None
) -> tuple[Tensor, ...]:
    """Functional form of `ModalityDropout`.

    Args:
        inputs: a sequence with a tensor `(B, ...)` for each modality.
        training: whether to drop; the inputs themselves are returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> image, text = modality_dropout((torch.ones(6, 3), torch.ones(6, 2)), 1.0, training=True)
    >>> (image[:, 0] + text[:, 0]).tolist()  # one of the two stays
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    if not isinstance(inputs, (Tensor, tuple, list)):
        return no_tensor(modality_dropout, locals())
    given = _checked("modality_dropout", (inputs,) if isinstance(inputs, Tensor) else tuple(inputs))
    key = draw_key("modality_dropout", given[0], p, training, generator)
    return given if key is None else _drop(key, given)


class ModalityDropout(Site):
    """Sets whole inputs of a sample to zero and never all of them, so that a network learns to do without some.

        y_i[b] = x_i[b] m_i[b],  m_i ~ Bernoulli(1 - p) on condition that the sum of m_i[b] is at least 1

    The condition is exact and without rejection: the number of inputs that stay follows the truncated binomial distribution,
    and all subsets of that size are equally likely. An input is dropped with probability (p - p^n) / (1 - p^n), which
    `FACTS.expected_drop` states. Nothing is scaled. At p = 1 exactly one input of n stays.

    Noise shape: one decision per input of a sample.
    Use when: on the features of several modalities before they are fused, if some may be missing or noisy at inference.
    Avoid when: no input is informative alone; or the inputs are summed and the sum is not normalised.
    Start with: p = 0.3; with two inputs, p = 1/3 keeps both in half of the samples.
    Cost: n + 1 random numbers per sample, and a selection.
    Other implementations: fairseq's AV-HuBERT has two inputs, and draws one decision with numpy for each sample.

    Args:
        p: probability that an input is dropped, before the condition; rounded to 1/65536.

    Shapes: n tensors `(B, ...)`, to a tuple of n tensors of the same shapes.

    Raises: ValueError if `p` is not in [0, 1], or there are not two or more inputs with the same number of samples; TypeError
        if one is an integer, bool, quantised or sparse tensor.

    Source: Neverova, Wolf, Taylor, Nebout 2016, "ModDrop", TPAMI, arXiv:1501.00102; Shi, Hsu, Lakhotia, Mohamed 2022,
        "AV-HuBERT", ICLR, arXiv:2201.02184.

    >>> audio, video = ModalityDropout(0.3)(torch.randn(8, 50, 16), torch.randn(8, 3, 4, 4))
    >>> audio.shape, video.shape
    (torch.Size([8, 50, 16]), torch.Size([8, 3, 4, 4]))
    """

    def __init__(self, p: float = 0.3) -> None:
        super().__init__(p)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Returns the inputs, some of them set to zero in training."""
        _checked(type(self).__name__, inputs)
        key = self.key(inputs[0])
        return inputs if key is None else _drop(key, inputs)

    def extra_repr(self) -> str:
        return f"p={self.p}"


METHODS = (Method(FACTS, ModalityDropout, modality_dropout),)
