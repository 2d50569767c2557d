"""THN203."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.flow import DROPOUTS, RESHAPES, back, operation
from thinnet.lint.rates import drops
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree


class DropoutAfterSoftmax(Rule):
    """## What it does
    Finds dropout on the probabilities of an output layer. Attention weights are something else, and are left alone.

    ## Why is this bad?
    The result is no distribution any more: it does not sum to 1, and a dropped class has the probability 0, whose
    logarithm is infinite.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 10), nn.Softmax(dim=-1), nn.Dropout(0.5))
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 10), nn.Softmax(dim=-1))
    ```

    ## Fix safety
    None: another order is another network.

    ## References
    - Srivastava et al. 2014, JMLR 15:1929, where dropout is on inputs and hidden units
    """

    code = "THN203"
    words = ("ropout", "oftmax")

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the dropouts on probabilities."""
        op = operation(tree, node) if isinstance(node, cst.Call) else None
        if op is None or op.name not in DROPOUTS or not drops(tree, op, *DROPOUTS):
            return
        behind = [prior for prior in back(tree, op) if prior.name not in RESHAPES]
        names = [prior.name for prior in behind[:2]]
        if names == ["softmax", "linear"] or names[:1] == ["logsoftmax"]:
            yield Report(op.at, "dropout on probabilities leaves no distribution; drop before the last linear layer")
