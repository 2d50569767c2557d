"""THN304."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import is_false, is_true, keyword
from thinnet.lint.changes import insert_before
from thinnet.lint.modes import last_name
from thinnet.lint.rates import rate
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.tree import Tree


class TrainingFlagAsRate(Rule):
    """## What it does
    Finds `training`, `True` or `False` in the place of the rate.

    ## Why is this bad?
    The second argument of `F.dropout` is the rate. `self.training` is 1 there in training: every unit is dropped, and
    nothing is learned. In eval it is 0, and nothing seems wrong.

    ## Example
    ```python
    x = F.dropout(x, self.training)
    ```

    ## Use instead
    ```python
    x = F.dropout(x, training=self.training)
    ```

    ## Fix safety
    Unsafe: training begins to learn, at the default rate.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.dropout.html>
    """

    code = "THN304"

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the flags that are taken for a rate."""
        p = rate(tree, node) if isinstance(node, cst.Call) else None
        if p is None or not isinstance(node, cst.Call):
            return
        if not (last_name(p) in ("training", "is_training", "train") or is_true(p) or is_false(p)):
            return
        functional = (tree.name(node.func) or "").startswith("torch.nn.functional.dropout")
        free = functional and len(node.args) == 2 and keyword(node, "p") is None
        fix = Fix((insert_before(p, "training="),), safe=False) if free else None
        yield Report(p, f"`{tree.code(p)}` is taken for the rate; pass the rate here, and `training=` by name", fix)
