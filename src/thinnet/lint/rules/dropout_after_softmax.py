from collections.abc import Iterator

from thinnet.lint.dataflow import DROPOUTS, RESHAPES, Operation, predecessors
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree


class DropoutAfterSoftmax(OperationRule):
    """## What it does
    Finds dropout on the probabilities of an output layer. Attention weights are not reported.

    ## Why is this bad?
    The result is not a distribution: it does not sum to 1, and a dropped class has probability 0 and an infinite log
    loss.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 10), nn.Softmax(dim=-1), nn.Dropout(0.5))
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 10), nn.Softmax(dim=-1))
    ```

    ## Fix safety
    None: another order of layers is another network.

    ## References
    - Srivastava et al. 2014, JMLR 15:1929, who drop inputs and hidden units
    """

    code = "THN203"
    words = ("ropout", "oftmax")
    operations = DROPOUTS

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        names = [prior.name for prior in predecessors(tree, op) if prior.name not in RESHAPES]
        if names[:2] == ["softmax", "linear"] or names[:1] == ["logsoftmax"]:
            message = "after dropout the probabilities do not sum to 1; drop before the last linear layer"
            yield Report(op.call, message)
