from collections.abc import Iterator

from thinnet.lint.dataflow import ACTIVATIONS, RESHAPES, Operation, before
from thinnet.lint.rule import Report
from thinnet.lint.rule_bases import OperationRule
from thinnet.lint.tree import Tree


class AlphaDropoutWithoutSelu(OperationRule):
    """## What it does
    Finds alpha dropout after an activation other than SELU.

    ## Why is this bad?
    Alpha dropout sets units to about -1.76, the lower limit of SELU, and rescales to keep mean 0 and variance 1. After
    another activation it keeps neither.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.AlphaDropout(0.1))
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1))
    ```

    ## Fix safety
    None: either the activation or the dropout may be wrong.

    ## References
    - Klambauer et al. 2017, arXiv:1706.02515
    """

    code = "THN205"
    words = ("lphaDropout|alpha_dropout",)
    operations = frozenset({"alphadropout", "featurealphadropout"})

    def check_operation(self, op: Operation, tree: Tree) -> Iterator[Report]:
        sources = before(tree, op, RESHAPES)
        if sources and all(source.name in ACTIVATIONS - {"selu"} for source in sources):
            message = f"alpha dropout needs SELU, but follows `{sources[0].name}`; use `Dropout`"
            yield Report(op.node, message, cause=op.options)
