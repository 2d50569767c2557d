from collections.abc import Iterator

from thinnet.lint.dataflow import Operation, predecessors
from thinnet.lint.rates import is_active
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree


class DropoutBeforeMaxPool(OperationRule):
    """## What it does
    Finds elementwise dropout right before max pooling.

    ## Why is this bad?
    Each pool returns the largest unit that is left. Fewer pooled units are dropped than the rate says, but all are scaled
    up, so the expectation changes.

    ## Example
    ```python
    nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2))
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2))
    ```

    ## Fix safety
    None: it may be max-pooling dropout, which is a method of its own.

    ## References
    - Wu and Gu 2015, arXiv:1512.01400
    """

    code = "THN207"
    words = ("ropout", "axPool|max_pool")
    preview = True
    operations = frozenset({"maxpool1d", "maxpool2d", "maxpool3d"})

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        for prior in predecessors(tree, op):
            if is_active(tree, prior, ("dropout",)):
                yield Report(
                    prior.node, "dropout before max pooling changes the rate; drop after the pool", cause=prior.options
                )
