"""THN202."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.flow import DROPOUTS, RESHAPES, back, before, operation
from thinnet.lint.rates import drops
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree

OUTPUTS = frozenset("softmax logsoftmax crossentropy binarycrossentropywithlogits mseloss l1loss smoothl1loss".split())


class DropoutOnLogits(Rule):
    """## What it does
    Finds dropout between the last linear layer and the softmax or the loss.

    ## Why is this bad?
    A dropped logit is 0, which is a statement: the class gets the probability of the others' average. The loss is noisy
    for no gain, since no layer comes after that could learn from the noise.

    ## Example
    ```python
    loss = F.cross_entropy(self.drop(self.output(x)), y)
    ```

    ## Use instead
    ```python
    loss = F.cross_entropy(self.output(self.drop(x)), y)
    ```

    ## Fix safety
    None: another order is another network.

    ## References
    - Srivastava et al. 2014, JMLR 15:1929, where dropout is on inputs and hidden units
    """

    code = "THN202"

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the dropouts on outputs."""
        output = operation(tree, node) if isinstance(node, cst.Call) else None
        if output is None or output.name not in OUTPUTS:
            return
        op = next((op for op in back(tree, output) if op.name not in RESHAPES), None)
        if op is not None and drops(tree, op, *DROPOUTS):
            source = before(tree, op)
            if source is not None and source.name == "linear":
                yield Report(op.at, "dropout on logits makes the loss noisy; drop before the last linear layer")
