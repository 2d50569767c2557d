"""Stochastic depth: a residual branch is dropped, and the block is its shortcut alone; a network of another depth at each step.

    y = x + f(x) m / (1 - p),  m ~ Bernoulli(1 - p), one for each sample or one for the batch

Huang, Sun, Liu, Sedra, Weinberger 2016, ECCV, arXiv:1603.09382. The paper's form is classic and not inverted: y = x + m f(x) in
training and y = x + (1 - p) f(x) in eval. Both train the same networks, with an f that is 1 / (1 - p) times as large there.
"""

from typing import Any, Literal

from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Facts, Method
from thinnet.methods.noise_shapes import noise_shape_of, samples
from thinnet.methods.residual.kept import Kept, keep, scale, tell
from thinnet.methods.residual.separable import countable, mixing, served
from thinnet.methods.residual.skipped import decide, selecting, tied
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.ops.dtensor import is_sharded
from thinnet.rng import rates


def definition(x: Tensor, u: Tensor, p: float, branch: nn.Module, mode: str = "row") -> Tensor:
    """Returns x + f(x) / (1 - p) where u >= p, and x elsewhere; u is `(N, 1, ...)`, or has size one in mode "batch"."""
    return x + dropout.definition(branch(x), u, p)


def _variance(x: Tensor, p: float, branch: nn.Module, mode: str = "row") -> Tensor:
    return branch(x) ** 2 * (p / (1 - p) if p < 1 else 0)


FACTS = Facts(
    name="Stochastic depth",
    summary="Drops a residual branch by one coin, for a sample or for the batch; the work of what is dropped is not done.",
    equation="y = x + f(x) m / (1 - p),  m ~ Bernoulli(1 - p)",
    paper="Huang et al. 2016, arXiv:1603.09382",
    grain="branch of a sample, or branch",
    place="around each residual branch of a deep network; mode 'batch' where steps have to be cheaper",
    avoid="mode 'batch' with few blocks or few steps: its coins are as few as the blocks",
    default="the rate grows linearly with depth to 0.5 (residual networks of the paper), or to 0.1 .. 0.4",
    cost="mode 'row': the branch on the kept samples, a copy of these, and some 80 microseconds, light branches gain nothing;"
    " mode 'batch': a dropped branch costs a copy of x",
    elsewhere="torchvision StochasticDepth and timm DropPath take the branch's output, and so compute it; Composer's is"
    " classic; none keeps the parameters of a branch that did not run in the graph, which DistributedDataParallel asks for",
    mean=lambda x, p, branch, mode="row": x + branch(x) * (p < 1),
    variance=_variance,
    definition=definition,
    noise_shape=noise_shape_of(samples),
    in_eval=lambda x, p, branch, mode="row": x + branch(x),
)


