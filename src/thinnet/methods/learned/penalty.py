"""The penalty of learned noise, which belongs in the loss."""

import math

import torch
from torch import Tensor, nn

from thinnet import ops
from thinnet.rng import NoiseKey, Site


class Penalised(Site):
    """A site with learned noise. Without its penalty in the loss the noise vanishes in training.

    A subclass defines `penalty` and asks `self.key` for its noise; `thinnet.penalty` then finds it. `p` is None, because there
    is no single rate: read `learned_p` or the parameters.

    Attributes:
        forgotten: number of training passes (in training mode, with gradients) since the penalty was last read. Recomputations
            for backward do not count. Compiled code would recompile to count: there it is 1 after any number of passes, and
            does not change inside a checkpointed part.
    """

    forgotten: int = 0
    one_rate = False

    def penalty(self, samples: int) -> Tensor:
        """Returns the penalty per sample, a scalar with gradient; `samples` is the size of the training set."""
        raise NotImplementedError

    @property
    def p(self) -> None:
        """None: the noise is learned."""
        return None

    @p.setter
    def p(self, p: float) -> None:
        kind = type(self).__name__
        raise ValueError(f"{kind}: p must be left to the optimiser, as it is learned; got {p!r}. Pass p to the constructor.")

    def key(self, x: Tensor, batch: int | None = 0) -> NoiseKey | None:
        """Returns the noise key of this use, as `Site.key`, and counts that a penalty is due."""
        ops.check_input(x, type(self).__name__)
        if self.counts():
            self.forgotten = 1 if torch.compiler.is_dynamo_compiling() else self.forgotten + 1
        return super().key(x, batch)

    def counts(self) -> bool:
        """Returns whether this is a training pass, which needs a penalty, and no recomputation."""
        if not (self.training and torch.is_grad_enabled()):
            return False
        if not torch.compiler.is_dynamo_compiling():
            return torch._C._current_graph_task_id() == -1
        from thinnet.rng import compiling

        compiling.comptime(compiling.look)
        return not compiling.noted()[1]


def penalty(model: nn.Module, samples: int, precision: float | None = None) -> Tensor:
    """Returns the penalty of learned noise: the sum over all sites of a model that have one.

        loss = mean over the batch of -log p(y | x)  +  sum over sites of KL(q || prior) / N

    The sum is the negative evidence lower bound per sample. The loss must be the mean over samples of the negative
    log-likelihood in nats, such as cross entropy. If it is a sum over the batch, multiply the penalty by the batch size.

    Read the penalty after the forward pass, once per loss; a module that is used twice counts once. For a warm-up, multiply it
    by a factor that grows from 0 to 1. With data parallelism every rank adds all of it, with the N of all ranks.

    Args:
        model: a model that contains the sites, a site, or a wrapper of these.
        samples: N, the number of samples of the training set (not of the batch).
        precision: tau, if the loss is the mean squared error, without 1/2, of a Gaussian likelihood with that precision. The
            penalty is then multiplied by 2 / tau, as such a loss is the negative log-likelihood times that.

    Returns: a scalar with gradient, in at least float32.

    Raises: ValueError if no site of the model has a penalty, `samples` is no positive integer, or `precision` is not positive;
        RuntimeError if a penalty that depends on the input is read before a training pass.

    Source: Kingma, Salimans, Welling 2015, arXiv:1506.02557, equation 2.

    >>> from thinnet.methods.learned.concrete_dropout import ConcreteDropout
    >>> model = nn.Sequential(ConcreteDropout(nn.Linear(4, 2)))
    >>> x, y = torch.randn(8, 4), torch.randint(2, (8,))
    >>> loss = nn.functional.cross_entropy(model(x), y) + penalty(model, samples=1000)
    >>> loss.backward()
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        hint = "It is the number of training samples."
        raise ValueError(f"penalty: samples must be an integer of at least 1; got {samples!r}. {hint}")
    if precision is not None and not 0 < precision < math.inf:
        raise ValueError(f"penalty: precision must be a number above 0; got {precision!r}. It is 1 / variance of the noise.")
    sites = [module for module in model.modules() if isinstance(module, Penalised)]
    if not sites:
        hint = "Leave the call out, or put ConcreteDropout or another learned method into it."
        raise ValueError(f"penalty: model must have a site with a penalty; {type(model).__name__} has none. {hint}")
    parts = [site.penalty(samples) for site in sites]
    for site in sites:
        site.forgotten = 0
    total = parts[0]
    for part in parts[1:]:
        total = total + part.to(total.device)
    return total if precision is None else total * (2 / precision)


def forgotten(model: nn.Module) -> dict[str, int]:
    """Returns the sites whose penalty is due, by module path, with the number of training passes since it was read.

    It is empty after an optimisation step whose loss has the penalty. More than one pass suggests that the loss lacks it, but
    several passes may share a step.

    >>> from thinnet.methods.learned.concrete_dropout import ConcreteDropout
    >>> model = nn.Sequential(ConcreteDropout(nn.Linear(4, 2)))
    >>> _ = model(torch.randn(8, 4))
    >>> forgotten(model)
    {'0': 1}
    >>> _ = penalty(model, samples=1000)
    >>> forgotten(model)
    {}
    """
    found = {name: module for name, module in model.named_modules() if isinstance(module, Penalised)}
    return {name: site.forgotten for name, site in found.items() if site.forgotten}
