"""THN206."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.flow import RESHAPES, back, operation
from thinnet.lint.rates import drops
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree


class DropoutAfterSelu(Rule):
    """## What it does
    Finds ordinary dropout after SELU.

    ## Why is this bad?
    A network of SELUs keeps mean 0 and variance 1 from layer to layer by itself. Ordinary dropout raises the variance at
    each layer, and the network is no longer self-normalising.

    ## Example
    ```python
    x = F.dropout(F.selu(self.linear(x)), 0.1, self.training)
    ```

    ## Use instead
    ```python
    x = F.alpha_dropout(F.selu(self.linear(x)), 0.1, self.training)
    ```

    ## Fix safety
    None: alpha dropout wants a smaller rate, 0.05 to 0.1.

    ## References
    - Klambauer et al. 2017, arXiv:1706.02515
    """

    code = "THN206"
    words = ("ropout", "selu|SELU")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the dropouts that break self-normalisation."""
        op = operation(tree, node) if isinstance(node, cst.Call) else None
        if op is None or not drops(tree, op, "dropout"):
            return
        source = next((prior for prior in back(tree, op) if prior.name not in RESHAPES), None)
        if source is not None and source.name == "selu":
            yield Report(op.at, "dropout after SELU breaks its self-normalisation; use alpha dropout, at a rate of 0.05 to 0.1")
