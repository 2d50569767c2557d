"""LoRA dropout: drops input features of low-rank updates, on the side of the weights."""

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.rng import NoiseKey, Site


def definition(a: Tensor, u: Tensor, p: float, b: Tensor) -> Tensor:
    """Returns B (A with the columns u >= p over 1 - p, the others zero)."""
    return b @ torch.where(u >= p, a / (1 - p) if p < 1 else a, 0)


FACTS = Facts(
    expected_drop=lambda p, b: p,
    mean=lambda a, p, b: b @ a * (p < 1),
    variance=lambda a, p, b: (b @ a).square() * (p / (1 - p) if p < 1 else 0),
    definition=definition,
    noise_shape=lambda shape, **_: (*shape[:-2], 1, shape[-1]),
    independent=False,
    per_batch=True,
    in_eval=lambda a, p, b: b @ a,
)


def _update(key: NoiseKey | None, a: Tensor, b: Tensor) -> Tensor:
    return b @ (a if key is None else key.apply_noise(a, (a.ndim - 2,)))


def _check(function: str, a: Tensor, b: Tensor) -> None:
    if a.ndim < 2 or b.ndim != a.ndim or b.shape[:-2] != a.shape[:-2] or b.shape[-1] != a.shape[-2]:
        shapes = f"got a {tuple(a.shape)} and b {tuple(b.shape)}. PEFT's lora_A and lora_B of one layer have these shapes."
        raise ValueError(f"{function}: a must be (..., R, in) and b (..., out, R); {shapes}")


def lora_dropout(
    a: Tensor,
    p: float | Tensor = 0.05,
    *,
    b: Tensor,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `LoRADropout`.

    Args:
        a: `(..., R, in)`, such as `(E, R, in)` for E experts.
        b: `(..., out, R)`.
        training: whether to drop; `b @ a` is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    Returns: the update `(..., out, in)`.

    >>> update = lora_dropout(torch.ones(4, 2, 6), 0.5, b=torch.ones(4, 3, 2), training=True)
    >>> update.shape, sorted({*update.flatten().tolist()})
    (torch.Size([4, 3, 6]), [0.0, 4.0])
    """
    if not isinstance(a, Tensor):
        return no_tensor(lora_dropout, locals())
    _check("lora_dropout", a, b)
    return _update(draw_key("lora_dropout", a, p, training, generator), a, b)


class LoRADropout(Site):
    """Drops input features of a low-rank update and scales the others by 1 / (1 - p); for weights of any number of axes.

        D = B (A diag(m)) / (1 - p),  m ~ Bernoulli(1 - p) for each input feature, of each expert

    x D^T equals the usual (dropout(x) A^T) B^T with the same features dropped for all tokens of a step. So it works where the
    weight itself is passed on, as in the fused 3-D weights of a mixture of experts, W + s D. The mean is exactly B A.

    Noise shape: one decision per input feature, and per expert; shared by R, by the outputs and by the batch.
    Use when: fine-tuning with LoRA on fused expert weights, where PEFT refuses dropout.
    Avoid when: the adapter is a plain linear layer: dropout of its input drops other features for each token.
    Start with: p = 0.05.
    Cost: one random decision per input feature, and a copy of A, which is small.
    Other implementations: PEFT raises a ValueError for `target_parameters` with lora_dropout. Lin et al. drop rows of B too.

    Args:
        p: probability that an input feature is dropped, rounded to 1/65536.

    Shapes: `forward(a, b)` with `(..., R, in)` and `(..., out, R)`, to `(..., out, in)`.

    Raises: ValueError if `p` is not in [0, 1], or the shapes do not fit; TypeError if `a` is an integer, bool, quantised or
        sparse tensor.

    Source: Hu et al. 2022, "LoRA", ICLR, arXiv:2106.09685; on the weights, Lin et al. 2024, "LoRA dropout as a sparsity
        regularizer", arXiv:2404.09610.

    >>> LoRADropout(0.05)(torch.randn(8, 4, 32), torch.zeros(8, 16, 4)).shape
    torch.Size([8, 16, 32])
    """

    def __init__(self, p: float = 0.05) -> None:
        super().__init__(p)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
        """Returns the update."""
        _check(type(self).__name__, a, b)
        return _update(self.key(a, batch=None), a, b)

    def extra_repr(self) -> str:
        return f"p={self.p}"


METHODS = (Method(FACTS, LoRADropout, lora_dropout, title="LoRA dropout"),)
