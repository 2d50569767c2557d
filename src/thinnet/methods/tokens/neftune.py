"""NEFTune: adds uniform noise to the embeddings of a sequence, scaled by its length."""

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.numbers import real, wide
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site


def checked(function: str, alpha: object) -> float:
    """Returns alpha, or raises a ValueError."""
    value = real(alpha)
    if not 0 <= value < float("inf"):
        raise ValueError(f"{function}: alpha must be a number from 0 up; got {alpha!r}. The paper uses 5, 10 and 15.")
    return value


def definition(x: Tensor, u: Tensor, alpha: float = 5.0) -> Tensor:
    """Returns x + alpha / sqrt(T D) (2 u - 1)."""
    return x + alpha / (x.shape[-2] * x.shape[-1]) ** 0.5 * (2 * u - 1)


FACTS = Facts(
    domain="no rate: the size of the noise is `alpha`",
    mean=lambda x, alpha=5.0: x,
    variance=lambda x, alpha=5.0: torch.full_like(x, alpha**2 / (3 * x.shape[-2] * x.shape[-1])),
    definition=definition,
    noise="uniform",
    used_by=(Use("transformers, TrainingArguments", "neftune_noise_alpha"),),
)


def _add(key: NoiseKey, x: Tensor, alpha: float, lengths: Tensor | None) -> Tensor:
    if x.ndim != 3:
        raise ValueError(f"{key.function}: x must be (B, T, D); got shape {tuple(x.shape)}. Call it on embeddings.")
    if lengths is not None and lengths.shape != x.shape[:1]:
        raise ValueError(f"{key.function}: lengths must be (B,) = ({len(x)},); got {tuple(lengths.shape)}. It counts tokens.")
    check_input(x, key.function)
    tokens = x.shape[1] if lengths is None else lengths[:, None, None].to(wide(x))
    return (x.to(wide(x)) + (2 * key.uniform(x.shape) - 1) * (alpha / (tokens * x.shape[2]) ** 0.5)).to(x.dtype)


def neftune(
    x: Tensor,
    alpha: float = 5.0,
    *,
    lengths: Tensor | None = None,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `NEFTune`.

    Args:
        x: `(B, T, D)`, embeddings.
        lengths: `(B,)`: the tokens of each sequence that are no padding; T by default.
        training: whether to add noise; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = neftune(torch.zeros(2, 25, 16), 5.0, lengths=torch.tensor([25, 4]), training=True)
    >>> bool(y[0].abs().max() < 5 / 20), bool(y[1].abs().max() < 5 / 8)
    (True, True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(neftune, locals())
    alpha = checked("neftune", alpha)
    key = draw_key("neftune", x, 1.0, training, generator)
    return x if key is None or alpha == 0 else _add(key, x, alpha, lengths)


class NEFTune(Site):
    """Adds uniform noise to embeddings in fine-tuning, so that its expected norm does not depend on the length of a sequence.

        y[b] = x[b] + alpha / sqrt(T_b D) r,  r ~ Uniform(-1, 1)^(T D)

    T_b is the number of tokens of the sequence, without padding if `lengths` are given. The noise of a sequence then has the
    same size in any batch.

    Noise shape: one number per element.
    Use when: on the embeddings of a language model in instruction fine-tuning.
    Avoid when: in pre-training, or where outputs must be exact, such as code or arithmetic, without a test.
    Start with: alpha = 5.
    Cost: one random number per element of the embeddings.
    Other implementations: transformers' Trainer and TRL hook the embedding and count padding as tokens, so the noise of a
        sequence depends on the longest of its batch.

    Args:
        alpha: size of the noise.

    Shapes: `(B, T, D)`; the output has the shape of the input. `forward(x, lengths)` takes the number of tokens, `(B,)`.

    Raises: ValueError if `alpha` is negative or not finite, or an input has other axes; TypeError if it is an integer, bool,
        quantised or sparse tensor.

    Source: Jain et al. 2024, "NEFTune: noisy embeddings improve instruction finetuning", ICLR, arXiv:2310.05914.

    >>> NEFTune(5.0)(torch.randn(2, 10, 16)).shape
    torch.Size([2, 10, 16])
    """

    one_rate = False

    def __init__(self, alpha: float = 5.0) -> None:
        super().__init__()
        self.alpha = checked("NEFTune", alpha)

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super().forward(input) if lengths is None else self.drop(input, lengths)

    def drop(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        key = self.key(x) if self.alpha else None
        return x if key is None else _add(key, x, self.alpha, lengths)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


METHODS = (Method(FACTS, NEFTune, neftune, lambda x: neftune(x[None], 10.0, training=True)[0]),)
