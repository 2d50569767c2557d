"""The penalty of learned noise: what has to be added to the loss, for all sites of a model that have one.

    loss = mean over the batch of -log p(y | x)  +  KL(q || prior) / N

The negative of the evidence lower bound, for one sample. Kingma, Salimans, Welling 2015, arXiv:1506.02557.
"""

import math

import torch
from torch import Tensor, nn

from thinnet import ops
from thinnet.rng import NoiseKey, Site


class Penalised(Site):
    """A site with learned noise, whose penalty belongs in the loss: without it the noise learns to vanish.

    A subclass says what `penalty` is and asks `self.key` for its coins; `thinnet.penalty` finds it then. What is learned is
    read from `learned_p`, or from the parameters: `p` is None, as there is no one rate that coins could be counted by.

    Attributes:
        forgotten: how many forward passes for training (in training mode, with gradients) were made since the penalty was
            read last. A pass that recomputes for backward does not count. Compiled code cannot count without being compiled
            again each time: there it is 1 after any number, and is not noted inside of a checkpointed part.
    """

    forgotten: int = 0

    def penalty(self, samples: int) -> Tensor:
        """Returns the penalty of one sample, where `samples` is how many the training set has: a scalar with gradient."""
        raise NotImplementedError

    @property
    def p(self) -> None:
        """None: the noise is learned."""
        return None

    @p.setter
    def p(self, p: float) -> None:
        kind = type(self).__name__
        raise ValueError(f"{kind}: p must be left to the optimiser, as it is learned; got {p!r}. Pass p when you make it.")

    def key(self, x: Tensor, batch: int | None = 0) -> NoiseKey | None:
        """Returns the coins of this use, as `Site.key`, and notes that a penalty is due."""
        ops.check_input(x, type(self).__name__)
        if self.counts():
            self.forgotten = 1 if torch.compiler.is_dynamo_compiling() else self.forgotten + 1
        return super().key(x, batch)

    def counts(self) -> bool:
        """Returns whether this is a forward pass for training, which a penalty belongs to, and no recomputation of one."""
        if not (self.training and torch.is_grad_enabled()):
            return False
        if not torch.compiler.is_dynamo_compiling():
            return torch._C._current_graph_task_id() == -1
        from thinnet.methods.learned import tracing

        tracing.comptime(tracing.look)
        return not tracing.inside_checkpoint()  # a part that may not write to what is outside of it


def penalty(model: nn.Module, samples: int, precision: float | None = None) -> Tensor:
    """Returns what learned noise adds to the loss: the sum over all sites of a model that have a penalty.

    penalty = sum over sites of KL(q || prior) / N, for a loss that is the MEAN over samples of the negative log-likelihood in
    nats: cross entropy, or the Gaussian one. A loss that is a sum over the batch needs it times the batch size. A module that
    is used twice counts once. Read it after the forward pass, once for each loss; a warm-up is a factor on it that grows from
    0 to 1. Under data parallelism every rank adds all of it, with the N of all ranks.

    Args:
        model: holds the sites; itself one, or whatever wraps it.
        samples: N, how many samples the training set has (not the batch).
        precision: tau, if the loss is the mean squared error, without 1/2, of a Gaussian likelihood with that precision: the
            whole penalty is multiplied by 2 / tau then, as such a loss is the negative log-likelihood multiplied by it.

    Returns: a scalar with gradient, in float32 or better.

    Raises:
        ValueError: no site of the model has a penalty, `samples` is not a positive integer, or `precision` not positive.
        RuntimeError: a penalty that depends on the input is asked for before a forward pass for training.

    Source: Kingma et al. 2015, arXiv:1506.02557, equation 2.

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
    """Returns the sites whose penalty is due, by module path, with how many training passes were made since it was read.

    After an optimisation step whose loss had the penalty in it there is none. More than one is a sign that the loss has none,
    and no proof: several passes may share a step.

    Args:
        model: what was trained.

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
