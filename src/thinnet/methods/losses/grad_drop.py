"""GradDrop: lets the gradients of several losses agree on a sign, at random."""

from typing import Any

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import wide
from thinnet.rng import NoiseKey, Site


def definition(gradients: Tensor, u: Tensor) -> Tensor:
    """Returns a where u < a / (a + b), else -b, with a and b the sums of the positive and of the negative gradients."""
    up, down = gradients.clamp(min=0).sum(0), -gradients.clamp(max=0).sum(0)
    return torch.where(u * (up + down) < up, up, -down)


FACTS = Facts(
    domain="no rate: the gradients determine it",
    mean=lambda gradients: gradients.sum(0),
    variance=lambda gradients: gradients.clamp(min=0).sum(0) * -gradients.clamp(max=0).sum(0),
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape: tuple(shape[1:]),
    in_eval=lambda x, losses=2: (x,) * losses,
)


class _Copies(torch.autograd.Function):
    """As many copies as there are losses; backward combines their gradients."""

    @staticmethod
    def forward(x: Tensor, losses: int, *key: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(x.clone() for _ in range(losses))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rate, *address = ctx.saved_tensors
        u = NoiseKey("GradDrop", rate, *address).uniform(gradients[0].shape)
        whole = torch.stack(gradients).to(wide(gradients[0]))
        return definition(whole, u).to(gradients[0].dtype), None, *[None] * len(ctx.saved_tensors)


def _checked(function: str, losses: object) -> int:
    """Returns the number of losses, or raises a ValueError."""
    if type(losses) is not int or losses < 2:
        raise ValueError(f"{function}: losses must be an integer from 2 up; got {losses!r}. One has nothing to agree with.")
    return losses


def _copies(key: NoiseKey | None, x: Tensor, losses: int) -> tuple[Tensor, ...]:
    return (x,) * losses if key is None else _Copies.apply(x, losses, key.rate, *key.address)  # type: ignore[return-value]


def grad_drop(x: Tensor, losses: int, *, training: bool, generator: torch.Generator | None = None) -> tuple[Tensor, ...]:
    """Functional form of `GradDrop`.

    Args:
        x: any shape; real.
        training: whether to choose signs; if not, `x` itself is returned for each loss.
        generator: source of the seed; by default torch's generator of the device.

    >>> x = torch.zeros(3, requires_grad=True)
    >>> one, other = grad_drop(x, 2, training=True)
    >>> (2 * one.sum() - other.sum()).backward()
    >>> sorted({*x.grad.tolist()} | {2.0, -1.0})
    [-1.0, 2.0]
    """
    if not isinstance(x, Tensor):
        return no_tensor(grad_drop, locals())
    losses = _checked("grad_drop", losses)
    return _copies(draw_key("grad_drop", x, 1.0, training, generator), x, losses)


class GradDrop(Site):
    """Copies an activation for several losses, whose gradients then agree on a random sign for each element.

        dL/dx = a with probability a / (a + b), else -b;  a, b: sums of the positive and of the negative gradients, b > 0

    The mean is exactly the sum of the gradients, and the variance is a b: where all losses agree, nothing is random. The
    forward pass is unchanged.

    Noise shape: one decision per element; it is drawn again for backward, not stored.
    Use when: several losses share a trunk and their gradients cancel; apply it to the trunk's output.
    Avoid when: one loss is much larger than the others: it then chooses nearly every sign. Scale the losses first.
    Start with: all losses, on the last activation that they share.
    Cost: a copy of the activation for each loss, and one pass over their gradients in backward.
    Other implementations: the authors' TensorFlow code, which also sums over the batch and can leak a share of the rest.

    Args:
        losses: number of losses, 2 or more.

    Shapes: any, to a tuple of `losses` tensors of that shape.

    Raises: ValueError if `losses` is below 2.

    Source: Chen, Ngiam, Huang, Luong, Kretzschmar, Chai, Anguelov 2020, "Just pick a sign", NeurIPS, arXiv:2010.06808.

    >>> for_depth, for_edges = GradDrop(2)(torch.randn(4, 8))
    >>> torch.equal(for_depth, for_edges)
    True
    """

    one_rate = False

    def __init__(self, losses: int = 2) -> None:
        super().__init__()
        self.losses = _checked("GradDrop", losses)

    def drop(self, x: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        return _copies(self.key(x), x, self.losses)

    def extra_repr(self) -> str:
        return f"losses={self.losses}"


METHODS = (Method(FACTS, GradDrop, grad_drop),)
