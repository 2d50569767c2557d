"""THN306."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.changes import insert_after
from thinnet.lint.flow import layer
from thinnet.lint.rates import rate
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.spelling import DROPOUT_LAYERS
from thinnet.lint.tree import Tree


class LayerAsRate(Rule):
    """## What it does
    Finds a dropout layer in the place of the rate.

    ## Why is this bad?
    It is a `TypeError` as soon as the line runs.

    ## Example
    ```python
    self.drop = nn.Dropout(0.5)
    x = F.dropout(x, self.drop, self.training)
    ```

    ## Use instead
    ```python
    self.drop = nn.Dropout(0.5)
    x = F.dropout(x, self.drop.p, self.training)
    ```

    ## Fix safety
    Safe: the line fails today.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html>
    """

    code = "THN306"

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the layers that are taken for a rate."""
        p = rate(tree, node) if isinstance(node, cst.Call) else None
        made = layer(tree, p) if p is not None and not isinstance(p, cst.Call) else None
        if p is not None and made is not None and tree.name(made.func) in DROPOUT_LAYERS:
            code = tree.code(p)
            yield Report(p, f"`{code}` is a layer, not a rate; pass `{code}.p`", Fix((insert_after(p, ".p"),), safe=True))
