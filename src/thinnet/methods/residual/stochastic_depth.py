"""Stochastic depth: drops residual branches and skips their work."""

from typing import Any, Literal

from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves

from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.noise_shapes import noise_shape_of, samples
from thinnet.methods.residual.kept import Kept, keep, scale, set_samples
from thinnet.methods.residual.separable import countable, mixing, modes_active
from thinnet.methods.residual.skipped import decide, like, selecting, tied
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.ops.dtensor import is_sharded
from thinnet.rng import rates


def definition(x: Tensor, u: Tensor, p: float, branch: nn.Module, mode: str = "row") -> Tensor:
    """Returns x + f(x) / (1 - p) where u >= p, and x elsewhere; u is `(N, 1, ...)`, or has size one in mode "batch"."""
    return x + dropout.definition(branch(x), u, p)


def _variance(x: Tensor, p: float, branch: nn.Module, mode: str = "row") -> Tensor:
    return branch(x) ** 2 * (p / (1 - p) if p < 1 else 0)


FACTS = Facts(
    mean=lambda x, p, branch, mode="row": x + branch(x) * (p < 1),
    variance=_variance,
    definition=definition,
    noise_shape=noise_shape_of(samples),
    in_eval=lambda x, p, branch, mode="row": x + branch(x),
    used_by=(Use("DINOv2", "drop_add_residual_stochastic_depth, for rates above 0.1"),),
)


class StochasticDepth(Wrapped):
    """Adds a residual branch to its input, and drops the branch for a sample or for the batch, without computing it.

        training:  y = x + f(x) m / (1 - p),  m ~ Bernoulli(1 - p)
        eval:      y = x + f(x)

    Dropped work is skipped, forward and backward. In mode "row" the branch runs on the gathered kept samples, and its output is
    added to them. If no sample is kept the branch does not run, and its parameters get gradients of zero. So training is the
    same in one process and in many, and `DistributedDataParallel` does not need to find unused parameters. Compiled code and
    CUDA graphs cannot skip work at random: there the branch is computed and selected.

    Results and gradients equal those of the whole batch, up to rounding, if the branch treats samples independently. Therefore
    mode "row" computes the whole batch if the branch contains batch normalisation with batch statistics, or gets other tensors
    as arguments. `skip=True` skips the work in these cases too. Batch normalisation then sees the kept samples alone, unless it
    is synchronised over processes. Other tensors are gathered if their axis 0 counts the samples. A branch that combines
    samples in its own way needs `skip=False`. With addressed masks, sites inside the branch draw for a kept sample what they
    draw in the whole batch, so axis 0 must count samples there too.

    The paper scales in eval instead: y = x + m f(x) in training and y = x + (1 - p) f(x) in eval. Both forms train the same
    networks, with an f that is 1 / (1 - p) times as large there.

    Noise shape: one decision per sample in mode "row", one per batch in mode "batch".
    Use when: around each residual branch of a deep network; mode "batch" if steps must be cheaper.
    Avoid when: mode is "batch" and there are few blocks or few steps: it makes only one decision per block.
    Start with: a rate that grows linearly with depth to 0.5 (residual networks of the paper), or to 0.1 .. 0.4.
    Cost: mode "row": the branch on the kept samples, a copy of these, and about 80 microseconds, so light branches gain
        nothing. Mode "batch": a dropped branch costs a copy of x.
    Other implementations: torchvision StochasticDepth and timm DropPath take the output of the branch, so they always compute
        it. Composer has the paper's form. None keeps the parameters of a skipped branch in the graph, as
        DistributedDataParallel needs.

    Args:
        branch: f, a module that maps `x`, and the other arguments of the block, to a tensor like `x`.
        p: probability that the branch is dropped, rounded to 1/65536.
        mode: "row" decides per sample, "batch" once for all, as in the paper.
        skip: whether mode "row" skips the work of dropped samples; None skips it where that is exact.

    Shapes: `(N, ...)`; the output has the shape and the dtype of the input. A checkpoint has the keys of the branch.

    Raises: ValueError if `p` is not in [0, 1], `mode` is neither, or `skip` is False in mode "batch"; TypeError if `branch` is
        no module.

    Source: Huang, Sun, Liu, Sedra, Weinberger 2016, ECCV, arXiv:1603.09382.

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
            raise ValueError(f"StochasticDepth: mode must be 'row' or 'batch'; got {mode!r}. 'row' decides per sample.")
        if skip not in (None, True, False) or (mode == "batch" and skip is False):
            rule = "True, False or None" if mode == "row" else "left out in mode 'batch', which always skips work"
            raise ValueError(f"StochasticDepth: skip must be {rule}; got {skip!r}. None is exact.")
        super().__init__(branch, p)
        self.mode, self.skip = mode, skip
        self._restricted = False

    def forward(self, x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Returns `x` plus its branch, or `x` alone; the branch gets the other arguments."""
        if isinstance(x, fx.Proxy):  # one node, as for every site
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x, *arguments), options)  # type: ignore[attr-defined]
        if self.mode == "row":
            if not selecting(x):
                if self.training and self.p != 0 and self._skips(x, (arguments, options)):
                    return self._on_kept(x, arguments, options)
                if self._restricted:
                    self._set_samples(None)
            y = self.layer(x, *arguments, **options)
            return like(x, x + self.apply_noise(y, shared_axes=samples(y.ndim)))
        whole = selecting(x) or not self.training
        if not whole and not decide(self, 1)[0]:
            return tied(x, self.layer)
        y = self.layer(x, *arguments, **options)
        if not whole:
            return like(x, x + y * (rates.RESOLUTION / (rates.RESOLUTION - rates.count(self.p or 0.0))))
        key = self.key(x, batch=None)
        return like(x, x + (y if key is None else key.apply_noise(y, shared_axes=tuple(range(y.ndim)))))

    def _skips(self, x: Tensor, others: tuple[Any, Any]) -> bool:
        """Returns whether this pass skips the work of dropped samples."""
        if self.skip is False or not countable(x) or modes_active() or mixing(self.layer.modules(), self.skip is True):
            return False
        if not (others[0] or others[1]) or self.skip is True:
            return True
        given = (leaf for leaf in tree_leaves(others) if isinstance(leaf, Tensor) and leaf is not x)
        return not any(leaf.ndim for leaf in given)

    def _on_kept(self, x: Tensor, arguments: Any, options: Any) -> Tensor:
        kept = keep(self, x)
        if kept.empty and not any(is_sharded(p) for p in self.layer.parameters()):  # other ranks would wait for a shard
            return tied(x, self.layer)
        self._set_samples(kept)
        try:
            given: Any = (x, *arguments)
            if options:
                given, options = kept.gathered(x, (given, options), self.skip is True)
            else:
                given = kept.gathered(x, given, self.skip is True)
            return like(x, kept.put_back(self.layer(*given, **options), scale(self), x))
        finally:
            kept.inside = False

    def _set_samples(self, kept: Kept | None) -> None:
        set_samples(self, self.layer.modules(), kept)
        self._restricted = kept is not None

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode!r}" + ("" if self.skip is None else f", skip={self.skip}")


METHODS = (Method(FACTS, StochasticDepth, title="Stochastic depth"),)
