"""THN201."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.flow import ACTIVATIONS, DROPOUTS, NORMS, RESHAPES, back, operation
from thinnet.lint.rates import drops
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree

LINEAR = frozenset("linear conv1d conv2d conv3d convtranspose1d convtranspose2d convtranspose3d".split())
POOLS = frozenset(f"{kind}pool{n}d" for kind in ("max", "avg", "adaptiveavg", "adaptivemax") for n in (1, 2, 3))


class DropoutBeforeBatchNorm(Rule):
    """## What it does
    Finds dropout whose result reaches batch normalisation, with at most linear layers, activations and pools in between.

    ## Why is this bad?
    Dropout multiplies the variance of what it passes on, in training only. The running variance that batch
    normalisation keeps for eval is then too large, and accuracy suffers.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.BatchNorm1d(64), nn.ReLU())
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5))
    ```

    ## Fix safety
    None: another order is another network.

    ## References
    - Li et al. 2019, arXiv:1801.05134
    """

    code = "THN201"
    words = ("ropout", "BatchNorm|batch_norm")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the dropouts that shift a variance."""
        norm = operation(tree, node) if isinstance(node, cst.Call) else None
        if norm is None or norm.name not in NORMS:
            return
        for op in back(tree, norm):
            if drops(tree, op, *DROPOUTS):
                yield Report(op.at, "dropout before batch normalisation shifts its variance in eval; drop after the last norm")
            if op.name not in LINEAR | POOLS | RESHAPES | ACTIVATIONS:
                return
