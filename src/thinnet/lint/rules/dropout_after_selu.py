from collections.abc import Iterator

from thinnet.lint.dataflow import RESHAPES, Operation, before
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree


class DropoutAfterSelu(OperationRule):
    """## What it does
    Finds ordinary dropout after SELU.

    ## Why is this bad?
    SELU networks keep mean 0 and variance 1 from layer to layer. Ordinary dropout increases the variance at each layer,
    so the network is not self-normalising.

    ## Example
    ```python
    x = F.dropout(F.selu(self.linear(x)), 0.1, self.training)
    ```

    ## Use instead
    ```python
    x = F.alpha_dropout(F.selu(self.linear(x)), 0.1, self.training)
    ```

    ## Fix safety
    None: alpha dropout needs a smaller rate, 0.05 to 0.1.

    ## References
    - Klambauer et al. 2017, arXiv:1706.02515
    """

    code = "THN206"
    words = ("ropout", "selu|SELU")
    operations = frozenset({"dropout"})

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        sources = before(tree, op, RESHAPES)
        if sources and all(source.name == "selu" for source in sources):
            message = "dropout after SELU breaks its self-normalisation; use alpha dropout with a rate of 0.05 to 0.1"
            yield Report(op.node, message, cause=op.options)
