from collections.abc import Iterator

from thinnet.lint.arguments import argument, is_true, keyword
from thinnet.lint.dataflow import DROPOUTS, Operation, predecessors
from thinnet.lint.fixes import Fix, remove_keyword
from thinnet.lint.modes import expects_error
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree
from thinnet.lint.values import values

SAVED = frozenset("relu sigmoid tanh softmax logsoftmax exp sqrt rsqrt reciprocal".split())


class InplaceDropoutAfterSavedOutput(OperationRule):
    """## What it does
    Finds in-place dropout on the output of ReLU, sigmoid, tanh, softmax, exp and similar functions.

    ## Why is this bad?
    The backward pass of these functions needs their output. In-place dropout overwrites it, and `backward()` raises an
    error.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Dropout(0.5, inplace=True))
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Dropout(0.5))
    ```

    ## Fix safety
    Safe: training raises an error without it.

    ## References
    - pytorch/pytorch#727, microsoft/nni#4614
    """

    code = "THN503"
    words = ("ropout", "inplace")
    operations = DROPOUTS

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        if expects_error(tree, op.node):
            return
        inplace = argument(op.options, "inplace", 3 if op.options is op.node and op.input is not None else 1)
        sources = [source.name for source in predecessors(tree, op) if source.name in SAVED]
        if not sources or inplace is None or not any(is_true(value) for value in values(tree, inplace)):
            return
        fix = None
        if keyword(op.options, "inplace") is not None and is_true(inplace):
            fix = Fix((remove_keyword(op.options, "inplace"),), safe=True)
        problem = f"in-place dropout overwrites the output of `{sources[0]}`, which its backward pass needs"
        yield Report(op.node, f"{problem}; remove `inplace=True`", fix, op.options)
