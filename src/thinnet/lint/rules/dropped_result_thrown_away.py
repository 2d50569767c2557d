"""THN505."""

from collections.abc import Iterator

import libcst as cst

from thinnet.lint.calls import argument, is_false
from thinnet.lint.changes import insert_before
from thinnet.lint.flow import DROPOUTS, operation
from thinnet.lint.rule import Fix, Report, Rule
from thinnet.lint.tree import Tree


class DroppedResultThrownAway(Rule):
    """## What it does
    Finds dropout whose result nobody takes, in a module.

    ## Why is this bad?
    Dropout returns a new tensor. As a statement it changes nothing.

    ## Example
    ```python
    self.drop(x)
    ```

    ## Use instead
    ```python
    x = self.drop(x)
    ```

    ## Fix safety
    Unsafe: training begins to drop.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN505"
    kinds = (cst.Expr,)

    def check(self, node: cst.CSTNode, tree: Tree) -> Iterator[Report]:
        """Yields the statements that do nothing."""
        op = operation(tree, node.value) if isinstance(node, cst.Expr) else None
        if not isinstance(node, cst.Expr) or op is None or op.name not in DROPOUTS or tree.module_method(node) is None:
            return
        inplace = argument(op.settings, "inplace", 3 if op.settings is op.at else 1)
        if inplace is not None and not is_false(inplace):
            return
        fix = None
        if isinstance(op.input, cst.Name):
            fix = Fix((insert_before(node, f"{op.input.value} = "),), safe=False)
        yield Report(node, "dropout returns a new tensor, and this one is thrown away; assign it", fix)