class StochasticDepth(Wrapped):
    """Adds a branch to its input, and drops the branch at random in training.

    y = x + f(x) m / (1 - p), with m ~ Bernoulli(1 - p) for each sample, or for the batch; y = x + f(x) in eval.

    What is dropped is not computed, forward or backward. In mode "row" the branch runs on the kept samples, which are gathered,
    and what it makes is added to them. Where nothing is kept it does not run, and its parameters get gradients of zero. So
    training is the same in one process and in many, and `DistributedDataParallel` need not look for unused parameters. What is
    compiled or captured as a CUDA graph cannot leave work out at random: there the branch is computed, and the coin selects.

    Results and gradients are those of the whole batch, to rounding, where the branch looks at each sample by itself. So in
    mode "row" it sees the whole batch where it holds batch normalisation that uses the batch's statistics, or is called with
    other tensors, whose samples cannot be told; `skip=True` leaves the work out all the same: batch normalisation then sees the
    kept samples alone (one over several processes never does), and other tensors are gathered where their axis 0 counts the
    samples. A branch that compares samples in a way of its own needs `skip=False`. Sites inside of it keep their names: with
    named coins they toss for a kept sample what they would in the whole batch, so axis 0 has to count samples there too.

    Args:
        branch: f, a module that maps `x`, and what else the block is called with, to a tensor like `x`.
        p: probability that the branch is dropped; honoured to 1/65536.
        mode: "row", one coin for each sample, or "batch", one for all, the form of the paper.
        skip: whether the work of dropped samples is left out in mode "row"; where that is exact, if left out.

    Shapes: `(N, ...)`, the same out as in. A checkpoint has the keys of the branch.

    Raises: ValueError where `p` is not in [0, 1], `mode` is neither, or `skip` is not False in mode "batch"; TypeError where
        `branch` is no module.

    Source: Huang et al. 2016, arXiv:1603.09382.

    >>> from thinnet import schedules
    >>> blocks = [StochasticDepth(nn.Linear(6, 6), p, mode="batch") for p in schedules.linear_rates(0.5, depth=4, first=1 / 4)]
    >>> nn.Sequential(*blocks)(blocks[0].weight).shape
    torch.Size([6, 6])
    """

    def __init__(
        self,
        branch: nn.Module,
        p: float | None = 0.1,
        mode: Literal["row", "batch"] = "row",
        skip: bool | None = None,
    ) -> None:
        if mode not in ("row", "batch"):
            raise ValueError(f"StochasticDepth: mode must be 'row' or 'batch'; got {mode!r}. 'row' has a coin for each sample.")
        if skip not in (None, True, False) or (mode == "batch" and skip is False):
            rule = "True, False or None" if mode == "row" else "left out in mode 'batch', which always leaves work out"
            raise ValueError(f"StochasticDepth: skip must be {rule}; got {skip!r}. None is exact.")
        super().__init__(branch, p)
        self.mode, self.skip = mode, skip
        self._told = False

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Returns `x` and its branch, or `x` without it; the other arguments are the branch's."""
        if isinstance(x, fx.Proxy):  # as a site does
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x, *arguments), options)  # type: ignore[attr-defined]
        if self.mode == "row":
            if not selecting(x):
                if self.training and self.p != 0 and self._skips(x, (arguments, options)):
                    return self._on_kept(x, arguments, options)
                if self._told:
                    self._tell(None)
            y = self.layer(x, *arguments, **options)
            return x + self.apply_noise(y, shared_axes=samples(y.ndim))
        whole = selecting(x) or not self.training
        if not whole and not decide(self, 1)[0]:
            return tied(x, self.layer)
        y = self.layer(x, *arguments, **options)
        if not whole:
            return x + y * (rates.RESOLUTION / (rates.RESOLUTION - rates.count(self.p or 0.0)))
        key = self.key(x, batch=None)
        return x + (y if key is None else key.apply_noise(y, shared_axes=tuple(range(y.ndim))))

    def _skips(self, x: Tensor, others: tuple[Any, Any]) -> bool:
        """Returns whether the work of dropped samples is left out in this pass."""
        if self.skip is False or not countable(x) or served() or mixing(self.layer.modules(), self.skip is True):
            return False
        if not (others[0] or others[1]) or self.skip is True:
            return True
        given = (leaf for leaf in tree_leaves(others) if isinstance(leaf, Tensor) and leaf is not x)
        return not any(leaf.ndim for leaf in given)

    def _on_kept(self, x: Tensor, arguments: Any, options: Any) -> Tensor:
        kept = keep(self, x)
        if kept.empty and not any(is_sharded(p) for p in self.layer.parameters()):  # others would wait for a shard
            return tied(x, self.layer)
        self._tell(kept)
        try:
            given: Any = (x, *arguments)
            if options:
                given, options = kept.gathered(x, (given, options), self.skip is True)
            else:
                given = kept.gathered(x, given, self.skip is True)
            return kept.put_back(self.layer(*given, **options), scale(self), x)
        finally:
            kept.inside = False

    def _tell(self, kept: Kept | None) -> None:
        tell(self, self.layer.modules(), kept)
        self._told = kept is not None

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode!r}" + ("" if self.skip is None else f", skip={self.skip}")


METHODS = (Method(FACTS, StochasticDepth),)
