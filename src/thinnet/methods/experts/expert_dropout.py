"""Expert dropout: excludes experts from the choice of a router."""

import torch
from torch import Tensor

from thinnet.methods import at_least
from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site


def checked(function: str, least: object) -> int:
    """Returns the number of experts that stay at least, or raises a ValueError."""
    if type(least) is not int or least < 1:
        raise ValueError(f"{function}: least must be a positive integer; got {least!r}. It is top_k of the router, or more.")
    return least


def expected_drop(p: float, experts: int, least: int = 2) -> float:
    """Returns the exact probability of an expert to be excluded; below p, as at least `least` stay."""
    return at_least.drop_rate(experts, p, least)


def definition(logits: Tensor, u: Tensor, p: float, least: int = 2) -> Tensor:
    """Returns the logits with -inf for excluded experts: u[0] chooses how many stay, the smallest others which."""
    chances = at_least.counts(logits.shape[-1], p, least).cumsum(0)[:-1]
    stay = u[1:].argsort()[: least + int((u[0] >= chances).sum())]
    y = torch.full_like(logits, -torch.inf)
    y[..., stay] = logits[..., stay]
    return y


FACTS = Facts(
    expected_drop=expected_drop,
    definition=definition,
    noise="uniform",
    independent=False,
    per_batch=True,
)


def _exclude(key: NoiseKey, logits: Tensor, least: int) -> Tensor:
    experts = logits.shape[-1]
    if experts < least:
        raise ValueError(f"{key.function}: least must be at most the number of experts, {experts}; got {least}.")
    check_input(logits, key.function)
    return torch.where(at_least.kept(key.uniform((experts + 1,)), key.p, least), logits, -torch.inf)


def expert_dropout(
    logits: Tensor,
    p: float | Tensor = 0.1,
    *,
    least: int = 2,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `ExpertDropout`.

    Args:
        logits: `(..., E)`, what the router computes for E experts.
        training: whether to exclude; `logits` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> expert_dropout(torch.zeros(5, 8), 1.0, least=2, training=True).softmax(-1).count_nonzero(dim=-1)
    tensor([2, 2, 2, 2, 2])
    """
    if not isinstance(logits, Tensor):
        return no_tensor(expert_dropout, locals())
    least = checked("expert_dropout", least)
    key = draw_key("expert_dropout", logits, p, training, generator)
    return logits if key is None else _exclude(key, logits, least)


class ExpertDropout(Site):
    """Excludes experts from the choice of a router for a whole batch, and never so many that fewer than `least` stay.

        y[..., e] = logits[..., e] if m[e] else -inf,  m ~ Bernoulli(1 - p) on condition that the sum of m is at least `least`

    The softmax and the top k that follow then choose among the experts that stay, so weights sum to 1 and no token is lost.
    The condition is exact and without rejection. An expert is excluded with the probability that `FACTS.expected_drop` states.

    Noise shape: one decision per expert for the batch. Ranks that share a seed and a step exclude the same experts.
    Use when: fine-tuning a mixture of experts on little data, where few experts take all tokens.
    Avoid when: in pre-training with many more tokens than parameters; or expert parallelism relies on an even load.
    Start with: p = 0.1, `least` the top_k of the router.
    Cost: E + 1 random numbers per batch, and a selection of the logits.
    Other implementations: none known. "Expert dropout" of Switch Transformers is Dropout inside the experts, at 0.4.

    Args:
        p: probability that an expert is excluded, before the condition; rounded to 1/65536.
        least: number of experts that stay at least: the router's top_k or more.

    Shapes: `(..., E)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1], or `least` is not in 1 .. E; TypeError if the input is an integer, bool,
        quantised or sparse tensor.

    Source: Xie, Huang, Chen, Wei 2023, "MoEC: mixture of expert clusters", AAAI, arXiv:2207.09094, for clusters.

    >>> ExpertDropout(0.5, least=1)(torch.randn(4, 8)).softmax(-1).sum(-1)
    tensor([1., 1., 1., 1.])
    """

    def __init__(self, p: float = 0.1, least: int = 2) -> None:
        super().__init__(p)
        self.least = checked("ExpertDropout", least)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x, batch=None)
        return x if key is None else _exclude(key, x, self.least)

    def extra_repr(self) -> str:
        return f"p={self.p}, least={self.least}"


METHODS = (Method(FACTS, ExpertDropout, expert_dropout),)
