"""Stochastic depth: a residual branch is dropped, and the block is its shortcut alone; a network of another depth at each step.

    y = x + f(x) m / (1 - p),  m ~ Bernoulli(1 - p), one for each sample or one for the batch

Huang, Sun, Liu, Sedra, Weinberger 2016, ECCV, arXiv:1603.09382. The paper's form is classic and not inverted: y = x + m f(x) in
training and y = x + (1 - p) f(x) in eval. Both train the same networks, with an f that is 1 / (1 - p) times as large there.
"""

from typing import Any, Literal

from torch import Tensor, fx, nn

from thinnet import rates
from thinnet.facts import Facts
from thinnet.methods.grains import coins_of, samples
from thinnet.methods.paths.skipped import decide, selecting, tied
from thinnet.methods.units import dropout
from thinnet.methods.weights.wrapped import Wrapped


def definition(x: Tensor, u: Tensor, p: float, branch: nn.Module, mode: str = "row") -> Tensor:
    """Returns x + f(x) / (1 - p) where u >= p, and x elsewhere; u is `(N, 1, ...)`, or has size one in mode "batch"."""
    return x + dropout.definition(branch(x), u, p)


def _variance(x: Tensor, p: float, branch: nn.Module, mode: str = "row") -> Tensor:
    return branch(x) ** 2 * (p / (1 - p) if p < 1 else 0)


FACTS = Facts(
    name="Stochastic depth",
    summary="Drops a residual branch by one coin, for a sample or for the whole batch, whose work is then not done.",
    equation="y = x + f(x) m / (1 - p),  m ~ Bernoulli(1 - p)",
    paper="Huang et al. 2016, arXiv:1603.09382",
    grain="branch of a sample, or branch",
    place="around each residual branch of a deep network; mode 'batch' where steps have to be cheaper",
    avoid="mode 'batch' with few blocks or few steps: its coins are as few as the blocks",
    default="the rate grows linearly with depth to 0.5 (residual networks of the paper), or to 0.1 .. 0.4",
    cost="mode 'row': one coin a sample, and all of the branch; mode 'batch': a dropped branch costs a copy of x",
    elsewhere="torchvision StochasticDepth and timm DropPath take the branch's output, and so compute it; Composer's is"
    " classic; none keeps the parameters of a branch that did not run in the graph, which DistributedDataParallel asks for",
    mean=lambda x, p, branch, mode="row": x + branch(x) * (p < 1),
    variance=_variance,
    definition=definition,
    coins=coins_of(samples),
    in_eval=lambda x, p, branch, mode="row": x + branch(x),
)


class StochasticDepth(Wrapped):
    """Adds a branch to its input, and drops the branch at random in training.

    y = x + f(x) m / (1 - p), with m ~ Bernoulli(1 - p) for each sample, or for the batch; y = x + f(x) in eval.

    In mode "batch" a dropped branch is not computed, forward or backward. Its parameters get gradients of zero, so training is
    the same in one process and in many, and `DistributedDataParallel` does not have to look for unused parameters. What is
    compiled or captured as a CUDA graph cannot leave work out at random: there the branch is computed, and the coin selects.

    Args:
        branch: f, a module that maps `x`, and what else the block is called with, to a tensor like `x`.
        p: probability that the branch is dropped; honoured to 1/65536.
        mode: "row", one coin for each sample, or "batch", one for all, the form of the paper.

    Shapes: `(N, ...)`, the same out as in. A checkpoint has the keys of the branch.

    Raises: ValueError where `p` is not in [0, 1] or `mode` is neither; TypeError where `branch` is no module.

    Source: Huang et al. 2016, arXiv:1603.09382.

    >>> blocks = [StochasticDepth(nn.Linear(6, 6), p, mode="batch") for p in rates.linear_rates(0.5, depth=4, first=1 / 4)]
    >>> nn.Sequential(*blocks)(blocks[0].weight).shape
    torch.Size([6, 6])
    """

    def __init__(self, branch: nn.Module, p: float | None = 0.1, mode: Literal["row", "batch"] = "row") -> None:
        if mode not in ("row", "batch"):
            raise ValueError(f"StochasticDepth: mode must be 'row' or 'batch'; got {mode!r}. 'row' has a coin for each sample.")
        super().__init__(branch, p)
        self.mode = mode

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Returns `x` and its branch, or `x` without it; the other arguments are the branch's."""
        if isinstance(x, fx.Proxy):  # as a site does
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x, *arguments), options)  # type: ignore[attr-defined]
        whole = self.mode == "row" or selecting(x) or not self.training
        if not whole and not decide(self, 1)[0]:
            return tied(x, self.layer)
        y = self.layer(x, *arguments, **options)
        if self.mode == "row":
            return x + self.toss(y, shared=samples(y.ndim))
        if not whole:
            return x + y * (rates.RESOLUTION / (rates.RESOLUTION - rates.count(self.p or 0.0)))
        draw = self.draw(x, batch=None)
        return x + (y if draw is None else draw.toss(y, shared=tuple(range(y.ndim))))

    def extra_repr(self) -> str:
        """Returns rate and mode."""
        return f"p={self.p}, mode={self.mode!r}"
