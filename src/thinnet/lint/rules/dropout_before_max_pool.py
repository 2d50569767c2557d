"""THN207."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.flow import before, operation
from thinnet.lint.rates import drops
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree


class DropoutBeforeMaxPool(Rule):
    """## What it does
    Finds element dropout right before max pooling.

    ## Why is this bad?
    The largest of those that are left passes on, so fewer pooled units are dropped than the rate says, and all are scaled
    up: the expectation is not kept.

    ## Example
    ```python
    nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2))
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2))
    ```

    ## Fix safety
    None: max-pooling dropout is a method of its own, and may be meant.

    ## References
    - Wu and Gu 2015, arXiv:1512.01400
    """

    code = "THN207"
    words = ("ropout", "axPool|max_pool")
    preview = True

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the dropouts whose rate is not delivered."""
        pool = operation(tree, node) if isinstance(node, cst.Call) else None
        if pool is None or pool.name not in ("maxpool1d", "maxpool2d", "maxpool3d"):
            return
        op = before(tree, pool)
        if op is not None and drops(tree, op, "dropout"):
            yield Report(op.at, "max pooling after dropout delivers another rate; drop after the pool")
