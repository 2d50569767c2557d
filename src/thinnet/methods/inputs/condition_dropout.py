"""Condition dropout: replaces the condition of a sample, for classifier-free guidance."""

import torch
from torch import Tensor, nn

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.noise_shapes import noise_shape_of, samples
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site


def definition(x: Tensor, u: Tensor, p: float, null: float | Tensor = 0.0) -> Tensor:
    """Returns the kept conditions (u >= p) and `null` elsewhere."""
    return torch.where(u >= p, x, null)


FACTS = Facts(
    expected_drop=lambda p, null=0.0: p,
    mean=lambda x, p, null=0.0: x * (1 - p) + null * p,
    variance=lambda x, p, null=0.0: (x - null) ** 2 * p * (1 - p),
    definition=definition,
    noise_shape=noise_shape_of(samples),
    used_by=(
        Use("DiT, LabelEmbedder", "class_dropout_prob=0.1"),
        Use("diffusers, train_text_to_image_sdxl.py", "--proportion_empty_prompts"),
    ),
)


def _replacement(function: str, x: Tensor, null: float | Tensor) -> float | Tensor:
    """Returns what replaces a dropped condition, in the dtype of `x`; checks the dtype of `x`."""
    if not (type(null) is int and not x.is_floating_point() and not x.is_complex() and x.dtype != torch.bool):
        check_input(x, function)
    return null.to(x.dtype) if isinstance(null, Tensor) else null


def _replace(key: NoiseKey, x: Tensor, null: float | Tensor) -> Tensor:
    replacement = _replacement(key.function, x, null)
    return torch.where(key.mask((len(x),)).reshape(-1, *[1] * (x.ndim - 1)), x, replacement)


def condition_dropout(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    null: float | Tensor = 0.0,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `ConditionDropout`.

    Args:
        x: `(B, ...)`, embeddings of conditions, or `(B,)`, labels.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> condition_dropout(torch.tensor([3, 7, 1]), 1.0, null=10, training=True)
    tensor([10, 10, 10])
    """
    if not isinstance(x, Tensor):
        return no_tensor(condition_dropout, locals())
    key = draw_key("condition_dropout", x, p, training, generator)
    return x if key is None else _replace(key, x, null)


class ConditionDropout(Site):
    """Replaces the whole condition of a sample by a null condition with probability p, for classifier-free guidance.

        y[b] = x[b] if m[b] else null,  m ~ Bernoulli(1 - p)

    Nothing is scaled: the network learns the conditional and the unconditional model. `unconditional(x)` returns the null
    condition for a batch, which guidance needs at inference: eps = eps(null) + w (eps(x) - eps(null)).

    Noise shape: one decision per sample; several conditions share it if they are one tensor.
    Use when: on the class label or the text embedding of a diffusion or flow model that is sampled with guidance.
    Avoid when: the model is sampled without guidance: it then loses a fraction p of its conditional training.
    Start with: p = 0.1.
    Cost: one random decision per sample, and a selection.
    Other implementations: DiT's LabelEmbedder drops labels only; scripts of diffusers empty the prompts in the data loader.

    Args:
        p: probability that a condition is dropped, rounded to 1/65536.
        null: what replaces it: a number; an integer, the id of the null class, if the conditions are labels; a tensor that
            broadcasts to one condition, for example `nn.Parameter(torch.zeros(768))`, which is learned.

    Shapes: `(B, ...)`; the output has the shape of the input. Floating point or complex; integers if `null` is an integer.

    Raises: ValueError if `p` is not in [0, 1]; TypeError if `null` is no number or tensor, or the input is an integer tensor
        and `null` no integer.

    Source: Ho and Salimans 2022, "Classifier-free diffusion guidance", arXiv:2207.12598.

    >>> layer = ConditionDropout(0.1, null=nn.Parameter(torch.zeros(16)))
    >>> layer(torch.randn(8, 16)).shape, layer.unconditional(torch.randn(2, 16)).count_nonzero(), list(layer.state_dict())
    (torch.Size([8, 16]), tensor(0), ['null'])
    """

    null: float | Tensor

    def __init__(self, p: float = 0.1, null: float | Tensor = 0.0) -> None:
        super().__init__(p)
        if isinstance(null, bool) or not isinstance(null, (int, float, Tensor)):
            step = "Pass 0.0, the id of the null class, or nn.Parameter(torch.zeros(features))."
            raise TypeError(f"ConditionDropout: null must be a number or a tensor; got {type(null).__name__}. {step}")
        if isinstance(null, Tensor) and not isinstance(null, nn.Parameter):
            self.register_buffer("null", null)
        else:
            self.null = null

    def unconditional(self, x: Tensor) -> Tensor:
        """Returns the null condition for each sample of `x`."""
        replacement = _replacement(type(self).__name__, x, self.null)
        return torch.where(torch.ones((), dtype=torch.bool, device=x.device), replacement, x)

    def forward(self, input: Tensor) -> Tensor:  # its own, so that `thinnet.strip` keeps the module and its `unconditional`
        return super().forward(input)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        return x if key is None else _replace(key, x, self.null)

    def extra_repr(self) -> str:
        null = f"(learned, {tuple(self.null.shape)})" if isinstance(self.null, Tensor) else self.null
        return f"p={self.p}, null={null}"


METHODS = (Method(FACTS, ConditionDropout, condition_dropout, lambda x: condition_dropout(x, 0.3, training=True)),)
