from collections.abc import Iterator

import libcst as cst

from thinnet.lint.arguments import argument, is_false
from thinnet.lint.dataflow import DROPOUTS, operation
from thinnet.lint.fixes import Fix, insert_before
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class UnusedDropoutResult(LintRule[cst.Expr]):
    """## What it does
    Finds dropout calls in a module whose result is not used.

    ## Why is this bad?
    Dropout returns a new tensor. A call as a statement has no effect.

    ## Example
    ```python
    self.drop(x)
    ```

    ## Use instead
    ```python
    x = self.drop(x)
    ```

    ## Fix safety
    Unsafe: training starts to drop.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>
    """

    code = "THN505"
    kinds = (cst.Expr,)

    def check(self, node: cst.Expr, tree: Tree) -> Iterator[Report]:
        op = operation(tree, node.value)
        if op is None or op.name not in DROPOUTS or tree.module_method(node) is None:
            return
        inplace = argument(op.options, "inplace", 3 if op.options is op.node else 1)
        if inplace is not None and not is_false(inplace):
            return
        fix = None
        if isinstance(op.input, cst.Name):
            fix = Fix((insert_before(node, f"{op.input.value} = "),), safe=False)
        yield Report(node, "dropout returns a new tensor, and this one is not used; assign it", fix)
