"""A residual branch at work that `DropPath` ends: what is between its entry and the site runs on the kept samples alone.

    y = x; y[k] += f(x[k]) / (1 - p),  k = the samples whose coin is kept

The modules that read the entry gather its kept samples, by a hook before them; the site puts what comes back among zeros.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods.residual.kept import Kept, keep, scale, set_samples
from thinnet.methods.residual.separable import countable
from thinnet.models.rewrite.methods import Replacement
from thinnet.models.trace.observe import tracing_draws
from thinnet.rng import Site


class Skipping:
    """What the modules around the branches of one site tell each other during a pass: which samples are kept.

    Args:
        site: that ends the branches.
        inner: where modules that toss coins are held in them: the module that holds one, and under which name.
    """

    def __init__(self, site: Site, inner: Sequence[tuple[nn.Module, str]]) -> None:
        self.site, self.inner = site, inner
        self.on = True
        self.probing = False  # every second sample is dropped, whatever the rate is
        self.kept: Kept | None = None
        self.told = False

    def modules(self) -> Iterator[nn.Module]:
        """Returns what tosses coins inside of the branches, as it is held now."""
        for parent, name in self.inner:
            module = parent._modules.get(name)
            if module is not None:
                yield from module.modules()

    def begin(self, x: Tensor) -> None:
        """Tosses the coins of a branch, which begins with `x`; nothing is left out where the site drops nothing."""
        self.kept = None
        if not countable(x) or tracing_draws():
            return
        if self.on and self.probing:
            self.kept = Kept(every_second(x))
        elif self.on and self.site.training and self.site.p != 0:
            self.kept = keep(self.site, x)
        if self.kept is not None or self.told:
            set_samples(self.site, self.modules(), self.kept)
            self.told = self.kept is not None

    def running(self) -> Kept | None:
        """Returns what the branch that runs keeps; None where it does not run, or leaves nothing out.

        Raises: RuntimeError where a checkpoint begins inside of the branch.
        """
        kept = self.kept
        if kept is None or torch.compiler.is_compiling():
            return None
        task = torch._C._current_graph_task_id()
        if kept.task != task and (kept.inside or task != -1):
            raise RuntimeError(
                f"site {self.site.name or 'of a thinned branch'}: all of a branch must be recomputed together; a checkpoint"
                " begins inside of it. Leave it out: thinnet.thin(model, x, leave=[...])."
            )
        return kept if kept.inside else None


def every_second(x: Tensor) -> Tensor:
    """Returns the mask that a probe has in the place of coins."""
    return torch.arange(len(x), device=x.device) % 2 == 1


class Gather:
    """A forward pre-hook of a module that reads the entry of a branch: hands it the kept samples.

    Args:
        skipping: of the site that ends the branch.
        first: whether the branch begins here.
    """

    def __init__(self, skipping: Skipping, first: bool) -> None:
        self.skipping, self.first = skipping, first

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        """Returns the arguments of the module, with the kept samples of the first wherever it is among them."""
        if self.first:
            self.skipping.begin(args[0])
        kept = self.skipping.running()
        return None if kept is None or kept.rows is None else kept.gathered(args[0], (args, kwargs))


class SkippedSite(Replacement):
    """Takes the place of a site's `forward`: puts what was made of the kept samples among zeros, scaled.

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
