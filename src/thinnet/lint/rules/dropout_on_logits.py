from collections.abc import Iterator

from thinnet.lint.dataflow import DROPOUTS, RESHAPES, Operation, predecessor, predecessors
from thinnet.lint.rates import is_active
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree


class DropoutOnLogits(OperationRule):
    """## What it does
    Finds dropout between the last linear layer and the softmax or the loss.

    ## Why is this bad?
    A dropped logit is 0, which is a valid logit: the class gets an arbitrary probability. The loss becomes noisy, and no
    later layer can learn from the noise.

    ## Example
    ```python
    loss = F.cross_entropy(self.drop(self.output(x)), y)
    ```

    ## Use instead
    ```python
    loss = F.cross_entropy(self.output(self.drop(x)), y)
    ```

    ## Fix safety
    None: another order of layers is another network.

    ## References
    - Srivastava et al. 2014, JMLR 15:1929, who drop inputs and hidden units
    """

    code = "THN202"
    operations = frozenset("softmax logsoftmax crossentropy binarycrossentropywithlogits mseloss l1loss smoothl1loss".split())

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        dropout = next((prior for prior in predecessors(tree, op) if prior.name not in RESHAPES), None)
        if dropout is None or not is_active(tree, dropout, DROPOUTS):
            return
        source = predecessor(tree, dropout)
        if source is not None and source.name == "linear":
            yield Report(dropout.call, "dropout on logits makes the loss noisy; drop before the last linear layer")
