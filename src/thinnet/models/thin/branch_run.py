"""Runs a residual branch that ends in `DropPath` on its kept samples.

    y = x; y[k] += f(x[k]) / (1 - p),  k = the kept samples

Pre-hooks on the modules that read the entry gather the kept samples. The site scatters the result into zeros.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods.residual.kept import Kept, keep, scale, set_samples
from thinnet.methods.residual.separable import countable
from thinnet.models.rewrite.methods import Replacement
from thinnet.models.thin.piece import is_watched
from thinnet.models.trace.observe import tracing_draws
from thinnet.ops.schema import transformed
from thinnet.rng import Site


class Skipping:
    """The state that the modules of the branches of one site share during a pass: its kept samples.

    Args:
        site: at the end of the branches.
        inner: the dropout inside them: the parent of each module, and the name of the child.
        layers: the modules inside them.
    """

    def __init__(self, site: Site, inner: Sequence[tuple[nn.Module, str]], layers: Sequence[nn.Module]) -> None:
        self.site, self.inner, self.layers = site, inner, layers
        self.on = True
        self.probing = False  # drops every second sample, whatever the rate
        self.kept: Kept | None = None
        self.restricted = False

    def modules(self) -> Iterator[nn.Module]:
        """Yields the modules of the dropout inside the branches."""
        for parent, name in self.inner:
            module = parent._modules.get(name)
            if module is not None:
                yield from module.modules()

    def begin(self, x: Tensor) -> None:
        """Draws the mask of a branch that reads `x`; nothing is skipped if the site drops nothing."""
        self.kept = None
        if not countable(x) or tracing_draws() or transformed() or is_watched(self.layers):
            return
        if self.on and self.probing:
            self.kept = Kept(every_second(x))
        elif self.on and self.site.training and self.site.p != 0:
            self.kept = keep(self.site, x)
        if self.kept is not None or self.restricted:
            set_samples(self.site, self.modules(), self.kept)
            self.restricted = self.kept is not None

    def running(self) -> Kept | None:
        """Returns the kept samples of the running branch; None outside it, or if nothing is skipped.

        Raises: RuntimeError where a checkpoint begins inside the branch.
        """
        kept = self.kept
        if kept is None or torch.compiler.is_compiling():
            return None
        task = torch._C._current_graph_task_id()
        if kept.task != task and (kept.inside or task != -1):
            raise RuntimeError(
                f"site {self.site.name or 'of a thinned branch'}: all of a branch must be recomputed together; a checkpoint"
                " begins inside it. Leave it out: thinnet.thin(model, x, leave=[...])."
            )
        return kept if kept.inside else None


def every_second(x: Tensor) -> Tensor:
    """Returns the mask of a probe."""
    return torch.arange(len(x), device=x.device) % 2 == 1


class Gather:
    """Forward pre-hook of a module that reads the entry of a branch: it passes on the kept samples.

    Args:
        skipping: of the site at the end of the branch.
        first: whether the branch begins here.
    """

    def __init__(self, skipping: Skipping, first: bool) -> None:
        self.skipping, self.first = skipping, first

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Returns the arguments, with the kept samples in place of the entry."""
        if self.first:
            self.skipping.begin(args[0])
        kept = self.skipping.running()
        return None if kept is None or kept.rows is None else kept.gathered(args[0], (args, kwargs))


class SkippedSite(Replacement):
    """Replaces `forward` of a site: it scales the kept samples and scatters them into zeros.

    Args:
        skipping: of the site.
    """

    def __init__(self, skipping: Skipping) -> None:
        super().__init__(skipping.site)
        self.skipping = skipping

    def __call__(self, y: Tensor) -> Tensor:
        """Returns the output of the branch for all samples."""
        site, kept = self.skipping.site, self.skipping.running()
        if kept is not None:
            kept.inside = False
            return kept.put_back(y, 1.0 if self.skipping.probing else scale(site))
        if self.skipping.probing:
            return torch.where(every_second(y).reshape(-1, *[1] * (y.ndim - 1)), y, 0)
        return self.method(y)
