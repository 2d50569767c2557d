from collections.abc import Iterator

import libcst as cst

from thinnet.lint.fixes import Fix, insert_after
from thinnet.lint.rule import LintRule, Report
from thinnet.lint.tree import Tree


class ModeSwitchWithoutCall(LintRule[cst.Expr]):
    """## What it does
    Finds the statements `model.eval` and `model.train` without parentheses.

    ## Why is this bad?
    The statement does not call the method. The model keeps its mode.

    ## Example
    ```python
    model.eval
    ```

    ## Use instead
    ```python
    model.eval()
    ```

    ## Fix safety
    Unsafe: the mode changes from this line on. Check that the model returns to its mode later.

    ## References
    - <https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.eval>
    """

    code = "THN107"
    holds_in_tests = True
    words = (".eval|.train",)
    kinds = (cst.Expr,)

    def check(self, node: cst.Expr, tree: Tree) -> Iterator[Report]:
        if isinstance(node.value, cst.Attribute) and node.value.attr.value in ("eval", "train"):
            code = tree.code(node.value)
            fix = Fix((insert_after(node.value, "()"),), safe=False)
            yield Report(node, f"`{code}` is not called; write `{code}()`", fix)
