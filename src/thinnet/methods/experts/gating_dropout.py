"""Gating dropout: keeps all tokens of a step on the experts of their own machine."""

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site


def definition(logits: Tensor, u: Tensor, p: float, local: Tensor) -> Tensor:
    """Returns the logits (u >= p), or -inf for the experts that are not local."""
    return logits if float(u) >= p else logits.masked_fill(~local, -torch.inf)


FACTS = Facts(
    expected_drop=lambda p, local: p * float((~local).double().mean()),
    definition=definition,
    noise_shape=lambda shape, **_: (1,),
    independent=False,
    per_batch=True,
)


def _route(key: NoiseKey, logits: Tensor, local: Tensor) -> Tensor:
    if local.dtype != torch.bool or local.shape != logits.shape[-1:]:
        rule = f"local must be a bool tensor (E,) = ({logits.shape[-1]},)"
        raise ValueError(f"{key.function}: {rule}; got {local.dtype} {tuple(local.shape)}. True marks experts of this machine.")
    check_input(logits, key.function)
    return torch.where(key.mask((1,)) | local, logits, -torch.inf)


def gating_dropout(
    logits: Tensor,
    p: float | Tensor = 0.3,
    *,
    local: Tensor,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `GatingDropout`.

    Args:
        logits: `(..., E)`, what the router computes for E experts.
        local: bool, `(E,)`: the experts of this machine.
        training: whether to drop; `logits` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> gating_dropout(torch.zeros(1, 3), 1.0, local=torch.tensor([False, True, True]), training=True)
    tensor([[-inf, 0., 0.]])
    """
    if not isinstance(logits, Tensor):
        return no_tensor(gating_dropout, locals())
    key = draw_key("gating_dropout", logits, p, training, generator)
    return logits if key is None else _route(key, logits, local)


class GatingDropout(Site):
    """Restricts the router to the experts of its own machine in a fraction p of the steps, which then need no exchange.

        y[..., e] = logits[..., e] if m or local[e] else -inf,  m ~ Bernoulli(1 - p), one decision per step

    All ranks must agree whether to exchange tokens. With addressed masks they do without a message: the decision is a function
    of seed, site and step. `rng.mask(site, step=step, samples=0, shape=(1,))` returns it in advance, so that the exchange is
    skipped.

    Noise shape: one decision for the batch, on all ranks.
    Use when: tokens travel between machines to their experts and that takes much of a step.
    Avoid when: all experts are on one machine; or a machine has only one expert and the router must learn to rank.
    Start with: p = 0.3.
    Cost: one random decision; it saves the exchange of tokens in a fraction p of the steps.
    Other implementations: none known that is public.

    Args:
        p: probability that a step is local, rounded to 1/65536.
        local: bool, `(E,)`: the experts of this machine.

    Shapes: `(..., E)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1], or `local` is no bool tensor `(E,)`; TypeError if the input is an integer, bool,
        quantised or sparse tensor.

    Source: Liu, Kim, Muzio, Awadalla 2022, "Gating dropout", ICML, arXiv:2205.14336.

    >>> GatingDropout(0.3, local=torch.arange(8) < 2).eval()(torch.ones(1, 8)).sum()
    tensor(8.)
    """

    local: Tensor

    def __init__(self, p: float = 0.3, *, local: Tensor) -> None:
        super().__init__(p)
        if not isinstance(local, Tensor) or local.dtype != torch.bool:
            raise ValueError(f"GatingDropout: local must be a bool tensor; got {local!r}. Try torch.arange(experts) < 2.")
        self.register_buffer("local", local, persistent=False)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x, batch=None)
        return x if key is None else _route(key, x, self.local)

    def extra_repr(self) -> str:
        return f"p={self.p}, local={int(self.local.sum())} of {self.local.numel()}"


METHODS = (Method(FACTS, GatingDropout, gating_dropout),)
