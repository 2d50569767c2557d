"""THN205."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.flow import ACTIVATIONS, RESHAPES, back, operation
from thinnet.lint.rates import drops
from thinnet.lint.rule import Report, Rule
from thinnet.lint.tree import Tree


class AlphaDropoutWithoutSelu(Rule):
    """## What it does
    Finds alpha dropout after an activation other than SELU.

    ## Why is this bad?
    Alpha dropout sets units to the value that SELU goes to far left, about -1.76, and rescales so that mean 0 and variance
    1 stay. After ReLU that value means nothing, and neither mean nor variance is kept.

    ## Example
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.AlphaDropout(0.1))
    ```

    ## Use instead
    ```python
    nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1))
    ```

    ## Fix safety
    None: whether the activation or the dropout is wrong is for the author to say.

    ## References
    - Klambauer et al. 2017, arXiv:1706.02515
    """

    code = "THN205"
    words = ("lphaDropout|alpha_dropout",)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the alpha dropouts in the wrong network."""
        op = operation(tree, node) if isinstance(node, cst.Call) else None
        if op is None or not drops(tree, op, "alphadropout", "featurealphadropout"):
            return
        source = next((prior for prior in back(tree, op) if prior.name not in RESHAPES), None)
        if source is not None and source.name in ACTIVATIONS - {"selu"}:
            yield Report(op.at, f"alpha dropout belongs to SELU, and this comes after `{source.name}`; use `Dropout`")
