"""Router jitter: multiplies the input of a router by uniform noise."""

from dataclasses import replace

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.numbers import real, wide
from thinnet.ops import NoiseKind, check_input
from thinnet.rng import NoiseKey, Site, rates


def checked(function: str, eps: object) -> float:
    """Returns eps, or raises a ValueError."""
    if not 0 <= real(eps) <= 1:
        raise ValueError(f"{function}: eps must be a number in [0, 1]; got {eps!r}. The paper uses 0.01.")
    return real(eps)


def definition(x: Tensor, u: Tensor, eps: float = 0.01) -> Tensor:
    """Returns x (1 + eps (2 u - 1))."""
    return x * (1 + eps * (2 * u - 1))


FACTS = Facts(
    domain="no rate: the size of the noise is `eps`",
    mean=lambda x, eps=0.01: x,
    variance=lambda x, eps=0.01: x * x * eps**2 / 3,
    definition=definition,
    noise="uniform",
    used_by=(
        Use("transformers, Switch Transformers and Phi-MoE", "router_jitter_noise=0.01"),
        Use("transformers, Mixtral and Llama 4", "router_jitter_noise=0.0"),
    ),
)


def _jitter(key: NoiseKey, x: Tensor, eps: float) -> Tensor:
    check_input(x, key.function)
    whole = x if x.is_complex() else x.to(wide(x))
    quarter = replace(key, rate=rates.tensor(0.25, x.device))  # noise in (0, 2)
    return (whole + eps * (quarter.apply_noise(whole, kind=NoiseKind.UNIFORM) - whole)).to(x.dtype)  # linear: keeps no noise


def router_jitter(x: Tensor, eps: float = 0.01, *, training: bool, generator: torch.Generator | None = None) -> Tensor:
    """Functional form of `RouterJitter`.

    Args:
        x: any shape; floating point or complex.
        training: whether to apply noise; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = router_jitter(torch.ones(1000), 0.25, training=True)
    >>> bool(y.min() >= 0.75), bool(y.max() <= 1.25)
    (True, True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(router_jitter, locals())
    eps = checked("router_jitter", eps)
    key = draw_key("router_jitter", x, 1.0, training, generator)
    return x if key is None or eps == 0 else _jitter(key, x, eps)


class RouterJitter(Site):
    """Multiplies the input of a router by uniform noise near 1, so that similar tokens try different experts.

        y = x r,  r ~ Uniform(1 - eps, 1 + eps)

    Apply it to what the router reads, and pass the hidden states themselves to the experts. No noise is kept for the backward
    pass.

    Noise shape: one number per element.
    Use when: before the router of a mixture of experts whose load is uneven, in pre-training.
    Avoid when: in inference, or where the experts read the same tensor.
    Start with: eps = 0.01.
    Cost: two passes over the input.
    Other implementations: transformers multiplies in place in Switch Transformers, so in float32 the experts read the noise.

    Args:
        eps: the largest relative change of an element.

    Shapes: any; the output has the shape of the input. Floating point or complex.

    Raises: ValueError if `eps` is not in [0, 1]; TypeError if the input is an integer, bool, quantised or sparse tensor.

    Source: Fedus, Zoph, Shazeer 2022, "Switch Transformers", JMLR 23:120, arXiv:2101.03961, section 2.4 and table 11.

    >>> RouterJitter(0.01)(torch.randn(8, 16)).shape
    torch.Size([8, 16])
    """

    one_rate = False

    def __init__(self, eps: float = 0.01) -> None:
        super().__init__()
        self.eps = checked("RouterJitter", eps)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x) if self.eps else None
        return x if key is None else _jitter(key, x, self.eps)

    def extra_repr(self) -> str:
        return f"eps={self.eps}"


METHODS = (Method(FACTS, RouterJitter, router_jitter, lambda x: router_jitter(x, 0.5, training=True)),)
